"""Attribution by gradients: which letters a model's output changes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.objective import Activation, Objective, Value, objective_of
from chromtransfer_plugin.attribution.tensors import (
    codes_of,
    dtype_of,
    filled,
    inputs_at_once,
    require_finite,
)
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import ALPHABET, one_hot_tensor

if TYPE_CHECKING:
    import torch
    from torch import nn

_WHAT = "gradient x input"


def gradient_x_input(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    output: Objective = "logit",
    target: int = 0,
    batch_size: int | None = None,
    device: str | None = None,
    *,
    activation: Activation = "sigmoid",
    hypothetical: bool = False,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Gradient of one model output with respect to the one-hot input, times that input, per base.

    It is the gradient at the observed base; a base that is N scores 0. The gradient is not corrected, as in the paper.

    Parameters
    ----------
    model : nn.Module
        Maps (B, 4, L) one-hot to (B, n_outputs) logits. Evaluated in inference mode; the training mode of
        every module, the device and parameter gradients are as before afterwards.
    sequences : array
        Base codes (N, L) integers (0-3 = A, C, G, T, anything else = unknown) or one-hot (N, 4, L).
    output : {"logit", "probability"}
        What is differentiated. The paper used ``probability`` (sigmoid of the logit): its scores shrink by
        p (1 - p) where the model is confident, and vanish where it is certain. ``logit`` does not.
    target : int
        Which output.
    batch_size : int, optional
        Sequences per backward pass; changes speed and memory, and scores by rounding. By default the scores of a
        sequence are on a CPU the same to the last bit whatever the others are; with an odd number, by rounding.
    device : str or None
        None runs where the model is; ``auto`` uses CUDA if present.
    activation : {"sigmoid", "softmax"}
        What makes probabilities of logits, as the model's card says; ``softmax`` for exclusive classes.
    hypothetical : bool
        Return the gradient itself, for all four bases; 0 at unknown ones.
    progress : bool
        Show a bar with rate and ETA.

    Returns
    -------
    ndarray, float32
        (N, L), or with ``hypothetical`` (N, 4, L).

    Raises
    ------
    ChromTransferError
        If ``sequences`` is neither codes nor one-hot, an option is unknown, the model lacks the output or has no
        gradient, or the gradient is not finite.
    """
    import torch
    from tqdm import tqdm

    codes = codes_of(_WHAT, sequences)
    value = objective_of(_WHAT, output, activation, target)
    n, length = codes.shape
    result = np.zeros((n, len(ALPHABET), length) if hypothetical else (n, length), dtype=np.float32)
    with (
        evaluating(model, device) as where,
        torch.inference_mode(False),
        tqdm(total=n, unit="sequence", desc=_WHAT, disable=not progress) as bar,
    ):
        size = inputs_at_once(_WHAT, batch_size, where)
        for first in range(0, n, size):
            rows = slice(first, min(first + size, n))
            X = one_hot_tensor(filled(codes[rows].to(where), size), dtype_of(model))
            _, gradient = gradient_of(_WHAT, model, value, X)
            # Nothing is said of what an unknown base might be.
            scores = gradient * X.sum(dim=1, keepdim=True) if hypothetical else (gradient * X).sum(dim=1)
            result[rows] = scores[: rows.stop - first].float().cpu().numpy()
            require_finite(_WHAT, result[rows], first)
            bar.update(rows.stop - first)
    return result


def gradient_of(
    what: str, model: nn.Module, value: Value, X: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values (B,), float64, of a model and their gradients, shaped like X (B, 4, L), by one backward pass.

    Parameters
    ----------
    what : str
        Begins the message.
    model : nn.Module
        On the device of X, in evaluation mode.
    value : callable
        Logits to the values, as from :func:`~chromtransfer_plugin.attribution.objective.objective_of`.

    Raises
    ------
    ChromTransferError
        If the values do not depend on X in a way that can be differentiated.
    """
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        X = X.clone().requires_grad_()
        values = value(model(X))
        gradient = (
            torch.autograd.grad(values.sum(), X, allow_unused=True)[0] if values.requires_grad else None
        )
    if gradient is None:
        raise ChromTransferError(
            f"{what}: the model ({type(model).__name__}) has no gradient: its output is a constant, or is cut off from "
            "its input by detach(), no_grad(), argmax or whole numbers. In-silico mutagenesis needs no gradient: "
            "method ism."
        )
    return values.detach(), gradient
