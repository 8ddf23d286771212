"""Which test windows a model may have seen in training: overlaps, and sequence shared with training windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class LeakReport(BaseModel):
    """How much of the test windows is known from training.

    Attributes
    ----------
    n_train, n_test : int
        Windows.
    k : int
        Length of the words that are compared, on both strands.
    share : float
        A test window leaks if at least this share of its words is in the training windows.
    n_identical, n_overlapping, n_leaking : int
        Test windows that are training windows, that overlap one, and that share at least ``share``.
    shares : list of float
        Quantiles 0, .05, ... 1 of the share over the test windows.
    worst : list of tuple
        The windows that share most, ``(chrom:start-end, share, the training window that shares most)``; at most 20.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_train: int
    n_test: int
    k: int
    share: float
    n_identical: int
    n_overlapping: int
    n_leaking: int
    shares: list[float]
    worst: list[tuple[str, float, str]]


def find_leaks(
    train: pd.DataFrame,
    test: pd.DataFrame,
    train_codes: NDArray[np.uint8] | None,
    test_codes: NDArray[np.uint8] | None,
    *,
    k: int = 24,
    share: float = 0.5,
) -> tuple[LeakReport, pd.DataFrame]:
    """Compare test windows with training windows.

    Parameters
    ----------
    train, test : DataFrame
        ``chrom, start, end``.
    train_codes, test_codes : ndarray (N, L) uint8 or None
        Base codes of the windows in the same order; None compares places only.
    k : int
    share : float

    Returns
    -------
    LeakReport, DataFrame
        The report, and one row per test window: ``chrom, start, end, identical, overlapping, share, closest``.
    """
    raise NotImplementedError


def write_leaks(report: LeakReport, table: pd.DataFrame, folder: Path) -> None:
    """Write ``leaks.json`` and ``leaks.tsv``."""
    raise NotImplementedError
