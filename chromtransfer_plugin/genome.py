"""A genome as codes in memory-mapped storage: the one place that turns coordinates into bases.

Coordinates are 0-based and half-open everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin import genome_cache
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import N_CODE, decode


class Genome:
    """Random access to a FASTA, thousands of windows per call.

    The first use converts the FASTA into a cache of one byte per base (see ``docs/data.md``), later uses
    and other processes map that file. A FASTA whose content changed gets a new cache. Objects can be
    pickled and used after a fork; each process maps the file on first use.

    Parameters
    ----------
    fasta : str or Path
        Plain or bgzipped FASTA. No index is needed.
    cache_dir : str or Path, optional
        Folder of the cache. By default the environment variable ``CHROMTRANSFER_CACHE``, else a folder
        beside the FASTA; where that cannot be written to, ``~/.cache/chromtransfer``.

    Attributes
    ----------
    path : Path
        The FASTA.
    contigs : dict of str to int
        Name and length of each contig, in FASTA order.
    identity : str
        Hash of the names, lengths and bases (not of path, compression or case), for run records.

    Raises
    ------
    ChromTransferError
        If the FASTA cannot be used; the message names the file and the fix.
    """

    def __init__(self, fasta: str | Path, cache_dir: str | Path | None = None) -> None:
        self.path = Path(fasta).expanduser()
        self._cache_dir = cache_dir
        self._cache, header = genome_cache.find_or_build(self.path, cache_dir)
        self.identity: str = header.identity
        self.contigs: dict[str, int] = dict(zip(header.names, header.lengths, strict=True))
        self._names = header.names
        self._number = {name: number for number, name in enumerate(header.names)}
        self._lengths = np.array(header.lengths, dtype=np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(self._lengths)[:-1]])
        self._mapped: NDArray[np.uint8] | None = genome_cache.map_codes(self._cache, header)

    def __repr__(self) -> str:
        return f"Genome({str(self.path)!r}, {len(self.contigs)} contigs, {int(self._lengths.sum()):,} bases)"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": None}

    @property
    def _stored(self) -> NDArray[np.uint8]:
        """All contigs end to end as ``code ^ 4``; mapped anew in a process that got a pickled object."""
        if self._mapped is None:
            header = genome_cache.read_header(self._cache)
            if header is None or header.identity != self.identity:
                self._cache, header = genome_cache.find_or_build(self.path, self._cache_dir)
                if header.identity != self.identity:
                    raise ChromTransferError(
                        f"{self.path}: changed since this genome was opened. Start the run again."
                    )
            self._mapped = genome_cache.map_codes(self._cache, header)
        return self._mapped

    def contig_index(self, names: Sequence[str] | NDArray[Any]) -> NDArray[np.int64]:
        """Give the position of each contig name in ``contigs``; the fast form for ``extract``.

        Raises
        ------
        ChromTransferError
            For a name that the FASTA does not have.
        """
        found = list(map(self._number.get, np.asarray(names, dtype=object).ravel().tolist()))
        if None in found:
            unknown = np.asarray(names, dtype=object).ravel()[found.index(None)]
            raise ChromTransferError(f"{self.path}: has no contig '{unknown}'. {self.naming_hint(unknown)}")
        return np.array(found, dtype=np.int64)

    def naming_hint(self, name: str) -> str:
        """Say how the FASTA spells what was probably meant by an unknown contig name."""
        style = ", ".join(self._names[:3]) + (", ..." if len(self._names) > 3 else "")
        if f"chr{name}" in self._number:
            return (
                f"The file says `{name}`, the genome says `chr{name}`: prefix with chr, "
                "e.g. `sed 's/^/chr/'`."
            )
        if name.startswith("chr") and name[3:] in self._number:
            return (
                f"The file says `{name}`, the genome says `{name[3:]}`: remove the prefix chr, "
                "e.g. `sed 's/^chr//'`."
            )
        close = difflib.get_close_matches(name, self._names, n=1)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        return f"The genome's contigs are {style}.{hint} Use the FASTA of the same assembly."

    def extract(
        self, chroms: ArrayLike, starts: ArrayLike, length: int, *, pad: bool = False
    ) -> NDArray[np.uint8]:
        """Give the codes of many windows of one length.

        Parameters
        ----------
        chroms : array of str or of int, shape (n,)
            Contig names, or positions in ``contigs`` as given by ``contig_index`` (faster).
        starts : array of int, shape (n,)
            0-based first base of each window; any order.
        length : int
            Bases per window.
        pad : bool
            Bases beyond the ends of a contig are unknown (4) instead of an error.

        Returns
        -------
        ndarray of uint8, shape (n, length)
            Codes 0 to 4, plus strand.

        Raises
        ------
        ChromTransferError
            If a contig is unknown or a window reaches off its contig; the first such one is named.
        """
        if length < 1:
            raise ChromTransferError(f"extract: length is {length} bp, expected at least 1.")
        index = self._as_index(chroms)
        first = np.asarray(starts, dtype=np.int64)
        if pad:
            return self._extract_padded(index, first, length)
        self._check(index, first, first + length)
        stored = self._stored
        # Overlapping rows over the whole genome: picking rows copies `length` bytes each.
        rows: NDArray[np.uint8] = np.ndarray(
            (max(len(stored) - length + 1, 0), length), dtype=np.uint8, buffer=stored, strides=(1, 1)
        )
        codes = rows[self._offsets[index] + first]
        return np.bitwise_xor(codes, np.uint8(N_CODE), out=codes)

    def _extract_padded(
        self, index: NDArray[np.integer[Any]], first: NDArray[np.int64], length: int
    ) -> NDArray[np.uint8]:
        inside = (first >= 0) & (first + length <= self._lengths[index])
        if inside.all():
            return self.extract(index, first, length)
        codes = np.full((len(first), length), N_CODE, dtype=np.uint8)
        codes[inside] = self.extract(index[inside], first[inside], length)
        for row in np.flatnonzero(~inside):  # the few at the ends of contigs
            number, start = int(index[row]), int(first[row])
            begin, end = max(start, 0), min(start + length, int(self._lengths[number]))
            if begin < end:
                codes[row, begin - start : end - start] = self.codes(self._names[number], begin, end)
        return codes

    def _as_index(self, chroms: ArrayLike) -> NDArray[np.integer[Any]]:
        index = np.asarray(chroms)
        return index if np.issubdtype(index.dtype, np.integer) else self.contig_index(index)

    def _check(self, index: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        if index.shape != starts.shape or starts.ndim != 1:
            raise ChromTransferError(
                f"extract: {index.shape} contigs for {starts.shape} starts, expected two 1-D arrays of n."
            )
        if index.size and not (index.min() >= 0 and index.max() < len(self._names)):
            raise ChromTransferError(
                f"{self.path}: contig number {index.min() if index.min() < 0 else index.max()} given, "
                f"expected 0 to {len(self._names) - 1}. Take the numbers from contig_index."
            )
        off = (starts < 0) | (ends > self._lengths[index]) | (ends <= starts)
        if off.any():
            row = int(np.argmax(off))
            name = self._names[int(index[row])]
            raise ChromTransferError(
                f"{self.path}: {name}:{starts[row]}-{ends[row]} is not inside {name} "
                f"(0-{self.contigs[name]}); {int(off.sum())} of {len(off)} windows are like this. "
                "Drop them (read_regions does and lists them) or use the FASTA of the same assembly."
            )

    def codes(self, chrom: str, start: int = 0, end: int | None = None) -> NDArray[np.uint8]:
        """Give the codes (0 to 4) of a contig or of ``[start, end)`` on it as a new array."""
        index = self.contig_index([chrom])
        stop = self.contigs[chrom] if end is None else end
        if start == stop == 0:
            return np.empty(0, dtype=np.uint8)
        self._check(index, np.array([start], dtype=np.int64), np.array([stop], dtype=np.int64))
        begin = int(self._offsets[index[0]])
        return self._stored[begin + start : begin + stop] ^ np.uint8(N_CODE)

    def sequence(self, chrom: str, start: int, end: int) -> str:
        """Give the upper-case letters (A, C, G, T, N) of ``[start, end)``."""
        return decode(self.codes(chrom, start, end))

    def only_n(self, chroms: ArrayLike, starts: ArrayLike, ends: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each window, of any length, whether it holds no A, C, G or T at all.

        Raises
        ------
        ChromTransferError
            As ``extract``.
        """
        index = self._as_index(chroms)
        first, last = np.asarray(starts, dtype=np.int64), np.asarray(ends, dtype=np.int64)
        self._check(index, first, last)
        stored, base = self._stored, self._offsets[index]
        # Nearly every window shows a base at one of three places; only the others are read in full.
        empty = (stored[base + first] | stored[base + (first + last) // 2] | stored[base + last - 1]) == 0
        for row in np.flatnonzero(empty):
            empty[row] = not stored[base[row] + first[row] : base[row] + last[row]].any()
        return empty
