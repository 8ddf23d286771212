"""The scores of an allele, from the logits of both alleles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from chromtransfer_plugin.variants.models import Predictor
    from chromtransfer_plugin.variants.scorer import Scores


class Effects(NamedTuple):
    """Scores (n, columns): float32 probabilities and effects; NaN where a row has none.

    Attributes
    ----------
    p_ref, p_alt : ndarray
        Probabilities of either allele.
    difference : ndarray
        ``p_alt - p_ref``; also where both round to the same float32 number.
    log_odds : ndarray
        Natural log of the odds of ALT minus that of REF; of a sigmoid output the difference of its logits.
    """

    p_ref: NDArray[np.float32]
    p_alt: NDArray[np.float32]
    difference: NDArray[np.float32]
    log_odds: NDArray[np.float32]


def log_odds(logits: NDArray[np.floating], activation: str) -> NDArray[np.float64]:
    """Give the natural log of the odds, ``ln(p / (1 - p))``, of each output of one model.

    Parameters
    ----------
    logits : ndarray, shape (n, outputs)
        All outputs of the model; those of a row are of one window.
    activation : str
        ``sigmoid``: the logit itself. ``softmax``: the logit of a class minus the logsumexp of those of the others.

    Returns
    -------
    ndarray of float64, shape (n, outputs)
        NaN where a logit that counts is NaN.
    """
    z = np.asarray(logits, dtype=np.float64)
    if activation != "softmax":
        return z
    from scipy.special import logsumexp

    others = [logsumexp(np.delete(z, k, axis=1), axis=1) for k in range(z.shape[1])]
    return np.asarray(z - np.stack(others, axis=1))


def effects_of(scores: Scores, predictors: Sequence[Predictor]) -> Effects:
    """Turn logits into probabilities and effects.

    Equal logits give an effect of exactly 0, and exchanging the alleles changes exactly the sign.

    Parameters
    ----------
    scores : Scores
        The logits of a predictor of exclusive classes (softmax) must be of one window in each row.
    predictors : sequence of Predictor
        Whose columns the scores have, in order.
    """
    ref, alt = (_all_log_odds(logits, predictors) for logits in (scores.ref, scores.alt))
    results = (_probability(ref), _probability(alt), _probability_difference(ref, alt), alt - ref)
    return Effects(*(values.astype(np.float32) for values in results))


def _all_log_odds(logits: NDArray[np.float32], predictors: Sequence[Predictor]) -> NDArray[np.float64]:
    ends = np.cumsum([len(predictor.columns) for predictor in predictors])
    parts = np.split(logits, ends[:-1], axis=1)
    return np.concatenate(
        [log_odds(part, predictor.activation) for part, predictor in zip(parts, predictors, strict=True)],
        axis=1,
    )


def _probability(z: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(z))


def _probability_difference(ref: NDArray[np.float64], alt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give ``p(alt) - p(ref)`` from log-odds without subtracting numbers that are nearly equal.

    With the larger one h and the smaller one l it is, apart from the sign, ``p(h) (1 - p(l)) (1 - exp(l - h))``.
    """
    high, low = np.maximum(ref, alt), np.minimum(ref, alt)
    return np.asarray(np.sign(alt - ref) * _probability(high) * _probability(-low) * -np.expm1(low - high))
