"""Scores that something else made (``--against``): files of many forms to one probability for each test window."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.inputs import LabelledWindows
from chromtransfer_plugin.text_blocks import TextKind, text_blocks

FORMS = (
    "a table with a header (region or chrom,start,end; score or probability; CSV, TSV or Parquet), the paper's evaluation "
    "CSV (score,line,label,0/1), one score per line, or BED with the score in column 5"
)
_TEXT = TextKind(
    file="a file of scores",
    formats="CSV, TSV, BED, Parquet or one score per line",
    content="scores",
    hint="Write the scores as text: region,score.",
)
_SCORE_NAMES = ("probability", "score")
_HEADER_NAMES = {"region", "chrom", "chromosome", "start", "end", *_SCORE_NAMES}
_NO_SCORES = {
    *("region", "chrom", "chromosome", "start", "end", "name", "strand", "label", "source_line", "status")
}
_DECIMAL_COMMA = re.compile(r"-?\d*,\d+(e-?\d+)?", re.IGNORECASE)  # as spreadsheets write in many languages
_PAPER_COLUMNS = (4, 5)  # score, line, label, 0/1, and in older files the call


class External(NamedTuple):
    """One probability for each test window (N,), and what was read, in words."""

    scores: NDArray[np.float64]
    read: str


class _Read(NamedTuple):
    """Scores as the file has them: text of the score, region (None: by row), label (None: none), and line numbers."""

    score: pd.Series
    region: pd.Series | None
    label: pd.Series | None
    line: NDArray[np.int64]
    form: str


def read_external(
    path: str | Path, name: str, windows: LabelledWindows, line: str, *, logits: bool = False
) -> External:
    """Read scores and bring them into the order of the test windows.

    Scores are matched by region where the file names regions, else by row: then it must have one row for each row of
    the test file, in its order.

    Parameters
    ----------
    path : path
    name : str
        Of the scores; a column called like it, or like the line, holds them if there is one.
    windows : LabelledWindows
    line : str
    logits : bool
        The scores are log-odds.

    Raises
    ------
    ChromTransferError
        If a window has no score or two different ones, a score is no number in [0, 1], or a label differs from that of
        the test file.
    """
    read = _read(Path(path), name, line)
    p = _numbers(path, read, name, logits)
    table = pd.DataFrame({"score": p, "line": read.line})
    named = f" (it names regions such as {read.region.iloc[0]})" if read.region is not None else ""
    table["label"] = read.label.astype(str).str.strip().to_numpy() if read.label is not None else ""
    if read.region is not None:
        table["id"] = read.region.to_numpy()
    else:
        if len(table) != windows.n_rows:
            raise ChromTransferError(
                f"{path}: has {len(table)} scores without regions, {windows.path} has {windows.n_rows} rows: scores by row "
                "need one for each row, in the same order. Or add a column region (chrom:start-end)."
            )
        table = table.iloc[windows.rows["row"].to_numpy()].assign(id=windows.rows["id"].to_numpy())
    used = table[table["id"].isin(set(windows.ids))]
    _check_one_score(path, used)
    used = used.drop_duplicates("id").set_index("id")
    missing = windows.ids[~windows.ids.isin(used.index)]
    if len(missing):
        raise ChromTransferError(
            f"{path}: has no score for {len(missing)} of the {len(windows.ids)} test windows of {windows.path}, e.g. "
            f"{missing.iloc[0]}{named}. Every model is compared on the same windows: add these scores, or leave the "
            "windows out."
        )
    used = used.loc[windows.ids]
    if read.label is not None:
        _check_labels(path, used, windows)
    return External(
        used["score"].to_numpy(dtype=np.float64),
        f"{path} ({read.form}): {len(read.score)} scores read, {len(windows.ids)} used",
    )


def _numbers(path: str | Path, read: _Read, name: str, logits: bool) -> NDArray[np.float64]:
    p = pd.to_numeric(read.score, errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(p))
    if len(bad):
        text = str(read.score.iloc[bad[0]])
        fix = "Write decimal points" if _DECIMAL_COMMA.fullmatch(text) else "Give every window a score"
        raise ChromTransferError(
            f"{path}, line {read.line[bad[0]]}: the score is {text!r}, expected a number ({len(bad)} such). {fix}."
        )
    if logits:
        return 1 / (1 + np.exp(-np.clip(p, -700, 700)))
    bad = np.flatnonzero((p < 0) | (p > 1))
    if len(bad):
        if p.min() >= 0:
            fix = f"Divide by the largest possible score (here up to {p.max():g}), so that they are probabilities"
        else:
            fix = f"If these are logits, add --against-logits {name}"
        raise ChromTransferError(
            f"{path}, line {read.line[bad[0]]}: the score {p[bad[0]]:g} is outside [0, 1] ({len(bad)} of "
            f"{len(p)} are). {fix}."
        )
    return p


def _check_one_score(path: str | Path, used: pd.DataFrame) -> None:
    kinds = used.groupby("id", sort=False)["score"].nunique()
    several = kinds[kinds > 1]
    if len(several):
        rows = used[used["id"] == several.index[0]]
        raise ChromTransferError(
            f"{path}: {len(several)} windows have several different scores, e.g. {several.index[0]} has "
            f"{rows['score'].iloc[0]:g} in line {rows['line'].iloc[0]} and {rows['score'].iloc[1]:g} in line "
            f"{rows['line'].iloc[1]}. Keep one score for each window."
        )


def _check_labels(path: str | Path, used: pd.DataFrame, windows: LabelledWindows) -> None:
    """Labels are names as in the test file, or 0 and 1; an empty one says nothing."""
    given = used["label"].to_numpy()
    as_number = set(given) <= {"0", "1", "0.0", "1.0", "", "nan"}
    truth = (windows.y.astype(str) if as_number else windows.table["label"]).astype(str)
    given = np.array([text.removesuffix(".0") if as_number else text for text in given])
    wrong = np.flatnonzero((given != np.asarray(truth)) & (given != "") & (given != "nan"))
    if len(wrong):
        first = wrong[0]
        raise ChromTransferError(
            f"{path}, line {used['line'].iloc[first]}: says the label of {windows.ids.iloc[first]} is {given[first]}, "
            f"{windows.path} says {np.asarray(truth)[first]} ({len(wrong)} labels differ). Are these scores of "
            "other windows, or in another order?"
        )


# --- forms of files -----------------------------------------------------------------------------------------


def _read(path: Path, name: str, line: str) -> _Read:
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, name, line)
    text = b"".join(text_blocks(path, _TEXT, None)).decode("utf-8", errors="replace")
    rows = [
        (number, row)
        for number, row in enumerate(text.splitlines(), 1)
        if row.strip() and not row.startswith(("track", "browser"))
    ]
    # A comment line may be the header, as in BED with `#chrom`.
    header = next((row for _, row in rows if not row.startswith("##")), "")
    data = [(number, row) for number, row in rows if not row.startswith("#")]
    if not data:
        raise ChromTransferError(f"{path}: holds no scores, only blank or comment lines.")
    separator = _separator(data[0][1])
    names = _split(header.lstrip("#"), separator)
    if _HEADER_NAMES & {field.lower() for field in names}:
        data = data[1:] if data[0][1] == header else data
        return _from_header(path, names, data, separator, name, line)
    return _without_header(path, data, separator, line)


def _fields(
    path: Path, data: list[tuple[int, str]], separator: str | None, n: int | None = None
) -> pd.DataFrame:
    """Split the rows; all have as many columns as the header, or the first."""
    split = [_split(row, separator) for _, row in data]
    expected = n or len(split[0])
    for (number, _), fields in zip(data, split, strict=True):
        if len(fields) != expected:
            raise ChromTransferError(
                f"{path}, line {number}: has {len(fields)} columns, expected {expected} as in the first line."
            )
    return pd.DataFrame(split, dtype=str)


def _separator(row: str) -> str | None:
    """Tell what divides the columns: tabs, else semicolons or commas; None: blanks, or there is one column."""
    if "\t" in row:
        return "\t"
    found = max(";,", key=row.count)
    return found if found in row else None


def _split(row: str, separator: str | None) -> list[str]:
    """Split one row, with or without quotes; a quote that is left open ends with the row."""
    quoted = separator is not None and '"' in row
    fields = next(csv.reader([row], delimiter=separator)) if separator and quoted else row.split(separator)
    return [field.strip() for field in fields]


def _line_numbers(data: list[tuple[int, str]]) -> NDArray[np.int64]:
    return np.array([number for number, _ in data], dtype=np.int64)


def _from_header(
    path: Path, names: list[str], data: list[tuple[int, str]], separator: str | None, name: str, line: str
) -> _Read:
    if not data:
        raise ChromTransferError(f"{path}: has a header and no rows.")
    table = _fields(path, data, separator, len(names))
    table.columns = pd.Index(names)
    return _from_table(path, table, _line_numbers(data), name, line, "table with a header")


def _read_parquet(path: Path, name: str, line: str) -> _Read:
    import pyarrow

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ChromTransferError(
            f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}."
        ) from error
    return _from_table(path, table, np.arange(1, len(table) + 1), name, line, "Parquet")


def _from_table(
    path: Path, table: pd.DataFrame, lines: NDArray[np.int64], name: str, line: str, form: str
) -> _Read:
    lower = {str(column).lower(): str(column) for column in table.columns}
    # A column called like the model or the line holds its scores: `score` may then be a BED's.
    wanted = next((lower[key] for key in (line.lower(), name.lower(), *_SCORE_NAMES) if key in lower), None)
    others = [column for key, column in lower.items() if key not in _NO_SCORES]
    if wanted is None and len(others) == 1:
        wanted = others[0]
    if wanted is None:
        raise ChromTransferError(
            f"{path}: which column holds the scores? None is called score, probability, {line} or {name}; there are "
            f"{', '.join(map(str, table.columns))}. Rename it."
        )
    region = None
    place = [lower.get(key) for key in ("chrom", "start", "end")]
    if "region" in lower:
        region = table[lower["region"]].astype(str)
    elif all(place):
        region = (
            table[place[0]].astype(str)
            + ":"
            + table[place[1]].astype(str)
            + "-"
            + table[place[2]].astype(str)
        )
    if region is not None:
        # Rows that could not be scored are empty in the output of `chromtransfer predict`.
        known = (table[wanted].notna() & (table[wanted].astype(str) != "")).to_numpy()
        table, region, lines = table[known], region[known], lines[known]
    label = table[lower["label"]].fillna("") if "label" in lower else None
    return _Read(table[wanted], region, label, lines, form)


def _without_header(path: Path, data: list[tuple[int, str]], separator: str | None, line: str) -> _Read:
    first = _split(data[0][1], separator)
    if len(first) == 1:
        table = _fields(path, data, separator)
        return _Read(table[0], None, None, _line_numbers(data), "one score per line")
    if len(first) in _PAPER_COLUMNS and _is_number(first[0]) and not _is_number(first[1]):
        return _read_paper(path, data, separator, line)
    if len(first) >= 5 and _is_number(first[1]) and _is_number(first[2]):
        table = _fields(path, data, separator)
        return _Read(table[4], table[0] + ":" + table[1] + "-" + table[2], None, _line_numbers(data), "BED")
    raise ChromTransferError(
        f"{path}, line {data[0][0]}: '{data[0][1][:80]}': not understood, expected {FORMS}."
    )


def _read_paper(path: Path, data: list[tuple[int, str]], separator: str | None, line: str) -> _Read:
    """Take the rows of the line: the concatenations hold several."""
    table = _fields(path, data, separator)
    own = (table[1] == line).to_numpy()
    if not own.any():
        raise ChromTransferError(
            f"{path}: no row is of the line '{line}' (column 2 holds {', '.join(sorted(set(table[1]))[:10])})."
        )
    table = table[own]
    return _Read(table[0], None, table[2], _line_numbers(data)[own], "the paper's evaluation CSV")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
