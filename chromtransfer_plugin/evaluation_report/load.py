"""Find out what lies in the folders that a report is made of, and read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from chromtransfer_plugin.efficiency.record import RECORD as EFFICIENCY
from chromtransfer_plugin.efficiency.record import EfficiencyRecord, read_efficiency
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.record import RECORD as EVALUATION
from chromtransfer_plugin.evaluation.record import EvaluationRecord, LineResult, read_evaluation
from chromtransfer_plugin.evaluation.scores import SCORES, ScoreTable, read_scores
from chromtransfer_plugin.evaluation_report.check import check_record
from chromtransfer_plugin.json_record import read_record
from chromtransfer_plugin.leaks import RECORD as LEAKS
from chromtransfer_plugin.leaks import LeakReport
from chromtransfer_plugin.learning_curves import HISTORY, SELENE_VALIDATION, LearningCurve, read_learning
from chromtransfer_plugin.preparation.manifest import MANIFEST, Manifest, read_manifest
from chromtransfer_plugin.preparation.outputs import QC

RUN_RECORD = "run.json"  # of a training run, beside its log
RUN = (HISTORY, f"fold_*/{HISTORY}", SELENE_VALIDATION)
_PNG = b"\x89PNG\r\n\x1a\n"
WANTED: Mapping[str, str] = {
    EVALUATION: "an evaluation (`chromtransfer evaluate`)",
    EFFICIENCY: "a data-efficiency analysis (`chromtransfer efficiency`)",
    MANIFEST: "a data set (`chromtransfer dataset build`)",
    LEAKS: "a leak report (`chromtransfer dataset leaks`)",
    HISTORY: "a training run (`chromtransfer train`, `selene_sdk`)",
}

Part = TypeVar("Part")


class Evaluated(NamedTuple):
    """An evaluation: where it lies, what it is called on the page, its record, and the scores of each line."""

    folder: Path
    name: str
    record: EvaluationRecord
    scores: dict[str, ScoreTable]


class Dataset(NamedTuple):
    """A data set: its folder's name, its manifest, and its figure of quality (PNG), empty if there is none."""

    name: str
    manifest: Manifest
    picture: bytes


@dataclass(frozen=True)
class Loaded:
    """What lies in the given folders, in the order in which they were given; each with the folder's name.

    Attributes
    ----------
    folders : list of Path
    evaluations : list of Evaluated
    efficiencies : list of (str, EfficiencyRecord)
    datasets : list of Dataset
    leaks : list of (str, LeakReport)
    runs : list of (str, list of LearningCurve)
        Training runs; an ensemble has one curve for each fold.
    """

    folders: list[Path]
    evaluations: list[Evaluated] = field(default_factory=list)
    efficiencies: list[tuple[str, EfficiencyRecord]] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    leaks: list[tuple[str, LeakReport]] = field(default_factory=list)
    runs: list[tuple[str, list[LearningCurve]]] = field(default_factory=list)


def load_runs(folders: Sequence[str | Path]) -> Loaded:
    """Read what lies in folders.

    Parameters
    ----------
    folders : sequence of path
        Each holds at least one of the files of :data:`WANTED`; one that is named twice counts once.

    Returns
    -------
    Loaded

    Raises
    ------
    ChromTransferError
        If none is given, a folder is missing or holds nothing of that kind, or a part of it is missing, of another form
        or does not fit the rest.
    """
    if not folders:
        raise ChromTransferError("report: name at least one folder with a result.")
    first = {_resolved(folder): Path(folder) for folder in reversed(folders)}
    unique = [first[path] for path in dict.fromkeys(map(_resolved, folders))]
    names = dict(zip(unique, _short_names(unique), strict=True))
    return Loaded(
        folders=unique,
        evaluations=_each(unique, EVALUATION, lambda folder: load_evaluation(folder, names[folder])),
        efficiencies=_each(unique, EFFICIENCY, lambda folder: (names[folder], read_efficiency(folder))),
        datasets=_each(unique, MANIFEST, lambda folder: _dataset(names[folder], folder)),
        leaks=_each(
            unique,
            LEAKS,
            lambda folder: (names[folder], read_record(folder / LEAKS, LeakReport, "a report on leaks")),
        ),
        runs=[(names[folder], read_learning(folder)) for folder in unique if is_run(folder)],
    )


