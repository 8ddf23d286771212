"""Stores whose hypothetical scores are made, not computed: planted motifs, so that what is to be found is known."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from chromtransfer_plugin.attribution.store import AttributionStore, Piece, write_store
from chromtransfer_plugin.onehot import one_hot

LENGTH, START, STEP = 300, 1000, 1000  # bp of a window, first place, and from window to window


class Planted(NamedTuple):
    """A store, and per window the start of its site in the window and whether it is on the minus strand."""

    store: AttributionStore
    at: np.ndarray
    minus: np.ndarray


def write_codes(
    path: Path, codes, scores, hypothetical=None, method="deep-lift-shap", models=("m",), sets=None
):
    """A store of windows on chr1; scores (n, models, L), hypothetical (n, models, 4, L) or None."""
    n, length = codes.shape
    start = START + STEP * np.arange(n)
    sets = ["s"] * n if sets is None else sets
    table = pd.DataFrame({"set": sets, "chrom": "chr1", "start": start, "end": start + length})
    facts = {
        "method": method, "objective": "logit", "models": [{"name": name} for name in models], "window": length,
        "sets": [{"name": name} for name in dict.fromkeys(sets)], "hypothetical": hypothetical is not None,
        "genome": None, "settings": {},
    }  # fmt: skip
    write_store(path, facts, table.assign(name="", label=""), [Piece(codes, scores, hypothetical)])
    return AttributionStore(path)


def plant(
    path: Path, matrix: np.ndarray, n: int = 150, sign: int = 1, seed: int = 0, method="deep-lift-shap"
) -> Planted:
    """One site of a motif per window, half on either strand; scores are its log odds at the site, and noise.

    ``sign`` -1: the site lowers the output. ISM scores (not the hypothetical ones) are of opposite sign.
    """
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, LENGTH)).astype(np.uint8)
    at = rng.integers(60, LENGTH - 60 - len(matrix), n)
    minus = rng.random(n) < 0.5
    odds = np.log2((matrix + 0.01) / 1.04 / 0.25)
    hypothetical = rng.normal(0, 0.02, (n, 4, LENGTH))
    for row in range(n):
        site = np.array([rng.choice(4, p=p) for p in matrix])
        codes[row, at[row] : at[row] + len(matrix)] = 3 - site[::-1] if minus[row] else site
        values = odds[::-1, ::-1] if minus[row] else odds
        hypothetical[row, :, at[row] : at[row] + len(matrix)] += sign * values.T
    scores = (hypothetical * one_hot(codes)).sum(axis=1)
    scores = -scores if method == "ism" else scores
    as_piece = (data[:, None].astype(np.float32) for data in (scores, hypothetical))
    return Planted(write_codes(path, codes, *as_piece, method=method), at, minus)
