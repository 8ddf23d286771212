"""Every metric of one model with its interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.draws import Draws, percentiles
from chromtransfer_plugin.evaluation.record import METRICS, Measure
from chromtransfer_plugin.evaluation.weighted import resampled
from chromtransfer_plugin.metrics import binary_metrics

AT_BEST = ("f1_positive", "f1_negative", "f1_weighted", "f1_macro")  # named best_NAME at the best threshold


def measure_all(
    y: NDArray[np.int64], p: NDArray[np.float64], draws: Draws | None, level: float = 0.95
) -> dict[str, Measure]:
    """Compute the metrics of :data:`~chromtransfer_plugin.evaluation.record.METRICS`, in that order.

    Parameters
    ----------
    y, p : ndarray (N,)
        0/1 labels and probabilities.
    draws : Draws or None
        None gives no intervals.
    level : float

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
    samples: dict[str, NDArray[np.float64]] = {}
    if draws is not None and at_best is not None:
        samples, of_best = resampled(y, p, draws.counts, thresholds=(0.5, best))
        samples |= {f"best_{name}": of_best[name] for name in AT_BEST}
    return {name: as_measure(values[name], samples.get(name), level) for name in METRICS}


def as_measure(value: float, samples: NDArray[np.float64] | None, level: float) -> Measure:
    """Put a value (NaN: not defined) and the percentile interval of its resamples (None: none) together."""
    if not math.isfinite(value):
        return Measure(value=None)
    low, high = (percentiles(samples, level) if samples is not None else None) or (None, None)
    return Measure(value=float(value), low=low, high=high)
