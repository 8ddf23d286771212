"""The original's attribution files: three lines of text per window, header, sequence and scores."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import open_output
from chromtransfer_plugin.onehot import decode, encode
from chromtransfer_plugin.regions import region_ids
from chromtransfer_plugin.text_blocks import TextKind, open_text, plain_errors

DECIMALS = 5  # the original's
MOST_DECIMALS = 17
_KIND = TextKind("an attribution file", "text of three lines per window", "windows", "")
_SEQUENCE = frozenset(b"ACGTNacgtn")


class AttributionText(NamedTuple):
    """What an attribution file holds.

    Attributes
    ----------
    headers : list of str
        Without the ``>``.
    codes : ndarray of uint8, shape (N, L)
    scores : ndarray of float32, shape (N, L)
    """

    headers: list[str]
    codes: NDArray[np.uint8]
    scores: NDArray[np.float32]


def write_attributions(
    path: str | Path,
    regions: pd.DataFrame,
    sequences: NDArray[np.uint8],
    scores: NDArray[np.floating],
    decimals: int = DECIMALS,
) -> None:
    """Write scores in the original text format.

    Parameters
    ----------
    path : str or Path
        Gzip-compressed if it ends in ``.gz``. The paper's files are called ``*.grad-x-input.gz``.
    regions : DataFrame
        Columns chrom, start, end (0-based half-open), one row per window; the header is
        ``>chrom:start-end``.
    sequences : ndarray, shape (N, L), uint8
        Base codes, written as upper-case letters.
    scores : ndarray, shape (N, L)
        One number per base.
    decimals : int
        The original has 5, which is coarse for probability gradients.

    Raises
    ------
    ChromTransferError
        If the shapes do not fit together, a score is not finite, or the file cannot be written.
    """
    if sequences.ndim != 2 or scores.shape != sequences.shape or len(regions) != len(sequences):
        raise ChromTransferError(
            f"{path}: expected as many regions as sequences and one score per base, got {len(regions)} "
            f"regions, sequences {sequences.shape} and scores {scores.shape}."
        )
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    headers = region_ids(regions).tolist()
    if len(broken):
        raise ChromTransferError(
            f"{path}: the scores of {headers[broken[0]]} are not finite; the model itself is broken."
        )
    with contextlib.ExitStack() as stack:
        open_output(stack, Path(path)).write(window_lines(headers, sequences, scores, decimals))


def window_lines(
    headers: Sequence[str], sequences: NDArray[np.uint8], scores: NDArray[np.floating], decimals: int
) -> bytes:
    """Give the text of some windows; see :func:`write_attributions`."""
    rounded = np.round(scores.astype(np.float64), decimals) + 0.0  # adding 0 turns -0 into 0
    lines = []
    for header, codes, row in zip(headers, sequences, rounded, strict=True):
        numbers = " ".join(f"{value:.{decimals}f}" for value in row.tolist())
        lines.append(f">{header}\n{decode(codes)}\n{numbers}\n")
    return "".join(lines).encode()


def read_attributions(path: str | Path) -> AttributionText:
    """Read a file of :func:`write_attributions` or of the original program, plain or gzip.

    Five bytes of memory for each base.

    Raises
    ------
    ChromTransferError
        If it cannot be read or has another form, with the number of the line.
    """
    path = Path(path).expanduser()
    headers: list[str] = []
    codes: list[NDArray[np.uint8]] = []
    scores: list[NDArray[np.float32]] = []
    with open_text(path, _KIND) as source, plain_errors(path):
        for number, line in enumerate(source, start=1):
            text = line.rstrip(b"\r\n")
            part = (number - 1) % 3
            if part == 0:
                if not text.startswith(b">"):
                    raise _wrong(path, number, "a header that begins with >")
                headers.append(text[1:].decode("utf-8", "replace"))
            elif part == 1:
                if not text or not _SEQUENCE.issuperset(text):
                    raise _wrong(path, number, "a sequence of A, C, G, T and N")
                codes.append(encode(text))
                if len(text) != len(codes[0]):
                    raise _wrong(path, number, f"a sequence of {len(codes[0])} bases, as the first one")
            else:
                scores.append(_numbers(path, number, text, len(codes[-1])))
    if not headers:
        raise ChromTransferError(f"{path}: is empty, expected three lines per window.")
    if len(scores) < len(headers):
        raise ChromTransferError(
            f"{path}: ends within a window, after line {number}. Write or download it again."
        )
    return AttributionText(headers, np.stack(codes), np.stack(scores))


def _numbers(path: Path, line: int, text: bytes, length: int) -> NDArray[np.float32]:
    try:
        values = np.array(text.split(), dtype=np.float32)
    except ValueError:
        values = np.empty(0, dtype=np.float32)
    if len(values) != length or not np.isfinite(values).all():
        raise _wrong(path, line, f"{length} numbers, one for each base of the line before")
    return values


def _wrong(path: Path, line: int, expected: str) -> ChromTransferError:
    return ChromTransferError(f"{path}: line {line}: expected {expected}. Is it an attribution file?")
