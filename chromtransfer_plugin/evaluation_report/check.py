"""Find what cannot be true in a record, so that no verdict is made of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.record import Calibration, EvaluationRecord, LineResult, ModelResult


def check_record(record: EvaluationRecord, path: Path) -> None:
    """Check a record that has the right form.

    Raises
    ------
    ChromTransferError
        If it has no line, a name twice, a number that is not finite, counts that do not add up, or bins that do not fit
        each other; says which.
    """
    fault = next(_faults(record), None)
    if fault is not None:
        raise ChromTransferError(f"{path}: {fault}. Run `chromtransfer evaluate` again.")


def _faults(record: EvaluationRecord) -> Iterator[str]:
    if not record.lines:
        yield "holds no line"
    twice = _twice([line.line for line in record.lines])
    if twice is not None:
        yield f"holds the line {twice} twice"
    for line in record.lines:
        twice = _twice([model.name for model in line.models])
        if twice is not None:
            yield f"line {line.line} holds the model {twice} twice"
        if not 0 <= line.n_positive <= line.n:
            yield f"line {line.line} has {line.n_positive:,} open windows of {line.n:,}"
        for model in line.models:
            yield from _model_faults(line, model)
    for place in _not_finite(record.model_dump(), ""):
        yield f"the number at {place} is not finite"


def _model_faults(line: LineResult, model: ModelResult) -> Iterator[str]:
    counts = (model.tp, model.fp, model.fn, model.tn)
    added = (model.tp + model.fn, model.fp + model.tn)
    if min(counts) < 0 or added != (line.n_positive, line.n - line.n_positive):
        yield (
            f"line {line.line}, model {model.name}: the calls (tp, fp, fn, tn = {counts}) do not add up to the line's "
            f"{line.n_positive:,} open and {line.n - line.n_positive:,} closed windows"
        )
    if any(not _bins_fit(one) for one in model.calibration):
        yield f"line {line.line}, model {model.name}: the bins of its calibration do not fit each other"


def _bins_fit(one: Calibration) -> bool:
    shares = [share for share in (*one.mean_predicted, *one.observed) if share is not None]
    return (
        len(one.n) == len(one.mean_predicted) == len(one.observed)
        and all(n >= 0 for n in one.n)
        and all(0 <= share <= 1 for share in shares)
    )


def _twice(names: Sequence[str]) -> str | None:
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _not_finite(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield place
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _not_finite(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _not_finite(part, f"{place}.{i}")
