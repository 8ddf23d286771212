"""Metrics against the paper's tables, brute force and closed forms."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from genome_helpers import real_data_folder
from scipy.integrate import quad

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import make_draws
from chromtransfer_plugin.evaluation.external import read_external
from chromtransfer_plugin.evaluation.inputs import LabelledWindows
from chromtransfer_plugin.evaluation.measures import measure_all
from chromtransfer_plugin.metrics import (
    auprc_davis_goadrich,
    auroc,
    average_precision,
    binary_metrics,
    bootstrap_difference,
    bootstrap_interval,
    expected_calibration_error,
    reliability,
)
from chromtransfer_plugin.regions import region_ids
from chromtransfer_plugin.splits import loci

# The released prediction tables on chr2 and chr3, calls at 0.5: line -> TP FP FN TN, then what is printed to four digits:
# F1 open, closed, weighted, of the fine-tuned models also macro, accuracy, and AP of the calls to three.
# HepG2, K562: the F1s printed in the paper.
FINE_TUNED = {
    "A549": ((845, 325, 1065, 8743), (0.5487, 0.9264, 0.8607, 0.7375, 0.8734, 0.417)),
    "GM12878": ((2635, 1301, 2087, 11194), (0.6087, 0.8686, 0.7973, 0.7386, 0.8032, 0.495)),
    "HCT116": ((854, 222, 1924, 9379), (0.4432, 0.8973, 0.7954, 0.6703, 0.8266, 0.399)),
    "HEPG2": ((3664, 551, 1878, 5440), (0.7511, 0.8175, 0.7856, 0.7843, 0.7894, 0.738)),
    "K562": ((2736, 1626, 1756, 18181), (0.6180, 0.9149, 0.8600, 0.7665, 0.8608, 0.454)),
    "MCF7": ((3354, 516, 3564, 8634), (0.6218, 0.8089, 0.7283, 0.7153, 0.7461, 0.642)),
}
MULTICLASS = {
    "A549": ((4, 2, 1906, 9066), (0.0042, 0.9048, 0.7481)),
    "GM12878": ((1493, 813, 3229, 11682), (0.4249, 0.8525, 0.7352)),
    "HCT116": ((229, 79, 2549, 9522), (0.1484, 0.8787, 0.7148)),
    "HEPG2": ((405, 22, 5137, 5969), (0.1357, 0.6983, 0.4279)),
    "K562": ((1953, 2566, 2539, 17241), (0.4335, 0.8710, 0.7902)),
    "MCF7": ((645, 53, 6273, 9097), (0.1694, 0.7420, 0.4955)),
}
N_AND_POSITIVE = {
    "A549": (10_978, 1_910),
    "GM12878": (17_217, 4_722),
    "HCT116": (12_379, 2_778),
    "HEPG2": (11_533, 5_542),
    "K562": (24_299, 4_492),
    "MCF7": (16_068, 6_918),
}
PRINTED = ("f1_positive", "f1_negative", "f1_weighted", "f1_macro", "accuracy", "average_precision_calls")
TWELVE = [("fine-tuned", line) for line in FINE_TUNED] + [("multi-class", line) for line in MULTICLASS]


def from_counts(tp: int, fp: int, fn: int, tn: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities with these confusion counts at 0.5."""
    y = np.repeat([1, 0, 1, 0], [tp, fp, fn, tn])
    return y, np.repeat([0.9, 0.9, 0.1, 0.1], [tp, fp, fn, tn])


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.3).astype(int)
    return y, np.round(np.clip(0.3 + 0.25 * y + rng.normal(0, 0.2, 200), 0, 1), 2)  # rounded: many ties


def published_scores(folder: Path, model: str, line: str) -> tuple[Path, LabelledWindows]:
    """A file in the form of the published ones (score, line, label, 0/1; no header), and the windows it belongs to.

    The rows are those of the confusion counts, in a random order.
    """
    counts = (FINE_TUNED if model == "fine-tuned" else MULTICLASS)[line][0]
    y, p = (v[np.random.default_rng(1).permutation(sum(counts))] for v in from_counts(*counts))
    table = pd.DataFrame({"chrom": "chr2", "start": 600 * np.arange(len(y)), "y": y})
    table["end"] = table["start"] + 600
    table["label"] = np.where(y == 1, line, f"{line}_NEG")
    windows = LabelledWindows(
        path=folder / f"{line}.csv",
        table=table.assign(locus=np.arange(len(y))),
        codes=np.empty((len(y), 0), dtype=np.uint8),
        rows=pd.DataFrame({"row": np.arange(len(y)), "id": region_ids(table), "label": table["label"]}),
        n_rows=len(y),
        read=[],
        dropped=[],
    )
    path = folder / f"eval.{line}.{model}.csv"
    pd.DataFrame([p, [line] * len(y), table["label"], y]).T.to_csv(path, header=False, index=False)
    return path, windows


