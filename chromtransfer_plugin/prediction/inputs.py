"""The rows of a region or FASTA file in blocks: what is known of each, and the sequences to score.

Coordinates are 0-based and half-open. An input can be read again and again and gives the same blocks each time;
no more than one block and a bounded number of bases are held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE
from chromtransfer_plugin.prediction.policy import NPolicy, padded, without_unknown
from chromtransfer_plugin.region_text import Format, parse_blocks, survey_rows
from chromtransfer_plugin.region_windows import PLACED, REASONS, Judged, file_refusal, judge_rows

LONGEST = 1_000_000  # bp; the network's working memory is some kB for each
TOO_LONG = f"longer than {LONGEST:,} bp"
TOO_SHORT = "shorter than the width"
BAD_START = "starts with a letter that is no base, where the original stops"
STATUSES = (*REASONS, TOO_LONG, TOO_SHORT, BAD_START)
COLUMNS = ("chrom", "start", "end", "name", "score", "strand", "label", "source_line")

Status = NDArray[np.int8]


class Piece(NamedTuple):
    """Sequences of one length: positions of their rows in the block, and their codes (n, L) uint8."""

    rows: NDArray[np.int64]
    codes: NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of an input.

    Attributes
    ----------
    status : ndarray of int8, shape (n,)
        Position in ``STATUSES``; 0 where the row can be scored.
    lengths : ndarray of int64, shape (n,)
        Bases to score.
    codes : callable
        From row positions and their common length to codes (n, L) uint8.
    table : callable
        Gives a DataFrame with ``COLUMNS``; start and end are missing where no window is meant.
    text : callable
        From row positions to the rows' text, for messages.
    """

    status: Status
    lengths: NDArray[np.int64]
    codes: Callable[[NDArray[np.int64], int], NDArray[np.uint8]]
    table: Callable[[], pd.DataFrame]
    text: Callable[[NDArray[np.int64]], list[str]]

    def __len__(self) -> int:
        return len(self.status)

    def longest_known(self, max_bases: int) -> int:
        """Give the most known bases of any row that can be scored."""
        pieces = self.pieces(max_bases)
        return max((int((piece.codes < N_CODE).sum(axis=1).max()) for piece in pieces), default=0)

    def pieces(self, max_bases: int, pad_to: int = 0) -> Iterator[Piece]:
        """Yield every row that can be scored once, equal lengths together, in pieces of about ``max_bases``.

        With ``pad_to``, every sequence gets that length by unknown bases at its end, and the pieces are in row order.
        """
        good = np.flatnonzero(self.status == 0)
        if pad_to:
            step = max(1, max_bases // pad_to)
            for first in range(0, len(good), step):
                rows = good[first : first + step]
                codes = np.full((len(rows), pad_to), N_CODE, dtype=np.uint8)
                for length in np.unique(self.lengths[rows]):
                    same = self.lengths[rows] == length
                    codes[same] = padded(self.codes(rows[same], int(length)), pad_to)
                yield Piece(rows, codes)
            return
        lengths = self.lengths[good]
        for length in np.unique(lengths):
            same, step = good[lengths == length], max(1, max_bases // int(length))
            for first in range(0, len(same), step):
                rows = same[first : first + step]
                yield Piece(rows, self.codes(rows, int(length)))


class Source(Protocol):
    """An input file.

    Attributes
    ----------
    path : Path
    n_rows : int
    named_by_label : bool
        Whether the label is nothing but the name (column 4 of a BED).
    genome : Genome or None
    notes : list of str
        What the user should know about the input.
    """

    path: Path
    n_rows: int
    notes: list[str]

    @property
    def named_by_label(self) -> bool:
        """Whether the label is nothing but the name."""

    @property
    def genome(self) -> Genome | None:
        """Where the sequences come from."""

    def blocks(self, rows: int) -> Iterator[Block]:
        """Yield all rows in file order, at most ``rows`` at a time."""

    def refusal(self, counts: Mapping[str, int]) -> ChromTransferError:
        """Return the error for an input of which no row can be scored."""


class RegionSource:
    """Windows of a genome around the rows of a region file.

    Parameters
    ----------
    path : path
        See :func:`~chromtransfer_plugin.regions.read_regions`.
    genome : Genome
    width : int or None
        None keeps the intervals.
    n_policy : {"zero", "original"}
        "original" deletes unknown bases; which letter they were the genome's codes do not tell.
    format : {"auto", "bed", "narrowPeak", "csv"}
    """

    def __init__(
        self, path: Path, genome: Genome, width: int | None, n_policy: NPolicy, format: Format
    ) -> None:
        self.path, self.genome, self._width, self._delete = path, genome, width, n_policy == "original"
        self._layout, self.n_rows = survey_rows(path, format)
        self.named_by_label = self._layout.format != "csv"
        self.notes: list[str] = []
        self._first: Judged | None = None

    def blocks(self, rows: int) -> Iterator[Block]:
        """Yield all rows in file order, at most ``rows`` at a time."""
        for parsed in parse_blocks(self.path, self._layout, None, rows):
            judged = judge_rows(parsed, self.genome, self._width, "auto", drop_only_n=True)
            self._first = self._first or judged
            yield self._block(judged)

    def _block(self, judged: Judged) -> Block:
        rows, start, end, status = judged
        lengths = end - start
        status[(status == 0) & (lengths > LONGEST)] = STATUSES.index(TOO_LONG)
        contigs = np.full(len(status), -1, dtype=np.int64)
        contigs[status == 0] = self.genome.contig_index(rows.chrom[status == 0].to_numpy())

        def codes(members: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
            found = self.genome.extract(contigs[members], start[members], length)
            return without_unknown(found) if self._delete else found

        def table() -> pd.DataFrame:
            placed = np.isin(status, [STATUSES.index(reason) for reason in (*PLACED, TOO_LONG)])
            columns = (
                rows.chrom,
                _known(start, placed),
                _known(end, placed),
                rows.name,
                rows.score,
                rows.strand,
            )
            return pd.DataFrame(dict(zip(COLUMNS, (*columns, rows.label, rows.line), strict=True)))

        return Block(status, lengths, codes, table, lambda members: rows.text(members))

    def refusal(self, counts: Mapping[str, int]) -> ChromTransferError:
        """Return the error for an input of which no row can be scored."""
        assert self._first is not None  # counts are of blocks()
        return file_refusal(self.path, self._first, self.genome, counts) or nothing_to_score(
            self.path, counts
        )


def _known(values: NDArray[np.int64], known: NDArray[np.bool_]) -> pd.Series:
    return pd.Series(values).astype("Int64").where(pd.Series(known))


def nothing_to_score(path: Path, counts: Mapping[str, int]) -> ChromTransferError:
    """Return the error for a readable input of which no row can be scored."""
    reasons = ", ".join(f"{count} x {reason}" for reason, count in counts.items() if count)
    return ChromTransferError(f"{path}: no row can be scored: {reasons}. Correct these rows.")
