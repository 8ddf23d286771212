from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.splits import by_chromosome, k_folds, loci, validation_mask


def frame(*windows: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(windows, columns=["chrom", "start", "end"])


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Clumps of overlapping windows on chromosomes of very different richness."""
    rng = np.random.default_rng(0)
    sizes = {"chr1": 400, "chr2": 300, "chr3": 120, "chr4": 100, "chr10": 90, "chrX": 30}
    parts = []
    for chrom, n in sizes.items():
        start = np.repeat(rng.integers(0, 50_000_000, n // 5), 5) + rng.integers(0, 3_000, n // 5 * 5)
        parts.append(pd.DataFrame({"chrom": chrom, "start": start, "end": start + 600}))
    return pd.concat(parts, ignore_index=True).sample(frac=1, random_state=0).reset_index(drop=True)


def slow_loci(table: pd.DataFrame, gap: int) -> list[set[int]]:
    """Single linkage straight from its definition: join any two windows that are close."""
    groups = [{row} for row in range(len(table))]
    rows = table.to_dict("records")
    for i, a in enumerate(rows):
        for j in range(i):
            b = rows[j]
            apart = max(a["start"], b["start"]) - min(a["end"], b["end"])
            if a["chrom"] == b["chrom"] and apart <= gap:
                one = next(group for group in groups if i in group)
                two = next(group for group in groups if j in group)
                if one is not two:
                    groups.remove(two)
                    one |= two
    return sorted(groups, key=min)


def test_loci_by_hand():
    table = frame(
        ("chr2", 0, 600),
        ("chr1", 5_000, 5_600),
        ("chr1", 100, 5_000),  # long: it reaches over the next one to the first
        ("chr1", 200, 800),
        ("chr1", 5_701, 6_000),
        ("chr1", 5_700, 5_701),
    )
    assert loci(table, gap=0).tolist() == [2, 0, 0, 0, 1, 1]
    assert loci(table, gap=99).tolist() == [2, 0, 0, 0, 1, 1]
    assert loci(table, gap=100).tolist() == [1, 0, 0, 0, 0, 0]
    assert loci(table.iloc[:0]).tolist() == []
    with pytest.raises(ChromTransferError, match="gap is -1"):
        loci(table, gap=-1)


@pytest.mark.parametrize("gap", [0, 50, 400])
def test_loci_equal_single_linkage(gap):
    rng = np.random.default_rng(gap)
    start = rng.integers(0, 20_000, 120)
    table = pd.DataFrame({"chrom": rng.choice(["chr1", "chr10", "chr2"], 120), "start": start})
    table["end"] = start + rng.integers(1, 500, 120)
    number = loci(table, gap)
    groups = [set(np.flatnonzero(number == value).tolist()) for value in np.unique(number)]
    assert sorted(groups, key=min) == slow_loci(table, gap)


def test_a_chromosome_end_never_touches_the_next_start():
    assert len(set(loci(frame(("a", 900, 1_000), ("b", 0, 5)), gap=10**9))) == 2


def test_by_chromosome(table):
    split = by_chromosome(table, validation=["chr4"])
    expected = table["chrom"].map(
        lambda c: {"chr2": "test", "chr3": "test", "chr4": "validation"}.get(c, "train")
    )
    assert split.tolist() == expected.tolist()
    assert set(by_chromosome(table, test=None)) == {"train"}
    assert (by_chromosome(table, test="chrX") == "test").sum() == 30


def test_empty_splits_are_named(table):
    for options, fault in [
        ({"test": ["2", "3"]}, "test split is empty.*lies on 2, 3.*chr1, chr10"),
        ({"validation": ["chr9"]}, "validation split is empty.*chr9"),
        ({"test": table["chrom"].unique().tolist()}, "train split is empty"),
        ({"validation": ["chr3"]}, "chr3 is both test and validation"),
    ]:
        with pytest.raises(ChromTransferError, match=fault):
            by_chromosome(table, **options)


@pytest.mark.parametrize("by", ["chromosome", "locus"])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_folds_never_divide_a_group_and_are_balanced(table, by, k):
    fold = k_folds(table, k, by=by, gap=2_000)
    group = table["chrom"] if by == "chromosome" else pd.Series(loci(table, 2_000))
    assert (pd.Series(fold).groupby(group).nunique() == 1).all()
    counts = np.bincount(fold, minlength=k)
    # The greedy rule leaves at most the largest group between the fullest and the emptiest fold.
    assert counts.max() - counts.min() <= group.value_counts().max()
    assert counts.min() > 0


def test_chromosome_folds_by_hand(table):
    fold = k_folds(table, 3)
    of = {chrom: int(fold[(table["chrom"] == chrom).to_numpy()][0]) for chrom in table["chrom"].unique()}
    # 400 | 300 | 120 + 100 + 90, then 30 to the emptiest (300).
    assert of == {"chr1": 0, "chr2": 1, "chr3": 2, "chr4": 2, "chr10": 2, "chrX": 1}


SPLITS = {
    "by_chromosome": lambda t: by_chromosome(t),
    "folds by chromosome": lambda t: k_folds(t, 3, by="chromosome"),
    "folds by locus": lambda t: k_folds(t, 4, by="locus", gap=500, seed=3),
    "validation by locus": lambda t: validation_mask(t, 0.2, by="locus", gap=500, seed=3),
    "validation by chromosome": lambda t: validation_mask(t, 0.2, by="chromosome", seed=3),
    "loci": lambda t: loci(t, 500),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_a_row_gets_the_same_answer_in_any_order(table, split):
    order = np.random.default_rng(9).permutation(len(table))
    expected = split(table)
    assert len(set(expected.tolist())) > 1
    np.testing.assert_array_equal(split(table.iloc[order]), expected[order])
    np.testing.assert_array_equal(split(table), expected)


def test_the_seed_matters_for_loci_only(table):
    assert (k_folds(table, 3, by="locus", seed=0) != k_folds(table, 3, by="locus", seed=1)).any()
    np.testing.assert_array_equal(k_folds(table, 3, seed=0), k_folds(table, 3, seed=1))
    assert (validation_mask(table, seed=0) != validation_mask(table, seed=1)).any()


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.33, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_validation_by_locus_has_the_size_asked_for_and_whole_loci(table, fraction, seed):
    mask = validation_mask(table, fraction, gap=2_000, seed=seed)
    number = loci(table, 2_000)
    assert (pd.Series(mask).groupby(number).nunique() == 1).all()
    assert abs(mask.sum() - fraction * len(table)) <= np.bincount(number).max()


def test_validation_by_chromosome(table):
    for seed in range(10):
        mask = validation_mask(table, 0.3, by="chromosome", seed=seed)
        assert (pd.Series(mask).groupby(table["chrom"]).nunique() == 1).all()
        assert 0 < mask.sum() < len(table)


def test_validation_takes_the_smallest_group_if_all_are_too_large():
    table = frame(*[("chr1", i * 10**6, i * 10**6 + 600) for i in range(6)], *[("chr2", 0, 600)] * 4)
    for seed in range(5):
        mask = validation_mask(table, 0.01, by="chromosome", seed=seed)
        assert mask.tolist() == [False] * 6 + [True] * 4


def test_impossible_splits_say_why(table):
    one = frame(("chr1", 0, 600), ("chr1", 300, 900))
    for task, fault in [
        (lambda: k_folds(table, 1), "k is 1"),
        (lambda: k_folds(table, 7), "fold 6 would be empty.*at least 7 chromosomes and there are 6"),
        (lambda: k_folds(one, 2, by="locus"), "fold 1 would be empty.*at least 2 loci and there are 1"),
        (lambda: k_folds(table.iloc[:0], 2), "fold 0 would be empty.*no chromosome at all"),
        (lambda: k_folds(table, by="row"), "by is 'row'"),
        (lambda: validation_mask(table, 0.0), "fraction is 0.0"),
        (lambda: validation_mask(table, 1.0), "fraction is 1.0"),
        (lambda: validation_mask(one), "split would be empty, the 2 regions form 1 loci.*smaller gap"),
        (lambda: validation_mask(one, by="chromosome"), "form 1 chromosomes.*by='locus'"),
        (lambda: validation_mask(one.iloc[:0]), "validation split would be empty"),
    ]:
        with pytest.raises(ChromTransferError, match=fault):
            task()
