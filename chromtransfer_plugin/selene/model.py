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
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer as ChromTransfer
from chromtransfer_plugin.predict import probabilities


class ChromTransferProbability(ChromTransfer):
    """The same network, returning probabilities: for Selene's evaluate and analyze operations.

    One output goes through a sigmoid, several exclusive classes through a softmax.
    """

    gives_probabilities = True

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_outputs) probabilities."""
        activation = "sigmoid" if self.architecture.n_outputs == 1 else "softmax"
        return probabilities(super().forward(X), activation)


def criterion() -> torch.nn.Module:
    """Binary cross-entropy on logits."""
    return BinaryLoss()


def get_optimizer(lr: float) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """Adam with Keras' epsilon; our TrainModel adds the L2 penalty of the trunk."""
    return torch.optim.Adam, {"lr": lr, "eps": PRETRAIN.adam_eps}
