"""Reading the variants of a VCF into memory."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pysam
import pytest
from vcf_cases import COLUMNS, HEAD, write_genome, write_vcf

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import decode
from chromtransfer_plugin.variants import allele_windows, read_variants


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def genome(tmp_path) -> Genome:
    rng = np.random.default_rng(1)
    text = "".join(rng.choice(list("ACGT"), 200))
    return write_genome(tmp_path / "g.fa", chr1="A" * 100 + text[:100], chr2=(text[100:] + "N" * 20).lower())


def texts(genome, path, width) -> list[tuple[str, str]]:
    table = read_variants(path, genome, width).table
    pair = [allele_windows(genome, table, allele, width) for allele in ("ref", "alt")]
    return [(decode(ref), decode(alt)) for ref, alt in zip(*pair, strict=True)]


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
    assert (report.n_records, report.n_alleles, report.n_kept) == (17, 19, 4)
    table = variants.table
    assert table[["record", "chrom", "pos", "id", "ref", "alt"]].to_numpy().tolist() == [
        [1, "chr1", 150, ".", base, other],
        [6, "chr1", 150, ".", base, base],
        [15, "chr1", 51, ".", "A", "C"],
        [17, "chr2", 60, "rs1", genome.sequence("chr2", 59, 61), "A"],
    ]
    assert (
        report.summary()
        .splitlines()[0]
        .endswith("v.vcf: 17 records with 19 alleles read, 4 kept, 15 dropped")
    )
    assert "  3 x window reaches off the contig, first in record 12: chr1:20:A:C" in report.summary()


def test_each_window_must_fit_with_the_flanks_it_really_needs(tmp_path):
    genome = write_genome(tmp_path / "g.fa", chr1="A" * 120 + "C" * 20 + "G" * 60)
    deletion = write_vcf(tmp_path / "d.vcf", [(120, "A" + "C" * 20, "A")])
    # 60 bp on either side without the deletion, [60, 120) and [140, 200); REF begins half of 20 bp later.
    assert texts(genome, deletion, 120) == [("A" * 50 + "C" * 20 + "G" * 50, "A" * 60 + "G" * 60)]
    # With 121 bp, 61 lie before the place where the bases are missing: on the minus strand, [140, 201).
    with pytest.raises(ChromTransferError, match=r"1 x window reaches off the contig, first in record 1"):
        read_variants(deletion, genome, 121)
    mirrored = write_genome(tmp_path / "m.fa", chr1="A" * 60 + "C" * 20 + "G" * 120)
    deletion = write_vcf(tmp_path / "d.vcf", [(60, "A" + "C" * 20, "A")])
    assert texts(mirrored, deletion, 120)[0][1] == "A" * 60 + "G" * 60
    with pytest.raises(ChromTransferError, match=r"window reaches off the contig"):
        read_variants(deletion, mirrored, 121)
    # The window of ALT lies inside the insertion, but that of REF is 1 bp short on the right.
    insertion = write_vcf(tmp_path / "i.vcf", [(140, "C", "C" + "ACGT" * 100)])
    assert texts(genome, insertion, 120) == [("A" * 40 + "C" * 20 + "G" * 60, "ACGT" * 30)]
    with pytest.raises(ChromTransferError, match=r"window reaches off the contig"):
        read_variants(insertion, genome, 121)


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


def test_lines_that_are_no_records_are_listed(tmp_path, genome):
    good = "chr1\t60\t.\tA\tC\t.\t.\t.\tGT\t0/1"
    bad = ["chr1\t61\t.", "", good.replace("60", "ten"), good.replace("0/1", "nonsense"), good[:-4]]
    path = write_vcf(tmp_path / "v.vcf", [good, *bad, good.replace("60", "61"), "", ""])
    fmt = '##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n'
    text = path.read_text().replace(COLUMNS, f"{fmt}{COLUMNS}\tFORMAT\tone")
    path.write_bytes(text.replace("\n", "\r\n").encode())
    variants = read_variants(path, genome, 50)
    assert variants.table[["record", "pos", "alt"]].to_numpy().tolist() == [[1, 60, "C"], [7, 61, "C"]]
    assert (variants.report.n_records, variants.report.n_alleles, variants.report.n_kept) == (7, 2, 2)
    assert [(number, text) for number, text, _ in variants.report.dropped] == list(enumerate(bad, start=2))
    assert [reason for _, _, reason in variants.report.dropped] == [
        "the line has 3 columns, expected at least 8 separated by tabs",
        "the line is blank",
        "POS is not a whole number of at most ten digits",
        "htslib cannot read the line; `bcftools view` of this file says why",
        "the line has 9 columns, the header 10",
    ]


def test_equal_alleles_are_kept(tmp_path, genome):
    table = read_variants(
        write_vcf(tmp_path / "v.vcf", [(60, "A", "a,C"), (61, "AAA", "AAA")]), genome, 50
    ).table
    assert table[["record", "ref", "alt", "old", "new", "swapped"]].to_numpy().tolist() == [
        [1, "A", "A", "A", "A", False],
        [1, "A", "C", "A", "C", False],
        [2, "AAA", "AAA", "AAA", "AAA", False],
    ]


GOOD = "chr1\t60\t.\tA\tC\t.\t.\t."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a readable VCF"),
        ("hello\nworld\n", "is not a readable VCF"),
        ("chr1\t1\t2\n", "is not a readable VCF"),
        (f"##fileformat=VCFv4.2\n{GOOD}\n", "is not a readable VCF"),
        (HEAD, "holds no variants"),
        (HEAD.replace("##fileformat=VCFv4.2\n", ""), "is not a readable VCF"),
        (HEAD.replace("\tINFO", ""), "is not a readable VCF"),
        (f"{HEAD[:-1]}\tFORMAT\tone\tone\n", "is not a readable VCF"),
        (
            f"{HEAD}{GOOD.replace(chr(9), ' ')}\n",
            "no usable variant is left(.|\n)*1 x the line has 1 columns",
        ),
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
    lines = [GOOD.replace("\t.\tA", f"\trs{rng.integers(1 << 60)}\tA") + "\n" for _ in range(20_000)]
    plain, bgzip, gz = tmp_path / "v.vcf", tmp_path / "v.vcf.gz", tmp_path / "w.vcf.gz"
    plain.write_text(HEAD.replace("#CHROM", "##contig=<ID=chr1>\n#CHROM") + "".join(lines))
    pysam.tabix_compress(str(plain), str(bgzip))
    gz.write_bytes(gzip.compress(plain.read_bytes()))
    bcf = tmp_path / "v.bcf"
    with (
        pysam.VariantFile(str(plain)) as source,
        pysam.VariantFile(str(bcf), "wb", header=source.header) as out,
    ):
        for record in source:
            out.write(record)
    bad = tmp_path / "bad.vcf.gz"
    for whole in (bgzip, gz, bcf):
        assert len(read_variants(whole, genome, 50)) == 20_000
        data = whole.read_bytes()
        for broken in (data[:-28], data[: len(data) // 2], data[:90_000] + b"\0" * 99 + data[90_099:]):
            bad.write_bytes(broken)
            with pytest.raises(
                ChromTransferError, match=r"is damaged (or cut short|behind (line|record) \d+)"
            ):
                read_variants(bad, genome, 50)
    bad.write_bytes(
        plain.read_bytes().replace(lines[-7].encode(), lines[-7].encode().replace(b"rs", b"\xe9"))
    )
    with pytest.raises(ChromTransferError, match=r"line 19997 is not UTF-8 text"):
        read_variants(bad, genome, 50)


@pytest.mark.real_data
def test_a_call_set_of_a_person(tmp_path):
    from genome_helpers import real_data_folder

    folder = real_data_folder()
    genome = Genome(folder / "hg38_partial.fa.gz")
    variants = read_variants(folder / "vcf" / "NA12878_hg38_chr21.vcf.gz", genome)
    assert (variants.report.n_records, variants.report.n_alleles) == (65_370, 66_050)
    # Most of chr21 is unknown in this FASTA.
    assert {reason for _, _, reason in variants.report.dropped} == {
        "the genome has an unknown base (N) there"
    }
    assert len(variants) == 4_479
