"""A VCF as Selene can score it: plain text, without what Selene takes for something else, and the counts of both."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from selene_sdk.predict._variant_effect_prediction import read_vcf_file

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.text_blocks import TextKind, text_blocks
from chromtransfer_plugin.variants.statuses import REASONS, kind_of

_KIND = TextKind(
    "a VCF file",
    "VCF, plain, gzip or bgzip",
    "variants",
    "Convert a BCF: `bcftools view FILE.bcf > FILE.vcf`.",
)
_LETTERS = re.compile("[ACGT]+")
_COLUMNS = "is no record: fewer than five columns separated by tabs, or a POS that is no number"
_LONG = "REF is as long as the window"
_OFF = "the window reaches off its contig, or the contig is not in the genome"
_NO_STRAND = "the strand is '.'"


class Prepared(NamedTuple):
    """What :func:`prepare_vcf` wrote, and what it kept back.

    Attributes
    ----------
    variants : list of tuple
        What Selene reads from the written file: (chrom, pos, name, ref, alt, strand) of each allele that it will score.
    n_alleles : int
        ALT alleles in the VCF; a line without any, and one that is no record, counts as one.
    reasons : Counter
        Alleles that are not scored, by reason.
    left_out : list of str
        Lines of the alleles that Selene does not get to see.
    """

    variants: list[tuple[Any, ...]]
    n_alleles: int
    reasons: Counter[str]
    left_out: list[str]


def prefix_of(vcf_file: Path) -> str:
    """Name of a VCF without its endings: what Selene's output files begin with."""
    return re.sub(r"\.vcf$", "", re.sub(r"\.(gz|bgz)$", "", vcf_file.name))


def prepare_vcf(
    vcf_file: Path,
    target: Path,
    genome: Any,
    radii: tuple[int, int],
    strand_index: int | None,
    require_strand: bool,
) -> Prepared:
    """Write the alleles that Selene can score to a plain file, in the order of the VCF.

    Bases become upper case. Left out are alleles that Selene scores as if they were something else: no ALT (two
    deletions), ``*`` (a deletion), symbolic ones (``<DEL>`` becomes five unknown bases), letters other than A, C, G, T,
    and a REF of at least the length of the window.

    Parameters
    ----------
    vcf_file : Path
        Plain, gzip or bgzip; Selene needs no header.
    target : Path
        File to write.
    genome : Genome
        As Selene uses it.
    radii : tuple of int
        bp of Selene's window before and behind the centre.
    strand_index, require_strand
        As for Selene.

    Raises
    ------
    ChromTransferError
        If the file is missing, damaged or no text, has no column ``strand_index``, or no allele is left.
    """
    reasons: Counter[str] = Counter()
    left_out: list[str] = []
    n_alleles = n_kept = 0
    with target.open("w", encoding="utf-8") as out:
        # Without this line Selene takes every record up to the first one without a "#" for the header.
        print("#CHROM", "POS", "ID", "REF", "ALT", sep="\t", file=out)
        for number, line in _records(vcf_file):
            columns = line.split("\t")
            alts = columns[4].upper().split(",") if len(columns) > 4 else [""]
            n_alleles += len(alts)
            if len(columns) < 5 or not (columns[1].isascii() and columns[1].isdigit()):
                reasons[_COLUMNS] += len(alts)
                left_out.append(line)
                continue
            if strand_index is not None and len(columns) <= strand_index:
                raise ChromTransferError(
                    f"{vcf_file}: line {number} has {len(columns)} columns, there is no column {strand_index} "
                    "(`strand_index` counts from 0)."
                )
            ref = columns[3].upper()
            bad = {alt: _reason(ref, alt, sum(radii)) for alt in alts}
            for alt in alts:
                if bad[alt]:
                    reasons[bad[alt]] += 1
                    left_out.append("\t".join([*columns[:4], alt, *columns[5:]]))
            kept = [alt for alt in alts if not bad[alt]]
            n_kept += len(kept)
            if kept:
                print(*columns[:3], ref, ",".join(kept), *columns[5:], sep="\t", file=out)
    if not n_alleles:
        raise ChromTransferError(f"{vcf_file}: holds no variants.")
    variants = read_vcf_file(
        str(target), strand_index, require_strand, seq_context=radii, reference_sequence=genome
    )
    off = f"{_OFF}, or {_NO_STRAND}" if require_strand else _OFF
    reasons += Counter({off: n_kept - len(variants)})
    prepared = Prepared(variants, n_alleles, reasons, left_out)
    if not variants:
        contigs = ", ".join(genome.get_chrs()[:3])
        raise ChromTransferError(
            f"{_counts(vcf_file, prepared)}\nNo variant is left. Contigs of {genome.input_path} begin with: {contigs}."
        )
    return prepared


def warn_of(vcf_file: Path, prepared: Prepared, listed: Path) -> None:
    """Say once what is not scored, and how many deletions Selene gets wrong."""
    if prepared.reasons:
        _warn(f"{_counts(vcf_file, prepared)}\n  All of them are listed in {listed}.")
    deletions = sum(len(alt) < len(ref) for _, _, _, ref, alt, _ in prepared.variants)
    if deletions:
        _warn(
            f"{vcf_file}: alleles that are deletions, with wrong scores: {deletions}. Selene 0.6 shifts the sequence of "
            "every deletion by 2 bp; `chromtransfer variants` scores them right."
        )


@contextmanager
def summed_up(vcf_file: Path) -> Iterator[None]:
    """Replace the warning that Selene gives for each of many variants by one line."""
    count: Counter[str] = Counter()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, *rest: Any, **options: Any) -> None:
            text = str(message)
            kind = "REF" if "does not match the reference" in text else "N" if "unknown base" in text else ""
            if text.startswith("For variant (") and kind:
                count[kind] += 1
            else:
                usual(message, *rest, **options)

        warnings.filterwarnings("always", message=r"For variant \(")
        warnings.showwarning = show
        yield
    if count["REF"]:
        _warn(
            f"{vcf_file}: alleles with another REF than the genome has (ref_match is False): {count['REF']}. Selene "
            "scores them with REF as the VCF has it; is the genome the assembly that the VCF refers to?"
        )
    if count["N"]:
        _warn(
            f"{vcf_file}: alleles with unknown bases (N) in their window (contains_unk is True): {count['N']}."
        )


def _records(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are neither header nor empty."""
    number = 0
    for block in text_blocks(path, _KIND):
        for line in block.decode("utf-8").split("\n"):
            number += 1
            line = line.rstrip("\r")
            if line.strip() and not line.startswith("#"):
                yield number, line
        number -= 1  # a block ends with a line end


def _reason(ref: str, alt: str, width: int) -> str:
    """Say why Selene cannot score an allele; empty if it can."""
    kind = kind_of(alt or ".")
    if kind is None and not _LETTERS.fullmatch(ref):
        kind = "letters"
    if kind is not None:
        return REASONS[kind]
    return _LONG if len(ref) >= width else ""


def _counts(vcf_file: Path, prepared: Prepared) -> str:
    n_left_out = prepared.reasons.total()
    lines = [
        f"{vcf_file}: {prepared.n_alleles} alleles, {len(prepared.variants)} scored by Selene, {n_left_out} left out"
    ]
    return "\n".join([*lines, *(f"  {count} x {reason}" for reason, count in prepared.reasons.most_common())])


def _warn(text: str) -> None:
    warnings.warn(text, ChromTransferWarning, stacklevel=3)
