"""Shifts and reverse complements on base codes: laws, and which window gets what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chromtransfer_plugin.onehot import decode, encode, reverse_complement_codes
from chromtransfer_plugin.training.augment import augment_codes, centre, draws


def codes_of(n: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (n, length), dtype=np.uint8))


def test_by_hand():
    codes = torch.from_numpy(np.stack([encode("TTACGNATT")] * 4))
    flip = torch.tensor([False, True, False, True])
    offset = torch.tensor([0, 0, 1, -2])
    rows = augment_codes(codes, flip, offset, 2).numpy()
    assert [decode(row) for row in rows] == ["ACGNA", "TNCGT", "CGNAT", "CGTAA"]


def test_flipping_twice_is_nothing_and_once_is_the_reverse_complement():
    codes, flip = codes_of(20, 31), torch.arange(20) % 3 == 0
    once = augment_codes(codes, flip, None, 0)
    wanted = np.where(flip.numpy()[:, None], reverse_complement_codes(codes.numpy()), codes.numpy())
    np.testing.assert_array_equal(once.numpy(), wanted)
    assert once.dtype == torch.uint8
    assert torch.equal(augment_codes(once, flip, None, 0), codes)


def test_shifting_is_slicing():
    codes, flank = codes_of(7, 26), 3
    offset = torch.arange(-3, 4)
    shifted = augment_codes(codes, None, offset, flank)
    for row, k in enumerate(offset.tolist()):
        assert torch.equal(shifted[row], codes[row, flank + k : flank + k + 20])


def test_shifting_then_flipping_is_the_other_strand_shifted_back():
    codes, flip = codes_of(9, 40), torch.ones(9, dtype=torch.bool)
    offset = torch.arange(-4, 5)
    other = torch.from_numpy(reverse_complement_codes(codes.numpy()).copy())
    assert torch.equal(augment_codes(codes, flip, offset, 4), augment_codes(other, None, -offset, 4))


def test_without_augmentation_it_is_the_centre_and_no_copy():
    codes = codes_of(5, 30)
    assert augment_codes(codes, None, None, 0).data_ptr() == codes.data_ptr()
    assert augment_codes(codes, None, torch.zeros(5, dtype=torch.int64), 0).data_ptr() == codes.data_ptr()
    assert torch.equal(centre(codes, 4), codes[:, 4:26])
    none = torch.zeros(5, dtype=torch.bool), torch.zeros(5, dtype=torch.int64)
    assert torch.equal(augment_codes(codes, *none, 4), centre(codes, 4))
    assert augment_codes(codes, None, None, 4).data_ptr() == codes.data_ptr() + 4  # a view
    assert torch.equal(centre(codes, 0), codes)


@pytest.mark.parametrize("offset", [-4, 4])
def test_a_shift_beyond_the_flank_is_refused(offset):
    with pytest.raises(RuntimeError, match="out of bounds"):
        augment_codes(codes_of(1, 26), None, torch.tensor([offset]), 3)


def test_augmented_batches_are_rows_of_the_augmented_set():
    codes = codes_of(50, 24)
    flip, offset = (torch.from_numpy(a) for a in draws(50, 3, 1, True, 2))
    whole = augment_codes(codes, flip, offset, 2)
    for rows in (torch.tensor([4, 9, 9, 0]), torch.arange(50).flip(0)):
        assert torch.equal(augment_codes(codes[rows], flip[rows], offset[rows], 2), whole[rows])


# --- draws -----------------------------------------------------------------------------------------------


def test_draws_are_functions_of_seed_epoch_and_window():
    flip, offset = draws(1000, 3, 1, True, 5)
    again = draws(1000, 3, 1, True, 5)
    np.testing.assert_array_equal(flip, again[0])
    np.testing.assert_array_equal(offset, again[1])
    part = draws(137, 3, 1, True, 5)  # the number of windows is of no matter to each of them
    np.testing.assert_array_equal(flip[:137], part[0])
    np.testing.assert_array_equal(offset[:137], part[1])
    for seed, epoch in ((3, 2), (4, 1)):
        other = draws(1000, seed, epoch, True, 5)
        assert (flip != other[0]).mean() == pytest.approx(0.5, abs=0.1)
        assert (offset != other[1]).mean() == pytest.approx(10 / 11, abs=0.05)


def test_draws_are_even():
    flip, offset = draws(110_000, 0, 0, True, 5)
    assert flip.mean() == pytest.approx(0.5, abs=0.01)  # sd 0.0015
    assert (flip.dtype, offset.dtype) == (bool, np.int64)
    np.testing.assert_allclose(np.bincount(offset + 5), 10_000, atol=500)  # 11 values; sd 95
    assert offset[flip].mean() == pytest.approx(offset[~flip].mean(), abs=0.1)


def test_each_augmentation_is_off_by_itself():
    both = draws(100, 1, 1, True, 5)
    flip, offset = draws(100, 1, 1, False, 5)
    assert not flip.any()
    np.testing.assert_array_equal(offset, both[1])
    flip, offset = draws(100, 1, 1, True, 0)
    assert not offset.any()
    np.testing.assert_array_equal(flip, both[0])
