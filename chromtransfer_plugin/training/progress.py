"""What a training run prints and writes while it goes: bar, log lines, CSV, TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from tqdm import tqdm

from chromtransfer_plugin.device import peak_flops
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.flops import forward_flops, training_flops

HISTORY = "history.csv"


class Epoch(NamedTuple):
    """What one epoch did. Losses are mean cross-entropies; ``l2`` is the penalty on top of them."""

    epoch: int  # 1-based
    step: int  # optimiser steps so far
    train_loss: float
    validation_loss: float
    l2: float
    lr: float  # of the head, at the epoch's last step
    sequences_per_second: float
    best: bool
    phase: str

    @property
    def monitored(self) -> float:
        """Validation loss plus L2 penalty: the ``val_loss`` that Keras reports and stops on."""
        return self.validation_loss + self.l2


class Utilisation:
    """Arithmetic rate of training, as a share of what the device can do."""

    def __init__(self, model: ChromTransfer, length: int, device: torch.device, bf16: bool) -> None:
        self.peak, self.source = peak_flops(device, torch.bfloat16 if bf16 else torch.float32)
        self.full = training_flops(model, length, trunk_frozen=False)
        self.frozen = training_flops(model, length, trunk_frozen=True)
        # Trunk forward + 3 x head, minus trunk and head forward: what is left is twice the head.
        self.head = 3 * (self.frozen - forward_flops(model, length)) // 2

    def text(self, sequences_per_second: float, phase: str, cached: bool) -> str:
        """Describe a rate: ``92 sequences/s = 0.18 TFLOP/s, 61 % of the peak``."""
        work = self.head if cached else self.frozen if phase == "head" else self.full
        rate = sequences_per_second * work
        share = 100 * rate / self.peak
        return (
            f"{sequences_per_second:.0f} sequences/s = {rate / 1e12:.3g} TFLOP/s, {share:.2g} % of the peak"
        )


class Progress:
    """Writes for the main process; silent in the others.

    Parameters
    ----------
    output_dir : Path
    active : bool
        Whether this is the main process.
    tensorboard : bool
        Also write TensorBoard scalars to ``output_dir/tensorboard``.
    """

    def __init__(self, output_dir: Path, active: bool, tensorboard: bool) -> None:
        self.output_dir, self.active = output_dir, active
        self._board = _board(output_dir) if tensorboard and active else None

    def log(self, message: str) -> None:
        """Print a line above the bar."""
        if self.active:
            tqdm.write(message, file=sys.stderr)

    def bar(self, title: str, total: int, done: int) -> tqdm:
        """Return a bar that counts sequences: one live line on a terminal, now and then a line in a log file."""
        live = sys.stderr.isatty()
        return tqdm(
            total=total, initial=done, desc=title, unit="seq", disable=not self.active, leave=False,
            smoothing=0.05, dynamic_ncols=live, mininterval=0.3 if live else 15.0, delay=0 if live else 15,
        )  # fmt: skip

    def write_history(self, history: Sequence[Epoch]) -> None:
        """Write ``history.csv`` anew, and the last epoch to TensorBoard."""
        if not self.active:
            return
        with atomic_path(self.output_dir / HISTORY) as temporary:
            pd.DataFrame(history).to_csv(temporary, index=False)
        if self._board is not None:
            last = history[-1]
            for name in ("train_loss", "validation_loss", "l2", "lr", "sequences_per_second"):
                self._board.add_scalar(name, getattr(last, name), last.epoch)
            self._board.flush()


def _board(output_dir: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ChromTransferError(
            "tensorboard: the package is missing. Install it with: pip install 'chromtransfer-plugin[tensorboard]'"
        ) from error
    return SummaryWriter(str(output_dir / "tensorboard"))
