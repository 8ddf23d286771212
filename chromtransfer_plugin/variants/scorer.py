"""From placed variants to logits of both alleles: every different window runs once through every model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.predict import as_one_hot
from chromtransfer_plugin.prediction.engine import enough_memory
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.odds import log_odds
from chromtransfer_plugin.variants.windows import STRANDS, Strand, allele_windows

if TYPE_CHECKING:
    import torch

    from chromtransfer_plugin.models.together import Together

_DIGEST = 16  # bytes: two of a billion different windows have the same with a chance of 1e-21


class Settings(NamedTuple):
    """How variants are scored.

    Attributes
    ----------
    width : int
        Window in bp.
    strands : tuple of Strand
        ("+", "-") for the mean of the logits of both strands, or ("+",).
    shifts : tuple of int
        Windows are moved by each of these bp; for each output the one with the largest absolute difference of logits
        counts (the first of equal ones).
    batch_size : int
    device : str
    """

    width: int
    strands: tuple[Strand, ...] = STRANDS
    shifts: tuple[int, ...] = (0,)
    batch_size: int = 256
    device: str = "auto"


class Scores(NamedTuple):
    """Logits of both alleles, (n, columns) float32, and the shift in bp of the window they are of, int64."""

    ref: NDArray[np.float32]
    alt: NDArray[np.float32]
    shift: NDArray[np.int64]


class Scorer:
    """Score variants by several predictors in one pass.

    Use it within ``with scorer.ready():``, which moves the models to the device and gives them back.

    Parameters
    ----------
    predictors : sequence of Predictor
        The columns of all results are theirs, in order.
    genome : Genome
    settings : Settings
    cache : Path, optional
        File of scored windows that is read and added to; see :mod:`chromtransfer_plugin.variants.cache`.

    Attributes
    ----------
    n_windows, n_run, n_cached : int
        Windows asked for, run through the models, and found in the cache, so far.
    """

    n_windows: int
    n_run: int
    n_cached: int

    def __init__(
        self,
        predictors: Sequence[Predictor],
        genome: Genome,
        settings: Settings,
        cache: Path | None = None,
    ) -> None:
        self._predictors = list(predictors)
        self._members = [member for predictor in self._predictors for member in predictor.members]
        self._genome, self._settings, self._cache = genome, settings, cache
        self._together: Together | None = None
        self._device: torch.device | None = None
        self.n_windows = self.n_run = self.n_cached = 0

    @property
    def predictors(self) -> list[Predictor]:
        """Whose columns the results have."""
        return self._predictors

    @property
    def settings(self) -> Settings:
        """How it scores."""
        return self._settings

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the models on the device, in evaluation mode."""
        from chromtransfer_plugin.models.together import Together

        networks = [member.network for member in self._members]
        with ExitStack() as stack:
            devices = [
                stack.enter_context(evaluating(network, self._settings.device)) for network in networks
            ]
            stack.enter_context(enough_memory(self._settings.batch_size))
            self._device, self._together = devices[0], Together(networks)
            try:
                yield
            finally:
                self._device = self._together = None

    def score(self, table: pd.DataFrame) -> Scores:
        """Score rows of :attr:`Block.table <chromtransfer_plugin.variants.records.Block>` whose status is 0."""
        n, (width, strands, shifts, *_) = len(table), self._settings
        pairs = [
            allele_windows(self._genome, table, allele, width, strand, shift)
            for shift in shifts
            for strand in strands
            for allele in ("ref", "alt")
        ]
        logits = self.logits(np.concatenate(pairs))
        logits = logits.reshape(len(shifts), len(strands), 2, n, logits.shape[1])
        of_shifts = logits.mean(axis=1, dtype=np.float64).astype(np.float32)
        best = np.abs(self._log_odds(of_shifts[:, 1]) - self._log_odds(of_shifts[:, 0])).argmax(axis=0)
        ref, alt = np.take_along_axis(of_shifts, best[None, None], axis=0)[0]
        return Scores(ref, alt, np.asarray(shifts, dtype=np.int64)[best])

    def logits(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (n, columns) of windows (n, width) read as they stand, each different one scored once."""
        number: dict[bytes, int] = {}
        rows = np.fromiter(
            (number.setdefault(_digest(window), len(number)) for window in codes), np.int64, len(codes)
        )
        first = np.unique(rows, return_index=True)[1]
        self.n_windows += len(codes)
        return self._of_predictors(self._run(codes[first]))[rows]

    def _run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (n, columns of all members) of windows that all differ."""
        import torch

        if self._together is None:
            raise RuntimeError("use the scorer within `with scorer.ready():`")
        self.n_run += len(codes)
        parts = []
        for batch in torch.from_numpy(codes).split(self._settings.batch_size):
            logits = self._together(as_one_hot(batch.to(self._device)))
            parts.append(torch.cat([part.float() for part in logits], dim=1))
        out = torch.cat(parts).cpu().numpy() if parts else np.zeros((0, self._n_member_columns), np.float32)
        self._check_numbers(out)
        return out

    @property
    def _n_member_columns(self) -> int:
        return sum(len(member.columns) for member in self._members)

    def _check_numbers(self, logits: NDArray[np.float32]) -> None:
        wrong = np.flatnonzero(~np.isfinite(logits).all(axis=0))
        if wrong.size:
            names = [member.name for member in self._members for _ in member.columns]
            raise ChromTransferError(
                f"'{names[wrong[0]]}': the model gives no number for a window, as if its weights were not finite. "
                "Check or replace the model."
            )

    def _of_predictors(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, columns of all members) -> (n, columns): the mean of the members of each predictor."""
        parts, start = [], 0
        for predictor in self._predictors:
            n_members, n_columns = len(predictor.members), len(predictor.columns)
            end = start + n_members * n_columns
            own = logits[:, start:end].reshape(-1, n_members, n_columns)
            parts.append(own.mean(axis=1, dtype=np.float64).astype(np.float32))
            start = end
        return np.concatenate(parts, axis=1)

    def _log_odds(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-odds of logits (shifts, n, columns)."""
        shape, parts, start = logits.shape, [], 0
        rows = logits.reshape(-1, shape[-1])
        for predictor in self._predictors:
            end = start + len(predictor.columns)
            parts.append(log_odds(rows[:, start:end], predictor.activation))
            start = end
        return np.concatenate(parts, axis=1).reshape(shape)


def _digest(window: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(window.tobytes(), digest_size=_DIGEST).digest()
