"""Attribution by gradients: which letters a model's output changes with."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.objective import Objective
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import torch
    from torch import nn


def gradient_x_input(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    output: Objective = "logit",
    target: int = 0,
    batch_size: int = 64,
    device: str | None = None,
) -> NDArray[np.float32]:
    """Gradient of one model output with respect to the one-hot input, times that input, per base.

    It is the gradient at the observed base; a base that is N scores 0. This is tangermeme's ``saliency``
    without its gradient correction, as in the paper.

    Parameters
    ----------
    model : nn.Module
        Maps (B, 4, L) one-hot to (B, n_outputs) logits. Evaluated in inference mode; the training mode of
        every module, the device and parameter gradients are as before afterwards.
    sequences : array
        Base codes (N, L) uint8 or one-hot (N, 4, L), channel order A, C, G, T.
    output : {"logit", "probability"}
        What is differentiated. The paper used ``probability`` (sigmoid of the logit): its scores shrink by
        p (1 - p) where the model is confident, and vanish where it is certain. ``logit`` does not.
    target : int
        Which output.
    batch_size : int
        Sequences per backward pass; changes speed and memory only.
    device : str or None
        None runs where the model is; ``auto`` uses CUDA if present.

    Returns
    -------
    ndarray, shape (N, L), float32
        Summed over the four channels.

    Raises
    ------
    ChromTransferError
        If ``sequences`` is neither codes nor one-hot, the model lacks the output, or ``output`` is unknown.
    """
    import torch
    from tangermeme.saliency import saliency

    from chromtransfer_plugin.predict import as_one_hot

    if output not in get_args(Objective):
        raise ChromTransferError(
            f"gradient x input: output='{output}' is unknown, use 'logit' or 'probability'."
        )
    # int8 keeps a large set small; tangermeme casts each batch to the model's type.
    X = torch.cat([as_one_hot(part).to(torch.int8) for part in torch.as_tensor(sequences).split(4096)])
    if not len(X):
        return np.zeros((0, X.shape[2]), dtype=np.float32)

    def objective(logits: torch.Tensor) -> torch.Tensor:
        if not 0 <= target < logits.shape[1]:
            raise ChromTransferError(
                f"gradient x input: there is no target {target}, the model has {logits.shape[1]} output(s), "
                "counted from 0."
            )
        return torch.sigmoid(logits) if output == "probability" else logits

    # tangermeme restores only the outermost training flag, which would wake a frozen trunk; hence our own
    # context. It enters inference mode, in which there are no gradients, so that is lifted again.
    with evaluating(model, device) as where, torch.inference_mode(False):
        scores = saliency(
            model,
            X,
            target=target,
            batch_size=batch_size,
            gradient_correction=False,
            func=objective,
            device=where,
        )
    return scores.sum(dim=1).float().numpy()
