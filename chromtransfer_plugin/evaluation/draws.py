"""Bootstrap resamples of windows, or of whole loci, as how often each window was drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin.errors import ChromTransferError

Resample = Literal["locus", "window"]

FEW_LOCI = 10  # below it, a percentile interval over loci is too narrow to be believed


@dataclass(frozen=True)
class Draws:
    """Resamples that every model and every pair of models shares, so that what they have in common cancels.

    Attributes
    ----------
    counts : ndarray (R, N) uint16
        How often resample r holds window i. No row if all windows are one locus: nothing can then be said of others.
    redrawn : int
        Resamples that lacked a class and were drawn again.
    resample : {"locus", "window"}
    """

    counts: NDArray[np.uint16]
    redrawn: int
    resample: Resample


def make_draws(
    y: NDArray[np.int64],
    locus: NDArray[np.int64],
    *,
    resample: Resample = "locus",
    n: int = 1000,
    seed: int = 0,
) -> Draws:
    """Draw ``n`` resamples of N windows, or of as many loci as there are.

    Parameters
    ----------
    y, locus : ndarray (N,)
        0/1 labels, and the number of the locus of each window (any numbers; not looked at if windows are drawn).
    resample : {"locus", "window"}
        What is drawn with replacement. Neighbouring windows resemble each other, so drawing windows as if they were
        independent gives intervals that are too narrow.
    n, seed : int

    Returns
    -------
    Draws
        Of ``n`` resamples, each with both classes; 2 n N bytes.

    Raises
    ------
    ChromTransferError
        If only one class is present, lengths differ or ``n`` is below 1.
    """
    y = np.asarray(y)
    if n < 1:
        raise ChromTransferError(f"bootstrap: need n >= 1 resamples, got n={n}.")
    if len(y) == 0 or not 0 < y.sum() < len(y):
        labels = f"all {len(y)} labels are {y[0]}" if len(y) else "there is no window"
        raise ChromTransferError(f"bootstrap: {labels}; an interval needs examples of both classes.")
    unit = np.arange(len(y))
    if resample == "locus":
        if np.shape(locus) != y.shape:
            raise ChromTransferError(f"bootstrap: {len(y)} labels but loci of shape {np.shape(locus)}.")
        unit = np.unique(locus, return_inverse=True)[1]
    units = int(unit.max()) + 1
    positives = np.bincount(unit, weights=y, minlength=units)
    negatives = np.bincount(unit, minlength=units) - positives
    if units == 1:
        n = 0
    rng = np.random.default_rng(seed)
    counts, redrawn = np.empty((n, len(y)), dtype=np.uint16), 0
    for row in counts:
        drawn = rng.integers(0, units, size=units)
        while not (positives[drawn].any() and negatives[drawn].any()):
            redrawn += 1
            drawn = rng.integers(0, units, size=units)
        row[:] = np.bincount(drawn, minlength=units)[unit]
    return Draws(counts, redrawn, resample)


def require_level(level: float) -> None:
    """Raise if the coverage of an interval is not between 0 and 1."""
    if not 0 < level < 1:
        raise ChromTransferError(f"bootstrap: need a level between 0 and 1, got level={level}.")


def percentiles(values: ArrayLike, level: float) -> tuple[float, float] | None:
    """Take the percentile interval of a statistic of the resamples.

    Parameters
    ----------
    values : array-like, shape (R,)
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    tuple of float, or None
        None without resamples, or if the statistic is not defined in one of them.

    Raises
    ------
    ChromTransferError
        If ``level`` is not between 0 and 1.
    """
    require_level(level)
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        return None
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def few_loci(y: NDArray[np.int64], locus: NDArray[np.int64]) -> str:
    """Say in a sentence that too few loci carry the intervals, or return an empty text.

    Both classes are counted: positives that all lie in three loci are three observations, however many negatives.
    """
    y, locus = np.asarray(y), np.asarray(locus)
    n, with_open, with_closed = (len(np.unique(locus[rows])) for rows in (y >= 0, y == 1, y == 0))
    if min(with_open, with_closed) >= FEW_LOCI:
        return ""
    if n == 1:
        return "All windows are one locus: there are no intervals and no tests over loci."
    return (
        f"Few loci: {n}, of which {with_open} hold open windows and {with_closed} closed ones. Intervals and tests "
        f"over loci are too optimistic with fewer than {FEW_LOCI} of either."
    )
