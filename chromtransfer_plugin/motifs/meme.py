"""Motif files in MEME format, read strictly: nothing is guessed or left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError

_HEAD = "letter-probability matrix:"
_ROUNDING = 0.02  # of the sum of four printed probabilities


def read_meme(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read a file in MEME format (https://meme-suite.org/meme/doc/meme-format.html).

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray (length, 4)
        Probabilities of A, C, G, T by what follows ``MOTIF``, its words separated by one space. Rows are scaled to sum to 1.

    Raises
    ------
    ChromTransferError
        If it holds no motif, or one is incomplete, of counts or scores, of other letters than DNA's, or has the name of
        another; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChromTransferError(f"{path}: not readable as MEME motifs: {error}.") from error
    begun = [number for number, line in enumerate(lines) if re.match(r"MOTIF\b", line)]
    if not begun:
        raise ChromTransferError(f"{path}: holds no motif in MEME format (no line 'MOTIF name').")
    found: dict[str, NDArray[np.float64]] = {}
    for first, last in zip(begun, [*begun[1:], len(lines)], strict=True):
        name = " ".join(lines[first].split()[1:])
        if not name:
            _refuse(path, first, "a motif without a name, expected 'MOTIF name'")
        if name in found:
            _refuse(path, first, f"a second motif '{name}'; rename one of them")
        found[name] = _matrix(path, lines, first, last, name)
    return found


def _matrix(path: Path, lines: list[str], first: int, last: int, name: str) -> NDArray[np.float64]:
    """Read the matrix of the motif that begins in line ``first`` (0-based) and ends before line ``last``."""
    heads = [number for number in range(first, last) if lines[number].startswith(_HEAD)]
    if len(heads) != 1:
        _refuse(path, first, f"motif '{name}' has {len(heads)} lines '{_HEAD}', expected one")
    head = heads[0]
    says = dict(re.findall(r"(\w+)=\s*(\S+)", lines[head]))
    if says.get("alength", "4") != "4":
        _refuse(path, head, f"motif '{name}' is of {says['alength']} letters, expected the four of DNA")
    rows = []
    for number, words in _rows(lines, head, last):
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if not (len(row) == 4 and min(row) >= 0 and abs(sum(row) - 1) < _ROUNDING):  # False for NaN
            _refuse(
                path,
                number,
                f"'{' '.join(words)}' of motif '{name}': expected four probabilities that sum to 1",
            )
        rows.append(row)
    if not rows or says.get("w", str(len(rows))) != str(len(rows)):
        _refuse(path, head, f"motif '{name}' has {len(rows)} rows, expected {says.get('w', 'one or more')}")
    matrix = np.array(rows)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _rows(lines: list[str], head: int, last: int) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and words of each row below a head: all up to an empty line, a rule of dashes or a URL."""
    begun = False
    for number in range(head + 1, last):
        words = lines[number].split()
        if not words and not begun:
            continue
        if not words or words[0] == "URL" or words[0].startswith("--"):
            return
        begun = True
        yield number, words


def _refuse(path: Path, number: int, what: str) -> NoReturn:
    raise ChromTransferError(f"{path}, line {number + 1}: {what}.")
