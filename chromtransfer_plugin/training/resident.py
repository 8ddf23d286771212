"""Training windows that live on the device as base codes; one-hot encoding and augmentation happen there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from chromtransfer_plugin.dataset import Windows
from chromtransfer_plugin.onehot import one_hot_tensor
from chromtransfer_plugin.training.augment import augment_codes

_SHARE_OF_FREE_MEMORY = 0.5  # data that would take more of a card stay in host memory


class Batch(NamedTuple):
    """What one training step sees: network inputs (B, ...) and targets (B, T) on the device."""

    inputs: torch.Tensor
    targets: torch.Tensor


class ResidentWindows:
    """Windows on a device: one byte per base, so that the 2.2 million of the paper take 1.3 GB.

    Parameters
    ----------
    windows : Windows
        ``codes`` (N, L + 2 * flank) uint8.
    device : torch.device
        If the codes would take more than half of a card's free memory, they stay on the host, and batches of
        codes travel.
    """

    def __init__(self, windows: Windows, device: torch.device) -> None:
        self.device, self.flank, self.n = device, windows.flank, windows.n
        home = device if _fits(windows.codes.nbytes, device) else torch.device("cpu")
        self.codes = torch.from_numpy(np.ascontiguousarray(windows.codes)).to(home)
        self.targets = torch.from_numpy(np.ascontiguousarray(windows.targets)).to(home)

    def batch(self, rows: np.ndarray, flip: np.ndarray, offset: np.ndarray) -> Batch:
        """Return windows as one-hot (B, 4, L) float32 and targets.

        Parameters
        ----------
        rows : numpy.ndarray (B,) int64
            Which windows.
        flip : numpy.ndarray (B,) bool
        offset : numpy.ndarray (B,) int
            How to change each (see :mod:`~chromtransfer_plugin.training.augment`).
        """
        index = torch.from_numpy(rows).to(self.codes.device)
        codes = self.codes[index].to(self.device)
        flips, offsets = (
            torch.from_numpy(draw).to(self.device) if draw.any() else None for draw in (flip, offset)
        )
        codes = augment_codes(codes, flips, offsets, self.flank)
        return Batch(one_hot_tensor(codes), self.targets[index].to(self.device))


class ResidentFeatures:
    """Features of a frozen trunk in place of sequences: the head alone is trained on them."""

    def __init__(self, features: torch.Tensor, windows: Windows) -> None:
        self.features, self.n = features, windows.n
        self.targets = torch.from_numpy(np.ascontiguousarray(windows.targets)).to(features.device)

    def batch(self, rows: np.ndarray, flip: np.ndarray, offset: np.ndarray) -> Batch:
        """Return features (B, n_features) and targets; features exist for unchanged windows only."""
        del flip, offset
        index = torch.from_numpy(rows).to(self.features.device)
        return Batch(self.features[index], self.targets[index])


def _fits(n_bytes: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes < _SHARE_OF_FREE_MEMORY * free
