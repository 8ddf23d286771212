"""Selene's ``TrainModel`` with epochs, early stopping on the loss, transfer, and checkpoints without pickles."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import selene_sdk.train_model
import torch
from pydantic import ValidationError
from selene_sdk.train_model import logger

from chromtransfer_plugin import defaults
from chromtransfer_plugin.checkpoint import Card
from chromtransfer_plugin.dataset import Windows
from chromtransfer_plugin.device import available_cores, pick_device
from chromtransfer_plugin.errors import (
    ChromTransferError,
    keyword_names,
    reject_unknown,
    require_integers,
)
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.losses import balanced_loss, criterion_for
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.predict import probabilities
from chromtransfer_plugin.run_record import write_run_record
from chromtransfer_plugin.selene.sampler import RegionSampler, check_outputs
from chromtransfer_plugin.training import STATE, Epoch, Evaluation, FitResult, Trainer, evaluate
from chromtransfer_plugin.transfer import fine_tuning_model

PROTOCOLS = {
    "pretrain": defaults.PRETRAIN,
    "finetune": defaults.FINETUNE,
    "scratch": defaults.SCRATCH,
    "frozen": defaults.FROZEN,
}
SMOKE = "CHROMTRANSFER_SMOKE"  # environment variable: train on a handful of windows for two epochs
_SMOKE_WINDOWS = 256
# Arguments that Selene fills in; a user does not write them.
_GIVEN_BY_SELENE = {
    "model",
    "data_sampler",
    "loss_criterion",
    "optimizer_class",
    "optimizer_kwargs",
    "output_dir",
    "deterministic",
}


class TrainModel(selene_sdk.train_model.TrainModel):
    """Train a ChromTransfer network on a :class:`RegionSampler`, by the official ``selene_sdk`` command.

    Parameters
    ----------
    protocol : {"pretrain", "finetune", "scratch", "frozen"}
        Which of the paper's protocols gives the defaults of what follows.
    batch_size, max_epochs, patience, trainable, trunk_bn, l2, balanced
        See :class:`~chromtransfer_plugin.defaults.Training`. The learning rate is Selene's top-level ``lr``.
    pretrained : str
        Checkpoint folder: its trunk is transferred and the head starts anew.
    device : {"auto", "cpu", "cuda", "cuda:N"}
    cpu_n_threads : int
        Default: all cores this process may use.
    max_steps : int
        Stop after this many optimiser steps.
    bf16 : bool
        bfloat16 autocast in the forward pass.
    trained_on : str
        Free text for the model card.
    metrics : dict
        As in Selene: name -> function(targets, predictions).

    Notes
    -----
    Writes Selene's usual files (``best_model.pth.tar``, ``checkpoint.pth.tar``, ``selene_sdk.train_model.*.txt``,
    ``test_performance.txt``, ``test_predictions.npz``, ``test_targets.npz``), and ``best_model/`` (safetensors +
    card), ``history.csv`` and ``run.json``. Predictions in files are probabilities. ``loss`` in
    ``selene_sdk.train_model.validation.txt`` is the cross-entropy; early stopping also counts the L2 penalty, as Keras does.
    """

    def __init__(
        self,
        model: ChromTransfer,
        data_sampler: RegionSampler,
        loss_criterion: torch.nn.Module,
        optimizer_class: type[torch.optim.Optimizer],
        optimizer_kwargs: dict[str, Any],
        output_dir: str = "",
        protocol: str = "pretrain",
        pretrained: str | None = None,
        device: str = "auto",
        cpu_n_threads: int | None = None,
        max_steps: int | None = None,
        bf16: bool = False,
        trained_on: str = "",
        deterministic: bool = False,
        metrics: dict[str, Any] | None = None,
        logging_verbosity: int = 1,
        **settings: Any,
    ) -> None:
        if not isinstance(data_sampler, RegionSampler):
            raise ChromTransferError(
                "train_model: this TrainModel trains on a chromtransfer_plugin.selene.RegionSampler. "
                "With Selene's own samplers use selene_sdk.TrainModel and the same `model:` section."
            )
        if not output_dir:
            raise ChromTransferError("train_model: give a top-level `output_dir` in the YAML file.")
        self.settings = training_settings(protocol, float(optimizer_kwargs["lr"]), settings, data_sampler)
        if "eps" in optimizer_kwargs:  # the Adam of our model file, not another one named in the YAML file
            optimizer_kwargs = {**optimizer_kwargs, "eps": self.settings.adam_eps}
        make_folder(Path(output_dir))
        self.torch_device = pick_device(device)
        self._check_outputs(model, data_sampler)
        require_integers("train_model", max_steps=max_steps, cpu_n_threads=cpu_n_threads)
        with _loss_files(Path(output_dir)):
            super().__init__(
                model,
                data_sampler,
                criterion_for("softmax") if data_sampler.activation == "softmax" else loss_criterion,
                optimizer_class,
                optimizer_kwargs,
                self.settings.batch_size,
                max_steps,
                report_stats_every_n_steps=1,
                output_dir=output_dir,
                cpu_n_threads=cpu_n_threads or available_cores(),
                use_scheduler=False,
                deterministic=deterministic,
                logging_verbosity=logging_verbosity,
                **({"metrics": metrics} if metrics else {}),
            )
        if pretrained is not None:
            report = fine_tuning_model(pretrained, self.model, self.settings.trainable)
            logger.info(report.summary())
            if report.smoke and not os.environ.get(SMOKE):
                logger.warning(f"{pretrained} comes from a smoke test ({SMOKE}): pre-train for real first")
        self.trainer = Trainer(
            self.model,
            data_sampler.windows("train"),
            data_sampler.windows("validate"),
            self.settings,
            self._weighted_criterion(),
            validation_criterion=self.criterion,
            output_dir=output_dir,
            card=self._card(protocol, pretrained, trained_on),
            seed=data_sampler.seed,
            device=str(self.torch_device),
            optimizer=partial(optimizer_class, **optimizer_kwargs),
            max_steps=max_steps,
            bf16=bf16,
        )
        self.optimizer = self.trainer.optimizer

    @staticmethod
    def _check_outputs(model: torch.nn.Module, sampler: RegionSampler) -> None:
        if not isinstance(model, ChromTransfer):
            raise ChromTransferError(
                f"train_model: this TrainModel trains a ChromTransfer network, not {type(model).__name__}."
            )
        if getattr(model, "gives_probabilities", False):
            raise ChromTransferError(
                "train_model: training needs logits: use `class: ChromTransfer` in `model`, not ChromTransferProbability."
            )
        check_outputs("train_model", model, sampler)

    def _weighted_criterion(self) -> torch.nn.Module:
        """Return the loss to minimise: the task's, with class weights if `balanced`; validation has no weights."""
        if not self.settings.balanced:
            return self.criterion
        if self.sampler.activation == "softmax":
            raise ChromTransferError(
                "train_model: `balanced` weights are for a binary task, not for `classes`."
            )
        return balanced_loss(self.sampler.windows("train").targets)

    def _card(self, protocol: str, pretrained: str | None, trained_on: str) -> Card:
        smoke = {"smoke": True} if os.environ.get(SMOKE) else {}
        return Card(
            architecture=self.model.architecture,
            outputs=self.sampler.features,
            activation=self.sampler.activation,
            window=self.sampler.windows("train").codes.shape[1],
            trained_on=f"SMOKE TEST, not a trained model. {trained_on}" if smoke else trained_on,
            training={
                **smoke,
                "protocol": protocol,
                "pretrained": pretrained,
                "seed": self.sampler.seed,
            },
        )

    def train_and_validate(self) -> FitResult:
        """Train to the end, restore the best epoch and write Selene's ``best_model.pth.tar``."""
        write_run_record(
            self.trainer.output_dir / "run.json",
            settings=self.settings.model_dump(),
            card=self.trainer.card.model_dump(),
            genome=self.sampler.genome.identity,
            device=self.torch_device,
        )
        return self.trainer.fit(self._after_epoch)

    def _after_epoch(self, epoch: Epoch, evaluation: Evaluation) -> None:
        """Write what Selene writes after a validation."""
        self.step = epoch.step
        scores = self._validation_metrics.update(
            self._probabilities(evaluation), self._all_validation_targets
        )
        columns = [epoch.validation_loss, *(scores[name] for name in sorted(scores))]
        self._validation_logger.info("\t".join("NA" if value is None else str(value) for value in columns))
        self._train_logger.info(epoch.train_loss)
        if epoch.best:
            self._min_loss = epoch.monitored
        state = {
            "step": epoch.step,
            "arch": type(self.model).__name__,
            "state_dict": {name: tensor.cpu() for name, tensor in self.model.state_dict().items()},
            "min_loss": float(self._min_loss),  # a numpy number could not be loaded again
            "optimizer": self.optimizer.state_dict(),
        }
        self._save_checkpoint(state, epoch.best)

    def _probabilities(self, evaluation: Evaluation) -> np.ndarray:
        return probabilities(evaluation.logits, self.sampler.activation)

    def _create_validation_set(self, n_samples: int | None = None) -> None:
        """Keep the targets only: windows stay as codes, a sixteenth of the memory of one-hot arrays."""
        del n_samples
        self._all_validation_targets = self.sampler.windows("validate").targets

    def create_test_set(self) -> None:
        """Load the test targets and write ``test_targets.npz``."""
        self._test_data = self.sampler.windows("test")
        if self._test_data.n == 0:
            raise ChromTransferError(
                "evaluate: no region lies on the test chromosomes; remove `evaluate` from `ops`."
            )
        self._all_test_targets = self._test_data.targets
        np.savez_compressed(os.path.join(self.output_dir, "test_targets.npz"), data=self._all_test_targets)

    def _evaluate_on_data(self, data_in_batches: Windows) -> tuple[float, np.ndarray]:
        """Mean loss and probabilities."""
        evaluation = evaluate(self.model, data_in_batches, self.criterion)
        return evaluation.loss, self._probabilities(evaluation)


