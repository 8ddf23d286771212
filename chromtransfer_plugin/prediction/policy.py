"""What becomes of bases that are not A, C, G or T: our rule, and that of the original prediction script."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.onehot import N_CODE, encode

NPolicy = Literal["zero", "original"]
POLICIES = ("zero", "original")


def original_codes(sequence: bytes) -> NDArray[np.uint8] | None:
    """Encode text as the original script did: N deleted, any other letter repeats the base before it.

    Returns
    -------
    ndarray of uint8, shape (L - number of N,), or None
        None where the first letter left is no base: there the original stopped with an error.
    """
    codes = encode(sequence.translate(None, b"Nn"))
    other = codes == N_CODE
    if not other.any():
        return codes
    if other[0]:
        return None
    # Position of the last base at or before each letter.
    last = np.maximum.accumulate(np.where(other, 0, np.arange(len(codes))))
    return codes[last]


def without_unknown(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Delete unknown bases from each row of codes (n, L) and fill up with unknown ones at the row's end."""
    touched = np.flatnonzero((codes == N_CODE).any(axis=1))
    if not touched.size:
        return codes
    order = np.argsort(codes[touched] == N_CODE, axis=1, kind="stable")
    shifted = codes.copy()
    shifted[touched] = np.take_along_axis(codes[touched], order, axis=1)
    return shifted


def padded(codes: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """Bring each row of codes (n, L) to ``length`` by unknown bases added, or cut off, at its end."""
    out = np.full((len(codes), length), N_CODE, dtype=np.uint8)
    kept = min(codes.shape[1], length)
    out[:, :kept] = codes[:, :kept]
    return out
