"""From placed variants to logits of both alleles: every different window runs once through every model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.windows import STRANDS, Strand


class Settings(NamedTuple):
    """How variants are scored.

    Attributes
    ----------
    width : int
        Window in bp.
    strands : tuple of Strand
        ("+", "-") for the mean of the logits of both strands, or ("+",).
    shifts : tuple of int
        Windows are moved by each of these bp; for each output the one with the largest absolute difference of logits
        counts (the first of equal ones).
    batch_size : int
    device : str
    """

    width: int
    strands: tuple[Strand, ...] = STRANDS
    shifts: tuple[int, ...] = (0,)
    batch_size: int = 256
    device: str = "auto"


class Scores(NamedTuple):
    """Logits of both alleles, (n, columns) float32, and the shift in bp of the window they are of, int64."""

    ref: NDArray[np.float32]
    alt: NDArray[np.float32]
    shift: NDArray[np.int64]


class Scorer:
    """Score variants by several predictors in one pass.

    Use it within ``with scorer.ready():``, which moves the models to the device and gives them back.

    Parameters
    ----------
    predictors : sequence of Predictor
        The columns of all results are theirs, in order.
    genome : Genome
    settings : Settings
    cache : Path, optional
        File of scored windows that is read and added to; see :mod:`chromtransfer_plugin.variants.cache`.

    Attributes
    ----------
    n_windows, n_run, n_cached : int
        Windows asked for, run through the models, and found in the cache, so far.
    """

    n_windows: int
    n_run: int
    n_cached: int

    def __init__(
        self,
        predictors: Sequence[Predictor],
        genome: Genome,
        settings: Settings,
        cache: Path | None = None,
    ) -> None:
        raise NotImplementedError

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the models on the device, in evaluation mode."""
        raise NotImplementedError
        yield

    def score(self, table: pd.DataFrame) -> Scores:
        """Score rows of :attr:`Block.table <chromtransfer_plugin.variants.records.Block>` whose status is 0."""
        raise NotImplementedError

    def logits(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (n, columns) of windows (n, width) read as they stand, each different one scored once."""
        raise NotImplementedError
