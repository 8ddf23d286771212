"""``chromtransfer zoo``."""

from __future__ import annotations

from pathlib import Path

import click

from chromtransfer_plugin.cli.share import pull, push
from chromtransfer_plugin.constants import SEED
from chromtransfer_plugin.errors import ChromTransferError

_SOURCE = click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder of models [default: the installed ones, then those that come with the package].",
)


@click.group()
def zoo() -> None:
    """List, install, test and share models."""


@zoo.command("list")
@_SOURCE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(source: Path | None, as_json: bool) -> None:
    """List models: outputs, network, windows trained on, held-out AUROC, licence, size."""
    from chromtransfer_plugin.zoo.listing import overview, overview_text

    rows = overview(source)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(overview_text(rows))


@zoo.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Folder of models [default: those that come with the package].",
)
@click.option("--overwrite", is_flag=True, help="Replace an installed model of that name.")
def install(names: tuple[str, ...], source: Path | None, overwrite: bool) -> None:
    """Copy models, by name or folder, to the installed ones, which `predict --model NAME` finds."""
    from chromtransfer_plugin.zoo.install import install as install_model

    failed = 0
    for name in names:
        try:
            click.echo(f"installed {install_model(name, source, overwrite=overwrite)}")
        except ChromTransferError as error:
            failed += 1
            click.echo(f"Error: {error}", err=True)
    if failed:
        if len(names) > 1:
            click.echo(f"{failed} of {len(names)} not installed.", err=True)
        raise SystemExit(1)


@zoo.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="Test every model.")
@_SOURCE
@click.option(
    "--kipoi/--no-kipoi", "with_kipoi", default=True, show_default=True, help="Run `kipoi test` too."
)
def test_models(names: tuple[str, ...], every: bool, source: Path | None, with_kipoi: bool) -> None:
    """Check files, weights and expected predictions of models; exit with 1 if one fails."""
    from chromtransfer_plugin.zoo.check import check_models, checks_text

    if bool(names) == every:
        raise click.UsageError("give names of models, or --all.")
    tests = check_models(names, source, with_kipoi=with_kipoi)
    click.echo(checks_text(tests))
    if not all(test.passed for test in tests):
        raise SystemExit(1)


@zoo.command("card")
@click.argument("name")
@_SOURCE
@click.option("--rebuild", is_flag=True, help="Write README.md, and what Kipoi reads of its group, again.")
def show_card(name: str, source: Path | None, rebuild: bool) -> None:
    """Print the model card of a model, generated from its run record."""
    from chromtransfer_plugin.zoo.source import model_card

    click.echo(model_card(name, source, rebuild=rebuild), nl=False)


@zoo.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the model in its group.")
@click.option("--group", default="ChromTransfer", show_default=True, help="Name of the group.")
@click.option(
    "--source", type=click.Path(path_type=Path), help="Folder of models [default: the installed ones]."
)
@click.option("--doc", help="One paragraph on the model.")
@click.option("--author", "authors", multiple=True, help="Who made it; repeat for several.")
@click.option("--tag", "tags", multiple=True, help="Kipoi tag; repeat for several.")
@click.option("--version", help="Version of the model.")
@click.option(
    "--genome", type=click.Path(path_type=Path), help="FASTA to cut the group's example windows from."
)
@click.option(
    "--intervals", type=click.Path(path_type=Path), help="BED of the example windows; needs --genome."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Of random example windows."
)
@click.option("--overwrite", is_flag=True, help="Replace a model of that name.")
def add(
    checkpoint: Path, name: str, group: str, source: Path | None, doc: str | None, authors: tuple[str, ...],
    tags: tuple[str, ...], version: str | None, genome: Path | None, intervals: Path | None, seed: int,
    overwrite: bool,
) -> None:  # fmt: skip
    """Make CHECKPOINT a model of a zoo, which Kipoi can use too."""
    from chromtransfer_plugin.kipoi.group import add_to_group
    from chromtransfer_plugin.zoo.source import installed_zoo

    folder = add_to_group(
        checkpoint, name, source or installed_zoo(), group, overwrite=overwrite, doc=doc, genome=genome,
        intervals=intervals, authors=authors or None, tags=tags or None, version=version, seed=seed,
    )  # fmt: skip
    click.echo(f"model written to {folder}\ncheck it with: chromtransfer zoo test {folder}")


zoo.add_command(push)
zoo.add_command(pull)
