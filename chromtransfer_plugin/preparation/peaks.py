"""Peak files: which regions they cover, and the regions they agree on where no region file is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.config import DatasetConfig
from chromtransfer_plugin.preparation.contigs import contig_counts
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.preparation.signal import lacking_contigs
from chromtransfer_plugin.preparation.windows import INTERVAL, RegionTables, distinct_windows, read_intervals
from chromtransfer_plugin.region_text import Rows
from chromtransfer_plugin.region_windows import Center

_NAMES = {"chrom": "Chromosome", "start": "Start", "end": "End"}
_SIGNAL_VALUE = 6  # column of a narrowPeak, from 0
_APART = -1  # pyranges: intervals that only touch are not one


class Peaks(NamedTuple):
    """A peak file.

    Attributes
    ----------
    table : DataFrame
        ``chrom`` (category), ``start``, ``end``, ``summit`` (place in the genome) and ``score``; by place.
    contigs : dict of str to int
        Contigs of the file with the number of its rows.
    n_overlapping : int
        Peaks that overlap an earlier one of the file.
    is_sorted : bool
        As the file has them.
    """

    table: pd.DataFrame
    contigs: dict[str, int]
    n_overlapping: int
    is_sorted: bool


def read_peaks(
    written: str, genome: Genome, contigs: Mapping[str, int], ledger: Ledger, center: Center = "auto"
) -> Peaks:
    """Read a BED or narrowPeak file of peaks in any order.

    Raises
    ------
    ChromTransferError
        If it cannot be read, is no narrowPeak and ``center`` is ``summit``, or none of its rows is usable.
    """
    judged, use, _ = read_intervals(written, genome, contigs, None, center, ledger)
    rows = judged.rows
    middle = (rows.start + rows.end) // 2
    inside = (rows.summit >= 0) & (rows.summit < rows.end - rows.start)
    table = pd.DataFrame(
        {
            "chrom": pd.Categorical(rows.chrom[use], categories=list(contigs)),
            "start": rows.start[use],
            "end": rows.end[use],
            "summit": np.where(inside, rows.start + rows.summit, middle)[use],
            "score": _scores(rows)[use],
        }
    )
    number = pd.factorize(table["chrom"])[0]
    steps = np.diff(table["start"].to_numpy())
    is_sorted = bool((np.diff(number) >= 0).all() and (steps[np.diff(number) == 0] >= 0).all())
    order = np.lexsort((table["end"], table["start"], table["chrom"].cat.codes))
    table = table.iloc[order].reset_index(drop=True)
    n_overlapping = len(table) - len(merged(table, _APART))
    return Peaks(
        table,
        {str(name): int(count) for name, count in rows.chrom.value_counts().items()},
        n_overlapping,
        is_sorted,
    )


def _scores(rows: Rows) -> NDArray[np.float64]:
    """Signal value of a narrowPeak (its score is often cut off at 1000, or 0), else the score."""
    if rows.format != "narrowPeak":
        return np.nan_to_num(rows.score, nan=0.0)
    cells = pd.Series(rows.text(np.arange(len(rows.line)))).str.split().str[_SIGNAL_VALUE]
    return np.nan_to_num(pd.to_numeric(cells, errors="coerce").to_numpy(np.float64), nan=0.0)


def merged(table: pd.DataFrame, slack: int = 0) -> pd.DataFrame:
    """Unite overlapping intervals (those that touch, too, unless ``slack`` is -1); by place."""
    import pyranges

    if table.empty:
        return table[list(_NAMES)]
    plain = table[list(_NAMES)].rename(columns=_NAMES).astype({"Chromosome": "str"})
    united = pyranges.PyRanges(plain).merge(slack=slack).df
    united = united.rename(columns={new: old for old, new in _NAMES.items()})[list(_NAMES)]
    united["chrom"] = pd.Categorical(united["chrom"].astype("str"), categories=table["chrom"].cat.categories)
    order = np.lexsort((united["start"], united["chrom"].cat.codes))
    return united.iloc[order].reset_index(drop=True)


def covered_bases(table: pd.DataFrame, peaks: pd.DataFrame) -> NDArray[np.int64]:
    """Count the bases of each region that peaks cover.

    Parameters
    ----------
    table : DataFrame
        ``chrom`` (category), ``start``, ``end``; n rows.
    peaks : DataFrame
        As :func:`merged` gives them, of the same categories.

    Returns
    -------
    ndarray (n,) int64
    """
    import pyranges

    count = np.zeros(len(table), dtype=np.int64)
    if table.empty or peaks.empty:
        return count
    regions, covers = (
        one[list(_NAMES)].rename(columns=_NAMES).astype({"Chromosome": "str"}) for one in (table, peaks)
    )
    regions["row"] = np.arange(len(table))
    common = pyranges.PyRanges(regions, int64=True).intersect(pyranges.PyRanges(covers, int64=True))
    if len(common):
        found = common.df
        np.add.at(count, found["row"].to_numpy(), (found["End"] - found["Start"]).to_numpy(np.int64))
    return count


def check_peak_contigs(
    written: str, peaks: Peaks, table: pd.DataFrame, choice: str, ledger: Ledger
) -> list[str]:
    """Give the contigs with regions that a peak file lacks; see :func:`.signal.lacking_contigs`."""
    return lacking_contigs(ledger.path(written), peaks.contigs, contig_counts(table), choice)


def consensus_windows(
    config: DatasetConfig,
    peaks: Mapping[str, Peaks],
    genome: Genome,
    contigs: Mapping[str, int],
    ledger: Ledger,
) -> RegionTables:
    """Make one region of each cluster of overlapping peaks of all lines.

    Parameters
    ----------
    config : DatasetConfig
    peaks : mapping of str to Peaks
        By file.
    genome, contigs, ledger
        As for :func:`.windows.region_windows`.

    Returns
    -------
    RegionTables
        As :func:`.windows.region_windows` gives; the window is around the summit of the cluster's peak with the highest
        signal value (score in a BED), the region is the whole cluster.
    """
    import pyranges

    table = pd.concat([one.table for one in peaks.values()], ignore_index=True)
    ledger.count("regions", "peaks of all lines", len(table))
    plain = table.rename(columns=_NAMES).astype({"Chromosome": "str"})
    table = pyranges.PyRanges(plain).cluster(slack=_APART).df
    table = table.rename(columns={new: old for old, new in _NAMES.items()})
    table["chrom"] = pd.Categorical(table["chrom"].astype("str"), categories=list(contigs))
    ends = table.groupby("Cluster").agg(region_start=("start", "min"), region_end=("end", "max"))
    best = table.sort_values(
        ["Cluster", "score", "start", "end", "summit"], ascending=[True, False, True, True, True]
    )
    best = best.drop_duplicates("Cluster").set_index("Cluster").join(ends)
    ledger.count("regions", "clusters of overlapping peaks", len(best))
    centre = (
        best["summit"] if config.center != "midpoint" else (best["region_start"] + best["region_end"]) // 2
    )
    best["start"] = centre - config.width // 2
    best["end"] = best["start"] + config.width
    intervals = best[["chrom", "region_start", "region_end"]].set_axis(INTERVAL, axis=1)
    best = best.assign(name="")[["chrom", "start", "end", "region_start", "region_end", "name"]]
    inside = (best["start"] >= 0) & (best["end"] <= best["chrom"].astype("str").map(contigs).astype("int64"))
    for row in best[~inside].itertuples():
        text = f"{row.chrom}:{row.region_start}-{row.region_end}"
        ledger.drop("clusters of peaks", [(0, "window reaches off the contig", text)])
    best = best[inside]
    names = best["chrom"].astype("str").to_numpy()
    known = ~genome.only_n(names, best["start"].to_numpy(), best["end"].to_numpy())
    ledger.count("regions", "with a window on the contig and known bases", int(known.sum()))
    return RegionTables(distinct_windows(best[known], ledger), intervals)
