"""The training engine: one :class:`Trainer` behind Selene, the command line and Python."""

from chromtransfer_plugin.training.trainer import (
    STATE,
    Epoch,
    Evaluation,
    FitResult,
    Trainer,
    evaluate,
    l2_groups,
    l2_penalty,
)

__all__ = [
    "STATE",
    "Epoch",
    "Evaluation",
    "FitResult",
    "Trainer",
    "evaluate",
    "l2_groups",
    "l2_penalty",
]
