"""The scores of an allele, from the logits of both alleles, and what they are called in the output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.scorer import Scores


class Effects(NamedTuple):
    """Scores (n, columns): float32 probabilities and effects; NaN where a row has none.

    Attributes
    ----------
    p_ref, p_alt : ndarray
        Probabilities of either allele.
    difference : ndarray
        ``p_alt - p_ref``.
    log_odds : ndarray
        Natural log of the odds of ALT minus that of REF; of a sigmoid output the difference of its logits.
    """

    p_ref: NDArray[np.float32]
    p_alt: NDArray[np.float32]
    difference: NDArray[np.float32]
    log_odds: NDArray[np.float32]


def effects_of(scores: Scores, predictors: list[Predictor]) -> Effects:
    """Turn logits into probabilities and effects."""
    raise NotImplementedError
