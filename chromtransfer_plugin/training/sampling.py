"""Which windows an epoch visits, in which order, and how batches are shared among processes.

Everything here is a pure function of its arguments: any number of workers or devices sees the same batches,
and an epoch can be resumed at any step.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from chromtransfer_plugin.dataset import epoch_order
from chromtransfer_plugin.errors import ChromTransferError

__all__ = ["BatchSlices", "batch_slices", "epoch_indices", "epoch_order", "expected_draws", "strata"]

Sampling = Literal["natural", "balanced"]

# Last word of the seeds used here. It is not 0: numpy pads seeds with zeros, and [seed, epoch, 0, 0] would be
# the generator of `epoch_order`.
_WALK, _SHUFFLE = 1, 2


class BatchSlices(NamedTuple):
    """One optimiser step: this process's rows of the epoch's order, and all rows of the global batch."""

    share: slice
    whole: slice


def strata(targets: np.ndarray) -> np.ndarray:
    """Group of each window for balanced sampling; (N,) int64, 0 .. K-1.

    One output: 0 negative, 1 positive. Exclusive classes (every row is one-hot): the class. Several tasks: 1 if any
    output is known to be positive, else 0; single outputs cannot all be balanced at once.

    Raises
    ------
    ChromTransferError
        If there are not at least two groups.
    """
    positive = targets > 0.5
    if targets.shape[1] > 1 and (positive.sum(axis=1) == 1).all() and not np.isnan(targets).any():
        label = positive.argmax(axis=1)
        groups = np.searchsorted(np.unique(label), label).astype(np.int64)
    else:
        groups = positive.any(axis=1).astype(np.int64)
    if len(groups) and groups.min() == groups.max():
        kind = "positive" if positive.any() else "negative"
        raise ChromTransferError(
            f"training: sampling: balanced needs windows of two classes; all {len(groups)} training windows are "
            f"{kind}. Use sampling: natural."
        )
    return groups


def expected_draws(targets: np.ndarray, sampling: Sampling) -> np.ndarray:
    """How often each window is drawn in an epoch, on average over epochs; (N,) float64 with sum N."""
    if sampling == "natural":
        return np.ones(len(targets))
    groups = strata(targets)
    sizes = np.bincount(groups)
    return len(targets) / (len(sizes) * sizes[groups])


def epoch_indices(targets: np.ndarray, seed: int, epoch: int, sampling: Sampling) -> np.ndarray:
    """Windows that an epoch visits, in order.

    Parameters
    ----------
    targets : numpy.ndarray (N, T)
        Of the training set.
    seed, epoch : int
        At least 0.
    sampling : {"natural", "balanced"}
        Every window once; or as many windows of each group of :func:`strata`, in total N. A group is walked through in
        random order before any of its windows comes again, and the next epoch goes on where this one stopped:
        a large group is seen completely over the epochs.

    Returns
    -------
    numpy.ndarray (N,) int64
    """
    n = len(targets)
    if sampling == "natural":
        return epoch_order(n, seed, epoch)
    groups = strata(targets)
    n_groups = int(groups.max()) + 1
    drawn = [
        _walk(np.flatnonzero(groups == group), *_span(n, n_groups, group, epoch), seed, group)
        for group in range(n_groups)
    ]
    return np.random.default_rng([seed, epoch, 0, _SHUFFLE]).permutation(np.concatenate(drawn))


def _span(n: int, n_groups: int, group: int, epoch: int) -> tuple[int, int]:
    """How many windows a group has given before an epoch, and after it.

    A remainder of n / n_groups goes to other groups in each epoch; after n_groups epochs each has given n.
    """
    sizes = [(n + (group + turn) % n_groups) // n_groups for turn in range(n_groups)]
    cycles, turn = divmod(epoch, n_groups)
    start = cycles * n + sum(sizes[:turn])
    return start, start + sizes[turn]


def _walk(members: np.ndarray, start: int, stop: int, seed: int, group: int) -> np.ndarray:
    """Positions start .. stop of the endless sequence of permutations of ``members``."""
    positions = np.arange(start, stop)
    rounds = positions // len(members)
    return np.concatenate(
        [
            np.random.default_rng([seed, int(turn), group, _WALK]).permutation(members)[
                positions[rounds == turn] % len(members)
            ]
            for turn in np.unique(rounds)
        ]
    )


def batch_slices(n: int, batch_size: int, rank: int = 0, world: int = 1) -> list[BatchSlices]:
    """Cut the ``n`` rows of an epoch into global batches, and each into one contiguous share per process.

    Parameters
    ----------
    n : int
        Rows of the epoch's order.
    batch_size : int
        Of the global batch, whatever the number of processes.
    rank, world : int
        This process, and how many there are.

    Returns
    -------
    list of BatchSlices
        In order; shares of a batch differ by one row at most, and those of ranks 0, 1, ... follow each other.
        A lone last row joins the batch before it: batch norm cannot train on one example. So does a last batch
        of fewer rows than processes. Otherwise the batches are the same for every ``world``; a share may be a single
        row, which is enough for batch norm over all processes.

    Raises
    ------
    ChromTransferError
        If some process would have no row.
    """
    smallest = min(batch_size, n)
    if 0 < smallest < world:
        raise ChromTransferError(
            f"training: a batch of {smallest} windows (batch_size {batch_size}, {n} training windows) cannot be shared "
            f"by {world} processes. Use fewer processes or a larger batch."
        )
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] < max(2, world):
        starts.pop()
    batches = []
    for start, stop in pairwise([*starts, n]):
        first, last = (start + (stop - start) * r // world for r in (rank, rank + 1))
        batches.append(BatchSlices(slice(first, last), slice(start, stop)))
    return batches
