"""From the text of a region file to columns, without a Python loop over the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.text_blocks import TextKind, text_blocks

Format = Literal["auto", "bed", "narrowPeak", "csv"]

_REGION = r"^(?P<chrom>.+):(?P<start>-?[^-]*)-(?P<end>-?[^-]*)$"
_INTEGER = r"^-?[0-9]{1,18}$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NARROW_PEAK_COLUMNS = 10
_GUESSED_FROM = 20  # rows that tell the format
_REGIONS = TextKind(
    file="a region file",
    formats="BED, narrowPeak or CSV",
    content="regions",
    hint="Convert it first, e.g. `bigBedToBed` for a bigBed.",
)


@dataclass(frozen=True)
class Rows:
    """The data rows of a file, all arrays of one length; fields of unusable rows hold placeholders.

    Attributes
    ----------
    format : {"bed", "narrowPeak", "csv"}
    line : ndarray of int64
        1-based line number in the file.
    enough_columns, integers : ndarray of bool
        Whether the row has the columns its format needs, and integers where they must be.
    chrom, name, strand, label : Series of str
    start, end, summit : ndarray of int64
        As written; summit is -1 where there is none.
    score : ndarray of float64
        NaN where there is none.
    text : callable
        From row numbers to the rows' text.
    """

    format: str
    line: NDArray[np.int64]
    enough_columns: NDArray[np.bool_]
    integers: NDArray[np.bool_]
    chrom: pd.Series
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    summit: NDArray[np.int64]
    name: pd.Series
    score: NDArray[np.float64]
    strand: pd.Series
    label: pd.Series
    text: Callable[[NDArray[Any]], list[str]]


@dataclass(frozen=True)
class Layout:
    """How the rows of one file are written; decided once, so that every block of it is read alike.

    Attributes
    ----------
    format : {"bed", "narrowPeak", "csv"}
    tabs : bool
        Whether the columns of a BED or narrowPeak are separated by tabs, not blanks: if any row has one.
    """

    format: str
    tabs: bool


def parse_rows(path: Path, format: Format, label_column: int | None) -> Rows:
    """Read the data rows of a region file at once.

    Raises
    ------
    ChromTransferError
        If the file is missing, empty, damaged or binary, or has only comments.
    """
    _check_format(path, format)
    text, line, _ = _data_lines(b"".join(text_blocks(path, _REGIONS, None)))
    if not line.size:
        raise _no_rows(path)
    first = text.slice(0, _GUESSED_FROM).to_pylist()
    layout = Layout(_guess_format(path, first) if format == "auto" else format, _has_tabs(text))
    return _columns(text, line, layout, label_column)


def survey_rows(path: Path, format: Format) -> tuple[Layout, int]:
    """Find the layout and the number of data rows of a region file, reading it in blocks.

    Raises
    ------
    ChromTransferError
        As :func:`parse_rows`.
    """
    _check_format(path, format)
    first: list[str] = []
    tabs, n = False, 0
    for data in text_blocks(path, _REGIONS):
        text, line, _ = _data_lines(data)
        if len(first) < _GUESSED_FROM:
            first += text.slice(0, _GUESSED_FROM - len(first)).to_pylist()
        tabs = tabs or _has_tabs(text)
        n += line.size
    if not n:
        raise _no_rows(path)
    return Layout(_guess_format(path, first) if format == "auto" else format, tabs), n


def parse_blocks(path: Path, layout: Layout, label_column: int | None, rows: int) -> Iterator[Rows]:
    """Read the data rows of a region file in blocks of at most ``rows``, in file order.

    Together the blocks are what :func:`parse_rows` gives. The layout is that of :func:`survey_rows`.
    """
    before = 0
    for data in text_blocks(path, _REGIONS):
        text, line, n_lines = _data_lines(data)
        for start in range(0, line.size, rows):
            part = slice(start, start + rows)
            yield _columns(text[part], line[part] + before, layout, label_column)
        before += n_lines


def _check_format(path: Path, format: str) -> None:
    if format not in ("auto", "bed", "narrowPeak", "csv"):
        raise ChromTransferError(f"{path}: format is '{format}', expected one of auto, bed, narrowPeak, csv.")


def _no_rows(path: Path) -> ChromTransferError:
    return ChromTransferError(f"{path}: holds no regions, only blank or comment lines.")


def _has_tabs(text: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring(text, "\t")).as_py())


def _data_lines(data: bytes) -> tuple[Any, NDArray[np.int64], int]:
    """Give the lines that are rows as an Arrow array, their 1-based numbers, and the number of all lines."""
    import pyarrow.compute as pc

    every = _lines(data)
    is_data = pc.invert(pc.match_substring_regex(every, r"^\s*(#|$)|^(track|browser)(\s|$)"))
    line = np.flatnonzero(is_data.to_numpy(zero_copy_only=False)).astype(np.int64) + 1
    return every.filter(is_data), line, len(every)


def _columns(text: Any, line: NDArray[np.int64], layout: Layout, label_column: int | None) -> Rows:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = layout.format
    if found == "csv":
        table = _Columns(pc.split_pattern(text, ","))
        parts = pc.extract_regex(pc.ascii_trim_whitespace(table.column(0)), _REGION)
        needed = max(1, label_column or 0)
        enough = (table.counts >= needed) & parts.is_valid().to_numpy(zero_copy_only=False)
        chrom, start, end = (pc.struct_field(parts, key) for key in ("chrom", "start", "end"))
        name, score, strand = pc.ascii_trim_whitespace(table.column(0)), None, None
        label = table.column((label_column or 2) - 1)
    else:
        split = (
            pc.split_pattern(text, "\t")
            if layout.tabs
            else pc.ascii_split_whitespace(pc.ascii_trim_whitespace(text))
        )
        table = _Columns(split)
        needed = max(_NARROW_PEAK_COLUMNS if found == "narrowPeak" else 3, label_column or 0)
        chrom, start, end = (pc.ascii_trim_whitespace(table.column(j)) for j in range(3))
        enough = (table.counts >= needed) & pc.not_equal(pc.fill_null(chrom, ""), "").to_numpy(
            zero_copy_only=False
        )
        name, score, strand = (table.column(j) for j in (3, 4, 5))
        label = table.column((label_column or 4) - 1)
    start_value, start_ok = _integers(start)
    end_value, end_ok = _integers(end)
    summit, summit_ok = np.full(len(line), -1, dtype=np.int64), np.ones(len(line), dtype=bool)
    if found == "narrowPeak":
        summit, summit_ok = _integers(table.column(_NARROW_PEAK_COLUMNS - 1))
    nothing = pa.nulls(len(line), pa.large_string())
    label = nothing if label_column == 0 else pc.ascii_trim_whitespace(label)
    strand = nothing if strand is None else strand
    return Rows(
        format=found,
        line=line,
        enough_columns=enough,
        integers=start_ok & end_ok & summit_ok,
        chrom=_strings(chrom),
        start=start_value,
        end=end_value,
        summit=summit,
        name=_strings(name),
        score=_floats(score, len(line)),
        strand=_strings(pc.if_else(pc.is_in(strand, pa.array(["+", "-"], pa.large_string())), strand, ".")),
        label=_strings(pc.if_else(pc.equal(label, "."), "", label)),
        text=lambda numbers: text.take(pa.array(numbers)).to_pylist(),
    )


def _lines(data: bytes) -> Any:
    """Cut text into an Arrow array of lines by marking the line ends, without copying the text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
    if not ends.size or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    lines = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    return pc.ascii_rtrim(lines, characters="\r\n")


