"""Paired tests: DeLong against its definition and the bootstrap, P-values under the null, false discovery rates."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.comparisons import bootstrap_p, compare_models, delong, with_q_values
from chromtransfer_plugin.evaluation.draws import make_draws
from chromtransfer_plugin.evaluation.measures import metric_samples
from chromtransfer_plugin.evaluation.record import COMPARED, Comparison, LineResult, Measure
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.evaluation.weighted import resampled
from chromtransfer_plugin.metrics import auroc, binary_metrics


def by_definition(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Difference and its error from the structural components of all pairs, as DeLong et al. write them."""
    components = []
    for score in (a, b):
        opened, closed = score[y == 1][:, None], score[y == 0][None, :]
        wins = (opened > closed) + 0.5 * (opened == closed)
        components.append((wins.mean(), wins.mean(axis=1), wins.mean(axis=0)))
    (auc_a, v10_a, v01_a), (auc_b, v10_b, v01_b) = components
    s10, s01 = np.cov(v10_a, v10_b), np.cov(v01_a, v01_b)
    s = s10 / len(v10_a) + s01 / len(v01_a)
    return auc_a - auc_b, math.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])


def scored(seed: int, n: int = 200, digits: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.35).astype(np.int64)
    shared = 0.4 + 0.1 * y + rng.normal(0, 0.1, n)
    a, b = (np.round(np.clip(shared + s * y + rng.normal(0, 0.1, n), 0, 1), digits) for s in (0.05, 0))
    return y, a, b


@pytest.mark.parametrize("digits", [1, 2, 8])  # 1: most windows are tied
def test_delong_is_its_definition(digits: int) -> None:
    for seed in range(5):
        y, a, b = scored(seed, digits=digits)
        difference, error = by_definition(y, a, b)
        found = delong(y, a, b)
        assert found.difference == pytest.approx(difference, abs=1e-12)
        assert found.difference == pytest.approx(auroc(y, a) - auroc(y, b), abs=1e-12)
        assert found.standard_error == pytest.approx(error, abs=1e-12)
        assert found.p_value == pytest.approx(2 * norm.sf(abs(difference) / error), abs=1e-12)
        back = delong(y, b, a)
        assert (back.difference, back.p_value) == (-found.difference, found.p_value)


def test_delong_by_hand() -> None:
    # a ranks open 4, 2 over closed 3, 1: it wins 3 of 4 pairs; b wins all. Components a: (1, 1/2) and (1/2, 1).
    y = np.array([1, 1, 0, 0])
    a, b = np.array([0.4, 0.2, 0.3, 0.1]), np.array([0.4, 0.3, 0.2, 0.1])
    found = delong(y, a, b)
    assert found.difference == -0.25
    assert found.standard_error == pytest.approx(math.sqrt(0.125 / 2 + 0.125 / 2))
    assert found.p_value == pytest.approx(math.erfc(0.25 / math.sqrt(0.125) / math.sqrt(2)))


def test_scores_of_the_same_order_do_not_differ() -> None:
    y, a, _ = scored(1, n=333)
    assert delong(y, a, a) == (0.0, 0.0, 1.0)
    assert delong(y, a, a**3 / 2) == (0.0, 0.0, 1.0)


def test_degenerate_cases_are_none_not_nan() -> None:
    y = np.array([1, 1, 0, 0])
    right = np.array([0.9, 0.8, 0.2, 0.1])
    assert delong(y, right, 1 - right) == (1.0, 0.0, None)
    assert delong(np.array([1, 0, 0]), np.array([0.3, 0.1, 0.5]), np.array([0.6, 0.1, 0.5])) == (
        -0.5,
        None,
        None,
    )
    with pytest.raises(ChromTransferError, match="one class"):
        delong(np.ones(3, dtype=np.int64), right[:3], right[:3])


def test_p_values_of_equal_models_are_below_the_level_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    below, below_bootstrap, runs = 0, 0, 400
    for i in range(runs):
        y = np.repeat([1, 0], [60, 90])
        shared = 0.8 * y + rng.normal(size=150)
        a, b = (1 / (1 + np.exp(-(shared + rng.normal(size=150)))) for _ in range(2))
        below += delong(y, a, b).p_value < 0.1
        counts = make_draws(y, y, resample="window", n=99, seed=i).counts
        of_a, of_b = (resampled(y, p, counts)[0]["auroc"] for p in (a, b))
        below_bootstrap += bootstrap_p(of_a - of_b) < 0.1
    low, high = binom.ppf([0.001, 0.999], runs, 0.1)
    assert low <= below <= high
    assert low <= below_bootstrap <= high


def table(y: np.ndarray, **scores: np.ndarray) -> ScoreTable:
    return ScoreTable("HEPG2", pd.DataFrame({"y": y}), scores)


