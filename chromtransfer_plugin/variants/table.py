"""A block of variants with its scores, and the table of them that TSV and Parquet hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import decode
from chromtransfer_plugin.variants.effects import Effects
from chromtransfer_plugin.variants.records import Block
from chromtransfer_plugin.variants.statuses import FLAG_NAMES, STATUSES, flag_text
from chromtransfer_plugin.variants.windows import window_starts

TEXTS = ("chrom", "id", "ref", "alt", "status", "flags", "norm_ref", "norm_alt")
COLUMNS = (
    "chrom",
    "pos",
    "id",
    "ref",
    "alt",
    "line",
    "status",
    "flags",
    "norm_pos",
    "norm_ref",
    "norm_alt",
    "window_start",
    "window_end",
)
PLACE = ("start", "old", "new", "slide", "swapped")


class Measure(NamedTuple):
    """A number that each allele gets from each column: its names in table and INFO, and what it is."""

    name: str
    field: str
    meaning: str

    @property
    def is_integer(self) -> bool:
        """Whether it is a whole number."""
        return self.name == "shift"


_EFFECTS = (
    Measure("p_ref", "REF", "probability with REF"),
    Measure("p_alt", "ALT", "probability with ALT"),
    Measure("difference", "DIFF", "P(ALT) - P(REF)"),
    Measure("log_odds", "LOGODDS", "ln(odds of P(ALT) / odds of P(REF))"),
)
_NULL = (
    Measure("percentile", "PCT", "percent of null variants with a smaller absolute LOGODDS"),
    Measure("p_value", "P", "(1 + null variants with at least this absolute LOGODDS) / (1 + null variants)"),
)
_SHIFT = (Measure("shift", "SHIFT", "bp by which the window with the largest absolute LOGODDS is moved"),)


def measures(with_null: bool, with_shifts: bool) -> tuple[Measure, ...]:
    """Give the numbers that a run writes, in order."""
    return (*_EFFECTS, *(_NULL if with_null else ()), *(_SHIFT if with_shifts else ()))


@dataclass(frozen=True)
class Results:
    """A block with its scores, (rows, columns) each; those of rows whose status is not 0 mean nothing.

    Attributes
    ----------
    block : Block
    effects : Effects
    percentile, p_value : ndarray or None
        None without a null.
    shift : ndarray of int64
    genome : Genome
    width : int
    columns : sequence of str
    measures : tuple of Measure
    """

    block: Block
    effects: Effects
    percentile: NDArray[np.float32] | None
    p_value: NDArray[np.float32] | None
    shift: NDArray[np.int64]
    genome: Genome
    width: int
    columns: Sequence[str]
    measures: tuple[Measure, ...]

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Which rows have scores."""
        return np.asarray(self.block.table["status"].to_numpy() == 0)

    def numbers(self, measure: Measure) -> NDArray[np.float32] | NDArray[np.int64]:
        """Give one number of all rows and columns."""
        values = getattr(self.effects if measure in _EFFECTS else self, measure.name)
        assert values is not None  # `measures` tells which there are
        return values

    @cached_property
    def statuses(self) -> NDArray[np.object_]:
        """The status of each row as a word."""
        return np.array(STATUSES, dtype=object)[self.block.table["status"].to_numpy()]

    @cached_property
    def flags(self) -> NDArray[np.object_]:
        """The flags of each row as words joined by ``|``, "." if there are none."""
        return _FLAG_TEXTS[self.block.table["flags"].to_numpy()]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each allele: what it is, then the numbers of each column."""
        given = self.block.table
        start = _reference_starts(given, self.width)
        pos, ref, alt = _normalised(given, self.genome, self.scored)
        table = pd.DataFrame(
            {
                **{name: given[name] for name in ("chrom", "pos", "id", "ref", "alt")},
                "line": self.block.numbers[given["record"].to_numpy()],
                "status": pd.Series(self.statuses, index=given.index, dtype="str"),
                "flags": pd.Series(self.flags, index=given.index, dtype="str"),
                "norm_pos": self._where_scored(pos),
                "norm_ref": pd.Series(ref, index=given.index, dtype="str").where(self.scored),
                "norm_alt": pd.Series(alt, index=given.index, dtype="str").where(self.scored),
                "window_start": self._where_scored(start),
                "window_end": self._where_scored(start + self.width),
            },
            columns=list(COLUMNS),
        )
        scores = {
            f"{column}.{measure.name}": self._column(measure, number)
            for number, column in enumerate(self.columns)
            for measure in self.measures
        }
        return pd.concat([table, pd.DataFrame(scores, index=given.index)], axis=1)

    def _column(self, measure: Measure, number: int) -> object:
        values = self.numbers(measure)[:, number]
        if measure.is_integer:
            return self._where_scored(values.astype(np.int64))
        return np.where(self.scored, values, np.float32(np.nan))

    def _where_scored(self, values: NDArray[np.int64]) -> object:
        return pd.arrays.IntegerArray(np.asarray(values, dtype=np.int64), ~self.scored)


_FLAG_TEXTS = np.array([flag_text(flags) for flags in range(2 * max(FLAG_NAMES))], dtype=object)


def _reference_starts(table: pd.DataFrame, width: int) -> NDArray[np.int64]:
    """Give the first base of the window of the genome's own allele on the plus strand."""
    swapped = table["swapped"].to_numpy(dtype=bool)
    return np.where(swapped, window_starts(table, "alt", width), window_starts(table, "ref", width))


