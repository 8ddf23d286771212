"""Recurring patterns in attributions: TF-MoDISco (modisco-lite) on the hypothetical scores of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.motifs.seqlets import window_places
from chromtransfer_plugin.motifs.threads import torch_threads_kept
from chromtransfer_plugin.motifs.tomtom import core
from chromtransfer_plugin.onehot import one_hot

PATTERN_SEQLET_COLUMNS = ("pattern", "region", "chrom", "start", "end", "strand", "attribution")
MAX_SEQLETS = 20_000  # of either sign; modisco-lite's own
MIN_SEQLETS = 100  # modisco-lite clusters more than so many of one sign
MIN_WINDOW = 80  # bp; a seqlet is 41 bp wide and its neighbours are suppressed


@dataclass(frozen=True)
class Pattern:
    """One pattern.

    Attributes
    ----------
    name : str
        ``pos.0``, ``pos.1`` ... raise the output, ``neg.0`` ... lower it; numbered by falling number of seqlets.
    pwm : ndarray, shape (length, 4)
        Probabilities of A, C, G, T among the seqlets; rows sum to 1.
    cwm : ndarray, shape (length, 4)
        Mean contribution of each base where it occurs; above 0 raises the output.
    hypothetical : ndarray, shape (length, 4)
        Mean hypothetical score of each base.
    seqlets : DataFrame
        Columns ``PATTERN_SEQLET_COLUMNS``: region (row of the store), chrom, start and end (0-based, half-open), strand
        (on which it reads as the pattern), attribution (sum of contributions over its bases).
    """

    name: str
    pwm: NDArray[np.float64]
    cwm: NDArray[np.float64]
    hypothetical: NDArray[np.float64]
    seqlets: pd.DataFrame

    @property
    def core(self) -> tuple[int, int]:
        """First and end column of the informative part, which is matched, written to MEME and drawn."""
        return core(self.pwm)


def discover_patterns(
    store: AttributionStore,
    model: str,
    *,
    sets: str | Sequence[str] | None = None,
    window: int | None = None,
    max_seqlets: int = MAX_SEQLETS,
    hdf5: str | Path | None = None,
) -> list[Pattern]:
    """Cluster the stretches of high attribution of one model into patterns.

    Nothing is random: all random choices of modisco-lite have fixed seeds.

    Parameters
    ----------
    store : AttributionStore
        With hypothetical scores, in which bases that raise the output are positive whatever the method was.
    model : str
        A name in ``store.models``.
    sets : str or sequence of str, optional
        Sets whose windows to use, each place once; None: all.
    window : int, optional
        Use the central base pairs of each window only; None: all of it.
    max_seqlets : int
        Most seqlets of either sign to cluster; time grows faster than their number.
    hdf5 : str or path, optional
        Also write modisco-lite's own file, e.g. for ``modisco report``; its examples are the windows in the order of
        ``store.rows(sets)``, its places count from the first base used.

    Returns
    -------
    list of Pattern
        Those that raise the output first.

    Raises
    ------
    ChromTransferError
        If modisco-lite is not installed, the store holds no hypothetical scores, or there is too little to cluster.
    """
    modisco, save = require_modisco()
    rows = store.rows(sets)
    first, last = clustered_part(store, window, max_seqlets)
    what = f"{store.path}: '{model}', {len(rows)} windows"
    # modisco-lite wants (N, L, 4) float32, contiguous
    hypothetical = _channels_last(store.hypothetical(model, rows)[:, :, first:last])
    letters = _channels_last(one_hot(store.codes(rows)[:, first:last]))
    if not np.isfinite(hypothetical).all():
        raise ChromTransferError(f"{what}: hypothetical scores are not finite; compute the store again.")
    if not (letters * hypothetical).any():
        raise ChromTransferError(f"{what}: there is nothing to cluster, no base has a score other than 0.")
    too_few = (
        f"{what}: too few seqlets to cluster (TF-MoDISco needs more than {MIN_SEQLETS} that raise the output, or "
        "lower it). Use more windows."
    )
    try:
        with torch_threads_kept():
            found = modisco(letters, hypothetical, max_seqlets_per_metacluster=max_seqlets)
    except (ValueError, IndexError, ZeroDivisionError, FloatingPointError) as error:
        raise ChromTransferError(f"{too_few} modisco-lite says: {error}") from error
    if all(part is None for part in found):
        raise ChromTransferError(too_few)
    places = window_places(store, rows).assign(region=rows)
    patterns = [
        _pattern(f"{sign}.{number}", one, places, first)
        for sign, part in zip(("pos", "neg"), found, strict=True)
        for number, one in enumerate(part or [])
    ]
    if not patterns:
        raise ChromTransferError(
            f"{what}: no seqlets recur often enough to make a pattern. Use more windows."
        )
    if hdf5 is not None:
        with atomic_path(hdf5) as temporary:
            save(str(temporary), *found, last - first)
    return patterns


def pattern_seqlets(patterns: Sequence[Pattern]) -> pd.DataFrame:
    """The places of the seqlets of all patterns, sorted by pattern, region and start."""
    return pd.concat([pattern.seqlets for pattern in patterns], ignore_index=True)


def require_modisco() -> tuple[Any, Any]:
    """Give modisco-lite's TFMoDISco and save_hdf5, or raise and say how to install it."""
    try:
        from modiscolite.tfmodisco import TFMoDISco
    except ImportError as error:
        raise ChromTransferError(
            "TF-MoDISco is not installed: pip install 'chromtransfer-plugin[modisco]'. Seqlets alone need no more: "
            "`chromtransfer motifs discover --seqlets-only`."
        ) from error
    from modiscolite.io import save_hdf5

    return TFMoDISco, save_hdf5


