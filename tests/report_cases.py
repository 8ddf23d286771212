"""A small comparison whose every number is known, with names that would break a careless page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from chromtransfer_plugin.attribution.store import AttributionStore, Piece, write_store
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.motifs.enrichment import enrichment

WINDOWS, LENGTH = 40, 600
HOSTILE = "evil</script><script>document.title='owned'</script>"
SET = "set <b>&\"'"
MATRIX = np.array([[0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.5, 0.0]])
MOTIFS = ("high", "low", HOSTILE, "plain")
HG38_CHR1 = 248_956_422


def make_comparison(
    folder: Path, two: bool = True, how: str = "max", matrices: bool = True, sets: str = SET, seed: int = 3
) -> Comparison:
    """Four tested motifs of 40 sites each, one in every window, and a rare one that is not tested.

    Sites of "high" have high scores in A, those of "low" low ones; all else is noise. Window 5 has an N and a missing
    score, the last window has no site.
    """
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (WINDOWS, LENGTH)).astype(np.uint8)
    codes[5, 7] = 4
    scores = rng.normal(0, 0.1, (WINDOWS, 2, LENGTH)).astype(np.float32)
    starts = 1_000 + 1_000 * np.arange(WINDOWS)
    rows = []
    for window in range(WINDOWS - 1):
        for number, motif in enumerate((*MOTIFS, *(("rare",) if window == 1 else ()))):
            first = 50 + 100 * number + window
            if motif == "high":
                scores[window, 0, first : first + 10] += 1
            if motif == "low":
                scores[window, 0, first : first + 10] -= 1
            rows.append((window, starts[window] + first, "+-"[window % 2], motif))
    scores[5, 0, 9] = np.nan
    columns = ["region", "start", "strand", "motif"]
    hits = pd.DataFrame(rows, columns=columns).assign(chrom="chr1", score=10.0, p_value=1e-6)
    hits["end"] = hits["start"] + 10
    regions = pd.DataFrame({"set": sets, "chrom": "chr1", "start": starts, "end": starts + LENGTH})
    regions = regions.assign(name=[f"w{i}" for i in range(WINDOWS)], label=1.0)
    facts = {
        "method": "ism" if how == "min" else "gradient-x-input", "objective": "logit", "window": LENGTH,
        "models": [{"name": "A&B"}, {"name": "second"}], "sets": [{"name": sets}], "hypothetical": False,
        "genome": {"path": "/somewhere/hg38.fa", "identity": "x", "contigs": {"chr1": HG38_CHR1}},
    }  # fmt: skip
    write_store(folder / "store", facts, regions, [Piece(codes, scores, None)])
    store = AttributionStore(folder / "store")
    pick = np.max if how == "max" else np.min
    names = ["A&B", "second"] if two else ["A&B"]
    for model, name in enumerate(names):
        inside = (hits["start"] - starts[hits["region"]]).to_numpy()[:, None] + np.arange(10)
        hits[f"score.{name}.{how}"] = pick(
            scores[hits["region"].to_numpy()[:, None], model, inside].astype(float), axis=1
        )
    score_columns = [f"score.{name}.{how}" for name in names]
    if two:
        hits[f"score.diff.{how}"] = hits[score_columns[0]] - hits[score_columns[1]]
    table = enrichment(hits, score_columns[0], score_columns[1] if two else None, min_hits=20)
    focus = pd.DataFrame({"motif": ["high"], "reason": ["A&B highest"]})
    return Comparison(
        store, names[0], names[1] if two else None, store.rows(), regions[["chrom", "start", "end"]], hits, table,
        focus, dict.fromkeys(MOTIFS, MATRIX) if matrices else {}, how,
    )  # fmt: skip
