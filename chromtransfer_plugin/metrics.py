"""Binary classification metrics as the paper reports them, intervals and calibration."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import make_draws, percentiles, require_level

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
Metric: TypeAlias = Callable[[Labels, Floats], float]

N_BINS = 10  # of the reliability curve and the calibration error

_ONE_CLASS = (
    "Only one class is present: auroc, the three area metrics under precision-recall and best F1 are NaN."
)


@dataclass(frozen=True)
class BinaryMetrics:
    """Every number of one evaluation. See :func:`binary_metrics`.

    Attributes
    ----------
    n, n_positive : int
        Examples, and those with label 1.
    threshold : float
        A probability strictly above it is a positive call.
    auroc : float
        Area under the ROC curve.
    average_precision : float
        On probabilities.
    average_precision_calls : float
        On the 0/1 calls: the paper's "AUPRC" of 0.40-0.74.
    auprc_davis_goadrich : float
        Interpolated area under the precision-recall curve, the one of the authors' table and of R's PRROC.
    f1_positive, f1_negative : float
        Per class; 0 where the class is neither called nor present.
    f1_weighted : float
        Mean of the two weighted by class size: the paper's "overall F1".
    f1_macro : float
        Plain mean of the two.
    accuracy : float
    tp, fp, fn, tn : int
        Confusion counts.
    brier, log_loss : float
        Mean squared error and mean negative log likelihood (nats) of the probabilities.
    ece : float
        Expected calibration error in 10 equal-width bins.
    best_f1_positive, best_f1_threshold : float
        Largest ``f1_positive`` over all thresholds, and the threshold that gives exactly it. It is chosen on
        the data it is reported for, so it describes the ranking and does not predict performance.
    note : str
        Empty, or why some numbers are NaN.
    """

    n: int
    n_positive: int
    threshold: float
    auroc: float
    average_precision: float
    average_precision_calls: float
    auprc_davis_goadrich: float
    f1_positive: float
    f1_negative: float
    f1_weighted: float
    f1_macro: float
    accuracy: float
    tp: int
    fp: int
    fn: int
    tn: int
    brier: float
    log_loss: float
    ece: float
    best_f1_positive: float
    best_f1_threshold: float
    note: str = ""


class Interval(NamedTuple):
    """A percentile bootstrap interval; ``redrawn`` counts the resamples that lacked a class."""

    estimate: float
    low: float
    high: float
    level: float
    redrawn: int


class Reliability(NamedTuple):
    """Calibration per probability bin; NaN means in empty bins."""

    n: NDArray[np.int64]
    mean_predicted: Floats
    observed: Floats


def binary_metrics(y_true: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> BinaryMetrics:
    """Compare probabilities with 0/1 labels.

    Parameters
    ----------
    y_true : array-like, shape (N,)
        Labels, 0 or 1.
    probability : array-like, shape (N,)
        Probability of label 1, in [0, 1].
    threshold : float
        A probability strictly above it is a positive call, as in the released tables.

    Returns
    -------
    BinaryMetrics
        With a single class, metrics that need both are NaN and ``note`` says so; the others are still given.

    Raises
    ------
    ChromTransferError
        If lengths differ, there is no example, a label is not 0 or 1, or a probability is not in [0, 1].
    """
    from sklearn import metrics as sk

    y, p = _checked(y_true, probability)
    call = (p > threshold).astype(np.int64)
    tn, fp, fn, tp = (int(v) for v in sk.confusion_matrix(y, call, labels=[0, 1]).ravel())
    positive, negative = _f1(tp, fp, fn), _f1(tn, fn, fp)
    both = 0 < y.sum() < len(y)
    best_f1, best_threshold = _best_f1(y, p) if both else (math.nan, math.nan)
    return BinaryMetrics(
        n=len(y),
        n_positive=int(y.sum()),
        threshold=float(threshold),
        auroc=auroc(y, p),
        average_precision=average_precision(y, p),
        average_precision_calls=average_precision(y, call.astype(np.float64)),
        auprc_davis_goadrich=auprc_davis_goadrich(y, p),
        f1_positive=positive,
        f1_negative=negative,
        f1_weighted=float((y.sum() * positive + (len(y) - y.sum()) * negative) / len(y)),
        f1_macro=(positive + negative) / 2,
        accuracy=(tp + tn) / len(y),
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        brier=float(np.mean((p - y) ** 2)),
        log_loss=float(window_log_loss(y, p).mean()),
        ece=expected_calibration_error(y, p),
        best_f1_positive=best_f1,
        best_f1_threshold=best_threshold,
        note="" if both else _ONE_CLASS,
    )


def auroc(y: Labels, p: Floats) -> float:
    """Area under the ROC curve, ties counted half; NaN with a single class."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, p)) if 0 < np.sum(y) < len(y) else math.nan


