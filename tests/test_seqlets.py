"""Seqlets by place and sign."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from discover_cases import LENGTH, START, STEP, write_codes

from chromtransfer_plugin.attribution.store import AttributionStore, Piece, write_store
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.seqlets import SEQLET_COLUMNS, annotate_seqlets, find_seqlets


@pytest.fixture(scope="module")
def signals():
    """Codes and scores of 40 windows with a stretch of ten high bases in each, and of ten low ones in every other."""
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (40, LENGTH)).astype(np.uint8)
    scores = rng.normal(0, 0.01, (40, 1, LENGTH)).astype(np.float32)
    for row in range(40):
        scores[row, 0, 50 + row : 60 + row] += 1
        if row % 2:
            scores[row, 0, 150:160] -= 0.5
    return codes, scores


def expected(found: pd.DataFrame) -> None:
    strong = found[found["attribution"].abs() > 2]
    high, low = strong[strong["attribution"] > 0], strong[strong["attribution"] < 0]
    rows = np.arange(40)
    assert high["region"].tolist() == rows.tolist()
    assert low["region"].tolist() == rows[1::2].tolist()
    # every four bases of a seqlet stand out, and so do one high base and three of the noise beside it
    assert abs(high["start"] - (START + STEP * rows + 50 + rows)).max() <= 3
    assert abs(high["end"] - (START + STEP * rows + 60 + rows)).max() <= 3
    assert abs(low["start"] - (START + STEP * rows[1::2] + 150)).max() <= 3
    np.testing.assert_allclose(high["attribution"], 10, atol=0.3)
    np.testing.assert_allclose(low["attribution"], -5, atol=0.3)


def test_both_signs_at_their_places(tmp_path, signals):
    with write_codes(tmp_path / "s", *signals) as store:
        found = find_seqlets(store, "m")
    assert tuple(found.columns) == SEQLET_COLUMNS
    assert set(found["strand"]) == {"."}
    assert set(found["chrom"]) == {"chr1"}
    assert (found["p_value"] < 0.01).all()
    expected(found)


def test_mutagenesis_scores_are_of_opposite_sign(tmp_path, signals):
    codes, scores = signals
    with write_codes(tmp_path / "s", codes, -scores, method="ism") as store:
        expected(find_seqlets(store, "m"))


def test_blocks_keep_places(tmp_path, signals):
    with write_codes(tmp_path / "s", *signals) as store:
        expected(find_seqlets(store, "m", block=7))
        some = find_seqlets(store, "m", np.array([5, 3]))
    assert set(some["region"]) == {3, 5}


def test_of_two_signs_that_overlap_the_smaller_p_stays(tmp_path):
    scores = np.random.default_rng(2).normal(0, 0.01, (30, 1, LENGTH)).astype(np.float32)
    scores[:, 0, 100:104] += 0.3
    scores[:, 0, 104:120] -= 1
    with write_codes(tmp_path / "s", np.zeros((30, LENGTH), np.uint8), scores) as store:
        found = find_seqlets(store, "m")
    places = [(row.region, base) for row in found.itertuples() for base in range(row.start, row.end)]
    assert len(places) == len(set(places))
    assert (found["attribution"] < -14).sum() == 30


def test_nothing_stands_out_of_constant_scores(tmp_path):
    with write_codes(tmp_path / "s", np.zeros((3, 50), np.uint8), np.zeros((3, 1, 50), np.float32)) as store:
        found = find_seqlets(store, "m")
    assert len(found) == 0
    assert tuple(found.columns) == SEQLET_COLUMNS
    assert found["start"].dtype == np.int64


def test_a_sequence_without_a_place_counts_from_its_start(tmp_path, signals):
    codes, scores = signals
    facts = {"method": "ism", "objective": "logit", "models": [{"name": "m"}], "sets": [{"name": "s"}]}
    facts |= {"window": LENGTH, "hypothetical": False, "genome": None}
    names = [f"seq{i}" for i in range(40)]
    table = pd.DataFrame({"set": "s", "chrom": None, "start": None, "end": None, "name": names, "label": ""})
    write_store(tmp_path / "s", facts, table, [Piece(codes, -scores, None)])
    with AttributionStore(tmp_path / "s") as store:
        found = find_seqlets(store, "m")
    first = found[found["attribution"] > 2].iloc[0]
    assert first["chrom"] == "seq0"
    assert abs(first["start"] - 50) <= 2


def test_torch_keeps_its_threads(tmp_path, signals):
    before = torch.get_num_threads()
    with write_codes(tmp_path / "s", *signals) as store:
        find_seqlets(store, "m")
    assert torch.get_num_threads() == before


def test_nearest_motif(tmp_path, signals):
    codes, scores = (array.copy() for array in signals)
    word = "TGACTCAGCA"
    for row in range(40):
        site = np.array(["ACGT".index(letter) for letter in word])
        codes[row, 50 + row : 60 + row] = 3 - site[::-1] if row % 2 else site
    rng = np.random.default_rng(3)
    motifs = {f"other{i}": rng.dirichlet([0.3] * 4, 10) for i in range(30)}
    motifs["planted"] = np.eye(4)[["ACGT".index(letter) for letter in word]] * 0.96 + 0.01
    with write_codes(tmp_path / "s", codes, scores) as store:
        found = find_seqlets(store, "m")
        high = annotate_seqlets(found[found["attribution"] > 5], store, motifs, flank=0)
    assert set(high["motif"]) == {"planted"}
    assert high["motif_strand"].tolist() == ["+", "-"] * 20
    assert (high["motif_p"] < 1e-3).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "threshold=0"),
        ({"min_length": 9, "max_length": 5}, "min_length=9"),
        ({"block": 0}, "block=0"),
    ],
)
def test_unusable_options(tmp_path, signals, options, message):
    with write_codes(tmp_path / "s", *signals) as store:
        with pytest.raises(ChromTransferError, match=message):
            find_seqlets(store, "m", **options)
        with pytest.raises(ChromTransferError, match="has no model 'x', but m"):
            find_seqlets(store, "x")


def test_scores_that_are_not_finite(tmp_path, signals):
    codes, scores = signals
    broken = scores.copy()
    broken[7, 0, 3] = np.nan
    message = "row 7 has a score of 'm' that is not finite"
    with (
        write_codes(tmp_path / "s", codes, broken) as store,
        pytest.raises(ChromTransferError, match=message),
    ):
        find_seqlets(store, "m")
