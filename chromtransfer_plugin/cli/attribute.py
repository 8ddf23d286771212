"""``chromtransfer attribute``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chromtransfer_plugin.cli.predict import WIDTH, model_option

_FILE = click.Path(path_type=Path)


@click.command()
@model_option
@click.option(
    "--set",
    "sets",
    multiple=True,
    required=True,
    metavar="[NAME=]FILE",
    help="Regions (BED, narrowPeak or `chrom:start-end,label` lines), or FASTA; repeat for several.",
)
@click.option("--genome", type=_FILE, help="FASTA (plain or bgzip) that the regions refer to.")
@click.option("--out", type=_FILE, required=True, help="Store to write, a folder.")
@click.option(
    "--method",
    type=click.Choice(["gradient-x-input", "integrated-gradients", "deep-lift-shap", "ism"]),
    default="gradient-x-input",
    show_default=True,
)
@click.option(
    "--objective",
    type=click.Choice(["logit", "probability"]),
    default="logit",
    show_default=True,
    help="What is explained; the paper used the probability.",
)
@click.option(
    "--target", metavar="NAME|NUMBER|all", help="Output of models that have several [default: all of them]."
)
@click.option(
    "--hypothetical",
    is_flag=True,
    help="Keep the scores of all four bases, for TF-MoDISco; five times the space.",
)
@click.option(
    "--width",
    metavar="BP|native",
    type=WIDTH,
    help="Window around each centre, or 'native' for what is there, of one length [default: the models' window].",
)
@click.option(
    "--select",
    type=click.Choice(["largest", "min", "max", "mean"]),
    help="ism: which of the three differences of a base [default: largest].",
)
@click.option(
    "--ism-method",
    type=click.Choice(["auto", "windowed", "naive", "taylor"]),
    help="ism: how it is computed [default: auto].",
)
@click.option("--steps", type=click.IntRange(min=1), help="integrated-gradients: steps [default: 50].")
@click.option(
    "--baseline", type=click.Choice(["zero", "shuffled"]), help="integrated-gradients: start [default: zero]."
)
@click.option("--references", type=click.IntRange(min=1), help="Shuffles of each sequence [default: 20].")
@click.option("--seed", type=click.IntRange(min=0), help="Of the shuffles [default: 1].")
@click.option("--batch-size", type=click.IntRange(min=1), help="Sequences, or for ism mutants, at once.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--strict", is_flag=True, help="Fail at the first row that cannot be used.")
@click.option("--quiet", is_flag=True, help="No progress bar, no messages but errors.")
def attribute(
    models: tuple[str, ...], sets: tuple[str, ...], out: Path, genome: Path | None, target: str | None,
    hypothetical: bool, width: Any, device: str, strict: bool, quiet: bool, **settings: Any,
) -> None:  # fmt: skip
    """Attribute outputs of one or many models to the bases of one or many sets of regions, into a store.

    `chromtransfer attributions` shows, draws and exports what is in it. A killed run goes on where it stopped when the
    same command is given again.
    """
    from chromtransfer_plugin.attribution.run import attribute_file

    attribute_file(
        models, sets, out, genome=genome, width=width, target=target, hypothetical=hypothetical, device=device,
        strict=strict, settings={name: value for name, value in settings.items() if value is not None},
        progress=not quiet, report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
    )  # fmt: skip
