"""``chromtransfer dataset split`` and ``leaks``: region files for training and testing, and what these share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import SEED, TEST_CHROMOSOMES, WINDOW
from chromtransfer_plugin.dataset import Files, paths
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import (
    atomic_folder,
    atomic_path,
    check_result_folder,
    files_of,
    remove_leftovers,
)
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.homology import SHARE, WORD, homology_clusters
from chromtransfer_plugin.leaks import RECORD, TABLE, LeakReport, find_leaks, write_leaks
from chromtransfer_plugin.regions import read_regions, region_ids, write_csv
from chromtransfer_plugin.splits import By, by_chromosome, k_folds, validation_mask

SPLIT_TABLE = "split.tsv"
_PLACE = ["chrom", "start", "end"]


class SplitResult(NamedTuple):
    """What was written.

    Attributes
    ----------
    table : DataFrame
        ``chrom, start, end, label, file, split, fold``: one row per region read; ``split`` is ``train``, ``test`` or
        ``dropped``, ``fold`` is -1 but for ``train``.
    leaks : LeakReport
        Of the test windows against the training windows.
    report : str
        Rows read, windows in each part, and the verdict on leaks, as lines.
    """

    table: pd.DataFrame
    leaks: LeakReport
    report: str


def split_regions(
    regions: Files,
    out: str | Path,
    genome: str | Path | None = None,
    *,
    by: By = "chromosome",
    test: Sequence[str] = (),
    test_share: float | None = None,
    folds: int = 3,
    width: int = WINDOW,
    seed: int = SEED,
) -> SplitResult:
    """Divide labelled regions into training and test files, and the training regions into folds.

    Parameters
    ----------
    regions : path or list of paths
        BED, narrowPeak or the paper's CSV; a window that is in several files is on the same side in all of them.
    out : path
        Folder to write: ``train/NAME.csv``, ``test/NAME.csv``, ``folds/0/NAME.csv`` ... for each file, ``split.tsv``,
        ``leaks.json`` and ``leaks.tsv``.
    genome : path, optional
        FASTA. Needed by homology; without, leaks are told by place alone.
    by : {"chromosome", "locus", "homology"}
        What no two folds share. By homology, training windows that share sequence with a test window are dropped.
    test : sequence of str
        Chromosomes that test; by default chr2 and chr3, as in the paper, unless there is a ``test_share``.
    test_share : float, optional
        Instead of ``test``: whole groups of ``by``, drawn at random, that hold this share of the windows.
    folds : int
    width : int
        Of the windows that the regions become.
    seed : int

    Returns
    -------
    SplitResult

    Raises
    ------
    ChromTransferError
        If a file is bad, a part would be empty, or sequences are needed and there is no genome.
    """
    folder = Path(out)
    _check_output(folder)
    if by == "homology" and genome is None:
        raise ChromTransferError("dataset split: --by homology compares sequences: name the FASTA, --genome.")
    if test and test_share is not None:
        raise ChromTransferError("dataset split: give test chromosomes, --test, or --test-share, not both.")
    opened = None if genome is None else Genome(genome)
    rows, lines = _read(paths(regions), opened, width)
    windows = rows.drop_duplicates(_PLACE)[_PLACE].sort_values(_PLACE).reset_index(drop=True)
    codes = _codes(windows, opened, width)
    split = _sides(windows, codes, by, test or TEST_CHROMOSOMES, test_share, seed)
    fold = np.full(len(windows), -1)
    train = split == "train"
    fold[train] = k_folds(windows[train], folds, by, seed=seed, codes=None if codes is None else codes[train])
    rows = rows.merge(windows.assign(split=split, fold=fold), on=_PLACE, how="left")
    test_rows = split == "test"
    report, leaks = find_leaks(
        windows[train],
        windows[test_rows],
        None if codes is None else codes[train],
        None if codes is None else codes[test_rows],
    )
    counts = [f"{name} {int((split == name).sum())}" for name in ("train", "test", "dropped")]
    sizes = ", ".join(map(str, np.bincount(fold[train], minlength=folds)))
    lines += [f"windows: {', '.join(counts)}; folds by {by}: {sizes}", report.verdict()]
    remove_leftovers(folder)
    with atomic_folder(folder) as new:
        _write(new, rows, folds)
        write_leaks(report, leaks, new)
    return SplitResult(rows, report, "\n".join(lines))


def leak_files(
    train: Files,
    test: Files,
    out: str | Path,
    genome: str | Path | None = None,
    *,
    width: int = WINDOW,
    k: int = WORD,
    share: float = SHARE,
) -> tuple[LeakReport, str]:
    """Compare test files with training files, and write ``leaks.json`` and ``leaks.tsv`` into a folder.

    Parameters
    ----------
    train, test : path or list of paths
        Region files; windows that occur again count once.
    out : path
        Folder: new, empty, or an earlier result.
    genome : path, optional
        FASTA; without, places alone are compared.
    width, k, share
        Of the windows; see :func:`~chromtransfer_plugin.leaks.find_leaks`.

    Returns
    -------
    LeakReport, str
        And the first test windows that are training windows, in words; empty if there are none.
    """
    folder = Path(out)
    check_result_folder(folder, RECORD, lambda entry: entry.name in {RECORD, TABLE})
    opened = None if genome is None else Genome(genome)
    sides = [
        _read(paths(files), opened, width)[0].drop_duplicates(_PLACE)[_PLACE].reset_index(drop=True)
        for files in (train, test)
    ]
    codes = [_codes(side, opened, width) for side in sides]
    report, table = find_leaks(sides[0], sides[1], codes[0], codes[1], k=k, share=share)
    remove_leftovers(folder)
    with atomic_folder(folder) as new:
        write_leaks(report, table, new)
    return report, _examples(table)


def _check_output(folder: Path) -> None:
    """Raise if a split may not be written there; an earlier one holds parts of the files that its table names."""

    def is_ours(entry: Path) -> bool:
        if entry.name in (SPLIT_TABLE, RECORD, TABLE):
            return entry.is_file()
        try:
            names = set(pd.read_csv(folder / SPLIT_TABLE, sep="\t", usecols=["file"], dtype=str)["file"])
        except (OSError, ValueError):
            return False
        parts = entry.name in ("train", "test", "folds")
        return parts and all(path.name in {f"{name}.csv" for name in names} for path in files_of(entry))

    check_result_folder(folder, SPLIT_TABLE, is_ours)


def _examples(table: pd.DataFrame) -> str:
    identical = region_ids(table[table["identical"]])
    if identical.empty:
        return ""
    more = f" and {len(identical) - 3} more" if len(identical) > 3 else ""
    return f"In training and test: {', '.join(identical.iloc[:3])}{more}."


def _read(files: list[str | Path], genome: Genome | None, width: int) -> tuple[pd.DataFrame, list[str]]:
    """Read all files into one table with a column ``file``, and a line on each."""
    if not files:
        raise ChromTransferError("dataset: no region file is named.")
    names = [_name(path) for path in files]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ChromTransferError(
            f"dataset: two files are called {twice[0]}: what is written is called like them. Rename one."
        )
    tables, lines = [], []
    for path, name in zip(files, names, strict=True):
        read = read_regions(path, genome=genome, width=width)
        tables.append(read.table[[*_PLACE, "label"]].assign(file=name))
        lines.append(read.report.summary())
    return pd.concat(tables, ignore_index=True), lines


def _name(path: str | Path) -> str:
    name = Path(path).name
    for ending in (".gz", ".bgz", ".csv", ".bed", ".narrowPeak"):
        name = name.removesuffix(ending)
    return name


def _codes(windows: pd.DataFrame, genome: Genome | None, width: int) -> NDArray[np.uint8] | None:
    return None if genome is None else genome.extract(windows["chrom"], windows["start"], width)


def _sides(
    windows: pd.DataFrame,
    codes: NDArray[np.uint8] | None,
    by: By,
    test: Sequence[str],
    test_share: float | None,
    seed: int,
) -> NDArray[np.str_]:
    """Say of each window whether it trains, tests, or is dropped."""
    if test_share is not None:
        chosen = validation_mask(windows, test_share, by, seed=seed, codes=codes)
        return np.where(chosen, "test", "train")
    split = by_chromosome(windows, test)
    if by == "homology" and codes is not None:
        cluster = homology_clusters(codes)
        alike = np.isin(cluster, cluster[split == "test"]) & (split == "train")
        split = np.where(alike, "dropped", split)
    return split


def _write(folder: Path, rows: pd.DataFrame, folds: int) -> None:
    for name, table in rows.groupby("file", sort=False):
        parts = {"train": table["split"] == "train", "test": table["split"] == "test"}
        parts |= {f"folds/{fold}": table["fold"] == fold for fold in range(folds)}
        for part, chosen in parts.items():
            if not chosen.any():  # an empty region file would be refused by whoever reads it
                continue
            (folder / part).mkdir(parents=True, exist_ok=True)
            write_csv(table[chosen], folder / part / f"{name}.csv")
    with atomic_path(folder / SPLIT_TABLE) as temporary:
        rows.to_csv(temporary, sep="\t", index=False)
