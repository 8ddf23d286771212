"""Motif sites against plain Python: every word's score, exact P-values, places by hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from motif_cases import random_motifs, site_motif, windows

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.motifs import track
from chromtransfer_plugin.motifs.hits import scan_hits, score_hits
from chromtransfer_plugin.motifs.track import read_jaspar_bigbed
from chromtransfer_plugin.onehot import encode, one_hot, reverse_complement_codes

BIN, PSEUDOCOUNT = 0.01, 1e-4


def table(codes: np.ndarray, start: int = 1000, step: int = 10_000) -> pd.DataFrame:
    starts = start + step * np.arange(len(codes))
    return pd.DataFrame({"chrom": "chr7", "start": starts, "end": starts + codes.shape[1]})


def whole_bins(matrix: np.ndarray) -> list[list[int]]:
    return [[round(math.log2((p + PSEUDOCOUNT) / 0.25) / BIN) for p in row] for row in matrix.tolist()]


def tail(rows: list[list[int]]) -> dict[int, float]:
    """P of at least each score, by adding one base after another to all words so far."""
    ways = {0: 1}
    for row in rows:
        more: dict[int, int] = {}
        for score, count in ways.items():
            for value in row:
                more[score + value] = more.get(score + value, 0) + count
        ways = more
    above, result = 0, {}
    for score in sorted(ways, reverse=True):
        above += ways[score]
        result[score] = above / 4 ** len(rows)
    return result


def brute_force(codes: np.ndarray, motifs: dict[str, np.ndarray], threshold: float) -> dict:
    """(region, start, end, motif) -> (strand, score, P) of every site, the better strand of two."""
    found: dict = {}
    for name, matrix in motifs.items():
        p_values = tail(whole_bins(matrix))
        for strand, oriented in (("+", matrix), ("-", matrix[::-1, ::-1])):
            rows = whole_bins(oriented)
            for region, letters in enumerate(codes.tolist()):
                for start in range(len(letters) - len(rows) + 1):
                    score = sum(
                        row[letter] if letter < 4 else min(row)
                        for row, letter in zip(rows, letters[start:], strict=False)
                    )
                    key = (
                        region,
                        1000 + 10_000 * region + start,
                        1000 + 10_000 * region + start + len(rows),
                        name,
                    )
                    if p_values[score] <= threshold and (key not in found or score > found[key][1]):
                        found[key] = (strand, score, p_values[score])
    return found


@pytest.mark.parametrize("threshold", [1e-5, 1e-3, 0.3])
@pytest.mark.filterwarnings("ignore::chromtransfer_plugin.friendly.ChromTransferWarning")
def test_hits_are_those_of_a_scan_by_hand(threshold):
    motifs = random_motifs() | site_motif()
    codes = windows(30, 80)
    for region in range(0, 30, 2):  # good words of each motif, on either strand
        matrix = list(motifs.values())[region // 2 % len(motifs)]
        word = matrix.argmax(axis=1).astype(np.uint8)
        codes[region, 20 : 20 + len(word)] = word if region % 4 else reverse_complement_codes(word)
    hits = scan_hits(table(codes), codes, motifs, threshold=threshold, batch_size=17)
    expected = brute_force(codes, motifs, threshold)
    assert len(expected) >= 12
    keys = list(zip(hits["region"], hits["start"], hits["end"], hits["motif"], strict=True))
    assert set(keys) == set(expected)
    assert len(keys) == len(expected)
    for key, strand, score, p in zip(keys, hits["strand"], hits["score"], hits["p_value"], strict=True):
        assert strand == expected[key][0]
        assert score == pytest.approx(expected[key][1] * BIN, abs=1e-9)
        assert p == pytest.approx(expected[key][2], rel=1e-9)
    assert (hits["chrom"] == "chr7").all()
    assert keys == sorted(keys, key=lambda key: (key[0], key[1], list(motifs).index(key[3])))


def test_p_is_the_share_of_all_words():
    """No dynamic programme: all 4,096 words of six letters, one per window."""
    matrix = random_motifs()["a"]
    rows = whole_bins(matrix)
    words = np.array(list(product(range(4), repeat=6)), dtype=np.uint8)
    scores = np.array([sum(row[letter] for row, letter in zip(rows, word, strict=True)) for word in words])
    share = (scores[None] >= scores[:, None]).mean(axis=1)
    threshold = np.sort(share)[400]
    hits = scan_hits(table(words), words, {"a": matrix}, threshold=threshold)
    plus = hits[hits["strand"] == "+"]
    np.testing.assert_allclose(plus["p_value"], share[plus["region"]], rtol=1e-9)
    assert set(np.flatnonzero(share <= threshold)) - set(hits["region"]) == set()  # P = threshold is a hit


def test_the_better_strand_of_a_near_palindrome_is_kept():
    matrix = site_motif("TGACGTCA")["site"]  # reads the same from both strands
    matrix[-1] = [0.55, 0.01, 0.01, 0.43]  # but a last T is welcome too
    codes = np.stack([encode(f"CCC{word}CCC") for word in ("TGACGTCT", "AGACGTCA", "TGACGTCA")])
    hits = scan_hits(table(codes), codes, {"m": matrix}, threshold=1e-3)
    assert hits["region"].tolist() == [0, 1, 2]
    assert (hits["start"] - 10_000 * hits["region"]).tolist() == [1003, 1003, 1003]
    assert hits["strand"].tolist() == ["+", "-", "+"]
    assert hits["score"].iloc[0] == hits["score"].iloc[1] < hits["score"].iloc[2]


def test_motifs_that_cannot_be_found_are_named():
    codes = windows(3, 40)
    codes[0, :8] = encode("TGACGTCA")
    with pytest.warns(ChromTransferWarning, match=r"1 of 2 motifs .* P <= 1e-05.*: eight\."):
        hits = scan_hits(table(codes), codes, {"eight": site_motif("TGACGTCA")["site"], **site_motif()})
    assert not (hits["motif"] == "eight").any()  # 4 ** -8 = 1.5e-5
    hits = scan_hits(table(codes), codes, {"eight": site_motif("TGACGTCA")["site"]}, threshold=4**-8)
    assert hits[["region", "start", "p_value"]].to_numpy().tolist() == [
        [0, 1000, 4**-8]
    ]  # P = threshold is enough


def test_nothing_found_and_nothing_to_search():
    for n, length in ((3, 9), (0, 60)):
        codes = np.zeros((n, length), np.uint8)
        hits = scan_hits(table(codes), codes, site_motif())
        assert list(hits) == ["region", "chrom", "start", "end", "strand", "motif", "score", "p_value"]
        assert len(hits) == 0
        assert hits["start"].dtype == np.int64


def test_batches_make_no_difference():
    codes = windows(30, 60)
    motifs = {name: matrix for name, matrix in random_motifs().items() if len(matrix) > 9}
    one, all_ = (scan_hits(table(codes), codes, motifs, 1e-3, batch_size=size) for size in (1, 100))
    assert len(one) > 5
    pd.testing.assert_frame_equal(one, all_)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.0}, "expected a P-value above 0"),
        ({"threshold": float("nan")}, "expected a P-value above 0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"motifs": {}}, "there are none to scan with"),
        ({"motifs": {"x": np.full((4, 9), 0.25)}}, r"motif 'x': shape \(4, 9\)"),
        ({"motifs": {"x": np.full((9, 4), 3)}}, "motif 'x': expected probabilities"),
        ({"motifs": {"x": np.full((9, 4), np.nan)}}, "motif 'x': expected probabilities"),
        ({"windows": pd.DataFrame({"chrom": ["c"], "start": [1]})}, "no column end"),
        (
            {"windows": pd.DataFrame({"chrom": ["c"], "start": [1], "end": [9]})},
            "1 rows, but an array of shape",
        ),
        (
            {"windows": pd.DataFrame({"chrom": "c", "start": [1, 1], "end": [21, 20]})},
            "row 1 .c:1-20. is 19 bp",
        ),
    ],
)
def test_bad_arguments_of_a_scan(change, message):
    codes = windows(2, 20)
    given = {"windows": table(codes), "codes": codes, "motifs": site_motif()} | change
    with pytest.raises(ChromTransferError, match=message):
        scan_hits(**given)


def hit(region: int, start: int, end: int, chrom: str = "chr7") -> dict:
    return {"region": region, "chrom": chrom, "start": start, "end": end, "motif": "m"}


def test_scores_of_the_bases_of_a_hit():
    regions = pd.DataFrame({"chrom": "chr7", "start": [100, 103], "end": [106, 109]})
    scores = np.array([[0, 1, 5, -2, 3, 9], [7, 8, np.nan, 2, 1, -4]], dtype=np.float32)
    hits = pd.DataFrame(
        [hit(0, 101, 104), hit(1, 107, 109), hit(0, 100, 106), hit(1, 104, 106), hit(1, 103, 105)]
    )
    high = score_hits(hits, regions, scores, "K562")
    np.testing.assert_allclose(high["score.K562.max"], [5, 1, 9, np.nan, 8])
    np.testing.assert_allclose(high["score.K562.mean"], [4 / 3, -1.5, 16 / 6, np.nan, 7.5])
    both = score_hits(high, regions, -scores, "ism", how="min")
    np.testing.assert_allclose(both["score.ism.min"], -both["score.K562.max"])
    pd.testing.assert_frame_equal(both[hits.columns.tolist()], hits)


def test_the_shift_of_the_original_is_the_hit_one_base_later():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20, 40))
    regions = table(scores)
    region, first = rng.integers(0, 20, 300), rng.integers(0, 31, 300)
    starts = regions["start"].to_numpy()[region] + first
    hits = pd.DataFrame(
        {"region": region, "chrom": "chr7", "start": starts, "end": starts + 10, "motif": "m"}
    )
    shifted = score_hits(hits, regions, scores, "x", off_by_one=True)
    fits = first < 30
    assert 0 < (~fits).sum() < 50
    later = hits[fits].assign(start=hits["start"] + 1, end=hits["end"] + 1)
    columns = ["score.x.max", "score.x.mean"]
    np.testing.assert_array_equal(shifted[fits][columns], score_hits(later, regions, scores, "x")[columns])
    assert shifted[~fits][columns].isna().all().all()


@pytest.mark.parametrize(
    ("row", "how", "message"),
    [
        (hit(0, 99, 103), "max", "chr7:99-103 does not lie in its region .number 0."),
        (hit(0, 103, 107), "max", "chr7:103-107 does not lie"),
        (hit(0, 101, 103, "chr8"), "max", "chr8:101-103 does not lie"),
        (hit(1, 101, 103), "max", "not among the 1 regions"),
        (hit(0, 101, 103), "mean", "how='mean'"),
    ],
)
def test_hits_of_other_regions_are_refused(row, how, message):
    regions = pd.DataFrame({"chrom": ["chr7"], "start": [100], "end": [106]})
    with pytest.raises(ChromTransferError, match=message):
        score_hits(pd.DataFrame([row]), regions, np.zeros((1, 6)), "x", how=how)


def bigbed(path: Path) -> Path:
    import pybigtools

    rows = [
        ("chr1", 90, 101, "MA1.1\t900\t+\tCEBPA"),  # begins before the region
        ("chr1", 100, 108, "MA1.1\t500\t-\tCEBPA"),
        ("chr1", 100, 108, "MA1.1\t620\t+\tCEBPA"),  # the same place: the better one
        ("chr1", 100, 108, "MA2.1\t510\t-\tGATA1"),
        ("chr1", 104, 112, "MA2.1\t499\t+\tGATA1"),  # too weak
        ("chr1", 192, 200, "MA2.1\t1000\t+\tGATA1"),
        ("chr1", 193, 201, "MA2.1\t700\t+\tGATA1"),  # ends after the first region
        ("chr2", 5, 15, "MA1.1\t800\t+\tCEBPA"),
    ]
    pybigtools.open(str(path), "w").write({"chr1": 1000, "chr2": 50}, rows)
    return path


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_jaspar_track(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(track, "_READ_BATCH", batch)
    regions = pd.DataFrame({"chrom": ["chr2", "chr1", "chr1"], "start": [0, 100, 190], "end": [50, 200, 290]})
    hits = read_jaspar_bigbed(bigbed(tmp_path / "x.bb"), regions)
    assert hits.to_numpy().tolist() == [
        [0, "chr2", 5, 15, "+", "MA1.1", 800.0, 1e-8],
        [1, "chr1", 100, 108, "+", "MA1.1", 620.0, pytest.approx(10**-6.2)],
        [1, "chr1", 100, 108, "-", "MA2.1", 510.0, pytest.approx(10**-5.1)],
        [1, "chr1", 192, 200, "+", "MA2.1", 1000.0, pytest.approx(1e-10)],
        [2, "chr1", 192, 200, "+", "MA2.1", 1000.0, pytest.approx(1e-10)],
        [2, "chr1", 193, 201, "+", "MA2.1", 700.0, pytest.approx(1e-7)],
    ]
    assert len(read_jaspar_bigbed(tmp_path / "x.bb", regions, min_score=450)) == 7
    assert len(read_jaspar_bigbed(tmp_path / "x.bb", regions, min_score=510)) == 6
    assert len(read_jaspar_bigbed(tmp_path / "x.bb", regions, min_score=511)) == 5
    assert len(read_jaspar_bigbed(tmp_path / "x.bb", regions[:0])) == 0


def test_the_field_that_names_the_motif(tmp_path, monkeypatch):
    """A writer of bigBed describes three fields only, JASPAR's file all of them."""
    import pybigtools

    sql = 'table x\n"y"\n(\n string chrom; "c"\n uint chromStart; ""\n uint chromEnd; ""\n string name; ""\n'
    sql += ' uint score; ""\n char[1] strand; ""\n string TFName; "name; of the factor"\n)'

    class Described:
        def __init__(self, path):
            self.inner = opened(path)

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def __enter__(self):
            return self

        def __exit__(self, *rest):
            pass

        def sql(self):
            return sql

    path = bigbed(tmp_path / "x.bb")
    opened = pybigtools.open
    monkeypatch.setattr(pybigtools, "open", Described)
    regions = pd.DataFrame({"chrom": ["chr1"], "start": [100], "end": [200]})
    assert list(read_jaspar_bigbed(path, regions, motif_field="TFName")["motif"]) == [
        "CEBPA",
        "GATA1",
        "GATA1",
    ]
    with pytest.raises(ChromTransferError, match="no field 'factor', only name, score, strand, TFName"):
        read_jaspar_bigbed(path, regions, motif_field="factor")


