"""Whether scores add up to the change of the output that they explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.tensors import require_finite
from chromtransfer_plugin.onehot import ALPHABET, N_CODE, one_hot_tensor

if TYPE_CHECKING:
    import torch


class Completeness(NamedTuple):
    """How well the scores of each sequence add up to the difference of the output from its baselines.

    Attributes
    ----------
    total : ndarray, shape (N,), float64
        Sum of the scores.
    difference : ndarray, shape (N,), float64
        Output for the sequence minus the output for its baseline, or minus the mean of those for its baselines.
    size : ndarray, shape (N,), float64
        Mean of the absolute differences from the single baselines: at least the absolute ``difference``, and the larger
        the more the differences cancel.
    """

    total: NDArray[np.float64]
    difference: NDArray[np.float64]
    size: NDArray[np.float64]

    @property
    def delta(self) -> NDArray[np.float64]:
        """What is left over, ``total - difference``."""
        return self.total - self.difference

    @property
    def relative(self) -> NDArray[np.float64]:
        """Absolute ``delta`` as a share of ``size``; 0 where nothing is left over."""
        left = np.abs(self.delta)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left == 0, 0.0, left / self.size)


class Explanation(NamedTuple):
    """Scores that add up.

    Attributes
    ----------
    scores : ndarray, shape (N, L), float32
    hypothetical : ndarray, shape (N, 4, L), float32, or None
        What every base would score at every position, if asked for. At the observed base it is the score.
    completeness : Completeness
    """

    scores: NDArray[np.float32]
    hypothetical: NDArray[np.float32] | None
    completeness: Completeness


def observed(codes: torch.Tensor, every: torch.Tensor) -> NDArray[np.float32]:
    """Scores (n, L) at the bases that are there, of scores (n, 4, L) of all bases; 0 where the base is unknown."""
    return (every * one_hot_tensor(codes, every.dtype)).sum(dim=1).numpy().astype(np.float32)


def completeness_of(
    scores: NDArray[np.float32], value: torch.Tensor, baselines: torch.Tensor
) -> Completeness:
    """Compare scores (n, L) with the outputs for n sequences (n,) and for the baselines of each (n, R)."""
    differences = (value[:, None] - baselines).double().numpy()
    return Completeness(
        scores.sum(axis=1, dtype=np.float64), differences.mean(axis=1), np.abs(differences).mean(axis=1)
    )


def same_output(
    codes: torch.Tensor, others: torch.Tensor, value: torch.Tensor, baselines: torch.Tensor
) -> torch.Tensor:
    """Outputs for baselines (n, R), those of a baseline that is the sequence itself without differences by rounding."""
    return baselines.where((others != codes[:, None]).any(dim=2), value[:, None])


class Collector:
    """Gather the scores of some sequences after the other into one :class:`Explanation`.

    Parameters
    ----------
    what : str
        Begins the messages.
    codes : torch.Tensor, shape (N, L), uint8
    hypothetical : bool
        Whether to keep the scores of all bases.
    """

    def __init__(self, what: str, codes: torch.Tensor, hypothetical: bool) -> None:
        n, length = codes.shape
        self._what, self._codes = what, codes
        self._scores = np.zeros((n, length), dtype=np.float32)
        self._every = np.zeros((n, len(ALPHABET), length), dtype=np.float32) if hypothetical else None
        self._sums = np.zeros((len(Completeness._fields), n))
        self.n = 0

    def add(self, every: torch.Tensor, value: torch.Tensor, baselines: torch.Tensor) -> None:
        """Take the next sequences.

        Parameters
        ----------
        every : torch.Tensor, shape (n, 4, L)
            Scores of all bases.
        value : torch.Tensor, shape (n,)
            Output for the sequences.
        baselines : torch.Tensor, shape (n, R)
            Output for their baselines.

        Raises
        ------
        ChromTransferError
            If a score is not finite.
        """
        rows = slice(self.n, self.n + len(every))
        codes = self._codes[rows]
        self._scores[rows] = observed(codes, every)
        require_finite(self._what, self._scores[rows], self.n)
        self._sums[:, rows] = completeness_of(self._scores[rows], value, baselines)
        if self._every is not None:
            self._every[rows] = (every * (codes != N_CODE)[:, None]).numpy()
        self.n = rows.stop

    def explanation(self) -> Explanation:
        """Everything that was taken."""
        return Explanation(self._scores, self._every, Completeness(*self._sums))
