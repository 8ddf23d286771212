"""What Kipoi is told about a model: the content of a ``model.yaml``, or of a group's template and table."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import requires
from importlib.metadata import version as installed_version
from typing import Any

import yaml

import chromtransfer_plugin
from chromtransfer_plugin.checkpoint import Card
from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError

EXPECTATION = "expect.h5"
EXAMPLES = "example_files"
PRECISION = 5  # decimals `kipoi test` compares; float32 sums differ by about 1e-7 between machines
NEEDED = ("torch", "numpy", "pandas", "safetensors", "h5py", "kipoi", "setuptools")
AUTHORS = ("The chromtransfer-plugin authors",)
TAGS = ("DNA accessibility",)  # a tag of the public Kipoi collection
VERSION = "0.1"
MOST_NAME = 100  # characters; file systems take 255 bytes, of which the temporary folder's mark needs some
SMOKE = "SMOKE TEST, NOT A TRAINED MODEL. "
NOT_STATED = "Not stated in the checkpoint's card."
_PLACE = re.compile(r"JINJA_(\w+?)_END")

Authors = Sequence[str | Mapping[str, str]]


def check_name(name: str, what: str = "model name") -> None:
    """Refuse a name that Kipoi or a file system would stumble over."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name, re.ASCII) or name.isdigit() or len(name) > MOST_NAME:
        raise ChromTransferError(
            f"{what} '{name}': use at most {MOST_NAME} letters (A-Z, a-z), digits, '.', '_', '+' and '-', "
            "and not digits alone, which Kipoi takes for a number."
        )


def facts(card: Card, authors: Authors, doc: str | None, tags: Sequence[str], version: str) -> dict[str, Any]:
    """Give what differs between models: the values of a ``model.yaml``, the columns of a ``models.tsv``."""
    text = f"{doc.strip()}\n{technical(card)}" if doc and doc.strip() else technical(card)
    meaning = (
        "Probabilities of exclusive classes (softmax, they add up to 1)"
        if card.activation == "softmax"
        else "Probability of each output (sigmoid)"
    )
    return {
        "outputs": list(card.outputs),
        "n_outputs": len(card.outputs),
        "activation": card.activation,
        "window": card.window,
        "doc": SMOKE + text if is_smoke(card) else text,
        "targets_doc": f"{meaning}: {', '.join(card.outputs)}",
        "trained_on": card.trained_on or NOT_STATED,
        "license": card.license,
        "cite_as": card.cite_as,
        "training_procedure": _training_text(card.training),
        "authors": [{"name": author} if isinstance(author, str) else dict(author) for author in authors],
        "tags": list(tags),
        "version": version,
        "weights_sha256": card.weights_sha256,
    }


def is_smoke(card: Card) -> bool:
    """Tell whether a checkpoint comes from a smoke test and has learnt nothing."""
    return card.training.get("smoke") is True


def technical(card: Card) -> str:
    """Say in two lines what goes in and what comes out."""
    n = len(card.outputs)
    one = card.members == 1
    network = "ChromTransfer network" if one else f"Mean logit of {card.members} ChromTransfer networks"
    strands = (
        "A sequence and its reverse complement get the same probabilities."
        if card.architecture.trunk == "motifs"
        else "Only the plus strand is read."
    )
    return (
        f"{network}: {card.window} bp of DNA in, {n} probabilit{'y' if n == 1 else 'ies'} out. {strands} "
        "A window without any known base gets NaN."
    )


def _training_text(training: Mapping[str, Any]) -> str:
    """Give the plain values of the card's training record as one line; the card has all of it."""
    plain = [f"{key}: {value}" for key, value in training.items() if isinstance(value, str | int | float)]
    return "; ".join(plain) or NOT_STATED


def describe(
    values: Mapping[str, Any], dependencies: Mapping[str, Any], checkpoint: str, expectation: str
) -> dict[str, Any]:
    """Arrange :func:`facts` (or their placeholders) as Kipoi's ``model.yaml`` wants them."""
    loader: dict[str, Any] = {"defined_as": "chromtransfer_plugin.kipoi.RegionDataloader"}
    if values["window"] != WINDOW:
        loader["default_args"] = {"width": values["window"]}
    return {
        "defined_as": "chromtransfer_plugin.kipoi.ChromTransferModel",
        "args": {"checkpoint": checkpoint},
        "default_dataloader": loader,
        "info": {
            key: values[key]
            for key in (
                "authors",
                "doc",
                "cite_as",
                "license",
                "trained_on",
                "training_procedure",
                "tags",
                "version",
            )
        },
        "dependencies": dict(dependencies),
        "schema": {
            "inputs": {
                "shape": f"(4, {values['window']})",  # Kipoi evaluates this text; a YAML list is an error
                "special_type": "DNASeq",
                "doc": "One-hot DNA, channels first (A, C, G, T); an unknown base is an all-zero column.",
                "associated_metadata": ["ranges"],
            },
            "targets": {
                "shape": f"({values['n_outputs']},)",
                "doc": values["targets_doc"],
                "column_labels": values["outputs"],
            },
        },
        "test": {"expect": expectation, "precision_decimal": PRECISION},
    }


def model_yaml(values: Mapping[str, Any]) -> str:
    """Write the ``model.yaml`` of one model, with the installed versions pinned."""
    dependencies = {
        "conda": [f"python={sys.version_info.major}.{sys.version_info.minor}", "pip"],
        "pip": [
            f"chromtransfer-plugin=={chromtransfer_plugin.__version__}",
            *(f"{package}=={_public_version(package)}" for package in NEEDED),
        ],
    }
    return to_yaml(describe(values, dependencies, ".", EXPECTATION))


def template_yaml() -> str:
    """Write the jinja2 template of a group of models, whose places are named as the columns of its table.

    Kipoi fills in the text of the table's cells (see :func:`cell`) as it stands. The versions are the lowest that
    the package takes, so that the text does not depend on the machine.
    """
    dependencies = _group_dependencies("chromtransfer-plugin")
    values = _Places()
    # The name is a plain word in the table, so the quotes stand here; every other cell brings its own.
    name = values["model"]
    description = describe(values, dependencies, _Quoted(name), _Quoted(f"{name}/{EXPECTATION}"))
    return _PLACE.sub(r"{{ \1 }}", to_yaml(description))


def variant_effect_yaml(group: str) -> str:
    """Write the template of the same models as a Kipoi variant-effect pipeline needs them.

    It names kipoiseq's dataloader, from whose arguments kipoi-veff2 learns how to encode a sequence, and the files of
    the folders in ``group``, which lies beside its own folder. The example files are given as arguments because those
    that the dataloader itself names have to be downloaded.
    """
    values = _Places()
    folder = f"../{group}/{values['model']}"
    dependencies = _group_dependencies("chromtransfer-plugin[kipoiseq]")
    description = describe(values, dependencies, _Quoted(folder), _Quoted(f"{folder}/{EXPECTATION}"))
    description["args"]["unknown_is_quarter"] = True
    description["default_dataloader"] = {
        "defined_as": "kipoiseq.dataloaders.SeqIntervalDl",
        "default_args": {
            "auto_resize_len": values["window"],
            "alphabet_axis": 0,
            "dtype": "np.float32",
            "ignore_targets": True,
            "label_dtype": "str",  # whatever stands behind the third column, such as a name
            "intervals_file": f"../{group}/{EXAMPLES}/intervals.bed",
            "fasta_file": f"../{group}/{EXAMPLES}/genome.fa",
        },
    }
    inputs = description["schema"]["inputs"]
    inputs["doc"] = "One-hot DNA, channels first (A, C, G, T); an unknown base is 0.25 four times, or 0."
    description["schema"]["inputs"] = {"name": "seq", **inputs}
    description["postprocessing"] = {"variant_effects": {"seq_input": ["seq"]}}
    return _PLACE.sub(r"{{ \1 }}", to_yaml(description))


def cell(value: Any) -> str:
    """Write a value as one line of YAML that can stand in a table's cell and in a template.

    Text is double-quoted, with escapes for everything that would end a line or the text, so neither pandas nor YAML
    takes it for a number, a missing value or a flag. A quoted cell may hold ``#``, at which Kipoi ends a line else.
    """
    if isinstance(value, int):
        return str(value)
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_style='"',
        default_flow_style=True,
        allow_unicode=True,
        width=float("inf"),
    )
    return text.strip()


def to_yaml(description: Mapping[str, Any]) -> str:
    """Write YAML in the given order, texts of several lines as blocks."""
    return yaml.dump(dict(description), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Places(dict[str, Any]):
    """A mark for whatever is asked for; YAML takes it for a plain word."""

    def __missing__(self, key: str) -> str:
        return f"JINJA_{key}_END"


class _Quoted(str):
    """Text that is to stand in quotes."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Block text for strings of several lines, indented lists, no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # A style of its own only where none was asked for.
    style = None if dumper.default_style else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(
    _Quoted,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'),
)


def _group_dependencies(package: str) -> dict[str, list[str]]:
    floors = _floors()
    return {
        "conda": ["python>=3.11,<3.13", "pip"],
        "pip": [package, *(floors[needed] for needed in NEEDED)],
    }


def _floors() -> dict[str, str]:
    """Give the requirement of this package on each of its dependencies."""
    found = {}
    for text in requires("chromtransfer-plugin") or ():
        requirement, _, marker = text.partition(";")
        if not marker:
            found[re.split(r"[^\w.-]", requirement, maxsplit=1)[0]] = requirement.strip()
    return {package: found.get(package, package) for package in NEEDED}


def _public_version(package: str) -> str:
    """Installed version without the build tag (``+cpu``), which the package index does not know."""
    return installed_version(package).partition("+")[0]
