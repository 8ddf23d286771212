from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from genome_helpers import real_data_folder
from genome_helpers import write_lines as write

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.regions import (
    labelled,
    parse_region,
    read_regions,
    region_ids,
    write_bed,
    write_csv,
)

COLUMNS = ["chrom", "start", "end", "name", "score", "strand", "label", "source_line"]


def windows(path: Path, **options) -> list[tuple[str, int, int]]:
    table = read_regions(path, **options).table
    return list(zip(table["chrom"], table["start"], table["end"], strict=True))


def test_bed_columns_land_where_they_belong(tmp_path):
    path = write(
        tmp_path,
        "a.bed",
        "# comment",
        "track name=x",
        "browser position chr1",
        "",
        "chr1\t1000\t1400\tK562\t12.5\t-\t7\t8",
        "   ",
        "chr2\t0\t601\t.\t.\t+",
    )
    regions = read_regions(path, width=600)
    assert list(regions.table.columns) == COLUMNS
    assert regions.table.dtypes.astype(str).tolist() == [
        "str",
        "int64",
        "int64",
        "str",
        "float64",
        "str",
        "str",
        "int64",
    ]
    first, second = regions.table.to_dict("records")
    assert first == {
        "chrom": "chr1", "start": 900, "end": 1500, "name": "K562", "score": 12.5, "strand": "-",
        "label": "K562", "source_line": 5,
    }  # fmt: skip
    assert np.isnan(second.pop("score"))
    assert second == {
        "chrom": "chr2", "start": 0, "end": 600, "name": ".", "strand": "+", "label": "", "source_line": 7,
    }  # fmt: skip
    report = regions.report
    assert (report.format, report.n_read, report.n_kept, report.n_resized) == ("bed", 2, 2, 2)
    assert report.dropped == []


@pytest.mark.parametrize(
    ("start", "end", "width", "expected"),
    [
        (1000, 1600, 600, (1000, 1600)),
        (1000, 1601, 600, (1000, 1600)),  # the midpoint is rounded down
        (1001, 1600, 600, (1000, 1600)),
        (1000, 1001, 600, (700, 1300)),
        (1000, 1003, 5, (999, 1004)),  # an odd width reaches one further to the right
        (1000, 1003, 1, (1001, 1002)),
        (1000, 1003, None, (1000, 1003)),
    ],
)
def test_resizing_by_hand(tmp_path, start, end, width, expected):
    path = write(tmp_path, "a.bed", f"chr1\t{start}\t{end}")
    regions = read_regions(path, width=width)
    assert (regions.table["start"][0], regions.table["end"][0]) == expected
    assert regions.report.n_resized == (expected != (start, end))


def test_resizing_to_the_own_width_changes_nothing_and_shifting_commutes(tmp_path):
    rng = np.random.default_rng(0)
    starts, lengths = rng.integers(5_000, 90_000, 200), rng.integers(1, 3_000, 200)
    rows = [f"chr1\t{start}\t{start + length}" for start, length in zip(starts, lengths, strict=True)]
    moved = [
        f"chr1\t{start + 37 * 2}\t{start + length + 37 * 2}"
        for start, length in zip(starts, lengths, strict=True)
    ]
    once = read_regions(write(tmp_path, "a.bed", *rows)).table
    write_bed(once, tmp_path / "again.bed")
    pd.testing.assert_frame_equal(
        read_regions(tmp_path / "again.bed").table[["start", "end"]], once[["start", "end"]]
    )
    shifted = read_regions(write(tmp_path, "b.bed", *moved)).table
    np.testing.assert_array_equal(shifted["start"] - once["start"], 74)
    assert ((once["end"] - once["start"]) == 600).all()


PEAK = "chr1\t{start}\t{end}\tpeak{n}\t5\t.\t7.5\t-1\t2e-3\t{summit}"


