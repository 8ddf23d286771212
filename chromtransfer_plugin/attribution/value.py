"""The number of a model's output that is explained, as modules: DeepLIFT has rules for modules only."""

from __future__ import annotations

import torch
from torch import nn

from chromtransfer_plugin.attribution.objective import Activation, Objective
from chromtransfer_plugin.errors import ChromTransferError


class ValueModule(nn.Module):
    """Logits (B, n_outputs) to the numbers (B,), float64, as ``objective_of`` makes it."""

    def __init__(self, what: str, output: Objective, activation: Activation, target: int) -> None:
        super().__init__()
        self.what, self.output, self.target = what, output, target
        self.softmax = activation == "softmax"
        self.probabilities: nn.Module = nn.Softmax(dim=1) if self.softmax else nn.Sigmoid()

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, n_outputs) -> (B,)."""
        if logits.dim() != 2 or not 0 <= self.target < logits.shape[1]:
            raise ChromTransferError(
                f"{self.what}: there is no target {self.target}, the model's output has the shape "
                f"{tuple(logits.shape)}: expected (batch, outputs), counted from 0."
            )
        scores = logits.double()
        if self.output == "logit":
            return scores[:, self.target]
        if self.softmax and logits.shape[1] < 2:
            raise ChromTransferError(
                f"{self.what}: activation='softmax' needs a model of at least two outputs."
            )
        return self.probabilities(scores)[:, self.target]


class Recorder(nn.Module):
    """A model with the number that is explained as its only output (B, 1); keeps what it gave.

    Attributes
    ----------
    values : list of torch.Tensor
        (B,) of every forward pass.
    """

    def __init__(self, model: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.model, self.value = model, value
        self.values: list[torch.Tensor] = []

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, 1)."""
        values = self.value(self.model(X))
        self.values.append(values.detach())
        return values[:, None]
