"""From scores to the figures of one line, and means over lines."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.calibration import Held, calibrations, conformal_sets
from chromtransfer_plugin.evaluation.comparisons import bootstrap_p, compare_models, with_q_values
from chromtransfer_plugin.evaluation.draws import Draws, few_loci, make_draws
from chromtransfer_plugin.evaluation.measures import Samples, as_measure, measure_all, metric_samples
from chromtransfer_plugin.evaluation.record import (
    COMPARED,
    MEAN,
    METRICS,
    Comparison,
    LineResult,
    MeanOverLines,
    ModelResult,
)
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.evaluation.settings import EvaluationSettings
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.metrics import binary_metrics

Floats = NDArray[np.float64]
NETWORKS = (
    "pretrained",
    "binary",
    "multiclass",
    "multiclass-fixed",
)  # what the paper compares a fine-tuned one with


class ScoredModel(NamedTuple):
    """One model on the windows of one line: where it is from, and its probabilities (N,).

    ``held`` are windows that it did not learn from, to calibrate it; None: there are none.
    """

    name: str
    kind: str
    source: str
    scores: Floats
    output: str = ""
    held: Held | None = None
    run: str = ""
    note: str = ""


class Evaluated(NamedTuple):
    """The result of a line; and for means over lines, the resampled metrics of each model (R,)."""

    result: LineResult
    samples: dict[str, Samples]


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Choose what is compared.

    The first model with every other one; every other one with the k-mer floor; and, as in the paper, the fine-tuned baseline
    with the other networks that are trained or taken for comparison.
    """
    if not names:
        return []
    first, others = names[0], names[1:]
    pairs = [(first, other) for other in others]
    if "kmer" in others:
        pairs += [(name, "kmer") for name in others if name != "kmer"]
    if "fine-tuned" in others:
        pairs += [("fine-tuned", name) for name in others if name in NETWORKS]
    return pairs


def evaluate_line(
    scores: ScoreTable,
    models: Sequence[ScoredModel],
    settings: EvaluationSettings,
    read: list[str],
    leaks: LeakReport | None,
) -> Evaluated:
    """Measure, compare and calibrate all models of a line; ``q`` of the comparisons is filled in later."""
    y, locus = scores.y, scores.locus
    draws = _draws(scores, settings)
    notes = [few_loci(y, locus)] if settings.resample == "locus" and settings.resamples else []
    samples: dict[str, Samples] = {
        model.name: metric_samples(y, model.scores, draws) if draws is not None else {} for model in models
    }
    results = [_model_result(model, y, locus, draws, samples[model.name], settings) for model in models]
    pairs = pairs_of([model.name for model in models])
    comparisons = compare_models(scores, pairs, draws, settings.level, samples) if draws is not None else []
    result = LineResult(
        line=scores.line,
        n=len(y),
        n_positive=int(y.sum()),
        n_loci=len(np.unique(locus)),
        models=results,
        comparisons=comparisons,
        leaks=leaks,
        read=[*read, *(note for note in notes if note)],
    )
    return Evaluated(result, samples)


def _draws(scores: ScoreTable, settings: EvaluationSettings) -> Draws | None:
    if not settings.resamples:
        return None
    # Lines are drawn independently of each other, and the same whichever other lines there are.
    seed = settings.seed + zlib.crc32(scores.line.encode())
    return make_draws(scores.y, scores.locus, resample=settings.resample, n=settings.resamples, seed=seed)


def _model_result(
    model: ScoredModel,
    y: NDArray[np.int64],
    locus: NDArray[np.int64],
    draws: Draws | None,
    samples: Samples,
    settings: EvaluationSettings,
) -> ModelResult:
    counts = binary_metrics(y, model.scores)
    return ModelResult(
        name=model.name,
        kind=model.kind,
        source=model.source,
        output=model.output,
        measures=measure_all(y, model.scores, draws, settings.level, samples),
        tp=counts.tp,
        fp=counts.fp,
        fn=counts.fn,
        tn=counts.tn,
        calibration=calibrations(
            y, model.scores, locus, draws, validation=model.held, level=settings.level, seed=settings.seed
        ),
        conformal=conformal_sets(y, model.scores, locus, validation=model.held, seed=settings.seed),
        run=model.run,
        note=model.note,
    )


def means_over_lines(evaluated: Sequence[Evaluated], level: float) -> list[MeanOverLines]:
    """Average every metric over the lines; nothing for a single line."""
    if len(evaluated) < 2:
        return []
    return [
        MeanOverLines(
            name=model.name,
            measures={
                metric: as_measure(
                    _mean_value(evaluated, model.name, metric),
                    _mean_samples(evaluated, model.name, metric),
                    level,
                )
                for metric in METRICS
            },
        )
        for model in evaluated[0].result.models
    ]


def compare_means(evaluated: Sequence[Evaluated], level: float) -> list[Comparison]:
    """Compare the models' means over the lines; ``q`` is over these comparisons of a metric."""
    if len(evaluated) < 2:
        return []
    found = []
    for a, b in pairs_of([model.name for model in evaluated[0].result.models]):
        for metric in COMPARED:
            of_a, of_b = _mean_samples(evaluated, a, metric), _mean_samples(evaluated, b, metric)
            if of_a is None or of_b is None:
                continue
            value = _mean_value(evaluated, a, metric) - _mean_value(evaluated, b, metric)
            difference, p = as_measure(value, of_a - of_b, level), bootstrap_p(of_a - of_b)
            found.append(Comparison(a=a, b=b, metric=metric, difference=difference, p_bootstrap=p))
    together = LineResult(line=MEAN, n=0, n_positive=0, n_loci=0, models=[], comparisons=found)
    return with_q_values([together])[0].comparisons


def _mean_value(evaluated: Sequence[Evaluated], name: str, metric: str) -> float:
    """Mean over the lines; NaN where a line has no value."""
    values = [
        model.measures[metric].value
        for line in evaluated
        for model in line.result.models
        if model.name == name
    ]
    return float(np.mean(np.array(values, dtype=np.float64)))


def _mean_samples(evaluated: Sequence[Evaluated], name: str, metric: str) -> Floats | None:
    """Mean over the lines of each resample (R,); None where a line has none, as with a single locus."""
    samples = [line.samples[name].get(metric) for line in evaluated]
    known = [sample for sample in samples if sample is not None and len(sample)]
    return np.mean(known, axis=0) if known and len(known) == len(evaluated) else None
