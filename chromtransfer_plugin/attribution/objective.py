"""Which number of a model's output is explained: one logit or one probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import torch

Objective = Literal["logit", "probability"]
Activation = Literal["sigmoid", "softmax"]
Value: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


def objective_of(what: str, output: Objective, activation: Activation, target: int) -> Value:
    """Return the function that turns logits (B, n_outputs) into the numbers (B,), float64, that are explained.

    Parameters
    ----------
    what : str
        Begins the messages, e.g. ``ism``.
    output : {"logit", "probability"}
    activation : {"sigmoid", "softmax"}
        What makes probabilities of logits.
    target : int
        Which output, from 0.

    Raises
    ------
    ChromTransferError
        By the function, if the model lacks the output.
    """
    import torch

    def value(logits: torch.Tensor) -> torch.Tensor:
        if logits.dim() != 2 or isinstance(target, bool) or not 0 <= target < logits.shape[1]:
            raise ChromTransferError(
                f"{what}: there is no target {target}, the model's output has the shape {tuple(logits.shape)}: "
                "expected (batch, outputs), counted from 0."
            )
        scores = logits.double()
        if output == "logit":
            return scores[:, target]
        if activation == "softmax":
            if logits.shape[1] < 2:
                raise ChromTransferError(
                    f"{what}: activation='softmax' needs a model of at least two outputs."
                )
            return torch.softmax(scores, dim=1)[:, target]
        return torch.sigmoid(scores[:, target])

    return value
