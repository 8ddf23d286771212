"""Resamples: the same draws as by hand, whole loci, both classes, few loci."""

from __future__ import annotations

import numpy as np
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import few_loci, make_draws, percentiles


def test_windows_are_drawn_as_numpy_draws_them() -> None:
    y = np.array([1, 0, 0, 1, 0, 1, 1, 0] * 5)
    draws = make_draws(y, np.zeros(40, dtype=np.int64), resample="window", n=20, seed=3)
    rng = np.random.default_rng(3)
    expected = [np.bincount(rng.integers(0, 40, 40), minlength=40) for _ in range(20)]
    assert draws.counts.tolist() == np.array(expected).tolist()
    assert draws.counts.dtype == np.uint16
    assert (draws.redrawn, draws.resample) == (0, "window")


def test_windows_of_a_locus_are_drawn_together() -> None:
    locus = np.array([7, 7, 7, -2, -2, 30, 31, 31])
    y = np.array([1, 0, 1, 0, 1, 1, 0, 0])
    counts = make_draws(y, locus, n=500, seed=1).counts
    for number in np.unique(locus):
        of_locus = counts[:, locus == number]
        assert (of_locus == of_locus[:, :1]).all()
    firsts = counts[:, [0, 3, 5, 6]]
    assert (firsts.sum(axis=1) == 4).all()  # as many loci as there are
    np.testing.assert_allclose(firsts.mean(axis=0), 1, atol=0.15)
    assert counts.tolist() == make_draws(y, locus, n=500, seed=1).counts.tolist()
    assert counts.tolist() != make_draws(y, locus, n=500, seed=2).counts.tolist()


def test_loci_of_one_window_are_windows() -> None:
    y = np.arange(30) % 3 == 0
    of_loci = make_draws(y.astype(int), np.arange(30), n=9, seed=4).counts
    of_windows = make_draws(y.astype(int), np.arange(30), resample="window", n=9, seed=4).counts
    assert of_loci.tolist() == of_windows.tolist()


@pytest.mark.parametrize("resample", ["locus", "window"])
def test_resamples_without_a_class_are_redrawn_and_counted(resample: str) -> None:
    y = np.array([1, 0, 0, 0, 0])
    draws = make_draws(y, np.arange(5), resample=resample, n=2000)
    assert (draws.counts[:, 0] > 0).all()
    assert (draws.counts[:, 1:].sum(axis=1) > 0).all()
    lacking = 0.8**5 + 0.2**5
    assert draws.redrawn == pytest.approx(2000 * lacking / (1 - lacking), rel=0.12)


def test_one_locus_gives_no_resample() -> None:
    y = np.array([1, 0, 1])
    assert make_draws(y, np.zeros(3, dtype=int)).counts.shape == (0, 3)
    assert percentiles([], 0.95) is None
    assert few_loci(y, np.zeros(3, dtype=int)).startswith("All windows are one locus")


def test_few_loci_are_named_by_class() -> None:
    y = np.array([1] * 30 + [0] * 30)
    assert few_loci(y, np.arange(60)) == ""
    three = np.concatenate([np.arange(30) % 3, 100 + np.arange(30)])
    assert few_loci(y, three).startswith("Few loci: 33, of which 3 hold open windows and 30 closed ones.")
    ten = np.concatenate([np.arange(30) % 10, 100 + np.arange(30)])
    assert few_loci(y, ten) == ""


def test_percentiles() -> None:
    assert percentiles(np.arange(101), 0.9) == pytest.approx((5, 95))
    assert percentiles([1.0, np.nan], 0.9) is None
    with pytest.raises(ChromTransferError, match="level=95"):
        percentiles([1.0], 95)


def test_bad_input_is_named() -> None:
    with pytest.raises(ChromTransferError, match=r"all 2 labels are 1; .*both classes"):
        make_draws(np.array([1, 1]), np.arange(2))
    with pytest.raises(ChromTransferError, match="no window"):
        make_draws(np.array([], dtype=int), np.array([], dtype=int))
    with pytest.raises(ChromTransferError, match="n=0"):
        make_draws(np.array([1, 0]), np.arange(2), n=0)
    with pytest.raises(ChromTransferError, match="2 labels but loci"):
        make_draws(np.array([1, 0]), np.arange(3))
