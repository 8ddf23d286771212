"""The windows of both alleles, against golden ones and a plain construction from strings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from vcf_cases import (
    changed,
    padded,
    placements,
    random_variants,
    repetitive,
    reverse_complement,
    write_genome,
)

from chromtransfer_plugin.onehot import decode
from chromtransfer_plugin.variants import allele_windows, window_starts
from chromtransfer_plugin.variants.placing import place
from chromtransfer_plugin.variants.windows import STRANDS, reaches_off

WIDTHS = [1, 2, 3, 75, 600, 601]
ALLELES = ("ref", "alt")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))


def table_of(genome, variants, chrom: str = "chr1", swapped: bool = False) -> pd.DataFrame:
    """``variants``: (pos, the genome's allele, the other one), which are REF and ALT unless ``swapped``."""
    places = [place(genome, chrom, *variant) for variant in variants]
    table = pd.DataFrame(places, columns=["start", "old", "new", "slide"])
    return table.assign(chrom=chrom, swapped=swapped)


def texts(genome, table, width, **arguments) -> list[tuple[str, str]]:
    pair = [allele_windows(genome, table, allele, width, **arguments) for allele in ALLELES]
    return [(decode(ref), decode(alt)) for ref, alt in zip(*pair, strict=True)]


def plain_windows(text: str, haplotype: str, width: int) -> tuple[int, int]:
    """Starts of both windows by the rule, from whole sequences that differ in one place."""
    room = min(len(text), len(haplotype))
    behind = next((i for i in range(room) if text[-1 - i] != haplotype[-1 - i]), room)
    start = next((i for i in range(room - behind) if text[i] != haplotype[i]), room - behind)
    one, other = len(text) - behind - start, len(haplotype) - behind - start
    first = start + (min(one, other) // 2 - (width - 1) // 2 if min(one, other) else -((width + 1) // 2))
    more = (max(one, other) - min(one, other)) // 2
    return (first + more, first) if one > other else (first, first + more)


def plain_texts(text: str, haplotype: str, width: int, strand: str, shift: int = 0) -> tuple[str, str]:
    if strand == "-":
        text, haplotype, shift = reverse_complement(text), reverse_complement(haplotype), -shift
    first, second = (start + shift for start in plain_windows(text, haplotype, width))
    return text[first : first + width], haplotype[second : second + width]


#                0         10        20        30
GOLDEN_GENOME = "ACGTTGCATGAAAACCTTGGATCAGCATTCGGACTA"
GOLDEN = [
    # pos, ref, alt; place; (ref, alt) on "+"; (ref, alt) on "-", read along it; width 8
    ((6, "G", "T"), (5, "G", "T", 0), ("GTTGCATG", "GTTTCATG"), ("ATGCAACG", "ATGAAACG")),
    # The right-hand T is base 3 of the window [14, 22); on the minus strand the other one is.
    ((17, "TT", "GG"), (16, "TT", "GG", 0), ("CCTTGGAT", "CCGGGGAT"), ("CCAAGGTT", "CCCCGGTT")),
    # 4 bases before the run of A, on either strand.
    ((10, "G", "GA"), (10, "", "A", 4), ("CATGAAAA", "CATGAAAA"), ("AAGGTTTT", "AAGGTTTT")),
    ((13, "AA", "A"), (10, "A", "", 3), ("CATGAAAA", "CATGAAAC"), ("AAGGTTTT", "AAGGTTTC")),
    # The longer allele, here REF, is displaced by half of what it has more: 0 of 1, 1 of 3, 6 of 12.
    ((22, "TC", "T"), (22, "C", "", 0), ("GGATCAGC", "GGATAGCA"), ("TGCTGATC", "TGCTATCC")),
    ((22, "TCAG", "T"), (22, "CAG", "", 2), ("GATCAGCA", "GGATCATT"), ("GAATGCTG", "CGAATGAT")),
    ((25, "G", "GTTTTTTTTTTTT"), (25, "", "TTTTTTTTTTTT", 0), ("TCAGCATT", "T" * 8), ("AATGCTGA", "A" * 8)),
    # AA lies as TT above; the longer allele is displaced by 2 of the 5 bases that it has more.
    (
        (13, "AA", "CGTCGTC"),
        (12, "AA", "CGTCGTC", 0),
        ("AAAACCTT", "CGTCGTCC"),
        ("GGTTTTCA", "GACGACGT"),
    ),
]


def test_golden_windows(tmp_path):
    genome = write_genome(tmp_path / "g.fa", chr1=GOLDEN_GENOME)
    table = table_of(genome, [row[0] for row in GOLDEN])
    assert table[["start", "old", "new", "slide"]].to_numpy().tolist() == [list(row[1]) for row in GOLDEN]
    assert texts(genome, table, 8) == [row[2] for row in GOLDEN]
    assert texts(genome, table, 8, strand="-") == [row[3] for row in GOLDEN]


def expected(text, variants, width, strand, shift=0) -> list[tuple[str, str]]:
    return [plain_texts(text, changed(text, *variant), width, strand, shift) for variant in variants]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("seed", range(2))
def test_windows_are_those_of_the_rule_on_whole_sequences(tmp_path, width, seed):
    rng = np.random.default_rng(seed)
    text = repetitive(rng)
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    variants = random_variants(rng, text)
    table = table_of(genome, [padded(text, *v) for v in variants])
    assert (table["slide"] > 0).sum() > 15
    for strand in STRANDS:
        for shift in (0, 7, -30):
            wanted = expected(text, variants, width, strand, shift)
            assert texts(genome, table, width, strand=strand, shift=shift) == wanted
        for allele, starts in (("ref", 0), ("alt", 1)):
            begin = window_starts(table, allele, width, strand)
            for first, window, variant in zip(
                begin, expected(text, variants, width, strand), variants, strict=True
            ):
                whole = text if allele == "ref" else changed(text, *variant)
                along = whole[first : first + width]
                assert window[starts] == (along if strand == "+" else reverse_complement(along))


def test_the_changed_base_of_an_snv_is_in_the_middle(tmp_path):
    text = repetitive(np.random.default_rng(0))
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    table = table_of(
        genome, [(pos, text[pos - 1], "ACGT"["CGTA".index(text[pos - 1])]) for pos in range(900, 950)]
    )
    for width in WIDTHS:
        for strand in STRANDS:
            ref, alt = (allele_windows(genome, table, allele, width, strand) for allele in ALLELES)
            assert (np.argmax(ref != alt, axis=1) == (width - 1) // 2).all()
            assert ((ref != alt).sum(axis=1) == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_every_way_of_writing_a_variant_gives_the_same_windows(tmp_path, seed):
    rng = np.random.default_rng(seed)
    text = repetitive(rng)
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    several = 0
    for start, old, new in random_variants(rng, text, 40):
        wanted = changed(text, start, old, new)
        rows = [padded(text, start, old, new), padded(text, start, old, new, 7, 3)]
        if not (old and new):
            for p in placements(text, old, new, wanted):
                there = (p, text[p : p + len(old)], wanted[p : p + len(new)])
                before, after = int(rng.integers(1, 6)), int(rng.integers(6))
                rows += [padded(text, *there), padded(text, *there, before, after)]
        several += len(rows) > 4
        table = table_of(genome, rows)
        for strand in STRANDS:
            assert set(texts(genome, table, 121, strand=strand)) == {plain_texts(text, wanted, 121, strand)}
    assert several > 10


@pytest.mark.parametrize("width", WIDTHS)
def test_reverse_complement_of_genome_and_variants_exchanges_the_strands(tmp_path, width):
    rng = np.random.default_rng(width)
    text = repetitive(rng)
    back = reverse_complement(text)
    variants = random_variants(rng, text)
    turned = [
        (len(text) - start - len(old), reverse_complement(old), reverse_complement(new))
        for start, old, new in variants
    ]
    forward = write_genome(tmp_path / "g.fa", chr1=text)
    reverse = write_genome(tmp_path / "r.fa", chr1=back)
    here = table_of(forward, [padded(text, *v) for v in variants])
    there = table_of(reverse, [padded(back, *v) for v in turned])
    for shift in (0, 11):
        for one, other in (("+", "-"), ("-", "+")):
            assert texts(forward, here, width, strand=one, shift=shift) == texts(
                reverse, there, width, strand=other, shift=-shift
            )


@pytest.mark.parametrize("width", WIDTHS)
def test_exchanging_the_alleles_exchanges_the_windows(tmp_path, width):
    """In the genome that has ALT, written for that genome; and in this genome, as swapped rows."""
    rng = np.random.default_rng(width)
    text = repetitive(rng)
    variants = random_variants(rng, text, 60)
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    rows = [padded(text, *v) for v in variants]
    table, swapped = table_of(genome, rows), table_of(genome, rows, swapped=True)
    others = write_genome(tmp_path / "o.fa", **{f"c{i}": changed(text, *v) for i, v in enumerate(variants)})
    tables = [table_of(others, [(pos, alt, ref)], f"c{i}") for i, (pos, ref, alt) in enumerate(rows)]
    exchanged = pd.concat(tables, ignore_index=True)
    for strand in STRANDS:
        wanted = [(alt, ref) for ref, alt in texts(genome, table, width, strand=strand)]
        assert texts(others, exchanged, width, strand=strand) == wanted
        assert texts(genome, swapped, width, strand=strand) == wanted
        assert (
            window_starts(swapped, "ref", width, strand) == window_starts(table, "alt", width, strand)
        ).all()


def test_equal_alleles_have_equal_windows(tmp_path):
    genome = write_genome(tmp_path / "g.fa", chr1=GOLDEN_GENOME)
    table = table_of(genome, [(6, "G", "G"), (9, "TGAAAA", "TGAAAA")])
    assert table[["start", "old", "new", "slide"]].to_numpy().tolist() == [
        [5, "G", "G", 0],
        [8, "TGAAAA", "TGAAAA", 0],
    ]
    # [2, 10); the fourth of the six bases, 11, is base 3 of [8, 16). On "-": [1, 9), and 10 is base 4 of [6, 14).
    assert texts(genome, table, 8) == [("GTTGCATG", "GTTGCATG"), ("TGAAAACC", "TGAAAACC")]
    assert texts(genome, table, 8, strand="-") == [
        (reverse_complement(window),) * 2 for window in ("CGTTGCAT", "CATGAAAA")
    ]


def test_what_lies_off_the_contig_is_unknown(tmp_path):
    text, width, margin = repetitive(np.random.default_rng(3), 400), 60, 50
    plus, minus = "C" * margin + text + "G" * margin, "N" * margin + text + "N" * margin
    genome = write_genome(tmp_path / "g.fa", chr1=text, wide=plus)
    rows = [(pos, text[pos - 1], text[pos - 1] + "ACGTT") for pos in range(1, 401)]
    rows += [(pos, text[pos - 1 : pos + 6], text[pos - 1]) for pos in range(1, 395)]
    table = table_of(genome, rows)
    wide = table.assign(chrom="wide", start=table["start"] + margin)
    off = np.zeros(len(table), dtype=bool)
    for strand in STRANDS:
        for shift in (0, 9):
            for allele in ALLELES:
                codes = allele_windows(genome, table, allele, width, strand, shift)
                inside = allele_windows(genome, wide, allele, width, strand, shift)
                assert ((codes == inside) | (codes == 4)).all()
                begin = window_starts(table, allele, width, strand, shift)
                for row, first, start, old, new in zip(
                    codes, begin, table["start"], table["old"], table["new"], strict=True
                ):
                    whole = changed(minus, start + margin, old, new if allele == "alt" else old)
                    along = whole[first + margin : first + margin + width]
                    assert decode(row) == (along if strand == "+" else reverse_complement(along))
                off |= (codes == 4).any(axis=1)
    lengths = np.full(len(table), len(text))
    np.testing.assert_array_equal(reaches_off(table, lengths, width, (0, 9)), off)
    assert 100 < off.sum() < 200
    assert (reaches_off(wide, lengths + 2 * margin, width, (0, 9)) == 0).all()


def test_long_repeats_are_followed_to_their_ends_but_not_into_unknown_bases(tmp_path):
    genome = write_genome(
        tmp_path / "g.fa",
        chr1="G" * 100 + "CA" * 1000 + "T" * 100,
        chr2="A" * 50,
        chr3="C" * 9 + "NNAAANN" + "C" * 9,
    )
    assert place(genome, "chr1", 1101, "CAC", "C") == (100, "CA", "", 1998)
    assert place(genome, "chr1", 1100, "A", "ACACA") == (100, "", "CACA", 2000)
    assert place(genome, "chr2", 20, "A", "AA") == (0, "", "A", 50)
    assert place(genome, "chr3", 13, "AA", "A") == (11, "A", "", 2)
