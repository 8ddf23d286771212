"""Region files: BED, narrowPeak and the paper's CSV, read into one table of windows and written back.

Coordinates are 0-based and half-open. A row that cannot be used is dropped and listed in the report with
its line number, text and reason, never skipped silently.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, open_output
from chromtransfer_plugin.region_text import Format, parse_rows
from chromtransfer_plugin.region_windows import (
    REASONS,
    Center,
    Judged,
    file_refusal,
    judge_rows,
    strict_error,
)

if TYPE_CHECKING:
    from chromtransfer_plugin.genome import Genome


@dataclass(frozen=True)
class RegionReport:
    """What became of each row of a region file.

    Attributes
    ----------
    path : str
        The file.
    format : str
        "bed", "narrowPeak" or "csv".
    n_read : int
        Rows that are not blank, comment, track or browser lines.
    n_kept, n_resized : int
        Rows in the table, and those among them whose window differs from the row's interval.
    dropped : list of (int, str, str)
        Line number (1-based), text and reason of every row that was left out, in file order.
    """

    path: str
    format: str
    n_read: int
    n_kept: int
    n_resized: int
    dropped: list[tuple[int, str, str]] = field(default_factory=list)

    def summary(self) -> str:
        """Give the counts as text: one line, then one per reason with its first example."""
        lines = [
            f"{self.path} ({self.format}): {self.n_read} rows read, {self.n_kept} kept "
            f"({self.n_resized} resized), {len(self.dropped)} dropped"
        ]
        first = {reason: (line, text) for line, text, reason in reversed(self.dropped)}
        for reason, count in Counter(reason for _, _, reason in self.dropped).most_common():
            lines.append(f"  {count} x {reason}, first at line {first[reason][0]}: {first[reason][1]}")
        return "\n".join(lines)

    def write_dropped(self, path: str | Path) -> None:
        """Write the dropped rows as a tab-separated file with columns line, reason, text.

        Raises
        ------
        ChromTransferError
            If ``path`` cannot be written to.
        """
        with atomic_path(path) as temporary:
            temporary.write_text(dropped_text(self.dropped), encoding="utf-8")


def dropped_text(dropped: Iterable[tuple[int, str, str]], header: bool = True) -> str:
    """Give rows that were left out, as in :class:`RegionReport`, as text with columns line, reason, text."""
    lines = [f"{line}\t{reason}\t{text}\n" for line, text, reason in dropped]
    return "".join(["line\treason\ttext\n", *lines] if header else lines)


@dataclass(frozen=True)
class Regions:
    """Windows in file order and the report of how they were read.

    Attributes
    ----------
    table : DataFrame
        Columns chrom (str), start and end (int64, 0-based half-open), name (str), score (float64, NaN if
        absent), strand ("+", "-" or "."), label (str, empty if none), source_line (int64, 1-based).
    report : RegionReport
    """

    table: pd.DataFrame
    report: RegionReport

    def __len__(self) -> int:
        return len(self.table)


def read_regions(
    path: str | Path,
    genome: Genome | None = None,
    width: int | None = WINDOW,
    center: Center = "auto",
    format: Format = "auto",
    label_column: int | None = None,
    strict: bool = False,
    drop_only_n: bool = True,
) -> Regions:
    """Read a region file into windows of one width.

    Parameters
    ----------
    path : str or Path
        BED (3 or more columns), narrowPeak, or the paper's CSV without a header
        (``chrom:start-end,label``); plain, gzip or bgzip.
    genome : Genome, optional
        If given, rows on unknown contigs, off their contig, or of nothing but N are dropped.
    width : int or None
        Windows become ``[centre - width // 2, centre - width // 2 + width)``; None keeps the intervals.
    center : {"auto", "midpoint", "summit"}
        ``(start + end) // 2``, or start + column 10 of a narrowPeak. "auto" takes the summit of a
        narrowPeak row that has one, else the midpoint.
    format : {"auto", "bed", "narrowPeak", "csv"}
    label_column : int, optional
        1-based column of the label, which every row must then have; by default column 4 (name) of a BED
        or narrowPeak and column 2 of a CSV where present. 0 for no labels. A label "." counts as none.
    strict : bool
        Raise at the first row that would be dropped.
    drop_only_n : bool
        False keeps rows of nothing but N, where one result per row is expected.

    Returns
    -------
    Regions

    Raises
    ------
    ChromTransferError
        If the file is missing, empty, binary or no region file, or no row is left; with ``strict`` for
        the first bad row.
    """
    _check_whole("width", width, 1, "at least 1 bp")
    _check_whole("label_column", label_column, 0, "a column counted from 1, 0 for no labels")
    if center not in ("auto", "midpoint", "summit"):
        raise ChromTransferError(f"read_regions: center is '{center}', expected auto, midpoint or summit.")
    rows = parse_rows(Path(path), format, label_column)
    if center == "summit" and rows.format != "narrowPeak":
        raise ChromTransferError(
            f"{path}: center='summit' needs a narrowPeak file, this one was read as {rows.format}. "
            "Use center='midpoint', or format='narrowPeak' if it is one."
        )
    judged = judge_rows(rows, genome, width, center, drop_only_n)
    refusal = file_refusal(path, judged, genome)
    if refusal is not None:
        raise refusal
    return _finish(path, judged, strict)


def _check_whole(name: str, value: Any, least: int, meaning: str) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if value is not None and (not whole or value < least):
        raise ChromTransferError(
            f"read_regions: {name} is {value!r}, expected a whole number, {meaning}, or None."
        )


def _finish(path: str | Path, judged: Judged, strict: bool) -> Regions:
    rows, start, end, good = judged.rows, judged.start, judged.end, judged.good
    bad = np.flatnonzero(~good)
    dropped = [
        (int(line), text, REASONS[number])
        for line, text, number in zip(rows.line[bad], rows.text(bad), judged.reason[bad], strict=True)
    ]
    if strict and dropped:
        raise strict_error(path, dropped[0], f" and list the {len(dropped)} such rows")
    resized = good & ((start != rows.start) | (end != rows.end))
    report = RegionReport(
        str(path), rows.format, len(good), int(good.sum()), int(np.count_nonzero(resized)), dropped
    )
    if not report.n_kept:
        raise ChromTransferError(f"{path}: no usable row is left.\n{report.summary()}\nCorrect these rows.")
    table = pd.DataFrame(
        {
            "chrom": rows.chrom,
            "start": start,
            "end": end,
            "name": rows.name,
            "score": rows.score,
            "strand": rows.strand,
            "label": rows.label,
            "source_line": rows.line,
        }
    )
    return Regions(table if good.all() else table[good].reset_index(drop=True), report)


def labelled(regions: Regions, positive: str | Sequence[str]) -> NDArray[np.float32]:
    """Give 1 where a region's label is (one of) ``positive`` and 0 elsewhere.

    Returns
    -------
    ndarray of float32, shape (n,)

    Raises
    ------
    ChromTransferError
        If a positive label does not occur; the labels that do are listed with their counts. Also if a
        region has no label at all: it would silently count as negative.
    """
    wanted = [positive] if isinstance(positive, str) else list(positive)
    labels = regions.table["label"]
    counts = labels.value_counts()
    for name in wanted:
        if name == "" or name not in counts.index:
            found = ", ".join(f"{label or '(none)'} {count}" for label, count in counts.head(20).items())
            raise ChromTransferError(
                f"{regions.report.path}: no region has the label '{name}'. Labels and counts: {found}. "
                "Choose the positive label among these, or the column that holds the labels."
            )
    missing = (labels == "").to_numpy()
    if missing.any():
        line = regions.table["source_line"].iloc[int(np.argmax(missing))]
        raise ChromTransferError(
            f"{regions.report.path}: {int(missing.sum())} regions have no label, the first at line {line}. "
            "Give every region a label."
        )
    return np.asarray(labels.isin(wanted), dtype=np.float32)


def parse_region(text: str) -> tuple[str, int, int]:
    """Split ``chrom:start-end`` (0-based, half-open) into its parts.

    Raises
    ------
    ChromTransferError
        If the text has another form or start is not before end.
    """
    match = re.fullmatch(r"(\S+):(\d+)-(\d+)", text.strip())
    if match is None or int(match[2]) >= int(match[3]):
        raise ChromTransferError(
            f"region '{text}': expected chrom:start-end with start < end, 0-based and half-open and without "
            "thousands separators, e.g. chr1:100-700."
        )
    return match[1], int(match[2]), int(match[3])


def region_ids(table: pd.DataFrame) -> pd.Series:
    """Give ``chrom:start-end`` of each row of a table with these three columns."""
    return (
        table["chrom"].astype("str") + ":" + table["start"].astype("str") + "-" + table["end"].astype("str")
    )


def write_bed(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as BED: 6 columns, or 3 if it has none of label, name, score and strand.

    Column 4 is the label, else the name, else "."; a missing score becomes 0. Compressed if the name ends
    in ``.gz``.

    Raises
    ------
    ChromTransferError
        If ``path`` cannot be written to.
    """
    out = table[["chrom", "start", "end"]].copy()
    if {"label", "name", "score", "strand"} & set(table.columns):
        nothing = pd.Series("", index=table.index, dtype="str")
        label, name = (table.get(column, nothing).astype("str") for column in ("label", "name"))
        text = label.where(label != "", name)
        out["name"] = text.where(text != "", ".")
        out["score"] = table["score"].fillna(0) if "score" in table else 0
        out["strand"] = table.get("strand", ".")
    _write(out, path, "\t")


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as the paper's CSV: ``chrom:start-end,label`` without a header.

    Raises
    ------
    ChromTransferError
        If a label holds a comma, or ``path`` cannot be written to.
    """
    commas = table["label"].str.contains(",", regex=False)
    if commas.any():
        label = table["label"][commas].iloc[0]
        raise ChromTransferError(
            f"{path}: the label '{label}' holds a comma, which the CSV form cannot. Rename it or write BED."
        )
    _write(pd.DataFrame({"region": region_ids(table), "label": table["label"]}), path, ",")


def _write(table: pd.DataFrame, path: str | Path, separator: str) -> None:
    with contextlib.ExitStack() as stack:
        table.to_csv(
            open_output(stack, Path(path)), sep=separator, header=False, index=False, float_format="%.6g"
        )