def average_precision(y: Labels, p: Floats) -> float:
    """Step-wise average precision; NaN with a single class."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y, p)) if 0 < np.sum(y) < len(y) else math.nan


def known_only(metric: Callable[..., float]) -> Callable[[ArrayLike, ArrayLike], float]:
    """Make a metric skip unknown targets (NaN); for Selene's ``metrics``.

    Parameters
    ----------
    metric : callable
        ``metric(targets, predictions) -> float`` on two vectors, e.g. scikit-learn's ``roc_auc_score``.

    Returns
    -------
    callable
        The same on vectors (N,), or on arrays (N, T), where it is the mean over the outputs that have a score. An
        output whose known targets are all equal has none: the result is NaN, which Selene's files show as ``NA``.
        (Selene stops with a TypeError where only some of its metrics have a score.)
    """

    @functools.wraps(metric)
    def on_known(targets: ArrayLike, predictions: ArrayLike) -> float:
        y, p = np.asarray(targets, dtype=np.float64), np.asarray(predictions)
        if y.ndim == 1:
            known = ~np.isnan(y)
            several = len(np.unique(y[known])) > 1
            return float(metric(y[known], p[known])) if several else math.nan
        scores = np.array([on_known(a, b) for a, b in zip(y.T, p.T, strict=True)])
        return float(np.nanmean(scores)) if not np.isnan(scores).all() else math.nan

    return on_known


def auprc_davis_goadrich(y: Labels, p: Floats) -> float:
    """Area under the precision-recall curve with Davis and Goadrich's interpolation; NaN with a single class.

    Between two observed thresholds, false positives grow linearly with true positives, so precision is
    ``t / (a + b t)`` in the number ``t`` of true positives. That is integrated exactly over recall.
    """
    if not 0 < np.sum(y) < len(y):
        return math.nan
    order = np.argsort(-np.asarray(p), kind="stable")
    last_of_tie = np.append(np.diff(np.asarray(p)[order]) != 0, True)
    tp = np.append(0, np.cumsum(np.asarray(y)[order])[last_of_tie]).astype(np.float64)
    fp = np.append(0, np.flatnonzero(last_of_tie) + 1) - tp
    return float(davis_goadrich_areas(tp[:-1], tp[1:], fp[:-1], fp[1:]).sum() / tp[-1])


def davis_goadrich_areas(t0: Floats, t1: Floats, f0: Floats, f1: Floats) -> Floats:
    """Area under precision between true positives ``t0`` and ``t1`` while false positives grow from ``f0`` to ``f1``.

    All are arrays of one shape, as is the result. Divide by the number of positives for an area over recall.
    """
    rise = t1 - t0
    rises = rise > 0  # recall does not move elsewhere, so there is no area
    slope = (f1 - f0) / np.where(rises, rise, 1.0)
    a, b = f0 - slope * t0, 1 + slope
    # From the origin a is 0 and precision is the constant 1 / b; the logarithm would be of a division by 0.
    curved = rises & (a != 0)
    ratio = np.divide(t1 + f1, t0 + f0, out=np.ones_like(a), where=curved)
    return np.where(rises, rise / b - a / b**2 * np.log(ratio), 0.0)


def window_log_loss(y: Labels, p: Floats) -> Floats:
    """Negative log likelihood (nats) of each example; probabilities are clipped as scikit-learn clips them."""
    smallest = np.finfo(np.float64).eps
    p = np.clip(np.asarray(p, dtype=np.float64), smallest, 1 - smallest)
    return -np.log(np.where(np.asarray(y) == 1, p, 1 - p))


def bin_of(p: Floats, n_bins: int = N_BINS) -> NDArray[np.int64]:
    """Number the equal-width bin of [0, 1] that each probability lies in.

    One on an inner edge belongs to the bin above it, 1 to the last bin.
    """
    return np.minimum((p * n_bins).astype(np.int64), n_bins - 1)


def reliability(y_true: ArrayLike, probability: ArrayLike, n_bins: int = N_BINS) -> Reliability:
    """Mean predicted probability and observed positive share in the bins of :func:`bin_of`.

    Returns
    -------
    Reliability
        Three arrays of shape (n_bins,).
    """
    y, p = _checked(y_true, probability)
    if n_bins < 1:
        raise ChromTransferError(f"reliability: n_bins must be at least 1, got {n_bins}.")
    index = bin_of(p, n_bins)
    n = np.bincount(index, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(index, weights=p, minlength=n_bins) / n
        observed = np.bincount(index, weights=y, minlength=n_bins) / n
    return Reliability(n, predicted, observed)


def expected_calibration_error(y_true: ArrayLike, probability: ArrayLike, n_bins: int = N_BINS) -> float:
    """Mean of ``|observed - mean predicted|`` over the bins of :func:`reliability`, weighted by size."""
    bins = reliability(y_true, probability, n_bins)
    filled = bins.n > 0
    gap = np.abs(bins.observed[filled] - bins.mean_predicted[filled])
    return float(np.average(gap, weights=bins.n[filled]))


def bootstrap_interval(
    y_true: ArrayLike,
    probability: ArrayLike,
    metric: Metric = auroc,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a metric over examples.

    Parameters
    ----------
    y_true, probability : array-like, shape (N,)
        As in :func:`binary_metrics`.
    metric : callable
        ``metric(y, p) -> float``, e.g. :func:`auroc`.
    n : int
        Resamples.
    level : float
        Coverage, between 0 and 1.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Interval
        Resamples that lack a class are redrawn and counted in ``redrawn``.

    Raises
    ------
    ChromTransferError
        As :func:`binary_metrics`; also if only one class is present.

    Notes
    -----
    Examples are resampled as if independent. Overlapping windows are not, so the interval is then too narrow;
    :func:`~chromtransfer_plugin.evaluation.measures.measure_all` resamples whole loci.
    """
    y, p = _checked(y_true, probability)
    return _bootstrap(y, lambda rows: metric(y[rows], p[rows]), n, level, seed)