def _normalised(
    table: pd.DataFrame, genome: Genome, scored: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.object_]]:
    """Write placed variants as a VCF does, with the base before a pure insertion or deletion; others stay empty."""
    swapped = table["swapped"].to_numpy(dtype=bool)
    old, new = (table[name].to_numpy(dtype=object) for name in ("old", "new"))
    ref, alt = np.where(swapped, new, old), np.where(swapped, old, new)
    start = table["start"].to_numpy(dtype=np.int64)
    pos = start + 1
    pure = np.flatnonzero(scored & ((ref == "") != (alt == "")))
    if pure.size:
        first = start[pure] == 0  # nothing is before it: the base behind it instead
        behind = table["old"].str.len().to_numpy(dtype=np.int64)[pure]
        at = np.where(first, behind, start[pure] - 1)
        letters = list(decode(genome.extract(table["chrom"].to_numpy()[pure], at, 1)[:, 0]))
        for row, letter, is_first in zip(pure, letters, first, strict=True):
            ref[row], alt[row] = (
                base + letter if is_first else letter + base for base in (ref[row], alt[row])
            )
        pos[pure[~first]] -= 1
    return pos, ref, alt


class Top:
    """The rows with the largest absolute log-odds of any column, in order of it; of equal ones the first.

    Parameters
    ----------
    size : int
        How many at most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: pd.DataFrame | None = None
        self._effects = np.zeros(0)

    def add(self, results: Results) -> None:
        """Look at a block."""
        if not self._size:
            return
        effects = np.where(results.scored, np.abs(results.effects.log_odds).max(axis=1, initial=0), -1)
        least = self._effects[-1] if len(self._effects) == self._size else -1
        rows = np.flatnonzero(effects > least)
        if self._kept is not None and not rows.size:
            return
        new = pd.concat([results.table, results.block.table[list(PLACE)]], axis=1).iloc[rows]
        both = [new] if self._kept is None or not len(self._kept) else [self._kept, new]
        table = pd.concat(both, ignore_index=True)
        values = np.concatenate([self._effects, effects[rows]])
        best = np.argsort(-values, kind="stable")[: self._size]
        self._kept, self._effects = table.iloc[best].reset_index(drop=True), values[best]

    @property
    def table(self) -> pd.DataFrame:
        """Columns of the table, then those of the placed variant."""
        return pd.DataFrame() if self._kept is None else self._kept
