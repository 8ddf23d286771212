"""Arrays in HDF5 whose rows are windows: chunks, reading some rows, and a disk that is full."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import h5py

_CHUNK_BASES = 38_400  # 64 windows of 600 bp, 150 kB
_READ_CHUNKS = 4


def create_array(out: h5py.File, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> h5py.Dataset:
    """Add an array (N, ..., L), compressed and in chunks of some windows."""
    chunks = (max(1, min(_CHUNK_BASES // shape[-1], shape[0])), *shape[1:])
    return out.create_dataset(
        name, shape, kind, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
    )


def picked(data: h5py.Dataset, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows given in ascending order; read some chunks at a time, because h5py's own choice of many rows is slow."""
    out = np.empty((len(rows), *data.shape[1:]), data.dtype)
    block = rows // (_READ_CHUNKS * data.chunks[0])
    ends = np.flatnonzero(np.diff(block)) + 1
    for first, last in zip([0, *ends], [*ends, len(rows)], strict=True):
        if first < last:
            part = rows[first:last]
            out[first:last] = data[part[0] : part[-1] + 1][part - part[0]]
    return out


class Output(io.FileIO):
    """A file for HDF5 that takes a failed write for done until it is asked: HDF5 itself then crashes when it closes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._path = path
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write everything, or keep the error."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self._error is None:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or keep the error."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def check(self) -> None:
        """Raise if a write has failed."""
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self._path))
