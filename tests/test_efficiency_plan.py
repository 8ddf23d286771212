"""Data efficiency: which windows are drawn, and the table of the results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.efficiency.kept import FinishedDraw
from chromtransfer_plugin.efficiency.plan import Sampling, class_sizes, draw_seed, plan_shares
from chromtransfer_plugin.efficiency.record import FRACTIONS, Draw, Row
from chromtransfer_plugin.efficiency.summary import finding, measures_of, summarise
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.draws import make_draws

PAPER = {0.01: 747, 0.05: 3733, 0.10: 7467, 0.15: 11201, 0.20: 14935, 0.25: 18668, 0.75: 56005, 1.0: 74673}


def make_labels(n: int = 200, positives: int = 60) -> tuple[np.ndarray, pd.DataFrame]:
    y = np.zeros(n, dtype=np.int64)
    y[np.random.default_rng(0).permutation(n)[:positives]] = 1
    # Two windows share a locus.
    start = np.repeat(np.arange(n // 2) * 50_000, 2) + np.tile([0, 600], n // 2)
    return y, pd.DataFrame({"chrom": "chr1", "start": start, "end": start + 600})


def test_sizes_are_those_of_the_paper():
    assert {fraction: sum(class_sizes(fraction, 25_669, 49_004)) for fraction in PAPER} == PAPER
    # The paper prints 37,366: one digit off.
    assert sum(class_sizes(0.5, 25_669, 49_004)) == 37_336
    # "Positives: 257 at 1 %, 1,283 at 5 %".
    assert [class_sizes(fraction, 25_669, 49_004)[0] for fraction in (0.01, 0.05)] == [257, 1283]


def test_the_default_shares_are_the_papers():
    y, table = make_labels(2000, 700)
    shares = plan_shares(y, table, Sampling(), hold_out=False)
    assert [share.fraction for share in shares] == [f for f in FRACTIONS for _ in range(10)] + [1.0]
    for share in shares:
        positives = round(700 * share.fraction)
        assert int(y[share.train].sum()) == positives
        assert share.n == positives + round(1300 * share.fraction)
        assert len(set(share.train)) == share.n
    assert len({tuple(share.train) for share in shares}) == 81
    assert shares[-1].train.tolist() == list(range(2000))


def test_a_share_depends_on_its_fraction_number_and_seed_alone():
    y, table = make_labels()
    many = plan_shares(y, table, Sampling((0.1, 0.2, 1.0), 4), hold_out=True)
    (few,) = [s for s in plan_shares(y, table, Sampling((0.2,), 3), hold_out=True) if s.draw == 2]
    (same,) = [s for s in many if s[:2] == (0.2, 2)]
    assert few.seed == same.seed == draw_seed(1, 0.2, 2)
    assert np.array_equal(few.train, same.train)
    assert np.array_equal(few.validation, same.validation)
    other = plan_shares(y, table, Sampling((0.2,), 3, seed=2), hold_out=True)[2]
    assert not np.array_equal(other.train, same.train)


def test_a_fold_of_loci_validates():
    y, table = make_labels()
    for share in plan_shares(y, table, Sampling((0.2, 0.5, 1.0), 3), hold_out=True):
        assert not set(share.train) & set(share.validation)
        assert not set(share.train // 2) & set(share.validation // 2)  # the number of the locus
        assert share.n / 3 - 2 <= len(share.validation) <= share.n / 3 + 2


def test_with_replacement_windows_come_again():
    y, table = make_labels()
    shares = plan_shares(y, table, Sampling((0.5, 1.0), 3, replace=True), hold_out=False)
    for share in shares[:-1]:
        assert share.n == 100
        assert int(y[share.train].sum()) == 30
        assert len(set(share.train)) < 95
    assert len(set(shares[-1].train)) == 200


def test_shares_without_a_class_are_drawn_again_and_counted():
    y, table = make_labels(200, 10)
    shares = plan_shares(y, table, Sampling((0.05,), 40, stratified=False), hold_out=False)
    assert all(share.n == 10 and 0 < y[share.train].sum() < 10 for share in shares)
    # A share of 10 windows has none of the 10 positives in 59 % of the cases: 1.4 redraws each.
    assert 30 < sum(share.redrawn for share in shares) < 90


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling((5.0,)), r"fraction 5 is not above 0 and at most 1\. Write 0.05 for 5 %"),
        (Sampling((0.0,)), "fraction 0 is not above 0"),
        (Sampling((float("nan"),)), "fraction nan is not above 0"),
        (Sampling((0.1, 0.1)), "a fraction is given twice"),
        (Sampling(()), "no fraction given"),
        (Sampling((0.1,), 0), "draws=0"),
        (
            Sampling((0.005,)),
            r"0.5 % of the 200 training windows \(60 positive\) cannot be trained on: it has 0 positive and 1 negative "
            r"windows to train on.*The smallest whole percentage that works is 1 %",
        ),
    ],
)
def test_shares_that_cannot_be(sampling, message):
    y, table = make_labels()
    with pytest.raises(ChromTransferError, match=message):
        plan_shares(y, table, sampling, hold_out=False)


def test_too_few_loci_to_validate():
    y, table = make_labels()
    with pytest.raises(
        ChromTransferError, match=r"fewer than 3 loci.*smallest whole percentage that works is 2 %"
    ):
        plan_shares(y, table, Sampling((0.01,)), hold_out=True)
    with pytest.raises(ChromTransferError, match=r"200 windows lie in fewer than 3 loci.*No share works"):
        plan_shares(y, table.assign(start=0, end=600), Sampling((1.0,)), hold_out=True)


# --- summary ------------------------------------------------------------------------------------------------


def make_finished(y: np.ndarray, fraction: float, number: int, strength: float) -> FinishedDraw:
    rng = np.random.default_rng([number, int(1000 * fraction)])
    p = 1 / (1 + np.exp(-(strength * (2 * y - 1) + rng.normal(size=len(y)))))
    draw = Draw(
        fraction=fraction, draw=number, n=int(100 * fraction), n_positive=1, seed=0, seconds=0,
        measures=measures_of(y, p.astype(np.float32)),
    )  # fmt: skip
    return FinishedDraw(draw, p.astype(np.float32))


def test_rows_are_means_and_deviations_and_bands_hold_both_sources():
    y = np.random.default_rng(1).integers(0, 2, 300)
    finished = [make_finished(y, 0.5, k, 0.5) for k in range(6)] + [make_finished(y, 1.0, 0, 0.6)]
    resamples = make_draws(y, np.arange(300), resample="window", n=400, seed=1)
    half, full = summarise(finished, y, resamples, 0.95, 1)
    values = np.array([one.draw.measures["auroc"] for one in finished[:6]])
    assert half.mean["auroc"] == pytest.approx(values.mean())
    assert half.sd["auroc"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 5))
    assert full.sd["auroc"] is None
    assert full.draws == 1
    # One model: the plain bootstrap of the windows, computed by hand on a few resamples.
    from chromtransfer_plugin.metrics import auroc

    by_hand = [
        auroc(np.repeat(y, counts), np.repeat(finished[-1].probability.astype(float), counts))
        for counts in resamples.counts
    ]
    assert (full.low["auroc"], full.high["auroc"]) == pytest.approx(
        tuple(np.percentile(by_hand, [2.5, 97.5]))
    )
    assert half.low["auroc"] < half.mean["auroc"] < half.high["auroc"]
    assert half.low["best_f1_threshold"] is None  # chosen on the test windows: no band
    # Draws that differ widen the band where the windows alone would not.
    apart = [make_finished(y, 0.5, k, 0.1 + 0.4 * k) for k in range(6)]
    (row,) = summarise(apart, y, resamples, 0.95, 1)
    assert row.high["auroc"] - row.low["auroc"] > 2 * (half.high["auroc"] - half.low["auroc"])


def make_row(fraction: float, auroc: float | None, low: float | None = 0.7) -> Row:
    n = round(2267 * fraction)
    return Row(
        fraction=fraction,
        n=n,
        draws=10,
        mean={"auroc": auroc},
        sd={},
        low={"auroc": low},
        high={"auroc": 0.95},
    )


@pytest.mark.parametrize(
    ("aurocs", "low", "words"),
    [
        (
            {0.05: 0.80, 0.5: 0.84, 0.75: 0.85, 1.0: 0.85},
            0.7,
            r"50 % of the data (1,134 windows) reach a mean AUROC of 0.84; all 2,267 windows give 0.85 (band 0.70",
        ),
        # A small share that is good by chance, with worse ones above it, is not enough.
        ({0.05: 0.85, 0.5: 0.80, 0.75: 0.84, 1.0: 0.85}, 0.7, "75 % of the data (1,700 windows)"),
        (
            {0.05: 0.84, 0.5: 0.80, 1.0: 0.85},
            0.7,
            "not levelled off: 50 % of the data give a mean AUROC of 0.80, all 2,267 windows 0.85 (band 0.70 to 0.95)",
        ),
        ({1.0: 0.85}, 0.7, "no smaller share was tried"),
        ({0.5: 0.80, 1.0: 0.85}, 0.45, "not clearly better than chance: AUROC 0.85, band 0.45 to 0.95"),
        ({0.5: 0.80}, 0.7, "are not among the shares"),
    ],
)
def test_the_finding_in_words(aurocs, low, words):
    text = finding([make_row(fraction, value, low) for fraction, value in aurocs.items()])
    assert words in text


def test_a_process_that_is_killed_is_one_plain_message(monkeypatch):
    from concurrent.futures import Future
    from concurrent.futures.process import BrokenProcessPool

    from chromtransfer_plugin.efficiency import parallel

    class Pool:
        def __init__(self, *_, **__) -> None:
            self.stopped = False

        def submit(self, *_) -> Future:
            future: Future = Future()
            future.set_exception(BrokenProcessPool("a child process terminated abruptly"))
            return future

        def shutdown(self, **_) -> None:
            self.stopped = True

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Pool)
    shares = plan_shares(*make_labels(), Sampling((0.5,), 2), hold_out=False)
    with pytest.raises(ChromTransferError, match=r"killed, perhaps for want of memory.*fewer than --jobs 2"):
        list(parallel.train_shares(None, shares, 2))
