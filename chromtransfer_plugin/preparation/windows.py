"""From region files to one table of distinct windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.region_text import Rows, parse_rows
from chromtransfer_plugin.region_windows import (
    PLACED,
    REASONS,
    Center,
    Judged,
    file_refusal,
    judge_rows,
)

INTERVAL = ["chrom", "start", "end"]


class RegionTables(NamedTuple):
    """What region files hold.

    Attributes
    ----------
    windows : DataFrame
        Distinct windows by place: ``chrom`` (category in the order of the contigs), ``start, end`` of the window,
        ``region_start, region_end`` (as the file gives the region) and ``name``.
    intervals : DataFrame
        ``chrom, start, end`` of every region as the file gives it, also of those without a usable window.
    """

    windows: pd.DataFrame
    intervals: pd.DataFrame


def read_intervals(
    written: str,
    genome: Genome,
    contigs: Mapping[str, int],
    width: int | None,
    center: Center,
    ledger: Ledger,
) -> tuple[Judged, NDArray[np.bool_], int]:
    """Read a region file; note the rows that cannot be used.

    Parameters
    ----------
    written : str
        The file as the YAML file names it.
    genome : Genome
    contigs : mapping of str to int
        Contigs to use; rows on others of the genome are left out without a note for each.
    width, center
        See :func:`chromtransfer_plugin.regions.read_regions`.
    ledger : Ledger

    Returns
    -------
    Judged, ndarray of bool, int
        The rows with their windows, which of them can be used, and how many are on contigs that are not used.

    Raises
    ------
    ChromTransferError
        If the file cannot be read, or none of its rows can be used.
    """
    path = ledger.path(written)
    rows = parse_rows(path, "auto", 0)
    if center == "summit" and rows.format != "narrowPeak":
        raise ChromTransferError(
            f"{path}: `center: summit` needs a narrowPeak file, this one was read as {rows.format}. "
            "Use `center: midpoint` or `auto`."
        )
    judged = judge_rows(rows, genome, width, center, drop_only_n=width is not None)
    refusal = file_refusal(path, judged, genome)
    if refusal is not None:
        raise refusal
    elsewhere = (rows.chrom.isin(list(genome.contigs)) & ~rows.chrom.isin(list(contigs))).to_numpy(bool)
    bad = np.flatnonzero(~judged.good & ~elsewhere)
    texts = rows.text(bad)
    ledger.drop(
        written,
        [
            (int(line), text, REASONS[reason])
            for line, text, reason in zip(rows.line[bad], texts, judged.reason[bad], strict=True)
        ],
    )
    return judged, judged.good & ~elsewhere, int(elsewhere.sum())


def region_windows(
    files: Sequence[str],
    genome: Genome,
    contigs: Mapping[str, int],
    width: int,
    center: Center,
    ledger: Ledger,
) -> RegionTables:
    """Read region files into distinct windows.

    Raises
    ------
    ChromTransferError
        If no window is left.
    """
    parts, intervals, n_read, n_elsewhere = [], [], 0, 0
    for written in files:
        ledger.say(f"reading regions: {written}")
        judged, use, elsewhere = read_intervals(written, genome, contigs, width, center, ledger)
        ledger.read("regions", written)
        parts.append(_table(judged, use, contigs))
        intervals.append(_intervals(judged))
        n_read += len(use)
        n_elsewhere += elsewhere
    table = pd.concat(parts, ignore_index=True)
    ledger.count("regions", "rows read", n_read)
    ledger.count("regions", "on the chosen chromosomes", n_read - n_elsewhere)
    ledger.count("regions", "that can be used (dropped.tsv lists the others)", len(table))
    return RegionTables(distinct_windows(table, ledger), pd.concat(intervals, ignore_index=True))


def _intervals(judged: Judged) -> pd.DataFrame:
    placed = np.isin(judged.reason, [REASONS.index(reason) for reason in PLACED])
    rows = judged.rows
    return pd.DataFrame(
        {"chrom": rows.chrom[placed].to_numpy(), "start": rows.start[placed], "end": rows.end[placed]}
    )


def _table(judged: Judged, use: NDArray[np.bool_], contigs: Mapping[str, int]) -> pd.DataFrame:
    rows: Rows = judged.rows
    return pd.DataFrame(
        {
            "chrom": pd.Categorical(rows.chrom[use], categories=list(contigs)),
            "start": judged.start[use],
            "end": judged.end[use],
            "region_start": rows.start[use],
            "region_end": rows.end[use],
            "name": rows.name[use].to_numpy(),
        }
    )


def distinct_windows(table: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Sort windows by place and keep one of each; the same whatever the order of the rows.

    Raises
    ------
    ChromTransferError
        If there are none.
    """
    if table.empty:
        reasons = Counter(reason for _, _, reason, _ in ledger.dropped)
        why = "".join(f"; {count:,} rows: {reason}" for reason, count in reasons.most_common())
        raise ChromTransferError(
            f"regions: none is left on the chosen chromosomes that can be used{why}. Are `chromosomes`, `width` and the "
            "assembly those of the regions?"
        )
    order = np.lexsort((table["start"], table["chrom"].cat.codes))
    table = table.iloc[order].reset_index(drop=True)
    twins = table.duplicated(INTERVAL, keep=False)
    if twins.any():
        # Which of several regions with one window stays must not depend on the order of the files.
        first = table[twins].sort_values([*INTERVAL, "region_start", "region_end", "name"])
        repeated = first.index[first.duplicated(INTERVAL)]
        table = table.drop(index=repeated).reset_index(drop=True)
    ledger.count("regions", "distinct windows", len(table))
    return table
