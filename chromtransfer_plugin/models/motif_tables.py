"""Match scores looked up in tables, and summarised while they are in the processor's first cache.

Written out, the scores of one sequence are two megabytes, which takes longer than adding them up. Compiled by numba.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float32]


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile, without Python's lock; keep the machine code on the disk where there is a place for it."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"nnan", "nsz", "reassoc", "contract"}}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder can be written to
        return numba.njit(**options)(function)  # type: ignore[no-any-return]


@_compiled
def _summarise(
    rows: NDArray[np.int32],
    tables: Array,
    start: int,
    low: int,
    best: Array,
    centre: Array,
    total: Array,
    kept: Array,
) -> None:
    n_sequences, length, n_tables = rows.shape
    columns, high = tables.shape[1], low + kept.shape[1]
    scores = np.empty(columns, np.float32)
    for sequence in range(n_sequences):
        strongest, central, summed = best[sequence], centre[sequence], total[sequence]
        for position in range(length):
            row = rows[sequence, position]
            first = tables[row[0]]
            for i in range(columns):
                scores[i] = first[i]
            for j in range(1, n_tables):
                other = tables[row[j]]
                for i in range(columns):
                    scores[i] += other[i]
            if low <= position < high:
                kept[sequence, position - low] = scores
                continue
            for i in range(columns):
                score = max(scores[i], np.float32(0))
                summed[i] += score
                strongest[i] = max(strongest[i], score)
            if start <= position < length - start:
                for i in range(columns):
                    central[i] = max(central[i], scores[i])


def summarise(
    rows: torch.Tensor, tables: torch.Tensor, start: int, low: int, high: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum rows of tables at each position, and summarise the sums that are above 0.

    Parameters
    ----------
    rows : torch.Tensor
        (B, length, k) int32: rows of ``tables`` whose sum is the score of a position.
    tables : torch.Tensor
        (rows, n) float32, finite.
    start : int
        The centre is the positions from here to as many before the end.
    low, high : int
        Positions that are left out of the summaries.

    Returns
    -------
    best, centre, total : torch.Tensor
        (B, n): maximum of 0 and the scores, that in the centre, and the sum of the scores above 0.
    kept : torch.Tensor
        (B, high - low, n): the scores of the positions that were left out.
    """
    n_sequences, columns = len(rows), tables.shape[1]
    best, centre, total = (np.zeros((n_sequences, columns), np.float32) for _ in range(3))
    kept = np.empty((n_sequences, high - low, columns), np.float32)
    places, table = rows.contiguous().numpy(), tables.contiguous().numpy()

    def run(part: slice) -> None:
        _summarise(places[part], table, start, low, best[part], centre[part], total[part], kept[part])

    n_threads = min(torch.get_num_threads(), n_sequences)
    ends = [n_sequences * i // n_threads for i in range(n_threads + 1)] if n_threads else [0]
    parts = [slice(*pair) for pair in pairwise(ends)]
    if len(parts) == 1:
        run(parts[0])
    else:
        with ThreadPoolExecutor(len(parts) or 1) as pool:
            list(pool.map(run, parts))
    return (
        torch.from_numpy(best),
        torch.from_numpy(centre),
        torch.from_numpy(total),
        torch.from_numpy(kept),
    )
