"""The records of a VCF in blocks: text as it stands, what each allele is, and lines that are no records."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from vcf_cases import (
    changed,
    padded,
    random_variants,
    repetitive,
    reverse_complement,
    write_genome,
    write_vcf,
)

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants import windows
from chromtransfer_plugin.variants.records import Block, VariantSource
from chromtransfer_plugin.variants.statuses import STATUSES, Flag
from chromtransfer_plugin.variants.windows import STRANDS, allele_windows, window_starts

#            1         11        21        31        41
TEXT = "ACGTTGCATGAAAACCTTGGATCAGCATTCGGACTANNCAGTTTACGA"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def genome(tmp_path) -> Genome:
    return write_genome(tmp_path / "g.fa", chr1=TEXT, chr2="ACGT" * 100)


def read(path, genome, width=8, n_records=4096, **settings) -> list[Block]:
    return list(VariantSource(path, genome, width, **settings).blocks(n_records))


def judged(path, genome, width=8, **settings) -> list[tuple[str, Flag]]:
    (block,) = read(path, genome, width, **settings)
    return [
        (STATUSES[status], Flag(int(flags)))
        for status, flags in zip(block.table["status"], block.table["flags"], strict=True)
    ]


NONE = Flag(0)


def test_status_and_flags_of_each_allele(tmp_path, genome):
    cases = {
        (6, "G", "T"): [("scored", NONE)],
        (6, "G", "."): [("no_alt", NONE)],
        (6, "g", "t,*,<DEL>,R,.,<*>,G]chr2:7],.G,G."): [
            ("scored", NONE),
            ("star", NONE),
            ("symbolic", NONE),
            ("letters", NONE),
            ("no_alt", NONE),
            ("symbolic", NONE),
            ("symbolic", NONE),
            ("symbolic", NONE),
            ("symbolic", NONE),
        ],
        (6, "N", "T,*"): [("letters", NONE), ("star", NONE)],
        "chr9\t6\t.\tG\tT,<DEL>\t.\t.\t.": [("contig", NONE), ("symbolic", NONE)],
        (0, "G", "T"): [("position", NONE)],
        (47, "GA", "GG"): [("scored", Flag.EDGE)],
        (47, "GAC", "G"): [("position", NONE)],
        (48, "A", "AT"): [("scored", Flag.EDGE)],
        (37, "A", "T"): [("unknown_base", NONE)],
        (36, "AN", "AA"): [("letters", NONE)],
        (36, "AC", "A"): [("unknown_base", NONE)],
        (6, "T", "G"): [("mismatch", NONE)],
        (6, "GT", "T"): [("mismatch", NONE)],
        (6, "G", "g"): [("scored", Flag.SAME)],
        (2, "C", "C"): [("scored", Flag.SAME | Flag.EDGE)],
        (34, "C", "T"): [("scored", Flag.UNKNOWN)],
        (43, "T", "C"): [("scored", Flag.UNKNOWN | Flag.EDGE)],  # [40, 48) and, on the minus strand, [39, 47)
        (10, "G", "GA"): [("scored", NONE)],
        (14, "A", "AA"): [("scored", Flag.MOVED)],
        (10, "GAA", "GA"): [("scored", Flag.MOVED)],
        (9, "TGA", "TG"): [("scored", Flag.MOVED)],
        (17, "TT", "GGC"): [("scored", NONE)],
        (16, "CTT", "CGGC"): [("scored", NONE)],
        (15, "CCTT", "CCGGC"): [("scored", Flag.MOVED)],
        (15, "CCTT", "CCGG"): [("scored", NONE)],
        (1, "AC", "C"): [("scored", Flag.EDGE)],
        (1, "ACG", "CG"): [("scored", Flag.MOVED | Flag.EDGE)],
    }
    cases[(43, "T", "C")] = [("scored", NONE)]
    cases[(42, "T", "C")] = [("scored", Flag.UNKNOWN)]
    path = write_vcf(tmp_path / "v.vcf", list(cases), ())
    found = judged(path, genome)
    wanted = [each for case in cases.values() for each in case]
    assert dict(enumerate(found)) == dict(enumerate(wanted))
    skipped = [("edge", NONE) if flags & Flag.EDGE else (status, flags) for status, flags in wanted]
    assert judged(path, genome, edges="skip") == skipped
    (block,) = read(path, genome, edges="skip")
    unscored = block.table[block.table["status"] != 0]
    assert set(unscored[["start", "old", "new", "slide", "swapped"]].itertuples(index=False, name=None)) == {
        (0, "", "", 0, False)
    }


def test_the_table_has_the_columns_of_the_contract(tmp_path, genome):
    rows = [(14, "A", "aa,C"), "chr2\t5\trs1;rs2\tac\tA,ACC\t7\tq\tX;Y=1"]
    (block,) = read(write_vcf(tmp_path / "v.vcf", rows), genome)
    wanted = pd.DataFrame(
        [
            (0, 0, "chr1", 14, ".", "A", "AA", 0, Flag.MOVED, 10, "", "A", 4, False),
            (0, 1, "chr1", 14, ".", "A", "C", 0, 0, 13, "A", "C", 0, False),
            (1, 0, "chr2", 5, "rs1;rs2", "AC", "A", 0, 0, 5, "C", "", 0, False),
            (1, 1, "chr2", 5, "rs1;rs2", "AC", "ACC", 0, Flag.MOVED, 5, "", "C", 1, False),
        ],
        columns=["record", "allele", "chrom", "pos", "id", "ref", "alt", "status", "flags", "start", "old", "new",
                 "slide", "swapped"],
    ).astype({"status": np.int8, "flags": np.int8})  # fmt: skip
    pd.testing.assert_frame_equal(block.table, wanted)
    assert block.lines == ["chr1\t14\t.\tA\taa,C\t.\t.\t.", rows[1]]
    assert block.numbers.tolist() == [4, 5]
    empty = read(write_vcf(tmp_path / "e.vcf", ["nothing"]), genome)[0]
    assert empty.rejected[0][:2] == (4, "nothing")
    pd.testing.assert_frame_equal(empty.table, wanted.iloc[:0])


def test_swap_scores_what_has_alt_in_the_genome(tmp_path, genome):
    rows = [
        (6, "T", "G"),  # genome G
        (6, "T", "G,C,A"),
        (10, "GA", "G"),  # REF fits: not exchanged
        (10, "GC", "G"),  # the genome has G alone: REF has one C more
        (14, "AAC", "AC"),  # REF is not the genome's AC; ALT AC is, and REF one A longer
        (48, "AT", "A"),  # REF reaches off the contig
        (48, "G", "AT"),  # both do not fit
        (36, "AC", "A"),  # the genome has AN
        (37, "C", "N"),
        (6, "N", "G"),
        (6, "T", "T"),
    ]
    path = write_vcf(tmp_path / "v.vcf", rows)
    assert [status for status, _ in judged(path, genome)] == [
        *["mismatch"] * 4,
        "scored",
        "mismatch",
        "mismatch",
        "position",
        "mismatch",
        "unknown_base",
        "letters",
        "letters",
        "mismatch",
    ]
    swapped = Flag.SWAPPED
    assert judged(path, genome, swap=True) == [
        ("scored", swapped),
        ("scored", swapped),
        ("mismatch", NONE),
        ("mismatch", NONE),
        ("scored", NONE),
        ("scored", swapped),
        ("scored", swapped | Flag.MOVED),
        ("scored", swapped | Flag.EDGE),
        ("mismatch", NONE),
        ("scored", swapped | Flag.UNKNOWN),
        ("letters", NONE),
        ("letters", NONE),
        ("mismatch", NONE),
    ]
    (block,) = read(path, genome, swap=True)
    table = block.table[block.table["swapped"]]
    assert table[["start", "old", "new", "slide"]].to_numpy().tolist() == [
        [5, "G", "T", 0],
        [5, "G", "T", 0],
        [10, "", "C", 0],
        [10, "", "A", 4],
        [48, "", "T", 0],
        [36, "", "C", 0],
    ]


@pytest.mark.parametrize("width", [1, 20, 75])
def test_unknown_and_edge_are_those_of_the_windows(tmp_path, width, monkeypatch):
    """Against windows of a longer text, in which what is off the contig is marked."""
    rng = np.random.default_rng(width)
    text = repetitive(rng, 1_500)
    for start in rng.integers(0, 1_500, 12):
        text = text[:start] + "N" + text[start + 1 :]
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    variants = [v for v in random_variants(rng, text, 400, 10) if "N" not in v[2]]
    variants += [(start, text[start : start + 300], "") for start in range(20, 1_100, 90)]
    variants += [(start, "", "ACGT" * 40) for start in range(10, 1_450, 60)]
    variants = [v for v in variants if "N" not in padded(text, *v)[1]]
    path = write_vcf(tmp_path / "v.vcf", [padded(text, *v) for v in variants])
    shifts = (0, 30, -200)
    monkeypatch.setattr(windows, "_AT_ONCE", 600 * width)  # several pieces
    flags = [flag & (Flag.UNKNOWN | Flag.EDGE) for _, flag in judged(path, genome, width, shifts=shifts)]
    (block,) = read(path, genome, width, shifts=shifts)
    pieces = [""] * len(variants)
    for allele in ("ref", "alt"):
        for strand in STRANDS:
            for shift in shifts:
                begins = window_starts(block.table, allele, width, strand, shift) + 999
                for i, (begin, variant) in enumerate(zip(begins, variants, strict=True)):
                    whole = text if allele == "ref" else changed(text, *variant)
                    pieces[i] += ("-" * 999 + whole + "-" * 999)[begin : begin + width]
    wanted = [
        (Flag.UNKNOWN if "N" in piece else NONE) | (Flag.EDGE if "-" in piece else NONE) for piece in pieces
    ]
    assert flags == wanted
    assert min(Counter(wanted).values()) > 2
    assert len(Counter(wanted)) == 4


def test_swapped_rows_are_cut_from_the_genome_that_is_there(tmp_path):
    rng = np.random.default_rng(5)
    text = repetitive(rng)
    variants = random_variants(rng, text)
    exchanged = [(pos, alt, ref) for pos, ref, alt in (padded(text, *v) for v in variants)]
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    (block,) = read(write_vcf(tmp_path / "v.vcf", exchanged), genome, 75, swap=True)
    table = block.table
    # Where REF happens to fit too, nothing is exchanged.
    fits = np.array([text.startswith(ref, pos - 1) for pos, ref, _ in exchanged])
    np.testing.assert_array_equal(table["swapped"], ~fits)
    assert (~fits).sum() > 60
    (plain,) = read(write_vcf(tmp_path / "w.vcf", [padded(text, *v) for v in variants]), genome, 75)
    for strand in STRANDS:
        for one, other in (("ref", "alt"), ("alt", "ref")):
            np.testing.assert_array_equal(
                allele_windows(genome, table[~fits], one, 75, strand),
                allele_windows(genome, plain.table[~fits], other, 75, strand),
            )


def test_strands_of_a_reverse_complement_have_the_same_flags(tmp_path):
    rng = np.random.default_rng(8)
    text = repetitive(rng, 600)
    text = text[:300] + "NN" + text[302:]
    variants = [v for v in random_variants(rng, text, 300, 10) if "N" not in padded(text, *v, 1, 1)[1] + v[2]]
    back = reverse_complement(text)
    turned = [(len(text) - s - len(o), reverse_complement(o), reverse_complement(n)) for s, o, n in variants]
    results = []
    for name, sequence, each in (("a", text, variants), ("b", back, turned)):
        genome = write_genome(tmp_path / f"{name}.fa", chr1=sequence)
        path = write_vcf(tmp_path / f"{name}.vcf", [padded(sequence, *v) for v in each])
        results.append([(status, flag & ~Flag.MOVED) for status, flag in judged(path, genome, 41)])
    assert results[0] == results[1]
    assert {flag for _, flag in results[0]} == {NONE, Flag.UNKNOWN, Flag.EDGE}


def test_very_long_alleles(tmp_path):
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("ACGT"), 250_000))
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    long = text[50_000:150_000]
    rows = [
        (50_000, text[49_999:150_000], text[49_999]),
        (200_000, text[199_999], text[199_999] + long),
        (50_001, long, reverse_complement(long)),
        (50_001, long[:-1] + ("A" if long[-1] != "A" else "C"), "A"),
    ]
    path = write_vcf(tmp_path / "v.vcf", rows)
    assert [status for status, _ in judged(path, genome, 600)] == ["scored", "scored", "scored", "mismatch"]
    (block,) = read(path, genome, 600)
    assert block.table["old"].str.len().tolist()[:2] == [100_000, 0]
    assert [line.split("\t")[3:5] for line in block.lines] == [list(row[1:]) for row in rows]


@pytest.mark.real_data
def test_counts_of_a_call_set_of_a_person(tmp_path):
    from genome_helpers import real_data_folder

    folder = real_data_folder()
    genome = Genome(folder / "hg38_partial.fa.gz")
    source = VariantSource(folder / "vcf" / "NA12878_hg38_chr21.vcf.gz", genome, 600)
    n_records, statuses, flags = 0, Counter(), Counter()
    for block in source.blocks():
        assert not block.rejected
        n_records += len(block.lines)
        statuses.update(block.table["status"])
        flags.update(block.table["flags"])
    assert n_records == 65_370
    # Most of chr21 is unknown in this FASTA.
    assert {STATUSES[code]: n for code, n in statuses.items()} == {"unknown_base": 61_571, "scored": 4_479}
    assert flags == {0: 65_991, Flag.MOVED: 31, Flag.UNKNOWN: 28}
