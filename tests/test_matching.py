from __future__ import annotations

import numpy as np
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import encode
from chromtransfer_plugin.preparation.matching import DINUCLEOTIDES, composition, matched_sample


def windows(n: int, gc: np.ndarray | float, seed: int, length: int = 200) -> np.ndarray:
    """Random windows of planted GC content."""
    rng = np.random.default_rng(seed)
    strong = rng.random((n, length)) < np.broadcast_to(gc, n)[:, None]
    return np.where(strong, rng.integers(1, 3, (n, length)), rng.integers(0, 2, (n, length)) * 3).astype(
        np.uint8
    )


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


def test_composition_by_hand():
    codes = np.stack([encode("ACGTTNNN"), encode("GGGGGGGG"), encode("NNNNNNNN")])
    np.testing.assert_allclose(composition(codes, "gc")[:, 0], [0.4, 1, np.nan])
    shares = composition(codes, "dinucleotide")
    expected = dict.fromkeys(DINUCLEOTIDES, 0.0) | {"AC": 0.5, "CG": 0.25, "AA": 0.25}  # AC CG GT=AC TT=AA
    np.testing.assert_allclose(shares[0, 1:], list(expected.values()))
    assert shares[1, 1:].tolist() == [float(name == "CC") for name in DINUCLEOTIDES]
    assert np.isnan(shares[2]).all()


def test_composition_is_that_of_either_strand_and_does_not_depend_on_blocks(monkeypatch):
    codes = windows(300, 0.45, seed=1)
    codes[::7, 20:30] = 4
    reverse = np.where(codes < 4, 3 - codes, 4)[:, ::-1]
    here = composition(codes, "dinucleotide")
    np.testing.assert_allclose(here, composition(reverse, "dinucleotide"), atol=1e-7)
    np.testing.assert_allclose(here[:, 1:].sum(axis=1), 1, atol=1e-6)
    monkeypatch.setattr("chromtransfer_plugin.preparation.matching._BLOCK", 7)
    np.testing.assert_array_equal(composition(codes, "dinucleotide"), here)


def test_shortage_of_a_bin_is_filled_from_the_nearest_and_counted():
    targets = column([0.405] * 6 + [0.605] * 4)
    candidates = column([0.405] * 2 + [0.425] * 3 + [0.505] * 9 + [0.605] * 9 + [0.905] * 50)
    rows, facts = matched_sample(targets, candidates, 10)
    chosen = candidates[rows, 0].round(3).tolist()
    assert chosen == pytest.approx([0.405] * 2 + [0.425] * 3 + [0.505] + [0.605] * 4)
    assert (facts.n, facts.from_other_cells) == (10, 4)
    assert facts.farthest == pytest.approx(0.1, abs=1e-6)
    assert facts.target_gc[0] == pytest.approx(0.485)
    assert "4 from cells beside" in facts.sentence()


def test_bins_hold_their_lower_edge():
    edges = column([round(i / 100, 2) for i in range(100)])
    rows, facts = matched_sample(edges, edges, 100)
    assert rows.tolist() == list(range(100))
    assert facts.from_other_cells == 0


@pytest.mark.parametrize("how", ["gc", "dinucleotide"])
def test_matched_where_random_is_not(how):
    rng = np.random.default_rng(3)
    targets = composition(windows(1_200, rng.normal(0.55, 0.06, 1_200), seed=1), how)
    candidates = composition(windows(12_000, rng.normal(0.42, 0.10, 12_000), seed=2), how)
    rows, facts = matched_sample(targets, candidates, 1_200, how, seed=5)
    assert len(rows) == len(set(rows.tolist())) == 1_200
    assert (np.diff(rows) > 0).all()
    assert facts.ks_before["GC"] > 0.4
    assert facts.ks_after["GC"] < 0.05
    assert facts.sample_gc == pytest.approx(facts.target_gc, abs=0.01)
    again = matched_sample(targets, candidates, 1_200, how, seed=5)
    assert again.rows.tolist() == rows.tolist()
    assert again.facts == facts
    assert set(matched_sample(targets, candidates, 1_200, how, seed=6).rows.tolist()) != set(rows.tolist())


def test_dinucleotides_are_matched_where_gc_alone_leaves_them():
    """Half the candidates have the targets' GC but never a CpG."""
    rng = np.random.default_rng(0)
    targets = windows(2_000, 0.5, seed=1)
    depleted = windows(20_000, 0.5, seed=2)
    at = (depleted[:, :-1] == 1) & (depleted[:, 1:] == 2)
    depleted[:, 1:][at] = 1  # CG becomes CC: GC stays
    codes = np.concatenate([depleted, windows(20_000, 0.5, seed=4)])[rng.permutation(40_000)]
    by_gc = matched_sample(composition(targets), composition(codes), 2_000)
    features = composition(targets, "dinucleotide"), composition(codes, "dinucleotide")
    matched = matched_sample(*features, 2_000, "dinucleotide")
    cpg = 1 + DINUCLEOTIDES.index("CG")
    mean = features[0][:, cpg].mean()
    assert features[1][by_gc.rows, cpg].mean() < 0.7 * mean
    assert features[1][matched.rows, cpg].mean() == pytest.approx(mean, rel=0.05)
    assert matched.facts.ks_before["CG"] > 0.4
    assert max(matched.facts.ks_after.values()) < 0.08


@pytest.mark.parametrize("how", ["gc", "dinucleotide"])
def test_with_keys_the_order_of_the_candidates_does_not_matter(how):
    targets = composition(windows(400, 0.5, seed=1), how)
    candidates = composition(windows(4_000, np.linspace(0.2, 0.7, 4_000), seed=2), how)
    keys = np.arange(4_000) * 600
    order = np.random.default_rng(0).permutation(4_000)
    one = matched_sample(targets, candidates, 700, how, keys=keys)
    two = matched_sample(targets[::-1], candidates[order], 700, how, keys=keys[order])
    assert sorted(keys[one.rows].tolist()) == sorted(keys[order][two.rows].tolist())


def test_all_candidates_can_be_taken():
    candidates = composition(windows(500, 0.3, seed=1))
    rows, facts = matched_sample(composition(windows(50, 0.7, seed=2)), candidates, 500)
    assert rows.tolist() == list(range(500))
    assert facts.ks_after == facts.ks_before


def test_refusals():
    two, three = column([0.4, 0.5]), column([0.4, 0.5, 0.6])
    with pytest.raises(ChromTransferError, match="4 windows are wanted and there are 3 candidates"):
        matched_sample(two, three, 4)
    with pytest.raises(ChromTransferError, match="no target window"):
        matched_sample(two[:0], three, 1)
    with pytest.raises(ChromTransferError, match="0 windows are wanted"):
        matched_sample(two, three, 0)
    with pytest.raises(ChromTransferError, match="1 candidate windows have no known bases"):
        matched_sample(two, column([0.4, np.nan]), 1)
    with pytest.raises(ChromTransferError, match="expected \\(N, 11\\)"):
        matched_sample(two, three, 1, "dinucleotide")
    with pytest.raises(ChromTransferError, match="how is 'cpg'"):
        composition(np.zeros((1, 9), dtype=np.uint8), "cpg")  # type: ignore[arg-type]
