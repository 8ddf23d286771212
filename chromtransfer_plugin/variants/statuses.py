"""What can become of an allele: the codes of the output, and what they say to a person."""

from __future__ import annotations

from enum import IntFlag

SCORED = "scored"
# Code -> meaning, in the order in which an allele is tested; the first that holds is its status.
REASONS = {
    "no_alt": "no ALT allele",
    "star": "ALT is *, a deletion that another record describes",
    "symbolic": "ALT is symbolic or a breakend",
    "letters": "an allele has letters other than A, C, G, T",
    "contig": "contig is not in the genome",
    "position": "REF is not on the contig",
    "unknown_base": "the genome has an unknown base (N) there",
    "mismatch": "REF is not what the genome has there",
    "edge": "window reaches off the contig",
}
STATUSES = (SCORED, *REASONS)  # status number -> code
_DNA = frozenset("ACGT")


class Flag(IntFlag):
    """What a reader of a score should know; an allele can have several."""

    SWAPPED = 1  # ALT, not REF, is what the genome has
    MOVED = 2  # an indel that is written further left, or shorter, than in the file
    UNKNOWN = 4  # a window has unknown bases
    EDGE = 8  # a window reaches off the contig and is filled up with unknown bases
    SAME = 16  # REF and ALT are the same; its effect is 0


# In the output, joined by "|".
FLAG_NAMES = {
    Flag.SWAPPED: "swapped",
    Flag.MOVED: "moved",
    Flag.UNKNOWN: "N",
    Flag.EDGE: "edge",
    Flag.SAME: "same",
}


def flag_text(flags: int) -> str:
    """Name flags, joined by ``|``; "." if there are none."""
    return "|".join(name for flag, name in FLAG_NAMES.items() if flags & flag) or "."


def kind_of(allele: str) -> str | None:
    """Give the status of an allele, in upper case, that is no sequence of bases; None if it is one."""
    if allele == ".":
        return "no_alt"
    if allele == "*":
        return "star"
    # `.A` and `A.` are single breakends.
    if set("<>[]") & set(allele) or allele[0] == "." or allele[-1] == ".":
        return "symbolic"
    return None if _DNA.issuperset(allele) else "letters"