def bootstrap_difference(
    y_true: ArrayLike,
    probability_a: ArrayLike,
    probability_b: ArrayLike,
    metric: Metric = auroc,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of ``metric(a) - metric(b)`` for two models scored on the same examples.

    Both models see the same resampled examples, so what they share cancels. Parameters, result and errors are
    those of :func:`bootstrap_interval`.
    """
    y, a = _checked(y_true, probability_a)
    _, b = _checked(y_true, probability_b)
    return _bootstrap(y, lambda rows: metric(y[rows], a[rows]) - metric(y[rows], b[rows]), n, level, seed)


def _bootstrap(
    y: Labels, statistic: Callable[[NDArray[np.int64]], float], n: int, level: float, seed: int
) -> Interval:
    require_level(level)
    every = np.arange(len(y))
    draws = make_draws(y, every, resample="window", n=n, seed=seed)
    values = [statistic(np.repeat(every, counts)) for counts in draws.counts]
    low, high = percentiles(values, level) or (math.nan, math.nan)
    return Interval(float(statistic(every)), low, high, level, draws.redrawn)


def _f1(hit: int, false_alarm: int, miss: int) -> float:
    return 2 * hit / (2 * hit + false_alarm + miss) if hit else 0.0


def _best_f1(y: Labels, p: Floats) -> tuple[float, float]:
    """Largest positive F1 and the highest threshold t whose calls ``p > t`` give it."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, lowest_called = precision_recall_curve(y, p)
    precision, recall = precision[:-1], recall[:-1]  # the last point has no threshold
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    # scikit-learn calls p >= its threshold; the next lower score is the threshold for p > t.
    threshold = lowest_called[best - 1] if best else np.nextafter(lowest_called[0], -np.inf)
    return float(f1[best]), float(threshold)


def _checked(y_true: ArrayLike, probability: ArrayLike) -> tuple[Labels, Floats]:
    y, p = np.asarray(y_true), np.asarray(probability, dtype=np.float64)
    if y.ndim != 1 or p.shape != y.shape:
        raise ChromTransferError(
            f"metrics: labels and probabilities must be two lists of the same length, got shapes {y.shape} "
            f"and {p.shape}."
        )
    if len(y) == 0:
        raise ChromTransferError("metrics: there is no example to evaluate.")
    wrong = np.flatnonzero((y != 0) & (y != 1))
    if len(wrong):
        raise ChromTransferError(
            f"metrics: label {y[wrong[0]]!r} at position {wrong[0]} is neither 0 nor 1 "
            f"({len(wrong)} of {len(y)} labels are not)."
        )
    wrong = np.flatnonzero(~((p >= 0) & (p <= 1)))  # also catches NaN
    if len(wrong):
        raise ChromTransferError(
            f"metrics: probability {p[wrong[0]]} at position {wrong[0]} is not in [0, 1]; models return "
            "logits, apply a sigmoid first."
        )
    return y.astype(np.int64), p
