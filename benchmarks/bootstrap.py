"""Processor seconds for every metric of one model with 1,000 resamples, and to compare two, on a line of the paper's size.

    python benchmarks/bootstrap.py

Beside it, what the same takes if each resample is written out, estimated from ten of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd

from chromtransfer_plugin.evaluation.calibration import calibrations
from chromtransfer_plugin.evaluation.comparisons import compare_models
from chromtransfer_plugin.evaluation.draws import make_draws
from chromtransfer_plugin.evaluation.measures import measure_all, metric_samples
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.metrics import binary_metrics

N, POSITIVE = 24_299, 4_492  # K562, the largest test set of the paper
WRITTEN_OUT = 10
Result = TypeVar("Result")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--resamples", type=int, default=1000)
    resamples = options.parse_args().resamples
    rng = np.random.default_rng(0)
    y = (rng.permutation(N) < POSITIVE).astype(np.int64)
    a, b = (np.clip(0.2 + 0.2 * y + rng.normal(0, 0.2, N), 0, 1) for _ in range(2))
    locus = np.arange(N) // 3
    binary_metrics(y, a)  # what is imported on first use is not counted

    draws = timed("draw loci", lambda: make_draws(y, locus, n=resamples))
    samples = timed("every metric of every resample", lambda: metric_samples(y, a, draws))
    timed("values and intervals", lambda: measure_all(y, a, draws, samples=samples))
    scores = ScoreTable("K562", pd.DataFrame({"y": y, "locus": locus}), {"a": a, "b": b})
    timed("comparison of two models", lambda: compare_models(scores, [("a", "b")], draws))
    timed("calibration, two corrections", lambda: calibrations(y, a, locus, draws))

    rows = [np.repeat(np.arange(N), counts) for counts in draws.counts[:WRITTEN_OUT]]
    started = time.process_time()
    for r in rows:
        for threshold in (0.5, 0.3):
            binary_metrics(y[r], a[r], threshold)
    seconds = (time.process_time() - started) / WRITTEN_OUT * resamples
    print(f"{'written out, one by one (estimate)':<40}{seconds:8.1f} s")


def timed(what: str, call: Callable[[], Result]) -> Result:
    started = time.process_time()
    result = call()
    print(f"{what:<40}{time.process_time() - started:8.2f} s")
    return result


if __name__ == "__main__":
    main()
