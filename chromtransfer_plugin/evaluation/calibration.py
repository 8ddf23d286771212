"""Calibration of probabilities, before and after a correction, and conformal prediction sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import Draws
from chromtransfer_plugin.evaluation.measures import as_measure
from chromtransfer_plugin.evaluation.record import Calibration, Conformal
from chromtransfer_plugin.evaluation.weighted import PROPER, resampled
from chromtransfer_plugin.metrics import expected_calibration_error, reliability, window_log_loss

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Correction = Callable[[Floats], Floats]

FOLDS = 5
_COLDEST, _HOTTEST = 0.05, 20.0  # temperatures; at the ends probabilities are all but calls, or all but 0.5
_SMALLEST = float(np.finfo(np.float64).eps)


class Held(NamedTuple):
    """Windows that a model did not train on, to fit a correction: labels, probabilities, and what they are in words.

    ``what`` goes into the records: ``validation fold, 812 windows``.
    """

    y: Labels
    p: Floats
    what: str


class _Fit(NamedTuple):
    """Windows to fit on, and the rows of the test windows that the fit is for."""

    y: Labels
    p: Floats
    rows: NDArray[np.int64]


def calibrations(
    y: Labels,
    p: Floats,
    locus: NDArray[np.int64],
    draws: Draws | None,
    *,
    validation: Held | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> list[Calibration]:
    """Measure calibration of the probabilities as they are, after temperature scaling, and after isotonic regression.

    Corrections are fitted on ``validation``; without it they are cross-fitted on the test windows, over folds of whole
    loci: each window is corrected by a fit on the others.

    Parameters
    ----------
    y, p, locus : ndarray (N,)
        0/1 labels, probabilities and loci of the test windows.
    draws : Draws or None
        Resamples for the intervals; corrections are not fitted again in each.
    validation : Held, optional
        If it lacks a class, corrections are cross-fitted, and ``fitted_on`` says why.
    level : float
    seed : int
        Deals the loci to folds.

    Returns
    -------
    list of Calibration
        ``none``, ``temperature`` and ``isotonic``. Cross-fitted, ``temperature`` is the geometric mean of the folds.
        Where nothing can be fitted only ``none``, whose ``fitted_on`` then holds the reason.
    """
    y, p = np.asarray(y), np.asarray(p, dtype=np.float64)
    fits, words = _fits(y, p, locus, validation, seed)
    first = _measured("none", y, p, draws, level, "" if fits else words)
    if not fits:
        return [first]
    warm, stepped, temperatures = p.copy(), p.copy(), []
    for fit in fits:
        temperatures.append(fit_temperature(fit.y, fit.p))
        warm[fit.rows] = with_temperature(p[fit.rows], temperatures[-1])
        stepped[fit.rows] = fit_isotonic(fit.y, fit.p)(p[fit.rows])
    mean = float(np.exp(np.log(temperatures).mean()))
    return [
        first,
        _measured("temperature", y, warm, draws, level, words, mean),
        _measured("isotonic", y, stepped, draws, level, words),
    ]


def conformal_sets(
    y: Labels,
    p: Floats,
    locus: NDArray[np.int64],
    *,
    validation: Held | None = None,
    levels: Sequence[float] = (0.8, 0.9),
    seed: int = 0,
) -> list[Conformal]:
    """Make split-conformal prediction sets for each class and measure their coverage on the test windows.

    A class belongs to the set of a window if its probability is at least that which ``level`` of the windows of this
    class, of those fitted on, reach. So each class is covered at ``level`` (up to ties, or more), however rare it is, as
    long as windows to fit on and test windows are alike.

    Parameters
    ----------
    y, p, locus, validation, seed
        As in :func:`calibrations`.
    levels : sequence of float
        Between 0 and 1.

    Returns
    -------
    list of Conformal
        One per level; none where :func:`calibrations` has nothing to fit on.

    Raises
    ------
    ChromTransferError
        If a level is not between 0 and 1.
    """
    y, p = np.asarray(y), np.asarray(p, dtype=np.float64)
    fits, words = _fits(y, p, locus, validation, seed)
    results = []
    for level in levels:
        if not 0 < level < 1:
            raise ChromTransferError(f"conformal sets: need a level between 0 and 1, got {level}.")
        has_open, has_closed = np.zeros(len(y), dtype=bool), np.zeros(len(y), dtype=bool)
        for fit in fits:
            has_open[fit.rows] = p[fit.rows] >= _lowest(fit.p[fit.y == 1], level)
            has_closed[fit.rows] = -p[fit.rows] >= _lowest(-fit.p[fit.y == 0], level)
        if fits:
            results.append(
                Conformal(
                    level=level,
                    fitted_on=words,
                    coverage_open=float(has_open[y == 1].mean()) if (y == 1).any() else None,
                    coverage_closed=float(has_closed[y == 0].mean()) if (y == 0).any() else None,
                    both=float((has_open & has_closed).mean()),
                    neither=float((~has_open & ~has_closed).mean()),
                    single=float((has_open ^ has_closed).mean()),
                )
            )
    return results


def fit_temperature(y: Labels, p: Floats) -> float:
    """Find the temperature whose probabilities ``sigmoid(logit(p) / T)`` have the smallest log-loss.

    It is searched for between 0.05 and 20. Above 1, the probabilities were too sure of themselves.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: window_log_loss(y, with_temperature(p, math.exp(log_t))).mean(),
        bounds=(math.log(_COLDEST), math.log(_HOTTEST)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(math.exp(found.x))


def with_temperature(p: Floats, temperature: float) -> Floats:
    """Divide the logits of probabilities by a temperature; the order stays, as far as numbers near 1 differ."""
    from scipy.special import expit, logit

    return expit(logit(np.clip(p, _SMALLEST, 1 - _SMALLEST)) / temperature)


def fit_isotonic(y: Labels, p: Floats) -> Correction:
    """Fit the rising step curve (lines between the steps) with the smallest Brier score.

    Its results are kept ``1 / (n + 2)`` off 0 and 1: n windows cannot tell that something never happens.
    """
    from sklearn.isotonic import IsotonicRegression

    margin = 1 / (len(y) + 2)
    curve = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip").fit(p, y)
    return lambda values: np.asarray(curve.predict(values), dtype=np.float64)


def _measured(
    method: Literal["none", "temperature", "isotonic"],
    y: Labels,
    p: Floats,
    draws: Draws | None,
    level: float,
    fitted_on: str,
    temperature: float | None = None,
) -> Calibration:
    samples = resampled(y, p, draws.counts, ranked=False)[0] if draws is not None else {}
    values = {
        "ece": expected_calibration_error(y, p),
        "brier": float(np.mean((p - y) ** 2)),
        "log_loss": float(window_log_loss(y, p).mean()),
    }
    bins = reliability(y, p)
    return Calibration(
        method=method,
        fitted_on=fitted_on,
        temperature=temperature,
        **{name: as_measure(values[name], samples.get(name), level) for name in PROPER},
        n=bins.n.tolist(),
        mean_predicted=[None if math.isnan(v) else float(v) for v in bins.mean_predicted],
        observed=[None if math.isnan(v) else float(v) for v in bins.observed],
    )


def _fits(
    y: Labels, p: Floats, locus: NDArray[np.int64], validation: Held | None, seed: int
) -> tuple[list[_Fit], str]:
    """Choose what to fit on, in words as well; no fit where neither source has both classes (then the reason)."""
    why = ""
    if validation is not None:
        held = np.asarray(validation.y)
        words = validation.what
        if 0 < held.sum() < len(held):
            held_p = np.asarray(validation.p, dtype=np.float64)
            return [_Fit(held, held_p, np.arange(len(y)))], words
        why = f" (of one class only: {words})"
    fold = locus_folds(y, np.asarray(locus), seed)
    if fold is None:
        return [], f"not corrected: fewer than two loci hold open, or closed, test windows{why}"
    n = int(fold.max()) + 1
    fits = [_Fit(y[fold != i], p[fold != i], np.flatnonzero(fold == i)) for i in range(n)]
    return fits, f"test windows, cross-fitted over {n} folds of loci{why}"


def locus_folds(y: Labels, locus: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """Deal whole loci to at most :data:`FOLDS` folds, so that the others of each fold hold both classes; None if impossible.

    Loci are sorted by what they hold (only open windows, both, only closed) and at random within; dealing them out in
    turn spreads the classes evenly. Neighbours in that order never share a fold, so a class of two loci is in two folds.
    """
    numbers, unit = np.unique(locus, return_inverse=True)
    positives = np.bincount(unit, weights=y, minlength=len(numbers))
    negatives = np.bincount(unit, minlength=len(numbers)) - positives
    if min((positives > 0).sum(), (negatives > 0).sum()) < 2:
        return None
    kind = np.where(negatives == 0, 0, np.where(positives > 0, 1, 2))
    order = np.lexsort((np.random.default_rng(seed).random(len(numbers)), kind))
    fold = np.empty(len(numbers), dtype=np.int64)
    fold[order] = np.arange(len(numbers)) % FOLDS
    return fold[unit]


def _lowest(values: Floats, level: float) -> float:
    """Return the score that the k-th best of n calibration windows reaches, k = ceil((n + 1) level); -inf beyond n."""
    # Rounded first: 100 * 0.55 is a hair above 55.
    k = math.ceil(round((len(values) + 1) * level, 9))
    return float(np.sort(values)[::-1][k - 1]) if k <= len(values) else -math.inf