def test_narrow_peak_centres_on_the_summit_else_the_midpoint(tmp_path):
    rows = [
        PEAK.format(start=1000, end=2000, n=1, summit=100),
        PEAK.format(start=1000, end=2000, n=2, summit=-1),
        PEAK.format(start=1000, end=2000, n=3, summit=999),
        PEAK.format(start=1000, end=2000, n=4, summit=1000),
        PEAK.format(start=1000, end=2000, n=5, summit=-2),
    ]
    for name in ("a.narrowPeak", "a.bed"):  # by name, and by what the columns hold
        regions = read_regions(write(tmp_path, name, *rows))
        assert regions.report.format == "narrowPeak"
        assert regions.table["start"].tolist() == [800, 1200, 1699]
        assert regions.table["end"].tolist() == [1400, 1800, 2299]
        assert regions.table["label"].tolist() == ["peak1", "peak2", "peak3"]
        assert [(line, reason) for line, _, reason in regions.report.dropped] == [
            (4, "summit is not inside the peak"),
            (5, "summit is not inside the peak"),
        ]
    path = tmp_path / "a.narrowPeak"
    assert read_regions(path, center="midpoint").table["start"].tolist() == [1200] * 5
    strict = read_regions(path, center="summit")
    assert strict.table["source_line"].tolist() == [1, 3]
    assert strict.report.dropped[0][2] == "no summit given (-1)"
    assert windows(path, width=None) == [("chr1", 1000, 2000)] * 5
    assert read_regions(path, format="bed").table["start"].tolist() == [1200] * 5


def test_ten_columns_that_are_not_a_peak_stay_bed(tmp_path):
    path = write(tmp_path, "a.bed", "chr1\t1000\t2000\tx\t0\t+\t1000\t2000\t255,0,0\t1")
    assert read_regions(path).report.format == "bed"


def test_summit_needs_peaks(tmp_path):
    with pytest.raises(ChromTransferError, match="center='summit' needs a narrowPeak"):
        read_regions(write(tmp_path, "a.bed", "chr1\t1\t2"), center="summit")


def test_the_papers_csv(tmp_path):
    path = write(
        tmp_path, "a.csv", "chr1:1000-1600,K562", "chr2:400-1000,K562_NEG,extra", "HLA:A*01:300-900,Negative"
    )
    regions = read_regions(path)
    assert regions.report.format == "csv"
    assert windows(path) == [("chr1", 1000, 1600), ("chr2", 400, 1000), ("HLA:A*01", 300, 900)]
    assert regions.table["label"].tolist() == ["K562", "K562_NEG", "Negative"]
    assert regions.table["name"].tolist() == ["chr1:1000-1600", "chr2:400-1000", "HLA:A*01:300-900"]
    assert regions.report.n_resized == 0


def test_regions_without_labels_are_read_for_prediction(tmp_path):
    assert read_regions(write(tmp_path, "a.txt", "chr1:1000-1600")).table["label"].tolist() == [""]


@pytest.mark.parametrize("packing", ["plain", "gzip", "bgzip", "crlf", "bom", "spaces", "no last newline"])
def test_the_same_rows_however_packed(tmp_path, packing):
    text = "#c\nchr1\t1000\t1600\tA\nchr2\t1000\t1600\tB\n"
    path = tmp_path / "a.bed"
    if packing == "gzip":
        path = tmp_path / "a.bed.gz"
        path.write_bytes(gzip.compress(text.encode()))
    elif packing == "bgzip":
        path.write_text(text)
        pysam.tabix_compress(str(path), str(path) + ".gz")
        path = tmp_path / "a.bed.gz"
    else:
        changed = {
            "plain": text,
            "crlf": text.replace("\n", "\r\n"),
            "bom": "\ufeff" + text,
            "spaces": " " + text.replace("\t", "  ").replace("#c\n", "#c\n "),
            "no last newline": text[:-1],
        }
        path.write_bytes(changed[packing].encode())
    regions = read_regions(path)
    assert regions.report.dropped == []
    table = regions.table
    assert table["chrom"].tolist() == ["chr1", "chr2"]
    assert table["start"].tolist() == [1000, 1000]
    assert table["label"].tolist() == ["A", "B"]
    assert table["source_line"].tolist() == [2, 3]


def test_label_column_rules(tmp_path):
    bed = write(tmp_path, "a.bed", "chr1\t1\t601\tname\t0\t+\tcell", "chr1\t1\t601\tname\t0\t+")
    assert read_regions(bed).table["label"].tolist() == ["name", "name"]
    assert read_regions(bed, label_column=0).table["label"].tolist() == ["", ""]
    seventh = read_regions(bed, label_column=7)
    assert seventh.table["label"].tolist() == ["cell"]
    assert seventh.report.dropped == [(2, "chr1\t1\t601\tname\t0\t+", "too few columns")]
    csv = write(tmp_path, "a.csv", "chr1:1-601,K562,0.5,other")
    assert read_regions(csv, label_column=4).table["label"].tolist() == ["other"]


