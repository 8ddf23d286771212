"""All variants of a VCF that can be scored, in memory, as a dataloader needs them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.records import Block, VariantSource
from chromtransfer_plugin.variants.statuses import REASONS, STATUSES

_COLUMNS = ["record", "chrom", "pos", "id", "ref", "alt", "start", "old", "new", "slide", "swapped"]


@dataclass(frozen=True)
class VariantReport:
    """What became of each ALT allele of a VCF.

    Attributes
    ----------
    path : str
        The file.
    n_records, n_alleles, n_kept : int
        Lines behind the header, ALT alleles of the records among them (1 for a record without any), and the alleles in
        the table.
    dropped : list of (int, str, str)
        Number of the record (from 1), ``chrom:pos:ref:alt`` and reason of every allele that was left out, and of lines
        that are no records, with the beginning of their text.
    """

    path: str
    n_records: int
    n_alleles: int
    n_kept: int
    dropped: list[tuple[int, str, str]] = field(default_factory=list)

    def summary(self) -> str:
        """Give the counts as text: one line, then one per reason with its first example."""
        lines = [
            f"{self.path}: {self.n_records} records with {self.n_alleles} alleles read, {self.n_kept} kept, "
            f"{len(self.dropped)} dropped"
        ]
        first = {reason: (record, text) for record, text, reason in reversed(self.dropped)}
        for reason, count in Counter(reason for _, _, reason in self.dropped).most_common():
            lines.append(f"  {count} x {reason}, first in record {first[reason][0]}: {first[reason][1]}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Variants:
    """Alleles in file order and the report of how they were read.

    Attributes
    ----------
    table : DataFrame
        As in the file: ``chrom`` (str), ``pos`` (int64, 1-based), ``id``, ``ref``, ``alt`` (str, upper case) and
        ``record`` (int64, from 1). Trimmed and as far left as it can be written: ``start`` (int64, 0-based),
        ``old`` (the bases of the genome from there on, may be empty), ``new`` (what stands in their place, may be
        empty) and ``slide`` (int64, bp by which it could be written further right); ``swapped`` (bool) is false, as
        ``old`` is of REF in all of them.
    report : VariantReport
    """

    table: pd.DataFrame
    report: VariantReport

    def __len__(self) -> int:
        return len(self.table)


def read_variants(path: str | Path, genome: Genome, width: int = WINDOW) -> Variants:
    """Read the variants of a VCF whose windows can be cut.

    Parameters
    ----------
    path : str or Path
        VCF (plain, bgzip or gzip) or BCF; with or without samples, which are ignored, and contig lines.
    genome : Genome
    width : int
        Window in bp; alleles whose reference or alternative window would reach off the contig are dropped.

    Returns
    -------
    Variants
        One row per record and ALT allele.

    See Also
    --------
    VariantSource : Read a VCF of any size in blocks.

    Raises
    ------
    ChromTransferError
        If the file is missing, damaged or no VCF, its contigs have other names than the genome's, or nothing is left.
    """
    source = VariantSource(path, genome, width, edges="skip")
    tables: list[pd.DataFrame] = []
    dropped: list[tuple[int, str, str]] = []
    n_records = n_alleles = 0
    contigs: dict[str, None] = {}
    for block in source.blocks():
        n_records += len(block.lines) + len(block.rejected)
        n_alleles += len(block.table)
        contigs.update(dict.fromkeys(block.table["chrom"]))
        kept = block.table[block.table["status"] == 0]
        number = block.numbers[kept["record"].to_numpy()] - source.n_before
        tables.append(kept.assign(record=number)[_COLUMNS])
        dropped += _dropped(block, source.n_before)
    if not n_records:
        raise ChromTransferError(f"{path}: holds no variants, only a header.")
    if contigs and not contigs.keys() & genome.contigs.keys():
        raise ChromTransferError(
            f"{path}: none of its contigs is in the genome {genome.path}. {genome.naming_hint(next(iter(contigs)))}"
        )
    table = pd.concat(tables, ignore_index=True)
    report = VariantReport(str(path), n_records, n_alleles, len(table), dropped)
    if table.empty:
        mismatch = any(reason == REASONS["mismatch"] for _, _, reason in dropped)
        raise ChromTransferError(
            f"{path}: no usable variant is left.\n{report.summary()}"
            + ("\nIs the genome the assembly that the VCF refers to?" if mismatch else "")
        )
    return Variants(table, report)


def _dropped(block: Block, n_before: int) -> list[tuple[int, str, str]]:
    """List what a block has and the table has not, in the order of the file."""
    bad = block.table[block.table["status"] != 0]
    texts = bad["chrom"] + ":" + bad["pos"].astype("str") + ":" + bad["ref"] + ":" + bad["alt"]
    reasons = [REASONS[STATUSES[status]] for status in bad["status"]]
    numbers = block.numbers[bad["record"].to_numpy()]
    found: list[tuple[int, str, str]] = [*zip(numbers.tolist(), texts, reasons, strict=True), *block.rejected]
    return sorted(
        ((number - n_before, text, reason) for number, text, reason in found), key=lambda row: row[0]
    )
