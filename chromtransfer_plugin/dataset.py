"""Labelled windows of a genome, split into training, validation and test sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from chromtransfer_plugin.constants import TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.regions import Regions, labelled, read_regions
from chromtransfer_plugin.splits import By, k_folds
from chromtransfer_plugin.targets import Labelled, merge_tasks, one_hot_targets, used_once
from chromtransfer_plugin.tiles import away_from

if TYPE_CHECKING:
    import torch

Files: TypeAlias = str | Path | Sequence[str | Path]

HELD_OUT = "held_out"  # column of the table: this window must not be trained or validated on


class Windows(NamedTuple):
    """Windows of equal length with their targets.

    Attributes
    ----------
    codes : numpy.ndarray (N, L + 2 * flank) uint8
        Base codes, 0-3 = A, C, G, T, 4 = unknown; the window lies in the middle of its flanks.
    targets : numpy.ndarray (N, T) float32
        0 or 1; NaN where it is not known (several tasks).
    table : pandas.DataFrame
        ``chrom, start, end`` (0-based half-open, without flanks), ``label``, one row per window; also ``held_out``
        (bool) if regions to hold out were named.
    flank : int
        Bases of sequence on either side of the window, for shifting it.
    tasks : tuple of str
        Names of the T tasks, empty for one binary task and for exclusive classes.
    """

    codes: np.ndarray
    targets: np.ndarray
    table: pd.DataFrame
    flank: int = 0
    tasks: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of windows."""
        return len(self.codes)

    @property
    def width(self) -> int:
        """Length L of a window in bp, without flanks."""
        return self.codes.shape[1] - 2 * self.flank

    def take(self, keep: np.ndarray) -> Windows:
        """Return the windows chosen by an index array or a boolean mask."""
        rows = np.arange(self.n)[keep]
        return self._replace(
            codes=self.codes[rows],
            targets=self.targets[rows],
            table=self.table.iloc[rows].reset_index(drop=True),
        )

    def centre(self) -> Windows:
        """Return the windows without flanks."""
        if not self.flank:
            return self
        middle = slice(self.flank, self.flank + self.width)
        return self._replace(codes=np.ascontiguousarray(self.codes[:, middle]), flank=0)

    def on(self, chromosomes: Sequence[str]) -> np.ndarray:
        """Tell which windows lie on these chromosomes; (N,) bool."""
        return self.table["chrom"].isin(list(chromosomes)).to_numpy()

    def fingerprint(self) -> str:
        """SHA-256 of sequences, flanks included, and targets, for run records and resuming."""
        digest = hashlib.sha256(np.ascontiguousarray(self.codes).data)
        if self.flank:
            digest.update(f"flank {self.flank}".encode())
        digest.update(np.ascontiguousarray(self.targets).data)
        return digest.hexdigest()


class Splits(NamedTuple):
    """Training, validation and test windows, and one line per file on what was read and dropped.

    Only the training windows have flanks.
    """

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

    Raises
    ------
    ChromTransferError
        If the windows have flanks: take their centre first.
    """
    if windows.flank:
        raise ChromTransferError(
            f"batches: the windows have flanks of {windows.flank} bp; use windows.centre()."
        )
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


def load_windows(
    genome: Genome,
    files: Files = (),
    positive: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    width: int = WINDOW,
    *,
    tasks: Mapping[str, Files] | None = None,
    exclusive: bool = False,
    flank: int = 0,
    holdout: Files = (),
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
    tasks : mapping of str to path or list of paths
        Several binary tasks instead of ``files``: in the files of a task, the label that is the task's name is 1 and
        every other label 0. The windows of all tasks are merged, see
        :func:`~chromtransfer_plugin.targets.merge_tasks`: genome order, NaN where a task does not have a window.
    exclusive : bool
        With ``tasks``: a window that is positive in one task is 0 in every task that does not have it.
    flank : int
        Bases of sequence to keep on either side of each window; unknown (4) beyond the ends of a contig.
    holdout : path or list of paths
        Regions, labelled or not. Windows that overlap one of them, as it stands or resized to ``width``, are marked in
        the table's column ``held_out``, and :func:`split_windows` keeps them out of training and validation.

    Returns
    -------
    Windows, str
        The windows, and a report of rows read, resized and dropped.
    """
    if [positive is None, classes is None, tasks is None].count(False) != 1:
        raise ChromTransferError(
            "regions: give either `positive` (binary task), `classes` (multi-class) or `tasks` (several binary "
            "tasks): exactly one of them."
        )
    if tasks is None and exclusive:
        raise ChromTransferError("regions: `exclusive` is for several `tasks`.")
    if tasks is None:
        rows, report = _read_labelled(genome, files, positive, classes, width)
    elif paths(files):
        raise ChromTransferError("regions: with `tasks`, name the files there and not as regions.")
    else:
        rows, report = _read_tasks(genome, tasks, width, exclusive)
    table = rows.table
    if paths(holdout):
        regions, more = _read_holdout(genome, holdout, width)
        report += f"\n{more}"
        table = table.assign(**{HELD_OUT: ~away_from(table, regions)})
    codes = _extract(genome, table, width, flank)
    return Windows(codes, rows.targets.astype(np.float32), table, flank, tuple(tasks or ())), report


