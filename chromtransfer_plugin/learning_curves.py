"""Training and validation loss by epoch, read from what a run wrote, and what they say in words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError

Floats: TypeAlias = NDArray[np.float64]
Kind = Literal["diverged", "overfits", "improving", "flat", "converged", "unknown"]

HISTORY = "history.csv"  # of our trainer
SELENE_TRAIN = "selene_sdk.train_model.train.txt"
SELENE_VALIDATION = "selene_sdk.train_model.validation.txt"

# What a curve is called is decided by these, as shares of a loss.
DIVERGED = 0.5  # the training loss ends so much above its first epoch
OVERFITS = 0.05  # the validation loss ends so much above its lowest, while the training loss goes on falling
IMPROVES = 0.01  # the validation loss fell by so much over the last epochs, and the last is the lowest
LAST = 3  # "the last epochs", and those whose mean is where a curve ends
FLAT = 0.01  # neither loss changes by so much in all epochs
FEWEST = 3  # epochs from which anything is said


@dataclass(frozen=True)
class LearningCurve:
    """Losses of one run; NaN where the log has none.

    Attributes
    ----------
    name : str
        ``fold_0``, or the run's folder.
    path : Path
        The log that was read.
    epoch : ndarray (E,) int64
        Counted from 1.
    train_loss, validation_loss : ndarray (E,) float64
        Mean cross-entropy; in the training loss, dropout and class weights of the protocol count as well.
    penalty : ndarray (E,) float64
        L2 penalty on top of both; 0 where the log adds it in, as Keras does, or has none.
    metrics : dict of str to ndarray (E,)
        Others of the validation windows, as they are called in the log: ``roc_auc``.
    kept : int or None
        Epoch whose weights the run kept; None if the log does not say.
    """

    name: str
    path: Path
    epoch: NDArray[np.int64]
    train_loss: Floats
    validation_loss: Floats
    penalty: Floats
    metrics: dict[str, Floats] = field(default_factory=dict)
    kept: int | None = None

    @property
    def best(self) -> int | None:
        """Epoch with the lowest validation loss, penalty included as when training stops on it; None without one."""
        monitored = self.validation_loss + self.penalty
        finite = np.isfinite(monitored)
        return int(self.epoch[np.argmin(np.where(finite, monitored, np.inf))]) if finite.any() else None


class Diagnosis(NamedTuple):
    """What a curve shows: one word for programs, a sentence for people."""

    kind: Kind
    text: str


def read_learning(folder: str | Path) -> list[LearningCurve]:
    """Read the learning curves of a run.

    Parameters
    ----------
    folder : path
        Output folder of ``chromtransfer train`` or of Selene (ours or the original), the ``best_model`` in it, or a CSV
        log of Keras (``epoch,loss,val_loss,...``, as its CSVLogger writes it).

    Returns
    -------
    list of LearningCurve
        One for each model: an ensemble has one for each fold (``fold_0`` ...).

    Raises
    ------
    ChromTransferError
        If there is no log, or it is not one.
    """
    path = Path(folder)
    if path.is_file():
        return [_read_csv(path, path.stem)]
    run = path.parent if path.name == "best_model" else path
    folds = sorted(run.glob(f"fold_*/{HISTORY}"), key=lambda log: _number(log.parent.name))
    if (run / HISTORY).is_file():
        curve = _read_csv(run / HISTORY, run.resolve().name)
        return [_with_metrics(curve, run / SELENE_VALIDATION)]
    if folds:
        return [_read_csv(log, log.parent.name) for log in folds]
    if (run / SELENE_VALIDATION).is_file():
        return [_read_selene(run)]
    raise ChromTransferError(
        f"{folder}: no learning curve here: expected {HISTORY}, fold_*/{HISTORY} or {SELENE_VALIDATION}. Name the output "
        "folder of a training run, or a CSV log of Keras."
    )


def _number(name: str) -> tuple[int, str]:
    digits = re.search(r"\d+$", name)
    return (int(digits[0]) if digits else 0, name)


def _read_table(path: Path, separator: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep=separator, skipinitialspace=True)
    except (OSError, ValueError) as error:  # ValueError: also an empty file and bytes that are no text
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ChromTransferError(f"{path}: cannot be read as a log of epochs: {reason}.") from error
    if table.empty:
        raise ChromTransferError(f"{path}: has no epoch yet. Train first.")
    return table


def _numbers(table: pd.DataFrame, column: str, path: Path) -> Floats:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    wrong = (
        np.isnan(values) & table[column].notna().to_numpy()
    )  # pandas reads "nan", "NA" and nothing as missing
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ChromTransferError(
            f"{path}: line {row + 2}: {column} is '{table[column].iloc[row]}', expected a number."
        )
    return values


def _read_csv(path: Path, name: str) -> LearningCurve:
    """Read our ``history.csv``, or Keras' log, whose epochs count from 0 and whose losses hold the L2 penalty."""
    table = _read_table(path, ",")
    ours = {"epoch", "train_loss", "validation_loss"} <= set(table.columns)
    if not ours and not {"epoch", "loss"} <= set(table.columns):
        raise ChromTransferError(
            f"{path}: is no log of epochs: it has the columns {', '.join(map(str, table.columns[:8]))}; expected epoch, "
            "train_loss and validation_loss, or Keras' epoch, loss and val_loss."
        )
    epoch = _numbers(table, "epoch", path)
    if np.isnan(epoch).any() or (np.diff(epoch) <= 0).any():
        raise ChromTransferError(
            f"{path}: the epochs do not rise from line to line. Is it several logs in one?"
        )
    unknown = np.full(len(table), np.nan)
    if ours:
        best = table["best"] if "best" in table else pd.Series(False, index=table.index)
        kept = best.astype(str).str.lower().eq("true").to_numpy()
        return LearningCurve(
            name=name,
            path=path,
            epoch=epoch.astype(np.int64),
            train_loss=_numbers(table, "train_loss", path),
            validation_loss=_numbers(table, "validation_loss", path),
            penalty=_numbers(table, "l2", path) if "l2" in table else np.zeros(len(table)),
            kept=int(epoch[np.flatnonzero(kept)[-1]]) if kept.any() else None,
        )
    return LearningCurve(
        name=name,
        path=path,
        epoch=epoch.astype(np.int64) + (1 if epoch[0] == 0 else 0),
        train_loss=_numbers(table, "loss", path),
        validation_loss=_numbers(table, "val_loss", path) if "val_loss" in table else unknown,
        penalty=np.zeros(len(table)),
        metrics={
            str(column).removeprefix("val_"): _numbers(table, str(column), path)
            for column in table.columns
            if str(column).startswith("val_") and column != "val_loss"
        },
    )


