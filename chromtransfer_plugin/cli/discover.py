"""``chromtransfer motifs discover``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("store", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="Folder to write.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Model in the store; repeat for several [default: all].",
)
@click.option(
    "--set", "sets", multiple=True, metavar="NAME", help="Windows to use; repeat for several [default: all]."
)
@click.option("--own-sets", is_flag=True, help="Each model on the set of its own name, instead of --set.")
@click.option(
    "--motifs", default="JASPAR2022", show_default=True, help="Release of JASPAR or file in MEME format."
)
@click.option(
    "--max-seqlets",
    type=click.IntRange(min=101),
    default=20_000,
    show_default=True,
    help="Most seqlets of either sign to cluster; fewer are faster.",
)
@click.option("--window", type=int, metavar="BP", help="Use the centre of each window only [default: all].")
@click.option(
    "--q",
    "q_threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="A pattern is named by its best match if its q is below.",
)
@click.option("--seqlets-only", is_flag=True, help="No patterns; needs no TF-MoDISco.")
@click.option("--annotate", is_flag=True, help="Add the nearest motif to every seqlet.")
@click.option("--quiet", is_flag=True, help="No progress, no messages but errors.")
def discover(store: Path, out: Path, quiet: bool, **options: Any) -> None:
    """Find recurring patterns in stored attributions (TF-MoDISco) and name them by known motifs (TOMTOM).

    STORE is a folder written by `chromtransfer attribute --hypothetical`. TF-MoDISco is an extra:
    pip install 'chromtransfer-plugin[modisco]'.
    """
    from chromtransfer_plugin.motifs.discover import discover_motifs

    written = discover_motifs(
        store,
        out,
        progress=not quiet,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        **options,
    )
    click.echo(f"written to {written}")
