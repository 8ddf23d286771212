"""What a file must be, and whether it is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path

Inspect = Callable[[Path], None]

SHA256 = re.compile(r"[0-9a-fA-F]{64}")
CHUNK = 1 << 18  # bytes read at once
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_TITLES = {"sha256": "SHA-256", "md5": "MD5", "git_blob": "git blob id"}


@dataclass(frozen=True)
class Expected:
    """What a file must be: its size in bytes and its digests as in :func:`digests`. None is not checked."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    git_blob: str | None = None

    def __str__(self) -> str:
        return ", ".join(f"{title} {getattr(self, key)}" for key, title in self._known())

    def _known(self) -> list[tuple[str, str]]:
        return [(key, title) for key, title in _TITLES.items() if getattr(self, key) is not None]

    def problem(self, path: Path) -> str | None:
        """Say how a file differs from this, or None if it does not."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"{size:,} bytes, expected {self.size:,}"
        if not self._known():
            return None
        found = digests(path, [key for key, _ in self._known()])
        for key, title in self._known():
            wanted = getattr(self, key).lower()
            if found[key] != wanted:
                return f"{size:,} bytes with {title} {found[key]}, expected {wanted}"
        return None


def digests(path: Path, kinds: Iterable[str] = ("sha256", "md5", "git_blob")) -> dict[str, str]:
    """Read a file once and give its hexadecimal digests; a bar shows the progress on a large one.

    Parameters
    ----------
    path : Path
        The file.
    kinds : iterable of str
        ``sha256``, ``md5`` and ``git_blob``, the name git gives to the content.
    """
    size = path.stat().st_size
    begin = {
        "sha256": lambda: hashlib.sha256(),
        "md5": lambda: hashlib.md5(usedforsecurity=False),
        "git_blob": lambda: hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False),
    }
    found = {kind: begin[kind]() for kind in kinds}
    with path.open("rb") as stream, bytes_bar(f"checking {path.name}", size) as bar:
        while piece := stream.read(CHUNK):
            for digest in found.values():
                digest.update(piece)
            bar.update(len(piece))
    return {kind: digest.hexdigest() for kind, digest in found.items()}


def bytes_bar(title: str, total: int | None, done: int = 0) -> Any:
    """Return a progress bar with rate and time left; not shown for what is quick or where stderr is no terminal."""
    from tqdm import tqdm

    return tqdm(
        desc=title, total=total, initial=done, unit="B", unit_scale=True, unit_divisor=1024, delay=0.5, leave=False,
        disable=None,
    )  # fmt: skip


def refusal(path: Path, expected: Expected, inspect: Inspect | None = None) -> str | None:
    """Say in sentences why a complete file is not the expected one, or None if it is.

    Parameters
    ----------
    path : Path
        The file, perhaps still under a temporary name.
    expected : Expected
        Its size and digests.
    inspect : callable, optional
        Gets the path; raises ChromTransferError to refuse the content.
    """
    if path.stat().st_size == 0 and expected.size != 0:
        return "the file is empty."
    if problem := expected.problem(path):
        return f"{problem}.{_looks_like(path)}"
    if inspect is not None:
        try:
            inspect(path)
        except ChromTransferError as error:
            return str(error)
    return None


def is_there(target: Path, expected: Expected, inspect: Inspect | None = None) -> bool:
    """Whether a file exists and is the expected one; False if nothing is expected of it."""
    known = str(expected) != "" or inspect is not None
    try:
        return known and target.is_file() and refusal(target, expected, inspect) is None
    except OSError as error:
        raise ChromTransferError(
            f"{target}: cannot be read ({error.strerror}). Change its permissions or remove it."
        ) from error


def record_path(path: Path) -> Path:
    """Give the place of the record on a file that had no known SHA-256 when it was fetched."""
    return path.with_name(f"{path.name}.verified.json")


def write_record(path: Path, facts: Mapping[str, Any]) -> None:
    """Record the ``size`` and ``sha256`` of a file, those of its ``download``, and where it came from."""
    with atomic_path(record_path(path)) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Read what was recorded when a file was fetched; empty if there is no record that can be used."""
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
        whole = SHA256.fullmatch(record["sha256"]) and SHA256.fullmatch(record["download"]["sha256"])
        return record if whole and isinstance(record["size"], int) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _looks_like(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(256).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return " It is a web page, perhaps of a login or an error."
    return " It is a Git-LFS pointer, not the file itself." if head.startswith(LFS_POINTER) else ""
