"""From blocks of rows to probabilities: the next sequences are prepared while the models run."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.predict import as_one_hot, batch_logits, probabilities
from chromtransfer_plugin.prediction.inputs import Block, Piece
from chromtransfer_plugin.prediction.names import NamedModel

if TYPE_CHECKING:
    import torch

    from chromtransfer_plugin.models.together import Together

PIECE_BASES = 1 << 22  # codes prepared at a time; a few of them wait in memory
_WAITING = 4
_POLL = 0.2  # seconds

T = TypeVar("T")


class Settings(NamedTuple):
    """How sequences are scored."""

    batch_size: int
    both_strands: bool
    pad_to: int  # 0: every sequence at its own length
    device: str


def score_blocks(
    models: Sequence[NamedModel],
    blocks: Iterator[Block],
    settings: Settings,
    progress: Callable[[int], object],
) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Yield each block with its probabilities.

    All models see each batch before the next one is made, and a trunk that several have in common runs once. A background
    thread reads and encodes ahead; on CUDA the codes (one byte per base) are what is sent and the results of a block are
    fetched once, so the card does not wait.

    Parameters
    ----------
    models : sequence of NamedModel
    blocks : iterator of Block
    settings : Settings
    progress : callable
        Called with a number of rows when they are done or passed over.

    Yields
    ------
    tuple of Block and ndarray of float32, shape (n, columns of all models)
        NaN in the rows that cannot be scored.
    """
    from chromtransfer_plugin.models.together import Together

    columns = sum(len(model.columns) for model in models)
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(evaluating(model.network, settings.device)) for model in models]
        stack.enter_context(enough_memory(settings.batch_size))
        together = Together([model.network for model in models])
        pieces = stack.enter_context(ahead(_pieces(blocks, settings.pad_to, devices[0].type == "cuda")))
        scored: list[tuple[NDArray[np.int64], torch.Tensor]] = []
        for block, piece in pieces:
            if piece is not None:
                rows, codes = piece
                there = codes.to(devices[0], non_blocking=True)
                scored.append((rows, _score(models, there, together, settings, progress)))
                continue
            out = np.full((len(block), columns), np.nan, dtype=np.float32)
            for rows, result in scored:
                out[rows] = result.cpu().numpy()
            progress(len(block) - sum(len(rows) for rows, _ in scored))
            scored = []
            yield block, out


@contextlib.contextmanager
def enough_memory(batch_size: int) -> Iterator[None]:
    """Say plainly that the GPU has no room for a batch."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ChromTransferError(
            f"the GPU has no room for batches of {batch_size}: take a smaller --batch-size, or --device cpu."
        ) from error


def _pieces(
    blocks: Iterator[Block], pad_to: int, pin: bool
) -> Iterator[tuple[Block, tuple[NDArray[np.int64], torch.Tensor] | None]]:
    """Yield the pieces of each block, then the block alone."""
    import torch

    for block in blocks:
        piece: Piece
        for piece in block.pieces(PIECE_BASES, pad_to):
            codes = torch.from_numpy(piece.codes)
            yield block, (piece.rows, codes.pin_memory() if pin else codes)
        yield block, None


def _score(
    models: Sequence[NamedModel],
    codes: torch.Tensor,
    together: Together,
    settings: Settings,
    progress: Callable[[int], object],
) -> torch.Tensor:
    """Probabilities (n, columns) of codes (n, L), on their device."""
    import torch

    # Long sequences come in smaller batches, so that the memory of one stays the same.
    size = max(1, settings.batch_size * WINDOW // max(WINDOW, codes.shape[1]))
    results = []
    for batch in codes.split(size):
        X = as_one_hot(batch)
        logits = batch_logits(lambda X: torch.cat(together(X), dim=1), X, settings.both_strands)
        parts = logits.split([len(model.columns) for model in models], dim=1)
        of_models = [
            probabilities(part, model.card.activation) for part, model in zip(parts, models, strict=True)
        ]
        results.append(torch.cat(of_models, dim=1))
        progress(len(batch))
    return torch.cat(results)


@contextlib.contextmanager
def ahead(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Run an iterator in a thread, a few items ahead of whoever takes them; end the thread on the way out."""
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(_WAITING)
    stopped = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((kind, value), timeout=_POLL)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # handed to the taker, who raises it
            put("error", error)

    def take() -> Iterator[T]:
        while True:
            kind, value = ready.get()
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            if kind == "end":
                return
            yield value  # type: ignore[misc]

    thread = threading.Thread(target=work, name="prepare sequences", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()
