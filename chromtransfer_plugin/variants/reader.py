"""All variants of a VCF that can be scored, in memory, as a dataloader needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE, encode
from chromtransfer_plugin.variants.placing import place
from chromtransfer_plugin.variants.windows import reaches_off

_NO_ALT = "no ALT allele"
_STAR = "ALT is *, a deletion that another record describes"
_SYMBOLIC = "ALT is symbolic or a breakend"
_LETTERS = "an allele has letters other than A, C, G, T"
_SAME = "REF and ALT are the same"
_UNKNOWN = "contig is not in the genome"
_OUTSIDE = "REF is not on the contig"
_NOT_KNOWN = "the genome has an unknown base (N) there"
_MISMATCH = "REF is not what the genome has there"
_OFF = "window reaches off the contig"


@dataclass(frozen=True)
class VariantReport:
    """What became of each ALT allele of a VCF.

    Attributes
    ----------
    path : str
        The file.
    n_records, n_alleles, n_kept : int
        Records, their ALT alleles (1 for a record without any), and the alleles in the table.
    dropped : list of (int, str, str)
        Number of the record (from 1), ``chrom:pos:ref:alt`` and reason of every allele that was left out.
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
        empty) and ``slide`` (int64, bp by which it could be written further right).
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
        VCF, plain or bgzip, or BCF; with or without samples, which are ignored, and contig lines.
    genome : Genome
    width : int
        Window in bp; alleles whose reference or alternative window would reach off the contig are dropped.

    Returns
    -------
    Variants
        One row per record and ALT allele.

    Raises
    ------
    ChromTransferError
        If the file is missing, damaged or no VCF, its contigs have other names than the genome's, or nothing is left.
    """
    table = _read(Path(path).expanduser())
    reasons = np.full(len(table), "", dtype=object)

    def drop(rows: NDArray[np.bool_], reason: str) -> None:
        reasons[rows & (reasons == "")] = reason

    ref, alt = table["ref"], table["alt"]
    drop(alt.isin([".", ""]).to_numpy(), _NO_ALT)
    drop((alt == "*").to_numpy(), _STAR)
    drop(alt.str.contains(r"[<\[\]]").to_numpy(), _SYMBOLIC)
    drop(~(ref.str.fullmatch("[ACGT]+") & alt.str.fullmatch("[ACGT]+")).to_numpy(), _LETTERS)
    drop((ref == alt).to_numpy(), _SAME)
    lengths = _contig_lengths(path, table, genome)
    drop(lengths < 0, _UNKNOWN)
    first = table["pos"].to_numpy() - 1
    drop((first < 0) | (first + ref.str.len().to_numpy() > lengths), _OUTSIDE)
    unknown, other = _compare(genome, table, reasons == "")
    drop(unknown, _NOT_KNOWN)
    drop(other, _MISMATCH)
    good = reasons == ""
    placed = pd.DataFrame(
        [
            place(genome, *row) if ok else (0, "", "", 0)
            for row, ok in zip(
                table[["chrom", "pos", "ref", "alt"]].itertuples(index=False), good, strict=True
            )
        ],
        columns=["start", "old", "new", "slide"],
    )
    table = pd.concat([table, placed], axis=1)
    table["swapped"] = False
    drop(reaches_off(table, lengths, width), _OFF)
    return _finish(path, table, reasons)


@contextmanager
def _quiet_htslib() -> Iterator[None]:
    """Keep htslib from writing to stderr what the caller gets as an error, or need not know."""
    import pysam

    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def _read(path: Path) -> pd.DataFrame:
    if path.is_dir():
        raise ChromTransferError(f"{path}: is a folder, expected a VCF file. Name the file inside it.")
    if not path.is_file():
        raise ChromTransferError(f"{path}: no such file, expected a VCF (plain or bgzip) or BCF.")
    rows: list[tuple[Any, ...]] = []
    number = 0
    try:
        for number, (chrom, pos, name, ref, alts) in enumerate(_records(path), start=1):
            rows.extend((number, chrom, pos, name or ".", ref or ".", alt) for alt in alts or (".",))
    except NotImplementedError:
        raise ChromTransferError(
            f"{path}: is compressed with gzip, expected plain VCF, bgzip or BCF. Run `gunzip '{path}'`, then "
            "optionally `bgzip` on the result."
        ) from None
    except (OSError, ValueError) as error:
        # pysam cannot close a damaged file either; what it said first is the reason.
        reason = error.__context__ if isinstance(error.__context__, OSError) else error
        what = getattr(reason, "strerror", None) or reason
        if not number:
            raise ChromTransferError(
                f"{path}: is not a readable VCF or BCF file ({what}). Expected a first line ##fileformat=VCF..., a "
                "line #CHROM... and records of at least 8 columns separated by tabs."
            ) from error
        raise ChromTransferError(
            f"{path}: record {number + 1} cannot be read ({what}); the last good one is {rows[-1][1]}:{rows[-1][2]}. "
            "Correct the line after it, or download the file again if it is cut short."
        ) from error
    if not rows:
        raise ChromTransferError(f"{path}: holds no variants, only a header.")
    table = pd.DataFrame(rows, columns=["record", "chrom", "pos", "id", "ref", "alt"])
    for column in ("ref", "alt"):
        letters = table[column].str.fullmatch("[A-Za-z]+")  # `<DEL>` and `G[chr2:321[` stay as they are
        table[column] = table[column].where(~letters, table[column].str.upper())
    return table


def _records(path: Path) -> Iterator[tuple[Any, ...]]:
    import pysam

    with _quiet_htslib(), pysam.VariantFile(str(path), drop_samples=True) as file:
        for record in file:
            yield record.chrom, record.pos, record.id, record.ref, record.alts


def _contig_lengths(path: str | Path, table: pd.DataFrame, genome: Genome) -> NDArray[np.int64]:
    """Give the length of each row's contig, -1 where the genome does not have it."""
    lengths = np.asarray(table["chrom"].map(genome.contigs).fillna(-1), dtype=np.int64)
    if (lengths < 0).all():
        raise ChromTransferError(
            f"{path}: none of its contigs is in the genome {genome.path}. {genome.naming_hint(table['chrom'][0])}"
        )
    return lengths


