"""The lines of a VCF or BCF: those that are no records and why, and that the others come as they stand."""

from __future__ import annotations

import contextlib
import gzip
import os
from types import SimpleNamespace

import pandas as pd
import pysam
import pytest
from test_variant_records import TEXT, cache, genome, read  # noqa: F401 - two are fixtures
from vcf_cases import COLUMNS, HEAD, write_vcf

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.variants import vcf_check, vcf_text
from chromtransfer_plugin.variants.records import VariantSource

GOOD = "chr1\t6\t.\tG\tT\t.\t.\t."


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "the line is blank"),
        ("##INFO=<ID=A>", "a line of a header among the records"),
        (COLUMNS, "a line of a header among the records"),
        ("chr1 6 . G T . . .", "the line has 1 columns, expected at least 8 separated by tabs"),
        (GOOD[:-2], "the line has 7 columns, expected at least 8 separated by tabs"),
        (GOOD.replace("chr1", ""), "CHROM is empty"),
        (GOOD.replace("\tG", "\t"), "REF is empty"),
        (GOOD[:-1], "INFO is empty"),
        (GOOD.replace("6", "x"), "POS is not a whole number of at most ten digits"),
        (GOOD.replace("6", "-6"), "POS is not a whole number of at most ten digits"),
        (GOOD.replace("6", "6.0"), "POS is not a whole number of at most ten digits"),
        (GOOD.replace("6", "٦"), "POS is not a whole number of at most ten digits"),
        (GOOD.replace("6", "9" * 30), "POS is not a whole number of at most ten digits"),
        (GOOD.replace("6", str(2**31)), "POS is beyond 2147483647, the last one of a VCF"),
        (GOOD.replace("T", "T,"), "ALT has an empty allele"),
        (GOOD.replace("T", "T\0"), "the line has control characters"),
        (GOOD.replace("T", "T\r"), "the line has control characters"),
        (
            GOOD.replace("chr1", 'a,<>"b'),
            "htslib cannot read the line; `bcftools view` of this file says why",
        ),
    ],
)
def test_what_is_no_record_is_rejected_with_the_reason(tmp_path, genome, line, reason):  # noqa: F811
    path = write_vcf(tmp_path / "v.vcf", [GOOD, line, GOOD.replace("6", str(2**31 - 1)), line, GOOD], ())
    path.write_bytes(path.read_bytes())
    for size in (1, 2, 3, 4096):
        blocks = read(path, genome, n_records=size)
        assert [number for block in blocks for number in block.numbers] == [3, 5, 7]
        rejected = [each for block in blocks for each in block.rejected]
        assert rejected == [(4, line, reason), (6, line, reason)]
        assert all(len(block.lines) + len(block.rejected) <= size for block in blocks)


