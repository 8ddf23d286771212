"""The whole road on real labelled regions: pre-train, fine-tune, baseline from scratch, test, report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd

from chromtransfer_plugin.commands import run
from chromtransfer_plugin.configs_folder import configs_folder
from chromtransfer_plugin.constants import CELL_LINES, TEST_CHROMOSOMES
from chromtransfer_plugin.dataset import load_windows
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import make_draws
from chromtransfer_plugin.evaluation.measures import measure_all
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import Interval, binary_metrics, bootstrap_difference
from chromtransfer_plugin.predict import predict_checkpoint
from chromtransfer_plugin.regions import read_regions, region_ids, write_csv
from chromtransfer_plugin.tiles import away_from, genome_tiles

GENOME = "hg38_partial.fa.gz"
BLACKLIST = "blacklist/hg38-blacklist.v2.bed"
GAP = 300  # bp between a negative tile and any supplied window (paper, Methods)


class Score(NamedTuple):
    """One model on the test windows of one line; intervals are 95 % percentile bootstraps."""

    line: str
    model: str
    n: int
    positives: int
    auroc: float
    auroc_interval: tuple[float, float]
    average_precision: float
    average_precision_interval: tuple[float, float]
    f1_positive: float
    f1_weighted: float
    f1_weighted_interval: tuple[float, float]


def run_reproduction(
    data: Path, out: Path, lines: Sequence[str], folder: Path | None, seed: int
) -> list[Score]:
    """Run the road and write ``report.md`` and ``report.json`` in ``out``; finished stages are not repeated.

    Parameters
    ----------
    data : Path
        Folder with ``hg38_partial.fa.gz``, ``regions/{train,test}/LINE.csv``, ``blacklist/`` and, optionally,
        ``paper_scores/LINE.csv``.
    out : Path
    lines : sequence of str
        Lines to fine-tune; the pre-training always leaves out what is positive in any of the six.
    folder : Path or None
        YAML files; None: the packaged ``configs/real``.
    seed : int
        Chooses the negative tiles. The YAML files hold the seed of training.
    """
    started = time.time()
    yamls = (folder or configs_folder() / "real").resolve()
    check_data(data, lines)
    check_configs(yamls)
    make_folder(out / "data")
    genome = Genome(data / GENOME)
    funnel = pretraining_regions(data, genome, out / "data" / "pretrain.csv", seed)
    times = {}
    digest = digest_data(data, out / "data" / "pretrain.csv", genome)
    environment = {"GENOME": str((data / GENOME).resolve()), "DATA": str(data.resolve())}
    times["pretrain"] = stage(yamls / "pretrain.yml", out / "pretrain", digest, **environment)
    for line in lines:
        for yaml, name in (("finetune.yml", "finetuned"), ("scratch.yml", "scratch")):
            times[f"{line}/{name}"] = stage(yamls / yaml, out / line / name, digest, LINE=line, **environment)
    scores, gains = [], {}
    for line in lines:
        truth, predictions = line_predictions(data, out, genome, line)
        scores += [score(line, model, truth, predicted) for model, predicted in predictions.items()]
        gains[line] = bootstrap_difference(truth, predictions["fine-tuned"], predictions["from scratch"])
    write_report(out, scores, gains, funnel, times, time.time() - started)
    return scores


def check_data(data: Path, lines: Sequence[str]) -> None:
    """Fail before any work if a file is missing."""
    wanted = [data / GENOME, data / BLACKLIST]
    wanted += [data / "regions" / part / f"{line}.csv" for part in ("train", "test") for line in CELL_LINES]
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        raise ChromTransferError(
            f"--data {data}: {len(missing)} needed file(s) are missing, first: {missing[0]}. "
            "docs/real_data.md says what the folder holds."
        )
    for line in lines:
        check_paper_scores(data, line)


def check_paper_scores(data: Path, line: str) -> None:
    """Fail if the optional published scores of a line do not cover its test windows."""
    path = data / "paper_scores" / f"{line}.csv"
    if not path.is_file():
        return
    table = pd.read_csv(path)
    if not {"region", "score"} <= set(table.columns):
        raise ChromTransferError(f"{path}: expected the columns region and score, got {list(table.columns)}.")
    wanted = region_ids(read_regions(data / "regions" / "test" / f"{line}.csv").table)
    missing = sorted(set(wanted) - set(table["region"]))
    if missing:
        raise ChromTransferError(
            f"{path}: has no score for {len(missing)} of the test windows, e.g. {missing[0]}. "
            "Remove the file to leave out the comparison."
        )


def check_configs(yamls: Path) -> None:
    """Fail before any work if a YAML file is missing."""
    for name in ("pretrain.yml", "finetune.yml", "scratch.yml"):
        if not (yamls / name).is_file():
            raise ChromTransferError(
                f"{yamls / name}: no such YAML file; --configs needs pretrain.yml, finetune.yml and scratch.yml."
            )


def supplied_regions(data: Path, genome: Genome) -> pd.DataFrame:
    """All published windows of the six lines, with the column ``line``."""
    parts = [
        read_regions(data / "regions" / part / f"{line}.csv", genome=genome).table.assign(line=line)
        for line in CELL_LINES
        for part in ("train", "test")
    ]
    return pd.concat(parts, ignore_index=True)


def pretraining_regions(data: Path, genome: Genome, path: Path, seed: int) -> dict[str, int]:
    """Write the pre-training set and return how many windows each step left.

    Positives are the supplied windows that are positive in none of the six lines; negatives are as many
    tiles without unknown bases, off the blacklist and at least 300 bp from every supplied window.
    """
    supplied = supplied_regions(data, genome)
    ids = region_ids(supplied)
    positive_anywhere = set(ids[supplied["label"] == supplied["line"]])
    distinct = supplied[~ids.duplicated()]
    opened = distinct[~region_ids(distinct).isin(positive_anywhere)].assign(label="open")
    tiles = genome_tiles(genome)
    blacklist = read_regions(data / BLACKLIST, width=None).table
    clear = tiles[away_from(tiles, [blacklist])]
    far = clear[away_from(clear, [supplied], GAP)]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(far))[: len(opened)])
    closed = far.iloc[chosen].assign(label="closed")
    write_csv(pd.concat([opened, closed], ignore_index=True), path)
    return {
        "supplied rows": len(supplied),
        "distinct supplied windows": len(distinct),
        "positive in one of the six lines": len(positive_anywhere),
        "pre-training positives": len(opened),
        "tiles without N": len(tiles),
        "tiles off the blacklist": len(clear),
        f"tiles at least {GAP} bp from every supplied window": len(far),
        "pre-training negatives (sampled)": len(closed),
    }


def stage(yaml: Path, folder: Path, data_digest: str, **environment: str) -> float:
    """Run one YAML file with the official executable unless its result exists; return its seconds.

    It runs in the parent of ``folder``, which is the output folder that the YAML file names.

    Raises
    ------
    ChromTransferError
        If the folder holds the result of another YAML file, other data or another seed.
    """
    digest = hashlib.sha256(yaml.read_bytes())
    digest.update(json.dumps([data_digest, environment], sort_keys=True).encode())
    inputs = digest.hexdigest()
    finished = folder / "finished.json"
    if finished.is_file():
        record = json.loads(finished.read_text())
        if record["inputs"] != inputs:
            raise ChromTransferError(
                f"{folder}: holds the result of other settings, data or seed; choose another --out, or remove it."
            )
        click.echo(f"{folder}: finished before, kept")
        return float(record["seconds"])
    started = time.time()
    make_folder(folder.parent)
    run("selene_sdk", str(yaml), cwd=folder.parent, log=folder.with_suffix(".log"), **environment)
    seconds = time.time() - started
    with atomic_path(finished) as temporary:
        Path(temporary).write_text(json.dumps({"seconds": seconds, "inputs": inputs}))
    return seconds


def digest_data(data: Path, pretrain: Path, genome: Genome) -> str:
    """Hash everything the training reads: the genome, the pre-training set and the supplied regions."""
    digest = hashlib.sha256(genome.identity.encode())
    for path in [pretrain, *sorted((data / "regions").rglob("*.csv"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def line_predictions(
    data: Path, out: Path, genome: Genome, line: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """0/1 labels (N,) of the test windows given for a line, and every model's probabilities (N,)."""
    windows, _ = load_windows(genome, data / "regions" / "test" / f"{line}.csv", positive=line)
    windows = windows.take(windows.on(TEST_CHROMOSOMES))
    folders = {
        "pre-trained, used as it is": "pretrain",
        "from scratch": f"{line}/scratch",
        "fine-tuned": f"{line}/finetuned",
    }
    predictions = {
        label: predict_checkpoint(out / name, windows.codes)[:, 0] for label, name in folders.items()
    }
    paper = data / "paper_scores" / f"{line}.csv"
    if paper.is_file():
        published = pd.read_csv(paper).set_index("region")["score"]
        predictions["published by the authors"] = published.loc[region_ids(windows.table)].to_numpy()
    return windows.targets[:, 0], predictions


