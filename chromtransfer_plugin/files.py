"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from chromtransfer_plugin.errors import ChromTransferError

CACHE_VARIABLE = "CHROMTRANSFER_CACHE"
USER_CACHE = Path("~/.cache/chromtransfer")
_STREAMS = ("/dev/std", "/dev/fd/")  # links to files if the output is redirected to one
_LONGEST_NAME = 255  # bytes
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` if the block succeeds.

    The temporary name keeps every suffix of the target, because many writers choose the format or the
    compression from it. An existing target stays as it was until the new file is complete, and also
    when the block raises; the temporary file is then removed.

    Parameters
    ----------
    path : str or Path
        The file to write. Its folder must exist.

    Yields
    ------
    Path
        An existing empty file beside the target, with the permissions a new file would get.

    Raises
    ------
    ChromTransferError
        If the folder is missing or cannot be written to, the target is a folder, a device or a pipe, or the disk is full.
    """
    target = Path(path)
    try:
        is_folder = target.is_dir()
    except OSError as error:  # a name that is too long
        raise ChromTransferError(
            f"{target}: cannot be written: {error.strerror}. Choose another name."
        ) from error
    if is_folder:
        raise ChromTransferError(f"{target}: is a folder, expected the name of a file to write.")
    if (
        (target.exists() and not target.is_file())
        or target.absolute().is_relative_to("/proc")
        or str(target.absolute()).startswith(_STREAMS)
    ):
        # Renaming a file to /dev/stdout would, for root, replace the device of the whole machine.
        raise ChromTransferError(f"{target}: is no regular file, expected the name of a file to write.")
    temporary = target.with_name(f".tmp-{secrets.token_hex(6)}-{target.name}")
    try:
        # "x" gives the umask's permissions (mkstemp would give 0600) and fails early on a bad folder.
        temporary.open("xb").close()
    except FileNotFoundError:
        raise ChromTransferError(
            f"{target}: cannot be written, the folder {target.parent} does not exist. "
            f"Make it first: mkdir -p '{target.parent}'."
        ) from None
    except NotADirectoryError:
        raise ChromTransferError(f"{target}: cannot be written, {target.parent} is not a folder.") from None
    except OSError as error:
        raise ChromTransferError(
            f"{target}: cannot be written, the folder {target.parent} is not writable "
            f"({error.strerror}). Choose another output folder or change its permissions."
        ) from error
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise ChromTransferError(
                f"{target}: not written, no room left on the disk ({error.strerror}). "
                "Free some space or choose another output folder."
            ) from error
        if isinstance(error, FileNotFoundError) and not temporary.exists():
            raise ChromTransferError(
                f"{target}: not written, what was to become of it was removed meanwhile. Is another run writing it, too? "
                "Run the command again, or choose another output."
            ) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def plain_no_room(folder: Path) -> Iterator[None]:
    """Say plainly that the disk is full where nothing else does, as when a file is closed behind an error."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise ChromTransferError(
            f"{folder}: cannot be written, no room left on the disk ({error.strerror}). Free some space and run the same "
            "command again: it goes on from here."
        ) from error


def open_output(stack: contextlib.ExitStack, path: Path, level: int = 9) -> IO[bytes]:
    """Open a file that appears under its name when the stack is left without an error; gzip if it ends in ``.gz``."""
    out: Any = stack.enter_context(stack.enter_context(atomic_path(path)).open("wb"))
    if path.suffix.lower() == ".gz":
        # Without a name and a time stamp in its header, equal tables give equal files.
        out = stack.enter_context(gzip.GzipFile("", "wb", level, out, mtime=0))
    return out


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of ``path``, a file or folder; nobody may be writing it now.

    An old folder that was moved away for a new one that never came goes back to its place.
    """
    ours = re.compile(rf"\.tmp-[0-9a-f]{{12}}-(new-|old-|){re.escape(path.name)}")
    found = [(entry, ours.fullmatch(entry.name)) for entry in path.parent.iterdir()]
    for entry, match in found:
        with contextlib.suppress(OSError):
            if match and match[1] == "":
                entry.unlink()
            elif (
                match and entry.is_dir()
            ):  # a file is of another target, which is called like this one with new- or old-
                if match[1] == "old-" and not path.exists():
                    entry.rename(path)
                else:
                    shutil.rmtree(entry)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside ``path`` that takes its place when the block succeeds.

    Parameters
    ----------
    path : str or Path
        The folder to write; its parent must exist. An existing one, with all that is in it, is replaced, and stays
        as it was if the block raises.

    Raises
    ------
    ChromTransferError
        If something cannot be written.
    """
    target = Path(path)
    mark = secrets.token_hex(6)
    new, old = (target.with_name(f".tmp-{mark}-{kind}-{target.name}") for kind in ("new", "old"))
    try:
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        raise ChromTransferError(
            f"{target}: cannot be written ({error.strerror}: {error.filename})."
        ) from error
    finally:
        if old.exists() and not target.exists():  # also when a user stops it right here
            old.rename(target)
        for leftover in (new, old):
            if leftover.is_symlink() or leftover.is_file():
                leftover.unlink(missing_ok=True)
            shutil.rmtree(leftover, ignore_errors=True)


def try_lock(stream: IO[Any], wait: bool = False) -> bool:
    """Lock an open file for this process, until it is closed or the process ends.

    Parameters
    ----------
    stream : file
    wait : bool
        Until whoever holds it lets go.

    Returns
    -------
    bool
        False if another process holds it. True also where there are no locks: on Windows, and some file systems.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def packaged_folder(name: str) -> Path | None:
    """Find a folder that comes with this package: inside it (the wheel holds a copy), or beside it in the source tree."""
    package = Path(__file__).parent
    return next((path for path in (package / name, package.parent / name) if path.is_dir()), None)


def require_short(path: Path) -> None:
    """Raise if a part of ``path`` is longer than names of files can be."""
    for part in path.parts:
        if len(os.fsencode(part)) > _LONGEST_NAME:
            raise ChromTransferError(
                f"the name {part[:40]}... has {len(os.fsencode(part))} bytes, names of files have at most {_LONGEST_NAME}."
            )


def require_parent(path: Path) -> None:
    """Raise if the folder that ``path`` is to be written in is not there."""
    parent = path.expanduser().absolute().parent
    if not parent.is_dir():
        raise ChromTransferError(f"{path}: there is no folder {parent}. Make it first: mkdir -p '{parent}'.")


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


def check_resumable(folder: Path, marks: Sequence[str]) -> None:
    """Raise if a run that can be resumed may not write into ``folder``: it is a file, or holds things of others.

    Parameters
    ----------
    folder : path
        New, empty, or of such a run, finished or not.
    marks : sequence of str
        Names of which every such run makes one before anything else.
    """
    require_short(folder)
    if folder.exists() and not folder.is_dir():
        raise ChromTransferError(f"--out {folder}: is a file, expected a folder.")
    if folder.is_dir():
        found = sorted(entry.name for entry in folder.iterdir())
        if found and not set(marks) & set(found):
            raise ChromTransferError(
                f"--out {folder}: holds other files, such as {found[0]}; name a new or empty folder."
            )


def files_of(entry: Path) -> list[Path]:
    """List a file itself, or every file in a folder and its folders."""
    return [path for path in entry.rglob("*") if not path.is_dir()] if entry.is_dir() else [entry]


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, or say plainly why that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChromTransferError(
            f"{folder}: cannot create this output folder ({error.strerror}). Choose a folder you may write to."
        ) from error


def cache_folder() -> Path:
    """Where downloads and installed models are kept: ``CHROMTRANSFER_CACHE``, else ``~/.cache/chromtransfer``.

    It need not exist yet.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or USER_CACHE).expanduser()
