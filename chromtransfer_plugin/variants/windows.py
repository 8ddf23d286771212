"""The windows of both alleles of a variant.

The rule is applied to each strand on its own, as if that strand were the genome, so the reverse complement of genome
and variants gives the same pairs of windows. On its strand a variant is trimmed to what its alleles do not share and
written as far left as it can be. Then, with a window of ``width`` bases:

* Where both alleles have bases left, the middle base of the shorter one (the right-hand one of two) is base
  ``(width - 1) // 2`` of its window, counted from 0: an SNV of a 600 bp window has 299 bases before and 300 behind it.
* A pure insertion or deletion has ``(width + 1) // 2`` bases of the shorter allele's window before its place.
* The window of the longer allele begins ``(longer - shorter) // 2`` bases later, counted on its own sequence: what it has
  more displaces as many bases at either end, one more at the right end if they are odd.

These are the windows that Selene cuts on the plus strand for SNVs, MNVs and insertions (not for deletions, where
Selene 0.6 is wrong), and those of kipoiseq for SNVs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE, encode, reverse_complement_codes

Allele = Literal["ref", "alt"]
Strand = Literal["+", "-"]
STRANDS: tuple[Strand, ...] = ("+", "-")
ALLELES: tuple[Allele, ...] = ("ref", "alt")
_ROOM = 64  # bp beyond the width in which nearly all windows of a variant lie
_AT_ONCE = 1 << 24  # bases of the genome


def allele_windows(
    genome: Genome,
    table: pd.DataFrame,
    allele: Allele,
    width: int = WINDOW,
    strand: Strand = "+",
    shift: int = 0,
) -> NDArray[np.uint8]:
    """Cut the windows of one allele.

    Parameters
    ----------
    genome : Genome
    table : DataFrame
        Rows of :attr:`~chromtransfer_plugin.variants.Variants.table`, any of them and in any order.
    allele : {"ref", "alt"}
    width : int
        bp.
    strand : {"+", "-"}
        Windows of "-" are cut by the rule on that strand, and read along it.
    shift : int
        bp by which all windows are moved to the right on the plus strand.

    Returns
    -------
    ndarray of uint8, shape (n, width)
        Codes 0 to 4; what lies off the contig is unknown (4).
    """
    index = genome.contig_index(table["chrom"].to_numpy())
    begin = window_starts(table, allele, width, strand, shift)
    start, old, new = _start(table), _bases(table, "old"), _bases(table, "new")
    changed = _is_changed(table, allele)
    left = genome.extract(index, begin, width, pad=True)
    if changed.any():
        right = genome.extract(index, np.where(changed, begin - new + old, begin), width, pad=True)
        behind = changed[:, None] & (np.arange(width) >= (start - begin)[:, None])
        codes = np.where(behind, right, left)
        _put(codes, table["new"][changed], np.flatnonzero(changed), start - begin)
    else:
        codes = left
    return codes if strand == "+" else reverse_complement_codes(codes)


def window_starts(
    table: pd.DataFrame,
    allele: Allele,
    width: int = WINDOW,
    strand: Strand = "+",
    shift: int = 0,
) -> NDArray[np.int64]:
    """Give the 0-based first base of each window of :func:`allele_windows`.

    Counted along the plus strand on the sequence that has the allele: where the allele is the genome's, these are
    coordinates of the genome.
    """
    changed = _is_changed(table, allele)
    old, new = _bases(table, "old"), _bases(table, "new")
    own, other = np.where(changed, new, old), np.where(changed, old, new)
    shorter = np.minimum(own, other)
    middle = np.where(shorter > 0, shorter // 2, -1) - (width - 1) // 2
    offset = middle + (own - shorter) // 2
    begin = _start(table) + shift
    if strand == "+":
        return np.asarray(begin + offset, dtype=np.int64)
    # On the minus strand the variant begins behind its last base, at the rightmost place it can be written.
    return np.asarray(begin + table["slide"].to_numpy(dtype=np.int64) + own - offset - width, dtype=np.int64)


def reaches_off(
    table: pd.DataFrame, lengths: NDArray[np.int64], width: int, shifts: tuple[int, ...] = (0,)
) -> NDArray[np.bool_]:
    """Tell which variants have a window, of either allele on either strand, beyond an end of a contig of ``lengths``."""
    off = np.zeros(len(table), dtype=bool)
    for _, begin, longer in _all_windows(table, width, shifts):
        off |= (begin < 0) | (begin + width > lengths + longer)
    return off


def has_unknown(
    genome: Genome,
    table: pd.DataFrame,
    lengths: NDArray[np.int64],
    width: int,
    shifts: tuple[int, ...] = (0,),
) -> NDArray[np.bool_]:
    """Tell which variants have a window with an unknown base on the contig; what lies off it does not count."""
    unknown = np.zeros(len(table), dtype=bool)
    n_bases = width * len(shifts) * len(ALLELES) * len(STRANDS)  # in the windows of a variant
    step = max(1, _AT_ONCE // n_bases)
    for first in range(0, len(table), step):
        rows = slice(first, first + step)
        maybe = first + np.flatnonzero(_may_have_unknown(genome, table.iloc[rows], width, shifts))
        some = table.iloc[maybe]
        for (allele, strand, shift), begin, longer in _all_windows(some, width, shifts):
            codes = allele_windows(genome, some, allele, width, strand, shift)
            column = np.arange(width) if strand == "+" else np.arange(width)[::-1]
            place = begin[:, None] + column
            on = (place >= 0) & (place < (lengths[maybe] + longer)[:, None])
            unknown[maybe] |= ((codes == N_CODE) & on).any(axis=1)
    return unknown


def _may_have_unknown(
    genome: Genome, table: pd.DataFrame, width: int, shifts: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Tell where a closer look is needed: few variants have anything unknown around them."""
    far = np.iinfo(np.int64).max // 4
    low, high = np.full(len(table), far), np.full(len(table), -far)
    for _, begin, longer in _all_windows(table, width, shifts):
        # Behind the variant, the genome's coordinates are smaller by what the allele is longer.
        low = np.minimum(low, begin - np.maximum(longer, 0))
        high = np.maximum(high, begin + width - np.minimum(longer, 0))
    span = width + max(shifts) - min(shifts) + _ROOM
    if span > width * len(shifts) * len(ALLELES) * len(
        STRANDS
    ):  # to read all that is slower than a closer look
        return np.ones(len(table), dtype=bool)
    near = high - low <= span
    some = table[near]
    maybe = ~near
    codes = genome.extract(genome.contig_index(some["chrom"].to_numpy()), low[near], span, pad=True)
    maybe[near] = (codes == N_CODE).any(axis=1)
    return maybe


