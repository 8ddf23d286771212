"""Tiny models, a genome and tables of placed variants that the tests of the scorer share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from kipoi_cases import make_checkpoint

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.prediction.names import NamedModel, choose_models
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.placing import place
from chromtransfer_plugin.variants.scorer import Scorer, Scores, Settings

WIDTH = 120
Variant = tuple[str, int, str, str]  # contig, 1-based position, REF, ALT


def models(folder: Path, n: int = 2, outputs: Sequence[str] = ("open",), **settings) -> list[NamedModel]:
    paths = [
        make_checkpoint(folder / f"m{seed}{''.join(outputs)}", tuple(outputs), seed=seed, **settings)
        for seed in range(1, n + 1)
    ]
    return choose_models(paths)


def single(model: NamedModel) -> Predictor:
    return Predictor(model.name, (model,), model.columns)


def write_genome(path: Path, contigs: dict[str, str]) -> Genome:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    return Genome(path, cache_dir=path.parent)


def random_text(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def placed(genome: Genome, variants: Sequence[Variant]) -> pd.DataFrame:
    """The columns that the scorer reads."""
    rows = [(v[0], *place(genome, *v), False) for v in variants]
    return pd.DataFrame(rows, columns=["chrom", "start", "old", "new", "slide", "swapped"])


def score(
    predictors: Sequence[Predictor],
    genome: Genome,
    table: pd.DataFrame,
    cache: Path | None = None,
    **settings,
) -> Scores:
    return score_counted(predictors, genome, table, cache, **settings)[0]


def score_counted(
    predictors: Sequence[Predictor],
    genome: Genome,
    table: pd.DataFrame,
    cache: Path | None = None,
    **settings,
) -> tuple[Scores, Scorer]:
    scorer = Scorer(predictors, genome, Settings(**{"width": WIDTH, "device": "cpu", **settings}), cache)
    with scorer.ready():
        return scorer.score(table), scorer


def snvs(genome: Genome, chrom: str, starts: Sequence[int]) -> pd.DataFrame:
    """One SNV, the next letter of the alphabet, at each 0-based place."""
    variants = []
    for start in starts:
        ref = "ACGT"[genome.codes(chrom, start, start + 1)[0]]
        variants.append((chrom, start + 1, ref, "CGTA"["ACGT".index(ref)]))
    return placed(genome, variants)


def plain_logits(model: NamedModel, codes: np.ndarray) -> np.ndarray:
    """One forward pass for each window, written out."""
    X = torch.from_numpy((codes[:, None] == np.arange(4)[None, :, None]).astype(np.float32))
    with torch.inference_mode():
        return torch.cat([model.network.eval()(x[None]) for x in X]).numpy()
