"""What a VCF holds, found out before anything of it is scored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.records import Block
from chromtransfer_plugin.variants.statuses import SCORED, STATUSES

_MANY_MISMATCHES = 0.02  # of the alleles whose REF could be compared


class Look:
    """Counts over all blocks.

    Attributes
    ----------
    counts : dict of str to int
        Alleles by status.
    contigs : dict of str to None
        Contigs of the records in the order in which they come.
    is_sorted : bool
        Records of a contig follow each other and their positions never go down.
    n_records, n_rejected : int
        Records, and lines that are none.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.contigs: dict[str, None] = {}
        self.is_sorted = True
        self.n_records = self.n_rejected = 0
        self._last = ("", 0)

    def add(self, block: Block) -> None:
        """Look at the next block."""
        table = block.table
        self.n_records += len(block.lines)
        self.n_rejected += len(block.rejected)
        for number, count in enumerate(np.bincount(table["status"], minlength=len(STATUSES))):
            self._counts[STATUSES[number]] += int(count)
        if not block.lines:
            return
        first = table[table["allele"] == 0]
        chroms, positions = first["chrom"].to_numpy(dtype=object), first["pos"].to_numpy(dtype=np.int64)
        begins = np.flatnonzero(np.r_[True, chroms[1:] != chroms[:-1]]).tolist()
        for begin, end in zip(begins, [*begins[1:], len(chroms)], strict=True):
            self._add_stretch(str(chroms[begin]), positions[begin:end])

    def _add_stretch(self, chrom: str, positions: np.ndarray) -> None:
        """Look at records that follow each other on one contig."""
        last_chrom, last = self._last
        goes_on = chrom == last_chrom and positions[0] >= last
        starts = chrom not in self.contigs
        self.is_sorted &= (goes_on or starts) and bool((np.diff(positions) >= 0).all())
        self.contigs[chrom] = None
        self._last = (chrom, int(positions[-1]))

    @property
    def counts(self) -> dict[str, int]:
        """Alleles by status, those that occur."""
        return {status: self._counts[status] for status in STATUSES if self._counts[status]}

    @property
    def n_alleles(self) -> int:
        """Rows of all tables."""
        return self._counts.total()

    @property
    def n_scored(self) -> int:
        """Alleles that can be scored."""
        return self._counts[SCORED]

    @property
    def _n_compared(self) -> int:
        return sum(self._counts[status] for status in (SCORED, "mismatch", "edge"))

    def check(self, path: Path, genome: Genome) -> None:
        """Raise if file and genome have nothing to do with each other."""
        if self.contigs and not self.contigs.keys() & genome.contigs.keys():
            raise ChromTransferError(
                f"{path}: none of its contigs is in the genome {genome.path}. "
                f"{genome.naming_hint(next(iter(self.contigs)))}"
            )
        if self._counts["mismatch"] and self._counts["mismatch"] == self._n_compared:
            raise ChromTransferError(
                f"{path}: REF is not what the genome {genome.path} has there in all {self._n_compared:,} alleles that could "
                "be compared. It is probably another assembly: give the FASTA that the VCF refers to."
            )

    def warnings(self, genome: Genome) -> list[str]:
        """Say what looks wrong about the whole file."""
        found = []
        if not self.n_scored:
            found.append("nothing was scored: the outputs hold no scores.")
        mismatches = self._counts["mismatch"]
        if mismatches > _MANY_MISMATCHES * self._n_compared:
            found.append(
                f"REF is not what the genome has in {mismatches:,} of {self._n_compared:,} alleles "
                f"({mismatches / self._n_compared:.1%}): is {genome.path} the assembly that the VCF refers to?"
            )
        if self._counts["contig"]:
            unknown = next(chrom for chrom in self.contigs if chrom not in genome.contigs)
            found.append(
                f"{self._counts['contig']:,} alleles lie on contigs that the genome does not have. "
                f"{genome.naming_hint(unknown)}"
            )
        return found
