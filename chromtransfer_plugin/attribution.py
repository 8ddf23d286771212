"""Gradient x input per base, the original attribution text format, and whether planted motifs were found."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.onehot import decode

if TYPE_CHECKING:
    import torch
    from torch import nn

Objective = Literal["logit", "probability"]

RECOVERY_WINDOW = 10  # bp, about one motif
RECOVERY_P = 0.01


def gradient_x_input(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    output: Objective = "logit",
    target: int = 0,
    batch_size: int = 64,
    device: str | None = None,
) -> NDArray[np.float32]:
    """Gradient of one model output with respect to the one-hot input, times that input, per base.

    It is the gradient at the observed base; a base that is N scores 0. This is tangermeme's ``saliency``
    without its gradient correction, as in the paper.

    Parameters
    ----------
    model : nn.Module
        Maps (B, 4, L) one-hot to (B, n_outputs) logits. Evaluated in inference mode; the training mode of
        every module, the device and parameter gradients are as before afterwards.
    sequences : array
        Base codes (N, L) uint8 or one-hot (N, 4, L), channel order A, C, G, T.
    output : {"logit", "probability"}
        What is differentiated. The paper used ``probability`` (sigmoid of the logit): its scores shrink by
        p (1 - p) where the model is confident, and vanish where it is certain. ``logit`` does not.
    target : int
        Which output.
    batch_size : int
        Sequences per backward pass; changes speed and memory only.
    device : str or None
        None runs where the model is; ``auto`` uses CUDA if present.

    Returns
    -------
    ndarray, shape (N, L), float32
        Summed over the four channels.

    Raises
    ------
    ChromTransferError
        If ``sequences`` is neither codes nor one-hot, the model lacks the output, or ``output`` is unknown.
    """
    import torch
    from tangermeme.saliency import saliency

    from chromtransfer_plugin.predict import as_one_hot

    if output not in get_args(Objective):
        raise ChromTransferError(
            f"gradient x input: output='{output}' is unknown, use 'logit' or 'probability'."
        )
    # int8 keeps a large set small; tangermeme casts each batch to the model's type.
    X = torch.cat([as_one_hot(part).to(torch.int8) for part in torch.as_tensor(sequences).split(4096)])
    if not len(X):
        return np.zeros((0, X.shape[2]), dtype=np.float32)

    def objective(logits: torch.Tensor) -> torch.Tensor:
        if not 0 <= target < logits.shape[1]:
            raise ChromTransferError(
                f"gradient x input: there is no target {target}, the model has {logits.shape[1]} output(s), "
                "counted from 0."
            )
        return torch.sigmoid(logits) if output == "probability" else logits

    # tangermeme restores only the outermost training flag, which would wake a frozen trunk; hence our own
    # context. It enters inference mode, in which there are no gradients, so that is lifted again.
    with evaluating(model, device) as where, torch.inference_mode(False):
        scores = saliency(
            model,
            X,
            target=target,
            batch_size=batch_size,
            gradient_correction=False,
            func=objective,
            device=where,
        )
    return scores.sum(dim=1).float().numpy()


def write_attributions(
    path: str | Path,
    regions: pd.DataFrame,
    sequences: NDArray[np.uint8],
    scores: NDArray[np.floating],
    decimals: int = 5,
) -> None:
    """Write scores in the original text format: header, sequence and scores, three lines per window.

    Parameters
    ----------
    path : str or Path
        Gzip-compressed if it ends in ``.gz``. The paper's files are called ``*.grad-x-input.gz``.
    regions : DataFrame
        Columns chrom, start, end (0-based half-open), one row per window; the header is
        ``>chrom:start-end``.
    sequences : ndarray, shape (N, L), uint8
        Base codes, written as upper-case letters.
    scores : ndarray, shape (N, L)
        One number per base.
    decimals : int
        The original has 5, which is coarse for probability gradients.

    Raises
    ------
    ChromTransferError
        If the shapes do not fit together, a score is not finite, or the file cannot be written.
    """
    if sequences.ndim != 2 or scores.shape != sequences.shape or len(regions) != len(sequences):
        raise ChromTransferError(
            f"{path}: expected as many regions as sequences and one score per base, got {len(regions)} "
            f"regions, sequences {sequences.shape} and scores {scores.shape}."
        )
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    headers = [f"{c}:{s}-{e}" for c, s, e in regions[["chrom", "start", "end"]].itertuples(index=False)]
    if len(broken):
        raise ChromTransferError(
            f"{path}: the scores of {headers[broken[0]]} are not finite; the model itself is broken."
        )
    rounded = np.round(scores.astype(np.float64), decimals) + 0.0  # adding 0 turns -0 into 0
    with atomic_path(path) as temporary, open(temporary, "wb") as raw:
        # No name and time in the gzip header: the same scores give the same bytes.
        zipped = gzip.GzipFile("", "wb", 9, raw, mtime=0) if str(path).endswith(".gz") else None
        handle = zipped or raw
        for header, codes, row in zip(headers, sequences, rounded, strict=True):
            numbers = " ".join(f"{value:.{decimals}f}" for value in row)
            handle.write(f">{header}\n{decode(codes)}\n{numbers}\n".encode("ascii"))
        if zipped is not None:
            zipped.close()


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
