"""The model that a run hands over: a plain network with adapters merged and its prior corrected."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.training.synced_batch_norm import restore_batch_norm
from chromtransfer_plugin.transfer import merged_copy


def deliverable(model: ChromTransfer, prior_shift: np.ndarray | None) -> ChromTransfer:
    """Copy a network in training to a plain one on the CPU.

    Parameters
    ----------
    model : ChromTransfer
        May carry adapters and synchronised batch norm; not changed.
    prior_shift : numpy.ndarray (T,) or None
        Added to the last layer's bias.
    """
    plain = merged_copy(model).cpu()
    restore_batch_norm(plain)
    if prior_shift is not None:
        bias = cast(nn.Linear, plain.head[-1]).bias
        with torch.no_grad():
            bias.add_(torch.from_numpy(prior_shift).to(bias))
    return plain
