"""The dataloader class of exported Kipoi model folders: intervals and a FASTA to one-hot windows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from kipoi.metadata import GenomicRanges
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.kipoi.region_targets import read_regions_and_targets
from chromtransfer_plugin.kipoi.window_dataset import (
    WindowDataset,
    absolute_path,
    check_width,
    text_array,
    warn_dropped,
    warn_unknown,
)
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.regions import region_ids

_EXAMPLE = '{"intervals_file": "regions.bed", "fasta_file": "genome.fa"}'


class RegionDataloader(WindowDataset):
    """Windows of a genome around the rows of an interval file.

    Item ``i`` is a dict with ``inputs``, float32 (4, width) one-hot, and ``metadata``: ``ranges``, the window
    as GenomicRanges (0-based, half-open, strand ``*`` where the file has none; the sequence is always that
    of the plus strand), and ``source_line``, the 1-based line of the file. Where targets were asked for, there
    is also ``targets``, float32 (T,). Batches hold the same stacked.

    Every row that can be used gives one window, in file order. The others are listed on stderr, with line and
    reason, by one warning; another names the windows without any known base, which are kept and predicted as
    NaN.

    Parameters
    ----------
    intervals_file : path
        See :func:`~chromtransfer_plugin.regions.read_regions`.
    fasta_file : path
        See :class:`~chromtransfer_plugin.genome.Genome`.
    width : int
        Window length in bp.
    label_column, positive, classes, target_columns
        Targets: at most one of the last three, see
        :func:`~chromtransfer_plugin.kipoi.region_targets.read_regions_and_targets`. Labels are ignored by default.

    Raises
    ------
    ChromTransferError
        If a file is missing or unusable, the contig names do not match, no row is left, or the targets that were
        asked for are not there.
    """

    # Both files are required; with a default their absence reaches absolute_path, not a TypeError's traceback.
    def __init__(
        self,
        intervals_file: str | os.PathLike[str] | None = None,
        fasta_file: str | os.PathLike[str] | None = None,
        width: int = WINDOW,
        label_column: int | None = None,
        positive: str | None = None,
        classes: str | None = None,
        target_columns: str | int | None = None,
    ) -> None:
        check_width(width)
        intervals = absolute_path("intervals_file", intervals_file, _EXAMPLE)
        genome = Genome(absolute_path("fasta_file", fasta_file, _EXAMPLE))
        regions, self._targets = read_regions_and_targets(
            intervals, genome, width, label_column, positive, classes, target_columns
        )
        warn_dropped(
            regions.report.summary(),
            [f"line {line}: {reason}: {text}" for line, text, reason in regions.report.dropped],
        )
        table = regions.table
        ids = region_ids(table)
        self._n = len(table)
        self._genome, self._width = genome, width
        self._contigs = genome.contig_index(table["chrom"].to_numpy())
        self._starts = table["start"].to_numpy()
        named = ~table["name"].isin(["", "."])
        self._texts = {
            "chr": table["chrom"].to_numpy(dtype=object),
            "id": table["name"].where(named, ids).to_numpy(dtype=object),
            "strand": table["strand"].replace(".", "*").to_numpy(dtype=object),
        }
        self._source_lines = table["source_line"].to_numpy()
        unknown = genome.only_n(self._contigs, self._starts, self._starts + width)
        warn_unknown(ids[unknown].tolist(), str(genome.path))

    def batch(self, rows: slice | NDArray[np.int64]) -> dict[str, Any]:
        """Give several windows at once: ``inputs`` float32 (n, 4, width), ``metadata`` and perhaps ``targets``."""
        start = self._starts[rows]
        codes = self._genome.extract(self._contigs[rows], start, self._width)
        texts = {key: text_array(values[rows]) for key, values in self._texts.items()}
        targets = {} if self._targets is None else {"targets": self._targets[rows]}
        return {
            "inputs": one_hot(codes, "channels_first"),
            **targets,
            "metadata": {
                "ranges": GenomicRanges(start=start, end=start + self._width, **texts),
                "source_line": self._source_lines[rows],
            },
        }


# The example paths are relative to the model folder.
RegionDataloader.describe(
    doc="One-hot encoded windows of a genome, one for each row of an interval file, in its order",
    args={
        "intervals_file": {
            "doc": "BED (3 or more columns), narrowPeak or `chrom:start-end[,label]` lines; plain, gzip or bgzip",
            "type": "str",
            "example": "example_files/intervals.bed",
        },
        "fasta_file": {
            "doc": "Genome the intervals refer to; plain or bgzipped FASTA, no index needed",
            "type": "str",
            "example": "example_files/genome.fa",
        },
        "width": {
            "doc": "Window length in bp, cut around the summit of a narrowPeak row, else around the midpoint",
            "type": "int",
            "optional": True,
        },
        "label_column": {
            "doc": "Column of the labels, counted from 1; by default 4 of a BED or narrowPeak, 2 of a CSV",
            "type": "int",
            "optional": True,
        },
        "positive": {
            "doc": "Yield targets: 1 for this label (or these, separated by commas), 0 for every other one",
            "type": "str",
            "optional": True,
        },
        "classes": {
            "doc": "Yield targets: one-hot in the order of these labels, separated by commas",
            "type": "str",
            "optional": True,
        },
        "target_columns": {
            "doc": "Yield targets: the numbers in these columns, counted from 1, such as 4 or 5-10",
            "type": "str",
            "optional": True,
        },
    },
    targets={
        "shape": "(None,)",  # a model's own number of outputs fits
        "doc": "Only if positive, classes or target_columns is given; NaN where a number is unknown",
    },
    metadata={
        "ranges": {
            "type": "GenomicRanges",
            "doc": "The scored window; id is the name in the interval file, else the window as chrom:start-end",
        },
        "source_line": {"type": "int", "doc": "Line of the interval file, counted from 1"},
    },
)
