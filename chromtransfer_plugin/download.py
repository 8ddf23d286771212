"""One verified download: resumed, retried, bounded, and under its name only when its bytes are right."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import NO_ROOM, atomic_path, make_folder, try_lock
from chromtransfer_plugin.verify import CHUNK, Expected, Inspect, bytes_bar, is_there, refusal
from chromtransfer_plugin.web import (
    NotThereError,
    Patience,
    TryAgainError,
    check_status,
    check_url,
    open_session,
    persist,
    shown,
)

if TYPE_CHECKING:
    import requests

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(
    url: str,
    target: str | Path,
    expected: Expected,
    *,
    max_bytes: int,
    inspect: Inspect | None = None,
    patience: Patience | None = None,
    token: str | None = None,
) -> bool:
    """Download a file to ``target``, which appears only when it is complete and right.

    Until then the bytes are in ``.NAME.part`` beside it, and what is known of their origin in ``.NAME.part.json``.
    An attempt that was cut off, and one whose process was killed, is continued from there if the server allows that
    and still has the same file. Wrong bytes are removed.

    Parameters
    ----------
    url : str
        http or https.
    target : path
        Its folder is created if needed; an existing file that is not the expected one is replaced.
    expected : Expected
        What the file must be. If ``target`` is that already, nothing is downloaded.
    max_bytes : int
        Larger answers are refused.
    inspect : callable, optional
        Gets the path of the complete file before it gets its name; raises ChromTransferError to refuse it.
    patience : Patience, optional
        Limits of waiting and trying.
    token : str, optional
        Bearer token.

    Returns
    -------
    bool
        True if it was downloaded, False if it was there.

    Raises
    ------
    ChromTransferError
        If it cannot be had, is not what was expected, or another process is downloading it.
    """
    target = Path(target)
    check_url(url)
    if is_there(target, expected, inspect):
        return False
    make_folder(target.parent)
    part = _Part(target)
    with _disk_errors(target), part.locked(), open_session(token) as session:
        continued = _fill(session, url, part, max_bytes, patience or Patience())
        why = refusal(part.path, expected, inspect)
        if why and continued:  # the older bytes may be at fault: once more, all of it
            part.clear()
            _fill(session, url, part, max_bytes, patience or Patience())
            why = refusal(part.path, expected, inspect)
        if why:
            part.clear()
            raise ChromTransferError(
                f"{shown(url)}: refused and removed: {why} Try again; if it stays wrong, use another server (--url)."
            )
        part.finish()
    return True


def copy_verified(
    source: Path, target: Path, expected: Expected, *, max_bytes: int, inspect: Inspect | None = None
) -> bool:
    """Copy a local file as :func:`download` does a remote one; same arguments, answer and errors."""
    if is_there(target, expected, inspect):
        return False
    if not source.is_file():
        raise NotThereError(f"{source}: no such file.")
    size = source.stat().st_size
    if size > max_bytes:
        raise ChromTransferError(f"{source}: {size:,} bytes, at most {max_bytes:,} are taken.")
    make_folder(target.parent)
    try:
        stream = source.open("rb")
    except OSError as error:
        raise ChromTransferError(f"{source}: cannot be read ({error.strerror}).") from error
    with stream, atomic_path(target) as temporary:
        with temporary.open("wb") as out, bytes_bar(source.name, size) as bar:
            while piece := stream.read(CHUNK):
                out.write(piece)
                bar.update(len(piece))
        if why := refusal(temporary, expected, inspect):
            raise ChromTransferError(f"{source}: refused: {why} Copy it again from where it came.")
    return True


@contextlib.contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "Choose another folder (--out)."
        if error.errno in NO_ROOM:
            advice = "Free some space and run again, which goes on where this stopped, or choose another folder (--out)."
        raise ChromTransferError(f"{target}: cannot be written ({error.strerror}). {advice}") from error


class _Part:
    """The partial file of a download, and the note on where its bytes came from."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self.note_path = target.with_name(f".{target.name}.part.json")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file for this process; the system lets go of it however the process ends."""
        stream = self._open()
        try:
            yield
        finally:
            if self.path.exists() and self._is_ours(stream) and not self.size:
                self.path.unlink()
                self.note_path.unlink(missing_ok=True)
            stream.close()

    def _is_ours(self, stream: IO[bytes]) -> bool:
        return os.path.samestat(os.fstat(stream.fileno()), self.path.stat())

    def _open(self) -> IO[bytes]:
        busy = ChromTransferError(
            f"{self.target}: another process is downloading this file now. Wait for it, then run again."
        )
        try:
            stream = self.path.open("ab")
        except OSError as error:
            raise ChromTransferError(
                f"{self.target}: cannot be written ({error.strerror}). Choose another folder (--out)."
            ) from error
        # If the other process ended in between, this is the file it has just renamed, or one it removed.
        if try_lock(stream) and self.path.exists() and self._is_ours(stream):
            return stream
        stream.close()
        raise busy

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def note(self) -> dict[str, Any]:
        """What is known of the bytes: ``url``, ``etag``, ``modified``, ``total``; empty if nothing is."""
        try:
            note = json.loads(self.note_path.read_text())
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def begin(self, note: dict[str, Any]) -> None:
        """Start from nothing. The old bytes go first, so that the note never speaks of other ones."""
        self.clear()
        with atomic_path(self.note_path) as temporary:
            temporary.write_text(json.dumps(note))

    def clear(self) -> None:
        os.truncate(self.path, 0)
        self.note_path.unlink(missing_ok=True)

    def finish(self) -> None:
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(self.path, self.target)
        self.note_path.unlink(missing_ok=True)


