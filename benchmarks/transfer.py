"""Does transfer pay on a few thousand real regions? Paper preset, from scratch, `best`, and a 6-mer regression.

Every model is trained on each of three locus-wise folds of the training windows of a line: predictions of the
held-out folds are the cross-validation, the mean of the three models predicts the given chr2/chr3 windows.
Finished parts are kept, so that `train` may be called for some parts, in parallel, before `report`.

    python benchmarks/transfer.py train --data DIR --out DIR [--part pretrain --part paper ...] [--line K562 ...]
    python benchmarks/transfer.py report --data DIR --out DIR --to docs/results
"""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.dataset import Splits, Windows
from chromtransfer_plugin.evaluation.draws import make_draws, percentiles
from chromtransfer_plugin.evaluation.kmers import fit_kmer_regression, kmer_scores
from chromtransfer_plugin.evaluation.weighted import resampled
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc, average_precision, bootstrap_interval
from chromtransfer_plugin.predict import predict_checkpoint
from chromtransfer_plugin.regions import region_ids
from chromtransfer_plugin.reproduce import GENOME, pretraining_regions
from chromtransfer_plugin.run_record import package_versions
from chromtransfer_plugin.train import TrainingData, train

FOLDS, SEED = 3, 1
WIDTH = 0.25  # of the paper's channels: what this study's machine can train six times three times
PARTS = ("pretrain", "paper", "scratch", "fine-tuned", "best")
# The paper's rate and batch size need some 50,000 steps; a line has 1,000 to 2,500 windows here. These two take more steps.
TUNED = {"lr": 3e-4, "batch_size": 32}
SCRATCH = {"batch_size": 32}
FEW_STEPS = {
    "bn_momentum": 0.1
}  # the paper's 0.01 needs hundreds of steps before the statistics mean anything
RESAMPLES = 500
COMPARED = (
    ("paper", "scratch"),
    ("fine-tuned", "scratch"),
    ("best", "scratch"),
    ("scratch", "6-mer regression"),
    ("best", "6-mer regression"),
)
NETWORK = {"width": WIDTH, "head": [1024, 32], "head_bn": False}


def line_data(data: Path, line: str) -> TrainingData:
    return TrainingData(
        genome=data / GENOME,
        regions=[data / "regions" / part / f"{line}.csv" for part in ("train", "test")],
        positive=[line],
        folds=FOLDS,
        fold_by="locus",
    )


def all_lines(data: Path) -> TrainingData:
    """All six lines at once: a window counts for the lines in whose files it is."""
    tasks = {
        line: [data / "regions" / part / f"{line}.csv" for part in ("train", "test")] for line in CELL_LINES
    }
    return TrainingData(genome=data / GENOME, tasks=tasks, folds=FOLDS, fold_by="locus")


def splits_of(data: Path, line: str) -> list[Splits]:
    splits, _, _ = line_data(data, line).splits(0, SEED, ensemble=True)
    return splits


@click.group()
def main() -> None:
    """Train the parts of the study, then report."""


@main.command("train")
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--part", "parts", multiple=True, default=PARTS, type=click.Choice(PARTS))
@click.option("--line", "lines", multiple=True, default=CELL_LINES, type=click.Choice(CELL_LINES))
@click.option("--epochs", default=8, help="At most; the paper's are 100.")
def train_parts(data: Path, out: Path, parts: tuple[str, ...], lines: tuple[str, ...], epochs: int) -> None:
    """Train parts of the study."""
    engine = {"bf16": True, "max_epochs": epochs}
    if "pretrain" in parts:
        pretrain(data, out, engine)
    if "best" in parts and not (out / "best" / "best_model").exists():
        train(all_lines(data), out / "best", "best", ensemble=True, seed=SEED)
    for part, line in itertools.product([part for part in parts if part not in ("pretrain", "best")], lines):
        folder = out / part / line
        if (folder / "best_model").exists():
            continue
        own = {"fine-tuned": TUNED, "scratch": SCRATCH}.get(part, {})
        train(
            line_data(data, line),
            folder,
            "scratch" if part == "scratch" else "finetune",
            pretrained=None if part == "scratch" else out / "pretrain",
            ensemble=True,
            network=NETWORK if part == "paper" else {**NETWORK, **FEW_STEPS},
            settings={**engine, **own},
            seed=SEED,
        )