def _all_windows(
    table: pd.DataFrame, width: int, shifts: tuple[int, ...]
) -> Iterator[tuple[tuple[Allele, Strand, int], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each kind of window: which, where they begin, and how much longer than the genome's the sequences are."""
    more = _bases(table, "new") - _bases(table, "old")
    for allele in ALLELES:
        longer = np.where(_is_changed(table, allele), more, 0)
        for strand in STRANDS:
            for shift in shifts:
                yield (allele, strand, shift), window_starts(table, allele, width, strand, shift), longer


def _start(table: pd.DataFrame) -> NDArray[np.int64]:
    return np.asarray(table["start"].to_numpy(), dtype=np.int64)


def _bases(table: pd.DataFrame, column: str) -> NDArray[np.int64]:
    return np.asarray(table[column].str.len().to_numpy(), dtype=np.int64)


def _is_changed(table: pd.DataFrame, allele: Allele) -> NDArray[np.bool_]:
    """Tell for which rows this allele is the one that the genome does not have."""
    return np.asarray(table["swapped"].to_numpy(dtype=bool) == (allele == "ref"))


def _put(
    codes: NDArray[np.uint8], new: pd.Series[str], rows: NDArray[np.int64], start: NDArray[np.int64]
) -> None:
    """Write every base of the new alleles where it lies in its window."""
    lengths = new.str.len().to_numpy(dtype=np.int64)
    row = np.repeat(rows, lengths)
    column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + start[row]
    inside = (column >= 0) & (column < codes.shape[1])
    codes[row[inside], column[inside]] = encode("".join(new))[inside]
