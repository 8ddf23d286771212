"""Seqlets: short stretches of a window whose attribution stands out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.threads import torch_threads_kept
from chromtransfer_plugin.motifs.tomtom import match_patterns
from chromtransfer_plugin.onehot import one_hot

SEQLET_COLUMNS = ("region", "chrom", "start", "end", "strand", "attribution", "p_value")
THRESHOLD = 0.01  # tangermeme's
_BLOCK = 20_000  # windows; 600 bp each are 48 MB
_ANNOTATE_BLOCK = 2_000  # seqlets matched with all motifs at once


def find_seqlets(
    store: AttributionStore,
    model: str,
    rows: NDArray[np.int64] | None = None,
    *,
    threshold: float = THRESHOLD,
    min_length: int = 4,
    max_length: int = 25,
    block: int = _BLOCK,
    progress: bool = False,
) -> pd.DataFrame:
    """Find the stretches that raise or lower a model's output with tangermeme's recursive seqlet caller.

    Every stretch of ``min_length`` or more bases inside a seqlet has a P below the threshold. P is the share of sums as
    large if the bases of all windows of a block were drawn at random; it ranks seqlets and is no error rate.
    Stretches that lower the output are called on the negated scores. One that overlaps another of the other sign with a
    smaller P is dropped.

    Parameters
    ----------
    store : AttributionStore
    model : str
        A name in ``store.models``.
    rows : ndarray of int64
        Windows (rows of the store); None: all, each place once.
    threshold : float
        Largest P, above 0 and at most 0.5.
    min_length, max_length : int
        Bases.
    block : int
        Windows read at a time. Each block has its own distribution of scores, so P changes a little with it.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        Columns ``SEQLET_COLUMNS``, sorted by region and start: region (row of the store), chrom, start and end
        (0-based, half-open; for a sequence without a place its name and places in it), strand (always "."),
        attribution (sum over the bases, above 0 if they raise the output, also where the store is of in-silico
        mutagenesis, whose important bases have negative scores) and p_value.

    Raises
    ------
    ChromTransferError
        If the model or an option is unusable, or a score is not finite.
    """
    if not 0 < threshold <= 0.5:
        raise ChromTransferError(f"threshold={threshold!r}: expected a P-value above 0 and at most 0.5.")
    if not 2 <= min_length <= max_length <= store.window or block < 1:
        raise ChromTransferError(
            f"seqlets: min_length={min_length}, max_length={max_length}, block={block}: expected lengths of 2 to the "
            f"window's {store.window} bp, the first not above the second, and at least 1 window in a block."
        )
    store.model_number(model)
    rows = store.rows() if rows is None else np.asarray(rows, dtype=np.int64)
    places = window_places(store, rows)
    sign = importance_sign(store)
    from tqdm import tqdm

    parts = []
    with tqdm(total=len(rows), desc=f"seqlets {model}", unit="window", disable=not progress) as bar:
        for first in range(0, len(rows), block):
            scores = sign * store.scores(model, rows[first : first + block])
            if not np.isfinite(scores).all():
                at = rows[first + int((~np.isfinite(scores)).any(axis=1).argmax())]
                raise ChromTransferError(
                    f"{store.path}: row {at} has a score of '{model}' that is not finite."
                )
            part = _call(scores, threshold, min_length, max_length)
            parts.append(part.assign(window=part["window"] + first))
            bar.update(len(scores))
    found = pd.concat(parts, ignore_index=True) if parts else _call(np.zeros((0, 1)), 0.01, 2, 2)
    window = found["window"].to_numpy(np.int64)
    start = places["start"].to_numpy()[window]
    table = pd.DataFrame(
        {
            "region": rows[window],
            "chrom": places["chrom"].to_numpy()[window].astype(str),
            "start": start + found["start"].to_numpy(np.int64),
            "end": start + found["end"].to_numpy(np.int64),
            "strand": ".",
            "attribution": found["attribution"].to_numpy(np.float64),
            "p_value": found["p_value"].to_numpy(np.float64),
        }
    )
    return table.sort_values(["region", "start"], kind="stable", ignore_index=True)


def annotate_seqlets(
    seqlets: pd.DataFrame,
    store: AttributionStore,
    motifs: Mapping[str, NDArray[Any]],
    flank: int = 4,
) -> pd.DataFrame:
    """Add to each seqlet the motif its letters are most like: columns motif, motif_strand and motif_p.

    Parameters
    ----------
    seqlets : DataFrame
        From :func:`find_seqlets`.
    store : AttributionStore
        The same.
    motifs : mapping of str to ndarray (length, 4)
        As :func:`chromtransfer_plugin.motifs.read_motifs` gives them.
    flank : int
        Bases compared to the left and right of a seqlet, inside the window; callers cut seqlets short.

    Returns
    -------
    DataFrame
        A copy. ``motif_p`` is TOMTOM's, not adjusted for the number of motifs: a single sequence says too little for an
        adjusted one, so read it as a rank.
    """
    if flank < 0:
        raise ChromTransferError(f"flank={flank!r}: expected a number of bases.")
    offset = window_places(store, seqlets["region"].to_numpy(np.int64))["start"].to_numpy()
    low = np.maximum(seqlets["start"].to_numpy() - offset - flank, 0)
    high = np.minimum(seqlets["end"].to_numpy() - offset + flank, store.window)
    motif, strand, p = [], [], []
    for first in range(0, len(seqlets), _ANNOTATE_BLOCK):
        part = slice(first, first + _ANNOTATE_BLOCK)
        letters = one_hot(store.codes(seqlets["region"].to_numpy(np.int64)[part])).astype(float)
        letters += (letters.sum(axis=1, keepdims=True) == 0) / 4  # an unknown base: any
        words = {
            str(i): letters[i, :, a:b].T for i, (a, b) in enumerate(zip(low[part], high[part], strict=True))
        }
        best = match_patterns(words, motifs, trim=False, n_best=1)
        motif += best["motif"].tolist()
        strand += best["strand"].tolist()
        p += best["p_value"].tolist()
    return seqlets.assign(motif=motif, motif_strand=strand, motif_p=p)


def window_places(store: AttributionStore, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Say where windows lie, chrom and start; a sequence without a place is its own contig, under its name."""
    table = store.regions.iloc[rows]
    absent = table["chrom"].isna().to_numpy(bool)
    chrom = np.where(absent, table["name"].astype(str), table["chrom"].astype(str))
    start = np.where(absent, 0, table["start"].fillna(0).to_numpy(np.int64))
    return pd.DataFrame({"chrom": chrom, "start": start.astype(np.int64)})


