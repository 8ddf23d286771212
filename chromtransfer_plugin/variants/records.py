"""The records of a VCF or BCF in blocks, each ALT allele with its place on the genome or the reason why it has none.

A file can be read again and again and gives the same blocks each time; one block is held at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.alleles import AlleleJudge, Rules
from chromtransfer_plugin.variants.vcf_check import LineCheck
from chromtransfer_plugin.variants.vcf_text import Line, bcf_lines, check_file, read_header, text_lines

Edges = Literal["pad", "skip"]
BLOCK_RECORDS = 4096
_BLOCK_TEXT = 16 << 20  # characters
_SHOWN = 200  # characters of a line that is no record


class Rejected(NamedTuple):
    """A line that is no record: its number in the file (from 1), the beginning of its text, and what is wrong with it."""

    number: int
    text: str
    reason: str


@dataclass(frozen=True)
class Block:
    """Some consecutive records; none where all lines of a block are bad.

    Attributes
    ----------
    lines : list of str
        The records as text, as they stand in the file (those of a BCF as text); no line ends.
    numbers : ndarray of int64, shape (len(lines),)
        Line of the file, or of a BCF the record, from 1.
    table : DataFrame
        One row for each ALT allele (one for a record without any), in order:

        * ``record`` int64: position in ``lines``; ``allele`` int64: number of the ALT allele in its record, from 0;
        * ``chrom``, ``pos`` (int64, 1-based), ``id``, ``ref``, ``alt``: as in the file, bases in upper case;
        * ``status`` int8: index into :data:`~chromtransfer_plugin.variants.statuses.STATUSES`, 0 for what can be scored;
        * ``flags`` int8: of :class:`~chromtransfer_plugin.variants.statuses.Flag`;
        * ``start``, ``old``, ``new``, ``slide``: see :class:`~chromtransfer_plugin.variants.placing.Place`; 0 and empty
          where the status is not 0; ``swapped`` bool: whether ``old`` is of ALT and ``new`` of REF.
    rejected : list of Rejected
        Lines among or after these that are no records.
    """

    lines: list[str]
    numbers: NDArray[np.int64]
    table: pd.DataFrame
    rejected: list[Rejected]


class VariantSource:
    """A VCF (plain, bgzip or gzip) or BCF and the genome it refers to.

    What htslib could not read back is no record. Contigs and INFO, FILTER or FORMAT fields that the header does not
    name, lines that end in CR LF, and blank lines at the end of the file are all right.

    Parameters
    ----------
    path : str or Path
    genome : Genome
    width : int
        Window in bp.
    shifts : tuple of int
        bp by which windows are moved; see :func:`~chromtransfer_plugin.variants.windows.allele_windows`.
    edges : {"pad", "skip"}
        Alleles with a window off the contig are flagged, or not scored.
    swap : bool
        Score alleles whose ALT instead of REF is what the genome has.

    Attributes
    ----------
    path : Path
    header : list of str
        The lines of the header, the last being ``#CHROM...``; no line ends.
    n_before : int
        Lines of the file before the first record; 0 for a BCF.

    Raises
    ------
    ChromTransferError
        If the file is missing, damaged or has no header that htslib reads.
    """

    path: Path
    header: list[str]

    def __init__(
        self,
        path: str | Path,
        genome: Genome,
        width: int,
        shifts: tuple[int, ...] = (0,),
        edges: Edges = "pad",
        swap: bool = False,
    ) -> None:
        self.path = Path(path).expanduser()
        self._is_bcf = check_file(self.path)
        self.header = read_header(self.path, self._is_bcf)
        self.n_before = 0 if self._is_bcf else len(self.header)
        self._check = LineCheck(self.path, self.header)
        self._judge = AlleleJudge(genome, Rules(width, shifts, edges == "skip", swap))

    def blocks(self, n_records: int = BLOCK_RECORDS) -> Iterator[Block]:
        """Yield all records, in blocks of at most so many lines of the file; fewer if they are very long.

        Raises
        ------
        ChromTransferError
            If the file is damaged, where that is found.
        """
        lines: list[Line] = []
        size = 0
        for line in bcf_lines(self.path) if self._is_bcf else text_lines(self.path):
            if line.number <= self.n_before:
                continue
            lines.append(line)
            size += len(line.text)
            if len(lines) == n_records or size >= _BLOCK_TEXT:
                yield self._block(lines)
                lines, size = [], 0
        if lines:
            yield self._block(lines)

    def _block(self, lines: list[Line]) -> Block:
        reasons = self._check.reasons([line.text for line in lines])
        kept = [line for line, reason in zip(lines, reasons, strict=True) if not reason]
        rejected = [
            Rejected(line.number, line.text[:_SHOWN], reason)
            for line, reason in zip(lines, reasons, strict=True)
            if reason
        ]
        texts = [line.text for line in kept]
        numbers = np.array([line.number for line in kept], dtype=np.int64)
        return Block(texts, numbers, self._judge.table(texts), rejected)
