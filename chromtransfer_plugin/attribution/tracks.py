"""Scores of windows along a genome: each base has the mean of the windows that cover it.

Coordinates are 0-based and half-open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.onehot import N_CODE

_READ = 256  # windows at a time


class Stretch(NamedTuple):
    """Some covered bases of one contig, in ascending order.

    Attributes
    ----------
    positions : ndarray of int64, shape (n,)
    codes : ndarray of uint8, shape (n,)
    scores : ndarray of float32, shape (n, models)
    """

    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]
    scores: NDArray[np.float32]


class _Sums(NamedTuple):
    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]
    sums: NDArray[np.float64]  # (n, models)
    counts: NDArray[np.int64]

    def cut(self, part: slice) -> _Sums:
        return _Sums(self.positions[part], self.codes[part], self.sums[part], self.counts[part])

    def mean(self) -> Stretch:
        return Stretch(self.positions, self.codes, (self.sums / self.counts[:, None]).astype(np.float32))


def base_means(
    store: AttributionStore,
    rows: NDArray[np.int64],
    models: Sequence[str],
    done: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[str, Stretch]]:
    """Yield contig by contig, in the order of the genome, the mean score of every base that a window covers.

    Memory does not grow with the number of windows, but for their coordinates.

    Parameters
    ----------
    store : AttributionStore
    rows : ndarray of int64
        Windows, in any order.
    models : sequence of str
    done : callable
        Takes the number of windows of each stretch.

    Yields
    ------
    tuple of str and Stretch
        Contig and some bases; stretches of one contig follow each other in ascending order.

    Raises
    ------
    ChromTransferError
        If a window has no place, or there is no genome.
    """
    placed, order = store.placed(rows), {name: number for number, name in enumerate(store.contigs)}
    chroms = placed["chrom"].map(order).to_numpy()
    starts = placed["start"].to_numpy()
    by_place = np.lexsort((starts, chroms))
    for name, number in order.items():
        members = by_place[np.searchsorted(chroms[by_place], number) :][: int((chroms == number).sum())]
        for stretch in _of_contig(store, rows[members], starts[members], models, done):
            yield name, stretch


def _of_contig(
    store: AttributionStore,
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    models: Sequence[str],
    done: Callable[[int], object] = lambda _: None,
) -> Iterator[Stretch]:
    waiting: _Sums | None = None
    step = max(1, _READ * WINDOW // max(WINDOW, store.window))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        positions = starts[part, None] + np.arange(store.window)
        # (windows, L, models) to (bases, models)
        scores = np.stack([store.scores(model, rows[part]) for model in models], axis=-1).astype(np.float64)
        found = _Sums(
            positions.ravel(), store.codes(rows[part]).ravel(), scores.reshape(-1, len(models)), np.ones(positions.size, int)
        )  # fmt: skip
        sums = _added([found] if waiting is None else [waiting, found])
        # No window to come reaches back before its start.
        ready = len(sums.positions)
        if first + step < len(rows):
            ready = int(np.searchsorted(sums.positions, starts[first + step]))
        yield sums.cut(slice(ready)).mean()
        done(len(positions))
        waiting = sums.cut(slice(ready, None))


def _added(parts: list[_Sums]) -> _Sums:
    """Add up what is of the same base."""
    whole = _Sums(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
    positions, first, inverse = np.unique(whole.positions, return_index=True, return_inverse=True)
    sums = np.stack([np.bincount(inverse, column) for column in whole.sums.T], axis=1).astype(np.float64)
    counts = np.bincount(inverse, whole.counts).astype(np.int64)
    return _Sums(positions, whole.codes[first], sums, counts)


def mean_over(
    store: AttributionStore, rows: NDArray[np.int64], model: str, start: int, end: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Codes and mean scores of ``[start, end)`` of the contig that all windows lie on; N and 0 where there is none."""
    codes = np.full(end - start, N_CODE, dtype=np.uint8)
    scores = np.zeros(end - start, dtype=np.float32)
    placed = store.placed(rows)["start"].to_numpy()
    order = np.argsort(placed, kind="stable")
    for part in _of_contig(store, rows[order], placed[order], [model]):
        inside = (part.positions >= start) & (part.positions < end)
        at = part.positions[inside] - start
        codes[at], scores[at] = part.codes[inside], part.scores[inside, 0]
    return codes, scores
