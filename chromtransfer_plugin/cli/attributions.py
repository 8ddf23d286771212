"""``chromtransfer attributions``: what is in an attribution store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)
_STORE = click.argument("store", type=_FILE)
_MODELS = click.option("--model", "models", multiple=True, help="Model of the store; repeat [default: all].")
_SETS = click.option("--set", "sets", multiple=True, help="Set of the store; repeat [default: all].")


@click.group()
def attributions() -> None:
    """Show, draw and export stored attributions."""


@attributions.command("list")
@_STORE
def list_(store: Path) -> None:
    """Say what STORE holds: method, models, sets, genome."""
    from chromtransfer_plugin.attribution.show import list_store

    click.echo(list_store(store))


@attributions.command()
@_STORE
@click.argument("region")
@_MODELS
@_SETS
@click.option("--out", type=_FILE, help="TSV to write, also .gz [default: print].")
def show(store: Path, region: str, **options: Any) -> None:
    """Print the scores of REGION base by base.

    REGION is chrom:start-end, 0-based and half-open, or the name of a sequence without a place in a genome. A base under
    several windows has a row for each.
    """
    from chromtransfer_plugin.attribution.show import show_region

    show_region(store, region, **options)


@attributions.command()
@_STORE
@click.argument("region", required=False)
@_MODELS
@_SETS
@click.option("--out", type=_FILE, help="With REGION: the figure, .png, .pdf or .svg.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Instead: each of the first N windows.")
@click.option("--out-folder", type=_FILE, help="With --top: folder for the PNG files.")
def plot(store: Path, region: str | None, **options: Any) -> None:
    """Draw the letters of REGION as tall as their scores, one panel for each model."""
    from chromtransfer_plugin.attribution.figures import plot_store

    plot_store(store, region, report=lambda text: click.echo(text, err=True), **options)


@attributions.command()
@_STORE
@click.option("--format", type=click.Choice(["text", "bigwig", "bedgraph", "npz"]), required=True)
@click.option("--out", type=_FILE, required=True, help="Folder to write to.")
@_MODELS
@_SETS
@click.option(
    "--decimals", type=click.IntRange(0, 17), default=5, show_default=True, help="text: as the original, 5."
)
@click.option("--compress", is_flag=True, help="bedgraph: with gzip.")
@click.option("--quiet", is_flag=True, help="No progress bar, no messages but errors.")
def export(store: Path, quiet: bool, **options: Any) -> None:
    """Write the scores of each model over each set to files for other programs.

    text: the original's three lines per window. bigwig, bedgraph: the mean over the windows that cover a base. npz: for
    `modisco motifs -s ... -a ...`; needs a store computed with --hypothetical.
    """
    from chromtransfer_plugin.attribution.export import export_store

    export_store(
        store,
        progress=not quiet,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        **options,
    )
