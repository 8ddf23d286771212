"""Reading text files, plain or gzip, in blocks of whole lines; whatever is no text is refused."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from chromtransfer_plugin.errors import ChromTransferError

BLOCK_BYTES = 1 << 20
_LONGEST_LINE = 64 << 20
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_RETURN = re.compile(rb"\r(?![\r\n]|\Z)")


class TextKind(NamedTuple):
    """The words for one kind of file in messages."""

    file: str  # "a region file"
    formats: str  # "BED, narrowPeak or CSV"
    content: str  # "regions"
    hint: str  # what to do with a binary file


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Say what the system says of a file that cannot be read, or unpacked, in the words of this package."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ChromTransferError(
            f"{path}: the compressed data is damaged ({error}). Download or compress it again."
        ) from error
    except OSError as error:
        raise ChromTransferError(f"{path}: cannot be read ({error.strerror or error}).") from error


@contextmanager
def open_text(path: Path, kind: TextKind) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, unpacked if it is gzip; say plainly what is wrong with it.

    Raises
    ------
    ChromTransferError
        If the file is missing, a folder, damaged (also while it is read) or cannot be read.
    """
    with plain_errors(path):
        if path.is_dir():
            raise ChromTransferError(f"{path}: is a folder, expected {kind.file}. Name the file inside it.")
        try:
            raw = path.open("rb")
        except FileNotFoundError:
            raise ChromTransferError(f"{path}: no such file, expected a {kind.formats} file.") from None
        with raw:
            compressed = raw.peek(2)[:2] == GZIP
            yield io.BufferedReader(gzip.GzipFile(fileobj=raw)) if compressed else raw  # type: ignore[arg-type]


def text_blocks(path: Path, kind: TextKind, size: int | None = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield the text of a file in pieces that end at a line end (the last one: at the end of the file).

    Parameters
    ----------
    path : Path
        Plain or gzip (bgzip is one).
    kind : TextKind
    size : int or None
        Bytes read at a time; a longer line makes its piece longer. None reads all at once.

    Yields
    ------
    bytes
        UTF-8 text without a byte order mark.

    Raises
    ------
    ChromTransferError
        As :func:`open_text`; also if the file is empty or binary, has line ends of a lone CR, or, in pieces, a line of
        more than 64 MiB.
    """
    rest: list[bytes] = []
    empty, first = True, True
    with open_text(path, kind) as source:
        while piece := source.read(-1 if size is None else size):
            if b"\0" in piece:
                raise binary(path, kind)
            empty = empty and not piece.strip()
            end = piece.rfind(b"\n") + 1
            if end:
                yield _text(path, kind, b"".join([*rest, piece[:end]]), first)
                rest, first = [], False
            if end < len(piece):
                rest.append(piece[end:])
                if size is not None and sum(map(len, rest)) > _LONGEST_LINE:
                    raise ChromTransferError(
                        f"{path}: has a line of more than {_LONGEST_LINE >> 20} MiB, which is no row of {kind.file}."
                    )
    if empty:
        raise ChromTransferError(f"{path}: is empty, expected {kind.content} ({kind.formats}).")
    if rest:
        yield _text(path, kind, b"".join(rest), first)


def _text(path: Path, kind: TextKind, data: bytes, first: bool) -> bytes:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise binary(path, kind) from None
    if b"\r" in data and _LONE_RETURN.search(data):
        # Read as one line, all rows but the first would be lost.
        raise ChromTransferError(
            f"{path}: has carriage returns within lines, as if they were line ends of an old Mac. Convert them: "
            "`tr '\\r' '\\n' < FILE > NEW`."
        )
    return data.removeprefix(BYTE_ORDER_MARK) if first else data


def binary(path: Path, kind: TextKind) -> ChromTransferError:
    """Return the error for bytes that are no text."""
    return ChromTransferError(f"{path}: is a binary file, expected UTF-8 text ({kind.formats}). {kind.hint}")
