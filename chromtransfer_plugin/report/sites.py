"""Of each motif: the distributions of its sites' scores and of the background's, and its most extreme sites."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.motifs.places import SitePlaces

QUANTILES = np.linspace(0, 1, 51)
BEST = 5  # sites at either end
_DEPTH = 12  # times as many are looked at, because overlapping windows share sites


class MotifSites(NamedTuple):
    """What the page shows of one motif's sites.

    Attributes
    ----------
    quantiles : list of (motif, background)
        For each of the comparison's names: scores at ``QUANTILES``, both lists of 51 numbers, or None where there is
        no score.
    highest, lowest : DataFrame
        Rows of the hits with the largest and smallest score (of two models: difference), each place once.
    """

    quantiles: list[tuple[list[float] | None, list[float] | None]]
    highest: pd.DataFrame
    lowest: pd.DataFrame


class _Values(NamedTuple):
    """Scores in ascending order, and where in it each row is (-1 for a row without a score)."""

    rows: NDArray[np.float64]
    ordered: NDArray[np.float64]
    at: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> _Values:
        known = np.flatnonzero(~np.isnan(values))
        known = known[np.argsort(values[known], kind="stable")]
        at = np.full(len(values), -1, dtype=np.int64)
        at[known] = np.arange(len(known))
        return cls(values, values[known], at)

    def quantiles(self, own: NDArray[np.int64]) -> list[float] | None:
        values = np.sort(self.rows[own])
        values = values[~np.isnan(values)]
        return _rounded(values[_nearest(len(values))]) if len(values) else None

    def quantiles_without(self, near: NDArray[np.int64]) -> list[float] | None:
        """Of all rows but ``near``, without sorting again: number k of the rest is k + j, where j of ``near`` are below."""
        left_out = np.sort(self.at[near])
        left_out = left_out[np.searchsorted(left_out, 0) :]
        n = len(self.ordered) - len(left_out)
        if n == 0:
            return None
        wanted = _nearest(n)
        below = np.searchsorted(left_out - np.arange(len(left_out)), wanted, "right")
        return _rounded(self.ordered[wanted + below])


class SiteTable:
    """All sites of a comparison, ready to be asked for one motif after the other.

    Parameters
    ----------
    comparison : Comparison
    """

    def __init__(self, comparison: Comparison) -> None:
        self._hits = comparison.hits
        self._places = SitePlaces.of(comparison.hits)
        self._numbers = {motif: number for number, motif in enumerate(self._places.motifs)}
        self._values = [
            _Values.of(column[self._places.order]) for column in site_scores(self._hits, comparison)
        ]

    def of(self, motif: str) -> MotifSites:
        """Return what the page shows of a motif, which must have a site."""
        own = self._places.rows(self._numbers[motif])
        near = self._places.overlapping(own)
        quantiles = [(values.quantiles(own), values.quantiles_without(near)) for values in self._values]
        key = self._values[-1].rows[own]
        order = own[np.argsort(key, kind="stable")][: int((~np.isnan(key)).sum())]  # NaN is last
        return MotifSites(quantiles, self._first(order[::-1]), self._first(order))

    def _first(self, order: NDArray[np.int64]) -> pd.DataFrame:
        rows = self._hits.iloc[self._places.order[order[: BEST * _DEPTH]]]
        return rows.drop_duplicates(["chrom", "start", "end"]).head(BEST)


def site_scores(hits: pd.DataFrame, comparison: Comparison) -> list[NDArray[np.float64]]:
    """Scores of sites by A, or by A, by B and their difference; NaN where there is none."""
    models = [comparison.a] if comparison.b is None else [comparison.a, comparison.b]
    scores = [hits[comparison.column(model)].to_numpy(np.float64, na_value=np.nan) for model in models]
    return scores if comparison.b is None else [*scores, scores[0] - scores[1]]


def number(value: Any, digits: int = 3) -> float | None:
    """Round to significant digits; a missing value is None."""
    return None if pd.isna(value) else float(f"{value:.{digits}g}")


def _nearest(n: int) -> NDArray[np.int64]:
    return np.round(QUANTILES * (n - 1)).astype(np.int64)


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.3g}") for value in values]
