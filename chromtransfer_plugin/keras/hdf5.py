"""Read Keras 2 HDF5 files without trusting them: shapes and sizes are checked before anything is read, no link is followed.

Layout (Keras 2 legacy): the attribute ``model_config`` (JSON) at the root; the group ``model_weights``, or the root itself
in files of weights alone, with the attribute ``layer_names`` and one group for each layer, whose attribute
``weight_names`` names its arrays in order. Nothing else in the file is looked at: not the optimiser, not the training
configuration, no object of any other kind.
"""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import h5py

WEIGHTS_GROUP = "model_weights"
# The published files are about 3 to 8 MB, with a configuration of 60 kB, 79 layers and 132 arrays.
MOST_FILE = 1 << 30  # bytes
MOST_TEXT = 1 << 28  # bytes of one attribute
MOST_NAMES = 2_000  # layers of a file, arrays of a layer
MOST_DEPTH = 8  # parts of an array's name
MOST_VALUES = 1 << 27  # numbers in all arrays together
MOST_CHUNK = 1 << 27  # bytes of one compressed piece, which is unpacked as a whole
KNOWN_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
FLOAT_SIZES = (2, 4, 8)
LFS_POINTER = b"version https://git-lfs"
ZIP = b"PK\x03\x04"
# What h5py raises on damaged or odd files.
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, OverflowError, MemoryError)


@dataclass(frozen=True)
class StoredArray:
    """One array of a file, not read yet: its full name, what it is, and its shape."""

    name: str  # e.g. model_1/conv1d/kernel:0
    kind: str  # last part of the name without ":0", e.g. kernel
    shape: tuple[int, ...]
    dataset: h5py.Dataset

    def read(self) -> np.ndarray:
        """Read the values as float32; NaN and infinity are refused.

        Raises
        ------
        ChromTransferError
            If a value is not a finite float32, or the data is damaged.
        """
        try:
            with np.errstate(over="ignore"):
                values = np.asarray(self.dataset[()]).astype(np.float32)
        except DAMAGED as error:
            raise ChromTransferError(
                f"array {shown(self.name)} cannot be read ({_reason(error)})."
            ) from error
        bad = int(values.size - np.isfinite(values).sum())
        if bad:
            raise ChromTransferError(
                f"array {shown(self.name)}: {bad} of {values.size} values are not finite (NaN or infinite): such "
                "a model predicts nothing. Look for another copy of the file."
            )
        return values


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file says about itself, and its arrays layer by layer, in the file's order."""

    config: str | None  # JSON; None in files of weights alone
    keras_version: str
    groups: dict[str, tuple[StoredArray, ...]]  # top-level layer -> arrays; layers without arrays too


