"""Training losses on logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError


class BinaryLoss(nn.Module):
    """Mean binary cross-entropy of logits (B, T) against 0/1 targets (B, T), optionally class-weighted.

    Parameters
    ----------
    negative_weight, positive_weight : float
        Each example's loss is multiplied by its class's weight and the mean is taken over all examples
        (Keras' ``class_weight``).
    """

    def __init__(self, negative_weight: float = 1.0, positive_weight: float = 1.0) -> None:
        super().__init__()
        self.negative_weight, self.positive_weight = negative_weight, positive_weight

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss."""
        weight = None
        if (self.negative_weight, self.positive_weight) != (1.0, 1.0):
            weight = torch.where(targets > 0.5, self.positive_weight, self.negative_weight)
        return nn.functional.binary_cross_entropy_with_logits(logits, targets, weight=weight)


def criterion_for(activation: str) -> nn.Module:
    """Return the unweighted loss that fits the activation: ``sigmoid`` or ``softmax`` (one-hot targets)."""
    return nn.CrossEntropyLoss() if activation == "softmax" else BinaryLoss()


def balanced_loss(targets: np.ndarray) -> BinaryLoss:
    """Binary loss with scikit-learn's ``balanced`` weights, n / (2 n_class) (the paper's example script)."""
    positives = float((targets > 0.5).sum())
    negatives = float(targets.size - positives)
    if not positives or not negatives:
        raise ChromTransferError(
            f"balanced class weights need both classes; the training set has {positives:.0f} positive and "
            f"{negatives:.0f} negative targets."
        )
    return BinaryLoss(targets.size / (2 * negatives), targets.size / (2 * positives))
