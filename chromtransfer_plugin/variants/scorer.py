"""From placed variants to logits of both alleles: every different window runs once through every model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import chromtransfer_plugin
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.prediction.engine import enough_memory
from chromtransfer_plugin.variants.batches import batches
from chromtransfer_plugin.variants.cache import Digests, WindowCache
from chromtransfer_plugin.variants.effects import log_odds
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.windows import ALLELES, STRANDS, Strand, allele_windows

if TYPE_CHECKING:
    import torch

    from chromtransfer_plugin.models.substitutions import TogetherSubstituted

# Effects are equal that differ by less, times the log-odds they are differences of if these are larger than 1.
EQUAL = 1e-5


class Settings(NamedTuple):
    """How variants are scored.

    Attributes
    ----------
    width : int
        Window in bp.
    strands : tuple of Strand
        ("+", "-") for the mean of the logits of both strands, or ("+",).
    shifts : tuple of int
        Windows are moved by each of these bp; see :meth:`Scorer.score`.
    batch_size : int
    device : str
    """

    width: int
    strands: tuple[Strand, ...] = STRANDS
    shifts: tuple[int, ...] = (0,)
    batch_size: int = 256
    device: str = "auto"


class Scores(NamedTuple):
    """Logits of both alleles, (n, columns) float32, and the shift in bp of the window they are of, likewise int64."""

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
    predictors : list of Predictor
    settings : Settings
    n_windows, n_run, n_cached : int
        Windows asked for, run through the models, and found in the cache, so far. What is neither was the same as
        another one of its call.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        genome: Genome,
        settings: Settings,
        cache: Path | None = None,
    ) -> None:
        self.predictors, self.settings = list(predictors), settings
        self._genome, self._cache_path = genome, cache
        self._models = list({id(m.network): m for p in self.predictors for m in p.members}.values())
        self._ready: _Ready | None = None
        self.n_windows = self.n_run = self.n_cached = 0

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the models on the device, in evaluation mode, and the cache open."""
        from chromtransfer_plugin.models.substitutions import TogetherSubstituted

        networks = [model.network for model in self._models]
        with ExitStack() as stack:
            device, *_ = [stack.enter_context(evaluating(net, self.settings.device)) for net in networks]
            digests = Digests(self._identity(device))
            cache = None
            if self._cache_path is not None:
                columns = sum(len(model.columns) for model in self._models)
                cache = stack.enter_context(closing(WindowCache(self._cache_path, digests.identity, columns)))
            stack.enter_context(enough_memory(self.settings.batch_size))
            self._ready = _Ready(device, TogetherSubstituted(networks), digests, cache)
            try:
                yield
            finally:
                self._ready = None

    def _identity(self, device: torch.device) -> dict[str, Any]:
        import torch

        return {
            "models": [[model.sha256, model.card.architecture.model_dump()] for model in self._models],
            "device": device.type,
            "versions": [chromtransfer_plugin.__version__, torch.__version__],
        }

    def score(self, table: pd.DataFrame) -> Scores:
        """Score rows of :attr:`Block.table <chromtransfer_plugin.variants.records.Block>` whose status is 0.

        Of several shifts, the one with the largest absolute difference of log-odds counts, the first of those that are
        equal but for rounding: for each output its own, but for exclusive classes (softmax) one for all of them, because
        their logits mean something only together.
        """
        n, width = len(table), self.settings.width
        shifts, strands = self.settings.shifts, self.settings.strands
        codes = np.empty((len(shifts), len(strands), 2, n, width), dtype=np.uint8)
        for i, shift in enumerate(shifts):
            for j, strand in enumerate(strands):
                for k, allele in enumerate(ALLELES):
                    codes[i, j, k] = allele_windows(self._genome, table, allele, width, strand, shift)
        numbers = np.arange(codes[..., 0].size).reshape(codes.shape[:-1])
        ref_and_alt = np.moveaxis(numbers, 2, 0).reshape(2, numbers.size // 2)
        logits = self._logits(codes.reshape(numbers.size, width), ref_and_alt)
        logits = logits.reshape(*numbers.shape, logits.shape[1])
        return self._of_best_shift(logits.mean(axis=1, dtype=np.float64).astype(np.float32))

    def _logits(self, codes: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of windows, of which the pairs (2, m) of rows are likely to differ little."""
        if self._ready is None:
            raise RuntimeError("use the scorer within `with scorer.ready():`")
        digests = self._ready.digests.of(codes)
        number: dict[bytes, int] = {}
        rows = np.fromiter(
            (number.setdefault(digest, len(number)) for digest in digests), np.int64, len(digests)
        )
        first = np.unique(rows, return_index=True)[1]  # row of each different window
        different = list(number)
        known = self._ready.cache.find(different) if self._ready.cache else {}
        is_new = np.array([digest not in known for digest in different], dtype=bool)
        out = np.empty((len(different), sum(len(model.columns) for model in self._models)), dtype=np.float32)
        for row in np.flatnonzero(~is_new):
            out[row] = known[different[row]]
        if is_new.any():
            # Only windows that are run can be copies of each other.
            name = np.where(is_new, np.cumsum(is_new) - 1, -1)[rows]
            out[is_new] = self._run(codes, first[is_new], name[pairs])
            if self._ready.cache:
                self._ready.cache.add([d for d in different if d not in known], out[is_new])
        self.n_windows += len(codes)
        self.n_run += int(is_new.sum())
        self.n_cached += len(known)
        return self._of_predictors(out)[rows]

    def _run(
        self, codes: NDArray[np.uint8], rows: NDArray[np.int64], pairs: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits (n, columns of all models) of the rows, which are all different.

        ``pairs`` (2, m) are numbers of rows, -1 for none.
        """
        import torch

        assert self._ready is not None
        device, together, *_ = self._ready
        parts, order = [], []
        for batch in batches(codes, rows, pairs, self.settings.batch_size):
            sequences = torch.from_numpy(codes[rows[batch.sequences]]).to(device)
            copies = None
            if len(batch.copies):
                copies = batch.substitutions(codes[rows[batch.copies], batch.at], device)
            parts.append(torch.cat([part.float() for part in together(sequences, copies)], dim=1))
            order += [batch.sequences, batch.copies]
        found = torch.cat(parts).cpu().numpy()
        out = np.empty_like(found)
        out[np.concatenate(order)] = found
        self._check_numbers(out)
        return out

    def _check_numbers(self, logits: NDArray[np.float32]) -> None:
        wrong = np.flatnonzero(~np.isfinite(logits).all(axis=0))
        if wrong.size:
            model = [model for model in self._models for _ in model.columns][wrong[0]]
            raise ChromTransferError(
                f"'{model.name}' ({model.folder}): the model gives no number for a window, as if its weights were not "
                "finite. Check or replace the model."
            )

    def _of_predictors(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, columns of all models) -> (n, columns): the mean of the members of each predictor."""
        ends = np.cumsum([len(model.columns) for model in self._models])
        of_models = dict(
            zip(
                (id(model.network) for model in self._models),
                np.split(logits, ends[:-1], axis=1),
                strict=True,
            )
        )
        means = [
            np.mean([of_models[id(member.network)] for member in predictor.members], axis=0, dtype=np.float64)
            for predictor in self.predictors
        ]
        return np.concatenate(means, axis=1).astype(np.float32)

    def _of_best_shift(self, logits: NDArray[np.float32]) -> Scores:
        """From logits (shifts, 2, n, columns)."""
        best, start = [], 0
        for predictor in self.predictors:
            own = logits[..., start : start + len(predictor.columns)]
            start += len(predictor.columns)
            odds = log_odds(own.reshape(-1, own.shape[-1]), predictor.activation).reshape(own.shape)
            size, margin = (
                np.abs(odds[:, 1] - odds[:, 0]),
                EQUAL * np.maximum(1, np.abs(odds).max(axis=(0, 1))),
            )
            if predictor.activation == "softmax":
                size, margin = (
                    np.broadcast_to(values.max(axis=-1, keepdims=True), values.shape)
                    for values in (size, margin)
                )
            # A window that is moved a little often has the same effect; rounding must not choose between them.
            best.append((size >= size.max(axis=0) - margin).argmax(axis=0))
        number = np.concatenate(best, axis=1)
        ref, alt = np.take_along_axis(logits, number[None, None], axis=0)[0]
        return Scores(ref, alt, np.asarray(self.settings.shifts, dtype=np.int64)[number])


class _Ready(NamedTuple):
    """What a scorer has while it is in use."""

    device: torch.device
    together: TogetherSubstituted
    digests: Digests
    cache: WindowCache | None
