"""The original's attribution files: three lines of text per window."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.onehot import decode


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
