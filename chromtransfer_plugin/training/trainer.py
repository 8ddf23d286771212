"""Train a network on windows: epochs, early stopping on the validation loss, best model, exact resume."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from chromtransfer_plugin.checkpoint import Card, load_model, save_model
from chromtransfer_plugin.dataset import Windows, batches, epoch_order
from chromtransfer_plugin.defaults import PREDICT_BATCH, Training
from chromtransfer_plugin.device import describe, evaluating, pick_device
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.training.resume import load_state_file, save_state_file
from chromtransfer_plugin.transfer import set_trainable, train_mode

HISTORY = "history.csv"
BEST = "best_model"
STATE = "resume.safetensors"


class Epoch(NamedTuple):
    """What one epoch did. Losses are mean cross-entropies; ``l2`` is the penalty on top of them."""

    epoch: int  # 1-based
    step: int  # optimiser steps so far
    train_loss: float
    validation_loss: float
    l2: float
    lr: float
    sequences_per_second: float
    best: bool

    @property
    def monitored(self) -> float:
        """Validation loss plus L2 penalty: the ``val_loss`` that Keras reports and stops on."""
        return self.validation_loss + self.l2


class FitResult(NamedTuple):
    """Outcome of a training run; the model holds the best epoch's weights."""

    best: Epoch
    history: list[Epoch]
    best_model: Path
    stopped_early: bool


class Evaluation(NamedTuple):
    """Mean loss on some windows and the logits (N, T) float32, in the windows' order."""

    loss: float
    logits: np.ndarray


