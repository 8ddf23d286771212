"""Selene's ``TrainModel`` with epochs, early stopping on the loss, transfer, and checkpoints without pickles."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import selene_sdk.train_model
import torch
from selene_sdk.train_model import logger
from sklearn.metrics import average_precision_score, roc_auc_score

from chromtransfer_plugin.checkpoint import Network, load_model
from chromtransfer_plugin.dataset import Splits, Windows
from chromtransfer_plugin.device import available_cores, pick_device
from chromtransfer_plugin.errors import ChromTransferError, keyword_names, require_integers
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.losses import criterion_for
from chromtransfer_plugin.metrics import known_only
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.predict import probabilities
from chromtransfer_plugin.selene.sampler import RegionSampler, check_outputs
from chromtransfer_plugin.training import (
    BEST,
    SMOKE,
    SMOKE_WINDOWS,
    STATE,
    Epoch,
    Evaluation,
    FitResult,
    Origin,
    Task,
    evaluate,
    fit_folds,
    make_trainer,
    run_settings,
)
from chromtransfer_plugin.training.distributed import join_processes, local_device

_METRICS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}  # Selene's
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
    protocol : str
        Which of :data:`~chromtransfer_plugin.defaults.PROTOCOLS` gives the defaults of what follows.
    **settings
        Every field of :class:`~chromtransfer_plugin.defaults.Training` (``batch_size``, ``trainable``,
        ``schedule``, ``ema``, ...) and of :class:`~chromtransfer_plugin.defaults.Engine` (``bf16``, ``compile``,
        ``max_steps``, ...). The learning rate is Selene's top-level ``lr``.
    pretrained : str
        Checkpoint folder: its trunk is transferred and the head starts anew.
    upto : str
        Last trunk level that is transferred; the levels above start anew. Default: all.
    motifs : str
        JASPAR release or MEME file that fills a new trunk of motifs (``trunk: motifs`` in the network).
    ensemble : bool
        Train one model for each of the sampler's folds and keep their mean.
    device : {"auto", "cpu", "cuda", "cuda:N"}
    cpu_n_threads : int
        Default: all cores this process may use.
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

    model: Network

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
        upto: str | None = None,
        ensemble: bool = False,
        motifs: str = "JASPAR2024",
        device: str = "auto",
        cpu_n_threads: int | None = None,
        trained_on: str = "",
        deterministic: bool = False,
        metrics: dict[str, Any] | None = None,
        logging_verbosity: int = 1,
        **settings: Any,
    ) -> None:
        del loss_criterion  # the losses follow from the settings: see training_loss and criterion_for
        if not isinstance(data_sampler, RegionSampler):
            raise ChromTransferError(
                "train_model: this TrainModel trains on a chromtransfer_plugin.selene.RegionSampler. "
                "With Selene's own samplers use selene_sdk.TrainModel and the same `model:` section."
            )
        if not output_dir:
            raise ChromTransferError("train_model: give a top-level `output_dir` in the YAML file.")
        require_integers("train_model", max_steps=settings.get("max_steps"), cpu_n_threads=cpu_n_threads)
        if "lr" in settings:
            raise ChromTransferError(
                "train_model TrainModel: unknown key 'lr': the learning rate is the top-level `lr` of the YAML file."
            )
        texts = {"protocol": protocol, "device": device, "motifs": motifs, "trained_on": trained_on}
        _check_kinds(ensemble, metrics, texts, {"pretrained": pretrained, "upto": upto})
        own = keyword_names(TrainModel, _GIVEN_BY_SELENE)
        given = {**settings, "lr": float(optimizer_kwargs["lr"])}
        self.settings, self.engine = run_settings(protocol, given, own)
        if "eps" in optimizer_kwargs:  # the Adam of our model file, not another one named in the YAML file
            optimizer_kwargs = {**optimizer_kwargs, "eps": self.settings.adam_eps}
        self.processes = join_processes(device)
        self.torch_device = pick_device(local_device(device, self.processes))
        self._check_outputs(model, data_sampler)
        self._prepare_data(data_sampler)
        self.run_dir = Path(output_dir)
        make_folder(self.run_dir)
        # Selene's own files come from the main process only: the others' go to a folder that is thrown away.
        self._scratch = None if self.processes.main else tempfile.TemporaryDirectory()
        selene_dir = self._scratch.name if self._scratch else output_dir
        self.ensemble, self.origin = ensemble, Origin(protocol, pretrained, upto, trained_on, motifs)
        with _loss_files(Path(selene_dir)):
            super().__init__(
                model,
                data_sampler,
                criterion_for(data_sampler.activation),
                optimizer_class,
                optimizer_kwargs,
                self.settings.batch_size,
                self.engine.max_steps,
                report_stats_every_n_steps=1,
                output_dir=selene_dir,
                cpu_n_threads=cpu_n_threads or available_cores(),
                use_scheduler=False,
                deterministic=deterministic,
                logging_verbosity=logging_verbosity,
                metrics={name: known_only(metric) for name, metric in (metrics or _METRICS).items()},
            )
        self._make_optimizer = partial(optimizer_class, **optimizer_kwargs)
        self.task = Task(data_sampler.features, data_sampler.activation)
        if not ensemble:
            self.trainer = make_trainer(
                self.model, self._splits(), self.settings, self.task, self.origin,
                seed=data_sampler.seed, output_dir=self.run_dir, **self._run_options(),
            )  # fmt: skip
            logger.info("\n".join(self.trainer.facts.get("transfer", [])))

    def _prepare_data(self, sampler: RegionSampler) -> None:
        if os.environ.get(SMOKE):
            logger.warning(f"{SMOKE} is set: two epochs on {SMOKE_WINDOWS} windows; the result means nothing")
            sampler.shrink(SMOKE_WINDOWS)
        if self.settings.shift:
            sampler.widen(self.settings.shift)

    def _splits(self) -> Splits:
        train, validation, test = (self.sampler.windows(mode) for mode in ("train", "validate", "test"))
        return Splits(train, validation, test, report="")

    def _run_options(self) -> dict[str, Any]:
        return {
            "device": str(self.torch_device),
            "engine": self.engine,
            "optimizer": self._make_optimizer,
            "facts": {"genome": self.sampler.genome.identity},
        }

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

    def train_and_validate(self) -> list[FitResult]:
        """Train to the end, restore the best epoch (or the ensemble) and write Selene's ``best_model.pth.tar``."""
        if not self.ensemble:
            return [self.trainer.fit(self._after_epoch)]
        results = fit_folds(
            self.model.architecture.model_dump(), self.sampler.folds(), self.settings, self.task, self.origin,
            output_dir=self.run_dir, seed=self.sampler.seed, **self._run_options(),
        )  # fmt: skip
        self.model = load_model(self.run_dir / BEST).model.to(self.torch_device)
        return results

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
            "state_dict": self.trainer.plain_model().state_dict(),  # the same network as best_model/
            "min_loss": float(self._min_loss),  # a numpy number could not be loaded again
            "optimizer": self.trainer.optimizer.state_dict(),
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


def _check_kinds(ensemble: Any, metrics: Any, texts: dict[str, Any], texts_or_none: dict[str, Any]) -> None:
    """Refuse a value of another kind than its key needs: quoted `no` would be true, a number no path."""
    for name, value in {**texts, **texts_or_none}.items():
        if not isinstance(value, str) and (value is not None or name in texts):
            raise ChromTransferError(f"train_model: {name}={value!r} is not usable: expected text.")
    if not isinstance(ensemble, bool):
        raise ChromTransferError(
            f"train_model: ensemble={ensemble!r} is not usable: expected True or False, without quotes."
        )
    named = isinstance(metrics, dict) and metrics and all(callable(metric) for metric in metrics.values())
    if metrics is not None and not named:
        raise ChromTransferError(
            f"train_model: metrics={metrics!r} is not usable: expected names and functions, such as "
            "{roc_auc: !import sklearn.metrics.roc_auc_score}."
        )


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
