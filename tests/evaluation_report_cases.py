"""Evaluations, data sets, training runs and analyses of data efficiency, made up, in folders as the commands write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chromtransfer_plugin.efficiency.record import FRACTIONS, Draw, EfficiencyRecord, Row
from chromtransfer_plugin.evaluation.calibration import calibrations, conformal_sets
from chromtransfer_plugin.evaluation.comparisons import compare_models, with_q_values
from chromtransfer_plugin.evaluation.draws import Draws, make_draws
from chromtransfer_plugin.evaluation.measures import measure_all
from chromtransfer_plugin.evaluation.record import EvaluationRecord, LineResult, ModelResult
from chromtransfer_plugin.evaluation.scores import SCORES, ScoreTable, write_scores
from chromtransfer_plugin.json_record import write_record
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.preparation.manifest import FunnelStep, InputFile, Manifest

LINES = ("A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7")
# Name -> kind, how far its logits of open windows lie above those of closed ones, and what is added to all.
MODELS: Mapping[str, tuple[str, float, float]] = {
    "fine-tuned": ("given", 1.6, 0.0),
    "k-mers": ("kmer", 0.9, 0.0),
    "binary baseline": ("binary", 1.2, 0.0),
    "multi-class": ("multiclass", 0.8, -2.0),
    "multi-class, fixed": ("multiclass-fixed", 0.9, 0.0),
    "pre-trained": ("pretrained", 0.05, 1.0),
    "frozen trunk": ("fine-tuned", 1.4, -1.2),
    "authors": ("external", 1.7, 0.1),
}
FEW = {name: MODELS[name] for name in ("fine-tuned", "k-mers", "authors")}
VOID = {"meta", "link", "br", "img", "input"}
HOSTILE = "<script>alert('x')</script> & \"§\" $x$ µ"


def make_scores(line: str, models: Mapping[str, tuple[str, float, float]], n: int, seed: int) -> ScoreTable:
    """Windows two to a locus, 35 % open; what two models add to the truth is nearly the same."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.35).astype(np.int8)
    start = 1000 + 2000 * np.arange(n)
    table = pd.DataFrame(
        {
            "chrom": "chr2", "start": start, "end": start + 600, "label": np.where(y, line, f"{line}_NEG"),
            "y": y, "locus": np.arange(n) // 2,
        }
    )  # fmt: skip
    shared = rng.normal(size=n)
    scores = {}
    for name, (_, apart, added) in models.items():
        noise = 0.9 * shared + 0.45 * rng.normal(size=n)
        scores[name] = 1 / (1 + np.exp(-(apart * (2 * y - 1) * 0.6 + noise * 0.8 + added - 0.5)))
    return ScoreTable(line, table, scores)


def judge_scores(
    scores: ScoreTable, kinds: Mapping[str, str], runs: Mapping[str, str], resamples: int
) -> LineResult:
    """Evaluate scores as `chromtransfer evaluate` does."""
    both = 0 < scores.y.sum() < len(scores.y)
    draws: Draws | None = make_draws(scores.y, scores.locus, n=resamples) if both and resamples else None
    models = []
    for name, p in scores.scores.items():
        call = p > 0.5
        y = scores.y == 1
        models.append(
            ModelResult(
                name=name,
                kind=kinds[name],
                source=f"models/{name}",
                output="" if kinds[name] == "external" else scores.line,
                measures=measure_all(scores.y, p, draws),
                tp=int((call & y).sum()),
                fp=int((call & ~y).sum()),
                fn=int((~call & y).sum()),
                tn=int((~call & ~y).sum()),
                calibration=calibrations(scores.y, p, scores.locus, draws) if both else [],
                conformal=conformal_sets(scores.y, p, scores.locus) if both else [],
                run=runs.get(name, ""),
            )
        )
    names = list(scores.scores)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return LineResult(
        line=scores.line,
        n=len(scores.y),
        n_positive=int(scores.y.sum()),
        n_loci=len(np.unique(scores.locus)),
        models=models,
        comparisons=compare_models(scores, pairs, draws) if draws else [],
        leaks=make_leaks(len(scores.y)) if both else None,
        read=[f"test windows: {len(scores.y)} of {len(scores.y) + 3} kept, 3 are not on the genome"],
    )


def make_leaks(n_test: int, leaking: int = 0) -> LeakReport:
    return LeakReport(
        n_train=5000,
        n_test=n_test,
        k=24,
        share=0.5,
        n_identical=0,
        n_overlapping=0,
        n_leaking=leaking + 1,
        n_leaking_one=leaking,
        shares=[i / 40 for i in range(21)],
        worst=[("chr2:1000-1600", 0.61, "chr9:5000-5600"), ("chr3:10-610", 0.0, "")],
    )


def make_record(lines: Sequence[LineResult], resamples: int = 20) -> EvaluationRecord:
    return EvaluationRecord(
        command=["/usr/bin/chromtransfer", "evaluate", "--genome", "my genome.fa", "--out", "evaluation"],
        settings={"genome": "my genome.fa", "resamples": resamples, "models": {"fine-tuned": "runs/a"}},
        genome="be739ff409adae97e39a9d9eb06c6c10",
        device="cpu (1 threads)",
        versions={"python": "3.11.7", "torch": "2.6.0"},
        seconds=12.3,
        resample="locus",
        resamples=resamples,
        level=0.95,
        lines=with_q_values(list(lines)),
    )


