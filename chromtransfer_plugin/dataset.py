"""Labelled windows of a genome, split into training, validation and test sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from chromtransfer_plugin.constants import TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.regions import Regions, labelled, read_regions
from chromtransfer_plugin.splits import k_folds

if TYPE_CHECKING:
    import torch


class Windows(NamedTuple):
    """Windows of equal length with their targets.

    Attributes
    ----------
    codes : numpy.ndarray (N, L) uint8
        Base codes, 0-3 = A, C, G, T, 4 = unknown.
    targets : numpy.ndarray (N, T) float32
    table : pandas.DataFrame
        ``chrom, start, end`` (0-based half-open), ``label``, one row per window.
    """

    codes: np.ndarray
    targets: np.ndarray
    table: pd.DataFrame

    @property
    def n(self) -> int:
        """Number of windows."""
        return len(self.codes)

    def take(self, keep: np.ndarray) -> Windows:
        """Return the windows chosen by an index array or a boolean mask."""
        rows = np.arange(self.n)[keep]
        return Windows(self.codes[rows], self.targets[rows], self.table.iloc[rows].reset_index(drop=True))

    def on(self, chromosomes: Sequence[str]) -> np.ndarray:
        """Tell which windows lie on these chromosomes; (N,) bool."""
        return self.table["chrom"].isin(list(chromosomes)).to_numpy()

    def fingerprint(self) -> str:
        """SHA-256 of sequences and targets, for run records and resuming."""
        digest = hashlib.sha256(np.ascontiguousarray(self.codes).data)
        digest.update(np.ascontiguousarray(self.targets).data)
        return digest.hexdigest()


class Splits(NamedTuple):
    """Training, validation and test windows, and one line per file on what was read and dropped."""

    train: Windows
    validation: Windows
    test: Windows
    report: str


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Order in which ``n`` windows are visited in an epoch: a pure function of (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def batches(
    windows: Windows, batch_size: int, device: torch.device, order: np.ndarray | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (one-hot (B, 4, L) float32, targets (B, T) float32) on a device.

    Only the base codes, one byte each, travel to the device; one-hot encoding happens there. With an ``order``,
    that is in training, a lone last window joins the batch before it: batch norm cannot train on one example.
    """
    import torch

    from chromtransfer_plugin.onehot import one_hot_tensor

    starts = list(range(0, windows.n, batch_size))
    if order is not None and len(starts) > 1 and windows.n - starts[-1] == 1:
        starts.pop()
    for start, stop in pairwise([*starts, windows.n]):
        rows = slice(start, stop) if order is None else order[start:stop]
        codes = torch.from_numpy(np.ascontiguousarray(windows.codes[rows])).to(device)
        targets = torch.from_numpy(np.ascontiguousarray(windows.targets[rows])).to(device)
        yield one_hot_tensor(codes), targets


def one_hot_targets(labels: pd.Series, classes: Sequence[str], where: str) -> np.ndarray:
    """Class labels -> (N, n_classes) float32 one-hot.

    Raises
    ------
    ChromTransferError
        If a class never occurs or a label is not among the classes.
    """
    index = pd.Index(classes).get_indexer(pd.Index(labels))
    if (index < 0).any():
        unknown = sorted(set(labels[index < 0]))
        raise ChromTransferError(f"{where}: labels {unknown[:5]} are not among the classes {list(classes)}.")
    absent = sorted(set(classes) - set(labels))
    if absent:
        raise ChromTransferError(f"{where}: no region has the label(s) {absent}.")
    return np.eye(len(classes), dtype=np.float32)[index]


