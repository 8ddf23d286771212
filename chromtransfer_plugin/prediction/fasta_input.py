"""The records of a FASTA as rows to score; see :mod:`chromtransfer_plugin.prediction.inputs`."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fasta import FastaRecord, Place, place_of, read_fasta
from chromtransfer_plugin.onehot import N_CODE, encode
from chromtransfer_plugin.prediction.inputs import (
    BAD_START,
    COLUMNS,
    LONGEST,
    STATUSES,
    TOO_SHORT,
    Block,
    nothing_to_score,
)
from chromtransfer_plugin.prediction.policy import NPolicy, original_codes
from chromtransfer_plugin.region_windows import ONLY_N

_BLOCK_BASES = 1 << 24
_COMPARED_NAMES = 2_000_000  # 8 bytes each
_EMPTY: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)


class FastaSource:
    """The sequences of a FASTA as they stand, each of its own length.

    Parameters
    ----------
    path : path
        See :func:`~chromtransfer_plugin.fasta.read_fasta`.
    width : int or None
        Cut this many bases out of the middle of each; None keeps the lengths.
    n_policy : {"zero", "original"}
    """

    named_by_label = False
    genome = None

    def __init__(self, path: Path, width: int | None, n_policy: NPolicy) -> None:
        self.path, self._width, self._original = path, width, n_policy == "original"
        # Reading all records once also finds every fault of the file before anything is scored.
        names = array("q")
        self.n_rows = 0
        for record in read_fasta(path, LONGEST):
            self.n_rows += 1
            if self.n_rows <= _COMPARED_NAMES:
                names.append(hash(record.id))
        repeated = len(names) - len(np.unique(names))
        self.notes = [f"{path}: {repeated} records have the name of an earlier one."] if repeated else []

    def blocks(self, rows: int) -> Iterator[Block]:
        """Yield all records in file order, at most ``rows`` at a time."""
        records: list[FastaRecord] = []
        bases = 0
        for record in read_fasta(self.path, LONGEST):
            records.append(record)
            bases += len(record.sequence)
            if len(records) == rows or bases > _BLOCK_BASES:
                yield self._block(records)
                records, bases = [], 0
        if records:
            yield self._block(records)

    def _block(self, records: list[FastaRecord]) -> Block:
        sequences: list[NDArray[np.uint8]] = []
        status = np.zeros(len(records), dtype=np.int8)
        for row, record in enumerate(records):
            codes, problem = self._encode(record.sequence)
            sequences.append(codes)
            if problem:
                status[row] = STATUSES.index(problem)

        def codes_of(members: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
            return np.stack([sequences[row] for row in members]).reshape(len(members), length)

        def text(members: NDArray[np.int64]) -> list[str]:
            return [f">{records[row].id} {records[row].description}".rstrip() for row in members]

        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        return Block(status, lengths, codes_of, lambda: self._table(records), text)

    def _encode(self, letters: bytes) -> tuple[NDArray[np.uint8], str]:
        """Give the codes to score and what is wrong with them, if anything."""
        if self._width is not None:
            if len(letters) < self._width:
                return _EMPTY, TOO_SHORT
            letters = letters[self._first(len(letters)) :][: self._width]
        if self._original:
            codes = original_codes(letters)
            if codes is None:
                return _EMPTY, BAD_START
            return codes, "" if len(codes) else ONLY_N
        codes = encode(letters)
        return codes, "" if (codes < N_CODE).any() else ONLY_N

    def _first(self, length: int) -> int:
        """Give where the window starts in a sequence that is at least as long."""
        return 0 if self._width is None else length // 2 - self._width // 2

    def _table(self, records: list[FastaRecord]) -> pd.DataFrame:
        rows: list[tuple[Any, ...]] = []
        for record in records:
            place = place_of(record.id)
            length = len(record.sequence)
            chrom, start, end, strand, label = "", None, None, ".", ""
            if place is not None:
                label, strand = place.name.split(":")[0], place.strand or "."
                # The record says where it lies only if it is all of that.
                if place.end - place.start == length:
                    chrom, start, end = self._placed(place, length)
            rows.append((chrom, start, end, record.id, np.nan, strand, label, record.line))
        # As objects first: numbers beside None would become floats and large ones lose digits.
        table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
        kinds = {"start": "Int64", "end": "Int64", "score": "float64", "source_line": "int64"}
        return table.astype({name: kinds.get(name, "str") for name in COLUMNS})

    def _placed(self, place: Place, length: int) -> tuple[str, int, int]:
        start, end = place.start, place.end
        if self._width is not None and length >= self._width:
            first = self._first(length)
            # A record of the minus strand runs from its end.
            start = end - first - self._width if place.strand == "-" else start + first
            end = start + self._width
        return place.chrom, start, end

    def refusal(self, counts: Mapping[str, int]) -> ChromTransferError:
        """Return the error for an input of which no row can be scored."""
        return nothing_to_score(self.path, counts)
