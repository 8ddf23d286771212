"""``chromtransfer fetch``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.group()
def fetch() -> None:
    """Download published weights, labels, genome and motifs, verified.

    Downloads are continued where they stopped, and a file appears only when its bytes are right. What is there already
    is verified, not downloaded again. See docs/download.md.
    """


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--offline", is_flag=True, help="Download nothing; verify what is there."),
        click.option("--url", metavar="BASE", help="Mirror (https://...), or its local folder."),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            help="Folder to write to [default: in the cache folder].",
        ),
    ):
        function = option(function)
    return function


_only = click.option(
    "--only", multiple=True, metavar="NAME", help="One model or cell line; repeat for several."
)
_pin = click.option("--sha256", metavar="HEX", help="SHA-256 the downloaded file must have.")


def _run(what: str, **options: Any) -> None:
    from chromtransfer_plugin.fetch import fetch as fetch_files
    from chromtransfer_plugin.fetch import summary

    results = fetch_files(what, say=lambda result: click.echo(str(result), err=bool(result.error)), **options)
    failed = any(result.error for result in results)
    click.echo(summary(results), err=failed)
    if failed:
        raise SystemExit(1)


@fetch.command()
@_options
@_only
def published(**options: Any) -> None:
    """Get the paper's Keras models (.h5), for `chromtransfer import-keras FOLDER --out models`.

    Names: pretrained, multiclass and the cell lines A549, GM12878, HCT116, HEPG2, K562, MCF7.
    """
    _run("published", **options)


@fetch.command()
@_options
@_only
def labels(**options: Any) -> None:
    """Get the paper's labelled regions (CSV), train and test, of the six cell lines."""
    _run("labels", **options)


@fetch.command()
@_options
@_pin
def hg38(**options: Any) -> None:
    """Get UCSC's hg38 as plain FASTA, verified against UCSC's md5sum.txt or --sha256 (of hg38.fa.gz).

    About 1 GB is downloaded; unpacking needs about 4.5 GB of disk, the result about 3.3 GB.
    """
    _run("hg38", **options)


@fetch.command()
@_options
@_pin
def jaspar(**options: Any) -> None:
    """Get JASPAR 2024's vertebrate motifs in MEME format, for other tools.

    Our own commands need no download: pyjaspar, which is installed with us, has them.
    """
    _run("jaspar", **options)
