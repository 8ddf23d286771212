"""From a FASTA to a memory-mappable file of codes, and back to it without reading the FASTA again.

Layout of a ``.codes`` file: one byte per base of every contig in FASTA order, then a JSON header, then a
24-byte footer (length and CRC-32 of the header, magic). A base is stored as ``code ^ 4``, so N is 0 and a
64 KiB block of nothing but N is never written: on a sparse file system it takes no disk space.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import mmap
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fasta_open import check_fasta, open_stream
from chromtransfer_plugin.files import CACHE_VARIABLE, USER_CACHE, atomic_path
from chromtransfer_plugin.onehot import N_CODE, byte_table
from chromtransfer_plugin.text_blocks import BYTE_ORDER_MARK, plain_errors

_MAGIC = b"chromtr1"
_FOOTER = struct.Struct("<QI4x8s")
_BLOCK = 1 << 16
_CHUNK = 1 << 23
_SAMPLES = 16
_CLOCK_GRAIN_NS = 2_000_000_000  # the coarsest file times in use (FAT)
_STORED = byte_table(xor=N_CODE)


@dataclass(frozen=True)
class Header:
    """What a ``.codes`` file says about itself.

    Attributes
    ----------
    names, lengths : list
        Contigs in FASTA order.
    identity : str
        SHA-256 (first 32 hex digits) of the names, lengths and codes: equal for the plain, the bgzipped
        and the soft-masked FASTA of one assembly.
    samples : list of [block, crc]
        CRC-32 of up to 16 blocks spread over the file.
    mtime_ns : int
        Time stamp given to the finished file: a different one means somebody wrote to it.
    """

    names: list[str]
    lengths: list[int]
    identity: str
    samples: list[list[int]]
    mtime_ns: int


class _Writer:
    """Append codes to a file, leaving a hole for every block of only N, and hash them."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.size = 0
        self.crcs: list[list[int]] = []
        self.hash = hashlib.sha256()
        self._pending = bytearray()

    def add(self, stored: bytes) -> None:
        self._pending += stored
        full = len(self._pending) // _BLOCK * _BLOCK
        if full:
            self._flush(bytes(self._pending[:full]))
            del self._pending[:full]

    def _flush(self, data: bytes) -> None:
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            if block.count(0) < len(block):
                number = (self.size + start) // _BLOCK
                self.hash.update(struct.pack("<Q", number) + block)
                self.crcs.append([number, zlib.crc32(block)])
                self.stream.seek(self.size + start)
                self.stream.write(block)
        self.size += len(data)

    def finish(self, names: list[str], lengths: list[int]) -> None:
        self._flush(bytes(self._pending))
        self.hash.update(_contig_bytes(names, lengths))
        step = max(1, len(self.crcs) // _SAMPLES)
        header = Header(
            names=names,
            lengths=lengths,
            identity=self.hash.hexdigest()[:32],
            samples=self.crcs[::step],
            mtime_ns=time.time_ns() // _CLOCK_GRAIN_NS * _CLOCK_GRAIN_NS,
        )
        text = json.dumps(asdict(header)).encode()
        self.stream.seek(self.size)
        self.stream.write(text + _FOOTER.pack(len(text), zlib.crc32(text), _MAGIC))
        self.stream.flush()
        os.fsync(self.stream.fileno())
        os.utime(self.stream.fileno(), ns=(header.mtime_ns, header.mtime_ns))


def _contig_bytes(names: list[str], lengths: list[int]) -> bytes:
    return json.dumps([names, lengths]).encode()


def _pieces(path: Path, stream: BufferedReader | gzip.GzipFile) -> Iterator[tuple[str | None, bytes]]:
    """Yield (name, b"") at each header line and (None, stored codes) for the sequence after it."""
    chunk = stream.read(_CHUNK).removeprefix(BYTE_ORDER_MARK)
    while chunk:
        # Reading on to the next line end keeps header lines whole; every chunk then starts a line.
        parts = (b"\n" + chunk + stream.readline()).split(b"\n>")
        for number, part in enumerate(parts):
            body = part
            if number:
                title, _, body = part.partition(b"\n")
                words = title.split()
                if not words:
                    raise ChromTransferError(
                        f"{path}: a header line has no name, expected a line like '>chr1'. Name every contig."
                    )
                yield words[0].decode("utf-8", "replace"), b""
            if stored := body.translate(_STORED, b"\r\n \t"):
                yield None, stored
        chunk = stream.read(_CHUNK)


def _convert(fasta: Path, target: Path) -> None:
    """Write the ``.codes`` file of a FASTA."""
    from tqdm import tqdm

    names: list[str] = []
    lengths: list[int] = []
    seen: set[str] = set()
    with (
        atomic_path(target) as temporary,
        fasta.open("rb") as raw,
        open_stream(raw) as stream,
        temporary.open("r+b") as out,
    ):
        writer = _Writer(out)
        with tqdm(desc=fasta.name, unit="base", unit_scale=True, delay=2.0, leave=False, disable=None) as bar:
            for name, stored in _pieces(fasta, stream):
                if name is None:
                    writer.add(stored)
                    lengths[-1] += len(stored)
                    bar.update(len(stored))
                    continue
                if name in seen:
                    raise ChromTransferError(
                        f"{fasta}: contig '{name}' occurs twice, so its coordinates have two meanings. "
                        "Rename or remove one of the two records."
                    )
                seen.add(name)
                names.append(name)
                lengths.append(0)
        if not any(lengths):
            raise ChromTransferError(f"{fasta}: has header lines but no sequence. Give a complete FASTA.")
        writer.finish(names, lengths)


def read_header(path: Path) -> Header | None:
    """Give the header of a ``.codes`` file, or None if it is missing, cut short, changed or corrupt."""
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            stream.seek(-_FOOTER.size, os.SEEK_END)
            size, crc, magic = _FOOTER.unpack(stream.read())
            stream.seek(-_FOOTER.size - size, os.SEEK_END)
            data_size = stream.tell()
            text = stream.read(size)
            if magic != _MAGIC or zlib.crc32(text) != crc:
                return None
            header = Header(**json.loads(text))
            if data_size != sum(header.lengths):
                return None
            for number, expected in header.samples:
                stream.seek(number * _BLOCK)
                if zlib.crc32(stream.read(min(_BLOCK, data_size - number * _BLOCK))) != expected:
                    return None
        if status.st_mtime_ns != header.mtime_ns:  # copied or written to: only the whole file can tell
            if _identity(map_codes(path, header), header) != header.identity:
                return None
            with contextlib.suppress(OSError):
                os.utime(path, ns=(header.mtime_ns, header.mtime_ns))
    except (OSError, ValueError, TypeError, KeyError, struct.error):
        return None
    return header


def map_codes(path: Path, header: Header) -> NDArray[np.uint8]:
    """Map the stored codes (``code ^ 4``) of all contigs, end to end, without reading them."""
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), sum(header.lengths), access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype=np.uint8)


