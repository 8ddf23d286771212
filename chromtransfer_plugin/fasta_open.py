"""Opening a FASTA, with a clear reason for what cannot be one; for genomes and for single sequences."""

from __future__ import annotations

import gzip
import os
import re
from io import BufferedReader
from pathlib import Path

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.text_blocks import BYTE_ORDER_MARK, GZIP, plain_errors

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

_BGZF_HEAD = 18  # bytes
_HEAD = 1 << 16
_BEGIN = re.compile(rb"(?:[ \t\r]*\n)*>")


def check_fasta(path: Path, wanted: str, plain_gzip: bool = True) -> None:
    """Give a clear reason for what cannot be a FASTA. Only the beginning and the end are read.

    Parameters
    ----------
    path : Path
    wanted : str
        What is expected, for messages.
    plain_gzip : bool
        Whether gzip without the blocks of bgzip will do.

    Raises
    ------
    ChromTransferError
        If it is missing, a folder, empty or cut short, does not begin with a header line, or is compressed in another
        way.
    """
    with plain_errors(path):
        if path.is_dir():
            raise ChromTransferError(f"{path}: is a folder, expected a FASTA file. Name the file inside it.")
        if not path.is_file():
            raise ChromTransferError(f"{path}: no such file, expected {wanted}.")
        if not path.stat().st_size:
            raise ChromTransferError(f"{path}: is empty, expected {wanted}. Download or write it again.")
        with path.open("rb") as raw:
            _check_compression(path, raw, plain_gzip)
        with path.open("rb") as raw, open_stream(raw) as stream:
            head = stream.read(_HEAD).removeprefix(BYTE_ORDER_MARK)
    if not _BEGIN.match(head):
        found = (
            f"it starts with {head.lstrip()[:20]!r}" if head.strip() else "it holds nothing but white space"
        )
        hint = " It looks like FASTQ; convert it, e.g. `seqtk seq -A`." if head.startswith(b"@") else ""
        raise ChromTransferError(
            f"{path}: is not a FASTA file, {found}, expected a header line like '>chr1'. Give {wanted}.{hint}"
        )


def _check_compression(path: Path, raw: BufferedReader, plain_gzip: bool) -> None:
    head = raw.read(_BGZF_HEAD)
    if not head.startswith(GZIP):
        return
    if len(head) == _BGZF_HEAD and head[3] & 4 and head[12:14] == b"BC":
        # Cut between two blocks, the data before the cut would read without an error.
        raw.seek(-min(len(BGZF_END), path.stat().st_size), os.SEEK_END)
        if raw.read() != BGZF_END:
            raise ChromTransferError(
                f"{path}: the bgzip end marker is missing, the file is cut short. Download or copy it again, or compress "
                "it again with `bgzip`."
            )
    elif not plain_gzip:
        raise ChromTransferError(
            f"{path}: is compressed with gzip, expected plain FASTA or bgzip, which other tools can index. Run "
            f"`gunzip '{path}'`, then optionally `bgzip` on the result."
        )


def open_stream(raw: BufferedReader) -> BufferedReader | gzip.GzipFile:
    """Give the plain bytes of a file that was just opened, compressed or not."""
    compressed = raw.read(len(GZIP)) == GZIP
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if compressed else raw
