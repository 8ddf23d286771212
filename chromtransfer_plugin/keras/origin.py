"""Where a Keras file comes from, and what its model is called: names, outputs, licence, citation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chromtransfer_plugin.checkpoint import Card
from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras.topology import Blueprint
from chromtransfer_plugin.published import (
    ARCHIVE,
    COMMIT,
    LICENSE,
    MULTICLASS,
    PRETRAINED,
    REPOSITORY,
    model_name,
    published_path,
)
from chromtransfer_plugin.verify import digests

CLASSES = (*CELL_LINES, "Negative")  # order of the softmax of the published multi-class model
OPEN = "open"
UNKNOWN_LICENSE = f"unknown; published ChromTransfer weights are {LICENSE}"
PRETRAINED_HEAD = (512, 128)
# Texts in the published names of files and folders that tell which model it is.
HINTS = {"tlmodel": PRETRAINED, "pretrained": PRETRAINED, "multitask": MULTICLASS, "multiclass": MULTICLASS}
HINTS.update({line.lower(): line for line in CELL_LINES})
_HELD_OUT = "hg38 without chr2 and chr3"
_TRAINED_ON = {
    PRETRAINED: f"ENCODE representative DHSs against other windows of the genome, {_HELD_OUT} (Salvatore et al. 2023).",
    MULTICLASS: f"Windows open in one of six cell lines only, and negatives, {_HELD_OUT} (Salvatore et al. 2023).",
}


def variant_of(blueprint: Blueprint, nested: bool) -> str:
    """Name the kind of model: pre-trained, fine-tuned, multi-class or multi-task."""
    architecture = blueprint.architecture
    if blueprint.activation == "softmax":
        return "multi-class"
    if architecture.n_outputs > 1:
        return "multi-task"
    as_pretrained = not nested and architecture.head_bn and architecture.head == PRETRAINED_HEAD
    return "pre-trained" if as_pretrained else "fine-tuned"


def file_facts(path: Path) -> dict[str, Any]:
    """Identify a file by its content; of a published one, also tell its path in the repository of the paper."""
    found = digests(path, ("sha256", "git_blob"))
    facts = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": found["sha256"],
        "git_blob_id": found["git_blob"],
    }
    if published := published_path(found["git_blob"]):
        facts |= {"published": published, "repository": REPOSITORY, "commit": COMMIT, "archive": ARCHIVE}
    return facts


def guess_name(path: Path, published: str | None) -> str | None:
    """Tell the zoo name of a model: surely from a published file, else from the names of the file and its folder."""
    if published:
        return model_name(published)
    for text in (path.stem, path.resolve().parent.name):
        parts = re.findall(r"[a-z0-9]+", text.lower())
        joined = {"".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)}
        if len(found := {name for hint, name in HINTS.items() if hint in joined}) == 1:
            return found.pop()
    return None


def output_names(blueprint: Blueprint, name: str | None, given: Sequence[str] | None) -> list[str]:
    """Name the outputs: as given, else the line of a fine-tuned model, ``open``, or the published classes.

    Raises
    ------
    ChromTransferError
        If the given names do not fit the network's outputs.
    """
    n = blueprint.architecture.n_outputs
    if given:
        if len(given) != n or len(set(given)) != n or not all(text.strip() for text in given):
            raise ChromTransferError(
                f"{n} outputs, but {len(given)} names for them ({', '.join(given)}); each once."
            )
        return list(given)
    if n == 1:
        return [OPEN if name in (None, PRETRAINED, MULTICLASS) else name]  # type: ignore[list-item]
    if n == len(CLASSES) and blueprint.activation == "softmax":
        return list(CLASSES)
    return [f"output_{i + 1}" for i in range(n)]


def card_of(
    blueprint: Blueprint,
    source: dict[str, Any],
    name: str | None,
    outputs: Sequence[str] | None,
    license: str | None,
) -> Card:
    """Write the card of an imported model.

    Raises
    ------
    ChromTransferError
        If another licence is claimed for a published file, or the names of the outputs do not fit.
    """
    published = source.get("published")
    if published and license not in (None, LICENSE):
        raise ChromTransferError(
            f"is the published {published}, under {LICENSE}: its licence cannot be '{license}'."
        )
    known = model_name(published) if published else None
    trained_on = f"Not stated in the imported file {source['file']}."
    if known:
        trained_on = _TRAINED_ON.get(
            known, f"Pre-trained, then fine-tuned on {known}, {_HELD_OUT} (Salvatore et al. 2023)."
        )
    return Card(
        architecture=blueprint.architecture,
        outputs=output_names(blueprint, name, outputs),
        activation=blueprint.activation,
        license=license or (LICENSE if published else UNKNOWN_LICENSE),
        trained_on=trained_on,
        source=source,
    )
