"""Put the page together: one HTML file that loads nothing, with the verdict first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.scores import SCORES
from chromtransfer_plugin.evaluation_report.load import (
    RUN_RECORD,
    WANTED,
    Evaluated,
    Loaded,
    is_run,
    load_runs,
)
from chromtransfer_plugin.evaluation_report.markup import escape, note
from chromtransfer_plugin.evaluation_report.palette import make_palette
from chromtransfer_plugin.evaluation_report.rules import LEVELS
from chromtransfer_plugin.evaluation_report.section_overview import Judged, overview_part
from chromtransfer_plugin.evaluation_report.sections_data import data_part
from chromtransfer_plugin.evaluation_report.sections_evaluation import (
    line_part,
    meanings_part,
    verdict_part,
)
from chromtransfer_plugin.evaluation_report.sections_run import run_part
from chromtransfer_plugin.evaluation_report.sections_training import training_part
from chromtransfer_plugin.evaluation_report.verdict import Verdict, judge
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.learning_curves import Diagnosis, LearningCurve, diagnose, read_learning
from chromtransfer_plugin.preparation.outputs import QC
from chromtransfer_plugin.report.page import policy_hash

TITLE = "Is the model good?"
VERDICTS_FORMAT = "chromtransfer-verdicts/1"
_READ = (*WANTED, SCORES, QC, RUN_RECORD)
_GRAVEST = ("diverged", "overfits", "flat", "improving", "converged", "unknown")


class Report(NamedTuple):
    """The page that was written, and its verdicts on the models of interest."""

    path: Path
    verdicts: list[Verdict]


def write_report(
    folders: Sequence[str | Path],
    path: str | Path,
    *,
    title: str = TITLE,
    verdicts: str | Path | None = None,
) -> Report:
    """Write the report on results of `chromtransfer evaluate`, `efficiency`, `dataset` and training runs.

    The page is one file that loads nothing and needs no script. The same input gives the same bytes.

    Parameters
    ----------
    folders : sequence of path
        See :func:`~chromtransfer_plugin.evaluation_report.load.load_runs`.
    path : path
        The HTML file.
    title : str
    verdicts : path, optional
        A JSON file to write the verdicts to as well, see :func:`write_verdicts`.

    Returns
    -------
    Report

    Raises
    ------
    ChromTransferError
        If a folder holds nothing that is known, a part of a result is missing or of another form, or a file cannot be
        written or would replace a result. Then nothing is written.
    """
    targets = [Path(path)] if verdicts is None else [Path(path), Path(verdicts)]
    _check_targets(targets)
    with ExitStack() as files:  # a name that cannot be written is told before anything is drawn
        temporary = [files.enter_context(atomic_path(target)) for target in targets]
        loaded = load_runs(folders)
        judged = [judge_all(one) for one in loaded.evaluations]
        temporary[0].write_text(render(loaded, judged, title.strip() or TITLE), encoding="utf-8")
        found = [verdict for one in judged for verdict in one.chosen()]
        for other in temporary[1:]:
            other.write_text(_verdicts_text(found), encoding="utf-8", errors="replace")
    return Report(targets[0], found)


def _check_targets(targets: Sequence[Path]) -> None:
    for target in targets:
        if target.name in _READ:
            raise ChromTransferError(
                f"{target}: a file of this name is a result that a report reads. Choose another name, such as report.html."
            )
    if len(targets) > 1 and targets[0].absolute() == targets[1].absolute():
        raise ChromTransferError(f"{targets[0]}: is named for the page and for the verdicts. Name two files.")


def write_verdicts(verdicts: Sequence[Verdict], path: str | Path) -> None:
    """Write verdicts as JSON, for programs: line, model, level, sentence, advice, evaluation, what each rule found."""
    with atomic_path(path) as temporary:
        temporary.write_text(_verdicts_text(verdicts), encoding="utf-8", errors="replace")


def _verdicts_text(verdicts: Sequence[Verdict]) -> str:
    rows = [
        {**verdict._asdict(), "reasons": [finding._asdict() for finding in verdict.reasons]}
        for verdict in verdicts
    ]
    return json.dumps({"format": VERDICTS_FORMAT, "verdicts": rows}, indent=1, ensure_ascii=False) + "\n"


def judge_all(evaluated: Evaluated) -> Judged:
    """Judge every model on every line, with the learning curves of the training runs that the record names."""
    verdicts, learning, missing = {}, {}, []
    for line in evaluated.record.lines:
        for model in line.models:
            run = evaluated.folder / model.run
            if model.run and is_run(run):
                curves = read_learning(run)
                learning[line.line, model.name] = (curves, gravest(curves))
            elif model.run:
                missing.append(
                    f"{line.line}, {model.name}: its training run is not at {model.run} (as seen "
                    "from the evaluation), so nothing is said on it."
                )
            found = learning.get((line.line, model.name))
            verdict = judge(evaluated.record, line, model, found[1] if found else None)
            verdicts[line.line, model.name] = verdict._replace(evaluation=evaluated.name)
    return Judged(evaluated, verdicts, learning, missing)


def gravest(curves: Sequence[LearningCurve]) -> Diagnosis:
    """Return the gravest of the diagnoses of a run's models; says which fold where there are several."""
    found = min(((curve, diagnose(curve)) for curve in curves), key=lambda pair: _GRAVEST.index(pair[1].kind))
    curve, diagnosis = found
    return diagnosis if len(curves) == 1 else Diagnosis(diagnosis.kind, f"{curve.name}: {diagnosis.text}")


