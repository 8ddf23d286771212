"""The files of an evaluation, each whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.inputs import LabelledWindows
from chromtransfer_plugin.evaluation.record import (
    MEAN,
    METRICS,
    RECORD,
    Calibration,
    EvaluationRecord,
    Measure,
    read_evaluation,
)
from chromtransfer_plugin.evaluation.scored import FOLDER
from chromtransfer_plugin.evaluation.scores import SCORES, VALIDATION, ScoreTable, write_scores
from chromtransfer_plugin.evaluation.settings import EvaluationSettings, shown
from chromtransfer_plugin.evaluation.tables import markdown
from chromtransfer_plugin.files import atomic_path, check_resumable, make_folder
from chromtransfer_plugin.json_record import write_record
from chromtransfer_plugin.leaks import RECORD as LEAKS
from chromtransfer_plugin.leaks import TABLE as LEAKS_TABLE
from chromtransfer_plugin.leaks import LeakReport, write_leaks

TABLE = "evaluation.md"


def check_folder(settings: EvaluationSettings) -> None:
    """Raise if the output folder holds the record of other lines or things that are not ours, or is a file."""
    out = settings.out
    check_resumable(out, (RECORD, FOLDER))
    if (out / RECORD).is_file():
        try:
            lines = [line.line for line in read_evaluation(out).lines]
        except ChromTransferError as error:
            raise ChromTransferError(f"{error} Remove this file first, or choose another --out.") from error
        others = sorted(set(lines) - set(settings.lines))
        if others:
            raise ChromTransferError(
                f"--out {out}: holds the evaluation of {', '.join(lines)}; {others[0]} would be lost from its tables. Name "
                "all lines again, or choose another folder."
            )


def write_line(settings: EvaluationSettings, scores: ScoreTable, validation: Sequence[ScoreTable]) -> None:
    """Write the scores of a line; of the validation, a further file for each set of windows."""
    folder = settings.out / scores.line
    make_folder(folder)
    (settings.out / RECORD).unlink(missing_ok=True)  # one of an earlier call would say other things
    write_scores(scores, folder / SCORES)
    named = {
        VALIDATION if number == 0 else f"validation.{next(iter(table.scores))}.parquet": table
        for number, table in enumerate(validation)
    }
    for name, table in named.items():
        write_scores(table, folder / name)
    # Those of an earlier call with other baselines, or with --train, would be taken for this one's.
    stale = set(folder.glob("validation*.parquet")) - {folder / name for name in named}
    if settings.train is None:
        stale |= {folder / LEAKS, folder / LEAKS_TABLE}
    for old in stale:
        old.unlink(missing_ok=True)


def write_leak_files(
    settings: EvaluationSettings, line: str, report: LeakReport, table: pd.DataFrame
) -> None:
    """Write ``leaks.json`` and ``leaks.tsv`` into the folder of the line."""
    make_folder(settings.out / line)
    write_leaks(report, table, settings.out / line)


def write_summary(
    settings: EvaluationSettings,
    record: EvaluationRecord,
    tests: Mapping[str, LabelledWindows],
    trains: Mapping[str, LabelledWindows],
) -> None:
    """Write the tables; the record last, so that a folder with a record is complete."""
    out = settings.out
    _write_table(
        out / "metrics.tsv", metric_rows(record), ["line", "model", "metric", "value", "low", "high"]
    )
    _write_table(
        out / "comparisons.tsv",
        comparison_rows(record),
        ["line", "a", "b", "metric", "difference", "low", "high", "p_bootstrap", "p_delong", "q"],
    )
    _write_table(
        out / "calibration.tsv",
        calibration_rows(record),
        ["line", "model", "method", "fitted_on", "temperature", "bin", "n", "mean_predicted", "observed"],
    )
    dropped = dict.fromkeys(  # one file may hold windows to test and to train on
        (line, str(windows.path), *row)
        for windows_of in (tests, trains)
        for line, windows in windows_of.items()
        for row in windows.dropped
    )
    _write_table(
        out / "dropped.tsv",
        [(line, path, number, reason, text) for line, path, number, text, reason in dropped],
        ["line", "file", "file_line", "reason", "text"],
    )
    with atomic_path(out / TABLE) as temporary:
        temporary.write_text(markdown(record, shown(record.command)), encoding="utf-8")
    write_record(record, out / RECORD)


def _write_table(path: Path, rows: object, columns: list[str]) -> None:
    table = pd.DataFrame(rows, columns=columns)  # type: ignore[call-overload]
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, lineterminator="\n", float_format="%.6g")


def metric_rows(record: EvaluationRecord) -> list[tuple[object, ...]]:
    """One row for each line, model and metric; of the means over all lines the line is ``mean``."""
    found = [(line.line, model.name, model.measures) for line in record.lines for model in line.models]
    found += [(MEAN, model.name, model.measures) for model in record.means]
    return [
        (line, model, metric, *_values(measures[metric]))
        for line, model, measures in found
        for metric in METRICS
        if metric in measures
    ]


def comparison_rows(record: EvaluationRecord) -> list[tuple[object, ...]]:
    """One row for each comparison, also of the means over all lines."""
    found = [(line.line, c) for line in record.lines for c in line.comparisons]
    found += [(MEAN, c) for c in record.mean_comparisons]
    return [
        (line, c.a, c.b, c.metric, *_values(c.difference), c.p_bootstrap, c.p_delong, c.q)
        for line, c in found
    ]


def calibration_rows(record: EvaluationRecord) -> list[tuple[object, ...]]:
    """One row for each bin of each reliability curve, counted from 1."""
    return [
        (line.line, model.name, c.method, c.fitted_on, c.temperature, *row)
        for line in record.lines
        for model in line.models
        for c in model.calibration
        for row in _bins(c)
    ]


def _bins(c: Calibration) -> Iterator[tuple[object, ...]]:
    for number, row in enumerate(zip(c.n, c.mean_predicted, c.observed, strict=True), 1):
        yield number, *row


def _values(measure: Measure) -> tuple[float | None, float | None, float | None]:
    return measure.value, measure.low, measure.high
