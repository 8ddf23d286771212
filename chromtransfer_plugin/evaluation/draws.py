"""Bootstrap resamples of windows, or of whole loci, as how often each window was drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Resample = Literal["locus", "window"]


@dataclass(frozen=True)
class Draws:
    """Resamples that every model and every pair of models shares, so that what they have in common cancels.

    Attributes
    ----------
    counts : ndarray (R, N) uint16
        How often resample r holds window i.
    redrawn : int
        Resamples that lacked a class and were drawn again.
    resample : {"locus", "window"}
    """

    counts: NDArray[np.uint16]
    redrawn: int
    resample: Resample


def make_draws(
    y: NDArray[np.int64],
    locus: NDArray[np.int64],
    *,
    resample: Resample = "locus",
    n: int = 1000,
    seed: int = 0,
) -> Draws:
    """Draw ``n`` resamples of N windows, or of as many loci as there are.

    Raises
    ------
    ChromTransferError
        If only one class is present.
    """
    raise NotImplementedError
