"""Zoo sources: where models that have names are found."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS, Card, read_card, sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import cache_folder, packaged_folder
from chromtransfer_plugin.kipoi.description import EXPECTATION
from chromtransfer_plugin.kipoi.export import DESCRIPTION
from chromtransfer_plugin.kipoi.group import (
    RESERVED,
    TEMPLATE,
    missing_files,
    model_folders,
    register,
)
from chromtransfer_plugin.zoo.card import card_text, presentation, write_readme

# What using a model leaves beside it.
BY_PRODUCTS = ("*.fai", "*.gzi", "*.genome-cache", ".tmp-*", "downloaded")


@dataclass(frozen=True)
class ZooEntry:
    """A model of a source.

    Attributes
    ----------
    name : str
        Full name, ``GROUP/NAME``; a model outside a group, in a folder of its own, has no ``GROUP/``.
    folder : Path
        ``load_model`` reads it.
    card : Card or None
        None if it cannot be read.
    problem : str
        Why the model is damaged; empty if nothing is known to be wrong. The weights are only read by
        :func:`verify`.
    """

    name: str
    folder: Path
    card: Card | None = None
    problem: str = ""

    @property
    def group(self) -> str:
        """Name of the group, empty for a model outside one."""
        return self.name.rpartition("/")[0]

    @property
    def size(self) -> int:
        """Bytes of the model's files, without what using it leaves beside them."""
        return sum(path.stat().st_size for path in files_of(self.folder))


