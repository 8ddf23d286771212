"""Models of one Kipoi group: a folder for each, one template and one table for all of them.

::

    SOURCE/GROUP/model-template.yaml    what Kipoi is told about every model, with places to fill in
    SOURCE/GROUP/models.tsv             what is filled in: one row for each model
    SOURCE/GROUP/example_files/         the example windows of all models
    SOURCE/GROUP/NAME/                  model.safetensors, card.json, expect.h5, README.md
    SOURCE/GROUP-veff/                  template and table of the same models for variant-effect pipelines

Templates and tables follow from the folders of the models and can be written again at any time. Kipoi itself is not
needed for any of it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS, Card, find_checkpoint, load_model, read_card
from chromtransfer_plugin.constants import CELL_LINES, SEED, WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, atomic_path, make_folder
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi.description import (
    EXAMPLES,
    EXPECTATION,
    Authors,
    cell,
    check_name,
    facts,
    template_yaml,
    variant_effect_yaml,
)
from chromtransfer_plugin.kipoi.example import (
    centres,
    check_expectation,
    read_example,
    read_expectation,
    write_example,
    write_expectation,
)
from chromtransfer_plugin.kipoi.export import DESCRIPTION, check_example, warn_smoke
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.zoo.card import PRESENTATION, README, Presentation, presentation, write_readme

GROUP = "ChromTransfer"
TEMPLATE = "model-template.yaml"
TABLE = "models.tsv"
VARIANT_EFFECTS = "-veff"  # beside a group, not in it: Kipoi takes the first group that a name begins with
PUBLISHED = ("pretrained", *CELL_LINES, "multiclass")  # comes first, in this order
# Folders of a group that are no models: ours, and the one Kipoi downloads to. Kipoi hides models called "template".
RESERVED = (EXAMPLES, "downloaded", "template")
_HEADER = "# Written by chromtransfer-plugin from the cards of the models, as is models.tsv: change those, not this.\n"


class Row(NamedTuple):
    """A model of a group that can be registered."""

    name: str
    folder: Path
    card: Card


def add_to_group(
    checkpoint: str | Path,
    name: str,
    source: str | Path,
    group: str = GROUP,
    *,
    overwrite: bool = False,
    doc: str | None = None,
    genome: str | Path | None = None,
    intervals: str | Path | None = None,
    authors: Authors | None = None,
    tags: Sequence[str] | None = None,
    version: str | None = None,
    seed: int = SEED,
) -> Path:
    """Write ``source/group/name`` and bring the group's template and table up to date.

    The folder appears under its name only when it is complete. Equal arguments give equal bytes.

    Parameters
    ----------
    checkpoint : path
        Anything :func:`~chromtransfer_plugin.checkpoint.load_model` takes.
    name : str
        Name of the model in the group and of its folder.
    source : path
        Folder of the source; created if needed.
    group : str
        Name of the group and of its folder; created if needed.
    overwrite : bool
        Replace a model of that name.
    doc, authors, tags, version
        As :func:`~chromtransfer_plugin.kipoi.export.export_model`. They are kept on the model's card; left out, what
        the checkpoint's card says stays.
    genome, intervals, seed
        Where the example windows come from, as in ``export_model``. A group has one set of them: later models keep it.

    Returns
    -------
    Path
        The folder of the model. ``load_model`` reads it.

    Raises
    ------
    ChromTransferError
        If a name or the checkpoint is unusable, the model exists, its window does not fit the group's example
        sequences, or nothing can be written there.
    """
    check_group_names(name, group)
    check_example(genome, intervals)
    model, card = load_model(checkpoint)
    card = _presented(card, doc=doc, authors=authors, tags=tags, version=version)
    origin = find_checkpoint(checkpoint)
    folder = Path(source) / group
    target = folder / name
    check_free(target, overwrite)
    if (folder / EXAMPLES).is_dir() and genome is not None:
        warnings.warn(
            f"{folder}: has example windows already, which stay; none are taken from {genome}.",
            ChromTransferWarning,
            stacklevel=2,
        )
    warn_smoke(card, origin, target / README)
    weights = (origin / WEIGHTS).read_bytes()  # before the folder moves: it may be the one that is replaced
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    make_folder(folder)
    contigs = _examples(folder, card.window, genome, intervals, seed)
    _check_window(target, card, contigs)
    with atomic_folder(target) as new:
        (new / WEIGHTS).write_bytes(weights)
        (new / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        write_expectation(new / EXPECTATION, model, card, centres(contigs, card.window))
        write_readme(new, f"{group}/{name}", card)
    register(source, group)
    return target


def register(source: str | Path, group: str = GROUP) -> list[str]:
    """Write the templates and the tables of a group from the folders of its models; repeatable.

    Example windows are made if the group has none. Where the expectation of a model belongs to other windows, as after
    a download, it is computed anew, once the weights have reproduced the one that came with them.

    Parameters
    ----------
    source, group
        As :func:`add_to_group`.

    Returns
    -------
    list of str
        The names of the models, in the order of the table. A folder that is no complete model is left out, with a
        :class:`~chromtransfer_plugin.friendly.ChromTransferWarning` that says why.

    Raises
    ------
    ChromTransferError
        If there is no such folder or it cannot be written to.
    """
    check_group_names(None, group)
    folder = Path(source) / group
    if not folder.is_dir():
        raise ChromTransferError(f"{folder}: there is no group '{group}' in this source.")
    rows = _rows(folder)
    contigs = _examples(folder, max((row.card.window for row in rows), default=WINDOW), None, None, SEED)
    rows = [row for row in rows if _expectation_fits(row, contigs)]
    veff = folder.with_name(f"{group}{VARIANT_EFFECTS}")
    make_folder(veff)
    for place, template in ((folder, template_yaml()), (veff, variant_effect_yaml(group))):
        _write_text(place / TEMPLATE, _HEADER + template)
        _write_text(place / TABLE, _table(rows))
    return [row.name for row in rows]


def check_group_names(name: str | None, group: str) -> None:
    """Refuse names of a model or a group that Kipoi cannot find again.

    Kipoi reads the names with pandas, which takes some for numbers, flags or missing values.
    """
    check_name(group, "group name")
    if group in RESERVED:
        raise ChromTransferError(f"group name '{group}': means something else in a source. Choose another.")
    if group.endswith(VARIANT_EFFECTS):
        raise ChromTransferError(
            f"group name '{group}': is kept for the variant-effect side of group "
            f"'{group.removesuffix(VARIANT_EFFECTS)}'. Choose another."
        )
    if name is None:
        return
    check_name(name)
    if name in RESERVED:
        raise ChromTransferError(f"model name '{name}': means something else in a group. Choose another.")
    try:
        read = pd.read_csv(io.StringIO(f"model\n{name}\n"), sep="\t", comment="#")["model"].tolist()
    except ValueError:
        read = []
    if read != [name]:
        raise ChromTransferError(
            f"model name '{name}': Kipoi would read it as {', '.join(map(str, read)) or 'nothing'}. "
            "Put a letter or a word before it."
        )


def check_free(target: Path, overwrite: bool) -> None:
    """Refuse to write a model's folder over anything else, or over a model without being told to."""
    folder, name = target.parent, target.name
    if (folder / DESCRIPTION).exists():
        raise ChromTransferError(
            f"{folder}: has a {DESCRIPTION}, so it is a model and no group. Name another."
        )
    if not folder.is_dir():
        return
    for other in folder.iterdir():
        if other.name != name and other.name.lower() == name.lower():
            raise ChromTransferError(
                f"model name '{name}': {other} differs only in upper and lower case. Choose another name."
            )
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise ChromTransferError(
            f"{target}: exists already. Choose another name, or overwrite it (--overwrite)."
        )
    if not (target / CARD).is_file():
        raise ChromTransferError(
            f"{target}: has no {CARD}, so it is no model and is kept. Remove it yourself."
        )