def l2_groups(model: nn.Module, l2: float) -> list[dict]:
    """Parameter groups for a coupled optimiser: Keras' ``l2 * sum(w**2)`` is a weight decay of ``2 * l2``.

    Only the kernels named by the model's ``l2_kernels`` decay; frozen parameters are left out.
    """
    decayed = {id(p) for p in model.l2_kernels()} if isinstance(model, ChromTransfer) else set()
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) in decayed], "weight_decay": 2 * l2},
        {"params": [p for p in trainable if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def l2_penalty(model: nn.Module, l2: float) -> float:
    """Return ``l2 * sum(w**2)`` over the penalised kernels: the part of a Keras loss that is not data."""
    if not isinstance(model, ChromTransfer):
        return 0.0
    with torch.no_grad():
        return l2 * float(sum(kernel.double().pow(2).sum().item() for kernel in model.l2_kernels()))


def evaluate(
    model: nn.Module, windows: Windows, criterion: nn.Module, batch_size: int = PREDICT_BATCH
) -> Evaluation:
    """Loss and logits of windows, in evaluation mode, without changing the model."""
    outputs, total = [], 0.0
    with evaluating(model) as device:
        for X, y in batches(windows, batch_size, device):
            logits = model(X)
            total += criterion(logits, y).item() * len(X)
            outputs.append(logits.float().cpu())
    return Evaluation(total / max(1, windows.n), torch.cat(outputs).numpy())


class Trainer:
    """One training run in one folder.

    Parameters
    ----------
    model : ChromTransfer
        Changed in place; after :meth:`fit` it holds the best epoch's weights.
    train, validation : Windows
    settings : Training
        Hyper-parameters (see :mod:`~chromtransfer_plugin.defaults`).
    criterion : nn.Module
        ``criterion(logits, targets)`` -> mean loss that is minimised.
    validation_criterion : nn.Module or None
        Loss of the validation; default: the same. Class weights belong in ``criterion`` only, as in Keras.
    output_dir : path
        Receives ``history.csv``, ``best_model/`` and, while the run is unfinished, ``resume.safetensors``.
    card : Card
        Describes the model in its checkpoint.
    seed : int
        Orders the batches. Weights and dropout follow torch's global generator.
    device : str
    optimizer : callable or None
        Makes the optimiser from the parameter groups of :func:`l2_groups`; default: Adam as Keras' (epsilon 1e-7).
    max_steps : int or None
        Stop after this many optimiser steps, for a quick try.
    bf16 : bool
        Run the forward pass under bfloat16 autocast.
    """

    def __init__(
        self,
        model: ChromTransfer,
        train: Windows,
        validation: Windows,
        settings: Training,
        criterion: nn.Module,
        *,
        output_dir: str | Path,
        card: Card,
        seed: int,
        device: str = "auto",
        validation_criterion: nn.Module | None = None,
        optimizer: Callable[[list[dict]], torch.optim.Optimizer] | None = None,
        max_steps: int | None = None,
        bf16: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        make_folder(self.output_dir)
        self.device = pick_device(device)
        self.model, self.criterion = model.to(self.device), criterion.to(self.device)
        self.validation_criterion = validation_criterion or self.criterion
        self.train, self.validation, self.settings = train, validation, settings
        self.seed, self.max_steps, self.bf16 = seed, max_steps, bf16
        data = {
            "train_windows": train.n,
            "train_sha256": train.fingerprint(),
            "validation_windows": validation.n,
            "validation_sha256": validation.fingerprint(),
        }
        self.card = card.model_copy(update={"training": {**card.training, **data}})
        set_trainable(model, settings.trainable)
        make = optimizer or partial(torch.optim.Adam, lr=settings.lr, eps=settings.adam_eps)
        self.optimizer = make(l2_groups(model, settings.l2))
        self.history: list[Epoch] = []
        self.step = 0

    def fit(self, on_epoch: Callable[[Epoch, Evaluation], None] | None = None) -> FitResult:
        """Train until the patience or the epochs run out, then restore the best epoch.

        Parameters
        ----------
        on_epoch : callable
            Called after every validation, before the next epoch starts.
        """
        self._resume()
        self._log(
            f"training on {describe(self.device)}: {self.train.n} windows, {self.validation.n} for validation, "
            f"batch {self.settings.batch_size}, learning rate {self.settings.lr:g}, at most "
            f"{self.settings.max_epochs} epochs, patience {self.settings.patience}"
        )
        while not self._finished():
            epoch, evaluation = self._epoch(len(self.history))
            self.history.append(epoch)
            if epoch.best:
                self._save_best(epoch)
            self._write_history()
            if on_epoch is not None:
                on_epoch(epoch, evaluation)
            self._save_state()
        (self.output_dir / STATE).unlink(missing_ok=True)
        return self._restore_best()

    def _finished(self) -> bool:
        if not self.history:
            return False
        epochs = len(self.history)
        out_of_steps = self.max_steps is not None and self.step >= self.max_steps
        return epochs >= self.settings.max_epochs or out_of_steps or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        patience = self.settings.patience
        return patience is not None and len(self.history) - self._best().epoch >= patience

    def _best(self) -> Epoch:
        return [epoch for epoch in self.history if epoch.best][-1]

    def _epoch(self, index: int) -> tuple[Epoch, Evaluation]:
        order = epoch_order(self.train.n, self.seed, index)
        train_mode(self.model, self.settings.trainable, self.settings.trunk_bn)
        total, seen, started = 0.0, 0, time.perf_counter()
        title = f"epoch {index + 1}/{self.settings.max_epochs}"
        with tqdm(total=self.train.n, desc=title, unit="seq", **_bar_style()) as bar:
            for X, y in batches(self.train, self.settings.batch_size, self.device, order):
                loss = self._train_step(X, y)
                total, seen = total + loss * len(X), seen + len(X)
                bar.update(len(X))
                bar.set_postfix(step=self.step, loss=f"{total / seen:.4f}", refresh=False)
                if self.max_steps is not None and self.step >= self.max_steps:
                    break
        rate = seen / (time.perf_counter() - started)
        evaluation = evaluate(self.model, self.validation, self.validation_criterion)
        penalty = l2_penalty(self.model, self.settings.l2)
        lr = self.optimizer.param_groups[0]["lr"]
        epoch = Epoch(index + 1, self.step, total / seen, evaluation.loss, penalty, lr, rate, False)
        if not np.isfinite(epoch.monitored):
            raise ChromTransferError(
                f"training: the validation loss became {epoch.monitored} in epoch {epoch.epoch}. "
                "Lower the learning rate (lr)."
            )
        epoch = epoch._replace(best=not self.history or epoch.monitored < self._best().monitored)
        self._log(
            f"epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}, validation loss {epoch.validation_loss:.4f} "
            f"(+ L2 {epoch.l2:.4f}), {rate:.0f} sequences/s{', best so far' if epoch.best else ''}"
        )
        return epoch, evaluation

    def _train_step(self, X: torch.Tensor, y: torch.Tensor) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(X)
        loss = self.criterion(logits.float(), y)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def _save_best(self, epoch: Epoch) -> None:
        training = {**self.card.training, "settings": self.settings.model_dump(), "best": epoch._asdict()}
        save_model(self.model, self.output_dir / BEST, self.card.model_copy(update={"training": training}))

    def _restore_best(self) -> FitResult:
        best = self._best()
        self.model.load_state_dict(load_model(self.output_dir / BEST).model.state_dict())
        self.model.eval()
        early = self._out_of_patience() and len(self.history) < self.settings.max_epochs
        reason = "validation loss stopped improving" if early else "limit reached"
        self._log(f"done after {len(self.history)} epochs ({reason}); restored epoch {best.epoch}")
        return FitResult(best, self.history, self.output_dir / BEST, early)

    def _write_history(self) -> None:
        with atomic_path(self.output_dir / HISTORY) as temporary:
            pd.DataFrame(self.history).to_csv(temporary, index=False)

    def _identity(self) -> dict[str, str]:
        """Say which run a resume file belongs to: the same settings on the same data."""
        return {
            "settings": self.settings.model_dump_json(),
            "architecture": self.model.architecture.model_dump_json(),
            "train": self.card.training["train_sha256"],
            "validation": self.card.training["validation_sha256"],
            "seed": str(self.seed),
            "torch_seed": str(torch.initial_seed()),
            "pretrained": str(self.card.training.get("pretrained")),
            "bf16": str(self.bf16),
        }

    def _save_state(self) -> None:
        history = [epoch._asdict() for epoch in self.history]
        save_state_file(self.output_dir / STATE, self.model, self.optimizer, history, self._identity())

    def _resume(self) -> None:
        history = load_state_file(self.output_dir / STATE, self.model, self.optimizer, self._identity())
        if history:
            self.history = [Epoch(**epoch) for epoch in history]
            self.step = self.history[-1].step
            self._log(f"resuming after epoch {len(self.history)} from {self.output_dir / STATE}")

    def _log(self, message: str) -> None:
        tqdm.write(message, file=sys.stderr)


def _bar_style() -> dict:
    """Keep one live bar on a terminal; in a log file, a line now and then."""
    live = sys.stderr.isatty()
    return {"mininterval": 0.3 if live else 15.0, "dynamic_ncols": live, "leave": False, "smoothing": 0.05}