def score(line: str, model: str, truth: np.ndarray, predicted: np.ndarray) -> Score:
    """All figures of one model on one line."""
    numbers = binary_metrics(truth, predicted)
    measures = measure_all(truth, predicted, make_draws(truth, truth, resample="window"))

    def interval(metric: str) -> tuple[float, float]:
        low, high = measures[metric].low, measures[metric].high
        assert low is not None and high is not None  # noqa: PT018 - draws of windows hold both classes
        return low, high

    return Score(
        line, model, numbers.n, numbers.n_positive,
        numbers.auroc, interval("auroc"),
        numbers.average_precision, interval("average_precision"),
        numbers.f1_positive, numbers.f1_weighted, interval("f1_weighted"),
    )  # fmt: skip


def write_report(
    out: Path,
    scores: list[Score],
    gains: dict[str, Interval],
    funnel: dict[str, int],
    times: dict[str, float],
    seconds: float,
) -> None:
    """Write ``report.json`` and ``report.md``."""
    run_record = json.loads((out / "pretrain" / "run.json").read_text())
    facts: dict[str, Any] = {
        "funnel": funnel,
        "seconds": times,
        "seconds_of_this_call": seconds,
        "device": run_record["device"],
        "versions": run_record["versions"],
        "scores": [s._asdict() for s in scores],
        "auroc_gain_of_fine_tuning": {line: gain._asdict() for line, gain in gains.items()},
        "histories": {name: _history(out / name) for name in times},
    }
    with atomic_path(out / "report.json") as temporary:
        Path(temporary).write_text(json.dumps(facts, indent=1) + "\n")
    with atomic_path(out / "report.md") as temporary:
        Path(temporary).write_text(markdown(facts))
    click.echo(markdown(facts))