def _with_metrics(curve: LearningCurve, path: Path) -> LearningCurve:
    """Add the metrics of Selene's file if it tells of the same epochs."""
    if not path.is_file():
        return curve
    table = _read_table(path, "\t")
    if len(table) != len(curve.epoch):
        return curve
    metrics = {str(name): _numbers(table, str(name), path) for name in table.columns if name != "loss"}
    return LearningCurve(**{**vars(curve), "metrics": metrics})


def _read_selene(run: Path) -> LearningCurve:
    """Read the two files of the original Selene; its "epochs" are the reports between steps."""
    path = run / SELENE_VALIDATION
    table = _read_table(path, "\t")
    train = np.full(len(table), np.nan)
    if (run / SELENE_TRAIN).is_file():
        losses = _read_table(run / SELENE_TRAIN, "\t")
        values = _numbers(losses, str(losses.columns[0]), run / SELENE_TRAIN)
        train[: len(values)] = values[: len(table)]
    if "loss" not in table:
        raise ChromTransferError(f"{path}: has no column 'loss'; it is not Selene's log of validations.")
    curve = LearningCurve(
        name=run.resolve().name,
        path=path,
        epoch=np.arange(1, len(table) + 1),
        train_loss=train,
        validation_loss=_numbers(table, "loss", path),
        penalty=np.zeros(len(table)),
    )
    return _with_metrics(curve, path)