def load_evaluation(folder: Path, name: str) -> Evaluated:
    """Read an evaluation and its scores, and check that they belong together.

    Raises
    ------
    ChromTransferError
        If a file is missing or of another form, holds what cannot be, or scores are of other windows or models than the
        record.
    """
    record = read_evaluation(folder)
    check_record(record, folder / EVALUATION)
    return Evaluated(folder, name, record, {line.line: _scores(folder, line) for line in record.lines})


def _scores(folder: Path, line: LineResult) -> ScoreTable:
    if line.line in ("", ".", "..") or "/" in line.line or "\\" in line.line or "\0" in line.line:
        raise ChromTransferError(
            f"{folder / EVALUATION}: the line {line.line!r} cannot be the name of a folder. Rename it and evaluate again."
        )
    path = folder / line.line / SCORES
    scores = read_scores(path, line.line)
    names = {model.name for model in line.models}
    if (len(scores.table), int(scores.y.sum())) != (line.n, line.n_positive) or names != set(scores.scores):
        raise ChromTransferError(
            f"{path}: {len(scores.table):,} windows ({int(scores.y.sum()):,} open) with scores of "
            f"{', '.join(sorted(scores.scores)) or 'no model'} do not fit {EVALUATION}, which tells of {line.n:,} "
            f"({line.n_positive:,} open) and {', '.join(sorted(names)) or 'no model'}. Run `chromtransfer evaluate` again."
        )
    return scores


def _dataset(name: str, folder: Path) -> Dataset:
    picture = folder / QC
    data = picture.read_bytes() if picture.is_file() else b""
    if data and not data.startswith(_PNG):
        raise ChromTransferError(f"{picture}: is no PNG figure. Run `chromtransfer dataset build` again.")
    return Dataset(name, read_manifest(folder), data)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a log of training; one that cannot be looked into holds none."""
    try:
        return any(path.is_file() for pattern in RUN for path in folder.glob(pattern))
    except OSError:
        return False


def _each(folders: Sequence[Path], name: str, read: Callable[[Path], Part]) -> list[Part]:
    return [read(folder) for folder in folders if (folder / name).is_file()]


def _resolved(folder: str | Path) -> Path:
    try:
        return Path(folder).resolve()
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # a name with a zero byte, or links that go round in circles
        raise ChromTransferError(
            f"{str(folder)[:200]!r}: cannot be the name of a folder: {error}."
        ) from error


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Call each folder by as many of the last parts of its path as tell it from the others; check that it is known."""
    for folder in folders:
        _check_known(folder)
    paths = [
        Path(os.path.abspath(folder)).parts for folder in folders
    ]  # links keep the names that they were given
    names = []
    for path in paths:
        n = 1
        while n < len(path) and sum(other[-n:] == path[-n:] for other in paths) > 1:
            n += 1
        names.append("/".join(path[-n:]))
    return names


def _check_known(folder: Path) -> None:
    if folder.is_file():
        raise ChromTransferError(
            f"{folder}: is a file, expected the folder of a result: name {folder.parent} instead."
        )
    if not folder.is_dir():
        raise ChromTransferError(f"{folder}: there is no such folder, expected one with a result.")
    if _is_known(folder):
        return
    looked = "; ".join(f"{name}: {what}" for name, what in WANTED.items())
    message = f"{folder}: holds no result that a report can show. Looked for {looked}."
    near = [other for other in (folder.absolute().parent, *sorted(folder.iterdir())) if _is_known(other)]
    if near:
        message += f" Did you mean {', '.join(map(str, near[:3]))}?"
    elif any(folder.glob(f"*/{LEAKS}")) or any(folder.glob(f"*/{SCORES}")):
        message += " An evaluation that has not finished has no evaluation.json: give its command again, and it goes on."
    raise ChromTransferError(message)


def _is_known(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WANTED) or is_run(folder)
