"""Variants of a VCF and the windows of their alleles, against a plain construction from strings."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import decode, reverse_complement_codes
from chromtransfer_plugin.variants import allele_windows, read_variants, window_starts

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
COMPLEMENT = str.maketrans("ACGT", "TGCA")
LENGTH = 3_000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))


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


def repetitive(rng) -> str:
    """Text in which many deletions and insertions can be written at several places."""
    units = ["A", "CA", "CAG", "TTAGGG", "GATTACA" * 4]
    text = ""
    while len(text) < LENGTH:
        text += units[rng.integers(len(units))] * int(rng.integers(1, 12))
        text += "".join(rng.choice(list("ACGT"), 5))
    return text[:LENGTH]


def random_variants(rng, text: str, n: int = 120) -> list[tuple[int, str, str]]:
    """(0-based start, deleted, inserted) of all kinds, far from the ends; each changes the text."""
    found = []
    while len(found) < n:
        start, k = int(rng.integers(900, LENGTH - 900)), int(rng.integers(1, 8))
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


def windows(genome, path, width) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    table = read_variants(path, genome, width).table
    return table, allele_windows(genome, table, "ref", width), allele_windows(genome, table, "alt", width)


# --- the windows ---------------------------------------------------------------------------------------


def test_golden_windows(tmp_path):
    #                                                 0         10        20        30
    genome = write_genome(tmp_path / "g.fa", chr1="ACGTTGCATGAAAACCTTGGATCAGCATTCGGACTA")
    rows = [
        (6, "G", "T"),  # 5: substitution
        (10, "G", "GA"),  # one more A in the run [10, 14)
        (13, "AA", "A"),  # one A less, written at the right end
        (17, "TT", "GG"),  # [16, 18)
        (22, "TC", "T"),  # [22, 23)
        (25, "G", "GTTTTTTTTTTTT"),  # [25, 25), longer than the window
    ]
    table, ref, alt = windows(genome, write_vcf(tmp_path / "v.vcf", rows), 8)
    assert table[["start", "old", "new", "slide"]].to_numpy().tolist() == [
        [5, "G", "T", 0],
        [10, "", "A", 4],
        [10, "A", "", 3],
        [16, "TT", "GG", 0],
        [22, "C", "", 0],
        [25, "", "TTTTTTTTTTTT", 0],
    ]
    assert [decode(row) for row in ref] == [
        "CGTTGCAT",  # [1, 9), G at index 4
        "TGAAAACC",  # [8, 16): the run in the middle
        "TGAAAACC",
        "ACCTTGGA",  # [13, 21)
        "GGATCAGC",  # [18, 26)
        "TCAGCATT",  # [21, 29): the insertion point in the middle
    ]
    assert [decode(row) for row in alt] == [
        "CGTTTCAT",
        "TGAAAAAC",
        "ATGAAACC",
        "ACCGGGGA",
        "GGATAGCA",
        "TTTTTTTT",
    ]


@pytest.mark.parametrize("width", [1, 2, 75, 600, 601])
@pytest.mark.parametrize("seed", range(3))
def test_windows_are_those_of_the_changed_text(tmp_path, width, seed):
    rng = np.random.default_rng(seed)
    text = repetitive(rng)
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    variants = random_variants(rng, text)
    table, ref, alt = windows(
        genome, write_vcf(tmp_path / "v.vcf", [padded(text, *v) for v in variants]), width
    )
    assert len(table) == len(variants)
    starts = {allele: window_starts(table, allele, width) for allele in ("ref", "alt")}
    for i, variant in enumerate(variants):
        first, second = starts["ref"][i], starts["alt"][i]
        haplotype = changed(text, *variant)
        assert decode(ref[i]) == text[first : first + width]
        assert decode(alt[i]) == haplotype[second : second + width]
        row = table.iloc[i]
        assert changed(text, row["start"], row["old"], row["new"]) == haplotype
        if row["old"] and row["new"]:
            assert row["old"][0] != row["new"][0]
            assert row["old"][-1] != row["new"][-1]
            assert row["slide"] == 0
        else:
            all_places = placements(text, row["old"], row["new"], haplotype)
            assert (row["start"], row["start"] + row["slide"]) == (all_places[0], all_places[-1])
        for begin, bases in ((first, row["old"]), (second, row["new"])):
            region = len(bases) + row["slide"]
            assert begin + width // 2 == row["start"] + region // 2
    single = (table["old"].str.len() == 1) & (table["new"].str.len() == 1)
    differs = (ref != alt)[single.to_numpy()]
    assert len(differs) > 15
    assert (np.argmax(differs, axis=1) == width // 2).all()
    assert (differs.sum(axis=1) == 1).all()
    assert (table["slide"] > 0).sum() > 15


@pytest.mark.parametrize("seed", range(3))
def test_every_way_of_writing_a_variant_gives_the_same_windows(tmp_path, seed):
    rng = np.random.default_rng(seed)
    text = repetitive(rng)
    genome = write_genome(tmp_path / "g.fa", chr1=text)
    several = 0
    for start, old, new in random_variants(rng, text, 40):
        wanted = changed(text, start, old, new)
        row = [padded(text, start, old, new), padded(text, start, old, new, 7, 3)]
        if not (old and new):
            for p in placements(text, old, new, wanted):
                there = (p, text[p : p + len(old)], wanted[p : p + len(new)])
                row += [
                    padded(text, *there),
                    padded(text, *there, int(rng.integers(1, 6)), int(rng.integers(6))),
                ]
        several += len(row) > 4
        _, ref, alt = windows(genome, write_vcf(tmp_path / "v.vcf", row), 120)
        assert len(ref) == len(row)
        assert (ref == ref[0]).all()
        assert (alt == alt[0]).all()
    assert several > 10


@pytest.mark.parametrize("width", [600, 601])
@pytest.mark.parametrize("seed", range(3))
def test_reverse_complement_of_genome_and_variants(tmp_path, width, seed):
    """Exact where the flanks are equally long, else one base further (see allele_windows)."""
    rng = np.random.default_rng(seed)
    text = repetitive(rng)
    back = text.translate(COMPLEMENT)[::-1]
    variants = random_variants(rng, text)
    turned = [
        (LENGTH - start - len(old), old.translate(COMPLEMENT)[::-1], new.translate(COMPLEMENT)[::-1])
        for start, old, new in variants
    ]
    forward = write_genome(tmp_path / "g.fa", chr1=text)
    reverse = write_genome(tmp_path / "r.fa", chr1=back)
    table = read_variants(
        write_vcf(tmp_path / "v.vcf", [padded(text, *v) for v in variants]), forward, width
    ).table
    other = read_variants(
        write_vcf(tmp_path / "w.vcf", [padded(back, *v) for v in turned]), reverse, width
    ).table
    for allele, bases in (("ref", "old"), ("alt", "new")):
        one = allele_windows(forward, table, allele, width)
        two = reverse_complement_codes(allele_windows(reverse, other, allele, width))
        odd = ((table[bases].str.len() + table["slide"] - width) % 2 == 1).to_numpy()
        assert min(odd.sum(), (~odd).sum()) > 10
        np.testing.assert_array_equal(one[~odd], two[~odd])
        if width % 2 == 0:
            np.testing.assert_array_equal(one[odd, 1:], two[odd, :-1])
        else:
            np.testing.assert_array_equal(one[odd, :-1], two[odd, 1:])


def test_long_repeats_are_followed_to_their_ends_but_not_into_unknown_bases(tmp_path):
    genome = write_genome(
        tmp_path / "g.fa",
        chr1="G" * 100 + "CA" * 1000 + "T" * 100,
        chr2="A" * 50,
        chr3="C" * 9 + "NNAAANN" + "C" * 9,
    )
    rows = ["chr2\t20\t.\tA\tAA\t.\t.\t.", "chr3\t13\t.\tAA\tA\t.\t.\t."]
    path = write_vcf(tmp_path / "v.vcf", [(1101, "CAC", "C"), (1100, "A", "ACACA"), *rows])
    table = read_variants(path, genome, 10).table
    assert table[["start", "old", "new", "slide"]].to_numpy().tolist() == [
        [100, "CA", "", 1998],
        [100, "", "CACA", 2000],
        [0, "", "A", 50],
        [11, "A", "", 2],
    ]


# --- reading -------------------------------------------------------------------------------------------


@pytest.fixture
def genome(tmp_path) -> Genome:
    rng = np.random.default_rng(1)
    text = "".join(rng.choice(list("ACGT"), 200))
    return write_genome(tmp_path / "g.fa", chr1="A" * 100 + text[:100], chr2=(text[100:] + "N" * 20).lower())


def test_every_allele_that_cannot_be_scored_is_counted_and_listed(tmp_path, genome):
    base = genome.sequence("chr1", 149, 150)
    other = "C" if base != "C" else "G"
    rows = [
        (150, base.lower(), f"{other.lower()},*,<DEL>"),
        (150, base, "."),
        (150, base, f"{base}[chr2:5["),
        (150, "N", other),
        (150, base, "R"),
        (150, base, base),
        (150, other, base),
        "chr9\t5\t.\tA\tC\t.\t.\t.",
        (0, "N", other),
        (0, "A", other),
        (200, genome.sequence("chr1", 199, 200) + "A", "C"),
        (20, "A", "C"),
        (180, genome.sequence("chr1", 179, 180), "AAAACCCC"),
        "chr2\t115\t.\tA\tC\t.\t.\t.",
        (51, "A", "C"),  # the first whose window fits
        (50, "A", "C"),
        "chr2\t60\trs1\t" + genome.sequence("chr2", 59, 61) + "\tA\tq10\t.\tAF=0.1",
    ]
    variants = read_variants(write_vcf(tmp_path / "v.vcf", rows, contigs=()), genome, 100)
    report = variants.report
    assert [(record, text.split(":")[-1], reason) for record, text, reason in report.dropped] == [
        (1, "*", "ALT is *, a deletion that another record describes"),
        (1, "<DEL>", "ALT is symbolic or a breakend"),
        (2, ".", "no ALT allele"),
        (3, "5[", "ALT is symbolic or a breakend"),
        (4, other, "an allele has letters other than A, C, G, T"),
        (5, "R", "an allele has letters other than A, C, G, T"),
        (6, base, "REF and ALT are the same"),
        (7, base, "REF is not what the genome has there"),
        (8, "C", "contig is not in the genome"),
        (9, other, "an allele has letters other than A, C, G, T"),
        (10, other, "REF is not on the contig"),
        (11, "C", "REF is not on the contig"),
        (12, "C", "window reaches off the contig"),
        (13, "AAAACCCC", "window reaches off the contig"),
        (14, "C", "the genome has an unknown base (N) there"),
        (16, "C", "window reaches off the contig"),
    ]
    assert report.dropped[0][1] == f"chr1:150:{base}:*"
    assert (report.n_records, report.n_alleles, report.n_kept) == (17, 19, 3)
    table = variants.table
    assert table[["record", "chrom", "pos", "id", "ref", "alt"]].to_numpy().tolist() == [
        [1, "chr1", 150, ".", base, other],
        [15, "chr1", 51, ".", "A", "C"],
        [17, "chr2", 60, "rs1", genome.sequence("chr2", 59, 61), "A"],
    ]
    assert (
        report.summary()
        .splitlines()[0]
        .endswith("v.vcf: 17 records with 19 alleles read, 3 kept, 16 dropped")
    )
    assert "  3 x window reaches off the contig, first in record 12: chr1:20:A:C" in report.summary()


def test_each_window_must_fit_with_the_flanks_it_really_needs(tmp_path):
    genome = write_genome(tmp_path / "g.fa", chr1="A" * 120 + "C" * 20 + "G" * 60)
    deletion = write_vcf(tmp_path / "d.vcf", [(120, "A" + "C" * 20, "A")])
    # Reference window [130 - 60, 130 + 60); the alternative one is [60, 120) and [140, 200).
    _, ref, alt = windows(genome, deletion, 120)
    assert decode(ref[0]) == "A" * 50 + "C" * 20 + "G" * 50
    assert decode(alt[0]) == "A" * 60 + "G" * 60
    with pytest.raises(ChromTransferError, match=r"1 x window reaches off the contig, first in record 1"):
        read_variants(deletion, genome, 121)
    mirrored = write_genome(tmp_path / "m.fa", chr1="A" * 60 + "C" * 20 + "G" * 120)
    deletion = write_vcf(tmp_path / "d.vcf", [(60, "A" + "C" * 20, "A")])
    assert decode(windows(mirrored, deletion, 121)[2][0]) == "A" * 60 + "G" * 61
    with pytest.raises(ChromTransferError, match=r"window reaches off the contig"):
        read_variants(deletion, mirrored, 122)
    # The alternative window lies inside the insertion, but the reference window is 1 bp short on the right.
    insertion = write_vcf(tmp_path / "i.vcf", [(140, "C", "C" + "ACGT" * 100)])
    _, ref, alt = windows(genome, insertion, 120)
    assert decode(alt[0]) == "ACGT" * 30
    assert decode(ref[0]) == "A" * 40 + "C" * 20 + "G" * 60
    with pytest.raises(ChromTransferError, match=r"window reaches off the contig"):
        read_variants(insertion, genome, 122)


@pytest.mark.parametrize("samples", [False, True])
def test_plain_bgzip_and_bcf_are_one(tmp_path, genome, samples):
    base = genome.sequence("chr1", 119, 120)
    rows = [f"chr1\t{pos}\tx\tA\tC,AG\t.\t.\t." for pos in (60, 70)] + [
        f"chr1\t120\t.\t{base}\t{base}TT\t9\tPASS\t."
    ]
    if samples:
        rows = [f"{row}\tGT\t0/1" for row in rows]
    plain = write_vcf(tmp_path / "v.vcf", rows)
    if samples:
        fmt = '##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n'
        plain.write_text(plain.read_text().replace(COLUMNS, f"{fmt}{COLUMNS}\tFORMAT\tone"))
    pysam.tabix_compress(str(plain), str(tmp_path / "v.vcf.gz"))
    bcf = str(tmp_path / "v.bcf")
    with pysam.VariantFile(str(plain)) as source, pysam.VariantFile(bcf, "wb", header=source.header) as out:
        for record in source:
            out.write(record)
    wanted = read_variants(plain, genome, 50).table
    assert len(wanted) == 5
    for name in ("v.vcf.gz", "v.bcf"):
        pd.testing.assert_frame_equal(read_variants(tmp_path / name, genome, 50).table, wanted)


def test_bad_samples_do_not_matter_and_lines_may_end_in_crlf(tmp_path, genome):
    path = write_vcf(tmp_path / "v.vcf", ["chr1\t60\t.\tA\tC\t.\t.\t.\tGT:XX\tnonsense"], contigs=())
    path.write_bytes(
        path.read_bytes()
        .replace(COLUMNS.encode(), f"{COLUMNS}\tFORMAT\tone".encode())
        .replace(b"\n", b"\r\n")
    )
    assert read_variants(path, genome, 50).table["alt"].tolist() == ["C"]


GOOD = "chr1\t60\t.\tA\tC\t.\t.\t."
HEAD = f"##fileformat=VCFv4.2\n{COLUMNS}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a readable VCF"),
        ("hello\nworld\n", "is not a readable VCF"),
        ("chr1\t1\t2\n", "is not a readable VCF"),
        (f"##fileformat=VCFv4.2\n{GOOD}\n", "is not a readable VCF"),
        (HEAD, "holds no variants"),
        (f"{HEAD}{GOOD}\n{GOOD}\nchr1\t61\t.\n", "record 3 cannot be read .*last good one is chr1:60"),
        (f"{HEAD}{GOOD}\nchr1\tten\t.\tA\tC\t.\t.\t.\n", "record 2 cannot be read"),
        (f"{HEAD}{GOOD}\n\n", "record 2 cannot be read"),
        (f"{HEAD}{GOOD.replace(chr(9), ' ')}\n", "is not a readable VCF"),
        (f"{HEAD}{GOOD.replace('chr1', '1')}\n", "The file says `1`, the genome says `chr1`"),
        (f"{HEAD}{GOOD.replace('A', 'G')}\n", "no usable variant is left(.|\n)*Is the genome the assembly"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path, genome, text, message, capfd):
    path = tmp_path / "bad.vcf"
    path.write_text(text)
    before = pysam.get_verbosity()
    with pytest.raises(ChromTransferError, match=message) as error:
        read_variants(path, genome, 50)
    assert str(error.value).startswith(f"{path}: ")
    assert pysam.get_verbosity() == before
    assert "[E::" not in capfd.readouterr().err


def test_the_report_has_alleles_as_the_file_writes_them(tmp_path, genome):
    path = tmp_path / "x.vcf"
    alleles = ["<DEL>", f"{GOOD.split(chr(9))[3]}[chr2:321["]
    rows = [GOOD.replace(f"\t{GOOD.split(chr(9))[4]}\t", f"\t{alt}\t", 1) for alt in alleles]
    path.write_text("\n".join([HEAD.rstrip("\n"), *rows]) + "\n")
    with pytest.raises(ChromTransferError, match="no usable variant is left") as error:
        read_variants(path, genome, 50)
    assert f":{alleles[0]}" in str(error.value)
    assert "symbolic or a breakend" in str(error.value)
    assert "Is the genome the assembly" not in str(error.value)  # REF is right
    path.write_text("\n".join([HEAD.rstrip("\n"), GOOD, rows[1]]) + "\n")
    assert read_variants(path, genome, 50).report.dropped[0][1].endswith(alleles[1])


def test_damaged_files_are_refused(tmp_path, genome):
    for path, message in ((tmp_path / "nowhere.vcf", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(ChromTransferError, match=message):
            read_variants(path, genome)
    rng = np.random.default_rng(0)
    lines = "".join(GOOD.replace("\t.\tA", f"\trs{rng.integers(1 << 60)}\tA") + "\n" for _ in range(20_000))
    plain, whole = tmp_path / "v.vcf", tmp_path / "v.vcf.gz"
    plain.write_text(HEAD + lines)
    pysam.tabix_compress(str(plain), str(whole))
    assert len(read_variants(whole, genome, 50)) == 20_000
    data = whole.read_bytes()
    bad = tmp_path / "bad.vcf.gz"
    for broken in (data[:-28], data[: len(data) // 2], data[:90_000] + b"\0" * 99 + data[90_099:]):
        bad.write_bytes(broken)
        with pytest.raises(ChromTransferError, match=r"cannot be read|not a readable") as error:
            read_variants(bad, genome, 50)
        assert "Closing" not in str(error.value)
    bad.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(ChromTransferError, match=r"is compressed with gzip, .* Run `gunzip"):
        read_variants(bad, genome, 50)


@pytest.mark.real_data
def test_a_call_set_of_a_person(tmp_path):
    from genome_helpers import real_data_folder

    folder = real_data_folder()
    genome = Genome(folder / "hg38_partial.fa.gz")
    variants = read_variants(folder / "vcf" / "NA12878_hg38_chr21.vcf.gz", genome)
    assert (variants.report.n_records, variants.report.n_alleles) == (65_370, 66_050)
    reasons = {reason for _, _, reason in variants.report.dropped}
    assert reasons <= {"the genome has an unknown base (N) there", "window reaches off the contig"}
    assert len(variants) > 4_000
