"""The dataloader class of exported Kipoi model folders: intervals and a FASTA to one-hot windows."""

from __future__ import annotations

import os
import warnings
from operator import itemgetter
from typing import Any

import numpy as np
import related
from kipoi.data import Dataset
from kipoi.metadata import GenomicRanges
from kipoi.specs import DataLoaderDescription
from kipoi_utils.external.torch.data import DataLoader
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.kipoi import compat
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.regions import Regions, read_regions, region_ids

compat.apply()

_MOST_LISTED = 20  # rows or regions named in one warning

# What Kipoi shows and checks; the same arguments as RegionDataloader.__init__. It has no `default:` entries
# because Kipoi 0.8.6 takes numbers there for file names. The example paths are relative to the model folder.
_DESCRIPTION = """
type: Dataset
defined_as: chromtransfer_plugin.kipoi.RegionDataloader
info:
  authors:
    - name: The chromtransfer-plugin authors
  doc: One-hot encoded windows of a genome, one for each row of an interval file, in its order
  license: MIT
args:
  intervals_file:
    doc: BED (3 or more columns), narrowPeak or `chrom:start-end[,label]` lines; plain, gzip or bgzip
    type: str
    example: example_files/intervals.bed
  fasta_file:
    doc: Genome the intervals refer to; plain or bgzipped FASTA, no index needed
    type: str
    example: example_files/genome.fa
  width:
    doc: Window length in bp, cut around the summit of a narrowPeak row, else around the midpoint
    type: int
    optional: True
output_schema:
  inputs:
    shape: (4, None)
    special_type: DNASeq
    doc: One-hot sequence, channels first in the order A, C, G, T; an unknown base is an all-zero column
    associated_metadata: ranges, source_line
  metadata:
    ranges:
      type: GenomicRanges
      doc: The scored window; id is the name in the interval file, else the window as chrom:start-end
    source_line:
      type: int
      doc: Line of the interval file, counted from 1
"""


