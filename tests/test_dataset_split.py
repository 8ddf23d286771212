from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.dataset import Windows, all_folds, split_windows
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.splits import by_chromosome, homology_groups, k_folds, loci, validation_mask


def spread(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Random windows on five chromosomes, far from each other except each fifth, which overlaps the one before."""
    rng = np.random.default_rng(seed)
    start = np.arange(n) * 50_000
    start[4::5] = start[3::5][: len(start[4::5])] + 300
    chrom = np.array(["chr1", "chr2", "chr3", "chr4", "chr5"])[np.arange(n) // 5 % 5]
    return pd.DataFrame({"chrom": chrom, "start": start, "end": start + 600}), rng.integers(
        0, 4, (n, 600), dtype=np.uint8
    )


def test_groups_join_loci_and_sequence():
    table, codes = spread(30)
    codes[10] = 3 - codes[3][::-1]  # chr3 has a copy of chr1's window 3, whose neighbour is 4
    group = homology_groups(table, codes)
    assert group[10] == group[3] == group[4]
    locus = loci(table)
    assert len(set(group.tolist())) == len(set(locus.tolist())) - 1
    # Numbered by the place of a group's first locus, so that the order of rows does not matter.
    order = np.random.default_rng(1).permutation(30)
    assert homology_groups(table.iloc[order], codes[order]).tolist() == group[order].tolist()


def test_copies_validate_together_and_every_window_once():
    table, codes = spread(200)
    copies = np.arange(0, 200, 10)
    codes[copies + 5] = codes[copies]
    fold = k_folds(table, 4, by="homology", codes=codes)
    assert (fold[copies] == fold[copies + 5]).all()
    assert (fold[3::5] == fold[4::5]).all()
    assert np.bincount(fold).tolist() == [50] * 4
    by_locus = k_folds(table, 4, by="locus")
    assert (by_locus[copies] != by_locus[copies + 5]).any()
    order = np.random.default_rng(1).permutation(200)
    again = k_folds(table.iloc[order], 4, by="homology", codes=codes[order])
    assert again.tolist() == fold[order].tolist()
    assert (k_folds(table, 4, by="homology", codes=codes, seed=5) != fold).any()
    mask = validation_mask(table, 0.2, by="homology", codes=codes)
    assert (mask[copies] == mask[copies + 5]).all()
    assert 30 <= mask.sum() <= 50


def test_homology_needs_sequences():
    table, codes = spread(10)
    with pytest.raises(ChromTransferError, match="give codes"):
        k_folds(table, 3, by="homology")
    with pytest.raises(ChromTransferError, match="10 windows have 9 sequences"):
        k_folds(table, 3, by="homology", codes=codes[:9])
    with pytest.raises(ChromTransferError, match="'chromosome', 'locus' or 'homology'"):
        k_folds(table, 3, by="random")  # type: ignore[arg-type]
    codes[:] = codes[0]
    with pytest.raises(ChromTransferError, match="there are 1"):
        k_folds(table, 3, by="homology", codes=codes)


def test_folds_of_training_by_homology():
    table, codes = spread(200)
    codes[100:150] = codes[:50]  # chr1 to chr5 in both: a chromosome-wise fold divides none of these, loci do
    flanked = np.pad(codes, ((0, 0), (8, 8)), constant_values=4)
    windows = Windows(
        flanked, (np.arange(200) % 2).astype(np.float32)[:, None], table.assign(label=""), flank=8
    )
    n_validated = 0
    for parts in all_folds(windows, test_chromosomes=["chr2"], fold_by="homology"):
        train, validation = (
            {row.tobytes() for row in part.centre().codes} for part in (parts.train, parts.validation)
        )
        assert not train & validation
        n_validated += parts.validation.n
    assert n_validated == 160
    locus = split_windows(windows, test_chromosomes=["chr2"], fold_by="locus")
    assert {row.tobytes() for row in locus.train.centre().codes} & {
        row.tobytes() for row in locus.validation.codes
    }


def test_the_papers_test_set():
    table = pd.DataFrame({"chrom": [f"chr{i}" for i in range(1, 23)], "start": 0, "end": 600})
    split = by_chromosome(table)
    assert table["chrom"][split == "test"].tolist() == ["chr2", "chr3"]
    assert (split == "train").sum() == 20
