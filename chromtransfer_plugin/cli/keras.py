"""``chromtransfer import-keras``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("import-keras")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--name", help="What the model is called, e.g. K562 [default: as its file or folder says].")
@click.option("--outputs", metavar="A,B,...", help="Names of the outputs, in order, separated by commas.")
@click.option("--license", help="Licence of the weights [default: GPL-3.0-only for the published files].")
@click.option(
    "--zoo/--no-zoo", default=None, help="Write OUT/ChromTransfer/NAME, for kipoi  [default: for folders]"
)
@click.option("--table/--no-table", default=None, help="List every array  [default: for single files]")
@click.option("--overwrite", is_flag=True, help="Replace models that exist.")
def import_keras(
    path: Path,
    out: Path,
    name: str | None,
    outputs: str | None,
    license: str | None,
    zoo: bool | None,
    table: bool | None,
    overwrite: bool,
) -> None:
    """Turn published Keras files into checkpoints or entries of a model zoo; TensorFlow is not needed.

    PATH is a Keras 2 file (.h5), a model configuration (.json, gives random weights), or a folder laid out as the
    published repository. Nothing in the files is executed.
    """
    from chromtransfer_plugin.keras import import_keras as run

    names = [text.strip() for text in outputs.split(",")] if outputs is not None else None
    click.echo(
        run(
            path,
            out,
            name=name,
            outputs=names,
            license=license,
            zoo=zoo,
            table=table,
            overwrite=overwrite,
        )
    )