def make_evaluation(
    folder: Path,
    lines: Sequence[str] = ("HEPG2",),
    models: Mapping[str, tuple[str, float, float]] = MODELS,
    *,
    n: int = 200,
    resamples: int = 20,
    runs: Mapping[str, str] | None = None,
) -> EvaluationRecord:
    """Write a folder of `chromtransfer evaluate`."""
    tables = [make_scores(line, models, n, seed) for seed, line in enumerate(lines)]
    kinds = {name: kind for name, (kind, _, _) in models.items()}
    record = make_record([judge_scores(t, kinds, runs or {}, resamples) for t in tables], resamples)
    write_evaluation(folder, record, tables)
    return record


def write_evaluation(folder: Path, record: EvaluationRecord, tables: Sequence[ScoreTable]) -> None:
    for table in tables:
        (folder / table.line).mkdir(parents=True)
        write_scores(table, folder / table.line / SCORES)
    write_record(record, folder / "evaluation.json")


def make_run(folder: Path, epochs: int = 12, kind: str = "converged") -> Path:
    """Write a training run."""
    folder.mkdir(parents=True)
    at = np.arange(1, epochs + 1)
    train = 0.3 + 0.4 * np.exp(-at / 3)
    validation = {"converged": train + 0.05, "overfits": 0.5 + 0.02 * (at - 4.0) ** 2}[kind]
    best = at == at[np.argmin(validation)]
    pd.DataFrame(
        {
            "epoch": at,
            "step": 10 * at,
            "train_loss": train,
            "validation_loss": validation,
            "l2": 0.0,
            "lr": 1e-3,
            "sequences_per_second": 100.0,
            "best": best,
            "phase": "full",
        }
    ).to_csv(folder / "history.csv", index=False)
    record: dict[str, Any] = {
        "command": ["/x/selene_sdk", "finetune.yml"],
        "versions": {"torch": "2.6.0"},
        "device": "cpu (1 threads)",
        "settings": {"lr": 0.001, "batch_size": 256},
        "card": {"outputs": ["HEPG2"], "window": 600},
        "genome": "be739ff4",
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def make_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True)
    steps = [
        FunnelStep(group=group, step=step, count=count)
        for group, step, count in (
            ("regions", "in the file", 2_163_000),
            ("regions", "on a contig of the genome, window of 600 bp", 2_160_400),
            ("HEPG2", "open", 150_000),
            ("HEPG2", "open in no other line", 38_000),
            ("HEPG2", "negatives drawn", 0),
        )
    ]
    manifest = Manifest(
        parameters={"ratio": 2.0, "threshold": 1.64, "lines": ["HEPG2", "K562"]},
        inputs=[
            InputFile(role="signal of HEPG2, replicate 1", path="a.bigWig", sha256="ab" * 32, bytes=12345)
        ],
        funnel=steps,
        files={"HEPG2.parquet": "cd" * 32},
        splits={"HEPG2": {"train": 30000, "test": 8000}, "K562": {"test": 9}},
        versions={"pyranges": "0.1.7"},
    )
    write_record(manifest, folder / "manifest.json")
    return folder


def make_efficiency(folder: Path) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    draws, rows = [], []
    for fraction in (*FRACTIONS, 1.0):
        n = round(74673 * fraction)
        found = []
        for draw in range(10):
            top = 0.9 - 0.4 * np.exp(-n / 3000) + 0.01 * rng.normal()
            found.append(
                {"auroc": top, "f1_weighted": top - 0.1, "f1_positive": top - 0.15, "f1_negative": top - 0.05}
            )
            draws.append(
                Draw(
                    fraction=fraction,
                    draw=draw,
                    n=n,
                    n_positive=n // 3,
                    seed=draw,
                    measures=found[-1],
                    seconds=1.0,
                )
            )
        table = pd.DataFrame(found)
        rows.append(
            Row(
                fraction=fraction, n=n, draws=10, mean=table.mean().to_dict(), sd=table.std().to_dict(),
                low=(table.min() - 0.01).to_dict(), high=(table.max() + 0.01).to_dict(),
            )
        )  # fmt: skip
    record = EfficiencyRecord(
        command=["chromtransfer", "efficiency"],
        settings={"draws": 10},
        mode="features",
        line="HEPG2",
        pretrained="pretrained",
        genome="be739ff4",
        device="cpu (1 threads)",
        versions={"torch": "2.6.0"},
        n_train=74673,
        n_test=11533,
        n_test_positive=5542,
        draws=draws,
        rows=rows,
        references={"pretrained, un-tuned": 0.55, "k-mers": 0.71},
        resamples=200,
        finding="With 5 % of the windows the AUROC is within 0.05 of that with all.",
    )
    write_record(record, folder / "efficiency.json")
    return folder


class Page(HTMLParser):
    """Text of cells by table and row, all attributes and tags; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.cell: list[str] | None = None
        self.caption = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.tables.setdefault(self.caption, []).append([])
        if tag in ("th", "td", "caption"):
            self.cell = []

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "caption" and self.cell is not None:
            self.caption, self.cell = "".join(self.cell), None
        elif tag in ("th", "td") and self.cell is not None:
            self.tables[self.caption][-1].append("".join(self.cell).strip())
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(data)