class ZooSource:
    """A folder of models: groups, and models in folders of their own. It is a Kipoi source too.

    Parameters
    ----------
    path : path
        Need not exist: then it has no models.

    Raises
    ------
    ChromTransferError
        If there is something else of that name, or a folder that holds no models but other things.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        # os.path: what may not be looked at, or cannot be a path, is not there
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise ChromTransferError(
                f"{self.path}: is no folder, expected a folder of models (a zoo source)."
            )
        model, group = (os.path.isfile(self.path / file) for file in (CARD, TEMPLATE))
        if model or group:
            what = "a model" if model else "a group of models"
            raise ChromTransferError(
                f"{self.path}: is {what}, not a source. Name the folder above: {self._above()}"
            )

    def _above(self) -> Path:
        above = self.path.resolve().parent
        return above.parent if (above / TEMPLATE).is_file() else above

    def __repr__(self) -> str:
        return f"ZooSource({str(self.path)!r})"

    def entries(self) -> list[ZooEntry]:
        """List every model, damaged ones too, by group and in the order of its table."""
        found: list[ZooEntry] = []
        for folder in _subfolders(self.path):
            if not os.access(folder, os.R_OK | os.X_OK):
                raise ChromTransferError(f"{folder}: this folder may not be read.")
            if (folder / CARD).is_file() or (folder / DESCRIPTION).is_file():
                found.append(_read(folder.name, folder, grouped=False))
            else:
                members = model_folders(folder)
                found += [_read(f"{folder.name}/{path.name}", path, grouped=True) for path in members]
        return found

    def find(self, name: str) -> ZooEntry | None:
        """Find a model by its full name, or by the part after the group if only one model has it.

        Raises
        ------
        ChromTransferError
            If several groups have a model of that name.
        """
        wanted = name.strip("/")
        entries = self.entries()
        for entry in entries:
            if entry.name == wanted:
                return entry
        same = [entry for entry in entries if entry.name.rpartition("/")[2] == wanted]
        if len(same) > 1:
            raise ChromTransferError(
                f"model '{name}': {len(same)} models of {self.path} have this name: "
                f"{', '.join(entry.name for entry in same)}. Give the full name."
            )
        return same[0] if same else None


def installed_zoo() -> Path:
    """Folder of the installed models; it need not exist yet."""
    return cache_folder() / "zoo"


def packaged_zoo() -> Path | None:
    """Folder of the models that come with this package, if it has any."""
    return packaged_folder("model_zoo")


def search_path() -> list[ZooSource]:
    """Give the sources that names are looked up in: installed models, then those of the package."""
    packaged = packaged_zoo()
    return [ZooSource(path) for path in (installed_zoo(), packaged) if path is not None]


def find_model(name: str) -> Path | None:
    """Find the folder of a model by name in the installed models, then in those of the package.

    Parameters
    ----------
    name : str
        ``ChromTransfer/K562``, or ``K562`` if only one group has it.

    Returns
    -------
    Path or None
        For ``load_model``. None if no model has this name.

    Raises
    ------
    ChromTransferError
        If several groups of a source have a model of that name.
    """
    for source in search_path():
        entry = source.find(name)
        if entry is not None:
            return entry.folder
    return None


def get_entry(name: str | Path, source: str | Path | None = None) -> ZooEntry:
    """Find a model by name or path, or say which names are close.

    Parameters
    ----------
    name : str or path
        As :func:`find_model`, or the folder of a model.
    source : path, optional
        Folder to look in, instead of the installed models and those of the package.

    Raises
    ------
    ChromTransferError
        If no model has this name; names close ones.
    """
    at_path = entry_at(name)
    if at_path is not None:
        return at_path
    sources = search_path() if source is None else [existing_source(source)]
    name, known = str(name), []
    for place in sources:
        entry = place.find(name)
        if entry is not None:
            return entry
        known += [entry.name for entry in place.entries() if entry.name not in known]
    raise ChromTransferError(
        f"there is no model '{name}' in {', '.join(str(place.path) for place in sources)}. {_hint(name, known)}"
    )


def entry_at(path: str | Path) -> ZooEntry | None:
    """Give the model in a folder; None if there is no card in it.

    Raises
    ------
    ChromTransferError
        If it is a checkpoint, but not one of a zoo.
    """
    folder = Path(path).expanduser()
    if not os.path.isfile(folder / CARD):  # False also for what cannot be a path
        return None
    folder = folder.resolve()
    if (folder / DESCRIPTION).is_file():
        return _read(folder.name, folder, grouped=False)
    if (folder / EXPECTATION).is_file():
        return _read(f"{folder.parent.name}/{folder.name}", folder, grouped=True)
    raise ChromTransferError(
        f"{path}: is a checkpoint, not a model of a zoo. Make it one: chromtransfer zoo add {path} --name NAME"
    )


def existing_source(path: str | Path) -> ZooSource:
    """Open a source that must hold at least one model."""
    source = ZooSource(path)
    if not os.path.isdir(source.path):
        raise ChromTransferError(f"{source.path}: there is no such folder, expected a zoo source.")
    if not source.entries():
        raise ChromTransferError(
            f"{source.path}: holds no models, so it is no zoo source. Expected GROUP/NAME/{CARD} below it."
        )
    return source


def _hint(name: str, known: Sequence[str]) -> str:
    """Name the closest known names, whatever their case and with or without the group."""
    if not known:
        return "There are no models there."
    spelt = {full.lower(): full for full in known}
    spelt |= {full.lower().rpartition("/")[2]: full for full in known}
    close = difflib.get_close_matches(name.lower(), list(spelt), n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(dict.fromkeys(spelt[text] for text in close))}?"
    return f"Known: {', '.join(known)}."


def _subfolders(folder: Path) -> list[Path]:
    if not os.path.isdir(folder):
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in RESERVED
    )


def _read(name: str, folder: Path, grouped: bool) -> ZooEntry:
    card, problem = None, ""
    try:
        card = read_card(folder)
        presentation(card)
        missing = missing_files(folder)
        if not grouped and not (folder / DESCRIPTION).is_file():
            missing.append(DESCRIPTION)
        if missing:
            problem = f"{', '.join(missing)} missing"
    except ChromTransferError as error:
        problem = f"{CARD} missing" if not (folder / CARD).is_file() else str(error)
    return ZooEntry(name, folder, card, problem)


def files_of(folder: Path) -> list[Path]:
    """Give the files of a model's folder, sorted, without what using it leaves beside them."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.match(pattern) for part in _parts(path, folder) for pattern in BY_PRODUCTS)
    )


def _parts(path: Path, folder: Path) -> list[Path]:
    return [Path(part) for part in path.relative_to(folder).parts]


def verify(entry: ZooEntry) -> str:
    """Say what is wrong with a model, its weights' SHA-256 included; empty if nothing is."""
    if entry.problem or entry.card is None:
        return entry.problem
    if not entry.card.weights_sha256:
        return "the card has no SHA-256 of the weights"
    try:
        digest = sha256(entry.folder / WEIGHTS)
    except OSError as error:
        return f"the weights cannot be read ({error.strerror})"
    if digest != entry.card.weights_sha256:
        return "SHA-256 of the weights differs from the card's: truncated or changed"
    return ""


def model_card(name: str | Path, source: str | Path | None = None, *, rebuild: bool = False) -> str:
    """Give the model card of a model, generated from its run record.

    Parameters
    ----------
    name, source
        As :func:`get_entry`.
    rebuild : bool
        Write it to the model's ``README.md``, and the template and the table of its group again.
    """
    entry = get_entry(name, source)
    if entry.card is None:
        raise ChromTransferError(f"{entry.folder}: damaged: {entry.problem}.")
    if rebuild:
        write_readme(entry.folder, entry.name, entry.card)
        if entry.group:
            register(entry.folder.parents[1], entry.group)
    return card_text(entry.name, entry.card)