@pytest.mark.parametrize(("model", "line"), TWELVE)
def test_files_of_the_published_form_give_the_published_numbers(
    tmp_path: Path, model: str, line: str
) -> None:
    path, windows = published_scores(tmp_path, model, line)
    measures = measure_all(windows.y, read_external(path, model, windows, line).scores, None)
    counts, printed = (FINE_TUNED if model == "fine-tuned" else MULTICLASS)[line]
    m = binary_metrics(windows.y, read_external(path, model, windows, line).scores)
    assert (m.tp, m.fp, m.fn, m.tn) == counts
    assert (m.n, m.n_positive) == N_AND_POSITIVE[line]
    for name, value in zip(PRINTED, printed, strict=False):
        digits = 3 if name == "average_precision_calls" else 4
        assert round(measures[name].value, digits) == value, name
    assert m.note == ""


def test_ranges_and_means_of_the_paper() -> None:
    found = [binary_metrics(*from_counts(*counts)) for counts, _ in FINE_TUNED.values()]
    # The mean is given as 0.8046, which is that of the rounded column; unrounded it is 0.80455.
    assert np.mean([m.f1_weighted for m in found]) == pytest.approx(0.80455, abs=5e-6)
    assert np.mean([round(m.f1_weighted, 4) for m in found]) == pytest.approx(0.8046, abs=5.1e-5)
    assert round(float(np.mean([m.average_precision_calls for m in found])), 3) == 0.524
    # "AUPRC 0.40-0.74" and "overall F1 0.73-0.86" are of these; the AUROC of calls is none of the paper's 0.79-0.89.
    calls, weighted = [m.average_precision_calls for m in found], [m.f1_weighted for m in found]
    assert (round(min(calls), 2), round(max(calls), 2)) == (0.40, 0.74)
    assert (round(min(weighted), 2), round(max(weighted), 2)) == (0.73, 0.86)
    of_calls = [m.auroc for m in found]  # from_counts has two scores only
    assert (round(min(of_calls), 2), round(max(of_calls), 2)) == (0.64, 0.78)


def test_a_baseline_that_never_calls_hct116_open() -> None:
    n, positive = N_AND_POSITIVE["HCT116"]
    m = binary_metrics(*from_counts(0, 0, positive, n - positive))
    assert m.f1_positive == 0
    assert round(m.f1_weighted, 2) == 0.68  # 0.80 less the gain that the paper names


def test_no_positive_call_gives_f1_zero_as_in_the_paper() -> None:
    m = binary_metrics([1, 0, 0, 0], [0.4, 0.1, 0.2, 0.3])
    assert m.f1_positive == 0.0
    assert m.f1_negative == pytest.approx(6 / 7)
    assert m.auroc == 1.0


def test_threshold_is_strict() -> None:
    m = binary_metrics([1, 0], [0.5, 0.2], threshold=0.5)
    assert (m.tp, m.fn) == (0, 1)
    assert binary_metrics([1, 0], [0.5, 0.2], threshold=0.4999).tp == 1


def test_auroc_is_the_share_of_ordered_pairs(scored: tuple) -> None:
    y, p = scored
    gap = p[y == 1][:, None] - p[y == 0][None, :]
    assert auroc(y, p) == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean(), abs=1e-12)


def test_brier_and_log_loss_by_hand() -> None:
    m = binary_metrics([1, 0], [0.8, 0.4])
    assert m.brier == pytest.approx((0.04 + 0.16) / 2)
    assert m.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)


