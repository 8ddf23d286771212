"""From the text of a region file to columns, without a Python loop over the rows."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError

Format = Literal["auto", "bed", "narrowPeak", "csv"]

_REGION = r"^(?P<chrom>.+):(?P<start>-?[^-]*)-(?P<end>-?[^-]*)$"
_INTEGER = r"^-?[0-9]{1,18}$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NARROW_PEAK_COLUMNS = 10


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


def parse_rows(path: Path, format: Format, label_column: int | None) -> Rows:
    """Read the data rows of a region file.

    Raises
    ------
    ChromTransferError
        If the file is missing, empty, damaged or binary, or has only comments.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if format not in ("auto", "bed", "narrowPeak", "csv"):
        raise ChromTransferError(f"{path}: format is '{format}', expected one of auto, bed, narrowPeak, csv.")
    every = _lines(_read(path))
    is_data = pc.invert(pc.match_substring_regex(every, r"^\s*(#|$)|^(track|browser)(\s|$)"))
    line = np.flatnonzero(is_data.to_numpy(zero_copy_only=False)).astype(np.int64) + 1
    if not line.size:
        raise ChromTransferError(f"{path}: holds no regions, only blank or comment lines.")
    text = every.filter(is_data)
    found = _guess_format(path, text.slice(0, 20).to_pylist()) if format == "auto" else format
    if found == "csv":
        table = _Columns(pc.split_pattern(text, ","))
        parts = pc.extract_regex(pc.ascii_trim_whitespace(table.column(0)), _REGION)
        needed = max(1, label_column or 0)
        enough = (table.counts >= needed) & parts.is_valid().to_numpy(zero_copy_only=False)
        chrom, start, end = (pc.struct_field(parts, key) for key in ("chrom", "start", "end"))
        name, score, strand = pc.ascii_trim_whitespace(table.column(0)), None, None
        label = table.column((label_column or 2) - 1)
    else:
        tabs = pc.any(pc.match_substring(text, "\t")).as_py()
        split = (
            pc.split_pattern(text, "\t")
            if tabs
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


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ChromTransferError(f"{path}: is a folder, expected a region file. Name the file inside it.")
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise ChromTransferError(f"{path}: no such file, expected a BED, narrowPeak or CSV file.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ChromTransferError(
            f"{path}: the compressed data is damaged ({error}). Download or compress it again."
        ) from error
    except OSError as error:
        raise ChromTransferError(f"{path}: cannot be read ({error.strerror}).") from error
    if not data.strip():
        raise ChromTransferError(f"{path}: is empty, expected regions (BED, narrowPeak or CSV).")
    try:
        data.decode("utf-8")
        binary = b"\0" in data
    except UnicodeDecodeError:
        binary = True
    if binary:
        raise ChromTransferError(
            f"{path}: is a binary file, expected text (BED, narrowPeak or CSV). "
            "Convert it first, e.g. `bigBedToBed` for a bigBed."
        )
    return data.removeprefix(b"\xef\xbb\xbf")


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
