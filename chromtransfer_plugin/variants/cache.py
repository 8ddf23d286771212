"""Logits of windows on the disk, so that what was scored once need not run again.

One SQLite file serves any models and runs: a window goes by a digest of its bases that is different for other models,
versions or kinds of device. Nothing is unpickled. A kill leaves the file as it was before or after a whole block of
windows, several processes can use one file, and every row has a checksum.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import require_parent
from chromtransfer_plugin.friendly import ChromTransferWarning

_DIGEST = 16  # bytes: two of a billion different windows have the same one with a chance of 1e-21
_APPLICATION = 0x43545743  # in the header of the file: "CTWC"
_FORMAT = 1
_AT_ONCE = 500  # digests of a query; old versions of SQLite take 999
_WAIT = 60.0  # seconds for another process to finish writing
_CHECKSUM = 4  # bytes
_MEMORY = 64 * 1024  # KiB of the file that may be held in memory


class Digests:
    """Digests of windows for one set of models.

    Parameters
    ----------
    identity : dict
        JSON-serialisable: all that logits depend on beside the window.

    Attributes
    ----------
    identity : str
        The same as text.
    """

    def __init__(self, identity: dict[str, Any]) -> None:
        self.identity = json.dumps(identity, sort_keys=True)
        key = hashlib.blake2b(self.identity.encode()).digest()
        self._begun = hashlib.blake2b(key=key, digest_size=_DIGEST)

    def of(self, codes: NDArray[np.uint8]) -> list[bytes]:
        """Give a digest of each window (n, width); equal ones have the same."""
        digests = []
        for window in np.ascontiguousarray(codes):
            digest = self._begun.copy()
            digest.update(window)
            digests.append(digest.digest())
        return digests


class WindowCache:
    """Logits by digest in a file.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    identity : str
        What the digests are of; kept in the file for whoever wants to know.
    columns : int
        Numbers of a window.

    Raises
    ------
    ChromTransferError
        If the file is something else or damaged, or cannot be made.
    """

    def __init__(self, path: Path, identity: str, columns: int) -> None:
        self._path, self._columns, self._adds = path, columns, True
        if path.is_dir():
            raise ChromTransferError(f"--cache {path}: is a folder, expected the name of a file.")
        require_parent(path)
        with self._refusing():
            # No transactions but those of _writing.
            self._file = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
            try:
                self._prepare(identity)
            except BaseException:
                self._file.close()
                raise

    def _prepare(self, identity: str) -> None:
        run = self._file.execute
        run(f"PRAGMA cache_size = -{_MEMORY}")
        made = (run("PRAGMA application_id").fetchone()[0], run("PRAGMA user_version").fetchone()[0])
        is_new = made == (0, 0) and not run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not is_new and made != (_APPLICATION, _FORMAT):
            raise self._refusal("is not a cache of scored windows, or one of another version")
        try:
            with self._writing():
                run(f"PRAGMA application_id = {_APPLICATION}")
                run(f"PRAGMA user_version = {_FORMAT}")
                run("CREATE TABLE IF NOT EXISTS models (identity TEXT PRIMARY KEY)")
                run(
                    "CREATE TABLE IF NOT EXISTS windows (digest BLOB PRIMARY KEY, logits BLOB NOT NULL) "
                    "WITHOUT ROWID"
                )
                run("INSERT OR IGNORE INTO models VALUES (?)", (identity,))
        except sqlite3.OperationalError as error:
            if is_new:
                raise
            self._stop_adding(error)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def find(self, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Give the logits (columns,) of those windows that are there."""
        found = {}
        with self._refusing():
            for first in range(0, len(digests), _AT_ONCE):
                some = digests[first : first + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT digest, logits FROM windows WHERE digest IN ({marks})"
                for digest, sealed in self._file.execute(query, some):
                    found[digest] = self._opened(digest, sealed)
        return found

    def add(self, digests: Sequence[bytes], logits: NDArray[np.float32]) -> None:
        """Store logits (n, columns), all or none; where that is impossible, say so once and go on without."""
        if not self._adds:
            return
        rows = (row.tobytes() for row in np.ascontiguousarray(logits, dtype="<f4"))
        sealed = ((digest, _sealed(digest, row)) for digest, row in zip(digests, rows, strict=True))
        try:
            with self._writing():
                self._file.executemany("INSERT OR IGNORE INTO windows VALUES (?, ?)", sealed)
        except sqlite3.DatabaseError as error:
            self._stop_adding(error)

    def _opened(self, digest: bytes, sealed: object) -> NDArray[np.float32]:
        if isinstance(sealed, bytes) and len(sealed) == _CHECKSUM + 4 * self._columns:
            row = sealed[_CHECKSUM:]
            if _sealed(digest, row) == sealed:
                return np.frombuffer(row, dtype="<f4")
        raise self._refusal("is damaged")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Do all or nothing, alone."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._file.execute("COMMIT")
        except BaseException:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise self._refusal(f"cannot be used as a cache of scored windows ({error})") from error

    def _refusal(self, what: str) -> ChromTransferError:
        return ChromTransferError(
            f"--cache {self._path}: {what}. Delete it, if nothing else is in it, or name another file."
        )

    def _stop_adding(self, error: sqlite3.Error) -> None:
        self._adds = False
        warnings.warn(
            f"--cache {self._path}: nothing more is added to it ({error}). The results are complete all the same.",
            ChromTransferWarning,
            stacklevel=4,
        )


def _sealed(digest: bytes, row: bytes) -> bytes:
    """Put a checksum in front of a row."""
    return zlib.crc32(digest + row).to_bytes(_CHECKSUM, "little") + row
