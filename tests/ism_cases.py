"""Tiny models whose layers all matter, and brute-force mutagenesis, that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot_tensor
from chromtransfer_plugin.predict import predict_logits


def make(seed: int = 0, dtype: torch.dtype = torch.float64, **settings: Any) -> ChromTransfer:
    """A network of width 1/16 in float64, with batch norms and biases of both signs, and logits of deviation 1."""
    torch.manual_seed(seed)
    model = ChromTransfer(**{"width": 1 / 16, "head": (5,), "n_outputs": 2, **settings})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        elif isinstance(module, nn.Conv1d):
            nn.init.normal_(module.bias, std=0.3)
    model.eval()
    last = model.head[-1]
    with torch.no_grad():
        logits = model(one_hot_tensor(torch.from_numpy(sequences(64, 250))))
        last.weight.div_(logits.std(dim=0)[:, None])
        last.bias.sub_(logits.mean(dim=0)).div_(logits.std(dim=0))
    return model.to(dtype)


def sequences(n: int, length: int, unknown: tuple[int, ...] = ()) -> np.ndarray:
    """Codes (n, length), of very different composition; the first has N at the positions given."""
    rng = np.random.default_rng(length)
    codes = np.stack([rng.choice(4, length, p=rng.dirichlet(np.ones(4))) for _ in range(n)]).astype(np.uint8)
    for position in unknown:
        codes[0, position] = 4
    return codes


def brute_force(model: nn.Module, codes: np.ndarray, target: int = 0) -> np.ndarray:
    """Logit differences (N, 4, L) mutant by mutant, 0 at the reference base and at N."""
    wanted = np.zeros((len(codes), 4, codes.shape[1]))
    double = Double(model)
    for n, row in enumerate(codes):
        mutants, places = [row], []
        for position, own in enumerate(row):
            for base in range(4):
                if own != 4 and base != own:
                    mutant = row.copy()
                    mutant[position] = base
                    mutants.append(mutant)
                    places.append((base, position))
        logits = predict_logits(double, np.stack(mutants))[:, target].astype(np.float64)
        for (base, position), logit in zip(places, logits[1:], strict=True):
            wanted[n, base, position] = logit - logits[0]
    return wanted


class Double(nn.Module):
    """A model fed with its own type, as :func:`predict_logits` feeds float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.model(X.to(next(self.model.parameters()).dtype))


class Linear(nn.Module):
    """logit_t = sum over bases of weight[t, base, position]."""

    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bcl,tcl->bt", X, self.weight)
