"""A dataloader class for sequences that come as they are, without a genome."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from kipoi.metadata import GenomicRanges
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fasta import FastaRecord, place_of, read_fasta
from chromtransfer_plugin.kipoi.window_dataset import (
    WindowDataset,
    absolute_path,
    check_width,
    text_array,
    warn_dropped,
    warn_unknown,
)
from chromtransfer_plugin.onehot import N_CODE, encode, one_hot


class FastaDataloader(WindowDataset):
    """The middle of each sequence of a FASTA, in file order.

    Item ``i`` is a dict with ``inputs``, float32 (4, width) one-hot of ``[m - width // 2, m - width // 2 + width)``,
    where m is half the length of the record, rounded down, and ``metadata``: ``ranges`` and ``source_line``, the line
    of the header. ``ranges.id`` is the record's name. If that name is a place in a genome (``chr1:100-700``, 0-based
    and half-open as bedtools writes it or 1-based as samtools does: the length of the sequence tells which), ``chr``,
    ``start``, ``end`` and ``strand`` say where in the genome the window lies; else ``chr`` is the name again and
    ``start`` and ``end`` count within the record. Batches hold the same stacked.

    Records that are shorter than the window are left out and listed on stderr; windows without any known base are
    named, kept and predicted as NaN. Memory: one byte per base of the windows.

    Parameters
    ----------
    fasta_file : path
        Plain, gzip or bgzip, see :func:`~chromtransfer_plugin.fasta.read_fasta`.
    width : int or None
        Window length in bp. None: whole records, which must have one length.

    Raises
    ------
    ChromTransferError
        If the file is missing or no FASTA, no record is left, or ``width`` is None and the lengths differ.
    """

    def __init__(self, fasta_file: str | os.PathLike[str] | None = None, width: int | None = WINDOW) -> None:
        if width is not None:
            check_width(width)
        path = absolute_path("fasta_file", fasta_file, '{"fasta_file": "sequences.fa"}')
        codes = bytearray()
        places: list[tuple[str, int, str, str]] = []
        lines: list[int] = []
        short: list[tuple[int, str]] = []  # length, what is said of it
        one_length = width is None
        for record in _with_progress(path):
            length = len(record.sequence)
            if width is None:
                width = length
            if one_length and length != width:
                raise ChromTransferError(
                    f"{path}: record '{record.id}' (line {record.line}) has {length} bp and the first one {width} bp: "
                    "without a width all must have one length. Give a width."
                )
            if length < width:
                short.append((length, f"line {record.line}: {record.id} has {length} bp"))
                continue
            begin = length // 2 - width // 2
            codes += encode(record.sequence[begin : begin + width]).tobytes()
            places.append(_place(record, begin, width))
            lines.append(record.line)
        summary = f"{path}: {len(places) + len(short)} records read, {len(places)} kept"
        if not places:
            longest = max(short)[0]
            raise ChromTransferError(
                f"{summary}: none is as long as the window of {width} bp, the longest has {longest} bp. Give a width: "
                f"""--dataloader_args '{{"fasta_file": "{path}", "width": {longest}}}'."""
            )
        warn_dropped(
            f"{summary}, {len(short)} shorter than the window of {width} bp", [text for _, text in short]
        )
        self._n, self._width = len(places), width
        self._codes = np.frombuffer(codes, dtype=np.uint8).reshape(self._n, -1)
        self._lines = np.array(lines)
        self._starts = np.array([start for _, start, _, _ in places])
        self._texts = {
            key: np.array([place[i] for place in places], dtype=object)
            for i, key in ((0, "chr"), (2, "id"), (3, "strand"))
        }
        warn_unknown(self._texts["id"][(self._codes == N_CODE).all(axis=1)].tolist(), path)

    def batch(self, rows: slice | NDArray[np.int64]) -> dict[str, Any]:
        """Give several windows at once: ``inputs`` float32 (n, 4, width) and ``metadata``."""
        start = self._starts[rows]
        texts = {key: text_array(values[rows]) for key, values in self._texts.items()}
        return {
            "inputs": one_hot(self._codes[rows], "channels_first"),
            "metadata": {
                "ranges": GenomicRanges(start=start, end=start + self._width, **texts),
                "source_line": self._lines[rows],
            },
        }


def _with_progress(path: str) -> Iterator[FastaRecord]:
    from tqdm import tqdm

    name, size = os.path.basename(path), os.path.getsize(path) if os.path.isfile(path) else 0
    with tqdm(total=size, desc=name, unit="B", unit_scale=True, delay=2.0, leave=False, disable=None) as bar:
        yield from read_fasta(path, progress=bar.update)


def _place(record: FastaRecord, begin: int, width: int) -> tuple[str, int, str, str]:
    """Give chr, start, id and strand of the window that begins at ``begin`` of a record."""
    length = len(record.sequence)
    place = place_of(record.id)
    if place is not None and place.end - place.start == length:
        origin = place.start
    elif place is not None and place.end - place.start + 1 == length and place.start:
        origin = place.start - 1
    else:
        return record.id, begin, record.id, "*"
    start = origin + (length - begin - width if place.strand == "-" else begin)
    return place.chrom, start, record.id, place.strand or "*"


FastaDataloader.describe(
    doc="One-hot encoded middle of each sequence of a FASTA, in its order",
    args={
        "fasta_file": {"doc": "Sequences; plain, gzip or bgzip", "type": "str"},
        "width": {
            "doc": "Window length in bp, cut around the middle; null for whole records, all of one length",
            "type": "int",
            "optional": True,
        },
    },
    metadata={
        "ranges": {
            "type": "GenomicRanges",
            "doc": "The scored window, in the genome if the name is a place there, else in the record; id is the name",
        },
        "source_line": {"type": "int", "doc": "Line of the header in the FASTA, counted from 1"},
    },
)
