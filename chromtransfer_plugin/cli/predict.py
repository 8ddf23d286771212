"""``chromtransfer predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

_FILE = click.Path(path_type=Path)


class _Width(click.ParamType):
    name = "BP|native"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["native"]:
        if value == "native":
            return "native"
        try:
            return int(value)
        except ValueError:
            self.fail(f"'{value}' is neither a number of base pairs nor 'native'.", param, ctx)


WIDTH = _Width()
model_option = click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="[NAME=]MODEL",
    help="Model folder, folder of models, or name of an installed model; repeat for several.",
)


@click.command()
@model_option
@click.option("--bed", type=_FILE, help="Regions: BED or narrowPeak, plain or gzip.")
@click.option("--fasta", type=_FILE, help="Sequences instead, scored as they stand.")
@click.option("--csv", type=_FILE, help="Regions as `chrom:start-end,label` lines instead.")
@click.option("--genome", type=_FILE, help="FASTA (plain or bgzip) that --bed or --csv refers to.")
@click.option("--out", type=_FILE, required=True, help="File to write.")
@click.option(
    "--format",
    type=click.Choice(["tsv", "csv", "parquet", "bed", "bigwig", "original"]),
    help="[default: by the suffix of --out]",
)
@click.option(
    "--width",
    metavar="BP|native",
    type=WIDTH,
    help="Window around each centre, or 'native' for each row's own length [default: the models' window; native "
    "for --fasta and the original's forms].",
)
@click.option(
    "--n-policy",
    type=click.Choice(["zero", "original"]),
    default="zero",
    show_default=True,
    help="Unknown bases: all-zero columns in place, or deleted as the original script does.",
)
@click.option("--both-strands", is_flag=True, help="Mean of each sequence and its reverse complement.")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--strict", is_flag=True, help="Fail at the first row that cannot be scored.")
@click.option("--positive", metavar="LABEL", help="Labelled input: the label of the positive rows.")
@click.option("--evaluation", type=_FILE, help="With --positive: also write score, line, label name, label.")
@click.option("--evaluation-calls", is_flag=True, help="Add the older fifth column, the predicted 0/1.")
@click.option(
    "--quiet", is_flag=True, help="No progress bar, no messages but errors and the making of a genome cache."
)
def predict(models: tuple[str, ...], quiet: bool, **options: Any) -> None:
    """Predict open chromatin for regions or sequences with one or many models.

    One row for each input row, in its order; rows that cannot be scored say why in the column `status`. A killed run
    goes on where it stopped when the same command is given again.
    """
    from chromtransfer_plugin.prediction import predict_file

    predict_file(
        models,
        progress=not quiet,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        **options,
    )
