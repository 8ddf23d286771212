"""Whether attributions point at known sites, such as the planted ones of a simulation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError

RECOVERY_WINDOW = 10  # bp, about one motif
RECOVERY_P = 0.01


class Recovery(NamedTuple):
    """How well attributions point at known sites. See :func:`motif_recovery`.

    Attributes
    ----------
    n_windows : int
        Windows with a site; the others are left out.
    auroc : float
        Mean over windows of the AUROC with which |score| separates site bases from the other bases.
    top_share : float
        Share of windows whose 10 bp with the largest summed |score| overlap a site.
    top_expected : float
        The same for 10 bp chosen at random.
    p_value : float
        One-sided binomial test of ``top_share`` against ``top_expected``.
    recovered : bool
        ``p_value < 0.01`` and ``auroc > 0.5``.
    """

    n_windows: int
    auroc: float
    top_share: float
    top_expected: float
    p_value: float
    recovered: bool


def motif_recovery(scores: NDArray[np.floating], planted: NDArray[np.bool_]) -> Recovery:
    """State whether attributions recover planted motif sites.

    Parameters
    ----------
    scores : ndarray, shape (N, L)
        Attributions per base; the sign is ignored.
    planted : ndarray, shape (N, L), bool
        Bases that belong to a site.

    Returns
    -------
    Recovery

    Raises
    ------
    ChromTransferError
        If the shapes differ or no window has both site bases and other bases.
    """
    from scipy.stats import binomtest
    from sklearn.metrics import roc_auc_score

    if scores.ndim != 2 or scores.shape != planted.shape or scores.shape[1] < RECOVERY_WINDOW:
        raise ChromTransferError(
            "motif_recovery: expected scores and planted of one shape (N, L) with "
            f"L >= {RECOVERY_WINDOW}, got {scores.shape} and {planted.shape}."
        )
    usable = planted.any(axis=1) & ~planted.all(axis=1)
    if not usable.any():
        raise ChromTransferError(
            "motif_recovery: no window has both bases inside and bases outside of a site."
        )
    magnitude, inside = np.abs(scores[usable]), planted[usable]
    aurocs = [roc_auc_score(y, value) for y, value in zip(inside, magnitude, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view
    mass = view(magnitude, RECOVERY_WINDOW, axis=1).sum(axis=2)
    touches = view(inside, RECOVERY_WINDOW, axis=1).max(axis=2)
    hits = touches[np.arange(len(mass)), mass.argmax(axis=1)]
    auroc, expected = float(np.mean(aurocs)), float(touches.mean())
    p_value = float(binomtest(int(hits.sum()), len(hits), expected, alternative="greater").pvalue)
    return Recovery(
        n_windows=len(hits),
        auroc=auroc,
        top_share=float(hits.mean()),
        top_expected=expected,
        p_value=p_value,
        recovered=p_value < RECOVERY_P and auroc > 0.5,
    )
