"""What the tests of streaming prediction share: tiny models, a genome whose text is known, files to score."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from kipoi_cases import encode_by_hand, make_checkpoint, make_genome

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.predict import predict_logits, probabilities

LINES = ("A549", "K562", "HEPG2")
ROWS = [  # line of the BED, and its window or None
    ("chr1\t100\t700\tK562\t7\t+", ("chr1", 100, 700)),
    ("chr2\t4000\t4500\tK562", ("chr2", 3950, 4550)),
    ("chr9\t5\t600\tx", None),
    ("chr1\t1000\t1601\tneg", ("chr1", 1000, 1600)),
    ("chr1\tz\t4\tx", None),
    ("chr2\t2200\t2800\tneg", None),
    ("chr1\t10\t20\tneg", None),
    ("chr2\t2600\t3200\tneg\t0\t-", ("chr2", 2600, 3200)),  # two thirds N
    ("chr1\t100\t700\tneg", ("chr1", 100, 700)),  # again
    ("chr1\t999999999999999999\t999999999999999999\tx", None),
    ("chr1\t99999999999999999\t999999999999999999\tx", None),
    ("chr1\t2900\t3100\tneg", ("chr1", 2700, 3300)),  # half of it in lower case
]
REASONS = {
    3: "contig is not in the genome",
    5: "start or end is not a whole number",
    6: "window holds nothing but N",
    7: "window reaches off the contig",
    10: "start is not before end",
    11: "window reaches off the contig",
}


class World(NamedTuple):
    """A folder with models K562 (one output) and multi (three, softmax), a genome and a BED; and the genome's text."""

    folder: Path
    genome: Path
    bed: Path
    text: dict[str, str]

    @property
    def binary(self) -> Path:
        return self.folder / "K562"

    @property
    def multi(self) -> Path:
        return self.folder / "multi"


def make_world(folder: Path) -> World:
    make_checkpoint(folder / "K562")
    make_checkpoint(folder / "multi", LINES, "softmax", seed=3)
    text = make_genome(folder / "genome.fa")
    bed = folder / "regions.bed"
    bed.write_text("".join(line + "\n" for line, _ in ROWS))
    return World(folder, folder / "genome.fa", bed, text)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHROMTRANSFER_CACHE", str(folder / "cache"))
        yield make_world(folder)


def expected(model: Path, texts: list[str], both_strands: bool = False) -> np.ndarray:
    """Probabilities of each text alone, from its own one-hot."""
    network, card = load_model(model)
    rows = [
        predict_logits(network, encode_by_hand(text)[None], both_strands=both_strands)[0] for text in texts
    ]
    return probabilities(np.array(rows), card.activation)


def window_texts(world: World, rows=ROWS) -> list[str]:
    windows = [window for _, window in rows if window is not None]
    return [world.text[chrom][start:end] for chrom, start, end in windows]


def read_table(path: Path, separator: str = "\t") -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter=separator))


def numbers(rows: list[dict[str, str]], *columns: str) -> np.ndarray:
    return np.array([[float(row[column] or "nan") for column in columns] for row in rows])
