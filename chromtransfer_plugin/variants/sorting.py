"""Lines of text sorted by contig and position in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from chromtransfer_plugin.files import make_folder

RUN_BYTES = 64 << 20  # text held at a time
_MOST_FILES = 64  # read at a time

Keyed = tuple[int, int, str]  # number of the contig, position, line


class LineSorter:
    """Collects lines, then gives them in order; those at one place stay in the order in which they came.

    Parameters
    ----------
    folder : Path
        For what does not fit; whoever owns it removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[Keyed] = []
        self._size = 0
        self._runs: list[Path] = []
        self._n_runs = 0

    def add(self, lines: Iterable[Keyed]) -> None:
        """Take some lines."""
        before = len(self._held)
        self._held.extend(lines)
        self._size += sum(len(line) for _, _, line in self._held[before:])
        if self._size >= RUN_BYTES:
            self._runs.append(self._store(self._sorted_held()))

    def lines(self) -> Iterator[str]:
        """Yield all lines in order."""
        while len(self._runs) > _MOST_FILES:
            # Runs that follow each other become one, so that lines at one place keep their order.
            groups = [self._runs[i : i + _MOST_FILES] for i in range(0, len(self._runs), _MOST_FILES)]
            self._runs = [self._joined(group) for group in groups]
        for _, _, line in _merged([*map(_stored, self._runs), self._sorted_held()]):
            yield line

    def _joined(self, runs: list[Path]) -> Path:
        joined = self._store(_merged(map(_stored, runs)))
        for path in runs:
            path.unlink()
        return joined

    def _sorted_held(self) -> Iterator[Keyed]:
        held, self._held, self._size = self._held, [], 0
        held.sort(key=_place)
        return iter(held)

    def _store(self, lines: Iterable[Keyed]) -> Path:
        make_folder(self._folder)
        self._n_runs += 1
        path = self._folder / f"run{self._n_runs}"
        with path.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(f"{contig}\t{position}\t{line}\n" for contig, position, line in lines)
        return path


def _place(keyed: Keyed) -> tuple[int, int]:
    return keyed[:2]


def _merged(runs: Iterable[Iterator[Keyed]]) -> Iterator[Keyed]:
    return heapq.merge(*runs, key=_place)


def _stored(path: Path) -> Iterator[Keyed]:
    with path.open(encoding="utf-8", newline="\n") as text:
        for line in text:
            contig, position, rest = line.removesuffix("\n").split("\t", 2)
            yield int(contig), int(position), rest
