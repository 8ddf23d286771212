"""What the tests of Selene's analyses share: variants of every kind, Selene's classes, and our numbers."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from kipoi_cases import BASES

from chromtransfer_plugin import variants
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.predict import predict_logits
from chromtransfer_plugin.selene import AnalyzeSequences
from chromtransfer_plugin.selene import Genome as SeleneGenome
from chromtransfer_plugin.selene.model import ChromTransfer, ChromTransferProbability

OUTPUTS = ["open", "other"]
ARCHITECTURE = {"width": 0.125, "head": [16], "head_bn": False, "n_outputs": 2}
SAVED = ["predictions", "diffs", "abs_diffs", "logits"]


def make_analyses(folder: Path) -> list[AnalyzeSequences]:
    """Selene's class with probabilities, and with logits, of the checkpoint and the genome in a folder."""
    made = []
    for network in (
        ChromTransferProbability(activation="sigmoid", **ARCHITECTURE),
        ChromTransfer(**ARCHITECTURE),
    ):
        reference = SeleneGenome(str(folder / "genome.fa"))
        made.append(
            AnalyzeSequences(
                network, str(folder / "model"), reference_sequence=reference, device="cpu", batch_size=7
            )
        )
    return made


def write_vcf(
    path: Path, rows: list[tuple], header: str = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
) -> Path:
    lines = ("\t".join(map(str, (*row, ".", ".", "."))) + "\n" for row in rows)
    path.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n" + header + "".join(lines)
    )
    return path


def other_base(base: str, *more: str) -> str:
    return next(letter for letter in BASES if letter not in (base, *more))


def draw(text: dict[str, str], kind: str, rng: np.random.Generator) -> tuple:
    """A variant of one kind at a random place, as far left as it can be written."""
    chrom = str(rng.choice(list(text)))
    while True:
        pos = int(rng.integers(320, len(text[chrom]) - 400))
        ref = text[chrom][pos - 1 : pos + 4]
        if "N" not in ref:
            break
    if kind == "snv":
        return chrom, pos, "snv", ref[0], other_base(ref[0])
    if kind.startswith("mnv"):
        length = int(kind[3:])
        return chrom, pos, kind, ref[:length], "".join(map(other_base, ref[:length]))
    if kind.startswith("ins"):
        # The last inserted base is not the one before it, so the insertion cannot be written further left.
        added = "".join(rng.choice(list(BASES), int(kind[3:]) - 1)) + other_base(ref[0])
        return chrom, pos, kind, ref[0], ref[0] + added
    if kind == "multi":
        return chrom, pos, kind, ref[0], f"{other_base(ref[0])},{ref[0] + other_base(ref[0])}"
    raise AssertionError(kind)


def saved(folder: Path, name: str) -> np.ndarray:
    with h5py.File(folder / f"{name}.h5") as file:
        return file["data"][:]


def ours(vcf: Path, genome: Path, model) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Table of alleles, and logits of reference and alternative windows on the plus strand."""
    opened = Genome(genome)
    table = variants.read_variants(vcf, opened).table
    logits = [
        predict_logits(model, variants.allele_windows(opened, table, which)) for which in ("ref", "alt")
    ]
    return table, *logits


def mutants(scores: np.ndarray, sequence: str, first: int) -> list[tuple[int, str, str, float]]:
    """Rows as Selene writes them from differences (4, positions) of ours."""
    return [
        (first + i, sequence[first + i], base, scores[b, i])
        for i in range(scores.shape[1])
        for b, base in enumerate(BASES)
        if base != sequence[first + i]
    ]
