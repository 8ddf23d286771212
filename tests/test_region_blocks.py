"""Region files read in blocks give what reading them at once gives."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin import text_blocks
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.region_text import Layout, parse_blocks, parse_rows, survey_rows

BED = [
    "# a comment",
    "track name=x",
    "chr1\t5\t10\tn\t3.5\t+",
    "",
    "chr2\t7",
    "chrÜ\t-1\tx",
    "chr3 1 2",
    "a\t1\t2",
]
PEAKS = ["chr1\t100\t900\tp\t0\t.\t1\t2\t3\t50", "#", "chr1\t100\t900\tp\t0\t.\t1\t2\t3\t-1", "chr2\t1\t2"]
CSV = ["chr1:5-10,A", "", "#x", "chr2:7-9", "chrX", "chr1:-5-3,B,C"]
BLANKS = ["chr1  5 10", "chr2 7  9 name"] * 5
LATE_TAB = ["chr1 5 10"] * 30 + ["chr1\t5\t10"]
CASES = {"a.bed": BED, "a.narrowPeak": PEAKS, "a.csv": CSV, "b.bed": BLANKS, "c.bed": LATE_TAB}


def as_table(rows) -> pd.DataFrame:
    fields = (
        "line",
        "enough_columns",
        "integers",
        "chrom",
        "start",
        "end",
        "summit",
        "name",
        "score",
        "strand",
        "label",
    )
    columns = {field: list(getattr(rows, field)) for field in fields}
    return pd.DataFrame({**columns, "text": rows.text(np.arange(len(rows.line)))})


@pytest.mark.parametrize("ending", ["\n", "\r\n", "no last"])
@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("size", [1, 13, 1 << 20])
@pytest.mark.parametrize("name", CASES)
def test_blocks_together_are_the_whole(tmp_path, monkeypatch, name, size, rows, ending):
    monkeypatch.setattr(text_blocks.text_blocks, "__defaults__", (size,))
    path = tmp_path / name
    end = "\n" if ending == "no last" else ending
    text = end.join(CASES[name]) + ("" if ending == "no last" else end)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    whole = parse_rows(path, "auto", None)
    layout, n = survey_rows(path, "auto")
    assert (layout.format, n) == (whole.format, len(whole.line))
    blocks = list(parse_blocks(path, layout, None, rows))
    assert max(len(block.line) for block in blocks) <= rows
    pd.testing.assert_frame_equal(
        pd.concat([as_table(block) for block in blocks], ignore_index=True), as_table(whole)
    )
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()[:20]) + gzip.compress(path.read_bytes()[20:]))
    assert survey_rows(packed, "auto") == (layout, n)


def test_one_tab_anywhere_makes_tabs_the_separator(tmp_path):
    path = tmp_path / "a.bed"
    path.write_text("\n".join(LATE_TAB))
    assert survey_rows(path, "auto") == (Layout("bed", True), 31)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"#\n", "holds no regions"),
        (b"chr1\t1\0", "binary"),
        (b"\xff\n", "binary"),
    ],
)
def test_blocks_refuse_what_whole_reading_refuses(tmp_path, content, message):
    path = tmp_path / "a.bed"
    path.write_bytes(content)
    refusals = []
    for read in (lambda: parse_rows(path, "auto", None), lambda: survey_rows(path, "auto")):
        with pytest.raises(ChromTransferError, match=message) as caught:
            read()
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(text_blocks, "_LONGEST_LINE", 1 << 20)
    path = tmp_path / "a.bed.gz"
    path.write_bytes(gzip.compress(b"chr1\t1\t2\n" + b"a" * (5 << 20)))
    with pytest.raises(
        ChromTransferError, match="a line of more than 1 MiB, which is no row of a region file"
    ):
        survey_rows(path, "auto")