def clustered_part(store: AttributionStore, window: int | None, max_seqlets: int) -> tuple[int, int]:
    """First and end base of the part of each window that is used; raise for unusable options of discover_patterns."""
    if isinstance(max_seqlets, bool) or max_seqlets <= MIN_SEQLETS:
        raise ChromTransferError(
            f"max_seqlets={max_seqlets!r}: expected more than {MIN_SEQLETS}; fewer are never clustered."
        )
    if window is None:
        return 0, store.window
    if isinstance(window, bool) or not MIN_WINDOW <= window <= store.window:
        raise ChromTransferError(
            f"window={window!r}: expected {MIN_WINDOW} to {store.window} bp, the store's window."
        )
    first = (store.window - window) // 2
    return first, first + window


def _channels_last(data: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(data.transpose(0, 2, 1), dtype=np.float32)


def _pattern(name: str, found: Any, places: pd.DataFrame, first: int) -> Pattern:
    """Translate a SeqletSet of modisco-lite; ``first`` is where its windows begin in ours."""
    example, start, end, minus, total = (
        np.array([get(one) for one in found.seqlets])
        for get in (
            lambda one: one.example_idx, lambda one: one.start, lambda one: one.end, lambda one: one.is_revcomp,
            lambda one: one.contrib_scores.sum(),
        )
    )  # fmt: skip
    offset = places["start"].to_numpy()[example] + first
    seqlets = pd.DataFrame(
        {
            "pattern": name,
            "region": places["region"].to_numpy()[example],
            "chrom": places["chrom"].to_numpy()[example],
            "start": offset + start,
            "end": offset + end,
            "strand": np.where(minus.astype(bool), "-", "+"),
            "attribution": total.astype(np.float64),
        }
    ).sort_values(["region", "start"], kind="stable", ignore_index=True)
    counts = np.asarray(found.sequence, dtype=np.float64)
    known = counts.sum(axis=1, keepdims=True)
    pwm = np.divide(counts, known, out=np.full_like(counts, 0.25), where=known > 0)
    cwm, hypothetical = (
        np.asarray(m, dtype=np.float64) for m in (found.contrib_scores, found.hypothetical_contribs)
    )
    return Pattern(name, pwm, cwm, hypothetical, seqlets)
