"""Paired tests between models on the same windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import Draws
from chromtransfer_plugin.evaluation.measures import Samples, as_measure, metric_samples
from chromtransfer_plugin.evaluation.record import COMPARED, Comparison, LineResult
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.metrics import binary_metrics


class DeLong(NamedTuple):
    """DeLong's test: AUROC of a minus that of b, its standard error and the two-sided P-value.

    The error is None with fewer than two windows of a class. P is None with it, and where the error is 0 although the
    AUROCs differ (one ranks all windows right, the other all wrong): the normal approximation says nothing there.
    """

    difference: float
    standard_error: float | None
    p_value: float | None


def delong(y: NDArray[np.int64], a: NDArray[np.float64], b: NDArray[np.float64]) -> DeLong:
    """Test whether two AUROCs on the same windows differ (DeLong et al. 1988, by Sun and Xu's fast algorithm).

    Windows count as independent. Neighbours are not, so the test is too sure of itself where loci hold several windows.

    Parameters
    ----------
    y : ndarray (N,)
        0/1 labels, both present.
    a, b : ndarray (N,)
        Scores of two models. Only their order matters.

    Raises
    ------
    ChromTransferError
        If only one class is present.
    """
    from scipy.stats import norm

    y = np.asarray(y)
    if not 0 < y.sum() < len(y):
        raise ChromTransferError(
            f"DeLong's test: the {len(y)} windows are all of one class, expected both open and closed ones."
        )
    opened_a, closed_a = _placements(y, a)
    opened_b, closed_b = _placements(y, b)
    # Placements are halves of whole numbers, so equal rankings give exact zeros here.
    opened, closed = opened_a - opened_b, closed_a - closed_b
    m, n = len(opened), len(closed)
    difference = float(opened.sum() / (m * n))
    if min(m, n) < 2:
        return DeLong(difference, None, None)
    error = float(np.sqrt((opened / n).var(ddof=1) / m + (closed / m).var(ddof=1) / n))
    if error == 0:
        return DeLong(difference, 0.0, 1.0 if difference == 0 else None)
    return DeLong(difference, error, float(2 * norm.sf(abs(difference) / error)))


def _placements(
    y: NDArray[np.int64], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count for each open window the closed ones that it beats, and for each closed one those that beat it; ties half."""
    from scipy.stats import rankdata

    opened, closed = np.asarray(score)[y == 1], np.asarray(score)[y == 0]
    rank = rankdata(np.concatenate([opened, closed]))
    beats = rank[: len(opened)] - rankdata(opened)
    beaten = len(opened) - (rank[len(opened) :] - rankdata(closed))
    return beats, beaten


def compare_models(
    scores: ScoreTable,
    pairs: Sequence[tuple[str, str]],
    draws: Draws,
    level: float = 0.95,
    samples: Mapping[str, Samples] | None = None,
) -> list[Comparison]:
    """Compare pairs of models in the metrics :data:`~chromtransfer_plugin.evaluation.record.COMPARED`; ``q`` is None.

    Parameters
    ----------
    scores : ScoreTable
        Of both classes.
    pairs : sequence of tuple of str
        Names of models; the difference is the first minus the second.
    draws : Draws
        Both models are measured on the same resamples.
    level : float
    samples : dict of str to dict, optional
        By name of model, what :func:`~chromtransfer_plugin.evaluation.measures.metric_samples` gave, so as not to
        compute it again.

    Returns
    -------
    list of Comparison
        For each pair, one per metric.

    Raises
    ------
    ChromTransferError
        If a model has no scores.
    """
    y = scores.y
    values, of = {}, dict(samples or {})
    for name in dict.fromkeys(name for pair in pairs for name in pair):
        if name not in scores.scores:
            raise ChromTransferError(
                f"{scores.line}: there are no scores of the model {name!r} to compare, only of "
                f"{', '.join(scores.scores) or 'none'}."
            )
        values[name] = binary_metrics(y, scores.scores[name])
        if name not in of:
            of[name] = metric_samples(y, scores.scores[name], draws)
    comparisons = []
    for a, b in pairs:
        for metric in COMPARED:
            differences = of[a][metric] - of[b][metric]
            difference = getattr(values[a], metric) - getattr(values[b], metric)
            is_auroc = metric == "auroc"
            comparisons.append(
                Comparison(
                    a=a,
                    b=b,
                    metric=metric,
                    difference=as_measure(difference, differences, level),
                    p_bootstrap=bootstrap_p(differences),
                    p_delong=delong(y, scores.scores[a], scores.scores[b]).p_value if is_auroc else None,
                )
            )
    return comparisons


def bootstrap_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided P-value of a difference from its resamples.

    ``2 (1 + count) / (1 + R)``, at most 1, with the number of resamples at or beyond 0 on the side that holds fewer:
    the largest ``1 - level`` at which the percentile interval still holds 0, kept off 0 by one more resample. It cannot
    be below ``2 / (1 + R)``.

    Returns
    -------
    float or None
        None without resamples.
    """
    if not len(differences):
        return None
    fewer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (1 + fewer) / (1 + len(differences)))


def with_q_values(lines: Sequence[LineResult]) -> list[LineResult]:
    """Fill ``q`` of every comparison, per metric over all lines (Benjamini-Hochberg)."""
    from scipy.stats import false_discovery_control

    q: dict[tuple[int, int], float] = {}
    places = [
        (i, j, c)
        for i, line in enumerate(lines)
        for j, c in enumerate(line.comparisons)
        if c.p_bootstrap is not None
    ]
    for metric in dict.fromkeys(c.metric for _, _, c in places):
        of_metric = [(i, j, c.p_bootstrap) for i, j, c in places if c.metric == metric]
        adjusted = false_discovery_control([p for _, _, p in of_metric])
        q |= {(i, j): float(v) for (i, j, _), v in zip(of_metric, adjusted, strict=True)}
    return [
        line.model_copy(
            update={
                "comparisons": [
                    c.model_copy(update={"q": q.get((i, j))}) for j, c in enumerate(line.comparisons)
                ]
            }
        )
        for i, line in enumerate(lines)
    ]
