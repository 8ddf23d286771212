"""Small attribution stores with sites of a known motif that model A scores and model B does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from motif_cases import SITE

from chromtransfer_plugin.attribution.store import AttributionStore, Piece, write_store

METHODS = ("gradient-x-input", "ism")
WIDTH, N = 200, 60
CONTIGS = {"chr1": 50_000, "chr2": 40_000}


def make_store(
    path: Path,
    *,
    method: str = METHODS[0],
    sign: float = 1.0,
    noise: float = 0.0,
    equal: bool = False,
    shuffle: bool = False,
    placed: bool = True,
    seed: int = 3,
    keep: slice = slice(None),
    identity: str = "genome one",
) -> AttributionStore:
    """60 windows on two contigs, every third with a site; 40 in the set "first", 30 in "second", ten in both.

    ``sign`` multiplies all scores, ``noise`` is added to them, ``equal`` gives both models the same scores, ``shuffle``
    another order of the windows, and ``keep`` chooses some of the 70 rows.
    """
    rng = np.random.default_rng(seed)
    # windows overlap their neighbours by half
    starts = 500 + np.arange(N) * WIDTH // 2
    places = [("chr1", int(start)) for start in starts[:35]] + [("chr2", int(start)) for start in starts[35:]]
    genome = {chrom: rng.integers(0, 4, 10_000).astype(np.uint8) for chrom in CONTIGS}
    read = {chrom: np.zeros(10_000) for chrom in CONTIGS}
    for chrom, start in places[::3]:
        for first in (start + 20, start + 150):
            genome[chrom][first : first + len(SITE)] = ["ACGT".index(letter) for letter in SITE]
            read[chrom][first : first + len(SITE)] = 2
    codes = np.array([genome[chrom][start : start + WIDTH] for chrom, start in places])
    scores = rng.normal(size=(N, 2, WIDTH))
    scores[:, 0] += [read[chrom][start : start + WIDTH] for chrom, start in places]
    if equal:
        scores[:, 1] = scores[:, 0]
    scores = sign * (scores + noise * rng.normal(size=scores.shape))
    rows = [(i, "first") for i in range(40)] + [(i, "second") for i in range(30, N)]
    if shuffle:
        rows = [rows[i] for i in rng.permutation(len(rows))]
    rows = rows[keep]
    number = [i for i, _ in rows]
    regions = pd.DataFrame(
        {
            "set": [name for _, name in rows],
            "chrom": [places[i][0] if placed else None for i in number],
            "start": pd.array([places[i][1] if placed else None for i in number], dtype="Int64"),
            "end": pd.array([places[i][1] + WIDTH if placed else None for i in number], dtype="Int64"),
            "name": [f"w{i:02}" for i in number],
            "label": "",
        }
    )
    facts = {
        "method": method,
        "objective": "logit",
        "models": [{"name": n, "output": n, "weights_sha256": n.lower() * 64} for n in ("A", "B")],
        "sets": [{"name": "first"}, {"name": "second"}],
        "window": WIDTH,
        "hypothetical": False,
        "genome": {"path": "genome.fa", "identity": identity, "contigs": CONTIGS} if placed else None,
    }
    write_store(path, facts, regions, [Piece(codes[number], scores[number].astype(np.float32), None)])
    return AttributionStore(path)
