"""Signal of bigWig files at regions, and z-scores of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.preparation import defaults
from chromtransfer_plugin.preparation.contigs import contig_counts, lacking_reason

Statistic = Literal["mean", "max", "sum"]
_SPAN = 4_000_000  # bases read at once: 32 MB
_FAR = 50_000  # bases between regions that are not worth reading through


def open_bigwig(path: Path) -> Any:
    """Open a bigWig for reading.

    Raises
    ------
    ChromTransferError
        If it is none.
    """
    import pybigtools

    try:
        track = pybigtools.open(str(path))
        sound = not track.is_bigbed
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # its classes differ between versions; a panic of Rust is no Exception
        raise ChromTransferError(f"{path}: not readable as bigWig ({error}).") from error
    if not sound:
        raise ChromTransferError(f"{path}: is a bigBed, expected a bigWig with signal.")
    return track


def check_lengths(path: Path, found: Mapping[str, int], contigs: Mapping[str, int]) -> None:
    """Raise if a file's contigs have other lengths than the genome's."""
    for name, size in contigs.items():
        if found.get(name, size) != size:
            raise ChromTransferError(
                f"{path}: its {name} has {found[name]:,} bp, that of the genome has {size:,}: it is of another assembly."
            )


def lacking_contigs(
    path: Path, found: Mapping[str, int], counts: Mapping[str, int], choice: str
) -> list[str]:
    """Give the contigs with regions that a file has no data on.

    Parameters
    ----------
    path : Path
    found : mapping of str to int
        Contigs of the file.
    counts : mapping of str to int
        Regions on each contig.
    choice : {"error", "closed", "drop"}
        ``calls.missing_contigs``.

    Raises
    ------
    ChromTransferError
        If there are such contigs and ``choice`` is ``error``.
    """
    lacking = [name for name, count in counts.items() if count and name not in found]
    if lacking and choice == "error":
        reason = lacking_reason(lacking[0], found)
        raise lacking_error(path, f"does not have the contig {lacking[0]} ({reason})", lacking, counts)
    return lacking


def lacking_error(path: Path, what: str, lacking: list[str], counts: Mapping[str, int]) -> ChromTransferError:
    """Return the error for contigs that a file has no data on."""
    more = f"; {len(lacking)} contigs are like this" if len(lacking) > 1 else ""
    return ChromTransferError(
        f"{path}: {what}, on which {counts[lacking[0]]:,} regions lie{more}. Take the file of the same assembly, limit "
        "`chromosomes`, or set `calls: {missing_contigs: closed}` if nothing is open there (`drop` leaves them out)."
    )


def region_signal(
    path: Path, table: pd.DataFrame, statistic: Statistic, choice: str, bar: Any = None
) -> NDArray[np.float64]:
    """Aggregate a bigWig over each region.

    Parameters
    ----------
    path : Path
    table : DataFrame
        ``chrom`` (category), ``start``, ``end``; n rows in any order.
    statistic : {"mean", "max", "sum"}
        Bases without data count 0.
    choice : {"error", "closed", "drop"}
        Of contigs without data: an error, or 0 and NaN for their regions.
    bar : tqdm, optional
        Is moved on by one for each region.

    Returns
    -------
    ndarray (n,) float64

    Raises
    ------
    ChromTransferError
        If the file cannot be read, has negative or infinite values at a region, or lacks a contig.
    """
    signal = np.zeros(len(table), dtype=np.float64)
    start, end = (table[column].to_numpy(np.int64) for column in ("start", "end"))
    codes = table["chrom"].cat.codes.to_numpy()
    counts = contig_counts(table)
    with open_bigwig(path) as track:
        found = track.chroms()
        lacking = lacking_contigs(path, found, counts, choice)
        for number, name in enumerate(table["chrom"].cat.categories):
            if not counts[name] or name in lacking:
                continue
            rows = np.flatnonzero(codes == number)
            for some in _batches(rows, start, end):
                signal[some] = _aggregate(path, track, name, start[some], end[some], statistic)
                if bar is not None:
                    bar.update(len(some))
            if len(rows) >= defaults.MIN_REGIONS_OF_SILENT_CONTIG and not signal[rows].any():
                if choice == "error":
                    raise lacking_error(path, f"holds no data on {name}", [name], counts)
                lacking.append(name)
    wrong = ~(np.isfinite(signal) & (signal >= 0))
    if wrong.any():
        row = table.iloc[int(np.argmax(wrong))]
        raise ChromTransferError(
            f"{path}: its signal at {row['chrom']}:{row['start']}-{row['end']} is {signal[np.argmax(wrong)]:g} "
            f"({wrong.sum():,} regions are like this), expected 0 or more: read depth or fold change, not its logarithm."
        )
    if choice == "drop":
        signal[table["chrom"].isin(lacking).to_numpy(bool)] = np.nan
    return signal


def _batches(
    rows: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Rows of one contig, by place, in groups that lie near each other."""
    rows = rows[np.argsort(start[rows], kind="stable")]
    reach = np.maximum.accumulate(end[rows])
    first = 0
    far = np.flatnonzero(start[rows][1:] - reach[:-1] > _FAR) + 1
    for last in [*far.tolist(), len(rows)]:
        while first < last:
            # At least one region goes along, however long it is.
            stop = int(np.searchsorted(reach[:last], start[rows[first]] + _SPAN, side="right"))
            stop = min(max(stop, first + 1), last)
            yield rows[first:stop]
            first = stop


def _aggregate(
    path: Path,
    track: Any,
    name: str,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    statistic: Statistic,
) -> NDArray[np.float64]:
    begin, stop = int(start.min()), int(end.max())
    try:
        # One base more, so that every end is a place in the array: reduceat asks for that.
        values = np.append(track.values(name, begin, stop, fillna=0.0), 0.0)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a damaged block: a panic of Rust is no Exception
        raise ChromTransferError(f"{path}: cannot be read at {name}:{begin}-{stop} ({error}).") from error
    bounds = np.stack([start, end], axis=1).ravel() - begin
    function = np.maximum if statistic == "max" else np.add
    result = function.reduceat(values, bounds)[::2]
    return result / (end - start) if statistic == "mean" else result


def z_scores(signal: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Z-score of the logarithm (base 10) over all regions with signal.

    Parameters
    ----------
    signal : ndarray (n,) float64
        Of all regions, none below 0.
    what : str
        For messages.

    Returns
    -------
    ndarray (n,) float64
        -10 without signal, as in ENCODE SCREEN; mean and standard deviation (of a population) are over the others.

    Raises
    ------
    ChromTransferError
        If fewer than two regions have signal, or all have the same.
    """
    some = signal > 0
    logarithm = np.log10(signal[some])
    spread = float(logarithm.std()) if logarithm.size else 0.0
    if spread == 0 or np.ptp(logarithm) == 0:
        how = (
            "no region has signal"
            if not some.any()
            else f"all {int(some.sum()):,} regions with signal have the same"
        )
        raise ChromTransferError(
            f"{what}: {how}, so there is no z-score. Is the file of this assembly and experiment?"
        )
    z = np.full(len(signal), defaults.Z_OF_NO_SIGNAL)
    z[some] = (logarithm - logarithm.mean()) / spread
    return z
