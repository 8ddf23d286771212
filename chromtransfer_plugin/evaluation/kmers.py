"""The floor that a network must beat: a logistic regression on 6-mer counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

C = 1e-4  # inverse strength of the ridge penalty
MAX_ITERATIONS = 500
_CHUNK = 4096  # windows counted at once


def kmer_features(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Square roots of the counts of canonical 6-mers.

    Parameters
    ----------
    codes : ndarray (N, L) uint8
        Base codes; words with an unknown base do not count.

    Returns
    -------
    ndarray (N, 2080) float32
    """
    import torch

    from chromtransfer_plugin.models.motif_trunk import KmerCounts

    counter = KmerCounts()
    with torch.inference_mode():
        parts = [
            counter.of_codes(torch.from_numpy(np.ascontiguousarray(codes[start : start + _CHUNK]))).sqrt()
            for start in range(0, len(codes), _CHUNK)
        ]
    return torch.cat(parts).numpy() if parts else np.zeros((0, counter.n_features), np.float32)


def fit_kmer_regression(codes: NDArray[np.uint8], y: NDArray[np.int64]) -> Pipeline:
    """Fit a ridge-penalised logistic regression on standardised 6-mer features.

    Parameters
    ----------
    codes : ndarray (N, L) uint8
    y : ndarray (N,)
        0 and 1, both present.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=MAX_ITERATIONS))
    return model.fit(kmer_features(codes), y)


def kmer_scores(model: Pipeline, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Probabilities (N,) of being open."""
    probability: NDArray[np.float64] = model.predict_proba(kmer_features(codes))[:, 1]
    return probability.astype(np.float64)
