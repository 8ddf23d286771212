"""From scores to the figures of one line, and means over lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.calibration import Held, calibrations, conformal_sets
from chromtransfer_plugin.evaluation.comparisons import compare_models
from chromtransfer_plugin.evaluation.draws import Draws, few_loci, make_draws
from chromtransfer_plugin.evaluation.measures import Samples, as_measure, measure_all, metric_samples
from chromtransfer_plugin.evaluation.record import METRICS, LineResult, MeanOverLines, Measure, ModelResult
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.evaluation.settings import EvaluationSettings
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.metrics import binary_metrics

Floats = NDArray[np.float64]


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
    """Choose what is compared: the first model with every other one, and every other one with the k-mer floor."""
    if not names:
        return []
    first, others = names[0], names[1:]
    pairs = [(first, other) for other in others]
    if "kmer" in others:
        pairs += [(name, "kmer") for name in others if name != "kmer"]
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
    draws = _draws(y, locus, settings)
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


def _draws(y: NDArray[np.int64], locus: NDArray[np.int64], settings: EvaluationSettings) -> Draws | None:
    if not settings.resamples:
        return None
    return make_draws(y, locus, resample=settings.resample, n=settings.resamples, seed=settings.seed)


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
    names = [model.name for model in evaluated[0].result.models]
    return [MeanOverLines(name=name, measures=_means(evaluated, name, level)) for name in names]


def _means(evaluated: Sequence[Evaluated], name: str, level: float) -> dict[str, Measure]:
    found = {}
    for metric in METRICS:
        values = [
            next(model.measures[metric].value for model in line.result.models if model.name == name)
            for line in evaluated
        ]
        samples = [line.samples[name].get(metric) for line in evaluated]
        known = [sample for sample in samples if sample is not None]
        # Lines without resamples (one locus) leave the mean without an interval.
        complete = len(known) == len(evaluated) and len({len(sample) for sample in known}) == 1
        value = np.nan if None in values else float(np.mean(np.array(values, dtype=np.float64)))
        found[metric] = as_measure(value, np.mean(known, axis=0) if complete else None, level)
    return found
