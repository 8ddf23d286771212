"""Loss and logits of windows, and the L2 penalty that Keras adds to a loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.dataset import Windows, batches
from chromtransfer_plugin.defaults import PREDICT_BATCH
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.models.chromtransfer import ChromTransfer


class Evaluation(NamedTuple):
    """Mean loss on some windows and the logits (N, T) float32, in the windows' order."""

    loss: float
    logits: np.ndarray


def evaluate(
    model: nn.Module, windows: Windows, criterion: nn.Module, batch_size: int = PREDICT_BATCH
) -> Evaluation:
    """Loss and logits of windows, in evaluation mode, without changing the model."""
    outputs, total = [], 0.0
    with evaluating(model) as device:
        for X, y in batches(windows, batch_size, device):
            logits = model(X)
            total += criterion(logits, y).item() * len(X)
            outputs.append(logits.float().cpu())
    return Evaluation(total / max(1, windows.n), torch.cat(outputs).numpy())


def evaluate_features(
    head: nn.Module, features: torch.Tensor, targets: torch.Tensor, criterion: nn.Module
) -> Evaluation:
    """Same as :func:`evaluate`, from the trunk's features (N, n_features) and targets (N, T) on one device."""
    with evaluating(head):
        logits = head(features)
        return Evaluation(criterion(logits, targets).item(), logits.float().cpu().numpy())


def l2_penalty(model: nn.Module, l2: float) -> float:
    """Return ``l2 * sum(w**2)`` over the penalised kernels: the part of a Keras loss that is not data."""
    if not isinstance(model, ChromTransfer):
        return 0.0
    with torch.no_grad():
        return l2 * float(sum(kernel.double().pow(2).sum().item() for kernel in model.l2_kernels()))