def group_order(name: str) -> tuple[int, str, str]:
    """Sort key of a model's name: the published models first, in the paper's order, then by the alphabet."""
    position = PUBLISHED.index(name) if name in PUBLISHED else len(PUBLISHED)
    return position, name.lower(), name


def missing_files(folder: Path) -> list[str]:
    """Name what a model's folder lacks; the README is not needed."""
    return [file for file in (WEIGHTS, CARD, EXPECTATION) if not (folder / file).is_file()]


def model_folders(group: Path) -> list[Path]:
    """Give the folders of a group that hold a model or a part of one, in the order of its table.

    A folder with a description of its own, as ``export_model`` writes it, is none: it needs no group.
    """
    found = [
        path
        for path in group.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and path.name not in RESERVED
        and len(missing_files(path)) < 3
        and not (path / DESCRIPTION).exists()
    ]
    return sorted(found, key=lambda path: group_order(path.name))


def listed(folder: Path) -> list[str]:
    """Give the names in a group's table; none if there is no table."""
    try:
        lines = (folder / TABLE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [line.partition("\t")[0] for line in lines[1:]]


def _presented(card: Card, **given: Any) -> Card:
    """Note on a card what Kipoi is to be told beyond it; what is None stays as it was."""
    told = presentation(card).model_dump(exclude_defaults=True)
    told |= {key: value for key, value in given.items() if value is not None}
    training = {key: value for key, value in card.training.items() if key != PRESENTATION}
    if told:
        training[PRESENTATION] = Presentation.parse(told).model_dump(exclude_defaults=True)
    return card.model_copy(update={"training": training})


def _examples(
    folder: Path, window: int, genome: str | Path | None, intervals: str | Path | None, seed: int
) -> NDArray[np.uint8]:
    """Give the example sequences of a group (n, length); make them for at least the usual window if there are none."""
    target = folder / EXAMPLES
    if not target.is_dir():
        try:
            with atomic_folder(target) as new:
                new.rmdir()
                write_example(new, max(window, WINDOW), genome, intervals, seed)
        except ChromTransferError:
            with contextlib.suppress(OSError):
                folder.rmdir()  # a new group that came to nothing; one that holds something stays
            raise
    return read_example(target)


def _check_window(target: Path, card: Card, contigs: NDArray[np.uint8]) -> None:
    if card.window > contigs.shape[1]:
        raise ChromTransferError(
            f"{target}: its window of {card.window} bp does not fit the example sequences of the group, "
            f"{contigs.shape[1]} bp in {target.parent / EXAMPLES}. Put it into another group."
        )


def _rows(folder: Path) -> list[Row]:
    """Read the cards of a group's models; warn of folders that are no complete model."""
    rows = []
    for path in model_folders(folder):
        try:
            check_group_names(path.name, folder.name)
            missing = missing_files(path)
            if missing:
                raise ChromTransferError(f"{path}: {', '.join(missing)} is missing.")
            card = read_card(path)
            presentation(card)
            rows.append(Row(path.name, path, card))
        except ChromTransferError as error:
            _warn_left_out(error)
    return rows


def _expectation_fits(row: Row, contigs: NDArray[np.uint8]) -> bool:
    """Make the expectation of a model one of the group's example windows; False if that is impossible."""
    path = row.folder / EXPECTATION
    try:
        _check_window(row.folder, row.card, contigs)
        codes = centres(contigs, row.card.window)
        if not np.array_equal(read_expectation(path)[0], one_hot(codes, "channels_first")):
            model, card = load_model(row.folder)
            check_expectation(path, model, card)
            with atomic_path(path) as temporary:
                write_expectation(temporary, model, card, codes)
    except ChromTransferError as error:
        _warn_left_out(error)
        return False
    return True


def _warn_left_out(error: ChromTransferError) -> None:
    warnings.warn(f"not listed: {error}", ChromTransferWarning, stacklevel=4)


def _table(rows: Sequence[Row]) -> str:
    lines = io.StringIO()
    table = csv.writer(lines, delimiter="\t", lineterminator="\n")
    for number, row in enumerate(rows):
        told = presentation(row.card)
        values = facts(row.card, told.plain_authors(), told.doc, told.tags, told.version)
        if number == 0:
            table.writerow(["model", *values])
        table.writerow([row.name, *map(cell, values.values())])
    return lines.getvalue() or "model\n"


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8", newline="\n")
