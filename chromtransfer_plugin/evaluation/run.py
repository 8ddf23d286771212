"""``chromtransfer evaluate``: many models on the same labelled windows, from files to one table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chromtransfer_plugin.device import describe, pick_device
from chromtransfer_plugin.errors import ChromTransferError, reject_unknown
from chromtransfer_plugin.evaluation.comparisons import with_q_values
from chromtransfer_plugin.evaluation.inputs import LabelledWindows, free_of_tests, read_labelled
from chromtransfer_plugin.evaluation.line_models import LineModels
from chromtransfer_plugin.evaluation.outputs import check_folder, write_leak_files, write_line, write_summary
from chromtransfer_plugin.evaluation.record import EvaluationRecord
from chromtransfer_plugin.evaluation.results import compare_means, evaluate_line, means_over_lines
from chromtransfer_plugin.evaluation.scored import FOLDER
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.evaluation.settings import EvaluationSettings, expand
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.leaks import LeakReport, find_leaks
from chromtransfer_plugin.run_record import package_versions

Report = Callable[[str], object]


def evaluate(*, progress: bool = False, report: Report = lambda _: None, **options: Any) -> EvaluationRecord:
    """Compare models on labelled windows and write every figure into a folder.

    Everything is checked before anything is trained. Trained baselines and computed scores are kept in the folder: the
    same call after a kill goes on from there.

    Parameters
    ----------
    progress : bool
        Show bars with rate and ETA.
    report : callable
        Takes messages.
    **options
        Fields of :class:`~chromtransfer_plugin.evaluation.settings.EvaluationSettings`.

    Returns
    -------
    EvaluationRecord
        What is in ``evaluation.json``.

    Raises
    ------
    ChromTransferError
        For any input that is not usable.
    """
    started = time.time()
    reject_unknown("evaluate", options, (entry.name for entry in dataclasses.fields(EvaluationSettings)))
    settings = EvaluationSettings(
        **{**options, "out": Path(options["out"]), "genome": Path(options["genome"])}
    )
    check_folder(settings)
    device = describe(pick_device(settings.device))
    report(f"evaluate: on {device}")
    genome = Genome(settings.genome)
    tests = _read_all(settings.test, genome, settings, chromosomes=settings.test_chromosomes)
    trains = (
        _read_all(settings.train, genome, settings, without=settings.test_chromosomes)
        if settings.train
        else {}
    )
    for path, dropped in {str(w.path): w.dropped for w in (*tests.values(), *trains.values())}.items():
        if dropped:
            report(f"{path}: {len(dropped)} rows dropped, see dropped.tsv")
    make_folder(settings.out / FOLDER)
    leaks = _leaks(tests, trains, settings, report)
    models = LineModels(settings, tests, trains, progress, report)
    models.check()
    evaluated, files = [], []
    for line in settings.lines:
        scored = models.of_line(line)
        table = ScoreTable(line, tests[line].table, {model.name: model.scores for model in scored})
        files.append((table, models.validation(line)))
        read = [*tests[line].read, *models.read[line]]
        if line in trains:
            read += [
                f"training windows: {text}" for text in [*trains[line].read, _kept_out(line, tests, trains)]
            ]
        report(f"{line}: {settings.resamples} resamples of {len(table.y)} windows for {len(scored)} models")
        evaluated.append(evaluate_line(table, scored, settings, read, leaks.get(line)))
    record = EvaluationRecord(
        command=settings.command(),
        settings=settings.record(),
        genome=genome.identity,
        device=device,
        versions=package_versions(),
        seconds=round(time.time() - started, 1),
        resample=settings.resample,
        resamples=settings.resamples,
        level=settings.level,
        lines=with_q_values([line.result for line in evaluated]),
        means=means_over_lines(evaluated, settings.level),
        mean_comparisons=compare_means(evaluated, settings.level),
    )
    for scores, validation in files:
        write_line(settings, scores, validation)
    write_summary(settings, record, tests, trains)
    return record


def _read_all(
    template: str, genome: Genome, settings: EvaluationSettings, **where: tuple[str, ...]
) -> dict[str, LabelledWindows]:
    return {
        line: read_labelled(
            expand(template, line), genome, expand(settings.positive, line), settings.width, **where
        )
        for line in settings.lines
    }


def _kept_out(line: str, tests: dict[str, LabelledWindows], trains: dict[str, LabelledWindows]) -> str:
    free = free_of_tests(trains[line], tests)
    return f"{(~free).sum()} of {len(free)} overlap a test window and train no baseline"


def _leaks(
    tests: dict[str, LabelledWindows],
    trains: dict[str, LabelledWindows],
    settings: EvaluationSettings,
    report: Report,
) -> dict[str, LeakReport]:
    found = {}
    for line, train in trains.items():
        test = tests[line]
        leaks, table = find_leaks(train.table, test.table, train.codes, test.codes)
        write_leak_files(settings, line, leaks, table)
        found[line] = leaks
        if not leaks.n_overlapping:
            continue
        message = (
            f"{line}: {leaks.n_overlapping} of {leaks.n_test} test windows overlap a training window "
            f"({leaks.n_identical} are the same window)"
        )
        if settings.strict_leaks:
            raise ChromTransferError(
                f"{message}. {settings.out / line / 'leaks.tsv'} lists them: remove them from one of the files, or "
                "leave out --strict-leaks. The baselines trained here never see them."
            )
        report(f"{message}: baselines do not train on these; models that you give may have")
    return found
