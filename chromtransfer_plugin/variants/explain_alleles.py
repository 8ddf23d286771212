"""Both alleles of a variant side by side: their bases and scores on one axis, with gaps where one has no base.

Positions "of an allele" count along the plus strand on the sequence that has the allele, as
:func:`~chromtransfer_plugin.variants.windows.window_starts` counts them: the bases of the allele are
``start, ..., start + length - 1``, and what lies left of them has its coordinate on the genome.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE, encode

GAP = N_CODE + 1  # code of a column in which an allele has no base


class Variant(NamedTuple):
    """One allele pair, placed.

    Attributes
    ----------
    chrom : str
    start : int
        0-based first base that differs.
    bases : tuple of str
        What REF and ALT have there; either may be empty.
    on_genome : int
        0 if REF is what the genome has, 1 if ALT is.
    """

    chrom: str
    start: int
    bases: tuple[str, str]
    on_genome: int

    @classmethod
    def of(cls, row: Any) -> Variant:
        """Take it from a row of a table of variants."""
        swapped = bool(row.swapped)
        bases = (row.new, row.old) if swapped else (row.old, row.new)
        return cls(str(row.chrom), int(row.start), bases, int(swapped))

    def length(self, allele: int) -> int:
        """Bases of REF (0) or ALT (1)."""
        return len(self.bases[allele])

    def on_contig(self, allele: int, boundary: int) -> int:
        """Give the coordinate on the genome of the boundary before a position of an allele.

        All boundaries within bases that the genome does not have are at the same place, behind those it has.
        """
        own, there = self.length(allele), self.length(self.on_genome)
        if boundary >= self.start + own:
            return boundary - own + there
        return min(boundary, self.start + there)


class AlleleScores(NamedTuple):
    """Bases and scores of an allele and what surrounds it.

    Attributes
    ----------
    start : int
        Position, of the allele, of the first one.
    codes : ndarray of uint8, shape (n,)
    scores : ndarray, shape (n,)
        NaN beyond the model's windows.
    """

    start: int
    codes: NDArray[np.uint8]
    scores: NDArray[np.float64]

    def total(self, start: int, end: int) -> float:
        """Sum of the scores of ``[start, end)``; NaN if one of them is not known."""
        first = start - self.start
        if first < 0 or end - self.start > len(self.scores):
            return float("nan")
        return float(self.scores[first : end - self.start].sum())


class Alignment(NamedTuple):
    """Both alleles on one axis of n columns.

    Attributes
    ----------
    positions : ndarray of int64, shape (n,)
        0-based coordinate on the genome; -1 in columns of bases that it does not have.
    codes : ndarray of uint8, shape (2, n)
        Of REF and ALT; :data:`GAP` where one has no base.
    scores : ndarray of float64, shape (2, n)
        NaN beyond the model's windows, 0 in gaps.
    first, last : int
        The columns of the variant, half-open.
    """

    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]
    scores: NDArray[np.float64]
    first: int
    last: int

    @property
    def difference(self) -> NDArray[np.float64]:
        """ALT minus REF, (n,)."""
        return np.asarray(self.scores[1] - self.scores[0])

    def column(self, variant: Variant, allele: int, position: int) -> int:
        """Give the column of a position of an allele; outside 0, ..., n - 1 if it is not shown."""
        if position < variant.start + variant.length(allele):
            return position - variant.start + self.first
        return position - variant.start - variant.length(allele) + self.last


def bases_around(genome: Genome, variant: Variant, allele: int, reach: int) -> NDArray[np.uint8]:
    """Give an allele with ``reach`` bp of the genome on either side; what lies off the contig is unknown (4)."""
    behind = variant.start + variant.length(variant.on_genome)
    left, right = genome.extract([variant.chrom] * 2, [variant.start - reach, behind], reach, pad=True)
    return np.concatenate([left, encode(variant.bases[allele]), right])


def align(variant: Variant, alleles: tuple[AlleleScores, AlleleScores], flank: int) -> Alignment:
    """Put both alleles on one axis, with ``flank`` bp on either side; bases of alleles of unequal length begin together."""
    block = max(map(len, variant.bases))
    n = block + 2 * flank
    codes, scores = np.full((2, n), GAP, dtype=np.uint8), np.zeros((2, n))
    for number, allele in enumerate(alleles):
        first = variant.start - flank - allele.start
        own = variant.length(number)
        cut = slice(first, first + own + 2 * flank)
        columns = np.r_[: flank + own, n - flank : n]
        codes[number, columns], scores[number, columns] = allele.codes[cut], allele.scores[cut]
    there = variant.length(variant.on_genome)
    positions = np.full(n, -1, dtype=np.int64)
    columns = np.r_[: flank + there, n - flank : n]
    positions[columns] = variant.start - flank + np.arange(there + 2 * flank)
    return Alignment(positions, codes, scores, flank, flank + block)
