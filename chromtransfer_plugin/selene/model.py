"""The file that Selene's ``model.path`` names: networks, ``criterion`` and ``get_optimizer``.

In a YAML file::

    model: {
        path: !import chromtransfer_plugin.selene.model.__file__,
        class: ChromTransfer,
        class_args: {width: 1.0}
    }
"""

from __future__ import annotations

from typing import Any

import torch

import chromtransfer_plugin.selene  # noqa: F401  (applies the work-arounds, also for Selene's own TrainModel)
from chromtransfer_plugin.defaults import PRETRAIN
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer as ChromTransfer
from chromtransfer_plugin.predict import probabilities


class ChromTransferProbability(ChromTransfer):
    """The same network, returning probabilities: for Selene's evaluate and analyze operations.

    Parameters
    ----------
    activation : {"sigmoid", "softmax"}, optional
        Default: a sigmoid for one output, a softmax for several (exclusive classes). Several tasks need ``sigmoid``.
        Our own evaluate and analyze classes take the checkpoint's.
    **settings
        As :class:`ChromTransfer`.
    """

    gives_probabilities = True

    def __init__(self, activation: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if activation not in (None, "sigmoid", "softmax"):
            raise ChromTransferError(f"activation '{activation}' is unknown: use sigmoid or softmax.")
        self.activation = activation or ("sigmoid" if self.architecture.n_outputs == 1 else "softmax")

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_outputs) probabilities."""
        return probabilities(super().forward(X), self.activation)


def criterion() -> torch.nn.Module:
    """Binary cross-entropy on logits."""
    return BinaryLoss()


def get_optimizer(lr: float) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """Adam with Keras' epsilon; our TrainModel adds the L2 penalty of the trunk."""
    return torch.optim.Adam, {"lr": lr, "eps": PRETRAIN.adam_eps, "fused": True}