def test_bad_tracks(tmp_path):
    import pybigtools

    regions = pd.DataFrame({"chrom": ["chr1"], "start": [100], "end": [200]})
    path = bigbed(tmp_path / "x.bb")
    with pytest.raises(ChromTransferError, match="no such file"):
        read_jaspar_bigbed(tmp_path / "none.bb", regions)
    (tmp_path / "text.bb").write_text("chr1\t1\t2\n")
    with pytest.raises(ChromTransferError, match=r"text\.bb: not readable as bigBed"):
        read_jaspar_bigbed(tmp_path / "text.bb", regions)
    pybigtools.open(str(tmp_path / "x.bw"), "w").write({"chr1": 1000}, [("chr1", 1, 2, 3.0)])
    with pytest.raises(ChromTransferError, match="is a bigWig"):
        read_jaspar_bigbed(tmp_path / "x.bw", regions)
    with pytest.raises(
        ChromTransferError, match=r"1 regions lie outside, first 1:100-200: 1 is not among its contigs"
    ):
        read_jaspar_bigbed(path, regions.assign(chrom="1"))
    with pytest.raises(
        ChromTransferError, match=r"its chr1 has 1000 bp, but that of .* 999: .* another assembly"
    ):
        read_jaspar_bigbed(path, regions, contigs={"chr1": 999, "chr7": 5})
    with pytest.raises(ChromTransferError, match=r"chr1:100-1001: chr1 ends at 1000"):
        read_jaspar_bigbed(path, regions.assign(end=1001))
    pybigtools.open(str(tmp_path / "short.bb"), "w").write({"chr1": 1000}, [("chr1", 120, 130, "MA1.1")])
    with pytest.raises(ChromTransferError, match=r"chr1:100-200 has no field name, score"):
        read_jaspar_bigbed(tmp_path / "short.bb", regions)


