"""Negative windows: tiles of the genome, away from regions that may be open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE


def genome_tiles(genome: Genome, width: int = WINDOW) -> pd.DataFrame:
    """Non-overlapping tiles without any unknown base (paper, Methods: negatives of the pre-training).

    Parameters
    ----------
    genome : Genome
    width : int
        bp; tiles start at multiples of it.

    Returns
    -------
    pandas.DataFrame
        ``chrom, start, end`` (0-based half-open), in genome order.
    """
    parts = []
    for chrom, length in genome.contigs.items():
        starts = np.arange(0, length - width + 1, width)
        if len(starts) == 0:
            continue
        known = (genome.codes(chrom)[: len(starts) * width].reshape(-1, width) != N_CODE).all(axis=1)
        starts = starts[known]
        parts.append(pd.DataFrame({"chrom": chrom, "start": starts, "end": starts + width}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["chrom", "start", "end"])


def away_from(table: pd.DataFrame, others: Sequence[pd.DataFrame], gap: int = 0) -> np.ndarray:
    """Tell which windows lie at least ``gap`` bp from every region of the other tables.

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
    columns = [other[["chrom", "start", "end"]] for other in others if len(other)]
    if not columns or table.empty:
        return keep
    regions = pd.concat(columns, ignore_index=True)
    names = {"chrom": "Chromosome", "start": "Start", "end": "End"}
    windows = table[["chrom", "start", "end"]].rename(columns=names).assign(row=np.arange(len(table)))
    widened = regions.assign(start=(regions["start"] - gap).clip(lower=0), end=regions["end"] + gap)
    near = pyranges.PyRanges(windows).overlap(pyranges.PyRanges(widened.rename(columns=names)))
    if len(near):
        keep[near.df["row"].to_numpy()] = False
    return keep
