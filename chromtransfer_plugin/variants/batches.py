"""Windows in batches, with those together that differ from another one of the batch in one base."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from chromtransfer_plugin.models.substitutions import Substitutions

_ROWS = 4096  # pairs compared at a time


class Batch(NamedTuple):
    """Numbers of windows to run: sequences, and copies of them with another base at index ``at``.

    Attributes
    ----------
    sequences, copies : ndarray of int64
    parents : ndarray of int64
        For each copy, where the one it is a copy of is in ``sequences``.
    at : int
    """

    sequences: NDArray[np.int64]
    copies: NDArray[np.int64]
    parents: NDArray[np.int64]
    at: int

    def substitutions(self, bases: NDArray[np.uint8], device: torch.device) -> Substitutions:
        """Give the copies as models take them; ``bases`` (n,) are those of the copies."""
        import torch

        from chromtransfer_plugin.models.substitutions import Substitutions

        return Substitutions(
            self.at, torch.from_numpy(self.parents).to(device), torch.from_numpy(bases).to(device)
        )


def batches(
    codes: NDArray[np.uint8], rows: NDArray[np.int64], pairs: NDArray[np.int64], size: int
) -> Iterator[Batch]:
    """Divide windows up so that each is in one batch.

    Parameters
    ----------
    codes : ndarray of uint8, shape (N, width)
    rows : ndarray of int64, shape (n,)
        The windows: rows of ``codes`` that all differ. They go by their number here, 0 to n - 1.
    pairs : ndarray of int64, shape (2, m)
        Numbers of windows that may differ in one base only, -1 for none.
    size : int
        Windows of a batch; it may have more by the copies of its last sequence.
    """
    parent, at = _copies(len(rows), *_close_pairs(codes, rows, pairs))
    is_parent = np.zeros(len(rows), dtype=bool)
    is_parent[parent[parent >= 0]] = True
    none = np.zeros(0, dtype=np.int64)
    alone = np.flatnonzero((parent < 0) & ~is_parent)
    for first in range(0, len(alone), size):
        yield Batch(alone[first : first + size], none, none, 0)
    for index in np.unique(at[parent >= 0]):
        copies = np.flatnonzero((parent >= 0) & (at == index))
        copies = copies[np.argsort(parent[copies], kind="stable")]
        sequences, family = np.unique(parent[copies], return_inverse=True)
        # A family is a sequence and its copies; number the windows of all families one after the other.
        begins = np.flatnonzero(np.diff(family, prepend=-1))
        batch_of_family = (begins + np.arange(len(sequences))) // size
        for number in np.unique(batch_of_family):
            families = np.flatnonzero(batch_of_family == number)
            members = (family >= families[0]) & (family <= families[-1])
            yield Batch(sequences[families], copies[members], family[members] - families[0], int(index))


def _close_pairs(
    codes: NDArray[np.uint8], rows: NDArray[np.int64], pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the pairs that differ in exactly one base, and give its index."""
    pairs = np.unique(pairs[:, (pairs >= 0).all(axis=0)], axis=1)
    index = np.full(pairs.shape[1], -1, dtype=np.int64)
    for first in range(0, pairs.shape[1], _ROWS):
        one, other = rows[pairs[:, first : first + _ROWS]]
        differs = codes[one] != codes[other]
        index[first : first + _ROWS] = np.where(differs.sum(axis=1) == 1, differs.argmax(axis=1), -1)
    return pairs[:, index >= 0], index[index >= 0]


def _copies(
    n: int, pairs: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose for each window which one it is a copy of, -1 for none, and of each such pair the index.

    What has copies is none itself, and all its copies differ from it at the same index.
    """
    parent, at = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    for one, other, where in zip(*pairs.tolist(), index.tolist(), strict=True):
        if parent[one] < 0 and parent[other] < 0 and at[one] in (-1, where) and at[other] == -1:
            parent[other] = one
            at[one] = at[other] = where
    return parent, at
