"""Which regions are open in which line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.preparation.config import Calls, DatasetConfig
from chromtransfer_plugin.preparation.contigs import contig_counts
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.preparation.peaks import Peaks, check_peak_contigs, covered_bases, merged
from chromtransfer_plugin.preparation.signal import (
    check_lengths,
    lacking_contigs,
    open_bigwig,
    region_signal,
    z_scores,
)

BACKGROUND, SHARED = "background", "shared"


class Called(NamedTuple):
    """Regions with their calls.

    Attributes
    ----------
    table : DataFrame
        The windows with, for each line, ``signal:LINE:1``, ``z:LINE:1`` (or ``bases:LINE:1``, the bases that peaks cover)
        of each replicate and ``open:LINE``; ``n_open``; and ``status``: the line where it alone is open, ``shared``
        or ``background`` (open in none).
    open : ndarray (n, lines) bool
    """

    table: pd.DataFrame
    open: NDArray[np.bool_]


def preflight(
    config: DatasetConfig,
    table: pd.DataFrame,
    peaks: Mapping[str, Peaks],
    contigs: Mapping[str, int],
    ledger: Ledger,
) -> None:
    """Fail before any long work if a file is none, is of another assembly, or lacks a contig with regions."""
    counts = contig_counts(table)
    for line in config.lines.values():
        for written in line.signal or []:
            path = ledger.path(written)
            with open_bigwig(path) as track:
                found = track.chroms()
            check_lengths(path, found, contigs)
            lacking_contigs(path, found, counts, config.calls.missing_contigs)
        for written in line.peaks or []:
            check_peak_contigs(written, peaks[written], table, config.calls.missing_contigs, ledger)


def call_regions(
    config: DatasetConfig, table: pd.DataFrame, peaks: Mapping[str, Peaks], ledger: Ledger
) -> Called:
    """Measure every replicate at every region and call the open ones.

    Parameters
    ----------
    config : DatasetConfig
    table : DataFrame
        As :func:`.windows.region_windows` gives it.
    peaks : mapping of str to Peaks
        By file.
    ledger : Ledger

    Raises
    ------
    ChromTransferError
        If a file cannot be used, or has the same signal at all regions.
    """
    measured = _measure(config, table, peaks, ledger)
    lost = np.zeros(len(table), dtype=bool)
    for values in measured.values():
        lost |= np.isnan(values)
    if lost.any():
        table = table[~lost].reset_index(drop=True)
        ledger.count("calls", "on contigs that every file has data on", len(table))
        if table.empty:
            raise ChromTransferError("calls: no region lies on a contig that every file has data on.")
        measured = {key: values[~lost] for key, values in measured.items()}
    columns: dict[str, Any] = {}
    opened = np.zeros((len(table), len(config.lines)), dtype=bool)
    for number, (name, line) in enumerate(config.lines.items()):
        for replicate, written in enumerate(line.files, start=1):
            values = measured.pop((name, replicate))
            if line.signal:
                z = z_scores(values, f"{ledger.path(written)} (signal of {name})")
                now = z > config.calls.threshold if config.calls.strict else z >= config.calls.threshold
                columns[f"signal:{name}:{replicate}"] = values.astype(np.float32)
                columns[f"z:{name}:{replicate}"] = z.astype(np.float32)
            else:
                now = values >= np.minimum(config.calls.min_overlap, _lengths(table, config.calls))
                columns[f"bases:{name}:{replicate}"] = values.astype(np.int32)
            opened[:, number] |= now
        columns[f"open:{name}"] = opened[:, number]
        ledger.count("calls", f"open in {name}", int(opened[:, number].sum()))
    n_open = opened.sum(axis=1).astype(np.int16)
    columns |= {"n_open": n_open, "status": _status(opened, n_open, list(config.lines))}
    ledger.count("calls", "open in more than one line", int((n_open > 1).sum()))
    ledger.count("calls", "open in no line (background)", int((n_open == 0).sum()))
    return Called(pd.concat([table, pd.DataFrame(columns)], axis=1), opened)


def _status(opened: NDArray[np.bool_], n_open: NDArray[np.int16], lines: list[str]) -> Any:
    codes = np.where(n_open == 1, opened.argmax(axis=1) + 2, np.where(n_open > 1, 1, 0)).astype(np.int64)
    return pd.Categorical.from_codes(codes, categories=pd.Index([BACKGROUND, SHARED, *lines]))


def _measured_places(table: pd.DataFrame, calls: Calls) -> pd.DataFrame:
    columns = ["start", "end"] if calls.over == "window" else ["region_start", "region_end"]
    return table[["chrom", *columns]].set_axis(["chrom", "start", "end"], axis=1)


def _lengths(table: pd.DataFrame, calls: Calls) -> NDArray[np.int64]:
    places = _measured_places(table, calls)
    return (places["end"] - places["start"]).to_numpy(np.int64)


def _measure(
    config: DatasetConfig, table: pd.DataFrame, peaks: Mapping[str, Peaks], ledger: Ledger
) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Signal, or bases that peaks cover, of each replicate (line, number); NaN where regions are to be dropped."""
    from tqdm import tqdm

    places = _measured_places(table, config.calls)
    choice = config.calls.missing_contigs
    measured = {}
    for name, line in config.lines.items():
        for replicate, written in enumerate(line.files, start=1):
            what = f"{'signal' if line.signal else 'peaks'} of {name}, replicate {replicate}"
            ledger.say(f"reading {what}: {written}")
            if line.signal:
                with tqdm(total=len(table), unit="region", desc=what, disable=not ledger.progress) as bar:
                    values = region_signal(ledger.path(written), places, config.calls.statistic, choice, bar)
            else:
                values = covered_bases(places, merged(peaks[written].table)).astype(np.float64)
                if choice == "drop":
                    lacking = check_peak_contigs(written, peaks[written], table, choice, ledger)
                    values[table["chrom"].isin(lacking).to_numpy(bool)] = np.nan
            measured[name, replicate] = values
            ledger.read(what, written)
    return measured
