"""``chromtransfer dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from chromtransfer_plugin.constants import SEED, TEST_CHROMOSOMES, WINDOW

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


@dataset.command()
@click.argument("regions", type=_FILE, nargs=-1, required=True)
@click.option(
    "--genome", type=_FILE, help="FASTA, plain or bgzip; needed by homology, and to compare sequences."
)
@click.option(
    "--by",
    type=click.Choice(["chromosome", "locus", "homology"]),
    default="chromosome",
    show_default=True,
    help="What no two folds share; by homology, training windows like a test window are dropped.",
)
@click.option(
    "--test", multiple=True, help=f"Test chromosome; repeat.  [default: {', '.join(TEST_CHROMOSOMES)}]"
)
@click.option(
    "--test-share", type=float, help="Instead of --test: whole groups with this share of the windows."
)
@click.option("--folds", type=click.IntRange(min=2), default=3, show_default=True)
@click.option(
    "--width", type=click.IntRange(min=1), default=WINDOW, show_default=True, help="bp of a window."
)
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True)
@click.option("-o", "--out", type=_FILE, required=True, help="Folder to write.")
def split(
    regions: tuple[Path, ...], genome: Path | None, by: Literal["chromosome", "locus", "homology"],
    test: tuple[str, ...], test_share: float | None, folds: int, width: int, seed: int, out: Path,
) -> None:  # fmt: skip
    """Divide labelled REGIONS into training and test files and folds, and say what these share."""
    from chromtransfer_plugin.dataset_split import split_regions

    result = split_regions(
        list(regions),
        out,
        genome,
        by=by,
        test=test,
        test_share=test_share,
        folds=folds,
        width=width,
        seed=seed,
    )
    click.echo(result.report)


@dataset.command()
@click.option("--train", type=_FILE, multiple=True, required=True, help="Training regions; repeat.")
@click.option("--test", type=_FILE, multiple=True, required=True, help="Test regions; repeat.")
@click.option("--genome", type=_FILE, help="FASTA, plain or bgzip; without, places alone are compared.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="A test window leaks if it shares so much of its words with training windows.",
)
@click.option("-k", type=int, default=24, show_default=True, help="Bases of a word, 11 to 31.")
@click.option(
    "--width", type=click.IntRange(min=1), default=WINDOW, show_default=True, help="bp of a window."
)
@click.option("--fail", is_flag=True, help="Exit with an error if there is a leak.")
@click.option("-o", "--out", type=_FILE, required=True, help="Folder for leaks.json and leaks.tsv.")
def leaks(
    train: tuple[Path, ...], test: tuple[Path, ...], genome: Path | None, share: float, k: int, width: int, fail: bool,
    out: Path,
) -> None:  # fmt: skip
    """Find test windows that a model has seen in training: the same, overlapping, or with shared sequence."""
    from chromtransfer_plugin.dataset_split import leak_files
    from chromtransfer_plugin.errors import ChromTransferError

    report, examples = leak_files(list(train), list(test), out, genome, width=width, k=k, share=share)
    click.echo("\n".join(line for line in (report.verdict(), examples) if line))
    if fail and report.leaks:
        raise ChromTransferError(
            f"training and test are not apart, see {out / 'leaks.tsv'}. Leave the test out of training "
            "(`chromtransfer train --holdout TEST`), or split anew (`chromtransfer dataset split`)."
        )
