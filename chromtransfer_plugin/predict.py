"""Predict logits and probabilities for windows of one-hot or coded sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chromtransfer_plugin.defaults import PREDICT_BATCH
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import torch
    from torch import nn


def predict_logits(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    *,
    batch_size: int = PREDICT_BATCH,
    device: str | None = None,
    progress: bool = False,
    both_strands: bool = False,
) -> np.ndarray:
    """Logits of many windows; the batch size changes speed only.

    Parameters
    ----------
    model : nn.Module
        Maps (B, 4, L) to (B, n_outputs) logits.
    sequences : array
        Base codes (N, L) uint8 (0-3 = A, C, G, T; 4 = unknown), or one-hot (N, 4, L) float.
    batch_size : int
    device : str or None
        None runs where the model is; ``auto`` uses CUDA if present.
    progress : bool
        Show a bar with rate and ETA.
    both_strands : bool
        Mean of the logits of each window and of its reverse complement, which take twice as long as one.

    Returns
    -------
    numpy.ndarray (N, n_outputs) float32
        A row is NaN where the window has no known base at all: there is no sequence to score.

    Raises
    ------
    ChromTransferError
        If the array is neither codes nor one-hot.
    """
    import torch

    data = torch.as_tensor(sequences)
    outputs = []
    with evaluating(model, device) as target:
        for batch in _batches(data, batch_size, progress):
            X = as_one_hot(batch.to(target))
            logits = batch_logits(model, X, both_strands)
            empty = X.sum(dim=(1, 2)) == 0
            outputs.append(logits.masked_fill(empty.unsqueeze(1), float("nan")).cpu())
    return torch.cat(outputs).numpy() if outputs else np.zeros((0, 1), np.float32)


def batch_logits(
    model: Callable[[torch.Tensor], torch.Tensor], X: torch.Tensor, both_strands: bool
) -> torch.Tensor:
    """Logits (B, n_outputs) float32 of a one-hot batch (B, 4, L), or their mean with those of its reverse complement."""
    logits = model(X).float()
    if both_strands:
        logits = (logits + model(X.flip(1, 2)).float()) / 2  # A, C, G, T reversed is T, G, C, A
    return logits


def _batches(data: torch.Tensor, batch_size: int, progress: bool) -> Iterator[torch.Tensor]:
    from tqdm import tqdm

    with tqdm(total=len(data), unit="seq", desc="predict", disable=not progress) as bar:
        for start in range(0, len(data), batch_size):
            batch = data[start : start + batch_size]
            yield batch
            bar.update(len(batch))


def as_one_hot(batch: torch.Tensor) -> torch.Tensor:
    """Turn codes (B, L) into one-hot (B, 4, L) float32 on the same device; pass one-hot through."""
    import torch

    from chromtransfer_plugin.onehot import one_hot_tensor

    if batch.dim() == 2 and not batch.is_floating_point():
        return one_hot_tensor(batch)
    if batch.dim() == 3 and batch.shape[1] == 4:
        return batch.to(torch.float32)
    raise ChromTransferError(
        f"sequences: expected base codes (N, L) as integers or one-hot (N, 4, L), got shape {tuple(batch.shape)} "
        f"of {batch.dtype}."
    )


def predict_checkpoint(checkpoint: str | Path, sequences: np.ndarray) -> np.ndarray:
    """Probabilities (N, n_outputs) of windows by a checkpoint (see ``load_model``), with its card's activation."""
    from chromtransfer_plugin.checkpoint import load_model

    model, card = load_model(checkpoint)
    return probabilities(predict_logits(model, sequences), card.activation)


def probabilities(logits: np.ndarray | torch.Tensor, activation: str = "sigmoid") -> Any:
    """Turn logits (N, n_outputs) into probabilities: ``sigmoid`` for each output, or ``softmax`` over them."""
    import torch

    z = torch.as_tensor(logits)
    p = torch.softmax(z, dim=1) if activation == "softmax" else torch.sigmoid(z)
    return p.numpy() if isinstance(logits, np.ndarray) else p
