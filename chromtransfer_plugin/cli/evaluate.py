"""``chromtransfer evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chromtransfer_plugin.constants import SEED, WINDOW

_FILE = click.Path(path_type=Path)
_KINDS = "kmer, binary, multiclass, multiclass-fixed, pretrained or fine-tuned"


@click.command()
@click.option("--genome", type=_FILE, required=True, help="FASTA, plain or bgzip.")
@click.option("--test", required=True, metavar="FILE", help="Labelled windows to evaluate on (CSV or BED).")
@click.option("--train", metavar="FILE", help="Labelled windows for the baselines and the leak report.")
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="NAME",
    help="What is evaluated, e.g. a cell line; repeat. {line} in any path or model stands for each.",
)
@click.option("--positive", metavar="LABEL", help="Label of the positives [default: the line's name].")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=MODEL",
    help="Name of an installed model or a model folder, as `predict --model` takes it; repeat.",
)
@click.option("--baseline", "baselines", multiple=True, metavar="KIND", help=f"{_KINDS}; repeat.")
@click.option("--pretrained", metavar="MODEL", help="For the baselines pretrained and fine-tuned.")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME=FILE",
    help="Scores of something else: CSV, TSV, BED, Parquet, the paper's CSV, or one score per line; repeat.",
)
@click.option("--against-logits", "logits", multiple=True, metavar="NAME", help="These scores are logits.")
@click.option("--out", type=_FILE, required=True, help="Folder of the results.")
@click.option(
    "--test-chromosome",
    "test_chromosomes",
    multiple=True,
    help="Test on windows on it only, train on the others; repeat. Both files may then be the same one.",
)
@click.option(
    "--fold-by", type=click.Choice(["chromosome", "locus", "homology"]), default="locus", show_default=True,
    help="How training windows are folded; fold 0 validates.",
)  # fmt: skip
@click.option("--folds", type=int, default=3, show_default=True)
@click.option(
    "--resample", type=click.Choice(["locus", "window"]), default="locus", show_default=True,
    help="What the intervals are a bootstrap of.",
)  # fmt: skip
@click.option("--resamples", type=int, default=1000, show_default=True, help="0 gives no intervals.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Coverage of the intervals.")
@click.option(
    "--set", "settings", multiple=True, metavar="[KIND.]KEY=VALUE",
    help="Hyper-parameter of the trained baselines, or of one kind, e.g. fine-tuned.lr=3e-4; repeat.",
)  # fmt: skip
@click.option(
    "--network", multiple=True, metavar="[KIND.]KEY=VALUE", help="Architecture, e.g. width=0.25; repeat."
)
@click.option("--width", type=int, default=WINDOW, show_default=True, metavar="BP", help="Window.")
@click.option("--strict-leaks", is_flag=True, help="Stop if a test window overlaps a training window.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True)
@click.option("--quiet", is_flag=True, help="No messages but errors, those of training, and the final table.")
def evaluate(
    quiet: bool,
    positive: str | None,
    models: tuple[str, ...],
    against: tuple[str, ...],
    settings: tuple[str, ...],
    network: tuple[str, ...],
    **options: Any,
) -> None:
    """Is my model good? Many models on the same labelled windows, with intervals, paired tests and calibration.

    Models are compared with each other, with baselines that are trained here, and with scores from anywhere (--against).
    Trained baselines and scores are kept in the folder: a killed run goes on where it stopped.

    Several lines are one command: --line A549 --line K562 --test 'test/{line}.csv' --train 'train/{line}.csv'
    --model zoo='{line}' --baseline kmer.
    """
    from chromtransfer_plugin.evaluation.run import evaluate as run_evaluation
    from chromtransfer_plugin.evaluation.settings import named
    from chromtransfer_plugin.evaluation.tables import compact
    from chromtransfer_plugin.options import key_values

    if positive is not None:
        options["positive"] = positive
    record = run_evaluation(
        models=named("--model", models),
        against=named("--against", against),
        settings=key_values("--set", settings),
        network=key_values("--network", network),
        progress=not quiet,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        **options,
    )
    click.echo(compact(record))
    click.echo(
        f"{options['out'] / 'evaluation.md'} has all tables, {options['out'] / 'evaluation.json'} all figures."
    )
