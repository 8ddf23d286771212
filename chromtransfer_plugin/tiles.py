"""Negative windows: tiles of the genome, away from regions that may be open."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE


def genome_tiles(
    genome: Genome,
    width: int = WINDOW,
    chromosomes: Collection[str] | None = None,
    known: bool = True,
    bar: Any = None,
) -> pd.DataFrame:
    """Non-overlapping tiles without any unknown base (paper, Methods: negatives of the pre-training).

    Parameters
    ----------
    genome : Genome
    width : int
        bp; tiles start at multiples of it.
    chromosomes : collection of str, optional
        Tile these alone.
    known : bool
        False keeps tiles with unknown bases and looks at no base, only at the contigs' lengths.
    bar : tqdm, optional
        Is moved on by the bases of each contig.

    Returns
    -------
    pandas.DataFrame
        ``chrom, start, end`` (0-based half-open), in genome order.
    """
    parts = []
    for chrom, length in genome.contigs.items():
        if chromosomes is not None and chrom not in chromosomes:
            continue
        starts = np.arange(0, length - width + 1, width)
        if known and len(starts):
            codes = genome.codes(chrom, 0, len(starts) * width)
            starts = starts[(codes != N_CODE).reshape(-1, width).all(axis=1)]
        if len(starts):
            parts.append(pd.DataFrame({"chrom": chrom, "start": starts, "end": starts + width}))
        if bar is not None:
            bar.update(length)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["chrom", "start", "end"])


def away_from(table: pd.DataFrame, others: Sequence[pd.DataFrame], gap: int = 0) -> np.ndarray:
    """Tell which windows lie at least ``gap`` bp from every region of the other tables.

    Takes seconds for millions of both.

    Parameters
    ----------
    table : pandas.DataFrame
        ``chrom, start, end``.
    others : sequence of pandas.DataFrame
        Tables with the same columns.
    gap : int
        A window exactly ``gap`` bp away is kept.

    Returns
    -------
    numpy.ndarray of bool
        One value per row of ``table``.
    """
    import pyranges

    keep = np.ones(len(table), dtype=bool)
    parts = [other[["chrom", "start", "end"]] for other in others if len(other)]
    if not parts or table.empty:
        return keep
    regions = pd.concat(parts, ignore_index=True)
    of_chrom = regions.groupby("chrom", observed=True).indices
    # A chromosome at a time: pyranges copies what it is given.
    for chrom, rows in table.groupby("chrom", observed=True).indices.items():
        if chrom not in of_chrom:
            continue
        here = regions.iloc[of_chrom[chrom]]
        widened = {"Start": (here["start"] - gap).clip(lower=0), "End": here["end"] + gap}
        windows = {
            "Start": table["start"].to_numpy()[rows],
            "End": table["end"].to_numpy()[rows],
            "row": rows,
        }
        near = _ranges(pyranges, windows).overlap(_ranges(pyranges, widened).merge())
        if len(near):
            keep[near.df["row"].to_numpy()] = False
    return keep


def _ranges(pyranges: Any, columns: dict[str, Any]) -> Any:
    return pyranges.PyRanges(pd.DataFrame({"Chromosome": "chrom", **columns}), int64=True)
