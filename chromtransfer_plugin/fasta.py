"""The records of a FASTA one after another, in bounded memory, for sequences that are scored as they stand.

Coordinates into a genome are :mod:`chromtransfer_plugin.genome`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fasta_open import check_fasta, open_stream
from chromtransfer_plugin.onehot import encode
from chromtransfer_plugin.text_blocks import BYTE_ORDER_MARK, plain_errors

LONGEST = 10_000_000  # bases; a longer record is a chromosome, not a sequence to score

_CHUNK = 1 << 22
_BLANK = b" \t\r\n"
_UPPER = bytes(range(256)).upper()
_LETTERS = b"ACGTRYSWKMBDHVNX"  # IUPAC codes of DNA; X is an old sign for a masked base
_LINE_END = b"\n"
# As bedtools getfasta writes it: chrom:start-end, with -name NAME:: before it and with -s the strand behind it; samtools
# faidx writes the same without name and strand.
_PLACE = re.compile(r"(?:(.*)::)?([^:\s]+):(\d{1,18})-(\d{1,18})(?:\(([+-])\))?")


class FastaRecord(NamedTuple):
    """One sequence of a FASTA.

    Attributes
    ----------
    id : str
        First word of the header line.
    description : str
        The rest of the header line, "" if there is none.
    sequence : bytes
        L upper-case letters: A, C, G, T, the other IUPAC codes of DNA, or X.
    line : int
        Line of the header, counted from 1.
    """

    id: str
    description: str
    sequence: bytes
    line: int

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Codes 0 to 3 of A, C, G, T and 4 of every other letter; a new array of shape (L,)."""
        return encode(self.sequence)


class Place(NamedTuple):
    """Where a FASTA record lies in a genome, as its name says; ``name`` and ``strand`` are "" if it does not.

    Whether ``start`` counts from 0 or from 1 the name does not tell.
    """

    name: str
    chrom: str
    start: int
    end: int
    strand: str


def place_of(record_id: str) -> Place | None:
    """Read a record's name as a place, such as ``chr1:100-700`` or ``peak7::chr1:100-700(-)``; None if it is none."""
    match = _PLACE.fullmatch(record_id)
    if match is None:
        return None
    name, chrom, start, end, strand = match.groups(default="")
    return Place(name, chrom, int(start), int(end), strand)


def read_fasta(
    path: str | Path, longest: int = LONGEST, progress: Callable[[int], object] | None = None
) -> Iterator[FastaRecord]:
    """Read the records of a FASTA in file order.

    Names may occur more than once. Memory holds a few MB of the file and one record, whatever the size of the file.

    Parameters
    ----------
    path : str or Path
        Plain, gzip or bgzip. Lines may have any length, case and line end (LF or CRLF).
    longest : int
        Bases a record may have.
    progress : callable, optional
        Called with the number of bytes of the file, as it lies on the disk, that were read since the last call.

    Returns
    -------
    iterator of FastaRecord
        At least one record; none is empty.

    Raises
    ------
    ChromTransferError
        If the file is missing, empty or no FASTA: at once. If it is damaged, or a record has no name, no sequence,
        letters that are no DNA, or is too long: when the iterator gets there, with the line of the header.
    """
    path = Path(path).expanduser()
    check_fasta(path, "FASTA records (plain, gzip or bgzip)")
    return _records(path, longest, progress or (lambda _: None))


def _records(path: Path, longest: int, progress: Callable[[int], object]) -> Iterator[FastaRecord]:
    header: tuple[str, str, int] | None = None
    pieces: list[bytes] = []
    size = 0
    with plain_errors(path):
        for line, part in _parts(path, longest, progress):
            body = part
            if line:
                if header:
                    yield _finish(path, header, pieces)
                title, _, body = part.partition(b"\n")
                header, pieces, size = _parse_header(path, title, line), [], 0
            if header is None:  # blank lines before the first record
                continue
            pieces.append(body.translate(_UPPER, _BLANK))
            size += len(pieces[-1])
            if size > longest:
                raise _too_long(path, f"record '{header[0]}' (line {header[2]})", longest)
        if header:
            yield _finish(path, header, pieces)


def _parts(path: Path, longest: int, progress: Callable[[int], object]) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, header line without ``>`` and what follows it), or (0, more of the same record)."""
    done, before = 0, 0  # lines and bytes read so far
    with path.open("rb") as raw, open_stream(raw) as stream:
        while chunk := stream.read(_CHUNK):
            # Reading on to the next line end: every chunk starts a line.
            rest = stream.readline(longest + len(b"\r\n") + 1)
            if len(rest) > longest + len(b"\r\n"):
                raise _too_long(path, f"line {done + chunk.count(_LINE_END) + 1}", longest)
            chunk += rest
            if not done:
                chunk = chunk.removeprefix(BYTE_ORDER_MARK)
            first, *others = (b"\n" + chunk).split(b"\n>")
            yield 0, first
            line = done + first.count(b"\n")
            for part in others:
                line += 1
                yield line, part
                line += part.count(b"\n")
            done += chunk.count(b"\n")
            progress(raw.tell() - before)
            before = raw.tell()


def _parse_header(path: Path, title: bytes, line: int) -> tuple[str, str, int]:
    try:
        text = title.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ChromTransferError(f"{path}: line {line}: the header is not text. Is the file damaged?")
    name, *rest = text.split(maxsplit=1) or [""]
    if not name or text[0].isspace():
        raise ChromTransferError(
            f"{path}: line {line}: the header has no name right after '>', expected a line like '>name'. "
            "Name every record."
        )
    return name, rest[0].rstrip() if rest else "", line


def _finish(path: Path, header: tuple[str, str, int], pieces: list[bytes]) -> FastaRecord:
    name, description, line = header
    sequence = b"".join(pieces)
    if not sequence:
        raise ChromTransferError(
            f"{path}: record '{name}' (line {line}) has no sequence. Complete or remove it."
        )
    if strange := sequence.translate(None, _LETTERS):
        letter = chr(strange[0])
        known = {"U": " It is RNA: write T for U.", "-": " Remove the alignment's gaps."}
        raise ChromTransferError(
            f"{path}: record '{name}' (line {line}) is not DNA, it holds {letter!a} at position "
            f"{sequence.index(strange[:1]) + 1}; expected A, C, G, T, N or another IUPAC code."
            f"{known.get(letter, '')}"
        )
    return FastaRecord(name, description, sequence, line)


def _too_long(path: Path, what: str, longest: int) -> ChromTransferError:
    return ChromTransferError(
        f"{path}: {what} is longer than {longest:,} bases. Is it a genome? Then name the regions to be "
        "scored in a BED file and give this file as the genome."
    )
