"""Find the YAML files: in the source tree, or inside the installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import packaged_folder

_BY_PRODUCTS = ("*.fai", "*.gzi", "*.genome-cache")  # what using the example genome leaves beside it


def configs_folder() -> Path:
    """Return the folder ``configs``."""
    folder = packaged_folder("configs")
    if folder is None:
        raise ChromTransferError(
            "the YAML files are missing from this installation; install the package again."
        )
    return folder


def list_configs() -> list[tuple[str, str]]:
    """Return (name, summary) of each YAML file; the summary is its first comment line."""
    root = configs_folder()
    found = []
    for path in sorted(root.rglob("*.yml")):
        first = path.read_text().splitlines()[0]
        found.append((path.relative_to(root).as_posix(), first.lstrip("# ")))
    return found


def read_config(name: str) -> str:
    """Return the text of a YAML file named as in :func:`list_configs`; ``.yml`` may be left out."""
    names = [known for known, _ in list_configs()]
    wanted = name if name.endswith(".yml") else f"{name}.yml"
    if wanted not in names:
        raise ChromTransferError(f"there is no configuration '{name}'. Known: {', '.join(names)}.")
    return (configs_folder() / wanted).read_text()


def copy_configs(destination: Path) -> int:
    """Copy the folder; return the number of files.

    Raises
    ------
    ChromTransferError
        If the destination exists, so that nobody's edited copy is overwritten.
    """
    if destination.exists():
        raise ChromTransferError(f"{destination}: exists already; remove it or name another folder.")
    try:
        shutil.copytree(configs_folder(), destination, ignore=shutil.ignore_patterns(*_BY_PRODUCTS))
    except OSError as error:
        raise ChromTransferError(f"{destination}: cannot be written ({error.strerror or error}).") from error
    return sum(1 for path in destination.rglob("*") if path.is_file())
