"""Writing predictions as bigWig: the mean probability of the windows that cover a base."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.prediction.outputs import Scored

Interval = tuple[str, int, int, float]
_FIELDS = {"contig": np.int32, "start": np.int64, "end": np.int64}


class Coverage(NamedTuple):
    """Stretches of one value, sorted and without overlap: 0-based half-open, values (n, columns) float32."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    values: NDArray[np.float32]


def mean_coverage(start: NDArray[np.int64], end: NDArray[np.int64], values: NDArray[np.float32]) -> Coverage:
    """Average the values (n, columns) of the windows that cover each base; bases without a window are left out."""
    edges = np.unique(np.concatenate([start, end]))
    first, last = np.searchsorted(edges, start), np.searchsorted(edges, end)

    def running(weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        opened = np.bincount(first, weights, minlength=len(edges))
        return np.cumsum(opened - np.bincount(last, weights, minlength=len(edges)))[:-1]

    count = running(None)
    covered = count > 0
    means = [running(column)[covered] / count[covered] for column in values.T.astype(np.float64)]
    return Coverage(edges[:-1][covered], edges[1:][covered], np.stack(means, axis=1).astype(np.float32))


class BigWigWriter:
    """One bigWig for each probability column.

    The windows lie in files until all are known; then one contig at a time is sorted in memory.

    Parameters
    ----------
    stack : ExitStack
    out : Path
        Becomes ``STEM.COLUMN.SUFFIX`` if there are several columns.
    columns : sequence of str
    contigs : dict of str to int
        Lengths, in the order of the genome.
    scratch : Path
        An existing folder for temporary files.
    """

    needs_place = True

    def __init__(
        self,
        stack: contextlib.ExitStack,
        out: Path,
        columns: Sequence[str],
        contigs: dict[str, int],
        scratch: Path,
    ) -> None:
        self.paths = bigwig_paths(out, columns)
        self._columns, self._contigs = columns, contigs
        self._number = {name: number for number, name in enumerate(contigs)}
        self._temporary = [stack.enter_context(atomic_path(path)) for path in self.paths]
        self._files = {name: scratch / f"{name}.bigwig" for name in (*_FIELDS, "values")}
        self._out = {name: stack.enter_context(path.open("wb")) for name, path in self._files.items()}

    def write(self, block: Scored) -> None:
        """Add the rows that have a score and coordinates."""
        placed = block.placed
        table = block.table[placed]
        self._out["contig"].write(table["chrom"].map(self._number).to_numpy(np.int32).tobytes())
        for name in ("start", "end"):
            self._out[name].write(table[name].to_numpy(np.int64).tobytes())
        self._out["values"].write(np.ascontiguousarray(block.probabilities[placed]).tobytes())

    def finish(self) -> None:
        """Sort, average and write."""
        for handle in self._out.values():
            handle.flush()
        fields = {name: np.memmap(self._files[name], dtype=kind, mode="r") for name, kind in _FIELDS.items()}
        values = np.memmap(self._files["values"], dtype=np.float32, mode="r").reshape(-1, len(self._columns))
        for column, temporary in enumerate(self._temporary):
            intervals = self._intervals(fields, values[:, column : column + 1])
            write_bigwig(temporary, self.paths[column], self._contigs, intervals)

    def _intervals(
        self, fields: Mapping[str, NDArray[Any]], values: NDArray[np.float32]
    ) -> Iterator[Interval]:
        for name, number in self._number.items():
            rows = np.flatnonzero(fields["contig"] == number)
            if rows.size:
                part = mean_coverage(fields["start"][rows], fields["end"][rows], values[rows])
                for start, end, value in zip(
                    part.start.tolist(), part.end.tolist(), part.values[:, 0].tolist(), strict=True
                ):
                    yield name, start, end, value


def write_bigwig(
    temporary: Path, path: Path, contigs: Mapping[str, int], intervals: Iterator[Interval]
) -> None:
    """Write sorted intervals as a bigWig.

    Parameters
    ----------
    temporary : Path
        Where to write.
    path : Path
        What it will be called, for messages.
    contigs : mapping of str to int
        Lengths, in the order of the intervals' contigs.
    intervals : iterator
        Contig, start, end (0-based half-open) and value.

    Raises
    ------
    ChromTransferError
        If it cannot be written.
    """
    import pybigtools

    errors: list[BaseException] = []

    def noted() -> Iterator[Interval]:
        try:
            yield from intervals
        except BaseException as error:  # Ctrl-C, too, mostly arrives here
            errors.append(error)

    pybigtools.open(str(temporary), "w").write(dict(contigs), noted())
    if errors:  # pybigtools prints an error of the iterator and carries on
        raise errors[0]
    _check_written(temporary, path)


def bigwig_paths(out: Path, columns: Sequence[str]) -> list[Path]:
    """Give the file of each column."""
    if len(columns) == 1:
        return [out]
    return [out.with_name(f"{out.stem}.{column.replace('/', '_')}{out.suffix}") for column in columns]


def _check_written(temporary: Path, path: Path) -> None:
    import pybigtools

    try:
        with pybigtools.open(str(temporary)) as written:
            if written.chroms():
                return
    except Exception as error:  # its classes differ between versions
        raise ChromTransferError(f"{path}: the bigWig could not be written ({error}).") from error
    raise ChromTransferError(f"{path}: the bigWig could not be written. Is the disk full?")
