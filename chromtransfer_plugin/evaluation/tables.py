"""The readable tables of an evaluation: Markdown for a file, a compact one for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from chromtransfer_plugin.evaluation.record import (
    MEAN,
    METRICS,
    Comparison,
    EvaluationRecord,
    LineResult,
    Measure,
)

_LEADING = ("auroc", "average_precision", "average_precision_calls")  # a table of their own over the lines


def compact(record: EvaluationRecord) -> str:
    """Lay out the AUROC of every model and line, for a terminal."""
    heads = ["AUROC", *(line.line for line in record.lines), *([MEAN] if record.means else [])]
    rows = [heads, ["open/all", *(f"{line.n_positive}/{line.n}" for line in record.lines)]]
    rows += [
        [name, *(_plain(measure) for measure in _over_lines(record, name, "auroc"))]
        for name in _names(record)
    ]
    rows[1] += [""] * (len(heads) - len(rows[1]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(record: EvaluationRecord, command: str) -> str:
    """Lay out all tables as Markdown."""
    parts = [
        ["# Evaluation", "", "```bash", command, "```", ""],
        _made_how(record),
        *(_leading(record, metric) for metric in _LEADING),
        _mean_comparisons(record),
        _models(record),
        *(_line(line) for line in record.lines),
    ]
    return "\n".join(text for part in parts for text in part).rstrip() + "\n"


def _made_how(record: EvaluationRecord) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    how = (
        f"Brackets hold {record.level:.0%} bootstrap intervals ({record.resamples} resamples of "
        f"{'whole loci: windows at most 10 kb apart' if record.resample == 'locus' else 'windows'})."
        if record.resamples
        else "No intervals were asked for."
    )
    return [f"{how} Device: {record.device}. Versions: {versions}.", ""]


def _leading(record: EvaluationRecord, metric: str) -> list[str]:
    """One metric, models by lines."""
    heads = ["model", *(f"{line.line} ({line.n_positive}/{line.n})" for line in record.lines)]
    heads += [MEAN] if record.means else []
    rows = [
        [name, *(measure.text() for measure in _over_lines(record, name, metric))] for name in _names(record)
    ]
    return [f"## {METRICS[metric][0]}", "", *_table(heads, rows), ""]


def _mean_comparisons(record: EvaluationRecord) -> list[str]:
    if not record.mean_comparisons:
        return []
    note = "Lines are resampled independently of each other."
    return [
        "## Paired tests of the means over the lines",
        "",
        note,
        *_comparisons(record.mean_comparisons),
        "",
    ]


def _models(record: EvaluationRecord) -> list[str]:
    """What each model is; where that differs between lines, of the first."""
    rows = [
        [model.name, model.kind, _code(model.source), model.output, model.note]
        for model in record.lines[0].models
    ]
    where = f" Paths are those of {record.lines[0].line}." if len(record.lines) > 1 else ""
    return [
        "## Models",
        "",
        f"An output is evaluated as the probability of being open in the line.{where}",
        "",
        *_table(["model", "kind", "source", "output", "what it is"], rows),
        "",
    ]


def _line(line: LineResult) -> list[str]:
    text = [
        f"## {line.line}",
        "",
        f"{line.n} windows, {line.n_positive} open, in {line.n_loci} loci.",
        "",
        *(f"- {note}" for note in (" ".join(entry.split()) for entry in line.read)),
        "",
        *_measures(line),
        "",
    ]
    for title, part in (
        ("Paired tests", _comparisons(line.comparisons)),
        ("Calibration", _calibration(line)),
        ("Prediction sets", _conformal(line)),
        ("Leaks", _leaks(line)),
    ):
        text += [f"### {line.line}: {title.lower()}", "", *part, ""] if part else []
    return text


def _measures(line: LineResult) -> list[str]:
    heads = ["metric", *(model.name for model in line.models)]
    rows = [
        [heading, *(model.measures[metric].text() for model in line.models)]
        for metric, (heading, _) in METRICS.items()
    ]
    rows.append(
        ["TP/FP/FN/TN at 0.5", *(f"{model.tp}/{model.fp}/{model.fn}/{model.tn}" for model in line.models)]
    )
    return _table(heads, rows)


def _comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    delong = any(c.p_delong is not None for c in comparisons)
    heads = ["models", "metric", "difference", "P (bootstrap)", *(["P (DeLong)"] if delong else []), "q"]
    rows = [
        [
            f"{c.a} minus {c.b}",
            METRICS[c.metric][0],
            c.difference.text(signed=True),
            _p(c.p_bootstrap),
            *([_p(c.p_delong)] if delong else []),
            _p(c.q),
        ]
        for c in comparisons
    ]
    return [
        f"P-values are two-sided{'; that of DeLong takes windows as independent' if delong else ''}. q: Benjamini-Hochberg "
        "over all comparisons of the metric.",
        "",
        *_table(heads, rows),
    ]


def _calibration(line: LineResult) -> list[str]:
    rows = [
        [
            model.name,
            {"none": "as it is"}.get(c.method, c.method)
            + (f", T = {c.temperature:.2f}" if c.temperature else ""),
            c.fitted_on,
            c.ece.text(),
            c.brier.text(),
            c.log_loss.text(),
        ]
        for model in line.models
        for c in model.calibration
    ]
    heads = ["model", "correction", "fitted on", *(METRICS[name][0] for name in ("ece", "brier", "log_loss"))]
    return _table(heads, rows) if rows else []


def _conformal(line: LineResult) -> list[str]:
    rows = [
        [
            model.name,
            f"{c.level:.0%}",
            c.fitted_on,
            _share(c.coverage_open),
            _share(c.coverage_closed),
            _share(c.single),
            _share(c.both),
            _share(c.neither),
        ]
        for model in line.models
        for c in model.conformal
    ]
    heads = ["model", "level", "fitted on", "open covered", "closed covered", "one class", "both", "none"]
    return _table(heads, rows) if rows else []


def _leaks(line: LineResult) -> list[str]:
    if line.leaks is None:
        return []
    leaks = line.leaks
    text = [
        f"{leaks.n_test:,} test windows against {leaks.n_train:,} training windows: {leaks.n_identical} are the same "
        f"window, {leaks.n_overlapping} overlap one, {leaks.n_leaking} share {leaks.share:.0%} or more of their "
        f"{leaks.k}-mers with training windows.",
    ]
    if leaks.worst:
        rows = [[window, _share(share), closest] for window, share, closest in leaks.worst[:5]]
        text += ["", *_table(["test window", "known from training", "closest training window"], rows)]
    return text


def _names(record: EvaluationRecord) -> list[str]:
    return [model.name for model in record.lines[0].models]


def _over_lines(record: EvaluationRecord, name: str, metric: str) -> list[Measure]:
    """A metric of a model in each line, and its mean if there is one."""
    found = [
        next(model.measures[metric] for model in line.models if model.name == name) for line in record.lines
    ]
    return found + [mean.measures[metric] for mean in record.means if mean.name == name]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def written(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"

    return [written(heads), "|---" * len(heads) + "|", *(written(row) for row in rows)]


def _plain(measure: Measure) -> str:
    return "-" if measure.value is None else f"{measure.value:.3f}"


def _p(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