def _identity(stored: NDArray[np.uint8], header: Header) -> str:
    digest = hashlib.sha256()
    for number, start in enumerate(range(0, len(stored), _BLOCK)):
        block = stored[start : start + _BLOCK]
        if block.any():
            digest.update(struct.pack("<Q", number) + block.tobytes())
    digest.update(_contig_bytes(header.names, header.lengths))
    return digest.hexdigest()[:32]


def _folders(fasta: Path, cache_dir: str | Path | None) -> list[Path]:
    """Folders that may hold the cache, the preferred one first."""
    wanted = cache_dir or os.environ.get(CACHE_VARIABLE)
    first = Path(wanted).expanduser() if wanted else fasta.with_name(fasta.name + ".genome-cache")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [
        first,
        USER_CACHE.expanduser(),
        Path(tempfile.gettempdir()) / f"chromtransfer-{user}",
    ]


def _writable(folder: Path) -> bool:
    """Make the folder if need be, and tell whether files can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _status(path: Path) -> dict[str, Any]:
    """What the file system knows of a file. Nobody can set ctime back, unlike mtime."""
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": [status.st_dev, status.st_ino],
    }


def _note_name(status: dict[str, Any]) -> str:
    return hashlib.sha256(status["path"].encode()).hexdigest()[:16] + ".stamp.json"


def _content_hash(fasta: Path, status: dict[str, Any], folders: list[Path]) -> str:
    """Hash the bytes of the FASTA, or take the hash noted when the same untouched file was last read."""
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads((folder / _note_name(status)).read_text())
            if note["status"] == status:
                return str(note["sha256"])
    with fasta.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _write_note(status: dict[str, Any], digest: str, folder: Path) -> None:
    """Note the hash of an untouched file, so that the next process need not read all of it."""
    note = json.dumps({"status": status, "sha256": digest})
    path = folder / _note_name(status)
    # A file touched within the clock's grain could change again under the same ctime: no note for it.
    settled = time.time_ns() - max(status["mtime_ns"], status["ctime_ns"]) > _CLOCK_GRAIN_NS
    with contextlib.suppress(OSError, ChromTransferError):
        if settled and not (path.exists() and path.read_text() == note):
            with atomic_path(path) as temporary:
                temporary.write_text(note)


def find_or_build(fasta: Path, cache_dir: str | Path | None) -> tuple[Path, Header]:
    """Give the ``.codes`` file of a FASTA and its header, converting the FASTA if there is none yet.

    Raises
    ------
    ChromTransferError
        If the FASTA is missing, empty, not a FASTA, gzipped without blocks, has a contig twice, changes
        while it is read, or no folder for the cache can be written to.
    """
    check_fasta(fasta, "a genome FASTA (plain or bgzip)", plain_gzip=False)
    with plain_errors(fasta):
        status = _status(fasta)
        folders = _folders(fasta, cache_dir)
        digest = _content_hash(fasta, status, folders)
        for folder in folders:
            if header := read_header(folder / f"{digest}.codes"):
                _write_note(status, digest, folder)
                return folder / f"{digest}.codes", header
        return _build(fasta, status, digest, folders)


def _build(fasta: Path, status: dict[str, Any], digest: str, folders: list[Path]) -> tuple[Path, Header]:
    home = next((folder for folder in folders if _writable(folder)), None)
    if home is None:
        raise ChromTransferError(
            f"{fasta}: no folder for the genome cache can be written to "
            f"(tried {', '.join(map(str, folders))}). Set {CACHE_VARIABLE} to a folder that can."
        )
    print(f"Building the genome cache of {fasta} in {home}", file=sys.stderr, flush=True)
    target = home / f"{digest}.codes"
    _convert(fasta, target)
    if _status(fasta) != status:
        target.unlink(missing_ok=True)
        raise ChromTransferError(f"{fasta}: changed while it was read. Start again when it is complete.")
    header = read_header(target)
    if header is None:
        raise ChromTransferError(
            f"{target}: was written but does not read back. Set {CACHE_VARIABLE} to a folder on another disk."
        )
    _write_note(status, digest, home)
    return target, header
