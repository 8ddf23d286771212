"""Selene sampler over labelled regions of a genome."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from selene_sdk.samplers.sampler import Sampler
from tqdm import tqdm

from chromtransfer_plugin.constants import SEED, TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.dataset import (
    Files,
    Splits,
    Windows,
    epoch_order,
    load_windows,
    split_windows,
    with_flank,
)
from chromtransfer_plugin.errors import (
    ChromTransferError,
    keyword_names,
    reject_unknown,
    require_integers,
)
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.splits import By

SEEDS = 2**32  # what every generator takes; members of an ensemble add their number
_MODES = {"train": "train", "validate": "validation", "test": "test"}


class RegionSampler(Sampler):
    """Labelled regions of a genome for training, validation and testing.

    Every window is visited once per epoch, in an order that depends only on (seed, epoch).

    Parameters
    ----------
    genome : str
        FASTA, plain or bgzip.
    regions : str or list of str
        Labelled regions: CSV ``chrom:start-end,label`` or BED with the label in column 4.
    positive : str or list of str
        Binary task: these labels are 1, all others 0.
    classes : list of str
        Multi-class task instead.
    tasks : mapping of str to str or list of str
        Several binary tasks instead of ``regions`` and ``positive``: name of each task and its region file(s), in which
        the task's name is the positive label. One output per task, named like it.
    exclusive : bool
        With ``tasks``: a window positive in one task is negative in every task whose files do not have it.
    holdout : str or list of str
        Region files; no window that overlaps one of their regions is trained or validated on.
    feature : str
        Name of the binary output in Selene's files; default: the (first) positive label.
    test_chromosomes, folds, fold, fold_by, seed, width
        See :func:`~chromtransfer_plugin.dataset.split_windows`.
    mode : {"train", "validate", "test"}
        What ``sample`` draws from at first; Selene's EvaluateModel reads this set, so the default is the test set.
    output_dir : str
        Given by Selene; ``regions_read.txt`` goes there.
    """

    def __init__(
        self,
        genome: str = "",
        regions: Files = (),
        positive: str | Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        tasks: Mapping[str, Files] | None = None,
        exclusive: bool = False,
        holdout: Files = (),
        feature: str | None = None,
        test_chromosomes: Sequence[str] = TEST_CHROMOSOMES,
        folds: int = 3,
        fold: int = 0,
        fold_by: By = "chromosome",
        seed: int = SEED,
        width: int = WINDOW,
        mode: str = "test",
        output_dir: str | None = None,
        **unknown: Any,
    ) -> None:
        where = "sampler RegionSampler"
        reject_unknown(where, unknown, keyword_names(RegionSampler, without={"output_dir"}))
        positives, classes, tasks = _labels(positive), _labels(classes), _tasks(where, tasks)
        if not genome or not (regions or tasks):
            raise ChromTransferError(
                f"{where}: the keys `genome` and `regions` are required, or `tasks` instead of `regions`."
            )
        if mode not in _MODES:
            raise ChromTransferError(f"{where}: mode '{mode}' is unknown: use {', '.join(_MODES)}.")
        if not positives and not classes and not tasks:
            raise ChromTransferError(
                f"{where}: give `positive` (binary task) or `classes` (multi-class), or `tasks` (several binary tasks)."
            )
        if classes and len(classes) < 2:
            raise ChromTransferError(f"{where}: `classes` needs at least two labels; for one use `positive`.")
        if tasks and feature is not None:
            raise ChromTransferError(f"{where}: `feature` is for `positive`; `tasks` name their outputs.")
        require_integers(where, folds=folds, fold=fold, seed=seed, width=width)
        if seed >= SEEDS:
            raise ChromTransferError(f"{where}: seed={seed} is not usable: expected less than {SEEDS}.")
        if not isinstance(exclusive, bool):
            raise ChromTransferError(
                f"{where}: exclusive={exclusive!r} is not usable: expected True or False, without quotes."
            )
        if feature is not None and not isinstance(feature, str):
            raise ChromTransferError(f"{where}: feature={feature!r} is not usable: expected text.")
        self.genome = Genome(genome)
        self._windows, self._read = load_windows(
            self.genome,
            regions,
            positives or None,
            classes or None,
            width,
            tasks=tasks or None,
            exclusive=exclusive,
            holdout=_labels(holdout),
        )
        self._split = partial(
            split_windows, test_chromosomes=test_chromosomes, folds=folds, fold_by=fold_by, seed=seed
        )
        self.n_folds, self.fold, self.seed = folds, fold, seed
        self._limit: int | None = None
        self.activation = "softmax" if classes else "sigmoid"
        super().__init__(list(tasks) or classes or [feature or positives[0]], output_dir=output_dir)
        self.modes = list(_MODES)
        self.sets: dict[str, Windows] = {}
        self._report(self._use(fold), output_dir)
        self._cursor = dict.fromkeys(self.sets, 0)
        self.set_mode(mode)

    def split(self, fold: int) -> Splits:
        """Return the sets of another fold; what :meth:`windows` and the other methods give does not change."""
        splits = self._split(self._windows, fold=fold, report=self._read)
        if self._limit is None:
            return splits
        return splits._replace(
            train=_subset(splits.train, self._limit, self.seed),
            validation=_subset(splits.validation, self._limit, self.seed),
        )

    def folds(self) -> list[Splits]:
        """Return the sets of every fold in turn; each window outside the test set validates once."""
        return [self.split(fold) for fold in range(self.n_folds)]

    def widen(self, flank: int) -> None:
        """Give the training windows ``flank`` bp of sequence on either side, so that they can be shifted."""
        self._windows = with_flank(self._windows, self.genome, flank)
        self._use(self.fold)

    def _use(self, fold: int) -> Splits:
        splits = self.split(fold)
        self.sets = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        return splits

    @property
    def features(self) -> list[str]:
        """Names of the outputs, in the model's order."""
        return list(self._features)

    def windows(self, mode: str | None = None) -> Windows:
        """Return the windows of a mode (default: the current one)."""
        return self.sets[_MODES[mode or self.mode]]

    def shrink(self, n: int) -> None:
        """Keep a seeded subset of at most ``n`` training and ``n`` validation windows."""
        self._limit = n
        self._use(self.fold)

    def get_feature_from_index(self, index: int) -> str:
        """Name of the output at an index."""
        return self._features[index]

    def sample(self, batch_size: int = 1, mode: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Next batch: one-hot (B, L, 4) float32 as Selene lays it out, and targets (B, T) float32."""
        name = _MODES[mode or self.mode]
        windows = self.sets[name]
        if windows.n == 0:
            raise ChromTransferError(f"sampler RegionSampler: the {name} set is empty.")
        rows = np.arange(self._cursor[name], self._cursor[name] + batch_size)
        self._cursor[name] += batch_size
        epochs = rows // windows.n
        index = np.concatenate(
            [epoch_order(windows.n, self.seed, e)[rows[epochs == e] % windows.n] for e in np.unique(epochs)]
        )
        codes = windows.codes[index, windows.flank : windows.flank + windows.width]
        return one_hot(codes, layout="channels_last"), windows.targets[index]

    def get_data_and_targets(
        self, batch_size: int, n_samples: int | None = None, mode: str | None = None
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
        """All windows of a mode in file order (or the first ``n_samples``), in batches, and their targets."""
        windows = self.windows(mode).centre()
        if windows.n == 0:
            raise ChromTransferError(
                f"sampler RegionSampler: the {_MODES[mode or self.mode]} set is empty: no region lies there."
            )
        n = windows.n if n_samples is None else min(n_samples, windows.n)
        data = [
            (
                one_hot(windows.codes[i : min(i + batch_size, n)], layout="channels_last"),
                windows.targets[i : min(i + batch_size, n)],
            )
            for i in range(0, n, batch_size)
        ]
        return data, windows.targets[:n]

    def get_validation_set(self, batch_size: int, n_samples: int | None = None) -> Any:
        """Validation windows in batches, and their targets."""
        return self.get_data_and_targets(batch_size, n_samples, "validate")

    def get_test_set(self, batch_size: int, n_samples: int | None = None) -> Any:
        """Test windows in batches, and their targets."""
        return self.get_data_and_targets(batch_size, n_samples, "test")

    def save_dataset_to_file(self, mode: str, close_filehandle: bool = False) -> None:
        """Do nothing: the data sets are the region files themselves."""

    def _report(self, splits: Splits, output_dir: str | None) -> None:
        sizes = ", ".join(f"{name} {w.n} ({self._positives(w)})" for name, w in self.sets.items())
        text = f"{splits.report}\nwindows: {sizes}"
        tqdm.write(text)
        if output_dir is not None:
            with open(os.path.join(output_dir, "regions_read.txt"), "w") as handle:
                handle.write(text + "\n")

    def _positives(self, windows: Windows) -> str:
        """Positives of the first output; of several tasks each, with the number of windows where it is known."""
        if not windows.tasks:
            return f"{int((windows.targets[:, 0] > 0.5).sum())} {self._features[0]}"
        return "; ".join(
            f"{int((y == 1).sum())} of {int((~np.isnan(y)).sum())} {name}"
            for name, y in zip(windows.tasks, windows.targets.T, strict=True)
        )


def _labels(value: Any) -> list[str]:
    """Labels or paths from a YAML file, where one may stand for a list and numbers are not text."""
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [str(label) for label in values]


def _tasks(where: str, value: Any) -> dict[str, list[str]]:
    """Tasks from a YAML file, where a name may be a number."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not value:
        raise ChromTransferError(
            f"{where}: `tasks` needs names and files, {{A549: A549.csv, K562: [K562_1.csv, K562_2.csv]}}; "
            f"got {value!r}."
        )
    return {str(name): _labels(files) for name, files in value.items()}


def _subset(windows: Windows, limit: int, seed: int) -> Windows:
    if limit >= windows.n:
        return windows
    return windows.take(np.sort(epoch_order(windows.n, seed, 0)[:limit]))


def check_outputs(where: str, model: ChromTransfer, sampler: RegionSampler) -> None:
    """Raise if the network has another number of outputs than the regions define targets."""
    n = model.architecture.n_outputs
    if n != len(sampler.features):
        raise ChromTransferError(
            f"{where}: the model has n_outputs={n} but the regions define {len(sampler.features)} target(s) "
            f"{sampler.features}: set class_args n_outputs to {len(sampler.features)}."
        )
