"""``chromtransfer motifs``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chromtransfer_plugin.cli.discover import discover

_FILE = click.Path(path_type=Path)


@click.group()
def motifs() -> None:
    """Find out which motifs a model reads."""


def _sources(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the sites come from."""
    options = [
        click.option(
            "--set", "sets", multiple=True, help="Set of the store; repeat for several [default: all]."
        ),
        click.option(
            "--motifs",
            default="JASPAR2022",
            show_default=True,
            metavar="RELEASE|FILE",
            help="Release of JASPAR, or a file in MEME format, to scan with.",
        ),
        click.option(
            "--track", type=_FILE, help="Sites from this genome-wide JASPAR bigBed instead of a scan."
        ),
        click.option(
            "--track-field", default="name", show_default=True, help="Field of the track that names a motif."
        ),
        click.option("--threshold", type=float, default=1e-5, show_default=True, help="Largest P of a site."),
        click.option("--quiet", is_flag=True, help="No progress bars, no messages but errors."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_motif = click.option(
    "--motif",
    "names",
    multiple=True,
    help="Only this motif: its full name, its matrix (MA0114.4) or its factor (HNF4A); repeat for several.",
)
_min_hits = click.option(
    "--min-hits", type=click.IntRange(min=1), default=100, show_default=True, help="Fewest sites of a motif."
)


def _common(quiet: bool, sets: tuple[str, ...], names: tuple[str, ...] | None = None) -> dict[str, Any]:
    report = (lambda _: None) if quiet else click.echo
    options: dict[str, Any] = {"progress": not quiet, "report": report, "sets": sets or None}
    return options if names is None else options | {"names": names or None}


@motifs.command()
@click.argument("store", type=_FILE)
@_sources
@click.option(
    "--out", type=_FILE, required=True, help="File to write: .parquet (for `compare`), .tsv or .tsv.gz."
)
def scan(store: Path, out: Path, quiet: bool, sets: tuple[str, ...], **options: Any) -> None:
    """Find the sites of motifs in the windows of STORE.

    `compare` does this itself; with the file as its --hits several comparisons need one scan.
    """
    from chromtransfer_plugin.motifs.commands import scan_store

    scan_store(store, out, **_common(quiet, sets), **options)


@motifs.command()
@click.argument("store", type=_FILE)
@click.option("--a", required=True, metavar="MODEL", help="A model of the store.")
@click.option("--b", metavar="MODEL", help="A second one, to compare the first with.")
@_sources
@_motif
@click.option("--hits", type=_FILE, help="Sites that `motifs scan` wrote for the same store and sets.")
@_min_hits
@click.option(
    "--fdr", type=float, default=0.001, show_default=True, help="A motif is significant below this."
)
@click.option(
    "--off-by-one", is_flag=True, help="Read each site one base to the right, as the original does."
)
@click.option("--figures", type=click.Choice(["pdf", "png", "svg", "none"]), default="pdf", show_default=True)
@click.option("--no-html", is_flag=True, help="Without the page report.html.")
@click.option("--hits-text", is_flag=True, help="Also write the sites as hits.tsv.gz.")
@click.option("--out", type=_FILE, required=True, help="Folder to write.")
def compare(
    store: Path, a: str, b: str | None, out: Path, quiet: bool, sets: tuple[str, ...], names: tuple[str, ...],
    figures: Any, no_html: bool, **options: Any,
) -> None:  # fmt: skip
    """Test which motifs a model of STORE reads, or which two models read differently.

    The score of a site is the largest attribution of its bases (smallest, for in-silico mutagenesis). The scores of a
    motif's sites are compared with those of all other motifs' by a signed Kolmogorov-Smirnov test.
    """
    from chromtransfer_plugin.motifs.commands import compare_store

    compare_store(
        store, a, b, out, figures=None if figures == "none" else figures, html=not no_html,
        **_common(quiet, sets, names), **options,
    )  # fmt: skip


@motifs.command()
@click.argument("gradients", type=_FILE)
@click.argument("ism", type=_FILE)
@click.option("--model", required=True, help="The model, in both stores.")
@click.option("--ism-model", help="Its name in ISM, if it has another one there.")
@_sources
@_motif
@_min_hits
@click.option("--out", type=_FILE, required=True, help="Table to write, as OUT.tsv and OUT.parquet.")
def agree(
    gradients: Path, ism: Path, model: str, out: Path, quiet: bool, sets: tuple[str, ...], names: tuple[str, ...],
    **options: Any,
) -> None:  # fmt: skip
    """Correlate gradient x input and in-silico mutagenesis at the sites of each motif.

    GRADIENTS and ISM are stores of the same genome; their common windows are used. Where the methods agree the
    correlation is negative: the loss of a base that matters lowers the output.
    """
    from chromtransfer_plugin.motifs.commands import agree_stores

    agree_stores(gradients, ism, model, out, **_common(quiet, sets, names), **options)


motifs.add_command(discover)
