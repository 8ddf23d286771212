"""Put a training run together: transfer, losses, card, trainer; one model or an ensemble over folds.

Selene's ``TrainModel``, the command line and Python all come through here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError

from chromtransfer_plugin import defaults
from chromtransfer_plugin.checkpoint import Card, find_checkpoint, load_model, read_card, save_ensemble
from chromtransfer_plugin.dataset import Splits
from chromtransfer_plugin.defaults import Engine, Training
from chromtransfer_plugin.errors import ChromTransferError, reject_unknown
from chromtransfer_plugin.losses import criterion_for, effective_prior, prior_shift, training_loss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.motif_trunk import MotifTrunk
from chromtransfer_plugin.motifs import read_motifs
from chromtransfer_plugin.training.distributed import wait_for_all
from chromtransfer_plugin.training.evaluation import Evaluation
from chromtransfer_plugin.training.progress import Epoch
from chromtransfer_plugin.training.trainer import BEST, RECORD, FitResult, Trainer
from chromtransfer_plugin.transfer import FeatureStore, fine_tuning_model

SMOKE = "CHROMTRANSFER_SMOKE"  # environment variable: train on a handful of windows for two epochs
SMOKE_WINDOWS = 256
OnEpoch = Callable[[Epoch, Evaluation], None]


class Task(NamedTuple):
    """What is learnt: one name per output, and how logits become probabilities."""

    outputs: list[str]
    activation: str  # "sigmoid" or "softmax"


class Origin(NamedTuple):
    """Where the weights come from, for transfer and for the card."""

    protocol: str = "scratch"
    pretrained: str | None = None
    upto: str | None = None  # last trunk level that is transferred; None: all of them
    trained_on: str = ""
    motifs: str = "JASPAR2024"  # what fills a trunk of motifs that is not transferred


def run_settings(protocol: str, given: dict[str, Any], also: Sequence[str] = ()) -> tuple[Training, Engine]:
    """Complete given hyper-parameters and engine options with a protocol's.

    Parameters
    ----------
    protocol : str
        A key of :data:`~chromtransfer_plugin.defaults.PROTOCOLS`.
    given : dict
        Fields of :class:`Training` and :class:`Engine`.
    also : sequence of str
        Other names that may be suggested for a misspelt one.

    Raises
    ------
    ChromTransferError
        Naming the unknown or unusable setting.
    """
    if protocol not in defaults.PROTOCOLS:
        raise ChromTransferError(
            f"train_model: protocol '{protocol}' is unknown: use {', '.join(defaults.PROTOCOLS)}."
        )
    known = set(Training.model_fields) | set(Engine.model_fields)
    reject_unknown("train_model TrainModel", given, known | set(also))
    values = {**defaults.PROTOCOLS[protocol].model_dump(), **given}
    if os.environ.get(SMOKE):
        values |= {"max_epochs": 2, "head_epochs": 1, "unfreeze_every": 1}
        if isinstance(values["batch_size"], int):  # anything else is refused below
            values["batch_size"] = min(64, values["batch_size"])
    try:
        training = Training(
            **{name: value for name, value in values.items() if name in Training.model_fields}
        )
        engine = Engine(**{name: value for name, value in values.items() if name in Engine.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{first['loc'][0]}={first['input']!r}" if first["loc"] else "the combination"
        raise ChromTransferError(f"train_model: {what} is not usable: {first['msg']}.") from error
    for name, value in training:
        if isinstance(value, float) and math.isinf(value):
            raise ChromTransferError(f"train_model: {name}={value} is not usable: expected a finite number.")
    if training.trainable in ("head_then_full", "gradual") and training.head_epochs >= training.max_epochs:
        raise ChromTransferError(
            f"train_model: with trainable={training.trainable}, head_epochs={training.head_epochs} and "
            f"max_epochs={training.max_epochs} the trunk never trains. Raise max_epochs, lower head_epochs, or set "
            "trainable: head."
        )
    return training, engine


def make_trainer(
    model: ChromTransfer,
    splits: Splits,
    settings: Training,
    task: Task,
    origin: Origin,
    *,
    output_dir: str | Path,
    seed: int,
    device: str = "auto",
    engine: Engine | None = None,
    optimizer: Callable[[list[dict]], torch.optim.Optimizer] | None = None,
    facts: dict[str, Any] | None = None,
    store: FeatureStore | None = None,
) -> Trainer:
    """Transfer the trunk if asked for, choose losses, and return the trainer of one run.

    Parameters
    ----------
    model : ChromTransfer
        Freshly initialised; changed in place.
    splits : Splits
        Training windows (with flanks if ``settings.shift``) and validation windows.
    """
    if origin.upto is not None and origin.pretrained is None:
        raise ChromTransferError(
            f"train_model: upto='{origin.upto}' says how much of a pre-trained trunk is transferred: give `pretrained` too."
        )
    facts = dict(facts or {})
    transferred: list[str] = []
    if (
        origin.pretrained is None
        and origin.protocol in ("finetune", "frozen")
        and model.architecture.trunk == "residual"
    ):
        raise ChromTransferError(
            f"train_model: protocol '{origin.protocol}' starts from a pre-trained trunk: give `pretrained` "
            "(a checkpoint folder), or use protocol 'scratch'."
        )
    if isinstance(model.trunk, MotifTrunk) and origin.pretrained is None:
        model.trunk.fill(read_motifs(origin.motifs))
        facts["motifs"] = origin.motifs
    if origin.pretrained is not None:
        report = fine_tuning_model(origin.pretrained, model, settings.trainable, origin.upto)
        transferred = report.transferred
        facts["transfer"] = report.summary().splitlines()
    targets = splits.train.targets
    criterion = training_loss(
        task.activation,
        targets,
        settings.balanced,
        settings.pos_weight,
        settings.focal_gamma,
        outputs=task.outputs,
    )
    return Trainer(
        model,
        splits.train,
        splits.validation,
        settings,
        criterion,
        validation_criterion=criterion_for(task.activation),
        output_dir=output_dir,
        card=make_card(model, task, origin, seed, splits.validation.codes.shape[1]),
        seed=seed,
        device=device,
        engine=engine,
        transferred=transferred,
        prior_shift=_prior_shift(targets, settings, task),
        optimizer=optimizer,
        facts=facts,
        store=store,
    )


def _prior_shift(targets: np.ndarray, settings: Training, task: Task) -> np.ndarray | None:
    if settings.target_prior is None:
        return None
    seen = effective_prior(
        targets,
        settings.balanced,
        settings.pos_weight,
        settings.sampling,
        activation=task.activation,
        focal_gamma=settings.focal_gamma,
    )
    return prior_shift(seen, settings.target_prior, activation=task.activation)


def make_card(model: ChromTransfer, task: Task, origin: Origin, seed: int, window: int) -> Card:
    """Describe a model before its training; the trainer adds what it sees."""
    smoke: dict[str, Any] = {"smoke": True} if os.environ.get(SMOKE) else {}
    source = {}
    if origin.pretrained is not None:
        source["pretrained_sha256"] = read_card(find_checkpoint(origin.pretrained)).weights_sha256
    return Card(
        architecture=model.architecture,
        outputs=task.outputs,
        activation=task.activation,  # type: ignore[arg-type]
        window=window,
        trained_on=f"SMOKE TEST, not a trained model. {origin.trained_on}" if smoke else origin.trained_on,
        training={
            **smoke,
            "protocol": origin.protocol,
            "pretrained": origin.pretrained,
            "upto": origin.upto,
            **source,
            "seed": seed,
        },
    )


def fit_folds(
    architecture: dict[str, Any],
    folds: Sequence[Splits],
    settings: Training,
    task: Task,
    origin: Origin,
    *,
    output_dir: str | Path,
    seed: int,
    on_epoch: OnEpoch | None = None,
    **run: Any,
) -> list[FitResult]:
    """Train one model per fold and save their mean as ``output_dir/best_model``.

    Each member starts from its own random weights (seed + fold) and stops on its own fold. Members that are
    finished when the run is repeated after an interruption are kept.
    """
    output_dir = Path(output_dir)
    results, store = [], FeatureStore()
    for fold, splits in enumerate(folds):
        torch.manual_seed(seed + fold)
        folder = output_dir / f"fold_{fold}"
        trainer = make_trainer(
            ChromTransfer(**architecture), splits, settings, task, origin,
            output_dir=folder, seed=seed, store=store, **run,
        )  # fmt: skip
        trainer.progress.log(f"member {fold + 1} of {len(folds)}: {folder}")
        kept = None if (output_dir / BEST).exists() else finished_run(folder, trainer.identity())
        results.append(kept or trainer.fit(on_epoch))
    card = trainer.card.model_copy(
        update={
            "training": {
                **{name: trainer.card.training[name] for name in ("protocol", "pretrained", "upto", "seed")},
                "members": [read_card(find_checkpoint(result.best_model)).training for result in results],
            }
        }
    )
    # Before it exists every process has decided which members to keep; after it, all may read it.
    wait_for_all(trainer.device, trainer.processes)
    if trainer.processes.main:
        save_ensemble([result.best_model for result in results], output_dir / BEST, card)
    wait_for_all(trainer.device, trainer.processes)
    return results


def finished_run(folder: Path, identity: dict[str, str]) -> FitResult | None:
    """Return the result of a finished run with this identity; None if there is none."""
    try:
        record = json.loads((folder / RECORD).read_text())
        load_model(folder / BEST)
    except (OSError, ValueError):
        return None
    if record.get("identity") != identity or "result" not in record:
        return None
    best = Epoch(**record["result"]["best"])
    return FitResult(best, [best], folder / BEST, record["result"]["stopped_early"])
