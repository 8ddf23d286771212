"""Train a network on windows: phases, early stopping on the validation loss, best model, exact resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.checkpoint import Card, load_network, save_model
from chromtransfer_plugin.dataset import Windows
from chromtransfer_plugin.defaults import Engine, Training
from chromtransfer_plugin.device import describe, device_of, pick_device
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.run_record import write_run_record
from chromtransfer_plugin.training.augment import draws
from chromtransfer_plugin.training.delivery import deliverable
from chromtransfer_plugin.training.distributed import (
    from_main,
    gather_bytes,
    join_processes,
    local_device,
    share_weights,
    sum_over,
)
from chromtransfer_plugin.training.ema import AveragedWeights
from chromtransfer_plugin.training.evaluation import Evaluation, l2_penalty
from chromtransfer_plugin.training.phase_run import MakeOptimizer, Objective, PhaseRun
from chromtransfer_plugin.training.progress import Epoch, Progress, Utilisation
from chromtransfer_plugin.training.resident import Batch, ResidentWindows
from chromtransfer_plugin.training.resume import (
    RunState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from chromtransfer_plugin.training.sampling import BatchSlices, batch_slices, epoch_indices
from chromtransfer_plugin.training.schedule import LearningRate
from chromtransfer_plugin.training.synced_batch_norm import restore_batch_norm, synchronise_batch_norm
from chromtransfer_plugin.transfer import (
    L2SP,
    FeatureStore,
    Phase,
    attach_adapters,
    merge_adapters,
    phase_at,
    phases,
    save_adapters,
    train_mode,
    what_moved,
)

BEST = "best_model"
ADAPTERS = "adapters.safetensors"
STATE = "resume.safetensors"
RECORD = "run.json"
_AGREEMENT = 10  # steps between rank 0's decisions whether to save
_LOSS_CHECK = 50  # steps between looks at the loss on a GPU, where a look costs a wait


class FitResult(NamedTuple):
    """Outcome of a training run; the model holds the best epoch's weights."""

    best: Epoch
    history: list[Epoch]
    best_model: Path
    stopped_early: bool