def shown(name: str) -> str:
    """Give a name from a file for a message: quoted, cut, and without characters that act on a terminal."""
    cut = name if len(name) <= 120 else f"{name[:120]}..."
    return f"'{cut}'" if cut.isprintable() else ascii(cut)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of the messages of errors raised in the block."""
    try:
        yield
    except ChromTransferError as error:
        raise ChromTransferError(f"{path}: {error.format_message()}") from error


@contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """Open a Keras 2 HDF5 file, read-only; the arrays can be read inside the block.

    Errors raised in the block get the file's name in front.

    Raises
    ------
    ChromTransferError
        If it is missing, something else than a Keras 2 HDF5 file, truncated, or contains what is refused here: links,
        arrays kept in other files, unknown compression, sizes that no such model has.
    """
    import h5py

    with naming(path):
        _check_bytes(path)
        try:
            file = h5py.File(path, "r")
        except DAMAGED as error:
            raise _damaged(error) from error
        with file:
            try:
                content = _Reader(path, file).read()
            except ChromTransferError:
                raise
            except DAMAGED as error:
                raise _damaged(error) from error
            yield content


def _damaged(error: BaseException) -> ChromTransferError:
    return ChromTransferError(
        f"cannot be read as HDF5; the file is truncated or damaged ({_reason(error)}). Get it again."
    )


def _check_bytes(path: Path) -> None:
    """Refuse what is not HDF5 at all, with the likely reason."""
    import h5py

    if path.is_dir():
        raise ChromTransferError("is a folder, expected a Keras file (.h5).")
    if path.exists() and not path.is_file():  # reading a pipe could wait forever
        raise ChromTransferError("is no regular file. Save it to a file first.")
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(64)
    except OSError as error:
        raise ChromTransferError(f"cannot be read ({error.strerror}). Check the name.") from error
    problem = ""
    if not size:
        problem = "the file is empty"
    elif size > MOST_FILE:
        problem = f"{size:,} bytes are more than any file of this network has"
    elif start.startswith(LFS_POINTER):
        problem = (
            "a Git LFS pointer, not the file itself: run `git lfs pull` in its folder, or download the file"
        )
    elif start.startswith(ZIP):
        problem = (
            "a zip archive, as Keras 3 writes (.keras): only HDF5 files of Keras 2 are read. "
            "Save it with model.save('model.h5') in TensorFlow 2.15 or earlier"
        )
    elif not h5py.is_hdf5(path):
        problem = "not an HDF5 file"
    if problem:
        raise ChromTransferError(f"{problem}. Expected a Keras 2 model file (.h5).")


def _reason(error: BaseException) -> str:
    return shown(str(error).strip("'\" ").partition("\n")[0] or type(error).__name__)[1:-1]


class _Reader:
    """Reads one open file. Its methods raise ChromTransferError without the file's name."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.file = file
        self.largest_text = _largest_heap(path)
        self.values = 0

    def read(self) -> KerasFile:
        root = self.child(self.file, WEIGHTS_GROUP) if WEIGHTS_GROUP in self.file.id else self.file
        if (layers := self.texts(root, "layer_names")) is None:
            raise ChromTransferError(
                "an HDF5 file, but not of a Keras 2 model: it has no 'layer_names'. Files of Keras 3 "
                "(.weights.h5) and of other programs are not read."
            )
        config = self.texts(self.file, "model_config")
        version = (
            self.texts(self.file, "keras_version") or self.texts(root, "keras_version") or ["not stated"]
        )
        groups = {layer: self.arrays(self.child(root, layer), layer) for layer in layers}
        if len(groups) < len(layers):
            raise ChromTransferError("'layer_names' names a layer twice.")
        return KerasFile(config[0] if config else None, version[0][:40], groups)

    def arrays(self, group: Any, layer: str) -> tuple[StoredArray, ...]:
        import h5py

        found = []
        for name in self.texts(group, "weight_names") or []:
            parts = name.split("/")
            if len(parts) > MOST_DEPTH:
                raise ChromTransferError(f"array {shown(name)}: more than {MOST_DEPTH} groups deep.")
            node = group
            for part in parts:
                if not isinstance(node, h5py.Group):
                    raise ChromTransferError(f"{shown(name)} of layer {shown(layer)} leads through an array.")
                node = self.child(node, part)
            full = f"{layer}/{name}"
            if not isinstance(node, h5py.Dataset):
                raise ChromTransferError(f"{shown(full)} is a group, expected an array.")
            self.check(full, node)
            found.append(StoredArray(full, parts[-1].partition(":")[0], tuple(node.shape), node))
        return tuple(found)

    def child(self, group: Any, name: str) -> Any:
        """Open one member of a group, which must really lie there."""
        import h5py

        key = name.encode()
        if name in ("", ".") or "/" in name or key not in group.id:
            raise ChromTransferError(f"{shown(name)} is listed but missing in {shown(group.name)}.")
        if group.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise ChromTransferError(
                f"{shown(name)} in {shown(group.name)} is a soft or external link; links are never followed."
            )
        return group[name]

    def texts(self, node: Any, name: str) -> list[str] | None:
        """Read an attribute of text or a list of texts; None if there is none. Its size is checked first."""
        import h5py

        if not h5py.h5a.exists(node.id, name.encode()):
            return None
        attribute = h5py.h5a.open(node.id, name.encode())
        kind = attribute.get_type()
        empty = attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL
        if not isinstance(kind, h5py.h5t.TypeStringID):
            # What numpy writes for an empty list of names, e.g. of a layer without weights.
            if empty or 0 in attribute.shape:
                return []
            raise ChromTransferError(f"attribute {shown(name)} of {shown(node.name)} is not text.")
        if empty:
            return []
        count = math.prod(attribute.shape)
        size = count * (self.largest_text if kind.is_variable_str() else kind.get_size())
        if count > MOST_NAMES or size > MOST_TEXT:
            raise ChromTransferError(
                f"attribute {shown(name)} of {shown(node.name)}: {count:,} texts of together up to {size:,} bytes "
                "are more than any file of this network has."
            )
        values = np.atleast_1d(np.asarray(node.attrs[name], dtype=object)).ravel()
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        for text in texts:
            text.encode()  # h5py passes bytes that are not UTF-8 through as surrogates
        return texts

    def check(self, name: str, dataset: h5py.Dataset) -> None:
        """Refuse arrays that are not plain floats inside this file, and sizes out of proportion."""
        import h5py

        problem = ""
        settings = dataset.id.get_create_plist()
        filters = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
        kind = dataset.id.get_type()
        count = math.prod(dataset.shape or (0,))
        self.values += count
        if not isinstance(kind, h5py.h5t.TypeFloatID) or kind.get_size() not in FLOAT_SIZES:
            problem = "has values that are not floating-point numbers of 16, 32 or 64 bits"
        elif not 1 <= len(dataset.shape or ()) <= 3 or not count:
            problem = f"has the shape {dataset.shape}"
        elif self.values > MOST_VALUES:
            problem = f"claims the shape {dataset.shape}, more than any file of this network has"
        elif settings.get_layout() == h5py.h5d.VIRTUAL or settings.get_external_count():
            problem = "keeps its values in another file, which is never opened"
        elif unknown := [number for number in filters if number not in KNOWN_FILTERS]:
            problem = f"is packed with the HDF5 filter {unknown[0]}; only {', '.join(KNOWN_FILTERS.values())} are read"
        elif dataset.chunks and math.prod(dataset.chunks) * kind.get_size() > MOST_CHUNK:
            problem = f"is stored in pieces of {dataset.chunks}"
        elif not dataset.id.get_storage_size():
            problem = "has no values in the file"
        if problem:
            raise ChromTransferError(f"array {shown(name)} {problem}.")


def _largest_heap(path: Path) -> int:
    """Upper limit for one text of variable length, in bytes.

    Such texts lie in collections that start with ``GCOL``, a version and their size. Many entries of an attribute can
    point to the same text, so a small file could ask for any amount of memory.
    """
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        sizes = [
            int.from_bytes(content[hit.end() : hit.end() + 8], "little")
            for hit in re.finditer(rb"GCOL\x01\x00\x00\x00", content)
        ]
        return min(max(sizes, default=0), len(content))
