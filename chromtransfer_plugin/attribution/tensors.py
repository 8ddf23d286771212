"""Sequences, types and sizes as the methods of attribution take them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import ALPHABET, N_CODE

if TYPE_CHECKING:
    import torch
    from torch import nn

# Inputs at once by default: on a CPU, what is computed of them should stay in the processor's cache.
_BATCH = {"cpu": 8, "cuda": 64}


def codes_of(what: str, sequences: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Codes (N, L) uint8 on the CPU, unknown bases as 4, of codes (N, L) or one-hot (N, 4, L).

    Parameters
    ----------
    what : str
        Begins the messages, e.g. ``ism``.

    Raises
    ------
    ChromTransferError
        If the sequences are neither.
    """
    import torch

    if isinstance(sequences, np.ndarray):
        sequences = np.ascontiguousarray(sequences)  # torch takes no reversed views
    data = torch.as_tensor(sequences).detach().cpu()
    if data.dim() == 2 and not data.is_floating_point() and data.shape[1] > 0:
        return torch.where((data >= 0) & (data < N_CODE), data, N_CODE).to(torch.uint8)
    if data.dim() == 3 and data.shape[1] == len(ALPHABET) and data.shape[2] > 0:
        total = data.sum(dim=1)
        if bool(((data == 0) | (data == 1)).all()) and bool((total <= 1).all()):
            return torch.where(total > 0, data.to(torch.uint8).argmax(dim=1), N_CODE).to(torch.uint8)
        raise ChromTransferError(
            f"{what}: the one-hot sequences hold other numbers than 0 and one 1 per base."
        )
    raise ChromTransferError(
        f"{what}: expected base codes (N, L) as integers or one-hot (N, 4, L), with L >= 1, got shape "
        f"{tuple(data.shape)} of {data.dtype}."
    )


def dtype_of(model: nn.Module) -> torch.dtype:
    """Type of a model's parameters, float32 for a model without any."""
    import torch

    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def inputs_at_once(what: str, batch_size: int | None, device: torch.device) -> int:
    """Return how many inputs to send through a model at once; None is what fits the device.

    Raises
    ------
    ChromTransferError
        If it is no number above 0.
    """
    if batch_size is None:
        return _BATCH[device.type]
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ChromTransferError(
            f"{what}: batch_size={batch_size!r} is not usable: expected a number above 0."
        )
    return batch_size


def filled(codes: torch.Tensor, size: int) -> torch.Tensor:
    """Fill up codes (n, L) to a batch of ``size`` (of the default size, if that is smaller) with unknown bases.

    Libraries compute small batches in other ways than large ones. The difference is by rounding, but where two matches of a
    motif are equally strong it decides which of them has all of the gradient, so that the last batch must not be smaller.
    """
    import torch

    missing = min(size, _BATCH[codes.device.type]) - len(codes)
    return torch.nn.functional.pad(codes, (0, 0, 0, max(0, missing)), value=N_CODE)


def groups_of(codes: torch.Tensor, size: int, inputs: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Yield codes (N, L) in groups to work on together, where each sequence needs a number of ``inputs``.

    One by one on a CPU: what is computed for a sequence then does not depend on its neighbours, not even by rounding.
    """
    together = 1 if device.type == "cpu" else max(1, size // inputs)
    for first in range(0, len(codes), together):
        yield codes[first : first + together]


def require_finite(what: str, scores: NDArray[np.float32], first: int) -> None:
    """Raise if the scores of a sequence are not finite; ``first`` is the number of the first one."""
    broken = ~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)
    if broken.any():
        raise ChromTransferError(
            f"{what}: the scores of sequence {first + int(broken.argmax())} (counted from 0) are not finite; "
            "the model itself is broken."
        )
