"""Models for attribution whose scores are known in closed form, and models that have no gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.onehot import one_hot

LENGTH = 30


class Power(nn.Module):
    """logit = (sum over bases of weight[base, position]) ** exponent; linear for an exponent of 1."""

    def __init__(self, exponent: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.rand(4, LENGTH, generator=generator, dtype=torch.float64))
        self.exponent = exponent

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return (X * self.weight).sum(dim=(1, 2))[:, None] ** self.exponent

    def at(self, codes: np.ndarray) -> np.ndarray:
        """Weight (N, L) at the observed base, 0 at N."""
        return (one_hot(codes) * self.weight.detach().numpy()).sum(axis=1)


class Counting(nn.Module):
    """Counts the inputs and the calls of another model, forwards and backwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.inputs = self.forwards = self.backwards = 0

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        self.inputs += len(X)
        self.forwards += 1
        if X.requires_grad:
            X.register_hook(self._count)
        return self.model(X)

    def _count(self, gradient: torch.Tensor) -> None:
        self.backwards += 1


class Constant(nn.Module):
    """Has no parameters and looks at nothing."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return X.new_ones(len(X), 1)


class Blind(Constant):
    """Has parameters, but looks at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.linear(super().forward(X))


class Cut(Blind):
    """Looks at the sequence by detours that a gradient cannot follow."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        if self.how == "detach":
            X = X.detach()[:, 0]
        elif self.how == "argmax":
            X = X.argmax(dim=1)
        else:
            X = X[:, 0].long()
        return self.linear(X.float().sum(dim=1, keepdim=True))


WITHOUT_GRADIENT = [Constant(), Blind(), Cut("detach"), Cut("argmax"), Cut("whole numbers")]


def random_codes(n: int = 7, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Codes of which the third has four unknown bases."""
    codes = np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)
    if n > 2:
        codes[2, 5:9] = 4
    return codes