@pytest.mark.parametrize(
    "line",
    [
        "chr1\t006\t.\tG\tT\tlow\tq1;q2\tA;B=1;C=x y;A",
        "HLA-A*01:01\t6\trs1;x\tg\tt\t1e9\tPASS\t.",
        "chr1\t6\té—\tG\tT\t.\t.\tnote=\u2028\x85ü",
        "chr1\t6\t.\tG\t<INS:ME:ALU>,]chr2:3]G\t.\t.\tEND=3;SVLEN=-5",
        f"{GOOD}\tGT\t0/1",  # more columns than a header without samples has
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_come_out_as_they_stand(tmp_path, genome, line, end):  # noqa: F811
    path = tmp_path / "v.vcf"
    text = end.join([*HEAD.split("\n")[:-1], line, line])
    for whole in (text, text + end, text + 5 * end, f"\ufeff{text}"):
        path.write_bytes(whole.encode())
        (block,) = read(path, genome)
        assert (block.lines, block.rejected) == ([line, line], [])


def test_what_a_bad_line_brings_along_does_not_help_the_next(tmp_path, genome, monkeypatch):  # noqa: F811
    """No such case of htslib is known; a made-up one: a line that is readable behind a bad one alone."""
    bad, helped = GOOD.replace("6", "7"), GOOD.replace("6", "8")

    def reads(header, lines):
        return ["" if line == GOOD or (line == helped and bad in lines) else "no" for line in lines]

    source = VariantSource(write_vcf(tmp_path / "v.vcf", [bad, helped, GOOD]), genome, 8)
    monkeypatch.setattr(vcf_check, "_as_htslib_reads", reads)
    (block,) = source.blocks()
    assert block.lines == [GOOD]
    assert [each.text for each in block.rejected] == [bad, helped]


@pytest.mark.parametrize(
    "change", [{}, {"chrom": "x"}, {"pos": 7}, {"ref": "A"}, {"alts": ("T", "T")}, {"alts": None}]
)
def test_what_htslib_reads_must_be_what_is_written(tmp_path, genome, monkeypatch, change):  # noqa: F811
    record = SimpleNamespace(**{"chrom": "chr1", "pos": 6, "ref": "G", "alts": ("T",), **change})
    source = VariantSource(write_vcf(tmp_path / "v.vcf", [GOOD]), genome, 8)
    monkeypatch.setattr(vcf_check, "_opened", lambda header, lines: contextlib.nullcontext(iter([record])))
    (block,) = source.blocks()
    reasons = [each.reason for each in block.rejected]
    assert reasons == (["htslib reads another variant than is written"] if change else [])


def test_long_lines(tmp_path, genome, monkeypatch):  # noqa: F811
    for module in (vcf_text, vcf_check):
        monkeypatch.setattr(module, "LONGEST_LINE", 5_000)
    monkeypatch.setattr(vcf_text, "BLOCK_BYTES", 700)
    fits, long = (GOOD[:-1] + letter * n for letter, n in (("x", 4_900), ("é", 4_000_000)))
    path = write_vcf(tmp_path / "v.vcf", [GOOD, long, fits, GOOD, long], ())
    (block,) = read(path, genome)
    assert block.lines == [GOOD, fits, GOOD]
    assert [(number, len(text), reason) for number, text, reason in block.rejected] == [
        (number, 200, "the line has more than 0 MiB") for number in (4, 7)
    ]


def test_blocks_are_bounded_by_their_text(tmp_path, genome, monkeypatch):  # noqa: F811
    monkeypatch.setattr("chromtransfer_plugin.variants.records._BLOCK_TEXT", 2_000)
    path = write_vcf(tmp_path / "v.vcf", [GOOD[:-1] + "x" * 900] * 10 + [GOOD] * 10)
    assert [len(block.lines) for block in read(path, genome, n_records=6)] == [3, 3, 3, 6, 5]


def test_all_formats_are_one(tmp_path, genome):  # noqa: F811
    header = [
        "##fileformat=VCFv4.2",
        '##FILTER=<ID=PASS,Description="All filters passed">',
        '##INFO=<ID=A,Number=1,Type=Integer,Description="">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="">',
        "##contig=<ID=chr1>",
        f"{COLUMNS}\tFORMAT\tone\ttwo",
    ]
    lines = [f"chr1\t{pos}\tx{pos}\t{TEXT[pos - 1]}\tT,*\t5\tPASS\tA=3\tGT\t0|1\t./." for pos in range(1, 36)]
    plain = tmp_path / "v.vcf"
    plain.write_text("\n".join([*header, *lines, ""]))
    bgzip, gz, bcf, raw = (str(tmp_path / name) for name in ("b.vcf.gz", "g.vcf.gz", "v.bcf", "u.bcf"))
    pysam.tabix_compress(str(plain), bgzip)
    with open(gz, "wb") as out:
        out.write(gzip.compress(plain.read_bytes()))
    for name, mode in ((bcf, "wb"), (raw, "wb0")):
        with pysam.VariantFile(str(plain)) as file, pysam.VariantFile(name, mode, header=file.header) as out:
            for record in file:
                out.write(record)
    wanted = read(plain, genome)[0]
    assert wanted.lines == lines
    for path in (bgzip, gz, bcf, raw):
        source = VariantSource(path, genome, 8)
        for _ in range(2):
            (block,) = source.blocks()
            assert (block.lines, block.rejected) == (lines, [])
            pd.testing.assert_frame_equal(block.table, wanted.table)
        assert (block.numbers - source.n_before).tolist() == list(range(1, 36))
        assert source.header == header


def test_files_that_can_be_read_only_once_or_without_room(tmp_path, genome, monkeypatch):  # noqa: F811
    os.mkfifo(tmp_path / "pipe.vcf")
    with pytest.raises(ChromTransferError, match="is no regular file, and can be read only once"):
        VariantSource(tmp_path / "pipe.vcf", genome, 8)
    path = write_vcf(tmp_path / "v.vcf", [GOOD])
    monkeypatch.setattr(vcf_check.tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ChromTransferError, match=r"cannot write a temporary file in .*nowhere .*TMPDIR"):
        VariantSource(path, genome, 8)


def test_an_empty_vcf_has_no_blocks(tmp_path, genome):  # noqa: F811
    for text in (HEAD, HEAD[:-1], HEAD + "\n\n", HEAD.replace("\n", "\r\n")):
        (tmp_path / "v.vcf").write_bytes(text.encode())
        assert read(tmp_path / "v.vcf", genome) == []
