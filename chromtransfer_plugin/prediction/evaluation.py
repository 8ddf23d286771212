"""The evaluation CSV of labelled input, in the form of the paper's repository, and its two figures."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import open_output
from chromtransfer_plugin.prediction.names import NamedModel
from chromtransfer_plugin.prediction.outputs import Scored


class Figures(NamedTuple):
    """How well the scores of one model tell the labels apart; NaN if only one class is present."""

    n: int
    n_positive: int
    auroc: float
    average_precision: float


def evaluation_paths(path: Path, models: Sequence[NamedModel]) -> list[Path]:
    """Give the file of each model: ``path`` for a single one, else ``STEM.NAME.SUFFIX``."""
    if len(models) == 1:
        return [path]
    stem = Path(path.name.removesuffix(".gz")).stem
    return [path.with_name(f"{stem}.{model.name}{path.name[len(stem) :]}") for model in models]


def evaluated_outputs(models: Sequence[NamedModel], positive: str) -> list[int]:
    """Give the position of each model's output that is the score of the positive label.

    Raises
    ------
    ChromTransferError
        If a model has several outputs and none is called like the label.
    """
    return [_output_of(model, positive) for model in models]


class EvaluationWriter:
    """One CSV without a header for each model: score, evaluated cell line, label name, label as 0 or 1.

    The score of a model with one output is its probability; of one with several, that of the output called like the
    cell line. The older form has a fifth column, the call: whether the score exceeds 0.5, or, of exclusive classes,
    whether the line's is the most probable one.

    Parameters
    ----------
    stack : ExitStack
    path : Path or None
        None computes the figures only.
    models : sequence of NamedModel
    positive : str
        The evaluated cell line; label 1 is where the label name equals it.
    calls : bool
        Add the fifth column.

    Raises
    ------
    ChromTransferError
        If a model has several outputs and none is called like the cell line.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        path: Path | None,
        models: Sequence[NamedModel],
        positive: str,
        calls: bool,
    ) -> None:
        self._models, self._positive, self._calls = models, positive, calls
        self._outputs = evaluated_outputs(models, positive)
        self.paths = [] if path is None else evaluation_paths(path, models)
        self._out = [open_output(stack, file) for file in self.paths]
        self._labels: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []

    def write(self, block: Scored) -> None:
        """Add the rows of a block that have a score."""
        good = block.status == 0
        names = block.table["label"][good]
        labels = (names == self._positive).to_numpy(dtype=np.int64)
        first, scores = 0, []
        for number, (model, output) in enumerate(zip(self._models, self._outputs, strict=True)):
            own = block.probabilities[good, first : first + len(model.columns)]
            first += len(model.columns)
            scores.append(own[:, output])
            if self._out:
                frame = pd.DataFrame(
                    {"score": own[:, output], "line": self._positive, "name": names, "label": labels}
                )
                if self._calls:
                    exclusive = model.card.activation == "softmax" and own.shape[1] > 1
                    called = own.argmax(axis=1) == output if exclusive else own[:, output] > 0.5
                    frame["call"] = called.astype(np.int64)
                self._out[number].write(frame.to_csv(header=False, index=False).encode())
        self._labels.append(labels.astype(np.int8))
        self._scores.append(np.stack(scores, axis=1))

    def figures(self) -> dict[str, Figures]:
        """Return the figures of each model, by name."""
        from chromtransfer_plugin.metrics import auroc, average_precision

        y, p = np.concatenate(self._labels).astype(np.int64), np.concatenate(self._scores).astype(np.float64)
        return {
            model.name: Figures(len(y), int(y.sum()), auroc(y, scores), average_precision(y, scores))
            for model, scores in zip(self._models, p.T, strict=True)
        }


def _output_of(model: NamedModel, positive: str) -> int:
    outputs = model.card.outputs
    if len(outputs) == 1:
        return 0
    if positive not in outputs:
        raise ChromTransferError(
            f"--positive {positive}: the model '{model.name}' has no output of this name to evaluate; its outputs "
            f"are {', '.join(outputs)}."
        )
    return outputs.index(positive)