@contextmanager
def _loss_files(output_dir: Path) -> Iterator[None]:
    """Let Selene open its two loss files as this run needs them.

    It always appends and always writes a header: the files of an earlier finished run are deleted first, and
    when a run is resumed the header, which is there already, is kept back.
    """
    resuming = (output_dir / STATE).exists()
    names = [f"selene_sdk.train_model.{name}" for name in ("train", "validation")]
    loggers = [logging.getLogger(name) for name in names]
    for name, log in zip(names, loggers, strict=True):
        if not resuming:
            (output_dir / f"{name}.txt").unlink(missing_ok=True)
        log.disabled = resuming
    try:
        yield
    finally:
        for log in loggers:
            log.disabled = False


def training_settings(
    protocol: str, lr: float, given: dict[str, Any], sampler: RegionSampler
) -> defaults.Training:
    """Complete the YAML's hyper-parameters with those of a protocol.

    With the environment variable ``CHROMTRANSFER_SMOKE`` set, the run is cut to a smoke test: two epochs on a few
    windows of the sampler.
    """
    if protocol not in PROTOCOLS:
        raise ChromTransferError(
            f"train_model: protocol '{protocol}' is unknown: use {', '.join(PROTOCOLS)}."
        )
    own = keyword_names(TrainModel, _GIVEN_BY_SELENE)
    reject_unknown("train_model TrainModel", given, (set(defaults.Training.model_fields) - {"lr"}) | own)
    values = {**PROTOCOLS[protocol].model_dump(), **given, "lr": lr}
    if os.environ.get(SMOKE):
        logger.warning(f"{SMOKE} is set: two epochs on {_SMOKE_WINDOWS} windows; the result means nothing")
        values |= {"max_epochs": 2, "batch_size": min(64, int(values["batch_size"]))}
        sampler.shrink(_SMOKE_WINDOWS)
    try:
        return defaults.Training(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ChromTransferError(
            f"train_model: {first['loc'][0]}={first['input']!r} is not usable: {first['msg']}."
        ) from error
