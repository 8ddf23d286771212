"""``chromtransfer dataset``."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.group()
def dataset() -> None:
    """Build data sets from ENCODE files, split them, and look for leaks between training and test."""


@dataset.command()
@click.argument("config", type=_FILE)
@click.option("-o", "--out", type=_FILE, required=True, help="Folder to write.")
@click.option("--quiet", is_flag=True, help="No progress bar, no messages but errors.")
def build(config: Path, out: Path, quiet: bool) -> None:
    """Build training sets as CONFIG (YAML) says, from regions, bigWig signal or peaks, and a genome.

    Each line gets its own set: regions that are open in it alone, against regions that are not open in it. Every step
    prints how many regions it left. `chromtransfer configs show dataset/example` is an example.
    """
    from chromtransfer_plugin.preparation.run import build_dataset

    build_dataset(
        config,
        out,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        progress=not quiet,
    )
