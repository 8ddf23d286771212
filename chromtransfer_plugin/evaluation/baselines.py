"""The baselines that an evaluation trains itself, each in a folder of its own and kept once it is finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin import defaults
from chromtransfer_plugin.checkpoint import find_checkpoint, read_card
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.inputs import LabelledWindows, free_of_tests
from chromtransfer_plugin.evaluation.multiclass import NEGATIVE, CopiedWindows, multiclass_rows
from chromtransfer_plugin.evaluation.scored import digest_of
from chromtransfer_plugin.evaluation.settings import FOR_ALL_LINES, TRAINED, EvaluationSettings
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.models.chromtransfer import parse_architecture
from chromtransfer_plugin.prediction.names import choose_models
from chromtransfer_plugin.regions import write_bed, write_csv
from chromtransfer_plugin.splits import DEFAULT_GAP, k_folds
from chromtransfer_plugin.tiles import away_from
from chromtransfer_plugin.train import TrainingData, train
from chromtransfer_plugin.training import run_settings

FOLDER = "models"
FINISHED = "finished.json"
# As really trained: 50 epochs, none kept for its validation loss. (The test set, which was the validation, is not used.)
MULTICLASS = {"batch_size": 256, "patience": None, "max_epochs": 50, "keep": "last"}
_TRUNK = ("width", "cut", "trunk", "motifs")  # a fine-tuned model has those of the pre-trained one

Report = Callable[[str], object]


@dataclass(frozen=True)
class TrainedBaseline:
    """A model that was trained for a line, or for all lines.

    Attributes
    ----------
    folder : Path
    validation : DataFrame
        ``chrom, start, end`` of the windows that chose its best epoch.
    trained : DataFrame
        The same of those it was trained on.
    """

    folder: Path
    validation: pd.DataFrame
    trained: pd.DataFrame


class Baselines:
    """Trains what is asked for; multi-class models once for all lines.

    Parameters
    ----------
    settings : EvaluationSettings
    train_windows : mapping of str to LabelledWindows
        By line.
    tests : mapping of str to LabelledWindows
        Nothing that overlaps the test windows of any line is trained on.
    report : callable
    """

    def __init__(
        self,
        settings: EvaluationSettings,
        train_windows: Mapping[str, LabelledWindows],
        tests: Mapping[str, LabelledWindows],
        report: Report,
    ) -> None:
        self._settings, self._train, self._tests, self._report = settings, train_windows, tests, report
        self._pretrained: Path | None = None
        self._done: dict[str, TrainedBaseline] = {}

    def check(self) -> None:
        """Raise if a setting is unknown or unusable, or the classes are, before anything is trained."""
        for kind in self._settings.baselines:
            if kind not in TRAINED:
                continue
            arguments = self._arguments(kind)
            run_settings(arguments["protocol"], arguments["settings"])
            parse_architecture(arguments["network"])
            if kind in FOR_ALL_LINES:
                self._classes(kind)

    def get(self, kind: str, line: str) -> TrainedBaseline:
        """Train a baseline, unless that was done."""
        name = kind if kind in FOR_ALL_LINES else f"{kind}/{line}"
        if name not in self._done:
            self._done[name] = self._make(kind, line, self._settings.out / FOLDER / name)
        return self._done[name]

    def pretrained(self) -> Path:
        """Find the checkpoint named by ``--pretrained``."""
        if self._pretrained is None:
            found = choose_models(str(self._settings.pretrained))
            if len(found) != 1:
                raise ChromTransferError(
                    f"--pretrained {self._settings.pretrained}: holds {len(found)} models; name one."
                )
            self._pretrained = found[0].folder
        return self._pretrained

    def fold_zero(self, line: str) -> np.ndarray:
        """Tell which training windows of a line are the fold that validates, as the training splits them; (N,) bool."""
        s, windows = self._settings, self._train[line]
        free = np.flatnonzero(free_of_tests(windows, self._tests))
        folds = k_folds(
            windows.table.iloc[free], s.folds, s.fold_by, seed=s.seed,
            codes=windows.codes[free] if s.fold_by == "homology" else None,
        )  # fmt: skip
        found = np.zeros(len(windows.table), dtype=bool)
        found[free[folds == 0]] = True
        return found

    def _make(self, kind: str, line: str, folder: Path) -> TrainedBaseline:
        make_folder(folder)
        data, seen = self._data(kind, line, folder)
        splits, _, identity = data.splits(0, self._settings.seed, ensemble=False)
        result = TrainedBaseline(folder, splits[0].validation.table, splits[0].train.table)
        pretrained = self.pretrained() if kind == "fine-tuned" else None
        arguments = self._arguments(kind)
        inputs = digest_of(
            arguments, identity, splits[0].train.fingerprint(), splits[0].validation.fingerprint(),
            read_card(find_checkpoint(pretrained)).weights_sha256 if pretrained else "",
        )  # fmt: skip
        if is_finished(folder, inputs):
            self._report(f"{folder}: trained before, kept")
            return result
        self._report(f"{folder}: training {kind}{'' if kind in FOR_ALL_LINES else f' for {line}'}")
        train(
            data, folder, **arguments, pretrained=pretrained, device=self._settings.device,
            trained_on=f"{splits[0].train.n:,} windows, baseline {kind} of an evaluation; {seen}",
        )  # fmt: skip
        with atomic_path(folder / FINISHED) as temporary:
            temporary.write_text(json.dumps({"inputs": inputs}) + "\n")
        return result

    def _arguments(self, kind: str) -> dict[str, Any]:
        given = self._settings.of_kind(kind, self._settings.settings)
        return {
            "protocol": "finetune" if kind == "fine-tuned" else "scratch",
            "network": self._network(kind),
            "settings": {**(MULTICLASS if kind in FOR_ALL_LINES else {}), **given},
            "seed": self._settings.seed,
        }

    def _network(self, kind: str) -> dict[str, Any]:
        given = self._settings.of_kind(kind, self._settings.network)
        if kind == "fine-tuned":
            return {key: value for key, value in given.items() if key not in _TRUNK}
        return {**(defaults.HEADS["multiclass"].model_dump() if kind in FOR_ALL_LINES else {}), **given}

    def _classes(self, kind: str) -> pd.DataFrame:
        tables = {line: windows.table for line, windows in self._train.items()}
        return multiclass_rows(tables, fixed=kind == "multiclass-fixed")

    def _data(self, kind: str, line: str, folder: Path) -> tuple[TrainingData, str]:
        """Write the labelled windows into the run's folder, so that it says what was learnt."""
        s = self._settings
        lines = list(s.lines) if kind in FOR_ALL_LINES else [line]
        tests = pd.concat([windows.table[["chrom", "start", "end"]] for windows in self._tests.values()])
        write_bed(tests, folder / "holdout.bed")
        common: dict[str, Any] = {
            "genome": s.genome,
            "regions": [folder / "windows.csv"],
            "holdout": [folder / "holdout.bed"],
            "width": s.width,
            "test_chromosomes": (),
            "folds": s.folds,
            "fold_by": s.fold_by,
        }
        if kind in FOR_ALL_LINES:
            rows = self._classes(kind)
            write_csv(rows, folder / "windows.csv")
            copies = {
                (str(chrom), int(start)): int(n)
                for chrom, start, n in zip(rows["chrom"], rows["start"], rows["copies"], strict=True)
            }
            return CopiedWindows(**common, classes=[*lines, NEGATIVE], copies=copies), ", ".join(lines)
        table = self._train[line].table
        # The label of the positives becomes the name of the output.
        names = np.where(table["y"] == 1, line, "other")
        write_csv(table.assign(label=names), folder / "windows.csv")
        return TrainingData(**common, positive=[line]), line


