"""The ``chromtransfer`` command. Each subcommand imports what it needs when it runs, so ``--help`` is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import chromtransfer_plugin
from chromtransfer_plugin import friendly
from chromtransfer_plugin.cli.attribute import attribute
from chromtransfer_plugin.cli.attributions import attributions
from chromtransfer_plugin.cli.dataset import dataset
from chromtransfer_plugin.cli.efficiency import efficiency
from chromtransfer_plugin.cli.evaluate import evaluate
from chromtransfer_plugin.cli.fetch import fetch
from chromtransfer_plugin.cli.keras import import_keras
from chromtransfer_plugin.cli.motifs import motifs
from chromtransfer_plugin.cli.predict import predict
from chromtransfer_plugin.cli.report import report
from chromtransfer_plugin.cli.variants import variants
from chromtransfer_plugin.cli.zoo import zoo
from chromtransfer_plugin.constants import CELL_LINES, SEED, TEST_CHROMOSOMES


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(chromtransfer_plugin.__version__, prog_name="chromtransfer")
def main() -> None:
    """Open-chromatin models of DNA: pre-train, fine-tune, predict and explain.

    Training runs through Selene (`selene_sdk FILE.yml`) or `train`, prediction through Kipoi (`kipoi predict`) or `predict`.
    Published Keras models come in by `import-keras`; `zoo` keeps models by name and shares them.
    """
    friendly.install(("chromtransfer",))


@main.command()
def doctor() -> None:
    """Print versions and the device, and check that Selene, Kipoi and tangermeme import and work."""
    from chromtransfer_plugin.doctor import run_checks

    if not run_checks():
        raise SystemExit(1)


@main.group()
def configs() -> None:
    """Show and copy the Selene YAML files and their example data."""


@configs.command("list")
def configs_list() -> None:
    """List the YAML files with one line on each."""
    from chromtransfer_plugin.configs_folder import list_configs

    for name, summary in list_configs():
        click.echo(f"{name:32} {summary}")


@configs.command("show")
@click.argument("name")
def configs_show(name: str) -> None:
    """Print one YAML file, named as in `configs list`."""
    from chromtransfer_plugin.configs_folder import read_config

    click.echo(read_config(name), nl=False)


@configs.command("copy")
@click.argument("destination", type=click.Path(path_type=Path), default=Path("configs"))
def configs_copy(destination: Path) -> None:
    """Copy the YAML files and example data to DESTINATION (default: ./configs, which their paths expect)."""
    from chromtransfer_plugin.configs_folder import copy_configs

    click.echo(f"{copy_configs(destination)} files written to {destination}")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Same seed, same files."
)
def simulate(out: Path, seed: int) -> None:
    """Write a small SIMULATED genome with labelled regions and planted motifs."""
    from chromtransfer_plugin.simulate import simulate as simulate_data

    click.echo(simulate_data(out, seed=seed))


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option(
    "--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Same seed, same numbers."
)
def demo(out: Path, seed: int) -> None:
    """Run the whole road on simulated data: pre-train, fine-tune, export, predict, explain (about 4 minutes)."""
    from chromtransfer_plugin.demo import run_demo

    run_demo(out, seed)


@main.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder with genome and regions."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/real"), show_default=True)
@click.option(
    "--line",
    "lines",
    multiple=True,
    default=("K562", "HEPG2"),
    show_default=True,
    type=click.Choice(CELL_LINES),
    help="Cell line; repeat for several.",
)
@click.option(
    "--configs",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder with pretrain.yml, finetune.yml and scratch.yml [default: the packaged configs/real].",
)
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True)
def reproduce(data: Path, out: Path, lines: tuple[str, ...], folder: Path | None, seed: int) -> None:
    """Pre-train, fine-tune and test on real labelled regions, with intervals and baselines."""
    from chromtransfer_plugin.reproduce import run_reproduction

    run_reproduction(data, out, lines, folder, seed)


@main.command()
@click.option("--genome", type=click.Path(path_type=Path), required=True, help="FASTA, plain or bgzip.")
@click.option(
    "--regions", multiple=True, type=click.Path(path_type=Path), help="Labelled CSV or BED; repeat."
)
@click.option("--positive", multiple=True, help="Label of the positives; repeat for several.")
@click.option("--class", "classes", multiple=True, help="Exclusive classes instead: repeat for each.")
@click.option(
    "--task", "tasks", multiple=True, metavar="NAME=FILE", help="Several binary tasks instead; repeat."
)
@click.option(
    "--exclusive", is_flag=True, help="With --task: positive in one task is negative in the others."
)
@click.option(
    "--holdout", multiple=True, type=click.Path(path_type=Path), help="Train on nothing overlapping these."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--protocol", default="scratch", show_default=True, help="pretrain, finetune, scratch, frozen or best"
)
@click.option("--pretrained", type=click.Path(path_type=Path), help="Checkpoint whose trunk is transferred.")
@click.option("--upto", help="Last trunk level to transfer [default: all].")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Hyper-parameter, e.g. lr=1e-4; repeat."
)
@click.option("--network", multiple=True, metavar="KEY=VALUE", help="Architecture, e.g. width=0.5; repeat.")
@click.option("--folds", type=click.IntRange(min=2), default=3, show_default=True)
@click.option("--fold", type=click.IntRange(min=0), default=0, show_default=True, help="Fold that validates.")
@click.option(
    "--fold-by",
    type=click.Choice(["chromosome", "locus", "homology"]),
    default="chromosome",
    show_default=True,
    help="What no fold divides: chromosomes, loci, or loci that have sequence in common.",
)
@click.option("--test-chromosome", "test", multiple=True, default=TEST_CHROMOSOMES, show_default=True)
@click.option("--ensemble", is_flag=True, help="Train one model for each fold; keep their mean.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True)
@click.option(
    "--motifs", default="JASPAR2024", show_default=True, help="Release or MEME file for network trunk=motifs."
)
@click.option("--trained-on", default="", help="One line on the data, for the model card.")
def train(
    out: Path, protocol: str, settings: tuple[str, ...], network: tuple[str, ...], tasks: tuple[str, ...],
    test: tuple[str, ...], pretrained: Path | None, upto: str | None, ensemble: bool, device: str, seed: int,
    trained_on: str, motifs: str, positive: tuple[str, ...], classes: tuple[str, ...], **data: Any,
) -> None:  # fmt: skip
    """Pre-train, fine-tune or train from scratch on labelled regions; the same engine as in Selene.

    With torchrun in front, on several GPUs: torchrun --nproc-per-node 2 $(which chromtransfer) train ...
    """
    from chromtransfer_plugin.options import key_values
    from chromtransfer_plugin.train import TrainingData
    from chromtransfer_plugin.train import train as run_training

    files = key_values("--task", tasks, parse=False)
    results = run_training(
        TrainingData(
            **data, positive=positive or None, classes=classes or None, tasks=files or None, test_chromosomes=test
        ),
        out, protocol, pretrained=pretrained, upto=upto, ensemble=ensemble, network=key_values("--network", network),
        settings=key_values("--set", settings), device=device, seed=seed, trained_on=trained_on, motifs=motifs,
    )  # fmt: skip
    for result in results:
        click.echo(
            f"{result.best_model}: validation loss {result.best.validation_loss:.4f} in epoch {result.best.epoch}"
        )


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the Kipoi model; becomes the folder's name.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder that receives the model folder."
)
@click.option("--genome", type=click.Path(path_type=Path), help="FASTA to cut the example sequence from.")
@click.option(
    "--intervals", type=click.Path(path_type=Path), help="BED of the example windows; needs --genome."
)
@click.option("--author", "authors", multiple=True, help="Name for the model's info; repeat for several.")
@click.option("--doc", help="One paragraph on the model.")
@click.option("--overwrite", is_flag=True, help="Replace an existing model folder.")
def export(
    checkpoint: Path,
    name: str,
    out: Path,
    genome: Path | None,
    intervals: Path | None,
    authors: tuple[str, ...],
    doc: str | None,
    overwrite: bool,
) -> None:
    """Write CHECKPOINT as a complete Kipoi model folder."""
    from chromtransfer_plugin.kipoi.export import AUTHORS, export_model

    folder = export_model(
        checkpoint,
        name,
        out,
        genome=genome,
        intervals=intervals,
        authors=authors or AUTHORS,
        doc=doc,
        overwrite=overwrite,
    )
    click.echo(f"Kipoi model written to {folder}\ncheck it with: kipoi test {folder} --source=dir")


for command in (
    attribute, attributions, dataset, efficiency, evaluate, fetch, import_keras, motifs, predict, report, variants, zoo,
):  # fmt: skip
    main.add_command(command)