def test_a_damaged_block_of_a_track(tmp_path):
    """The library panics, which Python does not count as an Exception."""
    path = bigbed(tmp_path / "x.bb")
    content = bytearray(path.read_bytes())
    data = int.from_bytes(content[16:24], "little") + 8  # where the first block begins
    content[data : data + 12] = b"\xff" * 12
    path.write_bytes(content)
    regions = pd.DataFrame({"chrom": ["chr1"], "start": [100], "end": [200]})
    with pytest.raises(ChromTransferError, match=r"x\.bb: cannot be read at chr1:100-200"):
        read_jaspar_bigbed(path, regions)


def test_what_memelite_does_by_itself():
    """The statements of docs/motifs.md, so that another version of memelite is noticed."""
    from memelite import fimo

    motif = site_motif("TGACGTCATT")  # 0.97 and 0.01
    codes = np.stack([encode(f"CC{word}CCC") for word in ("TGACGTCATT", "AATGACGTCA", "TGANGTCATT")])
    found = fimo({"site": motif["site"].T}, one_hot(codes, dtype=np.int8), threshold=1e-4)[0]
    assert found[["sequence_name", "start", "end", "strand"]].to_numpy().tolist() == [
        [0, 2, 12, "+"],
        [2, 2, 12, "+"],
        [1, 2, 12, "-"],  # the same coordinates on either strand
    ]
    letter = math.log2((0.97 + PSEUDOCOUNT) / 0.25)
    np.testing.assert_allclose(
        found["score"], [10 * letter, 9 * letter, 10 * letter]
    )  # not rounded; N adds 0
    blurred = np.where(
        motif["site"] > 0.5, 0.835, 0.055
    )  # 1.74 bits a letter, rounded to 1.7: 17.4 and 17.0 in all
    found = fimo({"site": blurred.T}, one_hot(codes, dtype=np.int8), threshold=1e-12)[0]
    assert found["p-value"].tolist() == [0, 0]  # a sum above the largest rounded one passes any threshold
    ours = scan_hits(table(codes), codes, {"site": blurred}, 1e-4)
    assert ours["p_value"].tolist()[:2] == [4**-10, 4**-10]


def test_a_scan_leaves_torchs_number_of_threads_alone():
    code = (
        "import numpy as np, pandas as pd, torch\n"
        "from chromtransfer_plugin.motifs.hits import scan_hits\n"
        "windows = pd.DataFrame({'chrom': ['c'], 'start': [0], 'end': [50]})\n"
        "motif = np.full((8, 4), 0.01) + np.eye(4)[[0] * 8] * 0.96\n"
        "hits = scan_hits(windows, np.zeros((1, 50), np.uint8), {'a': motif}, 1e-3)\n"
        "print(len(hits), torch.get_num_threads())"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["43", "1"]
