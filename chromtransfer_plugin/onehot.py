"""Between DNA text, codes and one-hot arrays.

Codes are uint8: A, C, G, T = 0, 1, 2, 3 and everything else = 4, whose one-hot column is all zero
(the paper's fine-tuning convention). Lower-case (soft-masked) bases count as upper-case ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import torch

ALPHABET = "ACGT"
N_CODE = 4

_CHUNK = 1 << 16

Layout = Literal["channels_first", "channels_last"]


def byte_table(n_code: int = N_CODE, xor: int = 0) -> bytes:
    """Give the 256-entry table from an ASCII byte to ``code ^ xor``, for ``bytes.translate``."""
    table = bytearray([n_code ^ xor] * 256)
    for code, base in enumerate(ALPHABET):
        table[ord(base)] = table[ord(base.lower())] = code ^ xor
    return bytes(table)


_TO_CODE = byte_table()
_TO_BASE = (ALPHABET + "N" * (256 - len(ALPHABET))).encode()


def encode(sequence: str | bytes) -> NDArray[np.uint8]:
    """Turn DNA text into codes.

    Parameters
    ----------
    sequence : str or bytes
        L letters, either case. Anything but A, C, G, T becomes code 4.

    Returns
    -------
    ndarray of uint8, shape (L,)
        A writable array of its own.
    """
    # "replace" keeps the length: every non-ASCII character becomes one '?', hence one code 4.
    raw = sequence.encode("ascii", "replace") if isinstance(sequence, str) else bytes(sequence)
    return np.frombuffer(bytearray(raw).translate(_TO_CODE), dtype=np.uint8)


def decode(codes: NDArray[np.uint8]) -> str:
    """Turn one sequence of codes, shape (L,), into upper-case text; codes above 3 become N."""
    codes = np.asarray(codes)
    if codes.ndim != 1 or codes.dtype != np.uint8:
        raise ChromTransferError(
            f"decode: expected a 1-D uint8 array of codes, got {codes.ndim}-D {codes.dtype}."
        )
    return codes.tobytes().translate(_TO_BASE).decode("ascii")


def reverse_complement_codes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reverse-complement codes of shape (..., L); N stays N.

    The complement of code c is 3 - c, and uint8 wraps 3 - 4 to 255, which the minimum brings back to 4.
    """
    return np.minimum(np.uint8(3) - codes[..., ::-1], np.uint8(N_CODE))


def one_hot(
    codes: NDArray[np.uint8],
    layout: Layout = "channels_first",
    dtype: DTypeLike = np.float32,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """One-hot encode codes.

    Parameters
    ----------
    codes : ndarray of uint8, shape (..., L)
    layout : {"channels_first", "channels_last"}
        Where the axis A, C, G, T goes.
    dtype : dtype
        Of the result; float32 is the fastest.
    out : ndarray, shape of the result, optional
        Contiguous array to write into, of any dtype, instead of a new one. In a loop this is several
        times faster: a new array costs the system more than filling it.

    Returns
    -------
    ndarray, shape (..., 4, L) or (..., L, 4)
        One 1 per position, none where the code is above 3. It is ``out`` if that was given.

    Raises
    ------
    ChromTransferError
        For codes that are not uint8, an unknown layout, or an ``out`` of another shape.
    """
    codes = np.asarray(codes)
    if codes.dtype != np.uint8 or codes.ndim == 0:
        raise ChromTransferError(
            f"one_hot: expected a uint8 array of codes, got {codes.ndim}-D {codes.dtype}."
        )
    if layout not in _FILL:
        raise ChromTransferError(
            f"one_hot: layout is '{layout}', expected 'channels_first' or 'channels_last'."
        )
    *outer, length = codes.shape
    shape = (*outer, len(ALPHABET), length) if layout == "channels_first" else (*codes.shape, len(ALPHABET))
    if out is None:
        out = np.empty(shape, dtype=dtype)
    elif out.shape != shape or not out.flags.c_contiguous:
        raise ChromTransferError(
            f"one_hot: out has the shape {out.shape}, expected a C-contiguous array of {shape}."
        )
    rows = codes.reshape(math.prod(outer), length)
    target = out.reshape(len(rows), *shape[-2:])
    # Temporary arrays of one chunk stay in the processor's cache.
    step = max(1, _CHUNK // max(1, length))
    for first in range(0, len(rows), step):
        _FILL[layout](rows[first : first + step], target[first : first + step])
    return out


def _fill_channels_first(codes: NDArray[np.uint8], out: NDArray[Any]) -> None:
    for code in range(len(ALPHABET)):
        # Comparing then casting runs at vector speed; a table lookup here is three times slower.
        np.copyto(out[:, code], codes == np.uint8(code))


def _fill_channels_last(codes: NDArray[np.uint8], out: NDArray[Any]) -> None:
    table = np.zeros((256, len(ALPHABET)), dtype=out.dtype)
    table[: len(ALPHABET)] = np.eye(len(ALPHABET))
    if table.strides[0] == np.dtype(np.complex128).itemsize:
        # Four float32 move as one 16-byte item: ten times faster than table[codes].
        np.take(table.view(np.complex128)[:, 0], codes, out=out.view(np.complex128)[..., 0], mode="clip")
    else:
        np.take(table, codes, axis=0, out=out, mode="clip")


_FILL = {"channels_first": _fill_channels_first, "channels_last": _fill_channels_last}


def one_hot_tensor(codes: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """One-hot encode a tensor of codes where it lies.

    Sending codes to the accelerator and encoding there moves a sixteenth of what float32 one-hot would.

    Parameters
    ----------
    codes : torch.Tensor of uint8, shape (B, L)
        On any device.
    dtype : torch.dtype, optional
        Of the result, by default float32.

    Returns
    -------
    torch.Tensor, shape (B, 4, L), channels first, on the device of ``codes``
    """
    import torch

    bases = torch.arange(len(ALPHABET), dtype=codes.dtype, device=codes.device).unsqueeze(-1)
    out = torch.empty(
        (*codes.shape[:-1], len(ALPHABET), codes.shape[-1]), dtype=dtype or torch.float32, device=codes.device
    )
    # Writing the comparison straight into `out` is one pass; (codes == bases).to(dtype) is two.
    return torch.eq(codes.unsqueeze(-2), bases, out=out)
