"""Copying models of a zoo to the installed ones."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, make_folder
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi.description import EXAMPLES
from chromtransfer_plugin.kipoi.group import check_free, check_group_names, register
from chromtransfer_plugin.zoo.share import check_works
from chromtransfer_plugin.zoo.source import (
    ZooEntry,
    entry_at,
    files_of,
    get_entry,
    installed_zoo,
    packaged_zoo,
    verify,
)


def install(
    name: str | Path, source: str | Path | None = None, *, overwrite: bool = False, into: Path | None = None
) -> Path:
    """Copy a model to the installed ones.

    The copy appears when it is complete, its weights fit their SHA-256, it could be loaded and gave the probabilities
    that it came with. Those are computed anew where the group has other example windows already.

    Parameters
    ----------
    name : str or path
        Name of a model, or the folder of one: of a group, or as ``chromtransfer export`` writes it.
    source : path, optional
        Source to take it from [default: the models of the package].
    overwrite : bool
        Replace an installed model of that name.
    into : path, optional
        Source to copy it to [default: the installed models].

    Returns
    -------
    Path
        The installed folder.

    Raises
    ------
    ChromTransferError
        If there is no such model, it is damaged, or it is installed already.
    """
    entry = entry_at(name) or get_entry(name, source if source is not None else _packaged())
    problem = verify(entry)
    if problem:
        raise ChromTransferError(f"{entry.folder}: damaged, not installed: {problem}.")
    root = Path(into) if into is not None else installed_zoo()
    target = root / entry.name
    if entry.group:
        check_group_names(target.name, entry.group)
    if target.resolve() == entry.folder.resolve():
        raise ChromTransferError(f"{target}: is installed already, and is what was to be installed.")
    check_free(target, overwrite)
    make_folder(target.parent)
    with atomic_folder(target) as new:
        for path in files_of(entry.folder):
            copy = new / path.relative_to(entry.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        try:
            check_works(new, entry.card.weights_sha256 if entry.card is not None else "")
        except ChromTransferError as error:
            raise ChromTransferError(str(error).replace(str(new), str(entry.folder))) from error
    if entry.group:
        _complete_group(entry, root)
    return target


def _packaged() -> Path:
    packaged = packaged_zoo()
    if packaged is None:
        raise ChromTransferError("no models come with this installation: say where to find them (--from).")
    return packaged


def _complete_group(entry: ZooEntry, root: Path) -> None:
    """Bring the group of an installed model up to date, with the example windows it came with if it has none."""
    theirs, ours = entry.folder.parent / EXAMPLES, root / entry.group / EXAMPLES
    if theirs.is_dir() and not ours.exists():
        with atomic_folder(ours) as new:
            for path in files_of(theirs):
                shutil.copyfile(path, new / path.name)
    names = register(root, entry.group)
    if entry.name.rpartition("/")[2] not in names:
        warnings.warn(
            f"{root / entry.name}: is installed but Kipoi does not list it.",
            ChromTransferWarning,
            stacklevel=3,
        )
