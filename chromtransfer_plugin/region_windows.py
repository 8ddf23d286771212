"""From the rows of a region file to windows, and what is wrong with each row; the whole file or block by block.

Coordinates are 0-based and half-open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.region_text import Rows

if TYPE_CHECKING:
    from chromtransfer_plugin.genome import Genome

Center = Literal["auto", "midpoint", "summit"]

_TOO_FEW = "too few columns"
_NOT_INTEGER = "start or end is not a whole number"
_NEGATIVE = "negative coordinate"
_EMPTY = "start is not before end"
_NO_SUMMIT = "no summit given (-1)"
_BAD_SUMMIT = "summit is not inside the peak"
_UNKNOWN = "contig is not in the genome"
_OFF = "window reaches off the contig"
ONLY_N = "window holds nothing but N"
OK = "ok"
REASONS = (OK, _TOO_FEW, _NOT_INTEGER, _NEGATIVE, _EMPTY, _NO_SUMMIT, _BAD_SUMMIT, _UNKNOWN, _OFF, ONLY_N)
PLACED = (OK, _UNKNOWN, _OFF, ONLY_N)  # of these rows it is clear which window is meant
_UNREADABLE = (_TOO_FEW, _NOT_INTEGER)


class Judged(NamedTuple):
    """Rows of a region file with the window of each and what is wrong with it.

    Attributes
    ----------
    rows : Rows
    start, end : ndarray of int64, shape (n,)
        The window; meaningless where the row is unusable.
    reason : ndarray of int8, shape (n,)
        Position in ``REASONS`` of the first thing found against the row; 0 where it is good.
    """

    rows: Rows
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    reason: NDArray[np.int8]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Rows that can be used."""
        return self.reason == 0

    def mark(self, bad: NDArray[np.bool_], text: str) -> None:
        """Hold ``text`` against the rows that are bad and were good so far."""
        self.reason[bad & self.good] = REASONS.index(text)


def judge_rows(
    rows: Rows, genome: Genome | None, width: int | None, center: Center, drop_only_n: bool
) -> Judged:
    """Give the window of each row and the first thing found against it; see :func:`read_regions`.

    A row is judged for itself, so the blocks of a file may be judged one by one.
    """
    judged = Judged(rows, *_resized(rows, width, center), np.zeros(len(rows.line), dtype=np.int8))
    judged.mark(~rows.enough_columns, _TOO_FEW)
    judged.mark(~rows.integers, _NOT_INTEGER)
    judged.mark((rows.start < 0) | (rows.end < 0), _NEGATIVE)
    judged.mark(rows.start >= rows.end, _EMPTY)
    if width is not None and rows.format == "narrowPeak" and center != "midpoint":
        if center == "summit":
            judged.mark(rows.summit == -1, _NO_SUMMIT)
        judged.mark((rows.summit < -1) | (rows.summit >= rows.end - rows.start), _BAD_SUMMIT)
    if genome is not None:
        _judge_by_genome(judged, genome, drop_only_n)
    else:
        judged.mark(judged.start < 0, _OFF)
    return judged


def file_refusal(
    path: str | Path, judged: Judged, genome: Genome | None, counts: Mapping[str, int] | None = None
) -> ChromTransferError | None:
    """Return the error that refuses a whole file: no row is a region, or none is on a contig of the genome.

    Parameters
    ----------
    path : path
    judged : Judged
        All rows of the file, or the first block of them.
    genome : Genome or None
    counts : mapping, optional
        How often each of ``REASONS`` was found in the whole file, by default those of ``judged``.
    """
    counts = counts or Counter(REASONS[number] for number in judged.reason)
    found = {reason for reason, count in counts.items() if count}
    rows = judged.rows
    if found and found <= set(_UNREADABLE):
        number, text = int(rows.line[0]), rows.text(np.array([0]))[0]
        return ChromTransferError(
            f"{path}: is not a region file, no row could be read as {rows.format}; line {number} is "
            f"{text[:60]!r}. Expected BED or narrowPeak (chrom, start, end separated by tabs) or "
            "`chrom:start-end,label` lines."
        )
    if genome is not None and _UNKNOWN in found and not found & {OK, _OFF, ONLY_N}:
        unknown = np.flatnonzero(judged.reason == REASONS.index(_UNKNOWN))
        hint = f" {genome.naming_hint(str(rows.chrom.iloc[unknown[0]]))}" if unknown.size else ""
        return ChromTransferError(f"{path}: none of its contigs is in the genome {genome.path}.{hint}")
    return None


def _resized(rows: Rows, width: int | None, center: Center) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if width is None:
        return rows.start, rows.end
    middle = (rows.start + rows.end) // 2
    if rows.format == "narrowPeak" and center != "midpoint":
        middle = np.where(rows.summit >= 0, rows.start + rows.summit, middle)
    start = middle - width // 2
    return start, start + width


def _judge_by_genome(judged: Judged, genome: Genome, drop_only_n: bool) -> None:
    """Mark the rows that the genome rules out."""
    numbers, names = pd.factorize(judged.rows.chrom)
    known = np.array([name in genome.contigs for name in names], dtype=bool)
    judged.mark(~known[numbers], _UNKNOWN)
    lengths = np.array([genome.contigs.get(name, 0) for name in names], dtype=np.int64)
    start, end = judged.start, judged.end
    judged.mark((start < 0) | (end > lengths[numbers]), _OFF)
    good = np.flatnonzero(judged.good)
    if good.size and drop_only_n:
        index = np.zeros(len(names), dtype=np.int64)
        index[known] = genome.contig_index([name for name in names if name in genome.contigs])
        empty = np.zeros(len(start), dtype=bool)
        empty[good] = genome.only_n(index[numbers[good]], start[good], end[good])
        judged.mark(empty, ONLY_N)


def strict_error(path: str | Path, dropped: tuple[int, str, str], more: str = "") -> ChromTransferError:
    """Return the error of strict reading for a row given as line number, text and reason."""
    line, text, reason = dropped
    return ChromTransferError(
        f"{path}: line {line}: {reason}: {text!r}. Correct or remove it, or read without strict to drop{more}."
    )
