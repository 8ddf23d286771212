"""Small stores of known numbers that the attribution tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chromtransfer_plugin.attribution.store import Piece, write_store

WINDOW = 20
CONTIGS = {"chr1": 1000, "chr2": 500, "chr10": 300}
MODELS = ("K562", "HEPG2")


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "method": "gradient-x-input",
        "objective": "logit",
        "models": [{"name": name, "output": name, "weights_sha256": "0" * 64} for name in MODELS],
        "sets": [{"name": "a", "path": "a.bed"}, {"name": "b", "path": "b.bed"}],
        "window": WINDOW,
        "hypothetical": False,
        "genome": {"path": "genome.fa", "identity": "g1", "contigs": CONTIGS},
        "settings": {},
        **changes,
    }


def regions(places: list[tuple[str, str | None, int | None]]) -> pd.DataFrame:
    """Rows of (set, chrom, start); names are w0, w1, ..."""
    table = pd.DataFrame(places, columns=["set", "chrom", "start"]).astype({"start": "Int64"})
    names = [f"w{row}" for row in range(len(places))]
    return table.assign(end=table["start"] + WINDOW, name=names, label="")


def piece(n: int, seed: int = 0, hypothetical: bool = False) -> Piece:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, (n, WINDOW)).astype(np.uint8)
    scores = rng.normal(size=(n, len(MODELS), WINDOW)).astype(np.float32)
    scores *= (codes < 4)[:, None]
    every = rng.normal(size=(n, len(MODELS), 4, WINDOW)).astype(np.float32) if hypothetical else None
    return Piece(codes, scores, every)


def make_store(folder: Path, places: list[tuple[str, str | None, int | None]], **changes: Any) -> Piece:
    """Write a store in two pieces; return what is in it."""
    whole = piece(len(places), hypothetical=bool(changes.get("hypothetical")))
    half = len(places) // 2

    def cut(part: slice) -> Piece:
        return Piece(*(None if field is None else field[part] for field in whole))

    write_store(folder, facts(**changes), regions(places), [cut(slice(half)), cut(slice(half, None))])
    return whole
