"""Metrics of resamples against the metrics of the resamples written out."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import log_loss

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import Draws, make_draws
from chromtransfer_plugin.evaluation.measures import measure_all, metric_samples
from chromtransfer_plugin.evaluation.record import METRICS
from chromtransfer_plugin.evaluation.weighted import CALLED, PROPER, RANKED, resampled
from chromtransfer_plugin.metrics import (
    auroc,
    average_precision,
    binary_metrics,
    bootstrap_interval,
    window_log_loss,
)

KINDS = ["smooth", "ties", "constant", "calls", "edges", "reversed", "closed only called"]


def scored(kind: str, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(KINDS.index(kind))
    y = (rng.random(n) < 0.3).astype(np.int64)
    p = np.clip(0.35 + 0.2 * y + rng.normal(0, 0.2, n), 0, 1)
    if kind == "ties":
        p = np.round(p, 1)  # also exactly 0.5 and on edges of bins
    elif kind == "constant":
        p = np.full(n, 0.25)
    elif kind == "calls":
        p = (p > 0.5).astype(float)
    elif kind == "edges":
        p = np.where(p < 0.3, 0.0, np.where(p > 0.7, 1.0, p))
    elif kind == "reversed":
        p = 1 - p
    elif kind == "closed only called":
        p = p / 3
    return y, p


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resample", ["locus", "window"])
def test_every_metric_of_every_resample_is_that_of_the_resample_written_out(kind: str, resample: str) -> None:
    y, p = scored(kind)
    draws = make_draws(y, np.arange(len(y)) // 4, resample=resample, n=25, seed=8)
    best = binary_metrics(y, p).best_f1_threshold
    at_half, at_best = resampled(y, p, draws.counts, thresholds=(0.5, best))
    assert set(at_half) == {*CALLED, *PROPER, *RANKED}
    for threshold, found in [(0.5, at_half), (best, at_best)]:
        for r, counts in enumerate(draws.counts):
            rows = np.random.default_rng(r).permutation(np.repeat(np.arange(len(y)), counts))
            expected = binary_metrics(y[rows], p[rows], threshold)
            for name, values in found.items():
                assert values[r] == pytest.approx(getattr(expected, name), abs=1e-12), (name, r)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p = scored("ties")
    counts = make_draws(y, np.arange(len(y)), n=23).counts
    whole = resampled(y, p, counts)[0]
    monkeypatch.setattr("chromtransfer_plugin.evaluation.weighted._CELLS", 7 * len(y))
    parts = resampled(y, p, counts)[0]
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-14)
    assert set(resampled(y, p, counts, ranked=False)[0]) == {*CALLED, *PROPER}


def test_measures_are_the_values_and_the_percentiles() -> None:
    y, p = scored("ties")
    draws = make_draws(y, np.arange(len(y)) // 3, n=40, seed=5)
    measures = measure_all(y, p, draws, level=0.9)
    assert list(measures) == list(METRICS)
    assert measures == measure_all(y, p, draws, level=0.9, samples=metric_samples(y, p, draws))
    at_half = binary_metrics(y, p)
    at_best = binary_metrics(y, p, at_half.best_f1_threshold)
    rows = [np.repeat(np.arange(len(y)), counts) for counts in draws.counts]
    written_out = {t: [binary_metrics(y[r], p[r], t) for r in rows] for t in (0.5, at_best.threshold)}
    for name, measure in measures.items():
        if name in ("best_f1_negative", "best_f1_weighted", "best_f1_macro"):
            threshold, of = at_best.threshold, name.removeprefix("best_")
            assert measure.value == getattr(at_best, of)
        elif name == "best_f1_positive":
            threshold, of = at_best.threshold, "f1_positive"
            assert measure.value == at_half.best_f1_positive
        else:
            threshold, of = 0.5, name
            assert measure.value == getattr(at_half, of)
        if name == "best_f1_threshold":
            assert (measure.low, measure.high) == (None, None)
        else:
            samples = [getattr(m, of) for m in written_out[threshold]]
            assert (measure.low, measure.high) == pytest.approx(np.quantile(samples, [0.05, 0.95]), abs=1e-12)


def test_intervals_over_windows_are_those_of_the_bootstrap_of_any_metric() -> None:
    y, p = scored("ties")
    measures = measure_all(y, p, make_draws(y, y, resample="window", n=60, seed=4), level=0.8)
    for metric, name in [(auroc, "auroc"), (average_precision, "average_precision")]:
        expected = bootstrap_interval(y, p, metric, n=60, level=0.8, seed=4)
        found = (measures[name].value, measures[name].low, measures[name].high)
        assert found == pytest.approx(expected[:3], abs=1e-12)


def test_without_draws_or_with_one_locus_there_is_no_interval() -> None:
    y, p = scored("smooth")
    for draws in (None, make_draws(y, np.zeros(len(y), dtype=np.int64))):
        measures = measure_all(y, p, draws)
        assert measures["auroc"].value == binary_metrics(y, p).auroc
        assert {(m.low, m.high) for m in measures.values()} == {(None, None)}


def test_one_class_has_no_ranks_but_the_rest() -> None:
    measures = measure_all(np.zeros(4, dtype=np.int64), np.array([0.1, 0.2, 0.6, 0.3]), None)
    missing = {name for name, measure in measures.items() if measure.value is None}
    assert missing == {*RANKED, "average_precision_calls", *(n for n in METRICS if n.startswith("best_"))}
    assert measures["accuracy"].value == 0.75
    assert measures["brier"].value == pytest.approx((0.01 + 0.04 + 0.36 + 0.09) / 4)


def test_log_loss_is_that_of_scikit_learn_at_0_and_1() -> None:
    y, p = scored("edges")
    assert window_log_loss(y, p).mean() == pytest.approx(log_loss(y, p, labels=[0, 1]), abs=1e-12)


def test_intervals_over_loci_are_wider_where_neighbours_agree() -> None:
    # Ten copies of each window: as many loci as before, so the interval must stay; over windows it shrinks by sqrt(10).
    y, p = scored("smooth", 120)
    many_y, many_p, locus = np.repeat(y, 10), np.repeat(p, 10), np.repeat(np.arange(len(y)), 10)

    def width(draws: Draws, y: np.ndarray, p: np.ndarray) -> float:
        measure = measure_all(y, p, draws)["auroc"]
        assert measure.low is not None
        assert measure.high is not None
        return measure.high - measure.low

    single = width(make_draws(y, np.arange(len(y)), seed=1), y, p)
    assert width(make_draws(many_y, locus, seed=1), many_y, many_p) == pytest.approx(single, rel=1e-9)
    of_windows = width(make_draws(many_y, locus, resample="window", seed=1), many_y, many_p)
    assert of_windows == pytest.approx(single / np.sqrt(10), rel=0.15)


def test_bad_input_is_named() -> None:
    with pytest.raises(ChromTransferError, match="sigmoid"):
        measure_all(np.array([0, 1]), np.array([0.2, 1.2]), None)
    y, p = scored("smooth")
    with pytest.raises(ChromTransferError, match="level=95"):
        measure_all(y, p, make_draws(y, np.arange(len(y)), n=3), level=95)


def test_a_thousand_resamples_of_a_line_of_the_paper_take_seconds() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(24_000) < 0.19).astype(np.int64)
    p = np.clip(0.2 + 0.2 * y + rng.normal(0, 0.2, y.size), 0, 1)
    draws = make_draws(y, np.arange(y.size) // 3)
    started = time.process_time()
    measure_all(y, p, draws)
    assert time.process_time() - started < 10  # under 1 on a slow core; written out, minutes
