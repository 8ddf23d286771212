"""Counting in sequences at the speed of the memory: composition, and the words of length k on both strands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

LONGEST_WORD = 31  # two bits a base in a signed 64-bit number, which -1 ("no word") must not be


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile, without Python's lock; keep the machine code on the disk where there is a place for it."""
    try:
        return numba.njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder can be written to
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


@_compiled
def count_pairs(codes: NDArray[np.uint8], bases: NDArray[np.int32], pairs: NDArray[np.int32]) -> None:
    """Count the bases, (N, 5), and the neighbouring bases, (N, 25), of (N, L) codes; add to what is there."""
    for row in range(codes.shape[0]):
        before = codes[row, 0]
        bases[row, before] += 1
        for position in range(1, codes.shape[1]):
            code = codes[row, position]
            bases[row, code] += 1
            pairs[row, before * 5 + code] += 1
            before = code