def _guess_format(path: Path, first: list[str]) -> str:
    if any(re.match(r"[^\s,]+:-?\d+-\d+(,|$)", line) for line in first):
        return "csv"
    if path.name.removesuffix(".gz").lower().endswith(".narrowpeak"):
        return "narrowPeak"
    fields = first[0].split("\t")
    if (
        len(fields) == _NARROW_PEAK_COLUMNS
        and all(re.match(_NUMBER, value) for value in fields[6:9])
        and re.match(_INTEGER, fields[9])
    ):
        return "narrowPeak"
    return "bed"


class _Columns:
    """The columns of rows that may differ in their number of fields."""

    def __init__(self, lists: Any) -> None:
        self._values = lists.values
        self._first = np.asarray(lists.offsets)[:-1]
        self.counts = np.diff(np.asarray(lists.offsets))

    def column(self, number: int) -> Any:
        """Give column ``number`` (0-based), null where a row is too short."""
        import pyarrow as pa

        return self._values.take(pa.array(self._first + number, mask=self.counts <= number))


def _integers(column: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give the values (0 where there is no integer) and where there is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = pc.fill_null(pc.match_substring_regex(column, _INTEGER), False)
    values = pc.cast(pc.if_else(valid, column, "0"), pa.int64())
    return values.to_numpy(zero_copy_only=False), valid.to_numpy(zero_copy_only=False)


def _floats(column: Any, n: int) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column is None:
        return np.full(n, np.nan)
    valid = pc.fill_null(pc.match_substring_regex(column, _NUMBER), False)
    return pc.cast(pc.if_else(valid, column, None), pa.float64()).to_numpy(zero_copy_only=False)


def _strings(column: Any) -> pd.Series:
    import pyarrow.compute as pc

    return pc.fill_null(column, "").to_pandas().astype("str")
