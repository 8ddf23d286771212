"""All models of an evaluation on the windows of each line: loaded or trained, and scored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.evaluation.baselines import Baselines, held_out
from chromtransfer_plugin.evaluation.calibration import Held
from chromtransfer_plugin.evaluation.external import External, read_external
from chromtransfer_plugin.evaluation.inputs import LabelledWindows, check_free, free_of_tests
from chromtransfer_plugin.evaluation.kmers import C, fit_kmer_regression, kmer_scores
from chromtransfer_plugin.evaluation.results import ScoredModel
from chromtransfer_plugin.evaluation.scored import FOLDER, LoadedModels, ScoreStore, digest_of, output_for
from chromtransfer_plugin.evaluation.scores import ScoreTable
from chromtransfer_plugin.evaluation.settings import (
    BASELINES,
    FOR_ALL_LINES,
    NEEDS_TRAIN,
    EvaluationSettings,
    expand,
)
from chromtransfer_plugin.prediction.names import NamedModel

Report = Callable[[str], object]
Floats = NDArray[np.float64]


class _HeldScores(NamedTuple):
    """Which training windows of a line a model did not learn from (N,) bool, and its probabilities of those."""

    rows: NDArray[np.bool_]
    scores: Floats


class LineModels:
    """What ``--model``, ``--baseline`` and ``--against`` name, line by line.

    Parameters
    ----------
    settings : EvaluationSettings
    tests, trains : mapping of str to LabelledWindows
        By line; ``trains`` is empty without ``--train``.
    progress : bool
    report : callable

    Attributes
    ----------
    read : dict of str to list of str
        By line, what was read of external scores.
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        tests: Mapping[str, LabelledWindows],
        trains: Mapping[str, LabelledWindows],
        progress: bool,
        report: Report,
    ) -> None:
        self._settings, self._tests, self._trains = settings, tests, trains
        self._store = ScoreStore(settings.out / FOLDER)
        self._loaded = LoadedModels(self._store, settings.device, settings.width, progress)
        self._baselines = Baselines(settings, trains, tests, report)
        self._external: dict[tuple[str, str], External] = {}
        self._held: dict[str, dict[str, _HeldScores]] = defaultdict(dict)
        self.read: dict[str, list[str]] = defaultdict(list)

    def check(self) -> None:
        """Load every model and read every file of scores, so that what is missing is known before any training."""
        s = self._settings
        for line in s.lines:
            for name, spec in s.models.items():
                self._given(name, spec, line)
            for name, path in s.against.items():
                found = read_external(
                    expand(path, line), name, self._tests[line], line, logits=name in s.logits
                )
                self._external[name, line] = found
                self.read[line].append(found.read)
            if s.pretrained is not None:
                self._given("pretrained", str(self._baselines.pretrained()), line)
        if set(s.baselines) & set(NEEDS_TRAIN):
            for train in self._trains.values():
                check_free(train, free_of_tests(train, self._tests))
        self._baselines.check()

    def of_line(self, line: str) -> list[ScoredModel]:
        """Score all models on the test windows of a line, in the order of the tables."""
        s = self._settings
        models = [self._score_given(name, spec, line) for name, spec in s.models.items()]
        models += [self._score_baseline(kind, line) for kind in s.baselines]
        return models + [
            ScoredModel(name, "external", expand(path, line), self._external[name, line].scores)
            for name, path in s.against.items()
        ]

    def validation(self, line: str) -> list[ScoreTable]:
        """Give the scores on windows that models did not learn from; models with the same windows together."""
        groups: list[tuple[NDArray[np.bool_], dict[str, Floats]]] = []
        for name, held in self._held[line].items():
            same = next((scores for rows, scores in groups if np.array_equal(rows, held.rows)), None)
            if same is None:
                groups.append((held.rows, {name: held.scores}))
            else:
                same[name] = held.scores
        return [
            ScoreTable(line, self._trains[line].table[rows].reset_index(drop=True), scores)
            for rows, scores in groups
        ]

    def _given(self, name: str, spec: str, line: str) -> tuple[NamedModel, str]:
        model = self._loaded.get(name, expand(spec, line))
        return model, output_for(model, name, line, expand(self._settings.positive, line))

    def _score_given(self, name: str, spec: str, line: str) -> ScoredModel:
        model, output = self._given(name, spec, line)
        scores = self._loaded.scores(model, output, self._tests[line].codes)
        notes = [_trained_on(model)]
        if output in {*CELL_LINES, *self._settings.lines} - {line}:
            notes.append(f"its output is of {output}, not of {line}")
        return ScoredModel(
            name, "given", expand(spec, line), scores, output, note="; ".join(filter(None, notes))
        )

    def _score_baseline(self, kind: str, line: str) -> ScoredModel:
        if kind == "kmer":
            return self._kmer(line)
        run = ""
        if kind == "pretrained":
            folder = self._baselines.pretrained()
            rows = self._baselines.fold_zero(line) if self._trains else None
            source = str(self._settings.pretrained)
        else:
            trained = self._baselines.get(kind, line)
            folder, rows = trained.folder, held_out(trained, self._trains[line], kind)
            run = source = str(folder.relative_to(self._settings.out))
        model, output = self._given(kind, str(folder), line)
        held = None
        if rows is not None and rows.any():
            windows = self._trains[line]
            self._held[line][kind] = _HeldScores(
                rows, self._loaded.scores(model, output, windows.codes[rows])
            )
            what = (
                "windows far from what it learnt, open ones in the line's share"
                if kind in FOR_ALL_LINES
                else "validation fold"
            )
            held = Held(windows.y[rows], self._held[line][kind].scores, f"{what}, {rows.sum():,} windows")
        scores = self._loaded.scores(model, output, self._tests[line].codes)
        note = BASELINES[kind] if run else "; ".join(filter(None, [BASELINES[kind], _trained_on(model)]))
        return ScoredModel(kind, kind, source, scores, output, held, run, note)

    def _kmer(self, line: str) -> ScoredModel:
        import sklearn

        train, test = self._trains[line], self._tests[line]
        free = free_of_tests(train, self._tests)
        codes, y = train.codes[free], train.y[free]
        scores = self._store.get(
            digest_of("kmer", C, sklearn.__version__, codes, y, test.codes),
            lambda: kmer_scores(fit_kmer_regression(codes, y), test.codes),
        )
        note = f"{BASELINES['kmer']}; fitted on {len(y):,} windows"
        return ScoredModel("kmer", "kmer", str(train.path), scores, line, note=note)


def _trained_on(model: NamedModel) -> str:
    return f"trained on: {model.card.trained_on}" if model.card.trained_on else ""