def importance_sign(store: AttributionStore) -> int:
    """-1 for in-silico mutagenesis, whose scores of the bases that raise the output are negative; else 1."""
    return -1 if store.facts["method"] == "ism" else 1


def _call(scores: NDArray[Any], threshold: float, shortest: int, longest: int) -> pd.DataFrame:
    """Seqlets of both signs in (n, L) scores: window, start, end, attribution, p_value."""
    from tangermeme.seqlet import recursive_seqlets

    parts = []
    for sign in (1, -1):
        if not len(scores) or not scores.any():
            break
        with torch_threads_kept():
            found = recursive_seqlets(
                (sign * scores).astype(np.float64), threshold, min_seqlet_len=shortest, max_seqlet_len=longest
            )
        found = found.rename(columns={"example_idx": "window", "p-value": "p_value"})
        parts.append(found.assign(attribution=sign * found["attribution"]))
    if not parts:
        names = ("window", "start", "end", "attribution", "p_value")
        return pd.DataFrame({name: np.zeros(0) for name in names})
    raising, lowering = parts
    return pd.concat(
        [
            raising[~_beaten(raising, lowering, scores.shape, np.less)],
            lowering[~_beaten(lowering, raising, scores.shape, np.less_equal)],
        ],
        ignore_index=True,
    )


def _beaten(
    seqlets: pd.DataFrame, others: pd.DataFrame, shape: tuple[int, ...], less: np.ufunc
) -> NDArray[np.bool_]:
    """Whether a seqlet shares a base with one of ``others`` (apart from each other) whose P is ``less``."""
    if not len(seqlets):
        return np.zeros(0, dtype=bool)
    p = np.full(shape, np.inf, dtype=np.float64)
    window, base, owner = _bases(others)
    p[window, base] = others["p_value"].to_numpy()[owner]
    window, base, owner = _bases(seqlets)
    least = np.minimum.reduceat(p[window, base], np.searchsorted(owner, np.arange(len(seqlets))))
    return np.asarray(less(least, seqlets["p_value"].to_numpy()))


def _bases(seqlets: pd.DataFrame) -> tuple[NDArray[np.int64], ...]:
    """Of every base of every seqlet: window, place in it and number of the seqlet."""
    window, start, end = (seqlets[name].to_numpy(np.int64) for name in ("window", "start", "end"))
    owner = np.repeat(np.arange(len(seqlets)), end - start)
    first = np.cumsum(end - start) - (end - start)
    return window[owner], start[owner] + np.arange(len(owner)) - first[owner], owner
