"""What becomes of each allele: whether it can be scored, where it lies, and what is to be said about it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE, encode
from chromtransfer_plugin.variants.placing import Place, place
from chromtransfer_plugin.variants.statuses import SCORED, STATUSES, Flag, kind_of
from chromtransfer_plugin.variants.windows import has_unknown, reaches_off

_CODE = {status: code for code, status in enumerate(STATUSES)}
_AT_ONCE = 1 << 24  # bases of the genome

Rows = NDArray[np.bool_]


class Rules(NamedTuple):
    """See :class:`~chromtransfer_plugin.variants.records.VariantSource`."""

    width: int
    shifts: tuple[int, ...]
    skip_edges: bool
    swap: bool


class _Written(NamedTuple):
    """Alleles as they stand in the file, and the number of their contig in the genome (-1 if it has none)."""

    record: NDArray[np.int64]
    allele: NDArray[np.int64]
    chrom: list[str]
    pos: NDArray[np.int64]
    id: list[str]
    ref: list[str]
    alt: list[str]
    contig: NDArray[np.int64]


class AlleleJudge:
    """Make the tables of blocks.

    Parameters
    ----------
    genome : Genome
    rules : Rules
    """

    def __init__(self, genome: Genome, rules: Rules) -> None:
        self._genome, self._rules = genome, rules
        self._number = {name: number for number, name in enumerate(genome.contigs)}
        self._lengths = np.array([*genome.contigs.values(), -1], dtype=np.int64)  # -1: of no contig

    def table(self, lines: list[str]) -> pd.DataFrame:
        """Give :attr:`Block.table <chromtransfer_plugin.variants.records.Block>` of these records."""
        written = self._written(lines)
        status = self._status(written)
        swapped = self._swapped(written, status)
        status[swapped] = 0
        places = self._places(written, status == 0, swapped)
        columns = written._asdict() | {"status": status, "flags": np.int8(0)} | places | {"swapped": swapped}
        table = pd.DataFrame(columns).drop(columns="contig").astype({"status": np.int8})
        for text in ("chrom", "id", "ref", "alt", "old", "new"):  # also where there are no rows
            table[text] = table[text].astype("str")
        self._judge_windows(table, self._lengths[written.contig], _flags_as_written(written, table))
        return table

    def _written(self, lines: list[str]) -> _Written:
        places: list[tuple[int, int]] = []
        rows: list[tuple[str, str, str, str, str]] = []
        for number, line in enumerate(lines):
            chrom, pos, name, ref, alts, _ = line.split("\t", 5)
            ref = _upper(ref)
            for which, alt in enumerate(alts.split(",")):
                places.append((number, which))
                rows.append((chrom, pos, name, ref, _upper(alt)))
        chroms, positions, names, refs, alleles = map(list, zip(*rows, strict=True)) if rows else ([],) * 5
        record, allele = np.array(places, dtype=np.int64).reshape(-1, 2).T
        contig = np.array([self._number.get(chrom, -1) for chrom in chroms], dtype=np.int64)
        return _Written(
            record, allele, chroms, np.array(positions, dtype=np.int64), names, refs, alleles, contig
        )

    def _status(self, written: _Written) -> NDArray[np.int64]:
        """Give the first status that holds, "edge" left out."""
        status = _kinds(written.alt)
        status[(status == 0) & (_kinds(written.ref) > 0)] = _CODE["letters"]
        status[(status == 0) & (written.contig < 0)] = _CODE["contig"]
        status[(status == 0) & ~self._is_on_contig(written, written.ref)] = _CODE["position"]
        rows = status == 0
        unknown, other = self._compare(written, written.ref, rows)
        status[rows & other] = _CODE["mismatch"]
        status[rows & unknown] = _CODE["unknown_base"]
        return status

    def _swapped(self, written: _Written, status: NDArray[np.int64]) -> Rows:
        """Tell where REF is not what the genome has, but ALT is."""
        not_ref = np.isin(status, [_CODE["position"], _CODE["unknown_base"], _CODE["mismatch"]])
        if not self._rules.swap or not not_ref.any():
            return np.zeros(len(status), dtype=bool)
        rows = not_ref & self._is_on_contig(written, written.alt)
        unknown, other = self._compare(written, written.alt, rows)
        return rows & ~unknown & ~other

    def _is_on_contig(self, written: _Written, alleles: list[str]) -> Rows:
        start = written.pos - 1
        return np.asarray((start >= 0) & (start + _sizes(alleles) <= self._lengths[written.contig]))

    def _compare(self, written: _Written, alleles: list[str], rows: Rows) -> tuple[Rows, Rows]:
        """Tell, among ``rows``, where the genome has an unknown base, and where it has another sequence."""
        unknown, other = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
        sizes = _sizes(alleles)
        for size in np.unique(sizes[rows]):
            same = np.flatnonzero(rows & (sizes == size))
            step = max(1, _AT_ONCE // int(size))
            for here in (same[first : first + step] for first in range(0, len(same), step)):
                found = self._genome.extract(written.contig[here], written.pos[here] - 1, int(size))
                wanted = encode("".join(alleles[row] for row in here)).reshape(found.shape)
                unknown[here] = (found == N_CODE).any(axis=1)
                other[here] = (found != wanted).any(axis=1)
        return unknown, other

    def _places(
        self, written: _Written, rows: Rows, swapped: Rows
    ) -> dict[str, list[str] | NDArray[np.int64]]:
        """Give the columns of :class:`Place`."""
        start, slide = np.where(rows, written.pos - 1, 0), np.zeros(len(rows), dtype=np.int64)
        # What a row of single bases is already; the others are placed one by one.
        old = [ref if row else "" for ref, row in zip(written.ref, rows, strict=True)]
        new = [alt if row else "" for alt, row in zip(written.alt, rows, strict=True)]
        longer = (_sizes(written.ref) > 1) | (_sizes(written.alt) > 1)
        for row in np.flatnonzero(swapped):
            old[row], new[row] = new[row], old[row]
        for row in np.flatnonzero(rows & longer):
            start[row], old[row], new[row], slide[row] = place(
                self._genome, written.chrom[row], int(written.pos[row]), old[row], new[row]
            )
        return {"start": start, "old": old, "new": new, "slide": slide}

    def _judge_windows(
        self, table: pd.DataFrame, lengths: NDArray[np.int64], flags: NDArray[np.int64]
    ) -> None:
        """Set the flags, and the status of windows off the contig."""
        width, shifts, skip_edges, _ = self._rules
        status = table["status"].to_numpy(copy=True)
        scored = np.flatnonzero(status == 0)
        some = table.iloc[scored]
        off = reaches_off(some, lengths[scored], width, shifts)
        if skip_edges:
            gone = scored[off]
            status[gone] = _CODE["edge"]
            table["status"] = status
            table.loc[gone, list(Place._fields)] = (0, "", "", 0)
            table.loc[gone, "swapped"] = False
            scored, some = scored[~off], some[~off]
        else:
            flags[scored[off]] |= Flag.EDGE
        flags[scored[has_unknown(self._genome, some, lengths[scored], width, shifts)]] |= Flag.UNKNOWN
        table["flags"] = np.where(status == 0, flags, 0).astype(np.int8)


def _upper(allele: str) -> str:
    """Give bases in upper case; `<DEL>` and `G[chr2:321[` stay as they are."""
    return allele.upper() if allele.isascii() and allele.isalpha() else allele


def _sizes(alleles: list[str]) -> NDArray[np.int64]:
    return np.fromiter(map(len, alleles), dtype=np.int64, count=len(alleles))


def _kinds(alleles: list[str]) -> NDArray[np.int64]:
    """Give the status that an allele has for what it is, 0 for bases."""
    kinds = {allele: _CODE[kind_of(allele) or SCORED] for allele in set(alleles)}
    return np.fromiter(map(kinds.__getitem__, alleles), dtype=np.int64, count=len(alleles))


def _flags_as_written(written: _Written, table: pd.DataFrame) -> NDArray[np.int64]:
    """Give the flags that need no windows."""
    ref, alt = np.array(written.ref, dtype=object), np.array(written.alt, dtype=object)
    flags = np.where(table["swapped"], int(Flag.SWAPPED), 0)
    flags[(ref == alt).astype(bool)] |= Flag.SAME
    indels = np.flatnonzero((_sizes(written.ref) != _sizes(written.alt)) & (table["status"] == 0).to_numpy())
    some = table.iloc[indels]
    for row, pos, swapped, start, old, new in zip(
        indels, some["pos"], some["swapped"], some["start"], some["old"], some["new"], strict=True
    ):
        given = (written.alt[row], written.ref[row]) if swapped else (written.ref[row], written.alt[row])
        if not _is_in_one_form(pos, *given, Place(start, old, new, 0)):
            flags[row] |= Flag.MOVED
    return flags


def _is_in_one_form(pos: int, old: str, new: str, where: Place) -> bool:
    """Tell whether an indel is written as it is placed, but for one shared base in front (behind it at position 1)."""
    start, shared = pos - 1, int(old[0] == new[0])
    if (start + shared, old[shared:], new[shared:]) == where[:3]:
        return True
    return pos == 1 and old[-1] == new[-1] and (0, old[:-1], new[:-1]) == where[:3]
