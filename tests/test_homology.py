from __future__ import annotations

import numpy as np
import pytest

from chromtransfer_plugin import homology, kmers
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.homology import homology_clusters
from chromtransfer_plugin.onehot import encode


def random_codes(n: int, seed: int = 0, length: int = 600) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, length), dtype=np.uint8)


def words(codes: np.ndarray, k: int) -> dict[str, int]:
    """Canonical words of a window with their counts, straight from the definition."""
    text = "".join("ACGTN"[code] for code in codes)
    counts: dict[str, int] = {}
    for i in range(len(text) - k + 1):
        word = text[i : i + k]
        if "N" not in word:
            other = word[::-1].translate(str.maketrans("ACGT", "TGCA"))
            counts[min(word, other)] = counts.get(min(word, other), 0) + 1
    return counts


def slow_clusters(codes: np.ndarray, k: int, share: float) -> list[int]:
    counts = [words(row, k) for row in codes]
    least = (codes.shape[1] - k + 1) / 4
    group = list(range(len(codes)))
    for i, a in enumerate(counts):
        for j, b in enumerate(counts[:i]):
            common = sum(min(n, b.get(word, 0)) for word, n in a.items())
            if common >= share * max(min(sum(a.values()), sum(b.values())), least):
                old, new = group[i], group[j]
                group = [new if value == old else value for value in group]
    return [sorted(set(group), key=group.index).index(value) for value in group]


def planted() -> np.ndarray:
    codes = random_codes(12)
    codes[3] = 3 - codes[0][::-1]  # the other strand
    codes[5, 250:] = codes[1, :350]  # moved
    codes[7, :200] = codes[2, 400:]  # a third only
    codes[8] = np.where(np.arange(600) % 40 == 0, 4, codes[4])  # N so often that words are few
    codes[9, 20:] = 4  # nothing but N
    codes[10, :] = np.tile([0, 1], 300)  # CACACA...
    codes[11, 100:180] = np.tile([0, 1], 40)  # with some of it
    return codes


@pytest.mark.parametrize(("k", "share"), [(24, 0.5), (15, 0.3), (31, 0.25)])
def test_clusters_as_defined(k, share):
    codes = planted()
    assert homology_clusters(codes, k, share).tolist() == slow_clusters(codes, k, share)


def test_planted_pairs_and_nothing_else():
    cluster = homology_clusters(planted())
    assert cluster[3] == cluster[0]
    assert cluster[5] == cluster[1]
    assert cluster[8] == cluster[4]
    assert len(set(cluster.tolist())) == 9


def test_who_goes_together_does_not_depend_on_order_or_strand():
    codes = np.concatenate([planted(), random_codes(300, 1)])
    codes[20:320:3, :350] = codes[19, 250:]
    order = np.random.default_rng(0).permutation(len(codes))
    one = homology_clusters(codes)
    turned = codes[order]
    turned[::2] = np.where(turned[::2] < 4, 3 - turned[::2], 4)[:, ::-1]
    two = homology_clusters(turned)
    assert (one[:, None] == one).sum() == (two[:, None] == two).sum()
    np.testing.assert_array_equal(one[order][:, None] == one[order], two[:, None] == two)


def test_repeats_make_no_giant_cluster_and_cost_no_square(monkeypatch):
    codes = random_codes(3_000, 2)
    element = random_codes(1, 3)[0, :280]  # as long as an Alu, and without a mutation
    codes[300:, 100:380] = element
    codes[1] = codes[0]
    compared = []
    join_pairs = kmers.join_pairs

    def noted(codes, pairs, *more):
        compared.append(len(pairs))
        join_pairs(codes, pairs, *more)

    monkeypatch.setattr(kmers, "join_pairs", noted)
    assert np.bincount(homology_clusters(codes)).tolist() == [2] + [1] * 2_998
    # A copy meets the first and the next few of each word's copies: all pairs would be 3.6 million.
    assert 0 < sum(compared) < 20 * 3_000


def test_groups_that_exist_are_joined_further():
    codes = random_codes(6, 4)
    codes[4] = codes[0]
    assert homology_clusters(codes, joined=np.array([7, 7, 3, 3, 5, 9])).tolist() == [0, 0, 1, 1, 0, 2]


def test_sampled_words_find_the_same_pairs(monkeypatch):
    codes = random_codes(2_000, 5)
    codes[1_000:1_200, 150:550] = codes[:200, 200:600]  # 377 of 577 words
    exact = homology_clusters(codes)
    monkeypatch.setattr(homology, "_WORDS", 100_000)
    assert homology.sampling(2_000 * 577, int(0.5 * 577 / 10)) == 16
    np.testing.assert_array_equal(homology_clusters(codes), exact)
    assert exact.max() + 1 == 1_800


def test_bounded_pairs_still_find_neighbours(monkeypatch):
    codes = random_codes(400, 6)
    codes[100:200] = codes[0]  # one sequence a hundred times
    monkeypatch.setattr(homology, "_PAIRS", 10_000)
    assert np.bincount(homology_clusters(codes)).max() == 101


def test_nothing_and_refusals():
    assert homology_clusters(np.empty((0, 600), dtype=np.uint8)).tolist() == []
    assert homology_clusters(np.stack([encode("N" * 40)] * 3)).tolist() == [0, 1, 2]
    with pytest.raises(ChromTransferError, match="k is 32"):
        homology_clusters(random_codes(2), k=32)
    with pytest.raises(ChromTransferError, match="share is 0"):
        homology_clusters(random_codes(2), share=0)
    with pytest.raises(ChromTransferError, match=r"shape \(2, 20\)"):
        homology_clusters(random_codes(2, length=20))
