"""Metrics of many resamples at once: each window is looked at once, weighted by how often it was drawn.

The values equal those of :mod:`chromtransfer_plugin.metrics` on the resamples written out, ties and all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.metrics import N_BINS, bin_of, davis_goadrich_areas, window_log_loss

Floats = NDArray[np.float64]

PROPER = ("brier", "log_loss", "ece")  # of probabilities as such, in no need of calls or ranks
CALLED = (
    "f1_positive",
    "f1_negative",
    "f1_weighted",
    "f1_macro",
    "accuracy",
    "average_precision_calls",
)
RANKED = ("auroc", "average_precision", "auprc_davis_goadrich")
_CELLS = 2**19  # of a block of resamples, to stay in the processor's cache


def resampled(
    y: NDArray[np.int64],
    p: Floats,
    counts: NDArray[np.uint16],
    *,
    thresholds: Sequence[float] = (0.5,),
    ranked: bool = True,
) -> list[dict[str, Floats]]:
    """Compute the metrics of every resample.

    Parameters
    ----------
    y, p : ndarray (N,)
        0/1 labels and probabilities.
    counts : ndarray (R, N)
        How often each resample holds each window; both classes must be in each.
    thresholds : sequence of float
        Calls are ``p > threshold``.
    ranked : bool
        Also the metrics of ranks, :data:`RANKED`, which cost most.

    Returns
    -------
    list of dict of str to ndarray (R,)
        For each threshold the metrics of :data:`CALLED`; in the first also :data:`PROPER` and, if wanted,
        :data:`RANKED`.
    """
    n = len(counts)
    sums = _Sums(y, p, thresholds)
    ranks = _Ranks(y, p) if ranked else None
    parts = []
    step = max(1, _CELLS // max(1, len(y)))
    for at in range(0, n, step):
        block = counts[at : at + step]
        first, *others = sums.metrics(block)
        parts.append([first | (ranks.metrics(block) if ranks else {}), *others])
    if not parts:
        names = [CALLED + PROPER + (RANKED if ranked else ()), *[CALLED for _ in thresholds[1:]]]
        return [{name: np.empty(0) for name in of_threshold} for of_threshold in names]
    return [
        {name: np.concatenate([part[i][name] for part in parts]) for name in parts[0][i]}
        for i in range(len(thresholds))
    ]


class _Sums:
    """Metrics that are made of sums over windows: one product of matrices gives all sums of all resamples."""

    def __init__(self, y: NDArray[np.int64], p: Floats, thresholds: Sequence[float]) -> None:
        in_bin = bin_of(p, N_BINS)[:, None] == np.arange(N_BINS)
        columns = [
            np.ones((len(y), 1)),
            y[:, None],
            (p - y)[:, None] ** 2,
            window_log_loss(y, p)[:, None],
            in_bin * (y - p)[:, None],
        ]
        for threshold in thresholds:
            call = p > threshold
            columns += [(call & (y == 1))[:, None], (call & (y == 0))[:, None]]
        self._columns = np.hstack([column.astype(np.float64) for column in columns])

    def metrics(self, block: NDArray[np.uint16]) -> list[dict[str, Floats]]:
        sums = (block.astype(np.float64) @ self._columns).T
        n, positive, squares, losses = sums[:4]
        gaps, calls = sums[4 : 4 + N_BINS], sums[4 + N_BINS :]
        results = [_of_calls(n, positive, tp, fp) for tp, fp in zip(calls[::2], calls[1::2], strict=True)]
        results[0] |= {"brier": squares / n, "log_loss": losses / n, "ece": np.abs(gaps).sum(axis=0) / n}
        return results


def _of_calls(n: Floats, positive: Floats, tp: Floats, fp: Floats) -> dict[str, Floats]:
    fn, negative = positive - tp, n - positive
    tn = negative - fp
    # The largest sum in the place of 0: with no hit, the numerator makes the ratio 0, as it must be.
    f1, f0 = (2 * hit / np.maximum(2 * hit + fp + fn, 1) for hit in (tp, tn))
    precision = tp / np.maximum(tp + fp, 1)
    return {
        "f1_positive": f1,
        "f1_negative": f0,
        "f1_weighted": (positive * f1 + negative * f0) / n,
        "f1_macro": (f1 + f0) / 2,
        "accuracy": (tp + tn) / n,
        # Two steps of the curve of 0/1 predictions: to the recall of the calls, and from there to everything called.
        "average_precision_calls": (tp * precision + fn * positive / n) / positive,
    }


class _Ranks:
    """Metrics of ranks: windows are sorted once, and the counts of every resample are summed up in that order.

    Only scores of open windows matter. At each of these scores, from the highest, stand the open windows so far and the
    closed windows above the score and down to it (the ties).
    """

    def __init__(self, y: NDArray[np.int64], p: Floats) -> None:
        opened, closed = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
        self._opened = opened[np.argsort(-p[opened], kind="stable")]
        self._closed = closed[np.argsort(-p[closed], kind="stable")]
        falling = -p[self._opened]
        self._last = np.flatnonzero(np.append(np.diff(falling) != 0, True))  # of each score
        scores, falling_closed = falling[self._last], -p[self._closed]
        self._above = np.searchsorted(falling_closed, scores, side="left")
        self._down_to = np.searchsorted(falling_closed, scores, side="right")

    def metrics(self, block: NDArray[np.uint16]) -> dict[str, Floats]:
        t1 = np.cumsum(block[:, self._opened], axis=1, dtype=np.float64)[:, self._last]
        f = np.zeros((len(block), len(self._closed) + 1))
        np.cumsum(block[:, self._closed], axis=1, out=f[:, 1:])
        f0, f1 = f[:, self._above], f[:, self._down_to]
        t0 = np.zeros_like(t1)
        t0[:, 1:] = t1[:, :-1]
        positive, negative = t1[:, -1], f[:, -1]
        rise = t1 - t0
        return {
            "auroc": (rise * (negative[:, None] - (f0 + f1) / 2)).sum(axis=1) / (positive * negative),
            "average_precision": (rise * t1 / np.maximum(t1 + f1, 1)).sum(axis=1) / positive,
            "auprc_davis_goadrich": davis_goadrich_areas(t0, t1, f0, f1).sum(axis=1) / positive,
        }
