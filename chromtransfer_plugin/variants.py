"""Variants of a VCF: read, checked against the genome, and cut as windows of the reference and the alternative allele.

Coordinates are 0-based and half-open, except for ``pos``, which is 1-based as in the VCF.

A variant is trimmed to what REF and ALT do not share. What is left is a region of the genome that becomes another
sequence. A pure insertion or deletion inside a repeat can be written at several places with the same result; its region
is all of them together, so that every way of writing it gives the same windows. The window of an allele follows the
rule for regions: of the allele's region ``[start, end)``, on the sequence that has this allele, it is the ``width`` bp
from ``(start + end) // 2 - width // 2`` on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE, encode

Allele = Literal["ref", "alt"]

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

_NEARBY = 64  # bp of a repeat that are looked at first; most are shorter


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
            _place(genome, *row) if ok else (0, "", "", 0)
            for row, ok in zip(
                table[["chrom", "pos", "ref", "alt"]].itertuples(index=False), good, strict=True
            )
        ],
        columns=["start", "old", "new", "slide"],
    )
    table = pd.concat([table, placed], axis=1)
    drop(_reaches_off(table, lengths, width), _OFF)
    return _finish(path, table, reasons)


def allele_windows(
    genome: Genome, table: pd.DataFrame, allele: Allele, width: int = WINDOW
) -> NDArray[np.uint8]:
    """Cut the windows of one allele.

    Where ``old`` and ``new`` have one base each, the two windows differ at index ``width // 2`` only. The reverse
    complement of genome and variants gives the reverse-complemented windows wherever ``width`` and the length of the
    allele's region are both even or both odd; else the window has one base more on one side (the left side of an odd
    region, the right side of an even one), and the reverse complement has it on the other.

    Parameters
    ----------
    genome : Genome
    table : DataFrame
        Rows of :attr:`Variants.table`, any of them and in any order.
    allele : {"ref", "alt"}
    width : int
        As given to :func:`read_variants`.

    Returns
    -------
    ndarray of uint8, shape (n, width)
        Codes 0 to 4, plus strand. Those of "ref" are the genome's between the bounds that :func:`window_starts` gives.
    """
    index = genome.contig_index(table["chrom"].to_numpy())
    begin = window_starts(table, allele, width)
    left = genome.extract(index, begin, width, pad=True)
    if allele == "ref":
        return left
    start, old = table["start"].to_numpy(), table["old"].str.len().to_numpy()
    new = table["new"].str.len().to_numpy()
    right = genome.extract(index, begin - new + old, width, pad=True)
    codes = np.where(np.arange(width) < (start - begin)[:, None], left, right)
    # Every base of every new allele, put where it lies in its window.
    row = np.repeat(np.arange(len(table)), new)
    column = np.arange(len(row)) - np.repeat(np.cumsum(new) - new, new) + (start - begin)[row]
    inside = (column >= 0) & (column < width)
    codes[row[inside], column[inside]] = encode("".join(table["new"]))[inside]
    return codes


def window_starts(table: pd.DataFrame, allele: Allele, width: int = WINDOW) -> NDArray[np.int64]:
    """Give the 0-based first base of each window of :func:`allele_windows`, on the sequence that has the allele."""
    bases = table["old" if allele == "ref" else "new"].str.len().to_numpy(dtype=np.int64)
    length = bases + table["slide"].to_numpy()
    first = table["start"].to_numpy(dtype=np.int64)
    return np.asarray(first + length // 2 - width // 2, dtype=np.int64)


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


def _place(genome: Genome, chrom: str, pos: int, ref: str, alt: str) -> tuple[int, str, str, int]:
    """Give start, old, new and slide of one variant (see :class:`Variants`)."""
    start = pos - 1
    if len(ref) == len(alt) == 1:
        return start, ref, alt, 0
    behind = _shared(ref[::-1], alt[::-1])
    old, new = ref[: len(ref) - behind], alt[: len(alt) - behind]
    before = _shared(old, new)
    start, old, new = start + before, old[before:], new[before:]
    if old and new:
        return start, old, new, 0
    unit = old or new
    left = _repeats(genome, chrom, start, unit, backwards=True)
    right = _repeats(genome, chrom, start + len(old), unit, backwards=False)
    turn = len(unit) - left % len(unit)
    unit = unit[turn:] + unit[:turn]
    return start - left, unit if old else "", unit if new else "", left + right


def _shared(one: str, other: str) -> int:
    """Count the letters at the beginning that are the same."""
    differs = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differs, min(len(one), len(other)))


def _repeats(genome: Genome, chrom: str, at: int, unit: str, backwards: bool) -> int:
    """Count the bases before or from ``at`` on that go on repeating ``unit``."""
    codes = encode(unit)[::-1] if backwards else encode(unit)
    room = at if backwards else genome.contigs[chrom] - at
    length = _NEARBY
    while room:
        length = min(length, room)
        piece = (
            genome.codes(chrom, at - length, at)[::-1] if backwards else genome.codes(chrom, at, at + length)
        )
        other = np.flatnonzero(piece != np.resize(codes, length))
        if other.size or length == room:
            return int(other[0]) if other.size else length
        length *= 4
    return 0


def _reaches_off(table: pd.DataFrame, lengths: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    old, new = table["old"].str.len().to_numpy(), table["new"].str.len().to_numpy()
    ref, alt = (window_starts(table, allele, width) for allele in ("ref", "alt"))
    return (ref < 0) | (ref + width > lengths) | (alt < 0) | (alt + width - new + old > lengths)


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