def test_davis_goadrich_equals_numerical_integration(scored: tuple) -> None:
    y, p = scored
    points = [(0, 0)] + [(y[p >= t].sum(), (1 - y)[p >= t].sum()) for t in np.unique(p)[::-1]]
    area = 0.0
    for (t0, f0), (t1, f1) in pairwise(points):
        if t1 > t0:
            slope = (f1 - f0) / (t1 - t0)

            def precision(t: float, t0: float = t0, f0: float = f0, slope: float = slope) -> float:
                return t / (t + f0 + slope * (t - t0))

            area += quad(precision, max(t0, 1e-12), t1)[0]
    assert auprc_davis_goadrich(y, p) == pytest.approx(area / y.sum(), abs=1e-9)


def test_davis_goadrich_closed_forms() -> None:
    y = np.array([1, 1, 0, 0])
    assert auprc_davis_goadrich(y, np.array([0.9, 0.8, 0.2, 0.1])) == 1.0
    assert auprc_davis_goadrich(y, np.full(4, 0.3)) == pytest.approx(0.5)  # no ranking: the prevalence
    # One false positive ranked first: precision t / (t + 1), integrated over recall t / 2.
    expected = (2 - math.log(3)) / 2
    assert auprc_davis_goadrich(y, np.array([0.8, 0.7, 0.9, 0.1])) == pytest.approx(expected)


def test_davis_goadrich_is_close_to_average_precision_on_many_examples() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(20_000) < 0.3).astype(int)
    p = 1 / (1 + np.exp(-(y + rng.normal(size=y.size))))
    assert auprc_davis_goadrich(y, p) == pytest.approx(average_precision(y, p), abs=4e-4)


def test_calibration_error_of_the_released_hepg2_model() -> None:
    # n, mean predicted, observed share per bin, counted once from the released table; the error is .098.
    table = [
        (3564, 0.038, 0.090),
        (1500, 0.145, 0.277),
        (887, 0.247, 0.417),
        (727, 0.349, 0.525),
        (640, 0.448, 0.611),
        (650, 0.549, 0.714),
        (642, 0.651, 0.804),
        (729, 0.754, 0.849),
        (1021, 0.852, 0.907),
        (1173, 0.943, 0.971),
    ]
    p = np.concatenate([np.full(n, predicted) for n, predicted, _ in table])
    y = np.concatenate([np.arange(n) < round(n * observed) for n, _, observed in table]).astype(int)
    bins = reliability(y, p)
    assert bins.n.tolist() == [n for n, _, _ in table]
    np.testing.assert_allclose(bins.mean_predicted, [predicted for _, predicted, _ in table])
    np.testing.assert_allclose(bins.observed, [observed for _, _, observed in table], atol=1e-3)
    assert expected_calibration_error(y, p) == pytest.approx(0.098, abs=1e-3)


def test_bin_edges_and_empty_bins() -> None:
    bins = reliability([0, 0, 0, 1], [0.0, 0.3, 0.7, 1.0])
    assert bins.n.tolist() == [1, 0, 0, 1, 0, 0, 0, 1, 0, 1]
    assert np.isnan(bins.observed[1])
    assert expected_calibration_error([0, 0, 0, 1], [0.0, 0.3, 0.7, 1.0]) == pytest.approx(0.25)


def test_best_f1_is_the_maximum_and_its_threshold_reproduces_it(scored: tuple) -> None:
    y, p = scored
    m = binary_metrics(y, p)
    every = [binary_metrics(y, p, threshold=t).f1_positive for t in [-1.0, *np.unique(p)]]
    assert m.best_f1_positive == pytest.approx(max(every), abs=1e-12)
    assert binary_metrics(y, p, threshold=m.best_f1_threshold).f1_positive == pytest.approx(
        m.best_f1_positive, abs=1e-12
    )
    assert m.best_f1_positive > m.f1_positive  # the fixture is badly calibrated on purpose


def test_best_f1_when_everything_must_be_called() -> None:
    m = binary_metrics([1, 1, 0], [0.0, 0.4, 0.2])
    assert m.best_f1_positive == pytest.approx(0.8)
    assert binary_metrics([1, 1, 0], [0.0, 0.4, 0.2], m.best_f1_threshold).tp == 2


