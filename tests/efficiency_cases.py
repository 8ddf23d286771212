"""A small genome whose open windows are rich in G and C, for the tests of data efficiency."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WIDTH = 60
NETWORK = {"head": [8], "dropout": 0}
SETTINGS = {"lr": 0.05, "batch_size": 8, "max_epochs": 6}


def write_data(folder: Path, n_train: int = 120, n_test: int = 60, seed: int = 3) -> dict[str, Path]:
    """Write a genome of short contigs, two windows (one locus) on each, and the two CSV files."""
    rng = np.random.default_rng(seed)
    genome, rows = [], []
    for number in range((n_train + n_test) // 2):
        letters = ""
        for k in range(2):
            y = int(rng.random() < 0.4)
            p = [0.1, 0.4, 0.4, 0.1] if y else [0.4, 0.1, 0.1, 0.4]
            letters += "".join(rng.choice(list("ACGT"), WIDTH, p=p))
            rows.append(f"c{number}:{k * WIDTH}-{(k + 1) * WIDTH},{'OPEN' if y else 'CLOSED'}\n")
        genome.append(f">c{number}\n{letters}\n")
    files = {
        name: folder / f"{name}.{end}" for name, end in (("genome", "fa"), ("train", "csv"), ("test", "csv"))
    }
    files["genome"].write_text("".join(genome))
    files["train"].write_text("".join(rows[:n_train]))
    files["test"].write_text("".join(rows[n_train:]))
    return files


def without_seconds(path: Path) -> str:
    """The record's text but for what a clock says."""
    record = json.loads(path.read_text())
    for draw in record["draws"]:
        draw["seconds"] = 0
    return json.dumps(record)