def paths(files: Files) -> list[str | Path]:
    """Return one path or several as a list."""
    return [files] if isinstance(files, str | Path) else list(files)


def _read_labelled(
    genome: Genome,
    files: Files,
    positive: str | Sequence[str] | None,
    classes: Sequence[str] | None,
    width: int,
) -> tuple[Labelled, str]:
    if not paths(files):
        raise ChromTransferError("regions: no file is named.")
    parts = [read_regions(path, genome=genome, width=width) for path in paths(files)]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    if positive is not None:
        where = Regions(table, replace(parts[0].report, path=", ".join(part.report.path for part in parts)))
        targets = labelled(where, [positive] if isinstance(positive, str) else list(positive))[:, None]
    else:
        targets = one_hot_targets(table["label"], list(classes or ()), ", ".join(map(str, paths(files))))
    rows, note = used_once(Labelled(table, targets))
    return rows, "\n".join(part.report.summary() for part in parts) + note


def _read_tasks(
    genome: Genome, tasks: Mapping[str, Files], width: int, exclusive: bool
) -> tuple[Labelled, str]:
    if not isinstance(tasks, Mapping) or not tasks:
        raise ChromTransferError(
            f"tasks: expected names and files, {{A549: A549.csv, K562: [K562_1.csv, K562_2.csv]}}, got {tasks!r}."
        )
    read = {name: _read_labelled(genome, files, name, None, width) for name, files in tasks.items()}
    merged = merge_tasks(genome, {name: rows for name, (rows, _) in read.items()}, exclusive)
    counts = ", ".join(
        f"{name} {int((y == 1).sum())} positive and {int((y == 0).sum())} negative"
        for name, y in zip(tasks, merged.targets.T, strict=True)
    )
    lines = [report for _, report in read.values()]
    return merged, "\n".join([*lines, f"tasks: {len(merged.table)} different windows; {counts}"])


