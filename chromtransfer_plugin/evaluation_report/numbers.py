"""What the rules of the verdict ask of a record, and how they write numbers."""

from __future__ import annotations

import math

from chromtransfer_plugin.evaluation.record import Calibration, Comparison, Measure, ModelResult


def measure_of(model: ModelResult, name: str) -> Measure:
    """Return a metric of a model; one that is not in the record has no value."""
    return model.measures.get(name, Measure(value=None))


def turned(comparison: Comparison) -> Measure:
    """Return the difference as ``b`` minus ``a``."""
    value, low, high = (
        None if number is None else -number
        for number in (comparison.difference.value, comparison.difference.high, comparison.difference.low)
    )
    return Measure(value=value, low=low, high=high)


def best_correction(model: ModelResult) -> Calibration | None:
    """Return the correction that leaves the smallest ECE; None if none was tried."""
    tried = [one for one in model.calibration if one.method != "none" and one.ece.value is not None]
    return min(tried, key=lambda one: one.ece.value or 0.0, default=None)


def chance_ece(model: ModelResult) -> float:
    """Return the ECE that is expected of right probabilities, by chance alone; 0 if the bins are not known.

    In a bin of n windows with mean probability p, the share of open windows is off by sqrt(2 p (1 - p) / (pi n)) on average.
    """
    bins = next((one for one in model.calibration if one.method == "none"), None)
    if bins is None or not sum(bins.n):
        return 0.0
    off = (
        n * math.sqrt(2 * p * (1 - p) / (math.pi * n))
        for n, p in zip(bins.n, bins.mean_predicted, strict=True)
        if n and p is not None
    )
    return sum(off) / sum(bins.n)


def rounded_up(n: int) -> int:
    """Round up to two digits: more are not known of how many windows would do."""
    step = 10 ** max(0, len(str(n)) - 2)
    return -(-n // step) * step


def with_interval(measure: Measure, signed: bool = False) -> str:
    """Write a value with its interval: ``0.862 [0.853, 0.871]``."""
    return measure.text(signed, undefined="not defined").replace("-", "−")
