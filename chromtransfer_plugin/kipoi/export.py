"""Write a checkpoint as a complete Kipoi model folder; Kipoi itself is not needed for it."""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import yaml

import chromtransfer_plugin
from chromtransfer_plugin.checkpoint import CARD, WEIGHTS, Card, find_checkpoint, load_model
from chromtransfer_plugin.constants import SEED, WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, make_folder
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi.example import write_example, write_expectation

DESCRIPTION = "model.yaml"
EXPECTATION = "expect.h5"
PRECISION = 5  # decimals `kipoi test` compares; float32 sums differ by about 1e-7 between machines
PINNED = ("torch", "numpy", "pandas", "safetensors", "h5py", "kipoi", "setuptools")
AUTHORS = ("The chromtransfer-plugin authors",)
TAGS = ("DNA accessibility",)  # a tag of the public Kipoi collection
MOST_NAME = 100  # characters; file systems take 255 bytes, of which the temporary folder's mark needs some
SMOKE = "SMOKE TEST, NOT A TRAINED MODEL. "


def export_model(
    checkpoint: str | Path,
    name: str,
    out_dir: str | Path,
    *,
    genome: str | Path | None = None,
    intervals: str | Path | None = None,
    authors: Sequence[str | Mapping[str, str]] = AUTHORS,
    doc: str | None = None,
    tags: Sequence[str] = TAGS,
    version: str = "0.1",
    overwrite: bool = False,
    seed: int = SEED,
) -> Path:
    """Write ``out_dir/name``: description, weights, card, example files and expected predictions.

    The folder appears under its name only when it is complete. The example genome is a few kb and has
    lower-case and unknown bases, so that ``kipoi test`` runs through them. Equal arguments give equal bytes.

    Parameters
    ----------
    checkpoint : path
        Anything :func:`~chromtransfer_plugin.checkpoint.load_model` takes.
    name : str
        Name of the model and of its folder.
    out_dir : path
        Created if needed.
    genome : path, optional
        FASTA to cut the example windows from; by default they are random sequence.
    intervals : path, optional
        Regions of ``genome`` to take the example windows from, spread over the file; by default random ones.
    authors : sequence of str or mapping
        Who made this model: names, or mappings with ``name`` and optionally ``github`` and ``email``.
    doc : str, optional
        One sentence or more on what the model predicts, put before the technical description.
    tags : sequence of str
        Kipoi tags.
    version : str
        Of the model.
    overwrite : bool
        Replace an earlier export.
    seed : int
        Of random example sequence or places.

    Returns
    -------
    Path
        The model folder. ``load_model`` reads it too.

    Raises
    ------
    ChromTransferError
        If the name or the checkpoint is unusable, the folder exists, or nothing can be written there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name, re.ASCII) or name.isdigit() or len(name) > MOST_NAME:
        raise ChromTransferError(
            f"model name '{name}': use at most {MOST_NAME} letters (A-Z, a-z), digits, '.', '_', '+' and '-', "
            "and not digits alone, which Kipoi takes for a number."
        )
    if intervals is not None and genome is None:
        raise ChromTransferError(
            f"{intervals}: example intervals need the genome they refer to; name it too."
        )
    model, card = load_model(checkpoint)
    source = find_checkpoint(checkpoint)
    target = Path(out_dir) / name
    _check_target(target, overwrite)
    if card.training.get("smoke") is True:
        warnings.warn(
            f"{source}: comes from a smoke test and has learnt nothing; {target / DESCRIPTION} says so.",
            ChromTransferWarning,
            stacklevel=2,
        )
    make_folder(target.parent)
    with atomic_folder(target) as folder:
        for file in (WEIGHTS, CARD):
            shutil.copyfile(source / file, folder / file)
        codes = write_example(folder / "example_files", card.window, genome, intervals, seed)
        write_expectation(folder / EXPECTATION, model, card, codes)
        description = describe(card, authors, doc, tags, version)
        (folder / DESCRIPTION).write_text(_to_yaml(description), encoding="utf-8")
    return target


def describe(
    card: Card, authors: Sequence[str | Mapping[str, str]], doc: str | None, tags: Sequence[str], version: str
) -> dict[str, Any]:
    """Give the content of ``model.yaml`` for a card."""
    n = len(card.outputs)
    loader: dict[str, Any] = {"defined_as": "chromtransfer_plugin.kipoi.RegionDataloader"}
    if card.window != WINDOW:
        loader["default_args"] = {"width": card.window}
    meaning = (
        "Probabilities of exclusive classes (softmax, they add up to 1)"
        if card.activation == "softmax"
        else "Probability of each output (sigmoid)"
    )
    one = card.members == 1
    network = "ChromTransfer network" if one else f"Mean logit of {card.members} ChromTransfer networks"
    technical = (
        f"{network}: {card.window} bp of DNA in, {n} probabilit{'y' if n == 1 else 'ies'} out. "
        "Only the plus strand is read. A window without any known base gets NaN."
    )
    full = f"{doc.strip()}\n{technical}" if doc else technical
    return {
        "defined_as": "chromtransfer_plugin.kipoi.ChromTransferModel",
        "args": {"checkpoint": "."},
        "default_dataloader": loader,
        "info": {
            "authors": [{"name": author} if isinstance(author, str) else dict(author) for author in authors],
            "doc": SMOKE + full if card.training.get("smoke") is True else full,
            "cite_as": card.cite_as,
            "license": card.license,
            "trained_on": card.trained_on or "Not stated in the checkpoint's card.",
            "training_procedure": _training_text(card.training),
            "tags": list(tags),
            "version": version,
        },
        "dependencies": {
            "conda": [f"python={sys.version_info.major}.{sys.version_info.minor}", "pip"],
            "pip": [
                f"chromtransfer-plugin=={chromtransfer_plugin.__version__}",
                *(f"{package}=={_public_version(package)}" for package in PINNED),
            ],
        },
        "schema": {
            "inputs": {
                "shape": f"(4, {card.window})",  # Kipoi evaluates this text; a YAML list is an error
                "special_type": "DNASeq",
                "doc": "One-hot DNA, channels first (A, C, G, T); an unknown base is an all-zero column.",
                "associated_metadata": ["ranges"],
            },
            "targets": {
                "shape": f"({n},)",
                "doc": f"{meaning}: {', '.join(card.outputs)}",
                "column_labels": card.outputs,
            },
        },
        "test": {"expect": EXPECTATION, "precision_decimal": PRECISION},
    }


def _training_text(training: Mapping[str, Any]) -> str:
    """Give the plain values of the card's training record as one line; the card has all of it."""
    plain = [f"{key}: {value}" for key, value in training.items() if isinstance(value, str | int | float)]
    return "; ".join(plain) or "Not stated in the checkpoint's card."


def _public_version(package: str) -> str:
    """Installed version without the build tag (``+cpu``), which the package index does not know."""
    return installed_version(package).partition("+")[0]


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise ChromTransferError(
            f"{target}: exists already. Choose another name, or overwrite it (--overwrite)."
        )
    if not (target / DESCRIPTION).is_file():
        raise ChromTransferError(
            f"{target}: has no {DESCRIPTION}, so it is no exported model and is kept. Remove it yourself."
        )


class _Dumper(yaml.SafeDumper):
    """Block text for strings of several lines, indented lists."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _to_yaml(description: Mapping[str, Any]) -> str:
    return yaml.dump(dict(description), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
