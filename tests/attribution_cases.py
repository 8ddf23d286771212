"""Small stores of known numbers that the attribution tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

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


# Not sorted; rows 0, 1 and 3 overlap, row 2 is row 0 again.
PLACES = [
    ("a", "chr2", 110),
    ("a", "chr2", 100),
    ("a", "chr2", 110),
    ("a", "chr2", 119),
    ("a", "chr1", 980),
    ("b", "chr10", 0),
    ("b", "chr2", 115),
    ("b", "chr2", 300),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "s"
    whole = make_store(folder, PLACES, hypothetical=True)
    return folder, whole


@pytest.fixture(scope="module")
def unplaced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "s"
    return folder, make_store(folder, [("a", None, None), ("b", "chr1", 5), ("b", None, None)], genome=None)


def once(name: str) -> list[int]:
    """Rows of a set, each place once."""
    return [row for row, place in enumerate(PLACES) if place[0] == name and place not in PLACES[:row]]


def brute_force(scores, rows) -> dict[str, np.ndarray]:
    """Mean score of every base, NaN where there is no window."""
    found = {}
    for name, length in CONTIGS.items():
        total, count = np.zeros(length), np.zeros(length)
        for row in rows:
            _, chrom, start = PLACES[row]
            if chrom == name:
                total[start : start + WINDOW] += scores[row]
                count[start : start + WINDOW] += 1
        found[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
