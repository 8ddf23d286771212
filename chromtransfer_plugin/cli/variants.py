"""``chromtransfer variants``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chromtransfer_plugin.constants import SEED

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("vcf", type=_FILE)
@click.option("--genome", type=_FILE, required=True, help="FASTA (plain or bgzip) that the VCF refers to.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]MODEL",
    help="Name of a model that is installed or comes along (HEPG2), a model folder, or a folder of models; repeat.",
)
@click.option(
    "--ensemble",
    "ensembles",
    multiple=True,
    metavar="NAME=MODEL",
    help="Member of the ensemble NAME, whose members' mean counts as one model; repeat.",
)
@click.option(
    "-o",
    "--out",
    type=_FILE,
    multiple=True,
    required=True,
    help="File to write: .vcf.gz, .vcf, .tsv, .tsv.gz or .parquet; repeat for several.",
)
@click.option(
    "--strand",
    type=click.Choice(["both", "forward"]),
    default="both",
    show_default=True,
    help="Mean of both strands' logits, or the plus strand alone.",
)
@click.option(
    "--shift",
    "shifts",
    type=int,
    multiple=True,
    metavar="BP",
    help="Score windows moved by BP (may be negative) as well as centred ones, keep the largest effect of each output "
    "(of exclusive classes together); repeat.",
)
@click.option(
    "--edges",
    type=click.Choice(["pad", "skip"]),
    default="pad",
    show_default=True,
    help="Windows off a contig's end: filled with unknown bases and flagged, or not scored.",
)
@click.option("--swap", is_flag=True, help="Score alleles whose ALT, not REF, is what the genome has.")
@click.option(
    "--null",
    default="genome",
    show_default=True,
    metavar="genome|shuffled|none|VCF",
    help="What effects are compared with for percentile and p-value: variants drawn from the genome, in shuffled "
    "sequence, none, or those of a VCF.",
)
@click.option("--null-size", type=click.IntRange(min=1), default=1000, show_default=True, help="How many.")
@click.option("--null-regions", type=_FILE, help="BED in which the null's variants are drawn.")
@click.option("--cache", type=_FILE, help="File of scored windows that is read and added to.")
@click.option("--width", type=click.IntRange(min=1), metavar="BP", help="Window [default: the models'].")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=256, show_default=True, help="Changes speed only."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Of the null.")
@click.option("--figures", type=_FILE, help="Folder for figures and a page on the largest effects.")
@click.option(
    "--top", type=click.IntRange(min=1), default=20, show_default=True, help="How many with --figures."
)
@click.option(
    "--quiet", is_flag=True, help="No progress bar, no messages but errors and the making of a genome cache."
)
def variants(vcf: Path, quiet: bool, top: int, figures: Path | None, **options: Any) -> None:
    """Score the variants of a VCF (plain or bgzip) or BCF with one or many models.

    Scores of an ALT allele are the probabilities that REF and ALT are open, their difference, the change of the
    log-odds, and its percentile and P-value among variants without a meaning (--null). Records come back as they are,
    with the scores in INFO (fields CT_*), sorted and indexed; tables have a row for each ALT allele. Alleles that
    cannot be scored say why. A killed run goes on where it stopped when the same command is given again.
    """
    from chromtransfer_plugin.variants.run import score_variants

    score_variants(
        vcf,
        top=top if figures else 0,
        figures=figures,
        progress=not quiet,
        report=(lambda _: None) if quiet else (lambda text: click.echo(text, err=True)),
        **options,
    )
