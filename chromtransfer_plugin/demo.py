"""The whole road on a small simulated genome, with the official Selene and Kipoi commands."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd

from chromtransfer_plugin.attribution import Recovery, gradient_x_input, motif_recovery
from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.commands import run
from chromtransfer_plugin.configs_folder import configs_folder
from chromtransfer_plugin.constants import TEST_CHROMOSOMES
from chromtransfer_plugin.dataset import Windows, load_windows
from chromtransfer_plugin.demo_motifs import MADE, STORE, MotifResult, analyse_motifs, describe
from chromtransfer_plugin.demo_motifs import RESULTS as MOTIFS
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.plots import LogoPanel, demo_figure
from chromtransfer_plugin.predict import predict_checkpoint
from chromtransfer_plugin.regions import region_ids, write_bed
from chromtransfer_plugin.simulate import SimulatedData, planted_mask, simulate

LINES = ("HEPG2", "K562")
_MARKER = ".chromtransfer-demo"  # says that the folder was made by a demonstration
_MADE = ("data", "pretrain", "pretrain.log", *LINES, "kipoi", *MADE, "figure.png", "results.json")
TOP = 50  # windows with the highest predicted probability that are attributed


class LineResult(NamedTuple):
    """What the demonstration found for one line, on its test windows."""

    line: str
    truth: np.ndarray  # (N,) 0/1
    predictions: dict[str, np.ndarray]  # model -> (N,) probabilities
    recovery: Recovery
    panel: LogoPanel


def run_demo(out: Path, seed: int) -> None:
    """Simulate, pre-train, fine-tune, export, predict, explain, compare motifs; print tables and the paths of the files.

    Parameters
    ----------
    out : Path
        Folder for everything; an earlier demonstration in it is replaced.
    seed : int
        Same seed, same numbers on the same machine.

    Raises
    ------
    ChromTransferError
        If a step fails, or ``out`` holds something else than a demonstration.
    """
    started = time.time()
    _clear(out)
    click.secho(
        "This demonstration uses SIMULATED data: its scores say nothing about real genomes.", bold=True
    )
    data = simulate(out / "data", seed=seed)
    _train(out)
    genome = Genome(data.genome)
    results = [_line_result(out, data, genome, line) for line in LINES]
    figure = out / "figure.png"
    demo_figure(
        figure,
        {f"{r.line}, test chromosomes": {k: (r.truth, p) for k, p in r.predictions.items()} for r in results},
        [result.panel for result in results],
    )
    table = _summary(results)
    motifs = analyse_motifs(out, data, seed)
    _write_results(out, table, motifs)
    click.echo(f"\nSIMULATED data, seed {seed}; test windows on {' and '.join(TEST_CHROMOSOMES)}\n")
    click.echo(table.to_string(index=False))
    click.echo(f"\n{describe(motifs)}")
    click.echo(f"\ntable       {out / 'results.json'}")
    click.echo(f"figure      {figure}")
    click.echo(f"motifs      {out / MOTIFS}, of the attributions in {out / STORE}")
    click.echo(f"Kipoi       {out / 'kipoi'}, predictions in {out}/LINE/predictions.tsv")
    click.echo(f"Selene runs {out / 'pretrain'}, {out}/LINE/finetuned, {out}/LINE/scratch")
    click.echo(f"done in {time.time() - started:.0f} s")


def _clear(out: Path) -> None:
    """Prepare the folder: remove what an earlier demonstration made there, by name, and nothing else."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ChromTransferError(f"{out}: is not a plain folder; name an empty or new one with --out.")
    if out.exists() and any(out.iterdir()) and not (out / _MARKER).exists():
        raise ChromTransferError(f"{out}: holds other files; name an empty or new folder with --out.")
    make_folder(out)
    for name in _MADE:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    (out / _MARKER).touch()


def _train(out: Path) -> None:
    yamls = configs_folder().resolve() / "demo"
    run("selene_sdk", str(yamls / "pretrain.yml"), cwd=out, log=out / "pretrain.log")
    for line in LINES:
        make_folder(out / line)
        for kind in ("finetune", "scratch"):
            log = out / line / f"{kind}.log"
            run("selene_sdk", str(yamls / f"{kind}.yml"), cwd=out / line, log=log, LINE=line)


