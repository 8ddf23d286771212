"""Names of patterns: orientation, offset, trimming, and what must not be named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.motifs import read_motifs
from chromtransfer_plugin.motifs.tomtom import (
    aligned_similarity,
    best_similarity,
    consensus,
    core,
    information,
    match_patterns,
)

HNF4A = "MA1494.1 HNF4A"  # 15 columns, all informative, no palindrome
FLAT = np.full((6, 4), 0.25)


@pytest.fixture(scope="module")
def jaspar():
    return read_motifs("JASPAR2022")


@pytest.fixture(scope="module")
def matches(jaspar):
    matrix = jaspar[HNF4A]
    patterns = {
        "itself": matrix,
        "reversed": matrix[::-1, ::-1],
        "padded": np.concatenate([FLAT, matrix, FLAT[:2]]),
        "padded reversed": np.concatenate([FLAT, matrix[::-1, ::-1], FLAT[:2]]),
        "cut": matrix[3:],
        "cut reversed": matrix[3:][::-1, ::-1],
        "uniform": np.full((12, 4), 0.25),
        "short": np.concatenate([FLAT, np.eye(4)[:3], FLAT]),
    }
    return match_patterns(patterns, jaspar, n_best=3)


def best(matches: pd.DataFrame, name: str) -> pd.Series:
    rows = matches[matches["pattern"] == name]
    return rows[rows["rank"] == 1].iloc[0]


@pytest.mark.parametrize(
    ("name", "strand", "offset", "overlap"),
    [
        ("itself", "+", 0, 15),
        ("reversed", "-", 0, 15),
        ("padded", "+", 6, 15),
        ("padded reversed", "-", 6, 15),
        ("cut", "+", -3, 12),
        ("cut reversed", "-", 0, 12),
    ],
)
def test_a_motif_is_found_where_it_is(matches, jaspar, name, strand, offset, overlap):
    # the outermost columns of this matrix may be below the core's least information, which moves nothing but the overlap
    row = best(matches, name)
    assert (row["motif"], row["strand"], row["offset"]) == (HNF4A, strand, offset)
    lost = 15 - np.diff(core(jaspar[HNF4A]))[0]
    assert overlap - lost <= row["overlap"] <= overlap
    assert row["named"]
    assert row["q_value"] < 1e-10
    assert row["similarity"] > 0.8


def test_a_uniform_matrix_is_nothing(matches, jaspar):
    for name in ("uniform", "short"):
        rows = matches[matches["pattern"] == name]
        assert len(rows) == 1
        assert not rows["named"].any()
        assert rows["motif"].isna().all()
        assert rows["q_value"].isna().all()
    # and why patterns are trimmed: flat columns are like the spacers of long motifs
    flat = match_patterns({"uniform": np.full((12, 4), 0.25)}, jaspar, trim=False)
    assert flat["q_value"].min() < 0.05
    assert not flat["named"].any()  # P is small, but nothing is alike


def test_q_is_adjusted_over_all_pairs(jaspar):
    some = dict(list(jaspar.items())[:60])
    names = list(some)[:4]
    all_pairs = match_patterns({name: some[name] for name in names}, some, n_best=len(some))
    p = np.sort(all_pairs["p_value"].to_numpy())
    assert len(p) == 240
    q = np.minimum.accumulate((p * 240 / np.arange(1, 241))[::-1])[::-1].clip(max=1)
    np.testing.assert_allclose(np.sort(all_pairs["q_value"].to_numpy()), q, rtol=1e-9)
    assert (all_pairs["named"] == (all_pairs["q_value"] < 0.05)).all()
    strict = match_patterns({name: some[name] for name in names}, some, n_best=1, q_threshold=1e-60)
    assert not strict["named"].any()
    assert strict["motif"].tolist() == names


def test_random_patterns_are_rarely_named(jaspar):
    rng = np.random.default_rng(0)
    patterns = {str(i): rng.dirichlet([0.4] * 4, 8) for i in range(40)}
    table = match_patterns(patterns, jaspar, n_best=1)
    assert table["named"].mean() <= 0.1


def test_core_and_consensus():
    matrix = np.concatenate([FLAT, np.eye(4)[[2, 0]], [[0.7, 0.1, 0.1, 0.1]], FLAT[:1], np.eye(4)[[3]], FLAT])
    assert core(matrix) == (6, 11)
    assert consensus(matrix) == "......GAa.T......"
    assert core(FLAT) == (0, 0)
    np.testing.assert_allclose(
        information(np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0.25] * 4])), [1, 2, 0], atol=1e-9
    )


def test_similarity_closed_form():
    a = np.eye(4)[[0, 1, 2, 3, 3]]
    assert aligned_similarity(a, a, 0) == pytest.approx(1)
    assert aligned_similarity(a, a[2:], 2) == pytest.approx(np.sqrt(3 / 5))
    assert aligned_similarity(a, a, 9) == 0
    assert best_similarity(a, a[::-1, ::-1]) == pytest.approx(1)
    assert best_similarity(FLAT, a) == 0


def test_few_motifs_are_warned_of(jaspar):
    few = dict(list(jaspar.items())[:5])
    with pytest.warns(ChromTransferWarning, match="Only 5 motifs"):
        match_patterns(few, few)


@pytest.mark.parametrize(
    ("patterns", "motifs", "options", "message"),
    [
        ({}, {}, {}, "motifs: there are none"),
        ({"a": np.ones((5, 4))}, {"m": FLAT}, {}, "pattern 'a': expected probabilities"),
        ({"a": FLAT}, {"m": FLAT.T}, {}, "motif 'm': shape"),
        ({"a": FLAT}, {"m": FLAT}, {"q_threshold": 0}, "q_threshold=0"),
    ],
)
def test_unusable(patterns, motifs, options, message):
    with pytest.raises(ChromTransferError, match=message):
        match_patterns(patterns, motifs, **options)
