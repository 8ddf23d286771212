"""Which windows a page shows, and their scores in few bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.onehot import decode

LEVELS = 32_767  # of a 16-bit number; -32,768 stands for a missing score
_BLOCK = 2048  # windows read at once; two models take 10 MB


def window_totals(comparison: Comparison) -> NDArray[np.float64]:
    """Add up the attribution of each window, reading the scores once and in blocks.

    Returns
    -------
    ndarray of float64, shape (N, 1) or (N, 3)
        Sum over the bases of |A|; with two models also of |B| and of |A - B|. A missing score counts as 0.
    """
    store, rows = comparison.store, comparison.rows
    totals = np.zeros((len(rows), len(comparison.names)))
    for first in range(0, len(rows), _BLOCK):
        block = slice(first, first + _BLOCK)
        scores = [store.scores(comparison.a, rows[block]).astype(np.float64)]
        if comparison.b is not None:
            scores.append(store.scores(comparison.b, rows[block]).astype(np.float64))
            scores.append(scores[0] - scores[1])
        totals[block] = np.nansum(np.abs(np.stack(scores, axis=1)), axis=2)
    return totals


def quantise(scores: NDArray[np.float32]) -> tuple[float, str]:
    """Give a step and whole numbers of 16 bits (base64, little-endian); their product is off by half a step at most."""
    known = np.abs(scores[~np.isnan(scores)].astype(np.float64))
    step = float(known.max()) / LEVELS if known.size and known.max() > 0 else 1.0
    levels = np.where(
        np.isnan(scores), -LEVELS - 1, np.round(np.nan_to_num(scores).astype(np.float64) / step)
    )
    return step, base64.b64encode(levels.astype("<i2").tobytes()).decode("ascii")


def describe_windows(
    comparison: Comparison,
    chosen: Sequence[int],
    totals: NDArray[np.float64],
    place: NDArray[np.int64],
    motif_numbers: dict[str, int],
) -> list[dict[str, Any]]:
    """Give each chosen window with its sequence, scores and sites.

    Parameters
    ----------
    comparison : Comparison
    chosen : sequence of int
        Numbers of windows (rows of ``comparison.regions``).
    totals : ndarray, shape (N, 1) or (N, 3)
        Of :func:`window_totals`.
    place : ndarray of int64, shape (N,)
        Place of each window in the order of the page's criterion, from 1.
    motif_numbers : dict of str to int
        The page's numbers of motifs. Motifs that are new get the next ones.

    Returns
    -------
    list of dict
        In the order of ``chosen``. ``sites`` are flat: motif number, first base, end (both counted from the window's
        start, half-open) and strand (1, -1 or 0) of each.
    """
    store = comparison.store
    numbers = np.asarray(chosen, dtype=np.int64)
    rows = comparison.rows[numbers]
    codes = store.codes(rows)
    models = [comparison.a] if comparison.b is None else [comparison.a, comparison.b]
    scores = [store.scores(model, rows) for model in models]
    sets = store.regions["set"].to_numpy()[rows]
    regions = comparison.regions.iloc[numbers]
    places = zip(
        regions["chrom"].astype(str), regions["start"].tolist(), regions["end"].tolist(), strict=True
    )
    sites = _sites(comparison, numbers)
    described = []
    for i, (chrom, first, last) in enumerate(places):
        packed = [quantise(of_model[i]) for of_model in scores]
        flat: list[int] = []
        for motif, start, end, strand in sites.get(int(numbers[i]), ()):
            number = motif_numbers.setdefault(motif, len(motif_numbers))
            flat += [number, start - first, end - first, strand]
        described.append(
            {
                "chrom": chrom,
                "start": first,
                "end": last,
                "set": str(sets[i]),
                "place": int(place[numbers[i]]),
                "totals": [float(f"{total:.3g}") for total in totals[numbers[i]]],
                "sequence": decode(codes[i]),
                "steps": [step for step, _ in packed],
                "scores": [text for _, text in packed],
                "sites": flat,
            }
        )
    return described


def _sites(comparison: Comparison, numbers: NDArray[np.int64]) -> dict[int, list[tuple[str, int, int, int]]]:
    """Sites by the number of their window, in the order of the genome."""
    hits = comparison.hits[["region", "start", "end", "motif", "strand"]]
    hits = hits[hits["region"].isin(numbers)].sort_values(["region", "start", "end"], kind="stable")
    strands = hits["strand"].astype(str).map({"+": 1, "-": -1}).fillna(0).astype(int)
    columns = [hits["motif"].astype(str), hits["start"], hits["end"], strands]
    found: dict[int, list[tuple[str, int, int, int]]] = {}
    for region, motif, start, end, strand in zip(hits["region"], *columns, strict=True):
        found.setdefault(int(region), []).append((motif, int(start), int(end), int(strand)))
    return found


def choose_windows(order: NDArray[np.int64], top: int, linked: pd.Series, most_linked: int) -> list[int]:
    """Give the first ``top`` windows of an order, then at most ``most_linked`` others that sites are linked to."""
    chosen = dict.fromkeys(order[:top].tolist())
    for number in linked:
        if len(chosen) >= min(top, len(order)) + most_linked:
            break
        chosen.setdefault(int(number))
    return list(chosen)
