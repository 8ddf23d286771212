"""Train a model from region files: what ``chromtransfer train`` and a Python script call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from chromtransfer_plugin import defaults
from chromtransfer_plugin.checkpoint import Card, find_checkpoint, read_card
from chromtransfer_plugin.constants import SEED, TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.dataset import Splits, all_folds, load_windows, split_windows
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.models.chromtransfer import ChromTransfer, parse_architecture
from chromtransfer_plugin.splits import By
from chromtransfer_plugin.training import FitResult, Origin, Task, fit_folds, make_trainer, run_settings

Files = str | Path | Sequence[str | Path]
_SEEDS = 2**32  # what every generator takes; members of an ensemble add their number


@dataclass
class TrainingData:
    """Labelled regions and how they are split; the keys of Selene's ``sampler`` section.

    Attributes
    ----------
    genome, regions, positive, classes, tasks, exclusive, holdout, width
        See :func:`~chromtransfer_plugin.dataset.load_windows`.
    test_chromosomes, folds, fold, fold_by
        See :func:`~chromtransfer_plugin.dataset.split_windows`.
    """

    genome: str | Path
    regions: Files = ()
    positive: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    tasks: Mapping[str, Files] | None = None
    exclusive: bool = False
    holdout: Files = ()
    width: int = WINDOW
    test_chromosomes: Sequence[str] = field(default=TEST_CHROMOSOMES)
    folds: int = 3
    fold: int = 0
    fold_by: By = "chromosome"

    def __post_init__(self) -> None:
        # One label written as text is a list of one, not of its letters.
        if isinstance(self.positive, str):
            self.positive = [self.positive]
        if isinstance(self.classes, str):
            self.classes = [self.classes]

    def task(self) -> Task:
        """Name the outputs and the activation that these labels define."""
        if self.classes:
            return Task(list(self.classes), "softmax")
        return Task(
            list(self.tasks) if self.tasks else [next(iter(self.positive or ["positive"]))], "sigmoid"
        )

    def splits(self, flank: int, seed: int, ensemble: bool) -> tuple[list[Splits], str, str]:
        """Load the windows; one split, or one for each fold; a report; the genome's identity."""
        genome = Genome(self.genome)
        windows, report = load_windows(
            genome, self.regions, self.positive, self.classes, self.width,
            tasks=self.tasks, exclusive=self.exclusive, flank=flank, holdout=self.holdout,
        )  # fmt: skip
        common: dict[str, Any] = {
            "test_chromosomes": self.test_chromosomes,
            "folds": self.folds,
            "fold_by": self.fold_by,
            "seed": seed,
        }
        if ensemble:
            return all_folds(windows, **common), report, genome.identity
        return [split_windows(windows, fold=self.fold, **common)], report, genome.identity


def train(
    data: TrainingData,
    output_dir: str | Path,
    protocol: str = "scratch",
    *,
    pretrained: str | Path | None = None,
    upto: str | None = None,
    ensemble: bool = False,
    network: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    seed: int = SEED,
    trained_on: str = "",
    motifs: str = "JASPAR2024",
) -> list[FitResult]:
    """Train one model, or one for each fold, in a folder; go on where an interrupted run stopped.

    Parameters
    ----------
    data : TrainingData
    output_dir : path
        ``best_model/`` in it is the result.
    protocol : str
        A key of :data:`~chromtransfer_plugin.defaults.PROTOCOLS`: where hyper-parameters come from that are not
        in ``settings``.
    pretrained, upto
        Checkpoint whose trunk is transferred, and the last level that is (default: all).
    ensemble : bool
        Train one model for each fold; ``best_model`` is their mean.
    network : mapping
        Fields of :class:`~chromtransfer_plugin.defaults.Architecture`. Left out: the pre-trained trunk's, and the
        protocol's head.
    settings : mapping
        Fields of :class:`~chromtransfer_plugin.defaults.Training` and :class:`~chromtransfer_plugin.defaults.Engine`.

    motifs : str
        JASPAR release or MEME file for a new trunk of motifs (``network={"trunk": "motifs"}``).

    Returns
    -------
    list of FitResult
        One for each model trained.
    """
    if data.tasks and (data.positive or data.classes):
        raise ChromTransferError("train: give one of positive, classes and tasks.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _SEEDS:
        raise ChromTransferError(f"train: seed={seed!r} is not a whole number from 0 to {_SEEDS - 1}.")
    training, engine = run_settings(protocol, dict(settings or {}))
    task = data.task()
    origin = Origin(protocol, str(pretrained) if pretrained else None, upto, trained_on, motifs)
    card = read_card(find_checkpoint(pretrained)) if pretrained is not None else None
    architecture = network_fields(protocol, card, network or {})
    if architecture.setdefault("n_outputs", len(task.outputs)) != len(task.outputs):
        raise ChromTransferError(
            f"train: n_outputs={architecture['n_outputs']!r} but the regions define {len(task.outputs)} output(s) "
            f"{task.outputs}: leave n_outputs out."
        )
    parse_architecture(architecture)  # before any work
    splits, report, identity = data.splits(training.shift, seed, ensemble)
    tqdm.write(report)
    run: dict[str, Any] = {"device": device, "engine": engine, "facts": {"genome": identity}}
    if ensemble:
        return fit_folds(
            architecture, splits, training, task, origin, output_dir=output_dir, seed=seed, **run
        )
    torch.manual_seed(seed)
    model = ChromTransfer(**architecture)
    return [
        make_trainer(model, splits[0], training, task, origin, output_dir=output_dir, seed=seed, **run).fit()
    ]


def network_fields(protocol: str, pretrained: Card | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Say how the network that a protocol trains is built: its head, the pre-trained trunk, and what was ``given``.

    Parameters
    ----------
    protocol : str
    pretrained : Card or None
        Of the model whose trunk is transferred.
    given : mapping
        Fields of :class:`~chromtransfer_plugin.defaults.Architecture`; they win.

    Returns
    -------
    dict
        Without ``n_outputs``, unless given: the regions say how many.
    """
    own: dict[str, Any] = (
        defaults.BEST_NETWORK.model_dump(exclude={"n_outputs"})
        if protocol == "best"
        else defaults.HEADS["pretrain" if protocol == "pretrain" else "finetune"].model_dump()
    )
    trunk = pretrained.architecture.model_dump(exclude={"head", "head_bn", "n_outputs"}) if pretrained else {}
    return {**own, **trunk, **given}
