"""Training losses on logits, and the shift of logits from one share of positives to another.

A label that is not known is NaN: in a multi-task set a window may have been measured for some outputs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from chromtransfer_plugin.errors import ChromTransferError

Activation = Literal["sigmoid", "softmax"]


class BinaryLoss(nn.Module):
    """Binary cross-entropy of logits (B, T) against 0/1/NaN targets (B, T): the mean over windows.

    The loss of a window is the mean over its known outputs, so that the batch loss is a plain mean over windows
    and shares of a batch on several devices average to it exactly.

    Parameters
    ----------
    negative_weight, positive_weight : float or sequence of T floats
        Each term is multiplied by its class's weight; the mean still divides by the number of terms, not by the
        sum of weights (Keras' ``class_weight``).
    focal_gamma : float
        Each term is multiplied by ``(1 - p_t) ** focal_gamma``, where ``p_t`` is the probability given to the true
        class (Lin et al. 2017, arXiv:1708.02002). 0 is cross-entropy.

    Notes
    -----
    A window without any known output makes the loss NaN; reading data refuses such windows.
    Weights of several outputs are buffers: move the loss to the device of the logits.
    """

    negative_weight: torch.Tensor
    positive_weight: torch.Tensor

    def __init__(
        self,
        negative_weight: float | Sequence[float] | np.ndarray = 1.0,
        positive_weight: float | Sequence[float] | np.ndarray = 1.0,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__()
        # Scalars become 0-dimensional tensors, which combine with tensors of any device.
        for name, weight in (("negative_weight", negative_weight), ("positive_weight", positive_weight)):
            self.register_buffer(name, torch.as_tensor(weight, dtype=torch.float32), persistent=False)
        self.weighted = not (np.all(np.equal(negative_weight, 1)) and np.all(np.equal(positive_weight, 1)))
        self.focal_gamma = focal_gamma

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss."""
        # A single output is always known; the masks would cost it a dozen kernels in each step.
        known = ~torch.isnan(targets) if targets.shape[1] > 1 else None
        if known is not None:
            # Unknown targets are replaced before the loss, not after it: 0 * NaN would be a NaN gradient.
            targets = torch.where(known, targets, 0.0)
        each = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.focal_gamma:
            towards_truth = torch.where(targets > 0.5, logits, -logits)
            each = each * torch.exp(self.focal_gamma * functional.logsigmoid(-towards_truth))
        if self.weighted:
            each = each * torch.where(targets > 0.5, self.positive_weight, self.negative_weight)
        if known is None:
            return each.mean()
        return (torch.where(known, each, 0.0).sum(dim=1) / known.sum(dim=1)).mean()


class CategoricalLoss(nn.Module):
    """Cross-entropy of logits (B, K) against one-hot targets (B, K): the mean over windows.

    Parameters
    ----------
    class_weights : sequence of K floats, optional
        Each window's loss is multiplied by the weight of its class; the mean divides by the number of windows.
        They are a buffer: move the loss to the device of the logits.
    focal_gamma : float
        As in :class:`BinaryLoss`.
    """

    class_weights: torch.Tensor | None

    def __init__(
        self, class_weights: Sequence[float] | np.ndarray | None = None, focal_gamma: float = 0.0
    ) -> None:
        super().__init__()
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)
        self.focal_gamma = focal_gamma

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the scalar loss."""
        log_p = functional.log_softmax(logits, dim=1)
        each = -(targets * log_p).sum(dim=1)
        if self.focal_gamma:
            # log(1 - p_t) from the other classes: 1 - exp(log p_t) is 0, with a NaN gradient, for a sure network.
            log_rest = torch.logsumexp(log_p.masked_fill(targets > 0.5, -torch.inf), dim=1)
            each = each * torch.exp(self.focal_gamma * log_rest)
        if self.class_weights is not None:
            each = each * (targets * self.class_weights).sum(dim=1)
        return each.mean()


def criterion_for(activation: str) -> nn.Module:
    """Return the unweighted loss that fits the activation: ``sigmoid`` or ``softmax`` (one-hot targets)."""
    return CategoricalLoss() if activation == "softmax" else BinaryLoss()


def training_loss(
    activation: str,
    targets: np.ndarray,
    balanced: bool = False,
    pos_weight: float | None = None,
    focal_gamma: float = 0.0,
    outputs: Sequence[str] = (),
) -> nn.Module:
    """Return the loss that is minimised on a training set.

    Parameters
    ----------
    activation : {"sigmoid", "softmax"}
        Binary or multi-task outputs, or exclusive classes (one-hot targets).
    targets : numpy.ndarray (N, T)
        Of the training set: 0, 1 or NaN (not known).
    balanced : bool
        scikit-learn's ``balanced`` weights (the paper's example script): ``n / (2 n_class)`` for each output, counted
        on its known targets; ``n / (K n_class)`` for K exclusive classes.
    pos_weight : float, optional
        Weight of positives, negatives have 1; the same for every output.
    focal_gamma : float
        0: cross-entropy.
    outputs : sequence of str
        Names of the outputs, for messages.

    Raises
    ------
    ChromTransferError
        If both weights are asked for, ``pos_weight`` for exclusive classes, or a class to balance does not occur.
    """
    if balanced and pos_weight is not None:
        raise ChromTransferError(
            f"training: balanced and pos_weight={pos_weight:g} both weigh the classes: choose one."
        )
    if activation == "softmax":
        if pos_weight is not None:
            raise ChromTransferError(
                f"training: pos_weight={pos_weight:g} has no meaning for exclusive classes: use balanced."
            )
        return CategoricalLoss(_class_weights(targets, outputs) if balanced else None, focal_gamma)
    if balanced:
        return BinaryLoss(*_binary_weights(targets, outputs), focal_gamma=focal_gamma)
    return BinaryLoss(1.0, 1.0 if pos_weight is None else pos_weight, focal_gamma)


def _binary_weights(targets: np.ndarray, outputs: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Negative and positive weights, each (T,), or 0-dimensional for one output."""
    positives = (targets > 0.5).sum(axis=0)
    negatives = (targets <= 0.5).sum(axis=0)  # NaN is neither
    for index in np.flatnonzero((positives == 0) | (negatives == 0)):
        raise ChromTransferError(
            f"training: balanced class weights need both classes; for {_name(index, outputs)} the training set has "
            f"{positives[index]} positive and {negatives[index]} negative targets."
        )
    known = positives + negatives
    weights = known / (2 * negatives), known / (2 * positives)
    return (weights[0][0], weights[1][0]) if targets.shape[1] == 1 else weights