def diagnose(curve: LearningCurve) -> Diagnosis:
    """Say in words what a curve shows.

    The first that holds of: ``diverged`` (a loss is no number, or training ends far above its start), ``unknown`` (too
    few epochs, or no validation loss), ``overfits`` (the paper's Fig. 2A: validation rises while training falls),
    ``improving`` (more epochs would help), ``flat`` (nothing was learnt after the first epoch), ``converged``.
    The limits are the constants at the top of this module.
    """
    train, validation, n = curve.train_loss, curve.validation_loss, len(curve.epoch)
    if (found := _diverged(curve)) is not None:
        return found
    if np.isnan(validation).all():
        return Diagnosis("unknown", f"The log of {n} epochs has no validation loss: nothing can be said.")
    if n < FEWEST:
        return Diagnosis("unknown", f"{n} epoch{'s' if n > 1 else ''}: too few to say anything.")
    lowest = int(np.nanargmin(validation))
    end = float(np.mean(validation[-min(LAST, n) :]))
    rise = end / validation[lowest] - 1
    still = train[lowest] > np.mean(train[-min(LAST, n) :])
    if lowest < n - 1 and rise >= OVERFITS and still:
        return Diagnosis(
            "overfits",
            f"Overfits: after epoch {curve.epoch[lowest]} of {n} the validation loss rises by {100 * rise:.0f} % (to "
            f"{end:.3f}, the mean of the last {min(LAST, n)}) while the training loss falls on{_kept(curve)}.",
        )
    before = validation[max(0, n - 1 - LAST)]
    fell = 1 - validation[-1] / before
    if lowest == n - 1 and fell >= IMPROVES:
        return Diagnosis(
            "improving",
            f"Still improving: the last of {n} epochs has the lowest validation loss ({validation[-1]:.3f}, "
            f"{100 * fell:.1f} % lower than {min(LAST, n - 1)} epochs before). More epochs would help.",
        )
    if _range(validation) < FLAT and (np.isnan(train).all() or _range(train) < FLAT):
        return Diagnosis(
            "flat",
            f"Flat: over {n} epochs both losses stay within {100 * FLAT:.0f} %. Nothing was learnt after the first "
            "epoch: the learning rate is too low, or there is nothing to learn.",
        )
    return Diagnosis(
        "converged",
        f"Converged: the validation loss is lowest in epoch {curve.epoch[lowest]} of {n} ({validation[lowest]:.3f}) and "
        f"ends {100 * max(0.0, rise):.1f} % above it{_kept(curve)}.",
    )


def _diverged(curve: LearningCurve) -> Diagnosis | None:
    train = curve.train_loss
    # A column that is missing as a whole is no sign; a loss that stops being a number is.
    for what, values in (("training", train), ("validation", curve.validation_loss)):
        bad = ~np.isfinite(values)
        if bad.any() and not np.isnan(values).all():
            first = curve.epoch[int(np.argmax(bad))]
            return Diagnosis(
                "diverged",
                f"Diverged: the {what} loss is no number from epoch {first} on. Lower the learning rate.",
            )
    if len(train) > 1 and train[-1] > (1 + DIVERGED) * train[0]:
        return Diagnosis(
            "diverged",
            f"Diverged: the training loss rises from {train[0]:.3g} to {train[-1]:.3g}. Lower the learning rate.",
        )
    return None


def _range(values: Floats) -> float:
    return float((np.nanmax(values) - np.nanmin(values)) / np.nanmax(values))


def _kept(curve: LearningCurve) -> str:
    return f"; the weights of epoch {curve.kept} were kept" if curve.kept is not None else ""
