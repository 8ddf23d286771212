"""Genomes and VCF files that the tests of variants share."""

from __future__ import annotations

from pathlib import Path

from chromtransfer_plugin.genome import Genome

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
HEAD = f"##fileformat=VCFv4.2\n{COLUMNS}\n"
COMPLEMENT = str.maketrans("ACGT", "TGCA")
LENGTH = 3_000


def write_genome(path: Path, **contigs: str) -> Genome:
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    return Genome(path)


def write_vcf(path: Path, rows, contigs=("chr1",)) -> Path:
    """``rows``: (pos, ref, alt), or whole lines."""
    header = ["##fileformat=VCFv4.2", *(f"##contig=<ID={name},length=9999>" for name in contigs), COLUMNS]
    lines = [
        row if isinstance(row, str) else f"chr1\t{row[0]}\t.\t{row[1]}\t{row[2]}\t.\t.\t." for row in rows
    ]
    path.write_text("\n".join([*header, *lines]) + "\n")
    return path


def reverse_complement(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def repetitive(rng, length: int = LENGTH) -> str:
    """Text in which many deletions and insertions can be written at several places."""
    units = ["A", "CA", "CAG", "TTAGGG", "GATTACA" * 4]
    text = ""
    while len(text) < length:
        text += units[rng.integers(len(units))] * int(rng.integers(1, 12))
        text += "".join(rng.choice(list("ACGT"), 5))
    return text[:length]


def random_variants(rng, text: str, n: int = 120, margin: int = 900) -> list[tuple[int, str, str]]:
    """(0-based start, deleted, inserted) of all kinds, away from the ends; each changes the text."""
    found = []
    while len(found) < n:
        start, k = int(rng.integers(margin, len(text) - margin)), int(rng.integers(1, 8))
        bases = "".join(rng.choice(list("ACGT"), int(rng.integers(1, 8))))
        copied = text[start : start + k]
        kind = len(found) % 5
        old, new = [
            (text[start], bases[0]),
            (copied, ""),
            ("", bases),
            ("", copied),
            (copied, bases),
        ][kind]
        if old != new:
            found.append((start, old, new))
    return found


def padded(
    text: str, start: int, old: str, new: str, before: int = 1, after: int = 0
) -> tuple[int, str, str]:
    """POS, REF and ALT of a VCF record with so many unchanged bases on either side."""
    left, right = text[start - before : start], text[start + len(old) : start + len(old) + after]
    return start - before + 1, left + old + right, left + new + right


def changed(text: str, start: int, old: str, new: str) -> str:
    return text[:start] + new + text[start + len(old) :]


def placements(text: str, old: str, new: str, wanted: str) -> list[int]:
    """Every start at which deleting, or inserting, that many bases gives the wanted text."""
    k = len(new)
    return [
        p
        for p in range(len(text) - len(old) + 1)
        if (changed(text, p, old, "") if old else changed(text, p, "", wanted[p : p + k])) == wanted
    ]
