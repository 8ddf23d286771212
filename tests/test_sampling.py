"""Order of visits, balanced epochs and the shares of processes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chromtransfer_plugin.dataset import epoch_order
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.training.sampling import batch_slices, epoch_indices, expected_draws, strata


def binary(positives: int, negatives: int) -> np.ndarray:
    return np.concatenate([np.ones(positives), np.zeros(negatives)])[:, None].astype(np.float32)


def epochs_of(targets: np.ndarray, n: int, seed: int = 5) -> list[np.ndarray]:
    return [epoch_indices(targets, seed, epoch, "balanced") for epoch in range(n)]


# --- order -----------------------------------------------------------------------------------------------


def test_natural_sampling_is_the_order_of_the_epoch():
    order = epoch_indices(binary(3, 17), 4, 2, "natural")
    np.testing.assert_array_equal(order, epoch_order(20, 4, 2))
    assert order.dtype == np.int64


def test_half_of_a_balanced_epoch_is_positive():
    y = binary(13, 88)  # 101 windows: the odd one is positive, then negative, ...
    for epoch, rows in enumerate(epochs_of(y, 4)):
        assert rows.dtype == np.int64
        assert len(rows) == 101
        assert int(y[rows].sum()) == 51 - epoch % 2


def test_every_negative_is_seen_before_one_comes_again():
    y = binary(20, 180)
    drawn = np.concatenate([rows[rows >= 20] for rows in epochs_of(y, 9)])
    # 9 epochs of 100 negatives are five rounds through 180; rounds end within epochs, whose rows are shuffled.
    assert (np.bincount(drawn, minlength=200)[20:] == 5).all()
    first, second = (rows[rows >= 20] for rows in epochs_of(y, 2))
    assert len(set(first)) == 100
    assert len(set(first) | set(second)) == 180
    positives = np.concatenate([rows[rows < 20] for rows in epochs_of(y, 1)])
    assert (np.bincount(positives, minlength=20) == 5).all()


def test_balanced_epochs_are_functions_of_seed_and_epoch():
    y = binary(20, 80)
    np.testing.assert_array_equal(epoch_indices(y, 5, 7, "balanced"), epochs_of(y, 8)[7])
    for seed, epoch in ((5, 8), (6, 7)):
        assert not np.array_equal(epoch_indices(y, seed, epoch, "balanced"), epochs_of(y, 8)[7])


def test_positives_and_negatives_are_mixed():
    y = binary(500, 500)
    positive = y[epochs_of(y, 1)[0], 0]
    halves = positive[:500].sum(), positive[500:].sum()
    assert min(halves) > 200  # 250 expected, sd 11
    assert (np.diff(positive) != 0).sum() > 400  # 500 expected, sd 16


@pytest.mark.parametrize("counts", [(5, 11, 44), (20, 20, 21)])
def test_exclusive_classes_have_equal_shares(counts):
    y = np.eye(3)[np.repeat(np.arange(3), counts)]
    sums = np.array([y[rows].sum(axis=0) for rows in epochs_of(y, 6)])
    assert (sums.sum(axis=1) == sum(counts)).all()
    assert (sums.max(axis=1) - sums.min(axis=1) <= 1).all()
    assert (sums.sum(axis=0) == 2 * sum(counts)).all()  # every third epoch evens out the remainder


def test_tasks_are_balanced_by_any_positive():
    nan = math.nan
    y = np.array([[0, 0, 0], [1, 0, 1], [0, nan, nan], [nan, 1, 0], [0, 0, nan], [0, 0, 0]])
    assert strata(y).tolist() == [0, 1, 0, 1, 0, 0]
    rows = np.concatenate(epochs_of(y, 2))
    assert np.bincount(strata(y)[rows]).tolist() == [6, 6]


@pytest.mark.parametrize(
    "y", [binary(3, 8), np.eye(4)[[0, 1, 1, 1, 2, 3, 3]], np.array([[1, 0], [1, 1], [0, 0]])]
)
def test_expected_draws_are_the_means_over_epochs(y):
    n_epochs = 24 * len(np.unique(strata(y))) * 3
    counts = np.bincount(np.concatenate(epochs_of(y, n_epochs)), minlength=len(y)) / n_epochs
    wanted = expected_draws(y, "balanced")
    np.testing.assert_allclose(counts, wanted, atol=1 / n_epochs)
    assert wanted.sum() == pytest.approx(len(y))
    assert expected_draws(y, "natural").tolist() == [1.0] * len(y)


@pytest.mark.parametrize(("y", "kind"), [(binary(4, 0), "positive"), (binary(0, 4), "negative")])
def test_one_class_cannot_be_balanced(y, kind):
    with pytest.raises(
        ChromTransferError, match=rf"all 4 training windows are {kind}. Use sampling: natural"
    ):
        epoch_indices(y, 0, 0, "balanced")


# --- batches and shares ----------------------------------------------------------------------------------


def sizes(n: int, batch_size: int, world: int) -> list[int]:
    return [whole.stop - whole.start for _, whole in batch_slices(n, batch_size, 0, world)]


@pytest.mark.parametrize(
    ("n", "batch_size", "world", "wanted"),
    [
        (40, 16, 1, [16, 16, 8]),
        (33, 16, 1, [16, 17]),  # never one window alone
        (34, 16, 1, [16, 16, 2]),
        (32, 16, 1, [16, 16]),
        (1, 16, 1, [1]),
        (0, 16, 1, []),
        (33, 16, 2, [16, 17]),
        (34, 16, 2, [16, 16, 2]),  # as on one process
        (34, 16, 3, [16, 18]),  # a process would have nothing
        (35, 16, 3, [16, 16, 3]),
        (9, 3, 3, [3, 3, 3]),
    ],
)
def test_batches_by_hand(n, batch_size, world, wanted):
    assert sizes(n, batch_size, world) == wanted


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [3, 8, 16])
def test_shares_make_up_the_batches_and_batches_the_epoch(world, batch_size):
    for n in range(3, 70):
        ranks = [batch_slices(n, batch_size, rank, world) for rank in range(world)]
        visited = []
        for step in zip(*ranks, strict=True):
            assert len({(whole.start, whole.stop) for _, whole in step}) == 1
            lengths = [share.stop - share.start for share, _ in step]
            assert min(lengths) >= 1
            assert max(lengths) - min(lengths) <= 1
            rows = [row for share, _ in step for row in range(share.start, share.stop)]
            assert rows == list(range(step[0].whole.start, step[0].whole.stop))
            assert len(rows) >= 2
            visited += rows
        assert visited == list(range(n))


def test_one_or_two_processes_train_on_the_same_batches():
    assert all(sizes(n, b, 1) == sizes(n, b, 2) for n in range(2, 100) for b in (2, 7, 16))


@pytest.mark.parametrize(("n", "batch_size", "smallest"), [(50, 2, 2), (2, 50, 2)])
def test_more_processes_than_windows_in_a_batch_are_refused(n, batch_size, smallest):
    with pytest.raises(
        ChromTransferError, match=rf"a batch of {smallest} windows .* cannot be shared by 3 proc"
    ):
        batch_slices(n, batch_size, 1, 3)