def render(loaded: Loaded, judged: Sequence[Judged], title: str) -> str:
    """Make the page."""
    palette = make_palette(
        model.name for one in judged for line in one.evaluated.record.lines for model in line.models
    )
    lines, overviews = [], []
    alone = len(judged) == 1 and len(judged[0].evaluated.record.lines) == 1
    for i, one in enumerate(judged):
        name = f"evaluation-{i}"
        if len(judged) > 1:
            lines.append(f"<h3>{escape(one.evaluated.name)}</h3>\n")
        overviews.append(overview_part(one, palette, name))
        lines += [line_part(one, at, palette, name, alone) for at in range(len(one.evaluated.record.lines))]
    evaluations = [(one.evaluated.name, one.evaluated.record) for one in judged]
    shown = {curves[0].path.resolve() for one in judged for curves, _ in one.learning.values()}
    runs = [
        (name, curves, gravest(curves))
        for name, curves in loaded.runs
        if curves[0].path.resolve() not in shown
    ]
    style = _part("page.css")
    return Template(_part("page.html")).substitute(
        title=escape(title),
        style=style,
        style_hash=policy_hash(style),
        verdict=verdict_part(judged, overviews),
        lines="".join(lines) or note("There is no evaluation among the folders."),
        training=training_part(runs, loaded.efficiencies),
        data=data_part(evaluations, loaded.datasets, loaded.leaks),
        run=run_part(
            evaluations,
            loaded.efficiencies,
            [(dataset.name, dataset.manifest) for dataset in loaded.datasets],
            [(name, _run_record(curves[0].path.parent)) for name, curves in loaded.runs],
            [text for one in judged for text in one.missing],
        ),
        how=meanings_part(LEVELS) + _part("how.html"),
    )


def _run_record(folder: Path) -> dict[str, Any]:
    """Read what a training run wrote on itself; empty if it did not."""
    path = folder / RUN_RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ChromTransferError(
            f"{path}: cannot be read as the record of a training run: {error}."
        ) from error
    if not isinstance(record, dict):
        raise ChromTransferError(f"{path}: is no record of a training run, expected an object.")
    return record


def _part(name: str) -> str:
    """Read a file of this package that becomes part of the page."""
    return package_files(__package__).joinpath(name).read_text(encoding="utf-8").strip()
