"""Alleles without a score and lines that are no records: all in a file, counts and first examples for the user."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import IO

import numpy as np

from chromtransfer_plugin.files import open_output
from chromtransfer_plugin.prediction.dropped import SUFFIX
from chromtransfer_plugin.variants.look import Look
from chromtransfer_plugin.variants.statuses import REASONS, STATUSES
from chromtransfer_plugin.variants.table import Results

__all__ = ["REJECTED", "SUFFIX", "Dropped", "variant_text"]

REJECTED = "rejected"  # what the status of a line that is no record is called
_LONGEST_ALLELE = 30
_LONGEST_LINE = 200


class Dropped:
    """Collect what has no score.

    Parameters
    ----------
    stack : ExitStack
        The file appears when it is left without an error.
    path : Path
        Line, variant, status and its meaning, sorted by line; written only if there are any.

    Attributes
    ----------
    counts : Counter
        By status.
    first : dict
        By status, line and text of the first one.
    paths : list of Path
        The file, once it has a row.
    """

    def __init__(self, stack: contextlib.ExitStack, path: Path) -> None:
        self._stack, self._path = stack, path
        self._out: IO[bytes] | None = None
        self.counts: Counter[str] = Counter()
        self.first: dict[str, tuple[int, str, str]] = {}
        self.paths: list[Path] = []

    def write(self, results: Results) -> None:
        """Add what a block has."""
        block, rows = results.block, np.flatnonzero(~results.scored)
        table = block.table.iloc[rows]
        lines = block.numbers[table["record"].to_numpy()].tolist()
        codes = [STATUSES[status] for status in table["status"]]
        places = table[["chrom", "pos", "ref", "alt"]].itertuples(index=False)
        found = [
            (line, variant_text(*place), code, REASONS[code])
            for line, place, code in zip(lines, places, codes, strict=True)
        ]
        found += [(line, _shortened_line(text), REJECTED, reason) for line, text, reason in block.rejected]
        for line, text, code, meaning in sorted(found, key=lambda row: row[0]):
            self.counts[code] += 1
            self.first.setdefault(code, (line, text, meaning))
            self._put(f"{line}\t{text}\t{code}\t{meaning}\n")

    def _put(self, text: str) -> None:
        if self._out is None:
            self._out, self.paths = open_output(self._stack, self._path), [self._path]
            self._out.write(b"line\tvariant\tstatus\tmeaning\n")
        self._out.write(text.encode())

    def summary(self, look: Look) -> str:
        """Give counts: all, then by status, most first, each with its first example."""
        lines = [f"{look.n_records:,} records with {look.n_alleles:,} alleles, {look.n_scored:,} scored"]
        for code, count in self.counts.most_common():
            line, text, meaning = self.first[code]
            lines.append(f"  {count:,} x {code}: {meaning}, first in line {line}: {text}")
        return "\n".join([*lines, *(f"  all in {path}" for path in self.paths)])


def variant_text(chrom: str, pos: int, ref: str, alt: str) -> str:
    """Give ``chrom:pos:ref:alt``, long alleles by their beginning and length."""
    return f"{chrom}:{pos}:{_shortened(ref)}:{_shortened(alt)}"


def _shortened(allele: str) -> str:
    if len(allele) <= _LONGEST_ALLELE:
        return allele
    return f"{allele[: _LONGEST_ALLELE // 2]}...({len(allele)})"


def _shortened_line(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_LINE])
    return shown + ("..." if len(text) > _LONGEST_LINE else "")
