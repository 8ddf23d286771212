"""Every metric of one model with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.draws import Draws, percentiles
from chromtransfer_plugin.evaluation.record import METRICS, Measure
from chromtransfer_plugin.evaluation.weighted import resampled
from chromtransfer_plugin.metrics import binary_metrics

Floats: TypeAlias = NDArray[np.float64]
Samples: TypeAlias = Mapping[str, Floats]

AT_BEST = ("f1_positive", "f1_negative", "f1_weighted", "f1_macro")  # named best_NAME at the best threshold


def metric_samples(y: NDArray[np.int64], p: Floats, draws: Draws) -> Samples:
    """Compute the metrics that have an interval, all but the best threshold itself, in every resample (R,).

    Raises
    ------
    ChromTransferError
        If a label is not 0 or 1, or a probability not in [0, 1].
    """
    best = binary_metrics(y, p).best_f1_threshold
    at_half, at_best = resampled(y, p, draws.counts, thresholds=(0.5, best))
    return at_half | {f"best_{name}": at_best[name] for name in AT_BEST}


def measure_all(
    y: NDArray[np.int64],
    p: Floats,
    draws: Draws | None,
    level: float = 0.95,
    samples: Samples | None = None,
) -> dict[str, Measure]:
    """Compute the metrics of :data:`~chromtransfer_plugin.evaluation.record.METRICS`, in that order.

    Parameters
    ----------
    y, p : ndarray (N,)
        0/1 labels and probabilities.
    draws : Draws or None
        None gives no intervals.
    level : float
    samples : dict, optional
        What :func:`metric_samples` gave, so as not to compute it again.

    Returns
    -------
    dict of str to Measure
        ``value`` is that of :func:`~chromtransfer_plugin.metrics.binary_metrics`. The best threshold is chosen once, on
        all windows, and kept in every resample. Metrics without a value (one class only) have None.

    Raises
    ------
    ChromTransferError
        If a label is not 0 or 1, a probability not in [0, 1], or ``level`` not between 0 and 1.
    """
    at_half = binary_metrics(y, p)
    values = {name: getattr(at_half, name) for name in METRICS if hasattr(at_half, name)}
    best = at_half.best_f1_threshold
    at_best = binary_metrics(y, p, best) if math.isfinite(best) else None
    for name in AT_BEST:
        values.setdefault(f"best_{name}", getattr(at_best, name) if at_best else math.nan)
    if samples is None:
        samples = metric_samples(y, p, draws) if draws is not None else {}
    return {name: as_measure(values[name], samples.get(name), level) for name in METRICS}


def as_measure(value: float, samples: Floats | None, level: float) -> Measure:
    """Put a value (NaN: not defined) and the percentile interval of its resamples (None: none) together."""
    if not math.isfinite(value):
        return Measure(value=None)
    low, high = (percentiles(samples, level) if samples is not None else None) or (None, None)
    return Measure(value=float(value), low=low, high=high)
