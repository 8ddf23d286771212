"""One form for every way of writing a variant: trimmed, and as far left as it can be written."""

from __future__ import annotations

from typing import NamedTuple

from chromtransfer_plugin.genome import Genome

_NEARBY = 64  # bp of a repeat that are looked at first; most are shorter


class Place(NamedTuple):
    """A variant in its one form.

    Attributes
    ----------
    start : int
        0-based.
    old : str
        The bases of the genome from there on; may be empty.
    new : str
        What stands in their place; may be empty.
    slide : int
        bp by which it could be written further right, with the same result.
    """

    start: int
    old: str
    new: str
    slide: int


def place(genome: Genome, chrom: str, pos: int, ref: str, alt: str) -> Place:
    """Trim a variant to what its alleles do not share, and move a pure insertion or deletion to the left.

    Parameters
    ----------
    genome : Genome
    chrom : str
    pos : int
        1-based.
    ref, alt : str
        Upper-case A, C, G, T; ``ref`` is what the genome has. Equal alleles stay as they are.
    """
    start = pos - 1
    if ref == alt or len(ref) == len(alt) == 1:
        return Place(start, ref, alt, 0)
    behind = _shared(ref[::-1], alt[::-1])
    old, new = ref[: len(ref) - behind], alt[: len(alt) - behind]
    before = _shared(old, new)
    start, old, new = start + before, old[before:], new[before:]
    if old and new:
        return Place(start, old, new, 0)
    unit = old or new
    left = _repeats(genome, chrom, start, unit, backwards=True)
    right = _repeats(genome, chrom, start + len(old), unit, backwards=False)
    turn = len(unit) - left % len(unit)
    unit = unit[turn:] + unit[:turn]
    return Place(start - left, unit if old else "", unit if new else "", left + right)


def _shared(one: str, other: str) -> int:
    """Count the letters at the beginning that are the same."""
    differs = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differs, min(len(one), len(other)))


def _repeats(genome: Genome, chrom: str, at: int, unit: str, backwards: bool) -> int:
    """Count the bases before or from ``at`` on that go on repeating ``unit``."""
    step = -1 if backwards else 1
    room = at if backwards else genome.contigs[chrom] - at
    length = _NEARBY
    while room:
        length = min(length, room)
        start = at - length if backwards else at
        repeated = unit[::step] * (length // len(unit) + 1)
        found = _shared(genome.sequence(chrom, start, start + length)[::step], repeated)
        if found < length or length == room:
            return found
        length *= 4
    return 0
