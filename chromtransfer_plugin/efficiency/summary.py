"""From draws to the table: mean, standard deviation, bootstrap band, and what it says in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.efficiency.kept import FinishedDraw
from chromtransfer_plugin.efficiency.plan import draw_seed
from chromtransfer_plugin.efficiency.record import Row
from chromtransfer_plugin.evaluation.draws import Draws, percentiles
from chromtransfer_plugin.evaluation.measures import measure_all
from chromtransfer_plugin.evaluation.weighted import resampled

WITHIN = 0.02  # AUROC below that of all windows that counts as having reached it
CHANCE = 0.5


def measures_of(y: NDArray[np.int64], probability: NDArray[np.float32]) -> dict[str, float | None]:
    """Every metric of :data:`~chromtransfer_plugin.evaluation.record.METRICS` on the test windows."""
    values = measure_all(y, probability.astype(np.float64), None)
    return {name: measure.value for name, measure in values.items()}


def summarise(
    finished: Sequence[FinishedDraw], y: NDArray[np.int64], resamples: Draws, level: float, seed: int
) -> list[Row]:
    """Make one row for each fraction.

    Parameters
    ----------
    finished : sequence of FinishedDraw
    y : ndarray (N,)
        0/1 labels of the test windows.
    resamples : Draws
        Of the test windows; the same for all fractions.
    level : float
        Coverage of the bands.
    seed : int
        Of the choice of draws.

    Returns
    -------
    list of Row
        ``sd`` has the divisor D - 1 and is None for one draw. A band holds the mean over D draws that are drawn with
        replacement, on resampled test windows.
    """
    fractions = sorted({one.draw.fraction for one in finished})
    return [
        _row([one for one in finished if one.draw.fraction == fraction], y, resamples, level, seed)
        for fraction in fractions
    ]


def _row(
    draws: Sequence[FinishedDraw], y: NDArray[np.int64], resamples: Draws, level: float, seed: int
) -> Row:
    first = draws[0].draw
    names = list(first.measures)
    values = {name: [one.draw.measures[name] for one in draws] for name in names}
    low, high = _bands(draws, y, resamples, level, seed)
    return Row(
        fraction=first.fraction,
        n=first.n,
        draws=len(draws),
        mean={name: _mean(values[name]) for name in names},
        sd={name: _sd(values[name]) for name in names},
        low={name: low.get(name) for name in names},
        high={name: high.get(name) for name in names},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _sd(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) == len(values) > 1 else None


def _bands(
    draws: Sequence[FinishedDraw], y: NDArray[np.int64], resamples: Draws, level: float, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Lower and upper ends by metric; metrics at a threshold chosen on the test windows have none."""
    n = len(resamples.counts)
    if not n:
        return {}, {}
    parts = [resampled(y, one.probability.astype(np.float64), resamples.counts)[0] for one in draws]
    rng = np.random.default_rng(draw_seed(seed, draws[0].draw.fraction, 0))
    chosen = rng.integers(0, len(draws), size=(len(draws), n))
    low, high = {}, {}
    for name in parts[0]:
        samples = np.stack([part[name] for part in parts])  # (D, R)
        means = np.take_along_axis(samples, chosen, axis=0).mean(axis=0)
        if (ends := percentiles(means, level)) is not None:
            low[name], high[name] = ends
    return low, high


def finding(rows: Sequence[Row]) -> str:
    """Say in words how much data the model needs, by AUROC, and where the test windows cannot tell."""
    full = rows[-1]
    best = full.mean["auroc"]
    if full.fraction != 1 or best is None:
        return "All training windows (fraction 1) are not among the shares: nothing to compare them with."
    low, high = full.low.get("auroc"), full.high.get("auroc")
    if low is not None and low <= CHANCE:
        return (
            f"The model of all {full.n:,} windows is not clearly better than chance: AUROC {best:.2f}, band {low:.2f} to "
            f"{high:.2f}. This analysis cannot say how much data is needed."
        )
    enough = full
    for row in reversed(
        rows
    ):  # from the largest share down, as long as all above it reach the full AUROC as well
        mean = row.mean["auroc"]
        if mean is None or mean < best - WITHIN:
            break
        enough = row
    band = f" (band {low:.2f} to {high:.2f})" if low is not None else ""
    if enough is full:
        if len(rows) == 1:
            return f"All {full.n:,} windows give an AUROC of {best:.2f}{band}; no smaller share was tried."
        return (
            f"The curve has not levelled off: {100 * rows[-2].fraction:g} % of the data give a mean AUROC of "
            f"{rows[-2].mean['auroc']:.2f}, all {full.n:,} windows {best:.2f}{band}. More data may help."
        )
    reached = enough.mean["auroc"] or math.nan
    return (
        f"{100 * enough.fraction:g} % of the data ({enough.n:,} windows) reach a mean AUROC of {reached:.2f}; all "
        f"{full.n:,} windows give {best:.2f}{band}."
    )