def _history(folder: Path) -> dict[str, float]:
    history = pd.read_csv(folder / "history.csv")
    best = history[history["best"]].iloc[-1]
    return {
        "epochs": len(history),
        "best_epoch": int(best["epoch"]),
        "best_validation_loss": round(float(best["validation_loss"]), 4),
        "sequences_per_second": round(float(history["sequences_per_second"].median()), 1),
    }


def markdown(facts: dict[str, Any]) -> str:
    """Lay out the report as Markdown tables."""
    text = ["| step | windows |", "|---|---|", *(f"| {k} | {v:,} |" for k, v in facts["funnel"].items()), ""]
    text += ["| run | epochs (best) | validation loss | sequences/s | wall time |", "|---|---|---|---|---|"]
    for name, history in facts["histories"].items():
        text.append(
            f"| {name} | {history['epochs']} ({history['best_epoch']}) | {history['best_validation_loss']:.3f} | "
            f"{history['sequences_per_second']:.0f} | {facts['seconds'][name] / 60:.1f} min |"
        )
    text += [
        "",
        "| line | model | n (positive) | AUROC [95 %] | AP [95 %] | F1 open | F1 weighted [95 %] |",
        "|---|---|---|---|---|---|---|",
    ]
    for s in facts["scores"]:
        s = Score(**s) if isinstance(s, dict) else s
        text.append(
            f"| {s.line} | {s.model} | {s.n} ({s.positives}) | {_with(s.auroc, s.auroc_interval)} | "
            f"{_with(s.average_precision, s.average_precision_interval)} | {s.f1_positive:.3f} | "
            f"{_with(s.f1_weighted, s.f1_weighted_interval)} |"
        )
    text += ["", "| line | AUROC, fine-tuned minus from scratch [95 %, paired] |", "|---|---|"]
    for line, gain in facts["auroc_gain_of_fine_tuning"].items():
        text.append(f"| {line} | {_with(gain['estimate'], (gain['low'], gain['high']))} |")
    text += [
        "",
        f"Device: {facts['device']}. Versions: "
        + ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
        + ".",
    ]
    return "\n".join(text) + "\n"


def _with(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