def _read_holdout(genome: Genome, files: Files, width: int) -> tuple[list[pd.DataFrame], str]:
    """Read regions, each widened to hold the window that it would be in a training set of its own."""
    tables, lines = [], []
    for path in paths(files):
        regions = read_regions(path, genome=genome, width=None, drop_only_n=False)
        table, report = regions.table, regions.report
        start, end = table["start"], table["end"]
        # A window is centred on the midpoint; in a narrowPeak file on a summit, which may be anywhere inside.
        peaks = report.format == "narrowPeak"
        first, last = (start, end) if peaks else ((start + end) // 2, (start + end) // 2)
        widened = table.assign(
            start=np.maximum(0, np.minimum(start, first - width // 2)),
            end=np.maximum(end, last - width // 2 + width),
        )
        tables.append(widened)
        lines.append(f"holdout: {report.summary()}")
    return tables, "\n".join(lines)


def _extract(genome: Genome, table: pd.DataFrame, width: int, flank: int) -> np.ndarray:
    starts = table["start"].to_numpy() - flank
    return genome.extract(table["chrom"].to_numpy(), starts, width + 2 * flank, pad=flank > 0)


def with_flank(windows: Windows, genome: Genome, flank: int) -> Windows:
    """Return the windows with ``flank`` bp of the genome on either side, whatever flanks they have now."""
    return windows._replace(codes=_extract(genome, windows.table, windows.width, flank), flank=flank)


def split_windows(
    windows: Windows,
    *,
    test_chromosomes: Sequence[str] = TEST_CHROMOSOMES,
    folds: int = 3,
    fold: int = 0,
    fold_by: By = "chromosome",
    seed: int = 0,
    report: str = "",
) -> Splits:
    """Hold out the test chromosomes, then one of ``folds`` folds of the rest for validation (paper: 3).

    Windows that are marked ``held_out`` (see :func:`load_windows`) are in neither training nor validation; the
    report says how many these are. Validation and test windows come without flanks.

    Parameters
    ----------
    fold_by : {"chromosome", "locus", "homology"}
        Whole chromosomes, clusters of neighbouring windows, or these joined where they have sequence in common; never
        random windows: neighbours overlap.

    test_chromosomes : sequence of str
        Empty for a run without a test set.

    Raises
    ------
    ChromTransferError
        If a set is empty, the fold does not exist, or the training windows of a task are of one class.
    """
    if not 0 <= fold < folds:
        raise ChromTransferError(f"fold={fold} does not exist: with folds={folds} use 0 to {folds - 1}.")
    return _fold(windows, _divide(windows, test_chromosomes, folds, fold_by, seed, report), fold)


class _Divided(NamedTuple):
    """Which windows test (N,), the rows of the others that may be used (n,), and the fold of each of these (n,)."""

    test_chromosomes: list[str]
    test: np.ndarray
    rest: np.ndarray
    fold: np.ndarray
    how: str
    report: str


def _divide(
    windows: Windows, test_chromosomes: Sequence[str], folds: int, fold_by: By, seed: int, report: str
) -> _Divided:
    test_chromosomes = [test_chromosomes] if isinstance(test_chromosomes, str) else list(test_chromosomes)
    test = windows.on(test_chromosomes)
    if test_chromosomes and not test.any():
        raise ChromTransferError(
            f"the test set is empty: no window lies on the test chromosomes {test_chromosomes}, only on "
            f"{sorted(set(windows.table['chrom']))[:30]}. Choose among these, or test_chromosomes: [] for no test set."
        )
    rest = np.flatnonzero(~test)
    if HELD_OUT in windows.table:
        blocked = windows.table[HELD_OUT].to_numpy()[rest]
        report += (
            f"\nholdout: {blocked.sum()} of {len(rest)} windows overlap these regions and are neither "
            "trained nor validated on"
        )
        if blocked.all():
            raise ChromTransferError(
                f"the train set is empty: all {len(rest)} windows outside the test chromosomes {test_chromosomes} "
                "overlap a region of `holdout`. Hold out less."
            )
        rest = rest[~blocked]
    codes = windows.take(rest).centre().codes if fold_by == "homology" else None
    fold = k_folds(windows.table.iloc[rest], k=folds, by=fold_by, seed=seed, codes=codes)
    return _Divided(test_chromosomes, test, rest, fold, f"of {folds} (by {fold_by})", report)


def _fold(windows: Windows, divided: _Divided, fold: int) -> Splits:
    """Validate on one fold and train on the others."""
    rest, held_out = divided.rest, divided.fold == fold
    train, validation = windows.take(rest[~held_out]), windows.take(rest[held_out]).centre()
    for name, part in (("train", train), ("validation", validation)):
        if part.n == 0:
            raise ChromTransferError(
                f"the {name} set is empty: {len(rest)} windows lie outside the test chromosomes "
                f"{divided.test_chromosomes} and fold {fold} {divided.how} is held out. "
                "Use fewer folds or fold_by: locus."
            )
    _check_classes(train, divided.test_chromosomes)
    return Splits(train, validation, windows.take(divided.test).centre(), divided.report)


def _check_classes(train: Windows, test_chromosomes: list[str]) -> None:
    """Refuse a training set from which nothing can be learnt."""
    if train.tasks:
        for name, y in zip(train.tasks, train.targets.T, strict=True):
            positive, negative = int((y == 1).sum()), int((y == 0).sum())
            if not positive or not negative:
                raise ChromTransferError(
                    f"the train set has {positive} positive and {negative} negative windows of the task '{name}': "
                    "nothing can be learnt. Leave this task out, or choose other test chromosomes, folds or holdout "
                    f"regions (test chromosomes: {test_chromosomes})."
                )
    elif len(np.unique(train.targets, axis=0)) < 2:
        raise ChromTransferError(
            f"the train set has {train.n} windows of one class only: nothing can be learnt. The other class "
            f"lies on the test chromosomes {test_chromosomes} or in the validation fold; choose others."
        )


def all_folds(
    windows: Windows,
    *,
    test_chromosomes: Sequence[str] = TEST_CHROMOSOMES,
    folds: int = 3,
    fold_by: By = "chromosome",
    seed: int = 0,
    report: str = "",
) -> list[Splits]:
    """Return the splits of every fold in turn, see :func:`split_windows`; each window validates once."""
    divided = _divide(windows, test_chromosomes, folds, fold_by, seed, report)
    return [_fold(windows, divided, fold) for fold in range(folds)]