def load_windows(
    genome: Genome,
    files: str | Path | Sequence[str | Path],
    positive: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    width: int = WINDOW,
) -> tuple[Windows, str]:
    """Read labelled regions and their sequences.

    Parameters
    ----------
    genome : Genome
    files : path or list of paths
        Labelled regions (see :func:`~chromtransfer_plugin.regions.read_regions`), concatenated in order.
    positive : str or list of str
        Binary task: target 1 for these labels, 0 for every other one.
    classes : list of str
        Exclusive classes instead: one-hot targets in this order.
    width : int
        Window in bp.

    Returns
    -------
    Windows, str
        The windows, and a report of rows read, resized and dropped.
    """
    if (positive is None) == (classes is None):
        raise ChromTransferError(
            "regions: give either `positive` (binary task) or `classes` (multi-class), not both."
        )
    parts = [
        read_regions(path, genome=genome, width=width)
        for path in ([files] if isinstance(files, str | Path) else files)
    ]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    if positive is not None:
        where = Regions(table, replace(parts[0].report, path=", ".join(part.report.path for part in parts)))
        targets = labelled(where, [positive] if isinstance(positive, str) else list(positive))[:, None]
    else:
        targets = one_hot_targets(table["label"], list(classes or ()), str(files))
    report = "\n".join(part.report.summary() for part in parts)
    once = ~table.duplicated(["chrom", "start"]).to_numpy()
    if not once.all():
        check_agreement(table, targets)
        report += f"\n{(~once).sum()} windows occur again with the same target: used once"
        table, targets = table[once].reset_index(drop=True), targets[once]
    codes = genome.extract(table["chrom"].to_numpy(), table["start"].to_numpy(), width)
    return Windows(codes, targets.astype(np.float32), table), report


def check_agreement(table: pd.DataFrame, targets: np.ndarray) -> None:
    """Raise if a window occurs with different targets; ``table`` and ``targets`` have one row per window."""
    keys = table[["chrom", "start", "end", "label"]].assign(
        target=targets.argmax(axis=1) + targets.max(axis=1)
    )
    kinds = keys.groupby(["chrom", "start"])["target"].nunique()
    if (kinds > 1).any():
        chrom, start = kinds[kinds > 1].index[0]
        labels = sorted(set(keys.loc[(keys["chrom"] == chrom) & (keys["start"] == start), "label"]))
        raise ChromTransferError(
            f"regions: {int((kinds > 1).sum())} windows have contradictory labels, e.g. the one at {chrom}:{start} "
            f"is {' and '.join(labels)}. Keep one label for each window."
        )


def split_windows(
    windows: Windows,
    *,
    test_chromosomes: Sequence[str] = TEST_CHROMOSOMES,
    folds: int = 3,
    fold: int = 0,
    fold_by: Literal["chromosome", "locus"] = "chromosome",
    seed: int = 0,
    report: str = "",
) -> Splits:
    """Hold out the test chromosomes, then one of ``folds`` folds of the rest for validation (paper: 3).

    Parameters
    ----------
    fold_by : {"chromosome", "locus"}
        Whole chromosomes, or clusters of neighbouring windows, never random windows: neighbours overlap.

    test_chromosomes : sequence of str
        Empty for a run without a test set.

    Raises
    ------
    ChromTransferError
        If a set is empty or the fold does not exist.
    """
    test_chromosomes = [test_chromosomes] if isinstance(test_chromosomes, str) else list(test_chromosomes)
    if not 0 <= fold < folds:
        raise ChromTransferError(f"fold={fold} does not exist: with folds={folds} use 0 to {folds - 1}.")
    test = windows.on(test_chromosomes)
    if test_chromosomes and not test.any():
        raise ChromTransferError(
            f"the test set is empty: no window lies on the test chromosomes {test_chromosomes}, only on "
            f"{sorted(set(windows.table['chrom']))[:30]}. Choose among these, or test_chromosomes: [] for no test set."
        )
    rest = windows.take(~test)
    held_out = k_folds(rest.table, k=folds, by=fold_by, seed=seed) == fold
    splits = Splits(rest.take(~held_out), rest.take(held_out), windows.take(test), report)
    for name in ("train", "validation"):
        if getattr(splits, name).n == 0:
            raise ChromTransferError(
                f"the {name} set is empty: {rest.n} windows lie outside the test chromosomes "
                f"{test_chromosomes} and fold {fold} of {folds} (by {fold_by}) is held out. "
                "Use fewer folds or fold_by: locus."
            )
    if len(np.unique(splits.train.targets, axis=0)) < 2:
        raise ChromTransferError(
            f"the train set has {splits.train.n} windows of one class only: nothing can be learnt. The other class "
            f"lies on the test chromosomes {test_chromosomes} or in the validation fold; choose others."
        )
    return splits
