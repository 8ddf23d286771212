"""The lines of a VCF or BCF: its header, and its records as text, numbered, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.text_blocks import BLOCK_BYTES, TextKind, open_text

LONGEST_LINE = 64 << 20  # bytes; of a longer one, which is rejected, only the beginning is kept
_KIND = TextKind("a VCF or BCF file", "VCF (plain, bgzip or gzip) or BCF", "variants", "")
_BCF = b"BCF"
_BGZF = b"\x1f\x8b\x08\x04"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
_ASCII = bytes(code if code < 128 else ord("?") for code in range(256))
_CONTROL = bytes(code for code in [*range(32), 127] if code not in b"\t\n")
_AT_ONCE = 1024  # records of a BCF


class Line(NamedTuple):
    """Number of a line of the file (of a BCF: of a record), from 1, and its text without the line end."""

    number: int
    text: str


@contextmanager
def quiet_htslib() -> Iterator[None]:
    """Keep htslib from writing to stderr what the caller gets as an error, or need not know."""
    import pysam

    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def unreadable(path: Path, what: object) -> ChromTransferError:
    """Return the error for a file that is no VCF, or whose header cannot be used."""
    return ChromTransferError(
        f"{path}: is not a readable VCF or BCF file ({what}). Expected a first line ##fileformat=VCF..., a line "
        "#CHROM... and records of at least 8 columns separated by tabs."
    )


def check_file(path: Path) -> bool:
    """Tell whether a file is a BCF; raise if it cannot be read several times, or is cut short.

    Raises
    ------
    ChromTransferError
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ChromTransferError(
            f"{path}: is no regular file, and can be read only once. Write it to a file first."
        )
    with open_text(path, _KIND) as source:
        is_bcf = _piece(path, source, 0, len(_BCF)) == _BCF
    with path.open("rb") as raw:
        if raw.read(len(_BGZF)) == _BGZF:
            raw.seek(-min(len(_BGZF_END), path.stat().st_size), 2)
            if raw.read() != _BGZF_END:
                raise ChromTransferError(
                    f"{path}: is damaged or cut short, the end mark of bgzip is missing. Copy or download it again."
                )
    return is_bcf


def read_header(path: Path, is_bcf: bool) -> list[str]:
    """Read the lines of the header, the last being ``#CHROM...``.

    Raises
    ------
    ChromTransferError
        If there is none, or htslib cannot read it.
    """
    return _bcf_header(path) if is_bcf else _text_header(path)


def _text_header(path: Path) -> list[str]:
    header: list[str] = []
    for line in text_lines(path):
        if not line.text.startswith("#"):
            break
        header.append(line.text)
        if not line.text.startswith("##"):
            break
    if not header or not header[0].startswith("##fileformat=VCF"):
        raise unreadable(path, "the first line is another" if header else "there is no header")
    if header[-1].split("\t")[:8] != _COLUMNS.split("\t"):
        raise unreadable(path, "its header does not end with a whole line #CHROM...")
    for number, text in enumerate(header, start=1):
        if has_control(text):
            raise unreadable(path, f"line {number} has control characters")
    return header


def has_control(text: str) -> bool:
    """Tell whether a text has control characters; tabs and line ends are none."""
    data = text.encode()
    return len(data.translate(None, _CONTROL)) != len(data)


def _bcf_header(path: Path) -> list[str]:
    import pysam

    try:
        with quiet_htslib(), pysam.VariantFile(str(path)) as file:
            return str(file.header).rstrip("\n").split("\n")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def text_lines(path: Path) -> Iterator[Line]:
    """Yield all lines of a text file; blank lines have no text, and those at the end of the file are left out.

    Raises
    ------
    ChromTransferError
        If the file is damaged, or no UTF-8 text.
    """
    number = blank = 0
    with open_text(path, _KIND) as source:
        for data in _whole_lines(path, source):
            for text in _texts(path, data, number):
                number += 1
                if not text or text.isspace():
                    blank += 1
                    continue
                for before in range(number - blank, number):
                    yield Line(before, "")
                blank = 0
                yield Line(number, text)


def bcf_lines(path: Path) -> Iterator[Line]:
    """Yield all records of a BCF as text.

    Raises
    ------
    ChromTransferError
        If the file is damaged.
    """
    import pysam

    number, texts = 0, [""]
    try:
        with quiet_htslib():
            file = pysam.VariantFile(str(path))
        with _closing(file):
            while texts:
                with quiet_htslib():
                    texts = [str(record).rstrip("\n") for record in islice(file, _AT_ONCE)]
                for text in texts:
                    number += 1
                    yield Line(number, text)
    except (OSError, ValueError) as error:
        raise ChromTransferError(
            f"{path}: is damaged behind record {number} ({error}). Copy or download it again."
        ) from error


@contextmanager
def _closing(file: Any) -> Iterator[None]:
    """Close a file of pysam, which cannot close a damaged one either and would say so on stderr."""
    try:
        yield
    finally:
        with suppress(OSError), quiet_htslib():
            file.close()


def _whole_lines(path: Path, source: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes in pieces that end at a line end (the last one: at the end of the file)."""
    rest, number = b"", 0
    while piece := _piece(path, source, number, BLOCK_BYTES):
        if len(rest) > LONGEST_LINE:
            end_of_it = piece.find(b"\n")
            piece = piece[end_of_it:] if end_of_it >= 0 else b""
        end = piece.rfind(b"\n") + 1
        if end:
            number += piece.count(b"\n")
            yield rest + piece[:end]
            rest = piece[end:]
        else:
            rest += piece
            if len(rest) > LONGEST_LINE:
                rest = rest.translate(_ASCII)  # it may end within a letter
    if rest:
        yield rest


def _piece(path: Path, source: BinaryIO, number: int, size: int) -> bytes:
    try:
        return source.read(size)
    except (EOFError, zlib.error, OSError) as error:
        raise ChromTransferError(
            f"{path}: is damaged behind line {number} ({error}). Copy or download it again."
        ) from error


def _texts(path: Path, data: bytes, number: int) -> list[str]:
    """Split whole lines, of which the first is number ``number + 1``."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + data.count(b"\n", 0, error.start) + 1
        raise ChromTransferError(
            f"{path}: line {line} is not UTF-8 text. If it is of another encoding, convert the unpacked file: "
            "`iconv -f latin1 -t utf-8 FILE > NEW`."
        ) from None
    if number == 0:
        text = text.removeprefix("\ufeff")
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines
