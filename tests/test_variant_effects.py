"""From logits to the scores of an allele: closed forms, exact zeros and signs, and what float32 would lose."""

from __future__ import annotations

from decimal import Decimal, getcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chromtransfer_plugin.variants.effects import effects_of, log_odds

SIGMOID = SimpleNamespace(columns=("a", "b"), activation="sigmoid")
SOFTMAX = SimpleNamespace(columns=("x", "y", "z"), activation="softmax")


def scores(ref, alt) -> SimpleNamespace:
    return SimpleNamespace(ref=np.array(ref, dtype=np.float32), alt=np.array(alt, dtype=np.float32))


def test_known_probabilities():
    ref = np.log([[1.0, 3.0, 1.0, 2.0, 5.0]])  # odds 1 and 3; classes 1/8, 2/8, 5/8
    alt = np.log([[9.0, 1.0, 2.0, 2.0, 4.0]])  # odds 9 and 1; classes 2/8, 2/8, 4/8
    effects = effects_of(scores(ref, alt), [SIGMOID, SOFTMAX])
    np.testing.assert_allclose(effects.p_ref, [[0.5, 0.75, 0.125, 0.25, 0.625]], rtol=1e-6)
    np.testing.assert_allclose(effects.p_alt, [[0.9, 0.5, 0.25, 0.25, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(effects.difference, [[0.4, -0.25, 0.125, 0, -0.125]], atol=1e-7)
    odds = [[9, 1 / 3, (2 / 6) / (1 / 7), 1, 1 / (5 / 3)]]
    np.testing.assert_allclose(effects.log_odds, np.log(odds), rtol=1e-6, atol=1e-7)
    assert all(values.dtype == np.float32 for values in effects)


def test_softmax_of_two_classes_is_a_sigmoid():
    logits = np.random.default_rng(0).normal(0, 20, (50, 2)).astype(np.float32)
    np.testing.assert_allclose(
        log_odds(logits, "softmax")[:, 0], logits[:, 0].astype(float) - logits[:, 1], rtol=1e-12
    )


def test_probabilities_are_those_of_prediction():
    logits = np.random.default_rng(1).normal(0, 4, (200, 5)).astype(np.float32)
    effects = effects_of(scores(logits, logits[::-1]), [SIGMOID, SOFTMAX])
    z = torch.from_numpy(logits)
    p = torch.cat([torch.sigmoid(z[:, :2]), torch.softmax(z[:, 2:], dim=1)], dim=1).numpy()
    np.testing.assert_allclose(effects.p_ref, p, rtol=2e-6)
    np.testing.assert_allclose(effects.p_alt, p[::-1], rtol=2e-6)


def test_same_alleles_have_no_effect_at_all():
    logits = np.random.default_rng(2).normal(0, 30, (500, 5)).astype(np.float32)
    effects = effects_of(scores(logits, logits), [SIGMOID, SOFTMAX])
    assert (effects.difference == 0).all()
    assert (effects.log_odds == 0).all()


def test_exchanging_alleles_changes_the_sign_exactly():
    rng = np.random.default_rng(3)
    ref, alt = rng.normal(0, 30, (2, 500, 5)).astype(np.float32)
    one = effects_of(scores(ref, alt), [SIGMOID, SOFTMAX])
    other = effects_of(scores(alt, ref), [SIGMOID, SOFTMAX])
    assert np.array_equal(one.difference, -other.difference)
    assert np.array_equal(one.log_odds, -other.log_odds)
    assert np.array_equal(one.p_ref, other.p_alt)
    assert np.count_nonzero(one.difference) > 2_000


@pytest.mark.parametrize(
    ("ref", "alt"), [(0.0, 1e-7), (30, 30.00001), (-40, -39), (80, -80), (-90, 90), (17, 60)]
)
def test_differences_too_small_for_a_subtraction(ref, alt):
    getcontext().prec = 60
    ref, alt = np.float32(ref), np.float32(alt)
    p = [1 / (1 + (-Decimal(float(z))).exp()) for z in (ref, alt)]
    logits = [[[z, z]] for z in (ref, alt)]
    effects = effects_of(scores(*logits), [SIGMOID])
    assert effects.difference[0, 0] != 0
    np.testing.assert_allclose(effects.difference[0], float(p[1] - p[0]), rtol=1e-6)


def test_extreme_logits_stay_finite():
    effects = effects_of(
        scores([[1e38, -1e38, 1e30, 0, -1e30]], [[-1e38, 1e38, -1e30, 0, 1e30]]), [SIGMOID, SOFTMAX]
    )
    assert np.isfinite(effects.difference).all()
    np.testing.assert_allclose(effects.difference, [[-1, 1, -1, 0, 1]])


def test_missing_rows_stay_missing():
    nan = [np.nan] * 5
    effects = effects_of(scores([nan, [0] * 5], [nan, [1, 2, 0, 0, 0]]), [SIGMOID, SOFTMAX])
    for values in effects:
        assert np.isnan(values[0]).all()
        assert np.isfinite(values[1]).all()
    assert effects_of(scores(np.zeros((0, 5)), np.zeros((0, 5))), [SIGMOID, SOFTMAX]).p_ref.shape == (0, 5)
