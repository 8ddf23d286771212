"""Where models are shared: a folder, or a folder of an HTTP server."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from chromtransfer_plugin.download import copy_verified, download
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, atomic_path, make_folder, try_lock
from chromtransfer_plugin.kipoi.group import TEMPLATE
from chromtransfer_plugin.verify import is_there
from chromtransfer_plugin.web import (
    ChangedError,
    NotThereError,
    Patience,
    check_url,
    is_url,
    put,
    read_text,
    shown,
)
from chromtransfer_plugin.zoo.shared import (
    INDEX,
    LIMITS,
    MOST_INDEX,
    Index,
    Remote,
    SharedFile,
    SharedModel,
    parse_index,
)

TOKEN_VARIABLE = "CHROMTRANSFER_ZOO_TOKEN"
HUB = "hf://"


def open_remote(place: str | Path, patience: Patience | None = None, writing: bool = False) -> Remote:
    """Open a place where models are shared; nothing is read or written yet.

    Parameters
    ----------
    place : str or path
        A folder, the address of one on an HTTP server, or ``hf://owner/repository`` on the Hugging Face Hub.
    patience : Patience, optional
        Limits of waiting and trying.
    writing : bool
        Whether models are to be published there.

    Raises
    ------
    ChromTransferError
        If it is none of these.
    """
    text = str(place)
    if not text.strip():
        raise ChromTransferError(
            "the place to share models at is empty. Name a folder ('.' for this one), an address or hf://owner/repository."
        )
    if text.startswith(HUB):
        from chromtransfer_plugin.zoo.hub import HubRemote

        return HubRemote(text, patience, writing)
    if is_url(text):
        return HttpRemote(text, patience)
    return FolderRemote(Path(text))


class FolderRemote:
    """A folder, for example on a disk that several people share."""

    piecewise = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser()
        self.shown = str(self.folder)
        if os.path.exists(self.folder) and not os.path.isdir(self.folder):
            raise ChromTransferError(f"{self.folder}: is no folder.")

    def read_index(self) -> tuple[Index, str | None]:
        """Give the index and its version."""
        path = self.folder / INDEX
        try:
            if path.stat().st_size > MOST_INDEX:
                raise ChromTransferError(f"{path}: more than {MOST_INDEX:,} bytes, refused.")
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Index(), None
        except (OSError, UnicodeDecodeError) as error:
            raise ChromTransferError(f"{path}: cannot be read ({error}).") from error
        return parse_index(text, str(path)), _version(text)

    def fetch(self, path: str, target: Path, file: SharedFile) -> None:
        """Copy one file from here, verified."""
        copy_verified(self.folder / path, target, file.expected, max_bytes=file.size)

    def store(self, name: str, folder: Path, model: SharedModel, replace: bool) -> None:
        """Copy the files of a model to here."""
        target = self.folder / name
        if (target.parent / TEMPLATE).exists():
            raise ChromTransferError(
                f"{target.parent}: belongs to a zoo source, whose table would not know the new model. Share to another "
                f"folder, or put it there with: chromtransfer zoo add {folder} --name {target.name} --source {self.folder}"
            )
        make_folder(target.parent)
        _check_replaceable(target, model, replace)
        with atomic_folder(target) as new:
            for file, facts in model.files.items():
                copy_verified(folder / file, new / file, facts.expected, max_bytes=facts.size)

    def write_index(self, index: Index, version: str | None) -> None:
        """Replace the index if it is still of that version."""
        make_folder(self.folder)
        with self._alone():
            if self.read_index()[1] != version:
                raise ChangedError(f"{self.folder / INDEX}: was changed by somebody else in the meantime.")
            with atomic_path(self.folder / INDEX) as temporary:
                temporary.write_text(index.text(), encoding="utf-8")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process writes the index; the system lets go of the lock however this one ends."""
        try:
            lock = (self.folder / f".{INDEX}.lock").open("ab")
        except OSError as error:
            raise ChromTransferError(f"{self.folder}: cannot be written to ({error.strerror}).") from error
        with lock:
            try_lock(lock, wait=True)
            yield


def _check_replaceable(target: Path, model: SharedModel, replace: bool) -> None:
    """Refuse to write over what is no shared model, or over one that no index names without being told to."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ChromTransferError(
            f"{target}: is no folder, so no shared model, and is kept. Remove it yourself."
        )
    found = sorted(path.name for path in target.iterdir()) if target.exists() else []
    if others := [name for name in found if name not in LIMITS]:
        raise ChromTransferError(
            f"{target}: holds {', '.join(others[:3])}, so it is not only a shared model, and is kept. Move it away, or "
            "share to another folder."
        )
    # A push that was killed after its files leaves the same ones.
    if not replace and not all(
        name in model.files and is_there(target / name, model.files[name].expected) for name in found
    ):
        raise ChromTransferError(
            f"{target}: is there already, though {INDEX} does not name it. Rename yours, or replace it (--overwrite)."
        )


class HttpRemote:
    """A folder of a server: read by GET, written by PUT."""

    piecewise = True

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.base = check_url(url).rstrip("/")
        if urlsplit(self.base).query or urlsplit(self.base).fragment:
            raise ChromTransferError(f"{shown(url)}: expected the address of a folder, without '?' or '#'.")
        self.shown = shown(self.base)
        self.patience = patience
        self.token = safe_token(self.base, TOKEN_VARIABLE)

    def address(self, path: str) -> str:
        """Give the address of a file."""
        return f"{self.base}/{quote(path)}"

    def read_index(self) -> tuple[Index, str | None]:
        """Give the index and its version."""
        address = self.address(INDEX)
        try:
            text, etag = read_text(address, MOST_INDEX, self.patience, self.token)
        except NotThereError:
            return Index(), None
        return parse_index(text, shown(address)), etag

    def fetch(self, path: str, target: Path, file: SharedFile) -> None:
        """Copy one file from here, verified."""
        download(
            self.address(path),
            target,
            file.expected,
            max_bytes=file.size,
            patience=self.patience,
            token=self.token,
        )

    def store(self, name: str, folder: Path, model: SharedModel, replace: bool) -> None:  # noqa: ARG002
        """Copy the files of a model to here; a server does not tell what else it has."""
        for file, facts in model.files.items():
            put(self.address(f"{name}/{file}"), folder / file, self.patience, self.token)
            with tempfile.TemporaryDirectory() as back:  # what the server made of it is what others will get
                self.fetch(f"{name}/{file}", Path(back) / file, facts)

    def write_index(self, index: Index, version: str | None) -> None:
        """Replace the index if it is still of that version."""
        # A server without (strong) ETags cannot be told what to replace: there the last one to write wins.
        etag = "" if version is None else None if version == "" or version.startswith("W/") else version
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / INDEX
            path.write_text(index.text(), encoding="utf-8")
            put(self.address(INDEX), path, self.patience, self.token, etag)


def safe_token(url: str, variable: str, token: str | None = None) -> str | None:
    """Return the token in an environment variable, if it may be sent to this address.

    Raises
    ------
    ChromTransferError
        If it would go over the network in the clear, or cannot be a token.
    """
    token = token or os.environ.get(variable)
    if not token:
        return None
    if not re.fullmatch(r"[!-~]+", token):
        raise ChromTransferError(f"{variable}: is no token, it has blanks or other characters that none has.")
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise ChromTransferError(
            f"{shown(url)}: the token in {variable} is not sent without encryption. Use an https address, or unset it."
        )
    return token


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