class Trainer:
    """One training run in one folder.

    Parameters
    ----------
    model : ChromTransfer
        Changed in place; after :meth:`fit` it holds the best epoch's weights.
    train : Windows
        With flanks of at least ``settings.shift`` bp.
    validation : Windows
        Without flanks.
    settings : Training
        Hyper-parameters (see :mod:`~chromtransfer_plugin.defaults`).
    criterion : nn.Module
        ``criterion(logits, targets)`` -> loss to minimise, a plain mean over windows.
    validation_criterion : nn.Module or None
        Loss of the validation; default: the same. Class weights belong in ``criterion`` only, as in Keras.
    output_dir : path
        Receives ``history.csv``, ``run.json``, ``best_model/`` and, while the run is unfinished,
        ``resume.safetensors``.
    card : Card
        Describes the model in its checkpoint.
    seed : int
        Orders and augments the windows: a pure function of (seed, epoch, index). Weights and dropout follow
        torch's global generator.
    device : str
    engine : Engine
        How it runs: changes speed, not (beyond rounding) results.
    transferred : sequence of str
        Names of the tensors that came from a pre-trained model: L2-SP pulls towards these.
    prior_shift : numpy.ndarray (T,) or None
        Added to the logits of the model that is kept (see :func:`~chromtransfer_plugin.losses.prior_shift`).
    optimizer : callable or None
        Makes the optimiser from parameter groups; default: Adam as Keras' (epsilon 1e-7).
    store : FeatureStore or None
        Features of a frozen trunk that other runs computed already.
    facts : dict
        More to write into ``run.json``.
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
        engine: Engine | None = None,
        validation_criterion: nn.Module | None = None,
        transferred: list[str] | None = None,
        prior_shift: np.ndarray | None = None,
        optimizer: MakeOptimizer | None = None,
        store: FeatureStore | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.processes = join_processes(device)
        self.device = pick_device(local_device(device, self.processes))
        self.settings, self.engine, self.seed = settings, engine or Engine(), seed
        _check(train, validation, settings)
        self.output_dir = Path(output_dir)
        make_folder(self.output_dir)
        self.model, self.criterion = model.to(self.device), criterion.to(self.device)
        self.validation_criterion = (validation_criterion or criterion).to(self.device)
        self.train, self.validation = train, validation
        data = {
            "train_windows": train.n,
            "train_sha256": train.fingerprint(),
            "validation_windows": validation.n,
            "validation_sha256": validation.fingerprint(),
        }
        self.card = card.model_copy(update={"training": {**card.training, **data}})
        self.facts, self.prior_shift = facts or {}, prior_shift
        self.store = store or FeatureStore()
        self.make_optimizer = optimizer or partial(
            torch.optim.Adam, lr=settings.lr, eps=settings.adam_eps, fused=True
        )
        self._prepare_model(transferred or [])
        self.progress = Progress(self.output_dir, self.processes.main, self.engine.tensorboard)
        self.windows = ResidentWindows(train, self.device)
        self.history: list[Epoch] = []
        self.step = self.position = 0  # optimiser steps of the run; batches done of the current epoch
        self.total = torch.zeros(
            (), dtype=torch.float64, device=self.device
        )  # summed loss of the epoch so far
        self.run: PhaseRun | None = None

    def _prepare_model(self, transferred: list[str]) -> None:
        share_weights(self.model, self.processes)
        if self.processes.world > 1:
            torch.manual_seed(torch.initial_seed() + self.processes.rank)  # every process its own dropout
        self.start = {name: tensor.cpu().clone() for name, tensor in self.model.state_dict().items()}
        anchor = L2SP(self.model, transferred, self.settings.l2_sp) if self.settings.l2_sp else None
        self.objective = Objective(self.criterion, anchor)
        if self.settings.trainable in ("lora", "ia3"):
            kind, rank, alpha = (
                self.settings.trainable,
                self.settings.adapter_rank,
                self.settings.adapter_alpha,
            )
            attach_adapters(self.model.trunk, kind, rank, alpha)
        self.phases = phases(self.model, self.settings)
        self.average = AveragedWeights(self.model, self.settings.ema) if self.settings.ema else None
        if device_of(self.model) != self.device:
            raise ChromTransferError(
                f"training: the model is on {device_of(self.model)}, not on {self.device}."
            )

    def fit(self, on_epoch: Callable[[Epoch, Evaluation], None] | None = None) -> FitResult:
        """Train until the patience or the epochs run out, then restore the best epoch.

        Parameters
        ----------
        on_epoch : callable
            Called after every validation, before the next epoch starts, in the main process only.
        """
        per_epoch = len(batch_slices(self.train.n, self.settings.batch_size, 0, 1))
        self.rate = LearningRate(self.settings, per_epoch, self.settings.max_epochs)
        self.utilisation = Utilisation(
            self.model, self.validation.codes.shape[1], self.device, self.engine.bf16
        )
        if self.processes.world > 1:
            synchronise_batch_norm(self.model)
        self._resume()
        self._announce()
        while not self._finished():
            self._enter(phase_at(self.phases, len(self.history)))
            epoch, evaluation = self._epoch(len(self.history))
            self.history.append(epoch)
            if epoch.best and self.processes.main:
                self._save_best(epoch)
            self.progress.write_history(self.history)
            if on_epoch is not None and self.processes.main:
                on_epoch(epoch, evaluation)
            self.rate.after_epoch(epoch.monitored)
            self.position = 0
            self._save_state()
        return self._finish()

    def _announce(self) -> None:
        s = self.settings
        self._record()
        self.progress.log(
            f"training on {describe(self.device)}"
            + (f", {self.processes.world} processes" if self.processes.world > 1 else "")
            + f": {self.train.n} windows, {self.validation.n} for validation, batch {s.batch_size}, at most "
            f"{s.max_epochs} epochs, patience {s.patience}; peak {self.utilisation.peak / 1e12:.3g} TFLOP/s "
            f"({self.utilisation.source})"
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the phase that runs."""
        return cast(PhaseRun, self.run).optimizer

    def _enter(self, phase: Phase) -> None:
        """Start a phase unless it is the one that runs already."""
        if self.run is not None:
            if phase == self.run.phase:
                return
            self.rate.new_phase()
        self.run = PhaseRun(
            self.model, phase, self.settings, self.engine, self.make_optimizer, self.processes
        )
        self.run.load(self.windows, self.train, self.validation, self.store)
        self.progress.log(f"from epoch {len(self.history) + 1}, {self.run.describe()}")

    # --- one epoch -----------------------------------------------------------------------------------

    def _epoch(self, index: int) -> tuple[Epoch, Evaluation]:
        s = self.settings
        order = epoch_indices(self.train.targets, self.seed, index, s.sampling)
        flip, offset = draws(len(order), self.seed, index, s.reverse_complement, s.shift)
        shares = batch_slices(len(order), s.batch_size, self.processes.rank, self.processes.world)
        run = cast(PhaseRun, self.run)
        train_mode(self.model, run.phase, s)
        started, first = time.perf_counter(), self._seen(shares)
        seen, saved = first, started
        with self.progress.bar(f"epoch {index + 1}/{s.max_epochs}", len(order), first) as bar:
            for share, whole in shares[self.position :]:
                batch = run.batches.batch(order[share], flip[share], offset[share])
                self._train_step(run, batch, whole.stop - whole.start)
                self.position += 1
                bar.update(whole.stop - whole.start)
                seen = whole.stop
                if self._look():
                    bar.set_postfix(step=self.step, loss=f"{self.total.item() / seen:.4f}", refresh=False)
                if self._out_of_steps():
                    break
                if self._is_due(saved):
                    self._save_state()
                    saved = time.perf_counter()
        return self._validate(run, index, seen, (seen - first) / (time.perf_counter() - started))

    def _is_due(self, saved: float) -> bool:
        """Whether to save now. All processes must agree, and their clocks do not: rank 0 decides, now and then."""
        if self.processes.world > 1 and self.step % _AGREEMENT:
            return False
        due = time.perf_counter() - saved > self.engine.save_every
        return bool(from_main(float(due), self.device, self.processes))

    def _seen(self, shares: list[BatchSlices]) -> int:
        """Count the windows of this epoch that were trained on before the run was interrupted."""
        return shares[self.position - 1].whole.stop if self.position else 0

    def _train_step(self, run: PhaseRun, batch: Batch, global_size: int) -> None:
        self.total += run.step(batch, global_size, self.rate.factor(self.step), self.objective)
        if self.average is not None:
            self.average.update(self.model)
        self.step += 1

    def _look(self) -> bool:
        """Now and then, stop if the loss is no number; every step on a CPU, where looking costs nothing."""
        if self.device.type != "cpu" and self.step % _LOSS_CHECK:
            return False
        if not torch.isfinite(self.total):
            raise ChromTransferError(
                f"training: the loss became {self.total.item()} at step {self.step}. "
                "Lower the learning rate (lr) or set clip_norm: 1."
            )
        return True

    def _validate(self, run: PhaseRun, index: int, seen: int, rate: float) -> tuple[Epoch, Evaluation]:
        total = sum_over(self.total, self.processes).item()
        self.total = torch.zeros_like(self.total)
        with self._averaged():
            evaluation = Evaluation(0.0, np.empty((0, 1)))
            if self.processes.main:
                evaluation = run.evaluate(self.validation, self.validation_criterion)
            penalty = l2_penalty(self.model, self.settings.l2)
        loss = from_main(evaluation.loss, self.device, self.processes)
        lr = run.optimizer.param_groups[0]["lr"]  # the fastest: the head's
        epoch = Epoch(index + 1, self.step, total / seen, loss, penalty, lr, rate, False, run.phase.name)
        if not np.isfinite(epoch.monitored + epoch.train_loss):
            raise ChromTransferError(
                f"training: the validation loss became {epoch.monitored} in epoch {epoch.epoch}. "
                "Lower the learning rate (lr)."
            )
        better = not self.history or epoch.monitored < min(e.monitored for e in self.history)
        epoch = epoch._replace(best=better or self.settings.keep == "last")
        utilisation = self.utilisation.text(rate, run.phase.kind, run.frozen_trunk)
        self.progress.log(
            f"epoch {epoch.epoch}: train loss {epoch.train_loss:.4f}, validation loss {epoch.validation_loss:.4f} "
            f"(+ L2 {epoch.l2:.4f}), {utilisation}{', best so far' if better else ''}"
        )
        return epoch, evaluation

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Evaluate and save with the averaged weights, if there are any."""
        with self.average.swapped(self.model) if self.average is not None else nullcontext():
            yield

    # --- stopping, best model ------------------------------------------------------------------------

    def _finished(self) -> bool:
        if not self.history or self.position:
            return False
        done = len(self.history) >= self.settings.max_epochs
        return done or self._out_of_steps() or self._out_of_patience()

    def _out_of_steps(self) -> bool:
        return self.engine.max_steps is not None and self.step >= self.engine.max_steps

    def _out_of_patience(self) -> bool:
        """Whether the patience is over; it is counted anew when the last phase starts."""
        patience = self.settings.patience
        lowest = min(self.history, key=lambda epoch: epoch.monitored)  # the first of equals
        since = max(lowest.epoch, self.phases[-1].start)
        return patience is not None and len(self.history) - since >= patience

    def _best(self) -> Epoch:
        return [epoch for epoch in self.history if epoch.best][-1]

    def plain_model(self) -> ChromTransfer:
        """Copy the model as it would be kept now: averaged weights, adapters merged, prior corrected; on the CPU."""
        with self._averaged():
            return deliverable(self.model, self.prior_shift)

    def _save_best(self, epoch: Epoch) -> None:
        training = {**self.card.training, "settings": self.settings.model_dump(), "best": epoch._asdict()}
        if self.settings.trainable in ("lora", "ia3"):
            with self._averaged():
                save_adapters(self.model, self.output_dir / ADAPTERS)
        save_model(
            self.plain_model(), self.output_dir / BEST, self.card.model_copy(update={"training": training})
        )

    def _finish(self) -> FitResult:
        best = self._best()
        if self.processes.world > 1:
            restore_batch_norm(self.model)
            from_main(0.0, self.device, self.processes)  # wait until rank 0 has written the best model
        merge_adapters(self.model.trunk)
        state = load_network(self.output_dir / BEST)[0].state_dict()
        self.model.load_state_dict(state)
        self.model.eval()
        early = self._out_of_patience() and len(self.history) < self.settings.max_epochs
        reason = "validation loss stopped improving" if early else "limit reached"
        moved = what_moved(self.start, state)
        self.progress.log(moved.summary())
        self.progress.log(f"done after {len(self.history)} epochs ({reason}); restored epoch {best.epoch}")
        result = {"best": best._asdict(), "epochs": len(self.history), "stopped_early": early}
        self._record(result=result, moved=moved.moved, unmoved=moved.unmoved)
        if self.processes.main:
            (self.output_dir / STATE).unlink(missing_ok=True)
        return FitResult(best, self.history, self.output_dir / BEST, early)

    def _record(self, **results: Any) -> None:
        if self.processes.main:
            write_run_record(
                self.output_dir / RECORD,
                device=self.device,
                processes=self.processes.world,
                seed=self.seed,
                torch_seed=torch.initial_seed(),
                identity=self.identity(),
                settings=self.settings.model_dump(),
                engine=self.engine.model_dump(),
                card=self.card.model_dump(),
                phases=[phase._asdict() for phase in self.phases],
                **self.facts,
                **results,
            )

    # --- resuming ------------------------------------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """Say which run a resume file belongs to: the same settings on the same data."""
        training = self.card.training
        return {
            "settings": self.settings.model_dump_json(),
            "engine": self.engine.model_dump_json(include={"bf16", "compile", "cache_features", "max_steps"}),
            "architecture": self.model.architecture.model_dump_json(),
            "train": training["train_sha256"],
            "validation": training["validation_sha256"],
            "seed": str(self.seed),
            "torch_seed": str(torch.initial_seed() - self.processes.rank),
            "pretrained": f"{training.get('pretrained')} {training.get('pretrained_sha256')}",
            "processes": str(self.processes.world),
        }

    def _save_state(self) -> None:
        """Write everything that the next step depends on."""
        run = cast(PhaseRun, self.run)
        generators = gather_bytes(torch.get_rng_state(), self.device, self.processes)
        parts = {
            "model": dict(self.model.state_dict()),
            "optimizer": optimizer_tensors(run.optimizer),
            "generator": {"cpu": generators},
            "position": {"total": gather_bytes(_as_bytes(self.total), self.device, self.processes)},
        }
        if self.device.type == "cuda":
            state = torch.cuda.get_rng_state(self.device)
            parts["generator"]["cuda"] = gather_bytes(state, self.device, self.processes)
        if self.average is not None:
            parts["average"] = self.average.state_dict()
        notes = {
            "history": [epoch._asdict() for epoch in self.history],
            "step": self.step,
            "position": self.position,
            "rate": self.rate.state(),
            "phase": self.phases.index(run.phase),
        }
        if self.processes.main:
            save_state(self.output_dir / STATE, RunState(parts, notes), self.identity())

    def _resume(self) -> None:
        state = load_state(self.output_dir / STATE, self.identity())
        if state is None:
            return
        parts, notes = state
        self.history = [Epoch(**epoch) for epoch in notes["history"]]
        self.step, self.position = notes["step"], notes["position"]
        self.rate.restore(notes["rate"])
        self.model.load_state_dict(parts["model"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        self._enter(self.phases[notes["phase"]])
        restore_optimizer(self.optimizer, parts["optimizer"])
        rank = self.processes.rank
        self.total = parts["position"]["total"][rank].view(torch.float64).squeeze().to(self.device)
        torch.set_rng_state(parts["generator"]["cpu"][rank])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(parts["generator"]["cuda"][rank], self.device)
        self.progress.log(
            f"resuming in epoch {len(self.history) + 1}, after step {self.step}, from {self.output_dir / STATE}"
        )


def _as_bytes(value: torch.Tensor) -> torch.Tensor:
    return value.cpu().reshape(1).view(torch.uint8)


def _check(train: Windows, validation: Windows, settings: Training) -> None:
    """Refuse data that nothing can be learnt from, or that the settings cannot use."""
    if train.n < 2:
        raise ChromTransferError(
            f"training: {train.n} training window(s); batch norm needs at least 2 in a batch."
        )
    if not validation.n:
        raise ChromTransferError(
            "training: the validation set is empty, so that no best epoch can be chosen. Hold out a fold."
        )
    if train.flank < settings.shift:
        raise ChromTransferError(
            f"training: shift={settings.shift} needs windows with flanks of so many bp, these have {train.flank}."
        )
