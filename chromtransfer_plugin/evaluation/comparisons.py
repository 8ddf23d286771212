"""Paired tests between models on the same windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.draws import Draws
from chromtransfer_plugin.evaluation.record import Comparison, LineResult
from chromtransfer_plugin.evaluation.scores import ScoreTable


class DeLong(NamedTuple):
    """DeLong's test: AUROC of a minus that of b, its standard error and the two-sided P-value."""

    difference: float
    standard_error: float
    p_value: float


def delong(y: NDArray[np.int64], a: NDArray[np.float64], b: NDArray[np.float64]) -> DeLong:
    """Test whether two AUROCs on the same windows differ (DeLong et al. 1988, by Sun and Xu's fast algorithm)."""
    raise NotImplementedError


def compare_models(
    scores: ScoreTable, pairs: Sequence[tuple[str, str]], draws: Draws, level: float = 0.95
) -> list[Comparison]:
    """Compare pairs of models in the metrics :data:`~chromtransfer_plugin.evaluation.record.COMPARED`; ``q`` is None."""
    raise NotImplementedError


def with_q_values(lines: Sequence[LineResult]) -> list[LineResult]:
    """Fill ``q`` of every comparison, per metric over all lines (Benjamini-Hochberg)."""
    raise NotImplementedError
