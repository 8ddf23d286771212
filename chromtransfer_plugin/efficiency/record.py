"""The record of a data-efficiency analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from chromtransfer_plugin.json_record import read_record

RECORD = "efficiency.json"
FRACTIONS = (0.01, 0.05, 0.10, 0.15, 0.20, 0.25, 0.50, 0.75)  # of the paper's Table 1
DRAWS = 10

Mode = Literal["features", "full"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Draw(_Part):
    """One model trained on one random share and tested on the unchanged test windows.

    Attributes
    ----------
    fraction : float
        1 for all training windows.
    draw : int
        From 0.
    n, n_positive : int
        Windows that were drawn.
    seed : int
    measures : dict of str to float or None
        f1_negative, f1_positive, f1_weighted, auroc, average_precision, brier, ... on the test windows.
    seconds : float
    n_validation : int
        How many of the ``n`` chose the epoch; 0 where the protocol does not choose.
    epochs, best_epoch : int
        Trained, and the one whose weights were tested.
    redrawn : int
        Shares that could not be trained on (one class only, no fold to validate on) and were drawn again.
    """

    fraction: float
    draw: int
    n: int
    n_positive: int
    seed: int
    measures: dict[str, float | None]
    seconds: float
    n_validation: int = 0
    epochs: int = 0
    best_epoch: int = 0
    redrawn: int = 0


class Row(_Part):
    """A fraction: mean and standard deviation over draws (as Table 1), and bootstrap band (over draws and windows)."""

    fraction: float
    n: int
    draws: int
    mean: dict[str, float | None]
    sd: dict[str, float | None]
    low: dict[str, float | None]
    high: dict[str, float | None]


class EfficiencyRecord(_Part):
    """What ``efficiency.json`` holds.

    Attributes
    ----------
    mode : {"features", "full"}
        A new head on the trunk's features, which are computed once, or fine-tuning of the whole network.
    line, pretrained, genome, device : str
    references : dict of str to float
        AUROC of other models on the same test windows, e.g. ``{"pretrained, un-tuned": 0.55}``, drawn as lines.
    resample, resamples, level
        Of the bands: what of the test windows is drawn with replacement (the draws always are), how often, coverage.
    n_test_loci : int
    redrawn : int
        Sum of that of the draws.
    finding : str
        What the table says, in words.
    read : list of str
        What was read and dropped, in words.
    """

    format: Literal["chromtransfer-efficiency/1"] = "chromtransfer-efficiency/1"
    command: list[str]
    settings: dict[str, Any]
    mode: Mode
    line: str
    pretrained: str
    genome: str
    device: str
    versions: dict[str, str]
    n_train: int
    n_test: int
    n_test_positive: int
    draws: list[Draw]
    rows: list[Row]
    references: dict[str, float] = {}
    resample: Literal["locus", "window"] = "locus"
    resamples: int = 0
    level: float = 0.95
    n_test_loci: int = 0
    redrawn: int = 0
    finding: str = ""
    read: list[str] = []


def read_efficiency(folder: str | Path) -> EfficiencyRecord:
    """Read the record in a folder that ``chromtransfer efficiency`` wrote."""
    return read_record(Path(folder) / RECORD, EfficiencyRecord, "the record of `chromtransfer efficiency`")
