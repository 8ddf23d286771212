"""Two simulated cell lines with windows to train and to test on, and what else the tests of `evaluate` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

WINDOW = 600
LINES = ("alpha", "beta")
# Positives of the two lines differ in composition (A, C, G, T), negatives are even: 6-mers can tell, imperfectly.
COMPOSITION = {
    "alpha": (0.2, 0.3, 0.3, 0.2),
    "beta": (0.28, 0.22, 0.22, 0.28),
    "neg": (0.25, 0.25, 0.25, 0.25),
}
TINY = {"width": 0.05, "head": [8]}
QUICK = {"batch_size": 16, "max_epochs": 1}


class Case(NamedTuple):
    """A folder with ``genome.fa``, ``{line}.train.csv`` and ``{line}.test.csv``."""

    folder: Path

    @property
    def options(self) -> dict:
        return {
            "genome": self.folder / "genome.fa",
            "test": f"{self.folder}/{{line}}.test.csv",
            "lines": LINES,
            "resamples": 20,
            "device": "cpu",
        }

    @property
    def train(self) -> str:
        return f"{self.folder}/{{line}}.train.csv"

    def test_rows(self, line: str = "alpha") -> list[str]:
        return (self.folder / f"{line}.test.csv").read_text().splitlines()


def make_case(folder: Path, n_train: int = 90, n_test: int = 40) -> Case:
    """Write genome and windows: per chromosome, windows every 700 bp whose kind alternates at random."""
    rng = np.random.default_rng(3)
    sequence: dict[str, list[str]] = {}
    rows: dict[str, list[str]] = {}
    for chrom, part, n in (("chr1", "train", n_train), ("chr2", "test", n_test)):
        letters = rng.choice(list("ACGT"), size=700 * n + 120_000)
        places = np.arange(n) * 700 + np.arange(n) * 6 // n * 15_000  # six loci
        kinds = rng.permutation(np.arange(n) % 4)
        for start, kind in zip(places.tolist(), kinds.tolist(), strict=True):
            region = f"{chrom}:{start}-{start + WINDOW}"
            owner = LINES[kind] if kind < 2 else "neg"
            letters[start : start + WINDOW] = rng.choice(list("ACGT"), size=WINDOW, p=COMPOSITION[owner])
            for line in LINES:
                if owner != "neg":
                    label = line if owner == line else f"{line}_NEG"
                else:
                    label = "Negative" if kind == 2 else f"{line}_NEG"
                rows.setdefault(f"{line}.{part}.csv", []).append(f"{region},{label}")
        sequence[chrom] = ["".join(letters)]
    (folder / "genome.fa").write_text(
        "".join(f">{name}\n{text[0]}\n" for name, text in [*sequence.items(), ("chr3", ["N" * 2_000])])
    )
    for name, lines in rows.items():
        write_rows(folder / name, lines)
    return Case(folder)


def write_rows(path: Path, rows: Sequence[str]) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def write_scores_csv(path: Path, rows: Sequence[str], scores: Sequence[float]) -> Path:
    """Write region,score for rows ``region,label``."""
    pairs = zip(rows, scores, strict=True)
    return write_rows(path, ["region,score", *(f"{row.split(',')[0]},{score!r}" for row, score in pairs)])
