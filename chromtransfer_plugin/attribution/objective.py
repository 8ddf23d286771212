"""Which number of a model's output is explained: one logit or one probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import torch

    from chromtransfer_plugin.attribution.value import ValueModule

Objective = Literal["logit", "probability"]
Activation = Literal["sigmoid", "softmax"]
Value: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"


def objective_of(what: str, output: Objective, activation: Activation, target: int) -> ValueModule:
    """Return the module that turns logits (B, n_outputs) into the numbers (B,), float64, that are explained.

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
        If an option is unknown; by the module, if the model lacks the output.
    """
    from chromtransfer_plugin.attribution.value import ValueModule

    require_one_of(what, "output", output, Objective)
    require_one_of(what, "activation", activation, Activation)
    if isinstance(target, bool):
        raise ChromTransferError(f"{what}: there is no target {target}: expected the number of an output.")
    return ValueModule(what, output, activation, target).eval()


def require_one_of(what: str, name: str, value: object, kind: object) -> None:
    """Raise if ``value`` is not one of the values of the ``Literal`` ``kind``."""
    if value not in get_args(kind):
        raise ChromTransferError(
            f"{what}: {name}={value!r} is unknown, use one of {', '.join(get_args(kind))}."
        )