def test_comparisons_are_differences_on_the_same_resamples() -> None:
    y, a, b = scored(3)
    draws = make_draws(y, np.arange(len(y)) // 2, n=60, seed=1)
    found = compare_models(table(y, a=a, b=b), [("a", "b"), ("b", "a")], draws, level=0.9)
    assert [(c.a, c.b, c.metric) for c in found] == [("a", "b", m) for m in COMPARED] + [
        ("b", "a", m) for m in COMPARED
    ]
    rows = [np.repeat(np.arange(len(y)), counts) for counts in draws.counts]
    of_a, of_b = ([binary_metrics(y[r], p[r]) for r in rows] for p in (a, b))
    for c, back in zip(found[: len(COMPARED)], found[len(COMPARED) :], strict=True):
        d = np.array([getattr(x, c.metric) - getattr(z, c.metric) for x, z in zip(of_a, of_b, strict=True)])
        value = getattr(binary_metrics(y, a), c.metric) - getattr(binary_metrics(y, b), c.metric)
        assert c.difference.value == pytest.approx(value, abs=1e-12)
        assert (c.difference.low, c.difference.high) == pytest.approx(np.quantile(d, [0.05, 0.95]), abs=1e-12)
        assert c.p_bootstrap == pytest.approx(min(1, 2 * (1 + min((d <= 0).sum(), (d >= 0).sum())) / 61))
        assert (back.difference.value, back.p_bootstrap) == (-c.difference.value, c.p_bootstrap)
        assert c.p_delong == (delong(y, a, b).p_value if c.metric == "auroc" else None)
        assert c.q is None


def test_given_samples_are_used_and_change_nothing() -> None:
    y, a, b = scored(8)
    draws = make_draws(y, np.arange(len(y)), n=40)
    plain = compare_models(table(y, a=a, b=b), [("a", "b")], draws)
    of_b = metric_samples(y, b, draws)
    assert compare_models(table(y, a=a, b=b), [("a", "b")], draws, samples={"b": of_b}) == plain
    moved = {name: values + 1 for name, values in of_b.items()}
    (first, *_) = compare_models(table(y, a=a, b=b), [("a", "b")], draws, samples={"b": moved})
    assert first.difference.low == pytest.approx(plain[0].difference.low - 1)


def test_a_model_compared_with_itself() -> None:
    y, a, _ = scored(4)
    for c in compare_models(
        table(y, a=a, same=a.copy()), [("a", "same")], make_draws(y, np.arange(len(y)), n=50)
    ):
        assert (c.difference, c.p_bootstrap) == (Measure(value=0, low=0, high=0), 1.0)
        assert c.p_delong == (1.0 if c.metric == "auroc" else None)


def test_bootstrap_error_of_windows_is_that_of_delong() -> None:
    y, a, b = scored(5, n=600)
    draws = make_draws(y, y, resample="window", n=2000, seed=2)
    c = compare_models(table(y, a=a, b=b), [("a", "b")], draws, level=2 * norm.cdf(1) - 1)[0]
    assert (c.difference.high - c.difference.low) / 2 == pytest.approx(
        delong(y, a, b).standard_error, rel=0.06
    )


def test_bootstrap_p_values() -> None:
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.append(np.ones(99), -np.ones(900))) == pytest.approx(0.2)
    assert bootstrap_p(np.zeros(10)) == 1
    assert bootstrap_p(np.array([])) is None


def test_one_locus_gives_differences_without_intervals() -> None:
    y, a, b = scored(6)
    c = compare_models(table(y, a=a, b=b), [("a", "b")], make_draws(y, np.zeros_like(y)))[0]
    assert (c.difference.low, c.difference.high, c.p_bootstrap) == (None, None, None)
    assert c.difference.value == pytest.approx(auroc(y, a) - auroc(y, b))


def test_a_model_without_scores_is_named() -> None:
    y, a, _ = scored(7)
    with pytest.raises(ChromTransferError, match=r"HEPG2: .*'b' to compare, only of a"):
        compare_models(table(y, a=a), [("a", "b")], make_draws(y, y, resample="window", n=2))


def test_q_values_are_benjamini_hochberg_per_metric_over_lines() -> None:
    def comparison(metric: str, p: float | None) -> Comparison:
        return Comparison(a="a", b="b", metric=metric, difference=Measure(value=0.1), p_bootstrap=p)

    def line(name: str, *comparisons: Comparison) -> LineResult:
        return LineResult(line=name, n=9, n_positive=3, n_loci=9, models=[], comparisons=list(comparisons))

    lines = with_q_values(
        [
            line("A", comparison("auroc", 0.01), comparison("brier", 0.5), comparison("auroc", None)),
            line("B", comparison("auroc", 0.03)),
            line("C", comparison("auroc", 0.04)),
            line("D"),
        ]
    )
    assert [[c.q for c in result.comparisons] for result in lines] == [
        [pytest.approx(0.03), 0.5, None],  # 0.01 * 3
        [pytest.approx(0.04)],  # 0.03 * 3 / 2 = 0.045, but the next larger gives 0.04
        [pytest.approx(0.04)],
        [],
    ]
    assert with_q_values([]) == []
