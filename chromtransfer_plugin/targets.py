"""What the windows are taught: one-hot classes, and several binary tasks merged over the same windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome

NO_TASK = "none"  # label of a window that is positive in no task


class Labelled(NamedTuple):
    """Windows, one row each, and their targets (N, T) float32."""

    table: pd.DataFrame
    targets: np.ndarray


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


def used_once(rows: Labelled) -> tuple[Labelled, str]:
    """Drop repeated windows; also one line for the report, empty if there were none.

    Raises
    ------
    ChromTransferError
        If a window occurs with different targets.
    """
    again = rows.table.duplicated(["chrom", "start"]).to_numpy()
    if not again.any():
        return rows, ""
    check_agreement(rows.table, rows.targets)
    unique = Labelled(rows.table[~again].reset_index(drop=True), rows.targets[~again])
    return unique, f"\n{again.sum()} windows occur again with the same target: used once"


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


def merge_tasks(genome: Genome, tasks: Mapping[str, Labelled], exclusive: bool = False) -> Labelled:
    """Put the windows of several binary tasks into one table.

    Parameters
    ----------
    genome : Genome
        Gives the order of the contigs.
    tasks : mapping of str to Labelled
        Targets (N, 1) of each task, 0 or 1; all windows of one width. A window is known by contig and start.
    exclusive : bool
        The paper's definition of a positive: open in exactly one line. A window that is positive in one task is
        then 0 in every task that does not have it.

    Returns
    -------
    Labelled
        In genome order, ``chrom, start, end, label``; targets (N, T), NaN where a task does not have the window.
        ``label`` holds the tasks in which the window is positive, joined by ``+``, or ``none``.

    Raises
    ------
    ChromTransferError
        With ``exclusive``, if a window is positive in two tasks.
    """
    names = list(tasks)
    table = pd.concat([rows.table[["chrom", "start", "end"]] for rows in tasks.values()], ignore_index=True)
    task = np.repeat(np.arange(len(names)), [len(rows.table) for rows in tasks.values()])
    start = table["start"].to_numpy(dtype=np.int64)
    span = int(start.max()) + 1
    place = genome.contig_index(table["chrom"].to_numpy()) * span + start
    _, first, row = np.unique(place, return_index=True, return_inverse=True)
    targets = np.full((len(first), len(names)), np.nan, dtype=np.float32)
    targets[row, task] = np.concatenate([rows.targets[:, 0] for rows in tasks.values()])
    merged = table.iloc[first].reset_index(drop=True)
    positive = targets == 1
    if exclusive:
        _check_exclusive(merged, positive, names)
        targets[np.isnan(targets) & positive.any(axis=1, keepdims=True)] = 0
    return Labelled(merged.assign(label=_joined(positive, names)), targets)


def _check_exclusive(table: pd.DataFrame, positive: np.ndarray, names: Sequence[str]) -> None:
    several = np.flatnonzero(positive.sum(axis=1) > 1)
    if len(several):
        chrom, start, end = table.loc[several[0], ["chrom", "start", "end"]]
        owners = [name for name, yes in zip(names, positive[several[0]], strict=True) if yes]
        raise ChromTransferError(
            f"tasks: {len(several)} windows are positive in several tasks, e.g. {chrom}:{start}-{end} in "
            f"{' and '.join(owners)}. With `exclusive` a window may be positive in one task only: correct the "
            "files, or leave `exclusive` out."
        )


def _joined(positive: np.ndarray, names: Sequence[str]) -> list[str]:
    kinds, kind = np.unique(positive, axis=0, return_inverse=True)
    texts = ["+".join(name for name, yes in zip(names, row, strict=True) if yes) or NO_TASK for row in kinds]
    return [texts[number] for number in kind.ravel()]
