"""The overview: AUROC and verdict of every model on every line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chromtransfer_plugin.evaluation.record import EvaluationRecord, LineResult
from chromtransfer_plugin.evaluation_report.load import Evaluated
from chromtransfer_plugin.evaluation_report.markup import (
    UNKNOWN,
    badge,
    escape,
    measure,
    note,
    plain_badge,
    table,
)
from chromtransfer_plugin.evaluation_report.numbers import measure_of
from chromtransfer_plugin.evaluation_report.palette import Palette, swatch
from chromtransfer_plugin.evaluation_report.rules import FLOOR
from chromtransfer_plugin.evaluation_report.verdict import Verdict, of_interest
from chromtransfer_plugin.learning_curves import Diagnosis, LearningCurve

MOST_COLUMNS = 8  # models beside each other; of more, each has a row


class Judged(NamedTuple):
    """An evaluation with what is thought of each of its models.

    Attributes
    ----------
    evaluated : Evaluated
    verdicts : dict of (str, str) to Verdict
        By line and model.
    learning : dict of (str, str) to (list of LearningCurve, Diagnosis)
        Of the models whose training run is known.
    missing : list of str
        Training runs that are not where the record says.
    """

    evaluated: Evaluated
    verdicts: Mapping[tuple[str, str], Verdict]
    learning: Mapping[tuple[str, str], tuple[list[LearningCurve], Diagnosis]]
    missing: list[str]

    def chosen(self) -> list[Verdict]:
        """Return the verdicts on the models that the page is about, by line."""
        return [
            self.verdicts[line.line, model.name]
            for line in self.evaluated.record.lines
            for model in of_interest(line)
        ]


def overview_part(judged: Judged, palette: Palette, prefix: str) -> str:
    """Write the matrix of lines (rows) and models, turned where many models stand against fewer lines."""
    record = judged.evaluated.record
    models = list(dict.fromkeys(model.name for line in record.lines for model in line.models))
    rows = [
        [
            f'<a href="#{prefix}-line-{i}">{escape(line.line)}</a>',
            _windows(line),
            *_cells(judged, line, models),
        ]
        for i, line in enumerate(record.lines)
    ]
    heads = ["Line", "Windows", *models]
    if record.means:
        rows.append(["Mean of lines", "", *_means(record, models)])
    if len(models) > max(MOST_COLUMNS, len(record.lines)):
        heads = ["Model", *(line.line for line in record.lines), *(["Mean of lines"] if record.means else [])]
        rows = [list(row) for row in zip(["", "Windows", *map(escape, models)], *rows, strict=True)][1:]
    key = "".join(f"<li>{swatch(palette[name])} {escape(name)}</li>" for name in models)
    drawn = f"{record.resamples:,} bootstrap resamples of {'whole loci' if record.resample == 'locus' else 'windows'}"
    intervals = (
        f"In brackets: {record.level:.0%} intervals from {drawn}."
        if record.resamples
        else "Without intervals."
    )
    return (
        table("AUROC and verdict of every model on every line", heads, rows, stack=False, kind="matrix")
        + note(f"{intervals} 0.5 is guessing, 1 is perfect.")
        + f'<ul class="key" aria-label="Lines of the models in all figures">{key}</ul>\n'
    )


def _windows(line: LineResult) -> str:
    share = f"{line.n_positive / line.n:.1%}" if line.n else UNKNOWN
    return f'{line.n:,} <span class="interval">{share} open</span>'


def _cells(judged: Judged, line: LineResult, models: list[str]) -> list[str]:
    found = {model.name: model for model in line.models}
    cells = []
    for name in models:
        if name not in found:
            cells.append(UNKNOWN)
            continue
        is_floor = found[name].kind == FLOOR
        word = plain_badge("floor") if is_floor else badge(judged.verdicts[line.line, name].level)
        cells.append(f"{measure(measure_of(found[name], 'auroc'))} {word}")
    return cells


def _means(record: EvaluationRecord, models: list[str]) -> list[str]:
    means = {mean.name: mean.measures for mean in record.means}
    return [measure(means[name]["auroc"]) if "auroc" in means.get(name, {}) else UNKNOWN for name in models]
