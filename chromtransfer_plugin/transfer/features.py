"""A frozen trunk gives the same features in every epoch: compute them once and fit heads on them."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import torch
from tqdm import tqdm

from chromtransfer_plugin.defaults import PREDICT_BATCH
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot_tensor


class FeatureStore:
    """Features by window, for one trunk: those of the folds of an ensemble are the same, and computed once."""

    def __init__(self) -> None:
        self._forget("")

    def _forget(self, trunk: str) -> None:
        self._trunk = trunk
        self._row: dict[bytes, int] = {}
        self._features: torch.Tensor | None = None

    def features(
        self, model: ChromTransfer, codes: np.ndarray, device: torch.device, progress: bool = False
    ) -> torch.Tensor:
        """Return what :func:`cached_features` does; only windows that this trunk has not seen are computed."""
        if (trunk := _digest(model)) != self._trunk:
            self._forget(trunk)
        keys = [window.tobytes() for window in np.ascontiguousarray(codes)]
        new = {key: i for i, key in enumerate(keys) if key not in self._row}
        if new or self._features is None:
            fresh = cached_features(model, codes[list(new.values())], device, progress=progress)
            start = len(self._row)
            self._row |= {key: start + i for i, key in enumerate(new)}
            self._features = fresh if self._features is None else torch.cat([self._features, fresh])
        index = torch.tensor([self._row[key] for key in keys], dtype=torch.long)
        return self._features[index.to(self._features.device)].to(device)


def _digest(model: ChromTransfer) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.trunk.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def cached_features(
    model: ChromTransfer,
    codes: torch.Tensor | np.ndarray,
    device: torch.device | str | None = None,
    batch_size: int = PREDICT_BATCH,
    progress: bool = False,
) -> torch.Tensor:
    """Features of all windows from the trunk in evaluation mode, as a frozen trunk gives them while training.

    ``model.head(features)``, in training mode with its dropout, then equals the model whose trunk is frozen.
    This holds as long as the windows are not augmented.

    Parameters
    ----------
    model : ChromTransfer
        Its mode, device and gradients are restored afterwards.
    codes : torch.Tensor or numpy.ndarray (N, L) uint8
        Base codes, 0-3 = A, C, G, T, 4 = unknown.
    device : torch.device, str or None
        Where to compute and to leave the result; None: where the model is.
    batch_size : int
        Windows per forward pass; changes speed only.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    torch.Tensor (N, n_features) float32
        An ordinary tensor that a head can be trained on; 4 bytes each: 256 bytes per window
        for the residual trunk at width 1, 19 kB for the trunk of motifs.
    """
    windows = torch.as_tensor(codes)
    if windows.dim() != 2 or windows.dtype != torch.uint8:
        raise ChromTransferError(
            f"features: expected (N, L) uint8 base codes, got {tuple(windows.shape)} {windows.dtype}."
        )
    parts = []
    with evaluating(model, device) as used:
        batches = windows.split(batch_size) if len(windows) else ()
        for batch in tqdm(batches, desc="features", unit="batch", disable=not progress, file=sys.stderr):
            parts.append(model.features(one_hot_tensor(batch.to(used))).float())
        joined = torch.cat(parts) if parts else torch.zeros(0, model.trunk.n_features, device=used)
    return joined.clone()  # outside inference mode: autograd may keep this one