def _line_result(out: Path, data: SimulatedData, genome: Genome, line: str) -> LineResult:
    windows, _ = load_windows(genome, data.lines[line], positive=line)
    test = windows.take(windows.on(TEST_CHROMOSOMES))
    predictions = {
        "pre-trained": predict_checkpoint(out / "pretrain", test.codes)[:, 0],
        "from scratch": predict_checkpoint(out / line / "scratch", test.codes)[:, 0],
        "fine-tuned": _through_kipoi(out, data, line, test),
    }
    top = test.take(np.argsort(-predictions["fine-tuned"], kind="stable")[:TOP])
    model, _ = load_model(out / f"{line}/finetuned")
    scores = gradient_x_input(model, one_hot(top.codes))
    planted = planted_mask(data.sites, top.table, [line])
    recovery = motif_recovery(scores, planted)
    return LineResult(line, test.targets[:, 0], predictions, recovery, _panel(data, line, top, scores))


def _through_kipoi(out: Path, data: SimulatedData, line: str, test: Windows) -> np.ndarray:
    """Export the fine-tuned model, test it and predict with the official ``kipoi`` command."""
    run(
        "chromtransfer", "export", f"{line}/finetuned", "--name", line, "--out", "kipoi",
        "--genome", "data/genome.fa", "--intervals", f"data/{line}.csv", cwd=out,
    )  # fmt: skip
    run("kipoi", "test", line, "--source=dir", cwd=out / "kipoi", log=out / line / "kipoi-test.log")
    write_bed(test.table.assign(name=region_ids(test.table)), out / line / "test.bed")
    arguments = json.dumps(
        {"intervals_file": f"{line}/test.bed", "fasta_file": str(data.genome.relative_to(out))}
    )
    run(
        "kipoi", "predict", f"kipoi/{line}", "--source=dir", f"--dataloader_args={arguments}", "--keep_metadata",
        "-o", f"{line}/predictions.tsv", cwd=out, log=out / line / "kipoi-predict.log",
    )  # fmt: skip
    table = pd.read_csv(out / line / "predictions.tsv", sep="\t")
    column = next(name for name in table.columns if name.startswith("preds"))
    return table[column].to_numpy()


def _panel(data: SimulatedData, line: str, top: Windows, scores: np.ndarray) -> LogoPanel:
    """Choose the window among the top ones whose line-specific sites carry the largest share of attribution."""
    planted = planted_mask(data.sites, top.table, [line])
    share = (np.abs(scores) * planted).sum(axis=1) / np.abs(scores).sum(axis=1)
    best = int(share.argmax())
    chrom = str(top.table["chrom"].iloc[best])
    start, end = int(top.table["start"].iloc[best]), int(top.table["end"].iloc[best])
    sites = data.sites
    inside = sites[(sites["chrom"] == chrom) & (sites["start"] >= start) & (sites["end"] <= end)]
    return LogoPanel(
        title=f"{line}: {chrom}:{start}-{end}, attribution of the fine-tuned model (simulated)",
        codes=top.codes[best],
        scores=scores[best],
        start=start,
        highlights=list(zip(inside["start"], inside["end"], inside["motif"], strict=True)),
    )


def _summary(results: list[LineResult]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for result in results:
        row: dict[str, Any] = {
            "line": result.line,
            "n": len(result.truth),
            "positives": int(result.truth.sum()),
        }
        row |= {f"AUROC {name}": round(auroc(result.truth, p), 4) for name, p in result.predictions.items()}
        row["planted motif recovered"] = "yes" if result.recovery.recovered else "NO"
        row["AUROC of site bases"] = round(result.recovery.auroc, 3)
        rows.append(row)
    return pd.DataFrame(rows)


def _write_results(out: Path, table: pd.DataFrame, motifs: MotifResult) -> None:
    with atomic_path(out / "results.json") as temporary:
        facts = {"data": "simulated", "lines": table.to_dict(orient="records"), "motifs": motifs.record()}
        Path(temporary).write_text(json.dumps(facts, indent=1) + "\n")