@pytest.mark.parametrize("label", [0, 1])
def test_single_class_gives_nan_with_a_note(label: int) -> None:
    m = binary_metrics([label] * 3, [0.2, 0.6, 0.9])
    undefined = (
        m.auroc,
        m.average_precision,
        m.average_precision_calls,
        m.auprc_davis_goadrich,
        m.best_f1_positive,
        m.best_f1_threshold,
    )
    assert all(math.isnan(v) for v in undefined)
    assert "one class" in m.note
    assert m.accuracy == pytest.approx(2 / 3 if label else 1 / 3)
    assert m.brier == pytest.approx(np.mean((np.array([0.2, 0.6, 0.9]) - label) ** 2))


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [0.5], "same length"),
        ([], [], "no example"),
        ([0, 2], [0.1, 0.2], "label .*2.* at position 1"),
        ([0, 1], [0.1, 3.2], "3.2 at position 1 .*sigmoid"),
        ([0, 1], [math.nan, 0.1], "nan at position 0"),
    ],
)
def test_bad_input_is_named(y: list, p: list, message: str) -> None:
    with pytest.raises(ChromTransferError, match=message):
        binary_metrics(y, p)


def test_bootstrap_interval_of_a_mean_is_the_normal_interval() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(400)
    y = rng.integers(0, 2, 400)
    interval = bootstrap_interval(y, p, metric=lambda _, p: float(p.mean()), n=2000, seed=5)
    error = p.std() / math.sqrt(400)
    assert interval.estimate == pytest.approx(p.mean())
    assert interval.low == pytest.approx(p.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(p.mean() + 1.96 * error, abs=0.15 * error)
    assert interval == bootstrap_interval(y, p, metric=lambda _, p: float(p.mean()), n=2000, seed=5)


def test_bootstrap_redraws_resamples_without_a_class_and_counts_them() -> None:
    interval = bootstrap_interval([1, 0, 0, 0, 0], [0.9, 0.5, 0.2, 0.1, 0.3], n=1000)
    lacking = 0.8**5 + 0.2**5
    expected = 1000 * lacking / (1 - lacking)
    assert interval.redrawn == pytest.approx(expected, rel=0.15)
    assert interval[:3] == (1.0, 1.0, 1.0)


def test_paired_difference_of_a_model_with_itself_is_zero(scored: tuple) -> None:
    y, p = scored
    assert bootstrap_difference(y, p, p, n=50)[:3] == (0.0, 0.0, 0.0)


def test_paired_difference_is_tighter_than_unpaired(scored: tuple) -> None:
    y, p = scored
    worse = np.clip(p + np.random.default_rng(4).normal(0, 0.03, p.size), 0, 1)
    paired = bootstrap_difference(y, p, worse, n=300)
    single = bootstrap_interval(y, p, n=300)
    assert paired.estimate == pytest.approx(auroc(y, p) - auroc(y, worse))
    assert paired.low <= paired.estimate <= paired.high
    assert paired.high - paired.low < 0.5 * (single.high - single.low)


def test_bootstrap_of_one_class_is_refused() -> None:
    with pytest.raises(ChromTransferError, match="both classes"):
        bootstrap_interval([1, 1], [0.2, 0.3])
    with pytest.raises(ChromTransferError, match="level"):
        bootstrap_interval([1, 0], [0.2, 0.3], level=95)


@pytest.mark.real_data
@pytest.mark.parametrize("line", FINE_TUNED)
def test_released_predictions_reproduce_their_summary(line: str) -> None:
    folder = real_data_folder() / "paper_scores"
    expected = json.loads((folder / "summary.json").read_text())[line]
    table = pd.read_csv(folder / f"{line}.csv")
    y, p = table["label"].to_numpy(), table["score"].to_numpy()
    windows = table["region"].str.extract(r"(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)")
    locus = loci(windows.astype({"start": int, "end": int}))
    measures = measure_all(y, p, make_draws(y, locus, n=200))
    assert (len(y), y.sum()) == (expected["n"], expected["pos"])
    assert measures["auroc"].value == pytest.approx(expected["auroc"], abs=5e-5)
    assert measures["average_precision"].value == pytest.approx(expected["ap"], abs=5e-5)
    for name, measure in measures.items():
        assert math.isfinite(measure.value), name
        if name != "best_f1_threshold":
            # The calibration error is a mean of absolute values: resamples, which are noisier, have a larger one.
            assert measure.low <= measure.value <= measure.high or name == "ece", name
