"""Verdicts, the overview of lines and models, and the tables and figures of each line."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chromtransfer_plugin.evaluation.record import COMPARED, METRICS, LineResult, ModelResult
from chromtransfer_plugin.evaluation_report.figures import (
    Palette,
    conformal_figure,
    curve_figures,
    learning_figure,
    reliability_figures,
)
from chromtransfer_plugin.evaluation_report.markup import (
    UNKNOWN,
    badge,
    details,
    escape,
    level_class,
    measure,
    note,
    number,
    p_value,
    table,
)
from chromtransfer_plugin.evaluation_report.numbers import measure_of
from chromtransfer_plugin.evaluation_report.rules import LEVELS, MEANINGS, Level
from chromtransfer_plugin.evaluation_report.section_overview import Judged
from chromtransfer_plugin.evaluation_report.sections_data import leak_part
from chromtransfer_plugin.evaluation_report.verdict import Verdict, headlines, of_interest
from chromtransfer_plugin.plots.reliability import FEWEST

FEW_BOXES = 3
SIGNIFICANT = 0.05  # q below which a difference is taken as real

_RANKING = (
    "auroc", "average_precision", "average_precision_calls", "auprc_davis_goadrich", "f1_weighted", "brier",
    "log_loss", "ece",
)  # fmt: skip
_KINDS = {
    "given": "your model",
    "fine-tuned": "fine-tuned here",
    "external": "scores from elsewhere",
}  # or baselines
_CALLS = ("f1_positive", "f1_negative", "f1_weighted", "f1_macro", "accuracy")
_BEST = tuple(name for name in METRICS if name.startswith("best_"))


def verdict_part(judged: Sequence[Judged], overviews: Sequence[str]) -> str:
    """Write the verdicts: a summary, a box for each line and model of interest, and the overview of all models.

    Where there are many boxes the overview (markup, of each evaluation) comes before them.
    """
    if not judged:
        return (
            '<p class="headline">Cannot tell: there is no evaluation among the folders, so nothing is known on how good '
            "a model is. Run <code>chromtransfer evaluate</code> and name its folder, too.</p>\n"
        )
    parts = []
    for one, overview in zip(judged, overviews, strict=True):
        verdicts = one.chosen()
        if len(judged) > 1:
            parts.append(f"<h3>{escape(one.evaluated.name)}</h3>\n")
        parts += [f'<p class="headline">{escape(text)}</p>\n' for text in headlines(verdicts)]
        parts.append(meanings_part({verdict.level for verdict in verdicts}))
        boxes = f'<div class="boxes">{"".join(map(_box, verdicts))}</div>\n'
        parts += [overview, boxes] if len(verdicts) > FEW_BOXES else [boxes, overview]
    return "".join(parts)


def meanings_part(levels: Collection[Level]) -> str:
    """Say what levels mean, from the best to the worst."""
    said = (f"<li><b>{level}</b>: {escape(MEANINGS[level])}.</li>" for level in LEVELS if level in levels)
    return f'<ul class="meanings">{"".join(said)}</ul>\n'


def _box(verdict: Verdict) -> str:
    reasons = "".join(f"<li>{escape(_sentence(finding.text))}</li>" for finding in verdict.reasons)
    return (
        f'<article class="verdict {level_class(verdict.level)}"><h4>{badge(verdict.level)} {escape(verdict.line)}, '
        f"{escape(verdict.model)}</h4>\n<p>{escape(verdict.sentence)}</p>\n"
        f'<p class="next"><b>Next:</b> {escape(verdict.advice)}</p>\n'
        + details("All that was looked at", f"<ul>{reasons}</ul>\n")
        + "</article>\n"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def line_part(judged: Judged, number_of: int, palette: Palette, prefix: str, opened: bool) -> str:
    """Write all of one line, folded unless ``opened``."""
    line = judged.evaluated.record.lines[number_of]
    name = f"{prefix}-line-{number_of}"
    words = " ".join(
        f'<span class="of">{escape(model.name)} {badge(judged.verdicts[line.line, model.name].level)}</span>'
        for model in of_interest(line)
    )
    learning = "".join(
        learning_figure(*judged.learning[line.line, model.name], model.name, f"{name}-{i}")
        for i, model in enumerate(line.models)
        if (line.line, model.name) in judged.learning
    )
    parts = [
        _facts(line),
        _metrics(line),
        _comparisons(line),
        "<h4>Ranking</h4>\n",
        curve_figures(line, judged.evaluated.scores[line.line], palette, name),
        "<h4>Probabilities</h4>\n" + _reliability(line, palette, name),
        _calibration(line),
        conformal_figure(line.models, palette, name),
        f'<h4>Training</h4>\n<div class="panels">{learning}</div>\n' if learning else "",
        "<h4>Known from training</h4>\n" + leak_part(line.leaks),
    ]
    return details(f"<h3>{escape(line.line)}</h3> {words}", "".join(parts), opened=opened, name=name)


def _reliability(line: LineResult, palette: Palette, name: str) -> str:
    """Show the models of interest, and fold the others away."""
    chosen = of_interest(line)
    others = [model for model in line.models if model not in chosen]
    rest = reliability_figures(others, palette, f"{name}-other")
    return (
        reliability_figures(chosen, palette, name)
        + (details("Reliability of the other models", rest) if rest else "")
        + note(
            f"Share of open windows against the probability they are given; bins below {FEWEST} windows are left out."
        )
    )


def _facts(line: LineResult) -> str:
    notes = "".join(f"<li>{escape(text)}</li>" for text in line.read)
    models = [
        [
            escape(model.name),
            escape(
                _KINDS.get(model.kind, "baseline" if model.name == model.kind else f"baseline: {model.kind}")
            ),
            escape(model.output) or UNKNOWN,
            escape(model.source) or UNKNOWN,
            escape(model.note) or UNKNOWN,
        ]
        for model in line.models
    ]
    heads = ["Model", "Kind", "Output", "From", "Remark"]
    known = table(f"{line.line}: models", heads, models, text=range(1, len(heads)))
    return (
        f"<p>{line.n:,} windows in {line.n_loci:,} loci: {line.n_positive:,} open, {line.n - line.n_positive:,} closed."
        f"</p>\n{details('What was read, and which models these are', f'<ul>{notes}</ul>{known}')}"
    )


def _metrics(line: LineResult) -> str:
    marked = any(best_model(line, name) for name in COMPARED)
    starred = (
        f"★ the best of all: better than every other model in the paired test (q < {SIGNIFICANT}). Without a star no "
        f"model is shown to be the best. Tested: {', '.join(METRICS[name][0] for name in COMPARED)}."
    )
    calls = [
        [
            escape(m.name),
            *(_value(line, m, name) for name in _CALLS),
            *(f"{c:,}" for c in (m.tp, m.fp, m.fn, m.tn)),
        ]
        for m in line.models
    ]
    best = [[escape(m.name), *(_value(line, m, name) for name in _BEST)] for m in line.models]
    return (
        table(
            f"{line.line}: ranking, calls and probabilities",
            ["Model", *(METRICS[name][0] for name in _RANKING)],
            [[escape(m.name), *(_value(line, m, name) for name in _RANKING)] for m in line.models],
        )
        + note(starred if marked or line.comparisons else "No models were compared with each other.")
        + details(
            "Calls at 0.5",
            table(
                f"{line.line}: open is called above 0.5",
                [
                    "Model",
                    *map(_short, _CALLS),
                    "open, called open",
                    "closed, called open",
                    "open, called closed",
                    "closed, called closed",
                ],
                calls,
            ),
        )
        + details(
            "Calls at the best threshold",
            table(f"{line.line}: at the best threshold", ["Model", *map(_short, _BEST)], best)
            + note(
                "The threshold was chosen on these very windows, so the F1s are what can be reached at best. Choose yours "
                "on windows of a validation fold."
            ),
        )
    )


def _short(name: str) -> str:
    """Name a metric where the caption says at which threshold."""
    return METRICS[name][0].partition(" (")[0].removesuffix(" at 0.5").removesuffix(" at the best threshold")


def _value(line: LineResult, model: ModelResult, name: str) -> str:
    star = (
        ' <span class="best" title="the best of all">★</span>' if best_model(line, name) == model.name else ""
    )
    return measure(measure_of(model, name)) + star


def best_model(line: LineResult, metric: str) -> str | None:
    """Return the model that the paired tests show to be better than each of the others; None if there is none."""
    larger = METRICS[metric][1]
    better: dict[str, set[str]] = {}
    for one in line.comparisons:
        difference = one.difference
        if (
            one.metric != metric
            or difference.value is None
            or difference.low is None
            or difference.high is None
        ):
            continue
        apart = one.q < SIGNIFICANT if one.q is not None else not difference.low <= 0 <= difference.high
        if apart and difference.value != 0:
            winner, loser = (one.a, one.b) if (difference.value > 0) == larger else (one.b, one.a)
            better.setdefault(winner, set()).add(loser)
    names = {model.name for model in line.models}
    return next((name for name, losers in better.items() if losers >= names - {name}), None)


def _comparisons(line: LineResult) -> str:
    if not line.comparisons:
        return ""
    tables = []
    for metric in dict.fromkeys(one.metric for one in line.comparisons):
        tests = [one for one in line.comparisons if one.metric == metric]
        rows = [
            [
                f"{escape(one.a)} minus {escape(one.b)}",
                measure(one.difference, sign=True),
                p_value(one.p_bootstrap),
                p_value(one.p_delong),
                p_value(one.q),
            ]
            for one in tests
        ]
        heads = ["Models", "Difference", "P, bootstrap", "P, DeLong", "q"]
        if all(one.p_delong is None for one in tests):
            del heads[3]
            rows = [row[:3] + row[4:] for row in rows]
        name = METRICS[metric][0] if metric in METRICS else metric
        tables.append(table(f"{line.line}: differences in {name}", heads, rows, stack=False))
    return details(
        f"{len(line.comparisons)} paired tests",
        "".join(tables)
        + note(
            "Both models see the same resamples, so what makes windows easy or hard for both cancels. DeLong's test takes "
            "windows as independent; neighbours are not, so trust the bootstrap. q is P after Benjamini and Hochberg, over "
            "all tests of the metric in the evaluation."
        ),
    )


def _calibration(line: LineResult) -> str:
    rows = [
        [
            escape(model.name),
            escape(one.method),
            escape(one.fitted_on) or UNKNOWN,
            number(one.temperature, 2),
            measure(one.ece),
            measure(one.brier),
            measure(one.log_loss),
        ]
        for model in line.models
        for one in model.calibration
    ]
    sets = [
        [
            escape(model.name),
            f"{one.level:.0%}",
            number(one.coverage_open),
            number(one.coverage_closed),
            number(one.single),
            number(one.both),
            number(one.neither),
            escape(one.fitted_on) or UNKNOWN,
        ]
        for model in line.models
        for one in model.conformal
    ]
    if not rows:
        return note("Calibration was not measured.")
    heads = ["Model", "Correction", "Fitted on", "Temperature", "ECE", "Brier score", "log-loss"]
    set_heads = [
        "Model",
        "Promised",
        "Open: holds the truth",
        "Closed: holds the truth",
        "One class",
        "Both",
        "Neither",
    ]
    return details(
        "Numbers of calibration and prediction sets",
        table(f"{line.line}: calibration", heads, rows, text=(1, 2))
        + (
            table(f"{line.line}: prediction sets", [*set_heads, "Fitted on"], sets, text=(7,)) if sets else ""
        ),
    )
