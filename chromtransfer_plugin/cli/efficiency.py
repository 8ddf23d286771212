"""``chromtransfer efficiency``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chromtransfer_plugin.constants import SEED

_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--genome", type=_FILE, required=True, help="FASTA (plain or bgzip).")
@click.option(
    "--train", type=_FILE, multiple=True, required=True, help="Labelled regions to train on; repeat."
)
@click.option(
    "--test",
    type=_FILE,
    multiple=True,
    help="Labelled regions to test on [default: chr2 and chr3 of --train]; repeat.",
)
@click.option(
    "--test-chromosome",
    "test_chromosomes",
    multiple=True,
    help="Whose windows of --train test, without --test; repeat [default: chr2 and chr3].",
)
@click.option(
    "--positive", multiple=True, required=True, help="Label of open windows, all others are closed; repeat."
)
@click.option("--pretrained", help="Folder or zoo name of the model whose trunk is transferred.")
@click.option("-o", "--out", type=_FILE, required=True, help="Folder for tables, figure and finished draws.")
@click.option(
    "--mode",
    type=click.Choice(["features", "full"]),
    default="features",
    show_default=True,
    help="Train a new head on the trunk's features, computed once, or the whole network.",
)
@click.option("--protocol", help="As in `train` [default: frozen for features, finetune for full].")
@click.option(
    "--fraction",
    "fractions",
    type=float,
    multiple=True,
    help="Share of the training windows; repeat [default: 0.01 0.05 0.1 0.15 0.2 0.25 0.5 0.75 1].",
)
@click.option("--draws", type=int, default=10, show_default=True, help="Random shares of each size.")
@click.option("--replace", is_flag=True, help="Draw windows with replacement.")
@click.option(
    "--stratified/--unstratified",
    default=True,
    show_default=True,
    help="Draw the share of each class, as the paper, or of all windows.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Training setting; repeat.")
@click.option(
    "--network", multiple=True, metavar="KEY=VALUE", help="Network setting, e.g. head='[32]'; repeat."
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=MODEL|AUROC",
    help="Model (folder or zoo name) or number to draw as a line; repeat.",
)
@click.option(
    "--resample",
    type=click.Choice(["locus", "window"]),
    default="locus",
    show_default=True,
    help="What of the test windows is drawn for the bands.",
)
@click.option("--resamples", type=int, default=1000, show_default=True, help="How often.")
@click.option("--jobs", type=int, help="Models that train at the same time [default: one for each core].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=int, default=SEED, show_default=True)
@click.option("--quiet", is_flag=True, help="No progress bar, no messages but errors and the table.")
def efficiency(
    settings: tuple[str, ...],
    network: tuple[str, ...],
    fractions: tuple[float, ...],
    quiet: bool,
    **options: Any,
) -> None:
    """How much data does a model need? Train on random shares of the windows (the paper's Table 1).

    Each share is drawn several times; every model is tested on the same test windows. A run that was stopped goes on when
    the same command is given again.
    """
    from chromtransfer_plugin.efficiency.run import run_efficiency
    from chromtransfer_plugin.efficiency.table import markdown
    from chromtransfer_plugin.options import key_values

    chosen: dict[str, Any] = {"fractions": fractions} if fractions else {}
    record = run_efficiency(
        settings=key_values("--set", settings),
        network=key_values("--network", network),
        progress=not quiet,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        **chosen,
        **options,
    )
    click.echo(markdown(record))
