"""Calibration of probabilities, before and after a correction, and conformal prediction sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.draws import Draws
from chromtransfer_plugin.evaluation.record import Calibration, Conformal


class Held(NamedTuple):
    """Windows that a model did not train on, to fit a correction: labels, probabilities, and what they are in words."""

    y: NDArray[np.int64]
    p: NDArray[np.float64]
    what: str


def calibrations(
    y: NDArray[np.int64],
    p: NDArray[np.float64],
    locus: NDArray[np.int64],
    draws: Draws | None,
    *,
    validation: Held | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> list[Calibration]:
    """Measure calibration of the probabilities as they are, after temperature scaling, and after isotonic regression.

    Corrections are fitted on ``validation``; without it they are cross-fitted on the test windows, over folds of whole
    loci: each window is corrected by a fit on the others.
    """
    raise NotImplementedError


def conformal_sets(
    y: NDArray[np.int64],
    p: NDArray[np.float64],
    locus: NDArray[np.int64],
    *,
    validation: Held | None = None,
    levels: Sequence[float] = (0.8, 0.9),
    seed: int = 0,
) -> list[Conformal]:
    """Make split-conformal prediction sets for each class and measure their coverage on the test windows."""
    raise NotImplementedError
