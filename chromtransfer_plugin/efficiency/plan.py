"""Which windows each model gets: every share is drawn, and refused if it cannot work, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.efficiency.record import DRAWS, FRACTIONS
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.splits import k_folds

Rows: TypeAlias = NDArray[np.int64]

FOLDS = 3  # of a share, one validates; as many as in the paper
_ATTEMPTS = 100  # draws of one share before it is refused
_UNITS = 1_000_000  # fractions become whole numbers for the seed


class Sampling(NamedTuple):
    """How shares are drawn.

    Attributes
    ----------
    fractions : sequence of float
        Each above 0 and at most 1.
    draws : int
        Of each fraction; all windows (fraction 1) are one draw.
    replace : bool
        Draw windows with replacement: a bootstrap in the strict sense.
    stratified : bool
        Draw the fraction of the positives and of the negatives, as the counts of the paper's Table 1 show; otherwise
        of all windows, whatever their class.
    seed : int
    """

    fractions: Sequence[float] = (*FRACTIONS, 1.0)
    draws: int = DRAWS
    replace: bool = False
    stratified: bool = True
    seed: int = 1


class Share(NamedTuple):
    """The windows of one draw: rows of the training windows, those of ``validation`` are not in ``train``."""

    fraction: float
    draw: int
    seed: int
    train: Rows
    validation: Rows  # none where the protocol chooses no epoch
    redrawn: int

    @property
    def n(self) -> int:
        """Windows drawn."""
        return len(self.train) + len(self.validation)


def share_size(fraction: float, n: int) -> int:
    """Number of windows in a share of ``n``: rounded, halves to the even number as R and Python do."""
    return round(fraction * n)


def class_sizes(fraction: float, n_positive: int, n_negative: int) -> tuple[int, int]:
    """Positives and negatives in a stratified share.

    This is how the paper's shares of 25,669 positives and 49,004 negatives have 747, 3,733, 7,467, 11,201, 14,935, 18,668
    and 56,005 windows; only the printed 37,366 at 50 % is not 37,336, one digit off.
    """
    return share_size(fraction, n_positive), share_size(fraction, n_negative)


def draw_seed(seed: int, fraction: float, draw: int) -> int:
    """Seed of one draw, of its training as well: a pure function of these three."""
    words = [seed, round(fraction * _UNITS), draw]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def plan_shares(y: NDArray[np.int64], table: pd.DataFrame, sampling: Sampling, hold_out: bool) -> list[Share]:
    """Draw every share.

    Parameters
    ----------
    y : ndarray (N,)
        0/1 labels of the training windows.
    table : DataFrame
        Their ``chrom, start, end``.
    sampling : Sampling
    hold_out : bool
        Whether one of :data:`FOLDS` folds of each share, by locus, validates.

    Returns
    -------
    list of Share
        By fraction, then draw. Draws that cannot be trained on are drawn again and counted.

    Raises
    ------
    ChromTransferError
        If a setting is not usable, or a fraction too small: the smallest that works is named.
    """
    fractions = _checked(sampling)
    return [
        _share(y, table, sampling, hold_out, fraction, draw)
        for fraction in fractions
        for draw in range(1 if fraction == 1 else sampling.draws)
    ]


def _checked(sampling: Sampling) -> list[float]:
    fractions = sorted(float(fraction) for fraction in sampling.fractions)
    if not fractions:
        raise ChromTransferError("efficiency: no fraction given, expected at least one, such as 0.1.")
    for fraction in fractions:
        if not 1 / _UNITS <= fraction <= 1:  # also NaN
            percent = f" Write {fraction / 100:g} for {fraction:g} %." if 1 < fraction <= 100 else ""
            raise ChromTransferError(
                f"efficiency: fraction {fraction:g} is not above 0 and at most 1.{percent}"
            )
    if len({round(fraction * _UNITS) for fraction in fractions}) < len(fractions):
        raise ChromTransferError(f"efficiency: a fraction is given twice among {fractions}.")
    if sampling.draws < 1:
        raise ChromTransferError(f"efficiency: draws={sampling.draws}, expected 1 or more.")
    return fractions


def _share(
    y: NDArray[np.int64], table: pd.DataFrame, sampling: Sampling, hold_out: bool, fraction: float, draw: int
) -> Share:
    seed = draw_seed(sampling.seed, fraction, draw)
    rng = np.random.default_rng(seed)
    problem = ""
    for redrawn in range(_ATTEMPTS):
        rows = _draw(y, fraction, rng, sampling)
        validates, problem = _divided(y, table, rows, seed, hold_out)
        if not problem:
            return Share(fraction, draw, seed, rows[~validates], rows[validates], redrawn)
    smallest = _smallest(y, table, sampling, hold_out, fraction)
    raise ChromTransferError(
        f"efficiency: {100 * fraction:g} % of the {len(y)} training windows ({int(y.sum())} positive) cannot be trained "
        f"on: {problem}. "
        + (f"The smallest whole percentage that works is {smallest} %." if smallest else "No share works.")
    )


def _draw(y: NDArray[np.int64], fraction: float, rng: np.random.Generator, sampling: Sampling) -> Rows:
    """Rows of one share in the order of the file, so that equal shares give equal models."""
    if fraction == 1:
        return np.arange(len(y))
    if sampling.stratified:
        groups = [np.flatnonzero(y == 1), np.flatnonzero(y == 0)]
        sizes: tuple[int, ...] = class_sizes(fraction, len(groups[0]), len(groups[1]))
    else:
        groups, sizes = [np.arange(len(y))], (share_size(fraction, len(y)),)
    drawn = [
        rng.choice(group, size, replace=sampling.replace) if size else group[:0]
        for group, size in zip(groups, sizes, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _divided(
    y: NDArray[np.int64], table: pd.DataFrame, rows: Rows, seed: int, hold_out: bool
) -> tuple[NDArray[np.bool_], str]:
    """Tell which rows of a share validate, and why it cannot be trained on (empty if it can)."""
    validates = np.zeros(len(rows), dtype=bool)
    if hold_out:
        try:
            validates = k_folds(table.iloc[rows], FOLDS, "locus", seed=seed) == 0
        except ChromTransferError:
            return (
                validates,
                f"its {len(rows)} windows lie in fewer than {FOLDS} loci, and one fold of {FOLDS} validates",
            )
    trained = y[rows[~validates]]
    positive = int(trained.sum())
    if 0 < positive < len(trained):
        return validates, ""
    rest = f" beside {int(validates.sum())} that validate" if hold_out else ""
    return (
        validates,
        f"it has {positive} positive and {len(trained) - positive} negative windows to train on{rest}",
    )


def _smallest(
    y: NDArray[np.int64], table: pd.DataFrame, sampling: Sampling, hold_out: bool, fraction: float
) -> int | None:
    for percent in range(int(100 * fraction) + 1, 101):
        rows = _draw(y, percent / 100, np.random.default_rng(sampling.seed), sampling)
        if not _divided(y, table, rows, sampling.seed, hold_out)[1]:
            return percent
    return None
