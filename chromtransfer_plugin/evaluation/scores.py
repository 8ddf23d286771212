"""The scores of many models on the same windows of one line, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

SCORES, VALIDATION = "scores.parquet", "validation.parquet"  # in the folder of a line
PREFIX = "score."


@dataclass(frozen=True)
class ScoreTable:
    """Labelled windows and the probability that each model gives them.

    Attributes
    ----------
    line : str
    table : DataFrame
        ``chrom, start, end`` (0-based half-open), ``label`` (its name in the file), ``y`` (int8, 1 = open in the line),
        ``locus`` (int64, neighbours share it); N rows.
    scores : dict of str to ndarray (N,) float64
        Probability of being open by name of model; none is NaN.
    """

    line: str
    table: pd.DataFrame
    scores: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def y(self) -> NDArray[np.int64]:
        """Labels (N,), 1 for open."""
        return self.table["y"].to_numpy(dtype=np.int64)

    @property
    def locus(self) -> NDArray[np.int64]:
        """Locus of each window (N,)."""
        return self.table["locus"].to_numpy(dtype=np.int64)


def write_scores(scores: ScoreTable, path: str | Path) -> None:
    """Write windows and scores as Parquet; models become columns ``score.NAME``."""
    raise NotImplementedError


def read_scores(path: str | Path, line: str) -> ScoreTable:
    """Read what :func:`write_scores` wrote.

    Raises
    ------
    ChromTransferError
        If the file is missing or of another form.
    """
    raise NotImplementedError
