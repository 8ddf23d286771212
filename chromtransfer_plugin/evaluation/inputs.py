"""The labelled windows of one line: read, checked, put into genome order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.regions import labelled, read_regions, region_ids
from chromtransfer_plugin.splits import loci
from chromtransfer_plugin.targets import Labelled, used_once
from chromtransfer_plugin.tiles import away_from

KEY = ["chrom", "start", "end"]


@dataclass(frozen=True)
class LabelledWindows:
    """Windows of one file, each once, in genome order.

    Attributes
    ----------
    path : Path
    table : DataFrame
        ``chrom, start, end, label, y, locus``; N rows.
    codes : ndarray (N, L) uint8
    rows : DataFrame
        ``row, id, label``: all usable rows of the file, in file order, with repeated windows. ``row`` counts every row
        of the file from 0, unusable ones too.
    n_rows : int
        Rows of the file that are no comments.
    read : list of str
        What was read and dropped, in words.
    dropped : list of (int, str, str)
        Line number, text, reason.
    """

    path: Path
    table: pd.DataFrame
    codes: NDArray[np.uint8]
    rows: pd.DataFrame
    n_rows: int
    read: list[str]
    dropped: list[tuple[int, str, str]]

    @property
    def y(self) -> NDArray[np.int64]:
        """Labels (N,), 1 for open."""
        return self.table["y"].to_numpy(dtype=np.int64)

    @property
    def ids(self) -> pd.Series:
        """``chrom:start-end`` of each window."""
        return region_ids(self.table)


def read_labelled(
    path: str | Path,
    genome: Genome,
    positive: str,
    width: int,
    chromosomes: Sequence[str] = (),
    without: Sequence[str] = (),
) -> LabelledWindows:
    """Read the labelled windows of one line.

    Parameters
    ----------
    path : path
        BED, narrowPeak or ``chrom:start-end,label``.
    genome : Genome
    positive : str
    width : int
    chromosomes : sequence of str
        Keep only windows on these; empty for all.
    without : sequence of str
        Leave out windows on these.

    Raises
    ------
    ChromTransferError
        If the file is unusable, a window has contradictory labels, or only one class is left.
    """
    regions = read_regions(path, genome=genome, width=width)
    table, report = regions.table, regions.report
    lines = np.sort([*table["source_line"], *(line for line, _, _ in report.dropped)])
    rows = pd.DataFrame(
        {
            "row": np.searchsorted(lines, table["source_line"]),
            "id": region_ids(table),
            "label": table["label"],
        }
    )
    read = report.summary().splitlines()
    y = labelled(regions, positive).astype(np.int8)
    keep = _on(path, table, chromosomes, without, read)
    table, y = table[keep].reset_index(drop=True), y[keep]
    once, note = used_once(Labelled(table, y[:, None]))
    read += note.split("\n")[1:]
    table, y = once.table, once.targets[:, 0]
    _check_classes(path, table, y, positive)
    order = np.lexsort((table["start"].to_numpy(), genome.contig_index(table["chrom"].to_numpy())))
    table = table[[*KEY, "label"]].assign(y=y).iloc[order].reset_index(drop=True)
    codes = genome.extract(table["chrom"].to_numpy(), table["start"].to_numpy(), width)
    return LabelledWindows(
        Path(path), table.assign(locus=loci(table)), codes, rows, len(lines), read, list(report.dropped)
    )


def _on(
    path: str | Path, table: pd.DataFrame, chromosomes: Sequence[str], without: Sequence[str], read: list[str]
) -> NDArray[np.bool_]:
    """Tell which windows lie where they may (N,), and add to what was ``read`` how many do."""
    keep = np.ones(len(table), dtype=bool)
    for names, wanted in ((chromosomes, True), (without, False)):
        if not names:
            continue
        keep &= table["chrom"].isin(list(names)).to_numpy() == wanted
        where = f"{'' if wanted else 'not '}on {', '.join(names)}"
        read.append(f"{keep.sum()} of {len(keep)} windows lie {where}")
        if not keep.any():
            found = ", ".join(sorted(set(table["chrom"]))[:30])
            raise ChromTransferError(
                f"{path}: of {len(keep)} windows none lies {where} (--test-chromosome); they lie on {found}."
            )
    return keep


def _check_classes(path: str | Path, table: pd.DataFrame, y: NDArray[np.integer], positive: str) -> None:
    n, n_positive = len(y), int(y.sum())
    if 0 < n_positive < n:
        return
    counts = ", ".join(f"{label} {count}" for label, count in table["label"].value_counts().items())
    raise ChromTransferError(
        f"{path}: {n_positive} windows are positive ('{positive}') and {n - n_positive} negative ({counts}): both classes "
        "are needed. Add windows of the other one, name another --positive label, or choose other --test-chromosome."
    )


def free_of_tests(train: LabelledWindows, tests: Mapping[str, LabelledWindows]) -> NDArray[np.bool_]:
    """Tell which training windows overlap no test window of any line (N,)."""
    return away_from(train.table, [test.table for test in tests.values()])


def check_free(train: LabelledWindows, free: NDArray[np.bool_]) -> None:
    """Raise if the training windows that overlap no test window are not of both classes."""
    n, n_positive = int(free.sum()), int(train.y[free].sum())
    if not 0 < n_positive < n:
        raise ChromTransferError(
            f"{train.path}: {len(free) - n} of {len(free)} training windows overlap test windows; of the other {n}, "
            f"{n_positive} are positive: baselines need both classes. Name other windows with --train, or divide the file "
            "by --test-chromosome."
        )
