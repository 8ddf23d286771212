"""The record of an evaluation: every number that a table or a report shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from chromtransfer_plugin.json_record import read_record
from chromtransfer_plugin.leaks import LeakReport

RECORD = "evaluation.json"
MEAN = "mean"  # stands for the mean over all lines where the name of a line is expected

# In the order of the tables: name in files, heading, whether larger is better (None: neither).
METRICS: dict[str, tuple[str, bool | None]] = {
    "auroc": ("AUROC", True),
    "average_precision": ("AP, probabilities", True),
    "average_precision_calls": ("AP, 0/1 calls (the paper's AUPRC)", True),
    "auprc_davis_goadrich": ("AUPRC, Davis-Goadrich", True),
    "f1_positive": ("F1 open at 0.5", True),
    "f1_negative": ("F1 closed at 0.5", True),
    "f1_weighted": ("F1 weighted at 0.5 (the paper's overall F1)", True),
    "f1_macro": ("F1 macro at 0.5", True),
    "best_f1_positive": ("F1 open at the best threshold", True),
    "best_f1_negative": ("F1 closed at the best threshold", True),
    "best_f1_weighted": ("F1 weighted at the best threshold", True),
    "best_f1_macro": ("F1 macro at the best threshold", True),
    "best_f1_threshold": ("best threshold", None),
    "accuracy": ("accuracy at 0.5", True),
    "brier": ("Brier score", False),
    "log_loss": ("log-loss", False),
    "ece": ("ECE", False),
}
COMPARED = ("auroc", "average_precision", "f1_weighted", "brier")  # metrics of the paired tests


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(_Part):
    """A value and its bootstrap interval; None where it is not defined (one class only)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def text(self, signed: bool = False, undefined: str = "-") -> str:
        """Write the value with its interval, if there is one: ``0.862 [0.853, 0.871]``."""
        form = "+.3f" if signed else ".3f"
        if self.value is None:
            return undefined
        if self.low is None or self.high is None:
            return f"{self.value:{form}}"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


class Calibration(_Part):
    """Calibration of a model, as it is and after a correction.

    Attributes
    ----------
    method : {"none", "temperature", "isotonic"}
    fitted_on : str
        In words: ``validation fold, 812 windows`` or ``test windows, cross-fitted over 5 folds of loci``;
        for none empty, or why there is no other.
    temperature : float or None
    ece, brier, log_loss : Measure
        On the test windows, after the correction.
    n, mean_predicted, observed : list
        Of each of the equal-width bins of the reliability curve; None in empty bins.
    """

    method: Literal["none", "temperature", "isotonic"]
    fitted_on: str = ""
    temperature: float | None = None
    ece: Measure
    brier: Measure
    log_loss: Measure
    n: list[int]
    mean_predicted: list[float | None]
    observed: list[float | None]


class Conformal(_Part):
    """Prediction sets that hold the truth in at least ``level`` of the windows of each class.

    Attributes
    ----------
    level : float
    fitted_on : str
    coverage_open, coverage_closed : float or None
        Share of the test windows of the class whose set holds it.
    both, neither, single : float
        Share of the test windows whose set is {open, closed}, empty, and of one class.
    """

    level: float
    fitted_on: str
    coverage_open: float | None
    coverage_closed: float | None
    both: float
    neither: float
    single: float


class ModelResult(_Part):
    """One model on the windows of one line.

    Attributes
    ----------
    name : str
    kind : str
        ``given``, ``external``, or the baseline that it is: ``kmer``, ``binary``, ``multiclass``, ``multiclass-fixed``,
        ``pretrained``, ``fine-tuned``.
    source : str
        Checkpoint or file.
    output : str
        The model's output that was evaluated; empty for external scores.
    measures : dict of str to Measure
        By name of :data:`METRICS`.
    tp, fp, fn, tn : int
        At 0.5.
    calibration : list of Calibration
        The first is of the model as it is.
    conformal : list of Conformal
    run : str
        Folder of its training run (history.csv, run.json), relative to the record; empty if unknown.
    note : str
    """

    name: str
    kind: str
    source: str
    output: str = ""
    measures: dict[str, Measure]
    tp: int
    fp: int
    fn: int
    tn: int
    calibration: list[Calibration] = []
    conformal: list[Conformal] = []
    run: str = ""
    note: str = ""


class Comparison(_Part):
    """``a`` minus ``b`` in one metric on the same windows.

    Attributes
    ----------
    difference : Measure
        With its paired bootstrap interval.
    p_bootstrap : float or None
        Two-sided, from the same resamples.
    p_delong : float or None
        AUROC only; takes windows as independent.
    q : float or None
        Benjamini-Hochberg over all comparisons of this metric in the evaluation, of ``p_bootstrap``.
    """

    a: str
    b: str
    metric: str
    difference: Measure
    p_bootstrap: float | None = None
    p_delong: float | None = None
    q: float | None = None


class LineResult(_Part):
    """All models on the windows of one line.

    Attributes
    ----------
    line : str
    n, n_positive, n_loci : int
        Test windows, positive ones, and groups of neighbours (see :func:`~chromtransfer_plugin.splits.loci`).
    read : list of str
        What was read and dropped, in words.
    leaks : LeakReport or None
        None if no training windows were named.
    """

    line: str
    n: int
    n_positive: int
    n_loci: int
    models: list[ModelResult]
    comparisons: list[Comparison] = []
    leaks: LeakReport | None = None
    read: list[str] = []


class MeanOverLines(_Part):
    """A model's mean over all lines.

    Attributes
    ----------
    name : str
    measures : dict of str to Measure
        By name of :data:`METRICS`; intervals are of the mean of the lines' r-th resamples.
    """

    name: str
    measures: dict[str, Measure]


class EvaluationRecord(_Part):
    """What ``evaluation.json`` holds. ``settings`` are all options; ``command`` is what was typed.

    ``means`` and ``mean_comparisons``, which are of the means over all lines, are empty for a single line.
    """

    format: Literal["chromtransfer-evaluation/1"] = "chromtransfer-evaluation/1"
    command: list[str]
    settings: dict[str, Any]
    genome: str
    device: str
    versions: dict[str, str]
    seconds: float
    resample: Literal["locus", "window"]
    resamples: int
    level: float
    lines: list[LineResult]
    means: list[MeanOverLines] = []
    mean_comparisons: list[Comparison] = []


def read_evaluation(folder: str | Path) -> EvaluationRecord:
    """Read the record in a folder that ``chromtransfer evaluate`` wrote.

    Raises
    ------
    ChromTransferError
        If there is none, or it has another form.
    """
    return read_record(Path(folder) / RECORD, EvaluationRecord, "the record of `chromtransfer evaluate`")
