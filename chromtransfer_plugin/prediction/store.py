"""Results on the disk while a prediction or attribution runs, so that a killed one goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder, try_lock

IDENTITY = "identity.json"
RESULTS = "numbers.f32"
_ENDS = "blocks"  # rows after each block, one line each
_LOCK = "lock"


class Partial:
    """The numbers of the rows done so far, in a hidden folder beside the output.

    Parameters
    ----------
    out : Path
        The output; the folder is ``.NAME.partial`` beside it.
    identity : dict
        JSON-serialisable: all that the results depend on. Results under another identity are discarded.
    columns : int
        Numbers per row.

    Attributes
    ----------
    changed : list of str
        Keys of the identity in which discarded earlier results differ; empty if there were none.
    """

    def __init__(self, out: Path, identity: dict[str, Any], columns: int) -> None:
        self.folder = out.with_name(f".{out.name}.partial")
        self._columns = columns
        self._row_bytes = 4 * columns
        self._identity = json.loads(json.dumps(identity))
        self.changed: list[str] = []

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process; it stays only if rows are stored and the block raises."""
        make_folder(self.folder)
        with (self.folder / _LOCK).open("w") as lock:
            if not try_lock(lock):
                raise ChromTransferError(
                    f"{self.folder}: another run is writing the same output. Wait for it, or choose another --out."
                )
            self._discard_others()
            try:
                yield
            except BaseException:
                if not self._stored_bytes():
                    self.remove()
                raise
            self.remove()

    def _discard_others(self) -> None:
        path = self.folder / IDENTITY
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            found = None
        if found != self._identity:
            if isinstance(found, dict) and self._stored_bytes():
                keys = {*found, *self._identity}
                self.changed = sorted(key for key in keys if found.get(key) != self._identity.get(key))
            for old in (self.folder / _ENDS, self._results):
                with suppress(FileNotFoundError):
                    old.unlink()
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(self._identity, indent=2) + "\n")

    @property
    def _results(self) -> Path:
        return self.folder / RESULTS

    def _stored_bytes(self) -> int:
        return self._results.stat().st_size if self._results.exists() else 0

    def rows(self) -> int:
        """Return how many rows of complete blocks are stored."""
        try:
            # A kill may have cut off the last line, which then has no end.
            ends = [int(line) for line in (self.folder / _ENDS).read_text().split("\n")[:-1]]
        except (OSError, ValueError):
            return 0
        return max((end for end in ends if end * self._row_bytes <= self._stored_bytes()), default=0)

    @contextmanager
    def appending(self) -> Iterator[Callable[[NDArray[np.float32]], None]]:
        """Yield a function that stores the rows of one block, (n, columns), safe from a kill once it returns."""
        done = self.rows()
        with atomic_path(self.folder / _ENDS) as temporary:
            temporary.write_text(f"{done}\n")
        with self._results.open("ab") as results, (self.folder / _ENDS).open("a") as ends:
            results.truncate(done * self._row_bytes)

            def append(values: NDArray[np.float32]) -> None:
                nonlocal done
                try:
                    results.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
                    results.flush()
                    os.fsync(results.fileno())
                    done += len(values)
                    ends.write(f"{done}\n")
                    ends.flush()
                except OSError as error:
                    raise ChromTransferError(
                        f"{self.folder}: the results cannot be stored ({error.strerror}). Free some space and run the "
                        "same command again: it goes on from here."
                    ) from error

            yield append

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], NDArray[np.float32]]]:
        """Yield a function that gives the next ``n`` stored rows, (n, columns)."""
        with self._results.open("rb") as results:
            yield lambda n: np.frombuffer(results.read(n * self._row_bytes), dtype="<f4").reshape(
                n, self._columns
            )

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
