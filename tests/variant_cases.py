"""What the tests of `chromtransfer variants` share: tiny models, a genome, a VCF, and its scores by plain strings."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from kipoi_cases import encode_by_hand, make_checkpoint, make_genome
from vcf_cases import reverse_complement

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.predict import predict_logits

LINES = ("A549", "K562")
COLUMNS = ("one", "multi.A549", "multi.K562")
OTHER = dict(zip("ACGT", "CGTA", strict=True))
HEADER = [
    "##fileformat=VCFv4.2",
    '##FILTER=<ID=q10,Description="Quality below 10">',
    "##contig=<ID=chr1,length=6000>",
    "##contig=<ID=chr2,length=6000>",
    '##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth">',
    '##INFO=<ID=DB,Number=0,Type=Flag,Description="In dbSNP">',
    '##INFO=<ID=NOTE,Number=.,Type=String,Description="Free text">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "NA1", "NA2"]),
]


class Case(NamedTuple):
    """A record, and the status of each of its alleles ("scored" or a reason)."""

    chrom: str
    pos: int
    ref: str
    alt: str
    statuses: tuple[str, ...]
    info: str = "."
    name: str = "."

    @property
    def line(self) -> str:
        fixed = [self.chrom, str(self.pos), self.name, self.ref, self.alt, "31.50", "PASS", self.info]
        return "\t".join([*fixed, "GT", "0/1", "./."])


class World(NamedTuple):
    """Models ``one`` (one output) and ``multi`` (two, exclusive), a genome and its text, a VCF and its records."""

    folder: Path
    genome: Path
    vcf: Path
    text: dict[str, str]
    cases: list[Case]

    @property
    def models(self) -> list[Path]:
        return [self.folder / "one", self.folder / "multi"]

    @property
    def first_line(self) -> int:
        return len(HEADER) + 1


def make_cases(text: dict[str, str]) -> list[Case]:
    one, two = text["chr1"], text["chr2"]

    def snv(chrom: str, pos: int, **more: str) -> Case:
        base = text[chrom][pos - 1]
        return Case(chrom, pos, base, OTHER[base], ("scored",), **more)

    both = ("scored", "scored")
    return [
        snv("chr1", 100, info="DP=7;DB;NOTE=a,b"),  # its window reaches off the contig
        snv("chr1", 700, name="rs1"),
        Case("chr1", 800, one[799], f"{OTHER[one[799]]},*", ("scored", "star"), "DB"),
        Case("chr1", 900, one[899:903], f"{one[899]},{one[899:902]}TT", both, "DP=1;"),
        Case("chr1", 1000, one[999], ".", ("no_alt",), "DP=2"),
        Case("chr1", 1100, one[1099], f"<DEL>,{one[1099]}GATTACA,{one[1099]}[chr2:9[", ("symbolic", "scored", "symbolic")),
        Case("chr1", 1200, OTHER[one[1199]], one[1199], ("mismatch",)),
        Case("chr1", 3200, one[3199].lower(), OTHER[one[3199]].lower(), ("scored",)),
        Case("chr1", 5999, one[5998:6000], one[5998], ("scored",)),
        snv("chr2", 500),
        Case("chr2", 2500, "A", "C", ("unknown_base",)),
        Case("chr2", 4000, "R", "C", ("letters",)),
        Case("chr2", 4500, two[4499:4502], "".join(OTHER[base] for base in two[4499:4502]), ("scored",)),
        Case("chr2", 6001, "A", "C", ("position",)),
        Case("chrUn", 5, "A", "C", ("contig",)),
    ]  # fmt: skip


def write_cases(path: Path, cases: list[Case], header: list[str] | None = None) -> Path:
    lines = [*(HEADER if header is None else header), *(case.line for case in cases)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHROMTRANSFER_CACHE", str(folder / "cache"))
        make_checkpoint(folder / "one")
        make_checkpoint(folder / "multi", LINES, "softmax", seed=3)
        text = {name: letters.upper() for name, letters in make_genome(folder / "genome.fa").items()}
        cases = make_cases(text)
        vcf = write_cases(folder / "in.vcf", cases)
        yield World(folder, folder / "genome.fa", vcf, text, cases)


def scored_alleles(world: World) -> list[tuple[str, int, str, str]]:
    """(chrom, pos, REF, ALT) in upper case of each allele that has scores, in order."""
    return [
        (case.chrom, case.pos, case.ref.upper(), alt.upper())
        for case in world.cases
        for alt, status in zip(case.alt.split(","), case.statuses, strict=True)
        if status == "scored"
    ]


def windows_by_hand(contig: str, pos: int, ref: str, alt: str, width: int, shift: int = 0) -> tuple[str, str]:
    """The windows of REF and ALT on one strand, letter by letter."""
    start, old, new = pos - 1, ref, alt
    assert contig[start : start + len(old)] == old
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    while old and new and old[0] == new[0]:
        start, old, new = start + 1, old[1:], new[1:]
    while not (old and new) and start and contig[start - 1] == (old or new)[-1]:
        start, old, new = (
            start - 1,
            (contig[start - 1] + old)[: len(old)],
            (contig[start - 1] + new)[: len(new)],
        )
    shorter = min(len(old), len(new))
    first = start + shift
    first += shorter // 2 - (width - 1) // 2 if shorter else -((width + 1) // 2)
    texts = []
    for allele in (old, new):
        begin = first + (len(allele) - shorter) // 2
        far = "N" * 2 * width
        whole = far + contig[:start] + allele + contig[start + len(old) :] + far
        texts.append(whole[len(far) + begin : len(far) + begin + width])
    return texts[0], texts[1]


def logits_by_hand(
    world: World, model: Path, width: int = 600, strands: str = "+-", shift: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean logits of REF and ALT of each scored allele over the strands, (n, outputs) each."""
    network, _ = load_model(model)
    sums: list[np.ndarray] = []
    for strand in strands:
        pairs = []
        for chrom, pos, ref, alt in scored_alleles(world):
            contig, sign = world.text[chrom], 1
            if strand == "-":
                pos = len(contig) - (pos - 1 + len(ref)) + 1
                contig, ref, alt = map(_reverse_complement, (contig, ref, alt))
                sign = -1
            pairs.append(windows_by_hand(contig, pos, ref, alt, width, sign * shift))
        one_hot = np.stack([encode_by_hand(text) for pair in pairs for text in pair])
        sums.append(predict_logits(network, one_hot).reshape(len(pairs), 2, -1))
    mean = np.mean(sums, axis=0)
    return mean[:, 0], mean[:, 1]


def _reverse_complement(text: str) -> str:
    return reverse_complement(text)  # N stays N


def effects_by_hand(ref: np.ndarray, alt: np.ndarray, softmax: bool = False) -> dict[str, np.ndarray]:
    """Probabilities, their difference and that of the log-odds, (n, outputs) each."""

    def probability(z: np.ndarray) -> np.ndarray:
        z = z.astype(np.float64)
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) if softmax else 1 / (1 + np.exp(-z))

    p_ref, p_alt = probability(ref), probability(alt)
    odds = (p_alt / (1 - p_alt)) / (p_ref / (1 - p_ref))
    return {"p_ref": p_ref, "p_alt": p_alt, "difference": p_alt - p_ref, "log_odds": np.log(odds)}


def read_tsv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def numbers(rows: list[dict[str, str]], *columns: str) -> np.ndarray:
    return np.array([[float(row[column]) for column in columns] for row in rows])
