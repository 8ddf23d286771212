"""Calibration: planted temperatures, corrections that never saw their window, coverage of conformal sets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.calibration import (
    Held,
    calibrations,
    conformal_sets,
    fit_isotonic,
    fit_temperature,
    locus_folds,
    with_temperature,
)
from chromtransfer_plugin.evaluation.draws import make_draws
from chromtransfer_plugin.metrics import auroc, binary_metrics, expected_calibration_error, reliability


def planted(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from true probabilities, and probabilities whose logits are ``temperature`` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.5, n)
    return (rng.random(n) < expit(logits)).astype(np.int64), expit(logits * temperature)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found(temperature: float) -> None:
    y, p = planted(40_000, temperature)
    assert fit_temperature(y, p) == pytest.approx(temperature, rel=0.03)
    # Where the shares are exactly the probabilities, the temperature is exact, too.
    true, n = np.array([0.1, 0.3, 0.6, 0.8]), 1000
    y = np.concatenate([np.arange(n) < round(n * q) for q in true]).astype(np.int64)
    assert fit_temperature(y, np.repeat(expit(temperature * logit(true)), n)) == pytest.approx(
        temperature, rel=1e-6
    )


def test_temperature_keeps_ranks_and_ends() -> None:
    y, p = planted(500, 2.0)
    for temperature in (0.5, 0.7, 20):
        assert auroc(y, with_temperature(p, temperature)) == auroc(y, p)
    np.testing.assert_allclose(with_temperature(p, 1.0), p, atol=1e-15)
    ends = with_temperature(np.array([0.0, 0.5, 1.0]), 2.0)
    assert 0 < ends[0] < 1e-7
    assert ends[1] == 0.5
    assert 1 - 1e-7 < ends[2] < 1
    # All right, and all wrong: at the ends of the search, not beyond.
    assert fit_temperature(np.array([0, 1]), np.array([0.2, 0.7])) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(np.array([1, 0]), np.array([0.2, 0.7])) == pytest.approx(20, rel=1e-3)


def test_isotonic_pools_what_falls_and_is_kept_off_0_and_1() -> None:
    y = np.array([0, 0, 1, 0, 1, 1])
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    curve = fit_isotonic(y, p)
    np.testing.assert_allclose(curve(p), [1 / 8, 1 / 8, 0.5, 0.5, 7 / 8, 7 / 8])
    np.testing.assert_allclose(curve(np.array([0.0, 0.35, 0.6, 1.0])), [1 / 8, 0.5, (0.5 + 7 / 8) / 2, 7 / 8])


def test_corrections_fitted_on_validation_windows() -> None:
    y, p = planted(4000, 3.0, seed=1)
    held_y, held_p = planted(3000, 3.0, seed=2)
    draws = make_draws(y, np.arange(len(y)) // 2, n=100, seed=0)
    none, warm, steps = calibrations(
        y, p, np.arange(len(y)) // 2, draws, validation=Held(held_y, held_p, "chromosome 1, 3000 windows")
    )
    assert [c.method for c in (none, warm, steps)] == ["none", "temperature", "isotonic"]
    assert (none.fitted_on, none.temperature) == ("", None)
    assert warm.fitted_on == steps.fitted_on == "chromosome 1, 3000 windows"
    assert warm.temperature == fit_temperature(held_y, held_p) == pytest.approx(3, rel=0.1)
    corrected = {
        "none": p,
        "temperature": with_temperature(p, warm.temperature),
        "isotonic": fit_isotonic(held_y, held_p)(p),
    }
    rows = [np.repeat(np.arange(len(y)), counts) for counts in draws.counts]
    for c in (none, warm, steps):
        q = corrected[c.method]
        m = binary_metrics(y, q)
        assert (c.ece.value, c.brier.value, c.log_loss.value) == pytest.approx(
            (m.ece, m.brier, m.log_loss), abs=1e-12
        )
        samples = [expected_calibration_error(y[r], q[r]) for r in rows]
        assert (c.ece.low, c.ece.high) == pytest.approx(np.quantile(samples, [0.025, 0.975]), abs=1e-12)
        bins = reliability(y, q)
        assert c.n == bins.n.tolist()
        assert [np.nan if v is None else v for v in c.observed] == pytest.approx(
            list(bins.observed), nan_ok=True
        )
        assert [np.nan if v is None else v for v in c.mean_predicted] == pytest.approx(
            list(bins.mean_predicted), nan_ok=True
        )
    assert none.ece.value > 0.1
    assert warm.ece.value < 0.04
    assert steps.ece.value < 0.04
    assert warm.log_loss.value < none.log_loss.value


def test_without_validation_no_window_is_corrected_by_its_own_locus() -> None:
    # Noise: labels are those of the locus at random, so a fit that saw the locus would beat the best constant, log 2.
    rng = np.random.default_rng(3)
    locus = np.repeat(np.arange(200), 5)
    y = np.repeat(np.tile([0, 1], 100), 5)
    p = np.repeat(rng.random(200), 5)
    _, warm, steps = calibrations(y, p, locus, None)
    assert warm.fitted_on == steps.fitted_on == "test windows, cross-fitted over 5 folds of loci"
    assert steps.brier.value > 0.25
    assert steps.log_loss.value > np.log(2)
    assert fit_isotonic(y, p)(p).shape == y.shape
    assert (
        np.mean((fit_isotonic(y, p)(p) - y) ** 2) < 0.25
    )  # what fitting and testing on the same would have shown
    assert (warm.ece.low, warm.ece.high) == (None, None)


def test_cross_fitted_temperature_is_the_planted_one_and_repeats() -> None:
    y, p = planted(6000, 2.5, seed=4)
    locus = np.arange(len(y)) // 3
    found = calibrations(y, p, locus, None, seed=1)
    assert found[1].temperature == pytest.approx(2.5, rel=0.08)
    assert found == calibrations(y, p, locus, None, seed=1)
    assert found != calibrations(y, p, locus, None, seed=2)


@pytest.mark.parametrize("seed", range(4))
def test_few_loci_give_fewer_folds_each_with_both_classes_left(seed: int) -> None:
    y = np.array([1, 1, 0, 1, 0, 0, 0])
    p = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.1])
    for locus, folds in [([0, 0, 1, 1, 2, 2, 2], 3), ([0, 0, 0, 1, 1, 1, 1], 2), ([0, 0, 1, 2, 3, 4, 5], 5)]:
        found = calibrations(y, p, np.array(locus), None, seed=seed)
        assert [c.method for c in found] == ["none", "temperature", "isotonic"]
        assert found[1].fitted_on == f"test windows, cross-fitted over {folds} folds of loci"


@pytest.mark.parametrize("rare", [0, 1])
def test_a_class_in_two_loci_is_in_two_folds_whatever_the_seed(rare: int) -> None:
    locus = np.arange(90) // 2
    y = np.full(90, 1 - rare)
    y[[10, 50]] = rare
    orders = set()
    for seed in range(30):
        fold = locus_folds(y, locus, seed)
        assert fold[10] != fold[50]
        assert (fold[::2] == fold[1::2]).all()  # loci stay whole
        assert np.bincount(fold).tolist() == [18] * 5
        orders.add(tuple(fold))
    assert len(orders) > 25


def test_nothing_to_fit_on_gives_the_reason() -> None:
    y, p = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.2])
    one_with_open = np.array([0, 0, 1, 2])
    (only,) = calibrations(y, p, one_with_open, None)
    assert only.method == "none"
    assert only.fitted_on == "not corrected: fewer than two loci hold open, or closed, test windows"
    assert conformal_sets(y, p, one_with_open) == []
    lacking = Held(np.zeros(7, dtype=np.int64), np.full(7, 0.2), "chromosome 1, 7 windows")
    (only,) = calibrations(y, p, one_with_open, None, validation=lacking)
    assert only.fitted_on.endswith("test windows (of one class only: chromosome 1, 7 windows)")
    found = calibrations(y, p, np.arange(4), None, validation=lacking)
    assert found[1].fitted_on == (
        "test windows, cross-fitted over 4 folds of loci (of one class only: chromosome 1, 7 windows)"
    )


def test_test_windows_of_one_class_can_be_corrected_by_validation_windows() -> None:
    held = Held(*planted(300, 2.0), "validation fold")
    y, p = np.zeros(5, dtype=np.int64), np.linspace(0.1, 0.9, 5)
    assert [c.method for c in calibrations(y, p, np.arange(5), None, validation=held)][1:] == [
        "temperature",
        "isotonic",
    ]
    (sets,) = conformal_sets(y, p, np.arange(5), validation=held, levels=[0.9])
    assert sets.coverage_open is None
    assert sets.coverage_closed is not None


def test_conformal_thresholds_by_hand() -> None:
    # Nine windows of each class: at level 0.8, k = 8, the second smallest score of the class; at 0.95, k = 10 > 9.
    held_y = np.repeat([1, 0], 9)
    held_p = np.concatenate([np.arange(1, 10) / 10, np.arange(1, 10) / 10])
    y, p = np.array([1, 1, 0, 0]), np.array([0.2, 0.19, 0.8, 0.81])
    at_80, at_95 = conformal_sets(
        y, p, np.arange(4), validation=Held(held_y, held_p, "fold"), levels=(0.8, 0.95)
    )
    assert at_80.fitted_on == "fold"
    assert (at_80.coverage_open, at_80.coverage_closed) == (0.5, 0.5)
    assert (at_80.both, at_80.neither, at_80.single) == (0.5, 0.0, 0.5)
    assert (at_95.coverage_open, at_95.coverage_closed, at_95.both) == (1, 1, 1)


def test_sets_are_empty_where_neither_class_is_usual() -> None:
    held = Held(
        np.repeat([1, 0], 99), np.concatenate([np.linspace(0.8, 1, 99), np.linspace(0, 0.2, 99)]), "fold"
    )
    (sets,) = conformal_sets(
        np.array([1, 0]), np.array([0.5, 0.1]), np.arange(2), validation=held, levels=[0.9]
    )
    assert (sets.coverage_open, sets.coverage_closed, sets.neither, sets.single) == (0, 1, 0.5, 0.5)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_each_class_is_covered_at_the_level_however_rare(level: float) -> None:
    rng = np.random.default_rng(7)
    n, runs, covered = 40, 600, {0: 0, 1: 0}
    for _ in range(runs):
        # 8 % open; one test window per class and run, so that runs are independent.
        held_y = (np.arange(12 * n) % 12 == 0).astype(np.int64)
        held_p = expit(rng.normal(-2 + 1.5 * held_y, 1))
        y = np.array([0, 1])
        p = expit(rng.normal(-2 + 1.5 * y, 1))
        (sets,) = conformal_sets(y, p, y, validation=Held(held_y, held_p, "fold"), levels=[level])
        covered[0] += int(sets.coverage_closed)
        covered[1] += int(sets.coverage_open)
    for label, of_label in [(1, n), (0, 11 * n)]:
        exact = np.ceil((of_label + 1) * level) / (of_label + 1)  # of the theory, for scores without ties
        low, high = binom.ppf([0.001, 0.999], runs, exact)
        assert low <= covered[label] <= high


def test_cross_fitted_sets_cover_as_well() -> None:
    y, p = planted(5000, 3.0, seed=6)
    for sets in conformal_sets(y, p, np.arange(len(y)) // 2):
        assert sets.coverage_open == pytest.approx(sets.level, abs=0.02)
        assert sets.coverage_closed == pytest.approx(sets.level, abs=0.02)
        assert sets.both + sets.neither + sets.single == pytest.approx(1)


def test_bad_levels_are_named() -> None:
    y, p = planted(50, 1.0)
    with pytest.raises(ChromTransferError, match=r"got 90"):
        conformal_sets(y, p, np.arange(50), levels=[90])


def test_a_set_is_of_the_window_of_rank_n_plus_one_times_the_level():
    p_open = (
        np.arange(1, 11) / 20 + 0.4
    )  # of 10 windows, ceil(11 * 0.8) = 9 must be reached: the second lowest
    held = Held(np.repeat([1, 0], 10), np.concatenate([p_open, 1 - p_open]), "validation fold")
    y, p = np.array([1, 1, 0, 0]), np.array([0.51, 0.49, 0.49, 0.51])
    (found,) = conformal_sets(y, p, np.arange(4), validation=held, levels=(0.8,))
    assert (found.coverage_open, found.coverage_closed) == (0.5, 0.5)
    (found,) = conformal_sets(y, p - 0.02 * (p > 0.5), np.arange(4), validation=held, levels=(0.8,))
    assert found.coverage_open == 0
