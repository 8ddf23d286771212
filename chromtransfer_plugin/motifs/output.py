"""Folders of results: which may be written, and replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import require_parent, require_short


def check_result_folder(folder: Path, record: str, is_ours: Callable[[Path], bool]) -> None:
    """Raise if a result may not be written at ``folder``, because something else lies there or would be lost.

    Parameters
    ----------
    folder : path
        New, empty, or an earlier result, which will be replaced as a whole.
    record : str
        The file that tells an earlier result.
    is_ours : callable
        Whether an entry of the folder is part of such a result.
    """
    if folder.name in ("", ".."):
        raise ChromTransferError(f"{folder}: expected the name of a new folder, which this is not.")
    require_short(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ChromTransferError(f"{folder}: is no folder, expected the name of a folder to write.")
    if folder.is_dir():
        entries = sorted(folder.iterdir())
        if entries and not (folder / record).is_file():
            raise ChromTransferError(f"{folder}: holds other files; name a new or empty folder.")
        others = [entry.name for entry in entries if not is_ours(entry)]
        if others:
            raise ChromTransferError(
                f"{folder}: holds {others[0]} beside an earlier result, and would be replaced as a whole. Move that to "
                "another place, or choose another folder."
            )
    require_parent(folder)
