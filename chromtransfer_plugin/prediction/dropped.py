"""Rows without a result: counted, the first listed, and all of them in a file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.files import open_output
from chromtransfer_plugin.prediction.inputs import Block
from chromtransfer_plugin.regions import dropped_text

SUFFIX = ".dropped.tsv"
_MOST_LISTED = 20


class Dropped:
    """Collect the rows that have no result.

    Parameters
    ----------
    stack : ExitStack
        The file appears when it is left without an error.
    path : Path
        Line, reason and text of each row; written only if there are any.

    Attributes
    ----------
    paths : list of Path
        The file, once it has a row.
    """

    def __init__(self, stack: contextlib.ExitStack, path: Path) -> None:
        self._stack, self._path = stack, path
        self._first: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._out: IO[bytes] | None = None
        self.paths: list[Path] = []

    def write(
        self, block: Block, table: pd.DataFrame, rows: NDArray[np.int64], reasons: list[str], of: str = ""
    ) -> None:
        """Add rows of a block.

        Parameters
        ----------
        block : Block
        table : DataFrame
            The block's.
        rows : ndarray of int64
            Their positions in it.
        reasons : list of str
        of : str
            Name of the input if there are several; stands before the reason.
        """
        if not rows.size:
            return
        lines = table["source_line"].iloc[rows].tolist()
        named = [f"{of}: {reason}" for reason in reasons] if of else reasons
        dropped = list(zip(lines, block.text(rows), named, strict=True))
        self._reasons.update(named)
        for line, text, reason in dropped[: _MOST_LISTED - len(self._first)]:
            self._first.append(f"  line {line}: {reason}: {text}")
        header = self._out is None
        if self._out is None:
            self._out, self.paths = open_output(self._stack, self._path), [self._path]
        self._out.write(dropped_text(dropped, header).encode())

    def report(self, report: Callable[[str], object]) -> None:
        """Say how many there are and why, and list the first."""
        if not self.paths:
            return
        lines = [f"{sum(self._reasons.values()):,} rows without a result:"]
        lines += [f"  {count:,} x {reason}" for reason, count in self._reasons.most_common()]
        report("\n".join([*lines, *self._first, f"  all in {self._path}"]))
