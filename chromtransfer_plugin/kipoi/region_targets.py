"""Regions with the targets that a dataloader is asked for."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.regions import Regions, labelled, read_regions
from chromtransfer_plugin.targets import one_hot_targets

_UNKNOWN = {"", "na", "nan"}  # "" is also what a "." in the file is read as


def read_regions_and_targets(
    path: str,
    genome: Genome,
    width: int,
    label_column: int | None = None,
    positive: Any = None,
    classes: Any = None,
    target_columns: Any = None,
) -> tuple[Regions, NDArray[np.float32] | None]:
    """Read windows, and their targets if one of the last three arguments says which.

    Arguments come from Kipoi's command line: lists may also be texts with commas, texts may be numbers.

    Parameters
    ----------
    path : str
    genome : Genome
    width : int
    label_column : int, optional
        See :func:`~chromtransfer_plugin.regions.read_regions`; only with ``positive`` or ``classes``.
    positive : str or list of str, optional
        Target 1 for these labels and 0 for every other one.
    classes : str or list of str, optional
        One-hot targets in this order.
    target_columns : int, str or list of int, optional
        Columns, counted from 1, that hold numbers: ``4``, ``"4,6"`` or ``"5-10"``.

    Returns
    -------
    Regions, ndarray of float32 (n, T) or None
        A target is NaN where a numeric column holds ``.``, ``NA`` or nothing.

    Raises
    ------
    ChromTransferError
        If two kinds of targets are asked for, a region has no label or a number is no number.
    """
    wanted = {"positive": positive, "classes": classes, "target_columns": target_columns}
    given = [name for name, value in wanted.items() if value is not None]
    if len(given) > 1:
        raise ChromTransferError(f"dataloader arguments {' and '.join(given)}: give only one of them.")
    if label_column is not None and given not in (["positive"], ["classes"]):
        raise ChromTransferError(
            "dataloader argument 'label_column' goes with 'positive' or 'classes', which say what the labels mean."
        )
    if label_column is not None and (type(label_column) is not int or label_column < 1):  # True is an int
        raise ChromTransferError(
            f"dataloader argument 'label_column' is {label_column!r}, expected a column counted from 1."
        )
    read = partial(read_regions, path, genome, width, drop_only_n=False)
    plain = read(label_column=0)
    if not given:
        return plain, None
    columns = _columns(target_columns) if target_columns is not None else []
    column = max(columns, default=label_column)
    try:
        regions = read(label_column=column)  # drops the rows that lack the column
    except ChromTransferError as error:
        if column is None:
            raise
        raise ChromTransferError(
            f"{path}: none of the {len(plain)} usable rows has {column} columns."
        ) from error
    if columns:
        numbers = [_numbers(path, column, regions, read(label_column=column)) for column in columns]
        return regions, np.stack(numbers, axis=1)
    if positive is not None:
        return regions, labelled(regions, _names("positive", positive))[:, None]
    return regions, one_hot_targets(regions.table["label"], _names("classes", classes), path)


def _names(argument: str, value: Any) -> list[str]:
    items = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    )
    names = [str(item).strip() for item in items]
    if not names or "" in names or not all(type(item) in (str, int) for item in items):
        raise ChromTransferError(
            f"dataloader argument '{argument}' is {value!r}, expected labels separated by commas, e.g. \"A549,K562\"."
        )
    if len(set(names)) < len(names):
        raise ChromTransferError(f"dataloader argument '{argument}' is {value!r}: name each label once.")
    return names


def _columns(value: Any) -> list[int]:
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    columns: list[int] = []
    for part in parts:
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", str(part))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last:
            raise ChromTransferError(
                f"dataloader argument 'target_columns' is {value!r}, expected columns counted from 1, such as "
                '4, "4,6" or "5-10".'
            )
        columns += range(first, last + 1)
    if not columns:
        raise ChromTransferError("dataloader argument 'target_columns' names no column.")
    return columns


def _numbers(path: str, column: int, regions: Regions, reread: Regions) -> NDArray[np.float32]:
    """Give one column, read as labels, as numbers in the order of ``regions``."""
    texts = reread.table.set_index("source_line")["label"].loc[regions.table["source_line"]]
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    wrong = numbers.isna() & ~texts.str.lower().isin(_UNKNOWN)
    if wrong.any():
        line = texts.index[wrong][0]
        raise ChromTransferError(
            f"{path}: line {line}: column {column} holds {texts[line]!r}, expected a number (or . or NA for an unknown "
            "target). Name the columns with numbers as target_columns."
        )
    return numbers.to_numpy(dtype=np.float32)
