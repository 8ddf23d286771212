from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin import leaks
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.leaks import LeakReport, find_leaks, write_leaks


def frame(*windows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(
        [(chrom, start, start + 600) for chrom, start in windows], columns=["chrom", "start", "end"]
    )


@pytest.fixture
def case() -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, np.ndarray]:
    """Test windows: identical, overlapping by half, elsewhere on the other strand, patched of two, new, all N."""
    train = frame(("chr2", 900), ("chr1", 1_000), ("chr1", 5_000), ("chr1", 9_000))
    test = frame(
        ("chr1", 1_000), ("chr1", 5_300), ("chr7", 0), ("chr7", 2_000), ("chr7", 4_000), ("chr1", 1_600)
    )
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 4, (n, 600), dtype=np.uint8) for n in (4, 6))
    a[:, 299:301] = [[0], [1], [2], [3]]  # patches do not go on by chance
    b[0] = a[1]
    b[1, :300] = a[2, 300:]
    b[2] = 3 - a[3][::-1]
    b[3, :300], b[3, 300:] = a[0, :300], a[3, 300:]
    b[5] = 4
    return train, test, a, b


def test_leaks_by_hand(case):
    report, table = find_leaks(*case)
    assert table["identical"].tolist() == [True, False, False, False, False, False]
    assert table["overlapping"].tolist() == [True, True, False, False, False, False]
    half = 277 / 577  # 300 bases have 277 of a window's 577 words
    np.testing.assert_allclose(table["share"], [1, half, 1, 2 * half, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(table["closest_share"], [1, half, 1, half, 0, 0], rtol=1e-6)
    expected = ["chr1:1000-1600", "chr1:5000-5600", "chr1:9000-9600", "chr1:9000-9600", ".", "."]
    assert table["closest"].tolist() == expected
    assert (report.n_train, report.n_test, report.n_identical, report.n_overlapping) == (4, 6, 1, 2)
    assert (report.n_leaking, report.n_leaking_one, report.n_leaking_elsewhere) == (3, 2, 2)
    assert report.shares[0] == 0
    assert report.shares[20] == 1
    assert report.worst[0] == ("chr1:1000-1600", 1.0, "chr1:1000-1600")
    assert [name for name, _, _ in report.worst] == [
        "chr1:1000-1600", "chr7:0-600", "chr7:2000-2600", "chr1:5300-5900"
    ]  # fmt: skip
    assert report.verdict() == (
        "LEAK: 1 of 6 test windows are training windows, 2 overlap one, 3 share 50% or more of their 24-base words "
        "with training (2 with one training window)."
    )


def test_order_of_windows_does_not_matter(case):
    train, test, a, b = case
    order, other = [2, 0, 3, 1], [5, 4, 2, 3, 1, 0]
    report, table = find_leaks(train.iloc[order], test.iloc[other], a[order], b[other])
    expected, rows = find_leaks(*case)
    assert report == expected
    pd.testing.assert_frame_equal(table, rows.iloc[other].reset_index(drop=True))


def test_parts_and_samples_give_the_same(case, monkeypatch):
    expected, rows = find_leaks(*case)
    monkeypatch.setattr(leaks, "_SLOTS", 500)
    monkeypatch.setattr("chromtransfer_plugin.homology._WORDS", 300)
    report, table = find_leaks(*case)
    assert report == expected
    pd.testing.assert_frame_equal(table, rows)


def test_places_only(case):
    train, test, _, _ = case
    report, table = find_leaks(train, test, None, None)
    assert (report.n_identical, report.n_overlapping, report.n_leaking, report.k) == (1, 2, 0, 0)
    assert table["closest"].tolist() == ["chr1:1000-1600", "chr1:5000-5600", ".", ".", ".", "."]
    assert table["share"].isna().all()
    assert "sequences were not compared" in report.verdict()
    assert find_leaks(train.iloc[[0]], test, None, None)[0].leaks is False


@pytest.mark.parametrize("seed", range(3))
def test_largest_overlap_as_defined(seed):
    rng = np.random.default_rng(seed)
    tables = []
    for n in (150, 80):
        start = rng.integers(0, 8_000, n)
        table = pd.DataFrame({"chrom": rng.choice(["a", "b", "c"], n), "start": start})
        tables.append(table.assign(end=start + rng.integers(1, 400, n)))
    train, test = tables[0][tables[0]["chrom"] != "c"], tables[1]
    _, table = find_leaks(train, test, None, None)
    for row in table.itertuples():
        same = train[train["chrom"] == row.chrom]
        overlap = np.minimum(same["end"], row.end) - np.maximum(same["start"], row.start)
        assert row.overlapping == bool((overlap > 0).any())
        if row.overlapping:
            best = same[overlap == overlap.max()]
            assert row.closest in [f"{r.chrom}:{r.start}-{r.end}" for r in best.itertuples()]
        else:
            assert row.closest == "."


def test_files(case, tmp_path):
    report, table = find_leaks(*case)
    write_leaks(report, table, tmp_path)
    assert LeakReport.model_validate_json((tmp_path / "leaks.json").read_text()) == report
    assert json.loads((tmp_path / "leaks.json").read_text())["n_leaking"] == 3
    lines = (tmp_path / "leaks.tsv").read_text().splitlines()
    assert lines[0].split("\t") == [
        "chrom", "start", "end", "identical", "overlapping", "share", "closest", "closest_share"
    ]  # fmt: skip
    assert lines[2].split("\t") == ["chr1", "5300", "5900", "no", "yes", "0.4801", "chr1:5000-5600", "0.4801"]
    one = (tmp_path / "leaks.tsv").read_bytes()
    write_leaks(*find_leaks(*case), tmp_path)
    assert (tmp_path / "leaks.tsv").read_bytes() == one


def test_refusals(case):
    train, test, a, b = case
    with pytest.raises(ChromTransferError, match="no test windows"):
        find_leaks(train, test.iloc[:0], a, b[:0])
    with pytest.raises(ChromTransferError, match="both sides, or of neither"):
        find_leaks(train, test, a, None)
    with pytest.raises(ChromTransferError, match="4 training windows have 3 sequences"):
        find_leaks(train, test, a[:3], b)
    with pytest.raises(ChromTransferError, match="k is 5"):
        find_leaks(train, test, a, b, k=5)
    bare = test.assign(chrom=test["chrom"].str.removeprefix("chr"))
    for sides in ((train, bare), (bare, train)):
        with pytest.raises(ChromTransferError, match=r"are called chr\d on one side and \d on the other"):
            find_leaks(*sides, None, None)
