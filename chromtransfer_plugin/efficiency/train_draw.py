"""Train one model on one share and score the test windows; what runs in each process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from chromtransfer_plugin.checkpoint import load_network
from chromtransfer_plugin.dataset import Splits, Windows
from chromtransfer_plugin.defaults import Engine, Training
from chromtransfer_plugin.device import pick_device
from chromtransfer_plugin.efficiency.plan import Share
from chromtransfer_plugin.efficiency.record import Mode
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import criterion_for
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.motif_trunk import MotifTrunk
from chromtransfer_plugin.motifs import read_motifs
from chromtransfer_plugin.predict import probabilities
from chromtransfer_plugin.training import Origin, Task, Trainer, evaluate, make_trainer
from chromtransfer_plugin.training.evaluation import evaluate_features
from chromtransfer_plugin.transfer import FeatureStore, cached_features, transfer_trunk


class SharedFeatures(FeatureStore):
    """Features of one frozen trunk for all windows, computed once and sent to every process.

    Parameters
    ----------
    codes : ndarray (N, L) uint8
    values : ndarray (N, F) float32
    """

    def __init__(self, codes: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
        super().__init__()
        self.values = values
        self.row = {window.tobytes(): i for i, window in enumerate(np.ascontiguousarray(codes))}

    def features(
        self, model: ChromTransfer, codes: np.ndarray, device: torch.device, progress: bool = False
    ) -> torch.Tensor:
        """Look up what :func:`~chromtransfer_plugin.transfer.cached_features` gave for these windows."""
        del model, progress
        rows = [self.row[window.tobytes()] for window in np.ascontiguousarray(codes)]
        return torch.from_numpy(self.values[rows]).to(device)


class Job(NamedTuple):
    """What all draws have in common; goes to every process once.

    Attributes
    ----------
    train, test : Windows
        Training windows with flanks of ``settings.shift`` bp, test windows without.
    store : SharedFeatures or None
        In mode ``features``.
    """

    mode: Mode
    train: Windows
    test: Windows
    architecture: dict[str, Any]
    settings: Training
    engine: Engine
    task: Task
    origin: Origin
    device: str
    store: SharedFeatures | None = None


def with_features(job: Job, progress: bool = False) -> Job:
    """Add the features of all training and test windows, from the trunk that every draw starts with."""
    model = ChromTransfer(**job.architecture)
    if job.origin.pretrained is not None:
        transfer_trunk(load_network(job.origin.pretrained)[0], model)
    elif isinstance(model.trunk, MotifTrunk):
        model.trunk.fill(read_motifs(job.origin.motifs))
    else:
        raise ChromTransferError(
            "efficiency: mode 'features' needs a trained trunk, and a new one is random: give --pretrained, or the protocol "
            "best (known motifs)."
        )
    codes = np.concatenate([job.train.codes, job.test.codes])
    values = cached_features(model, codes, pick_device(job.device), progress=progress)
    return job._replace(store=SharedFeatures(codes, values.cpu().numpy()))


class Trained(NamedTuple):
    """Probability (N,) float32 that each test window is open, and how it came about."""

    probability: NDArray[np.float32]
    epochs: int
    best_epoch: int
    seconds: float


def train_share(job: Job, share: Share) -> Trained:
    """Train on one share by the engine and the protocol of ``chromtransfer train``.

    The result depends on the job and the share alone: weights, dropout and order of windows follow ``share.seed``.
    """
    started = time.perf_counter()
    train = job.train.take(share.train)
    # Where the protocol chooses no epoch nobody looks at the validation loss, which the trainer logs all the same.
    validation = job.train.take(share.validation if len(share.validation) else share.train).centre()
    torch.manual_seed(share.seed)
    model = ChromTransfer(**job.architecture)
    with tempfile.TemporaryDirectory(prefix="chromtransfer-") as folder:
        trainer = make_trainer(
            model,
            Splits(train, validation, job.test, ""),
            job.settings,
            job.task,
            job.origin,
            output_dir=Path(folder),
            seed=share.seed,
            device=job.device,
            engine=job.engine,
            store=job.store,
        )
        trainer.progress.active = False  # one bar over all draws tells more than a hundred logs
        result = trainer.fit()
        logits = _test_logits(job, trainer)
    return Trained(
        probabilities(logits)[:, 0], len(result.history), result.best.epoch, time.perf_counter() - started
    )


def _test_logits(job: Job, trainer: Trainer) -> NDArray[np.float32]:
    criterion = criterion_for(job.task.activation).to(trainer.device)
    if job.store is None:
        return evaluate(trainer.model, job.test, criterion).logits
    features = job.store.features(trainer.model, job.test.codes, trainer.device)
    targets = torch.from_numpy(job.test.targets).to(trainer.device)
    return evaluate_features(trainer.model.head, features, targets, criterion).logits
