"""``chromtransfer zoo push`` and ``pull``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

_PLACE = "Folder, http(s) address of a folder, or hf://owner/repository."


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--to", required=True, metavar="TARGET", help=_PLACE)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder of models [default: the installed ones, then those that come with the package].",
)
@click.option("--overwrite", is_flag=True, help="Replace published models of the same name.")
def push(models: tuple[str, ...], to: str, source: Path | None, overwrite: bool) -> None:
    """Publish models, by name or folder, for `zoo pull`.

    A server must take HTTP PUT; a token for it goes into CHROMTRANSFER_ZOO_TOKEN. The Hugging Face Hub needs
    `pip install 'chromtransfer-plugin[hub]'` and a login. See docs/download.md.
    """
    from chromtransfer_plugin.zoo.share import push as push_models

    _report(push_models(models, to, source=source, overwrite=overwrite, say=_say))


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--from", "source", required=True, metavar="TARGET", help=_PLACE)
@click.option("--all", "every", is_flag=True, help="All models that are published there.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder of models to write to [default: the installed ones].",
)
@click.option("--overwrite", is_flag=True, help="Replace models of the same name.")
def pull(names: tuple[str, ...], source: str, every: bool, into: Path | None, overwrite: bool) -> None:
    """Get published models; each is verified and tried out before it appears."""
    from chromtransfer_plugin.zoo.share import pull as pull_models

    if bool(names) == every:
        raise click.UsageError("give names of models, or --all.")
    _report(pull_models(names, source, every=every, into=into, overwrite=overwrite, say=_say))


def _say(result: Any) -> None:
    click.echo(str(result), err=bool(result.error))


def _report(results: Sequence[Any]) -> None:
    from chromtransfer_plugin.zoo.share import summary

    failed = any(result.error for result in results)
    click.echo(summary(results), err=failed)
    if failed:
        raise SystemExit(1)