def _compare(
    genome: Genome, table: pd.DataFrame, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell, among ``rows``, where the genome has an unknown base at REF and where REF is another sequence."""
    unknown, other = np.zeros(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
    lengths = table["ref"].str.len().to_numpy()
    for length in np.unique(lengths[rows]):
        here = np.flatnonzero(rows & (lengths == length))
        some = table.iloc[here]
        found = genome.extract(some["chrom"].to_numpy(), some["pos"].to_numpy() - 1, int(length))
        unknown[here] = (found == N_CODE).any(axis=1)
        other[here] = (found != encode("".join(some["ref"])).reshape(found.shape)).any(axis=1)
    return unknown, other


def _finish(path: str | Path, table: pd.DataFrame, reasons: NDArray[Any]) -> Variants:
    bad = table[reasons != ""]
    texts = bad["chrom"] + ":" + bad["pos"].astype("str") + ":" + bad["ref"] + ":" + bad["alt"]
    dropped = list(zip(bad["record"].tolist(), texts, reasons[reasons != ""].tolist(), strict=True))
    report = VariantReport(
        str(path), int(table["record"].iloc[-1]), len(table), len(table) - len(bad), dropped
    )
    if not report.n_kept:
        raise ChromTransferError(
            f"{path}: no usable variant is left.\n{report.summary()}"
            + ("\nIs the genome the assembly that the VCF refers to?" if (reasons == _MISMATCH).any() else "")
        )
    return Variants(table[reasons == ""].reset_index(drop=True), report)
