"""Negative windows: tiles of the genome, away from regions that may be open."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    number, names = pd.factorize(table["chrom"].astype("str"))
    starts: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.int64]] = []
    for other in others:
        place = pd.Index(names).get_indexer(other["chrom"].astype("str"))
        for column, found in (("start", starts), ("end", ends)):
            found.append(np.stack([place, other[column].to_numpy(np.int64)], axis=1)[place >= 0])
    if not len(table) or not any(len(found) for found in starts):
        return np.ones(len(table), dtype=bool)
    first, last = np.concatenate(starts), np.concatenate(ends)
    # Chromosomes laid end to end, further apart than any gap: then two sorted lists tell how many regions
    # begin before a window's end, and how many of them have ended before it begins.
    span = int(max(last[:, 1].max(), table["end"].max())) + 2 * gap + 1
    begun = np.sort(first[:, 0] * span + first[:, 1])
    over = np.sort(last[:, 0] * span + last[:, 1])
    base = number.astype(np.int64) * span
    n_begun = np.searchsorted(begun, base + table["end"].to_numpy(np.int64) + gap, side="left")
    n_over = np.searchsorted(over, base + table["start"].to_numpy(np.int64) - gap, side="right")
    return n_begun == n_over
