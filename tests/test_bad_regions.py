"""Rows that are dropped with a reason, and files that are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest
from genome_helpers import write_fasta
from genome_helpers import write_lines as write

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.regions import read_regions


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    contigs = {"chr1": "ACGT" * 1_000, "chr2": "N" * 2_000 + "A" + "N" * 1_999}
    return Genome(write_fasta(folder / "g.fa", contigs))


def windows(path: Path, **options) -> list[tuple[str, int, int]]:
    table = read_regions(path, **options).table
    return list(zip(table["chrom"], table["start"], table["end"], strict=True))


BAD_ROWS = [
    ("chr1\t900", "too few columns"),
    ("\t1000\t1600", "too few columns"),
    ("chr1\tstart\t1600", "start or end is not a whole number"),
    ("chr1\t1000\t16e2", "start or end is not a whole number"),
    ("chr1\t1000.0\t1600", "start or end is not a whole number"),
    ("chr1\t1000\t1,600", "start or end is not a whole number"),
    ("chr1\t\t1600", "start or end is not a whole number"),
    ("chr1\t1000\t99999999999999999999", "start or end is not a whole number"),
    ("chr1\t-5\t1600", "negative coordinate"),
    ("chr1\t1600\t1600", "start is not before end"),
    ("chr1\t1601\t1600", "start is not before end"),
    ("chr1\t0\t400", "window reaches off the contig"),
]
BAD_WITH_GENOME = [
    ("chrZ\t1000\t1600", "contig is not in the genome"),
    ("chr1\t3600\t4000", "window reaches off the contig"),
    ("chr1\t5000\t5600", "window reaches off the contig"),
    ("chr2\t1000\t1600", "window holds nothing but N"),
    ("chr2\t1400\t2000", "window holds nothing but N"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS + BAD_WITH_GENOME)
def test_each_bad_row_is_dropped_with_its_line_text_and_reason(tmp_path, genome, row, reason):
    path = write(tmp_path, "a.bed", "#head", "chr1\t1000\t1600", row, "chr2\t1401\t2001")
    regions = read_regions(path, genome)
    assert regions.report.dropped == [(3, row, reason)]
    assert regions.table["source_line"].tolist() == [2, 4]
    assert (regions.report.n_read, regions.report.n_kept) == (3, 2)
    with pytest.raises(ChromTransferError) as caught:
        read_regions(path, genome, strict=True)
    assert all(part in str(caught.value) for part in (str(path), "line 3", reason))


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_bad_rows_need_no_genome_to_be_found(tmp_path, row, reason):
    path = write(tmp_path, "a.bed", "chr1\t1000\t1600", row)
    assert read_regions(path).report.dropped == [(2, row, reason)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("chr1,1000,1600", "too few columns"),
        ("region,label", "too few columns"),
        ("chr1:1k-1600,A", "start or end is not a whole number"),
        ("chr1:-5-600,A", "negative coordinate"),
        ("chr1:700-600,A", "start is not before end"),
    ],
)
def test_bad_csv_rows(tmp_path, row, reason):
    path = write(tmp_path, "a.csv", "chr1:1000-1600,A", row)
    assert read_regions(path).report.dropped == [(2, row, reason)]


def test_windows_at_the_very_ends_of_a_contig_are_kept(tmp_path, genome):
    path = write(tmp_path, "a.bed", "chr1\t0\t600", "chr1\t3400\t4000", "chr1\t299\t300", "chr1\t3701\t3702")
    regions = read_regions(path, genome)
    assert windows(path, genome=genome) == [("chr1", 0, 600), ("chr1", 3400, 4000)]
    assert [line for line, _, _ in regions.report.dropped] == [3, 4]


def test_summary_counts_each_reason_and_the_list_can_be_written(tmp_path, genome):
    rows = ["chr1\t1000\t1600", "chrZ\t1\t2\tz", "chr1\tx\t5", "chrZ\t10\t20"]
    report = read_regions(write(tmp_path, "a.bed", *rows), genome).report
    assert report.summary().splitlines() == [
        f"{tmp_path}/a.bed (bed): 4 rows read, 1 kept (0 resized), 3 dropped",
        "  2 x contig is not in the genome, first at line 2: chrZ\t1\t2\tz",
        "  1 x start or end is not a whole number, first at line 3: chr1\tx\t5",
    ]
    report.write_dropped(tmp_path / "dropped.tsv")
    assert (tmp_path / "dropped.tsv").read_text().splitlines() == [
        "line\treason\ttext",
        "2\tcontig is not in the genome\tchrZ\t1\t2\tz",
        "3\tstart or end is not a whole number\tchr1\tx\t5",
        "4\tcontig is not in the genome\tchrZ\t10\t20",
    ]


def test_good_rows_do_not_depend_on_the_bad_ones_around_them(tmp_path, genome):
    good = [f"chr1\t{start}\t{start + 500}\tL{start}" for start in range(400, 3_000, 100)]
    bad = [row for row, _ in BAD_ROWS + BAD_WITH_GENOME]
    mixed = [row for pair in zip(good, bad + bad, strict=False) for row in pair]
    alone = read_regions(write(tmp_path, "a.bed", *good[: len(mixed) // 2]), genome).table
    among = read_regions(write(tmp_path, "b.bed", *mixed), genome)
    pd.testing.assert_frame_equal(among.table.drop(columns="source_line"), alone.drop(columns="source_line"))
    assert among.table["source_line"].tolist() == [2 * i + 1 for i in range(len(alone))]
    assert [text for _, text, _ in among.report.dropped] == mixed[1::2]


def test_files_that_are_no_region_files(tmp_path):
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "utf16").write_bytes("chr1\t1\t2\n".encode("utf-16"))
    # Taken for one line, only the first row would be read.
    (tmp_path / "mac.bed").write_bytes(b"chr1\t1\t2\tx\rchr1\t3\t4\tx\r")
    (tmp_path / "mac.csv").write_bytes(b"chr1:1-2,x\nchr1:3-4,x\rchr1:5-6,x\n")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"chr1\t1\t2\n" * 99)[:-12])
    cases = {
        "absent.bed": "no such file",
        "binary": "binary",
        "utf16": "binary",
        "mac.bed": "carriage returns within lines",
        "mac.csv": "carriage returns within lines",
        "cut.gz": "damaged",
        write(tmp_path, "empty.bed").name: "is empty",
        write(tmp_path, "blank.bed", "", " ").name: "is empty",
        write(tmp_path, "comments.bed", "#a", "track x").name: "only blank or comment lines",
        write(tmp_path, "prose.txt", "Dear reader,", "hello").name: "not a region file.*line 1.*Dear reader",
        write(
            tmp_path, "a.vcf", "##v", "chr1\t5\trs1\tA\tC\t.\t.\t.\tGT\t0/1"
        ).name: "not a region file.*line 2",
        write(tmp_path, "a.fa", ">chr1", "ACGT").name: "not a region file",
    }
    for name, fault in cases.items():
        with pytest.raises(ChromTransferError, match=fault) as caught:
            read_regions(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(ChromTransferError, match="is a folder"):
        read_regions(tmp_path)


def test_no_row_left_lists_the_reasons(tmp_path, genome):
    path = write(tmp_path, "a.bed", "chr2\t0\t600", "chr1\t0\t2", "chr2\t100\t700")
    with pytest.raises(ChromTransferError, match="no usable row is left") as caught:
        read_regions(path, genome)
    assert "2 x window holds nothing but N, first at line 1" in str(caught.value)
    assert "1 x window reaches off the contig, first at line 2" in str(caught.value)


def test_other_contig_naming_is_an_error_with_the_fix(tmp_path, genome):
    path = write(tmp_path, "a.bed", "1\t1000\t1600", "2\t1000\t1600")
    with pytest.raises(ChromTransferError, match=r"file says `1`, the genome says `chr1`.*sed 's/\^/chr/'"):
        read_regions(path, genome)


def test_bad_options(tmp_path):
    path = write(tmp_path, "a.bed", "chr1\t1\t2")
    for options, fault in [
        ({"width": 0}, "width is 0"),
        ({"width": 600.5}, "width is 600.5"),
        ({"width": True}, "width is True"),
        ({"label_column": -1}, "label_column is -1"),
        ({"label_column": 4.0}, "label_column is 4.0"),
        ({"label_column": True}, "label_column is True"),
        ({"center": "left"}, "center is 'left'"),
        ({"format": "gff"}, "format is 'gff'"),
    ]:
        with pytest.raises(ChromTransferError, match=fault):
            read_regions(path, **options)