def test_labelled(tmp_path):
    regions = read_regions(write(tmp_path, "a.csv", "c:1-601,A", "c:1-601,A_NEG", "c:1-601,B", "c:1-601,A"))
    targets = labelled(regions, "A")
    assert targets.dtype == np.float32
    assert targets.tolist() == [1, 0, 0, 1]
    assert labelled(regions, ["A", "B"]).tolist() == [1, 0, 1, 1]
    with pytest.raises(ChromTransferError, match=r"no region has the label 'C'.*A 2, A_NEG 1, B 1"):
        labelled(regions, ["A", "C"])


def test_a_region_without_a_label_is_not_taken_for_a_negative(tmp_path):
    regions = read_regions(write(tmp_path, "a.bed", "c\t1\t601\tA", "c\t1\t601\t.", "c\t1\t601"))
    with pytest.raises(ChromTransferError, match="2 regions have no label, the first at line 2"):
        labelled(regions, "A")


def test_parse_region():
    assert parse_region("chr1:100-700") == ("chr1", 100, 700)
    assert parse_region(" HLA:A:0-1 ") == ("HLA:A", 0, 1)
    for bad in ("chr1", "chr1:5", "chr1:700-100", "chr1:5-5", "chr1:1,000-2,000", "chr1:-5-10", ":1-2", ""):
        with pytest.raises(ChromTransferError, match="expected chrom:start-end"):
            parse_region(bad)


@pytest.mark.parametrize("name", ["a.bed", "a.bed.gz"])
def test_bed_round_trip(tmp_path, name):
    rows = ["chr2\t1000\t1600\tA\t3\t-", "chr1\t5\t605\tB\t0.25\t."]
    regions = read_regions(write(tmp_path, "in.bed", *rows))
    write_bed(regions.table, tmp_path / name)
    text = (tmp_path / name).read_bytes()
    text = gzip.decompress(text) if name.endswith("gz") else text
    assert text.decode() == "\n".join(rows) + "\n"
    pd.testing.assert_frame_equal(read_regions(tmp_path / name).table, regions.table)
    first = (tmp_path / name).read_bytes()
    write_bed(regions.table, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def test_bed_of_three_columns_and_of_missing_values(tmp_path):
    table = pd.DataFrame({"chrom": ["chr1"], "start": [1], "end": [2]})
    write_bed(table, tmp_path / "3.bed")
    assert (tmp_path / "3.bed").read_text() == "chr1\t1\t2\n"
    write_bed(table.assign(name=""), tmp_path / "6.bed")
    assert (tmp_path / "6.bed").read_text() == "chr1\t1\t2\t.\t0\t.\n"


def test_csv_round_trip(tmp_path):
    rows = ["chr2:1000-1600,A", "chr1:5-605,B_NEG"]
    regions = read_regions(write(tmp_path, "in.csv", *rows))
    assert region_ids(regions.table).tolist() == ["chr2:1000-1600", "chr1:5-605"]
    write_csv(regions.table, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "\n".join(rows) + "\n"
    with pytest.raises(ChromTransferError, match="'a,b' holds a comma"):
        write_csv(regions.table.assign(label="a,b"), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "\n".join(rows) + "\n"
    with pytest.raises(ChromTransferError, match="does not exist"):
        write_csv(regions.table, tmp_path / "absent" / "out.csv")


@pytest.mark.real_data
def test_every_real_row_is_a_600_bp_window_with_bases(tmp_path):
    folder = real_data_folder()
    genome = Genome(folder / "hg38_partial.fa.gz", tmp_path)
    positives = {"A549": 438, "GM12878": 1640, "HCT116": 619, "HEPG2": 1336, "K562": 2252, "MCF7": 1133}
    rows = {"A549": 1912, "GM12878": 3367, "HCT116": 1835, "HEPG2": 2267, "K562": 3682, "MCF7": 3809}
    for line, count in positives.items():
        for split in ("train", "test"):
            regions = read_regions(folder / "regions" / split / f"{line}.csv", genome, strict=True)
            table = regions.table
            assert regions.report.dropped == []
            assert regions.report.n_resized == 0
            assert ((table["end"] - table["start"]) == 600).all()
            assert table["chrom"].isin(["chr2", "chr3"]).all() == (split == "test")
            assert not (genome.extract(table["chrom"], table["start"], 600) == 4).any()
            if split == "train":
                assert len(regions) == rows[line]
                assert labelled(regions, line).sum() == count