class RegionDataloader(Dataset):
    """Windows of a genome around the rows of an interval file.

    Item ``i`` is a dict with ``inputs``, float32 (4, width) one-hot, and ``metadata``: ``ranges``, the window
    as GenomicRanges (0-based, half-open, strand ``*`` where the file has none; the sequence is always that
    of the plus strand), and ``source_line``, the 1-based line of the file. Batches hold the same stacked.

    Every row that can be used gives one window, in file order. The others are listed on stderr, with line and
    reason, by one warning; another names the windows without any known base, which are kept and predicted as
    NaN.

    Parameters
    ----------
    intervals_file : path
        See :func:`~chromtransfer_plugin.regions.read_regions`; labels are ignored.
    fasta_file : path
        See :class:`~chromtransfer_plugin.genome.Genome`.
    width : int
        Window length in bp.

    Raises
    ------
    ChromTransferError
        If a file is missing or unusable, the contig names do not match, or no row is left.
    """

    # Both files are required; with a default their absence reaches _absolute, not a TypeError's traceback.
    def __init__(
        self,
        intervals_file: str | os.PathLike[str] | None = None,
        fasta_file: str | os.PathLike[str] | None = None,
        width: int = WINDOW,
    ) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ChromTransferError(
                f"dataloader argument 'width' is {width!r}, expected a whole number of base pairs, at least 1."
            )
        intervals, fasta = _absolute("intervals_file", intervals_file), _absolute("fasta_file", fasta_file)
        genome = Genome(fasta)
        regions = read_regions(intervals, genome, width, label_column=0, drop_only_n=False)
        _warn_dropped(regions)
        table = regions.table
        ids = region_ids(table)
        self._genome, self._width = genome, width
        self._contigs = genome.contig_index(table["chrom"].to_numpy())
        self._starts = table["start"].to_numpy()
        named = ~table["name"].isin(["", "."])
        # Numpy strings, not objects: Kipoi's HDF5 writer takes objects for arrays of variable length.
        self._metadata = {
            "chr": table["chrom"].to_numpy(dtype=str),
            "start": self._starts,
            "end": table["end"].to_numpy(),
            "id": table["name"].where(named, ids).to_numpy(dtype=str),
            "strand": table["strand"].replace(".", "*").to_numpy(dtype=str),
        }
        self._source_lines = table["source_line"].to_numpy()
        unknown = genome.only_n(self._contigs, self._starts, self._metadata["end"])
        _warn_unknown(ids[unknown].tolist(), str(genome.path))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        batch = self.batch(np.array([range(len(self))[index]]))
        ranges = {key: values[0] for key, values in batch["metadata"]["ranges"].items()}
        return {
            "inputs": batch["inputs"][0],
            "metadata": {
                "ranges": GenomicRanges(**ranges),
                "source_line": batch["metadata"]["source_line"][0],
            },
        }

    def batch(self, rows: slice | NDArray[np.int64]) -> dict[str, Any]:
        """Give several windows at once: ``inputs`` float32 (n, 4, width) and ``metadata``."""
        codes = self._genome.extract(self._contigs[rows], self._starts[rows], self._width)
        return {
            "inputs": one_hot(codes, "channels_first"),
            "metadata": {
                "ranges": GenomicRanges(**{key: values[rows] for key, values in self._metadata.items()}),
                "source_line": self._source_lines[rows],
            },
        }

    def _batch_iterable(
        self,
        batch_size: int = 32,
        shuffle: bool = False,
        num_workers: int = 0,
        drop_last: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Let Kipoi's loader (and its workers) fetch whole batches instead of collating single windows."""
        if batch_size < 1:
            raise ChromTransferError(f"batch_size is {batch_size}, expected at least 1 (--batch_size 256).")
        if shuffle:
            return super()._batch_iterable(batch_size, shuffle, num_workers, drop_last, **kwargs)
        batches = _Batches(self, batch_size, drop_last)
        return DataLoader(batches, batch_size=1, num_workers=num_workers, collate_fn=itemgetter(0), **kwargs)


# What the decorator kipoi.data.kipoi_dataloader does with a YAML docstring; ours is for readers.
RegionDataloader._add_description_factory(DataLoaderDescription.from_config(related.from_yaml(_DESCRIPTION)))


class _Batches:
    """The windows of a loader seen as a sequence of batches."""

    def __init__(self, loader: RegionDataloader, batch_size: int, drop_last: bool) -> None:
        self._loader, self._batch_size = loader, batch_size
        self._n = len(loader) // batch_size if drop_last else -(-len(loader) // batch_size)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._loader.batch(slice(index * self._batch_size, (index + 1) * self._batch_size))


def _absolute(argument: str, path: Any) -> str:
    """Give an absolute path: Kipoi changes the working directory only while it constructs a dataloader."""
    if not isinstance(path, str | os.PathLike):
        raise ChromTransferError(
            f"dataloader argument '{argument}' is {'missing' if path is None else repr(path)}, expected a file. "
            """Give both: --dataloader_args '{"intervals_file": "regions.bed", "fasta_file": "genome.fa"}'."""
        )
    return os.path.abspath(os.path.expanduser(path))


def _warn_dropped(regions: Regions) -> None:
    dropped = regions.report.dropped
    if dropped:
        rows = [f"line {line}: {reason}: {text}" for line, text, reason in dropped]
        warnings.warn(f"{regions.report.summary()}\n{_listed(rows)}", ChromTransferWarning, stacklevel=3)


def _warn_unknown(names: list[str], fasta: str) -> None:
    if names:
        warnings.warn(
            f"{fasta}: predicted as NaN for want of any known base: {len(names)}\n{_listed(names)}",
            ChromTransferWarning,
            stacklevel=3,
        )


def _listed(items: list[str]) -> str:
    more = [f"... and {len(items) - _MOST_LISTED} more"] if len(items) > _MOST_LISTED else []
    return "\n".join(f"  {item}" for item in items[:_MOST_LISTED] + more)