def pretrain(data: Path, out: Path, engine: dict[str, Any]) -> None:
    """Open (in none of the six lines) against genome tiles, as the paper's but for size."""
    if (out / "pretrain" / "best_model").exists() and not (out / "pretrain" / "resume.safetensors").exists():
        return
    make_folder(out)
    genome = Genome(data / GENOME)
    funnel = pretraining_regions(data, genome, out / "pretrain.csv", SEED)
    (out / "funnel.json").write_text(json.dumps(funnel))
    regions = TrainingData(
        genome=data / GENOME, regions=[out / "pretrain.csv"], positive=["open"], fold_by="locus"
    )
    train(regions, out / "pretrain", "pretrain", network={"width": WIDTH}, settings=engine, seed=SEED)


# --- baseline: 6-mer logistic regression --------------------------------------------------------------------


def regression(train_set: Windows, *others: Windows) -> list[np.ndarray]:
    """Probabilities of a logistic regression on 6-mers fitted on the training windows."""
    model = fit_kmer_regression(train_set.codes, train_set.targets[:, 0])
    return [kmer_scores(model, windows.codes) for windows in others]


# --- report -------------------------------------------------------------------------------------------------


def predictions(data: Path, out: Path, line: str, models: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """For cross-validation and test: the labels and every model's scores."""
    splits = splits_of(data, line)
    truth = {
        "cv": np.concatenate([s.validation.targets[:, 0] for s in splits]),
        "test": splits[0].test.targets[:, 0],
    }
    scores: dict[str, dict[str, np.ndarray]] = {name: {"truth": y} for name, y in truth.items()}
    for model in models:
        if model == "best":
            continue
        folder = out / model / line
        held_out = [
            predict_checkpoint(folder / f"fold_{k}", s.validation.codes)[:, 0] for k, s in enumerate(splits)
        ]
        scores["cv"][model] = np.concatenate(held_out)
        scores["test"][model] = predict_checkpoint(folder, splits[0].test.codes)[:, 0]
    if "best" in models:
        of_best = best_predictions(data, out)[CELL_LINES.index(line)]
        tables = {"cv": pd.concat([s.validation.table for s in splits]), "test": splits[0].test.table}
        for name, table in tables.items():
            scores[name]["best"] = of_best.loc[region_ids(table)].to_numpy()
    parts = [regression(s.train, s.validation, s.test) for s in splits]
    scores["cv"]["6-mer regression"] = np.concatenate([cv for cv, _ in parts])
    scores["test"]["6-mer regression"] = np.mean([test for _, test in parts], axis=0)
    published = pd.read_csv(data / "paper_scores" / f"{line}.csv").set_index("region")["score"]
    scores["test"]["authors' model (all data)"] = published.loc[region_ids(splits[0].test.table)].to_numpy()
    return scores


@lru_cache(maxsize=1)
def best_predictions(data: Path, out: Path) -> list[pd.Series]:
    """Scores of `best` by region, for each line: held-out folds of all lines' windows, and the test windows."""
    splits, _, _ = all_lines(data).splits(0, SEED, ensemble=True)
    parts = [
        (s.validation.table, predict_checkpoint(out / "best" / f"fold_{k}", s.validation.codes))
        for k, s in enumerate(splits)
    ]
    parts.append((splits[0].test.table, predict_checkpoint(out / "best", splits[0].test.codes)))
    ids = np.concatenate([region_ids(table).to_numpy() for table, _ in parts])
    values = np.concatenate([p for _, p in parts])
    return [pd.Series(values[:, i], index=ids) for i in range(len(CELL_LINES))]


def mean_gain(lines: list[dict[str, np.ndarray]], better: str, worse: str) -> dict[str, float]:
    """Difference of two models' AUROC, averaged over the lines, with a 95 % bootstrap interval over windows."""
    gains = []
    for i, scores in enumerate(lines):
        truth = scores["truth"]
        counts = make_draws(truth, truth, resample="window", n=RESAMPLES, seed=SEED + i).counts
        a, b = (resampled(truth, scores[model], counts)[0]["auroc"] for model in (better, worse))
        gains.append(a - b)
    gain = np.mean([auroc(s["truth"], s[better]) - auroc(s["truth"], s[worse]) for s in lines])
    low, high = percentiles(np.mean(gains, axis=0), 0.95) or (np.nan, np.nan)
    return {"gain": float(gain), "low": low, "high": high}


@main.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--to", type=click.Path(path_type=Path), default=Path("docs/results"))
def report(data: Path, out: Path, to: Path) -> None:
    """Score everything that was trained and write transfer.json and the tables of transfer.md."""
    models = [part for part in PARTS[1:] if is_finished(out, part)]
    everything = {line: predictions(data, out, line, models) for line in CELL_LINES}
    facts: dict[str, Any] = {
        "versions": package_versions(),
        "width": WIDTH,
        "folds": FOLDS,
        "gains": {},
        "lines": {},
    }
    for line, sets in everything.items():
        facts["lines"][line] = {
            name: {
                "n": len(scores["truth"]),
                "positives": int(scores["truth"].sum()),
                "models": {
                    model: measured(scores["truth"], p) for model, p in scores.items() if model != "truth"
                },
            }
            for name, scores in sets.items()
        }
    for name, (better, worse) in itertools.product(("cv", "test"), COMPARED):
        if {better, worse} <= set(next(iter(everything.values()))[name]):
            gain = mean_gain([sets[name] for sets in everything.values()], better, worse)
            facts["gains"][f"{name}: {better} minus {worse}"] = gain
    with atomic_path(to / "transfer.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1, default=float) + "\n")
    click.echo(tables(facts))


def is_finished(out: Path, part: str) -> bool:
    folders = [out / "best"] if part == "best" else [out / part / line for line in CELL_LINES]
    return all((folder / "best_model").exists() for folder in folders)


def measured(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    interval = bootstrap_interval(truth, predicted, auroc)
    return {
        "auroc": auroc(truth, predicted),
        "interval": interval[1:3],
        "average_precision": average_precision(truth, predicted),
    }


def tables(facts: dict[str, Any]) -> str:
    """Lay out AUROC with intervals: a table for cross-validation, one for the test windows."""
    text: list[str] = []
    for name in ("cv", "test"):
        lines = facts["lines"]
        models = list(next(iter(lines.values()))[name]["models"])
        text += [f"| {name} | " + " | ".join(lines) + " | mean |", "|---" * (len(lines) + 2) + "|"]
        counts = " | ".join(f"{v[name]['positives']}/{v[name]['n']}" for v in lines.values())
        text.append(f"| open/all | {counts} | |")
        for model in models:
            found = [v[name]["models"][model] for v in lines.values()]
            cells = " | ".join(
                f"{m['auroc']:.3f} [{m['interval'][0]:.2f}, {m['interval'][1]:.2f}]" for m in found
            )
            text.append(f"| {model} | {cells} | {np.mean([m['auroc'] for m in found]):.3f} |")
        text.append("")
    text += ["| AUROC, mean over the lines | difference [95 %] |", "|---|---|"]
    for name, g in facts["gains"].items():
        text.append(f"| {name} | {g['gain']:+.3f} [{g['low']:+.3f}, {g['high']:+.3f}] |")
    return "\n".join(text)


if __name__ == "__main__":
    main()
