"""Sets of windows to attribute: region files of one genome, or FASTA files, cut to one length.

Coordinates are 0-based and half-open.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store_parts import REGION_COLUMNS
from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import require_short
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE
from chromtransfer_plugin.prediction.dropped import Dropped
from chromtransfer_plugin.prediction.engine import PIECE_BASES
from chromtransfer_plugin.prediction.fasta_input import FastaSource
from chromtransfer_plugin.prediction.inputs import STATUSES, Block, RegionSource, Source
from chromtransfer_plugin.prediction.names import check_names
from chromtransfer_plugin.prediction.plan import check_readable_again, stamp
from chromtransfer_plugin.region_windows import strict_error
from chromtransfer_plugin.text_blocks import BYTE_ORDER_MARK, TextKind, open_text

_BLOCK_ROWS = 4096
_SNIFFED = 4096  # bytes that tell FASTA from regions
_MOSTLY = 0.5
_KIND = TextKind("a file of regions or sequences", "BED, narrowPeak, CSV or FASTA", "regions", "")

Width = int | Literal["native"]


class NamedFile(NamedTuple):
    """A file of regions or sequences and what its set is called."""

    name: str
    path: Path


class Survey(NamedTuple):
    """What all sets hold.

    Attributes
    ----------
    regions : DataFrame
        Columns ``REGION_COLUMNS``: the windows to attribute, set by set in file order.
    counts : dict
        By set, how many rows have which status.
    mostly_n : list of str
        Windows that are more than half unknown bases, as ``SET region``.
    window : int
        Length of every window.
    """

    regions: pd.DataFrame
    counts: dict[str, dict[str, int]]
    mostly_n: list[str]
    window: int

    @property
    def places_sha256(self) -> str:
        """SHA-256 of where the windows lie and what they are called, in their order."""
        table = self.regions[["chrom", "start", "end", "name"]]
        return hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()


def parse_sets(specs: str | Path | Sequence[str | Path]) -> list[NamedFile]:
    """Read ``[NAME=]FILE``; the default name is that of the file without its suffixes.

    Raises
    ------
    ChromTransferError
        If there is none, a file is given twice, or a name is not unique or not usable.
    """
    given = [specs] if isinstance(specs, str | Path) else list(specs)
    if not given:
        raise ChromTransferError("no regions given, expected at least one set: --set FILE.")
    files = [_parse_set(str(spec)) for spec in given]
    for number, one in enumerate(files):
        for other in files[:number]:
            if one.path.exists() and other.path.exists() and one.path.samefile(other.path):
                raise ChromTransferError(f"--set: {one.path} is given twice. Name each file once.")
    check_names("set", [one.name for one in files])
    return files


def _parse_set(spec: str) -> NamedFile:
    require_short(Path(spec))
    name, equals, rest = spec.partition("=")
    if equals and not Path(spec).expanduser().exists():
        return NamedFile(name, Path(rest).expanduser())
    path = Path(spec).expanduser()
    stem = path.name
    for suffix in (".gz", ".bgz"):
        stem = stem.removesuffix(suffix)
    return NamedFile(Path(stem).stem, path)


class WindowSets:
    """The windows of several files, one after the other.

    Parameters
    ----------
    files : list of NamedFile
        Either region files or FASTA files; which they are is seen from their first letter.
    genome : path or None
        FASTA that the regions refer to.
    width : int or None
        Bases around the centre of each row; None keeps each row's own.

    Attributes
    ----------
    genome : Genome or None
    hashes : dict of str to str
        SHA-256 of each file, by set.

    Raises
    ------
    ChromTransferError
        If a file cannot be used, the files are of both kinds, or the genome is missing or of no use.
    """

    def __init__(self, files: list[NamedFile], genome: str | Path | None, width: int | None) -> None:
        for one in files:
            check_readable_again(one.path)
        fastas = [_is_fasta(one.path) for one in files]
        if len(set(fastas)) > 1:
            raise ChromTransferError(
                f"--set: {files[fastas.index(True)].path} is a FASTA and {files[fastas.index(False)].path} is none. A "
                "store holds either windows of one genome or sequences without one: make two stores."
            )
        if fastas[0] and genome is not None:
            raise ChromTransferError("--genome has no use with FASTA sets, which are taken as they stand.")
        if not fastas[0] and genome is None:
            raise ChromTransferError(
                f"--set {files[0].path}: the sequences come from a genome: give --genome FASTA."
            )
        self._files, self._width = files, width
        self._stamps = [stamp(one.path) for one in files]
        self.hashes = {one.name: sha256(one.path) for one in files}
        self.genome = None if genome is None else Genome(genome)
        self._sources: list[Source] = [self._open(one.path) for one in files]

    def _open(self, path: Path) -> Source:
        if self.genome is None:
            return FastaSource(path, self._width, "zero")
        return RegionSource(path, self.genome, self._width, "zero", "auto")

    @property
    def notes(self) -> list[str]:
        """What the user should know about the files."""
        return [note for source in self._sources for note in source.notes]

    def _blocks(self, number: int) -> Iterator[Block]:
        source = self._sources[number]
        yield from source.blocks(_BLOCK_ROWS)
        if stamp(source.path) != self._stamps[number]:
            raise ChromTransferError(f"{source.path}: changed while it was read. Run the command again.")

    def codes(self, window: int, size: int, skip: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Yield the windows of the survey in its order as base codes (n, L), n at most ``size``.

        The first pieces, of ``skip`` windows together, are left out.
        """
        passed = 0
        for number in range(len(self._sources)):
            for block in self._blocks(number):
                good = np.flatnonzero(block.status == 0)
                for first in range(0, len(good), size):
                    rows = good[first : first + size]
                    if passed >= skip:
                        yield block.codes(rows, window)
                    passed += len(rows)

    def survey(self, strict: bool, dropped: Dropped) -> Survey:
        """Judge every row of every file before anything is computed.

        Raises
        ------
        ChromTransferError
            If no row of a file can be used, windows have different lengths, or with ``strict`` for the first bad row.
        """
        tables: list[pd.DataFrame] = []
        counts: dict[str, dict[str, int]] = {}
        mostly_n: list[str] = []
        lengths: dict[int, str] = {}  # with a row as an example
        for number, (one, source) in enumerate(zip(self._files, self._sources, strict=True)):
            found: Counter[str] = Counter()
            for block in self._blocks(number):
                found.update(STATUSES[status] for status in block.status)
                table = block.table()
                bad = np.flatnonzero(block.status)
                reasons = [STATUSES[status] for status in block.status[bad]]
                if strict and bad.size:
                    line = int(table["source_line"].iloc[bad[0]])
                    raise strict_error(source.path, (line, block.text(bad[:1])[0], reasons[0]))
                dropped.write(block, table, bad, reasons, of=one.name if len(self._files) > 1 else "")
                _note_lengths(one.path, block, lengths)
                mostly_n += [f"{one.name} {text}" for text in _mostly_n(block)]
                tables.append(self._kept(one.name, table[block.status == 0]))
            if not found["ok"]:
                raise source.refusal(found)
            counts[one.name] = dict(found)
        return Survey(pd.concat(tables, ignore_index=True), counts, mostly_n, *lengths)

    def _kept(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        kept = table.assign(set=name)[list(REGION_COLUMNS)]
        # A record of the minus strand runs against the coordinates, so none of its bases lies where it would seem to.
        placeless = kept["start"].isna()
        if self.genome is None:
            placeless |= table["strand"] == "-"
        places = ["chrom", "start", "end"]
        kept[places] = kept[places].mask(placeless)
        return kept


def _is_fasta(path: Path) -> bool:
    with open_text(path, _KIND) as source:
        return source.read(_SNIFFED).removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b">")


def _note_lengths(path: Path, block: Block, lengths: dict[int, str]) -> None:
    good = np.flatnonzero(block.status == 0)
    for first in np.sort(np.unique(block.lengths[good], return_index=True)[1]):
        row = good[first]
        lengths.setdefault(int(block.lengths[row]), f"{path}: {block.text(np.array([row]))[0]!r}")
    if len(lengths) > 1:
        (length, row_text), (other_length, other_text), *_ = lengths.items()
        raise ChromTransferError(
            f"a store holds windows of one length, but {row_text} has {length:,} bp and {other_text} has {other_length:,} "
            "bp. Cut all to one length: --width BP."
        )


def _mostly_n(block: Block) -> list[str]:
    rows = [piece.rows[(piece.codes == N_CODE).mean(axis=1) > _MOSTLY] for piece in block.pieces(PIECE_BASES)]
    found = np.sort(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)
    return block.text(found) if found.size else []