def held_out(baseline: TrainedBaseline, windows: LabelledWindows, kind: str) -> np.ndarray:
    """Tell which of a line's training windows the model did not learn from; (N,) bool.

    Of a model of one line these are the validation fold. A model of all lines left windows of the line out of both
    sets: what is at least a locus' gap from everything that it was trained on counts. Most of these are negatives, so
    some are left out again, until the share of positives is that of the line: a correction learns this share.
    """
    if kind in FOR_ALL_LINES:
        return at_share(away_from(windows.table, [baseline.trained], gap=DEFAULT_GAP), windows.y)
    known = pd.MultiIndex.from_frame(baseline.validation[["chrom", "start", "end"]])
    found: np.ndarray = pd.MultiIndex.from_frame(windows.table[["chrom", "start", "end"]]).isin(known)
    return found


def at_share(rows: NDArray[np.bool_], y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Leave out ``rows`` (N,) of one class at random, always the same, until the share of positives is that of ``y``."""
    share = y.mean()
    of_class = {label: np.flatnonzero(rows & (y == label)) for label in (0, 1)}
    whole = min(len(of_class[1]) / share, len(of_class[0]) / (1 - share))
    kept = np.zeros(len(y), dtype=bool)
    for label, n in ((1, round(whole * share)), (0, round(whole * (1 - share)))):
        kept[np.random.default_rng(label).permutation(of_class[label])[:n]] = True
    return kept


def is_finished(folder: Path, inputs: str) -> bool:
    """Tell whether a folder holds a finished model of these inputs.

    Raises
    ------
    ChromTransferError
        If it is of others.
    """
    try:
        record = json.loads((folder / FINISHED).read_text())
        known = record["inputs"]
        find_checkpoint(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if known != inputs:
        raise ChromTransferError(
            f"{folder}: holds a model of other windows, settings or seed. Choose another --out, or remove this folder."
        )
    return True