def _fill(session: requests.Session, url: str, part: _Part, max_bytes: int, patience: Patience) -> bool:
    """Complete the partial file; tell whether bytes of an earlier attempt are in it."""
    continued = False
    most = 0  # a server that always starts again makes no progress by sending the same bytes

    def reached() -> int:
        nonlocal most
        most = max(most, part.size)
        return most

    def attempt() -> None:
        nonlocal continued
        reached()
        note, offset = part.note(), part.size
        if note.get("url") != shown(url) or not (note.get("etag") or note.get("modified")):
            offset = 0
        if offset and offset == note.get("total"):  # killed between the last byte and the new name
            continued = True
            return
        with session.get(
            url, headers=_ask(note, offset), stream=True, timeout=(patience.connect, patience.read)
        ) as response:
            if response.status_code == 416:
                part.clear()
                raise TryAgainError("the file became shorter")
            check_status(response)
            continued = response.status_code == 206
            if continued:
                _check_range(response, part, note, offset)
            _receive(response, url, part, max_bytes, offset if continued else 0)

    persist(url, attempt, reached, patience)
    return continued


def _ask(note: dict[str, Any], offset: int) -> dict[str, str]:
    """Give the headers of a request; the rest only if the file is still the same."""
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        etag = note.get("etag") or ""
        # A weak ETag must not be used here (RFC 9110, 13.1.5); the answer's is compared instead.
        if validator := (etag if not etag.startswith("W/") else None) or note.get("modified"):
            headers["If-Range"] = validator
    return headers


def _check_range(response: requests.Response, part: _Part, note: dict[str, Any], offset: int) -> None:
    """Start again unless the answer continues exactly the bytes that are here."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = note.get("total")
    same = (
        offset > 0
        and match is not None
        and int(match[1]) == offset
        and (total is None or match[2] in ("*", str(total)))
        and response.headers.get("ETag", note.get("etag")) == note.get("etag")
        and not _to_decode(response)
    )
    if not same:
        part.clear()
        raise TryAgainError("the file changed on the server")


def _to_decode(response: requests.Response) -> bool:
    """Whether a body is compressed on its way, though we did not ask for that."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    # Servers that call a .gz file "Content-Encoding: gzip" mean the file as it is.
    return encoding != "identity" and not (urlsplit(response.url).path.endswith(".gz") and "gzip" in encoding)


def _receive(response: requests.Response, url: str, part: _Part, max_bytes: int, offset: int) -> None:
    """Write the body behind ``offset`` bytes that are here already."""
    decode = _to_decode(response)
    length = response.headers.get("Content-Length", "")
    total = offset + int(length) if length.isdecimal() and not decode else None
    too_large = (
        f"{shown(url)}: refused, it has more than {max_bytes:,} bytes, the most that is taken for this file."
    )
    if total is not None and total > max_bytes:
        part.clear()
        raise ChromTransferError(too_large)
    if not offset:
        known = (
            {}
            if decode
            else {"etag": response.headers.get("ETag"), "modified": response.headers.get("Last-Modified")}
        )
        part.begin({"url": shown(url), "total": total, **known})
    # The check below says it in plainer words.
    response.raw.enforce_content_length = total is None
    size = offset
    with part.path.open("ab") as out, bytes_bar(part.target.name, total, offset) as bar:
        for piece in response.raw.stream(CHUNK, decode_content=decode):
            size += len(piece)
            if size > max_bytes:
                break
            out.write(piece)
            bar.update(len(piece))
    if size > max_bytes:
        part.clear()
        raise ChromTransferError(too_large)
    if total is not None and size < total:
        raise TryAgainError(f"the connection was cut at {size:,} of {total:,} bytes")