def _class_weights(targets: np.ndarray, outputs: Sequence[str]) -> np.ndarray:
    """Weights of the exclusive classes, (K,)."""
    counts = (targets > 0.5).sum(axis=0)
    for index in np.flatnonzero(counts == 0):
        raise ChromTransferError(
            f"training: balanced class weights need every class; {_name(index, outputs)} does not occur in the "
            f"training set of {len(targets)} windows."
        )
    return counts.sum() / (len(counts) * counts)


def _name(index: int, outputs: Sequence[str]) -> str:
    return f"'{outputs[index]}'" if outputs else f"output {index}"


# --- share of positives ----------------------------------------------------------------------------------


def effective_prior(
    targets: np.ndarray,
    balanced: bool = False,
    pos_weight: float | None = None,
    sampling: Literal["natural", "balanced"] = "natural",
    *,
    activation: str = "sigmoid",
    focal_gamma: float = 0.0,
) -> np.ndarray:
    """Share of positives that the loss makes the model believe in: weighted positives over all weights.

    Parameters
    ----------
    targets : numpy.ndarray (N, T)
        Of the training set, NaN where not known.
    balanced, pos_weight, activation, focal_gamma
        As for :func:`training_loss`.
    sampling : {"natural", "balanced"}
        How windows are drawn (:func:`~chromtransfer_plugin.training.sampling.epoch_indices`).

    Returns
    -------
    numpy.ndarray (T,) float64
        In (0, 1); for ``softmax`` the shares of the exclusive classes, which sum to 1.

    Raises
    ------
    ChromTransferError
        With a focal loss: it does not fit probabilities, so no offset makes its output one; or if an output
        has one class only.
    """
    # At call time: the package `training` imports this module.
    from chromtransfer_plugin.training.sampling import expected_draws

    if focal_gamma:
        raise ChromTransferError(
            f"training: target_prior needs a loss that fits probabilities; focal_gamma={focal_gamma:g} does not. "
            "Set focal_gamma to 0 or leave target_prior out."
        )
    loss = training_loss(activation, targets, balanced, pos_weight)
    known = ~np.isnan(targets)
    # A window's loss is the mean over its known outputs: each term counts so much less.
    draws = expected_draws(targets, sampling)[:, None]
    counts = known * draws / known.sum(axis=1, keepdims=True)
    weight = np.ones(targets.shape[1])
    if isinstance(loss, BinaryLoss):
        positive, negative = (w.double().numpy() for w in (loss.positive_weight, loss.negative_weight))
        weight = np.where(targets > 0.5, positive, negative)
    elif isinstance(loss, CategoricalLoss) and loss.class_weights is not None:
        weight = (targets * loss.class_weights.double().numpy()).sum(axis=1, keepdims=True)
    total = (counts * weight).sum(axis=0)
    prior = (counts * weight * (targets > 0.5)).sum(axis=0) / total
    for index in np.flatnonzero((prior <= 0) | (prior >= 1)):
        raise ChromTransferError(
            f"training: target_prior needs positive and negative training windows; output {index} has only one kind."
        )
    return prior


def prior_shift(
    from_prior: np.ndarray, to_prior: float | Sequence[float] | np.ndarray, *, activation: str = "sigmoid"
) -> np.ndarray:
    """Offset to add to logits when the share of positives changes from training to use.

    Bayes' rule with unchanged class densities multiplies the odds by the ratio of prior odds (Elkan 2001,
    theorem 2; Saerens et al. 2002, Neural Comput. 14:21, equation 4).

    Parameters
    ----------
    from_prior : numpy.ndarray (T,)
        Of :func:`effective_prior`.
    to_prior : float or sequence of T floats
        Share of positives where the model is used, in (0, 1). For ``softmax`` one share for each class, summing to 1.

    Returns
    -------
    numpy.ndarray (T,) float64
        ``logit(to) - logit(from)``; for ``softmax`` ``log(to / from)``.
    """
    start, goal = np.asarray(from_prior, dtype=float), np.asarray(to_prior, dtype=float)
    if not ((goal > 0) & (goal < 1)).all():
        raise ChromTransferError(f"training: target_prior={to_prior} is not a share between 0 and 1.")
    if goal.ndim and goal.shape != start.shape:
        raise ChromTransferError(
            f"training: target_prior has {goal.size} shares but the model has {start.size} outputs."
        )
    if activation == "softmax":
        if goal.shape != start.shape or not np.isclose(goal.sum(), 1):
            raise ChromTransferError(
                f"training: with exclusive classes target_prior needs one share for each of the {start.size} classes, "
                f"summing to 1, not {to_prior}."
            )
        return np.log(goal) - np.log(start)
    return np.log(goal) - np.log1p(-goal) - np.log(start) + np.log1p(-start)
