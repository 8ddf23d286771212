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

Edges = Literal["pad", "skip"]
BLOCK_RECORDS = 4096


class Rejected(NamedTuple):
    """A line that is no record: its number in the file (from 1), its text, and what is wrong with it."""

    number: int
    text: str
    reason: str


@dataclass(frozen=True)
class Block:
    """Some consecutive records.

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
    """A VCF (plain or bgzip) or BCF and the genome it refers to.

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
        raise NotImplementedError

    def blocks(self, n_records: int = BLOCK_RECORDS) -> Iterator[Block]:
        """Yield all records; a damaged file raises a :class:`ChromTransferError` where it is damaged."""
        raise NotImplementedError
