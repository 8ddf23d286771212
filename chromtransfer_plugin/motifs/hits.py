"""Where motifs lie in windows, by a FIMO scan, and the attribution of each site."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.motifs.threads import torch_threads_kept
from chromtransfer_plugin.onehot import one_hot

How = Literal["max", "min"]

HIT_COLUMNS = ("region", "chrom", "start", "end", "strand", "motif", "score", "p_value")
P_THRESHOLD = 1e-5  # paper, Methods: "predicted sites with P <= 1e-5"
BIN = 0.01  # bits; every entry of a scoring matrix is rounded to this, which makes the P-values exact
PSEUDOCOUNT = 1e-4  # added to each probability by memelite
_MARGIN = 0.2  # of a bin, added to a site's score so that no rounding error moves it to the bin below
_SCAN_BATCH = 20_000  # windows; a batch of 600 bp takes about 0.5 GB with all of JASPAR
_SCORE_BATCH = 1 << 18  # hits


def scan_hits(
    windows: pd.DataFrame,
    codes: NDArray[np.uint8],
    motifs: Mapping[str, NDArray[Any]],
    threshold: float = P_THRESHOLD,
    progress: bool = False,
    batch_size: int = _SCAN_BATCH,
) -> pd.DataFrame:
    """Find the sites of motifs on both strands of windows with memelite's FIMO.

    A P-value is the share of all words of the motif's length that score at least as much, every base being equally
    likely. Scores are log2 odds against a quarter, each entry rounded to 0.01 bits; P is exact for the rounded
    matrix (see docs/motifs.md for what memelite does when it is not given a rounded one).

    Parameters
    ----------
    windows : DataFrame
        Columns chrom, start and end (0-based, half-open), N rows, all L bases wide.
    codes : ndarray of uint8, shape (N, L)
        Base codes, A, C, G, T = 0, 1, 2, 3. An unknown base (4) counts as the worst one at its place in the motif.
    motifs : mapping of str to ndarray (length, 4)
        Probabilities, as :func:`chromtransfer_plugin.motifs.read_motifs` gives them.
    threshold : float
        Largest P of a site, above 0 and at most 0.5. A ChromTransferWarning names the motifs that can have no hit,
        because their best word has a larger one (8 bases or fewer at 1e-5).
    progress : bool
        Show a bar.
    batch_size : int
        Windows at a time; changes speed and memory only.

    Returns
    -------
    DataFrame
        One row per site that lies wholly inside a window, in the order of region, start and motif. Columns: region
        (int64, row number in ``windows``), chrom, start and end (genome, 0-based half-open), strand (that of the
        better match if both strands match at the same place: they are one site), motif, score (bits), p_value.
        chrom, strand and motif are categorical.

    Raises
    ------
    ChromTransferError
        If windows and codes disagree, a motif is not of probabilities, or the threshold is not a probability.
    """
    if not 0 < threshold <= 0.5:
        raise ChromTransferError(f"threshold={threshold!r}: expected a P-value above 0 and at most 0.5.")
    if batch_size < 1:
        raise ChromTransferError(f"batch_size={batch_size!r}: expected a whole number of at least 1.")
    starts = _check_windows(windows, codes)
    matrices = {name: _rounded(name, matrix) for name, matrix in motifs.items()}
    if not matrices:
        raise ChromTransferError("motifs: there are none to scan with.")
    silent = _unreachable(matrices, threshold)
    if silent:
        warnings.warn(
            f"{len(silent)} of {len(matrices)} motifs can have no hit at P <= {threshold:g}, their best word is more likely "
            f"than that: {', '.join(silent)}.",
            ChromTransferWarning,
            stacklevel=2,
        )

    from tqdm import tqdm

    parts = []
    with tqdm(total=len(codes), desc="scan", unit="window", disable=not progress) as bar:
        for first in range(0, len(codes), batch_size):
            batch = codes[first : first + batch_size]
            part = one_per_place(_fimo(batch, matrices, threshold))
            parts.append(part.assign(region=part["region"] + first))
            bar.update(len(batch))
    found = pd.concat(parts) if parts else _no_hits()
    widths = np.array([len(matrix) for matrix in matrices.values()])
    region, motif = (np.asarray(found[name], dtype=np.int64) for name in ("region", "motif"))
    start = starts[region] + found["start"].to_numpy()
    return pd.DataFrame(
        {
            "region": region,
            "chrom": windows["chrom"].astype("category").array[region],
            "start": start,
            "end": start + widths[motif],
            "strand": pd.Categorical.from_codes(
                np.asarray(found["minus"], dtype=np.int8), pd.Index(["+", "-"])
            ),
            "motif": pd.Categorical.from_codes(motif, pd.Index(list(matrices))),
            "score": found["score"].to_numpy(),
            "p_value": found["p_value"].to_numpy(),
        }
    )


def _check_windows(windows: pd.DataFrame, codes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the starts of windows that fit an array of shape (N, L), or say what does not fit."""
    absent = {"chrom", "start", "end"} - set(windows.columns)
    if absent:
        raise ChromTransferError(
            f"windows: no column {', '.join(sorted(absent))}: expected chrom, start and end."
        )
    if np.ndim(codes) != 2 or len(codes) != len(windows):
        raise ChromTransferError(
            f"windows: {len(windows)} rows, but an array of shape {np.shape(codes)}: expected one row per window and "
            "one column per base."
        )
    starts, ends = (windows[name].to_numpy(np.int64) for name in ("start", "end"))
    wrong = np.flatnonzero(ends - starts != codes.shape[1])
    if wrong.size:
        row = wrong[0]
        raise ChromTransferError(
            f"windows: row {row} ({windows['chrom'].iloc[row]}:{starts[row]}-{ends[row]}) is {ends[row] - starts[row]} bp "
            f"wide, but its row in the array has {codes.shape[1]} bases."
        )
    return starts


def _rounded(name: str, matrix: NDArray[Any]) -> NDArray[np.int64]:
    """Log odds against a quarter in whole bins, shape (length, 4)."""
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix):
        raise ChromTransferError(
            f"motif '{name}': shape {matrix.shape}, expected (length, 4), columns A, C, G, T."
        )
    if not ((matrix >= 0).all() and (abs(matrix.sum(axis=1) - 1) < 0.02).all()):  # False for NaN too
        raise ChromTransferError(
            f"motif '{name}': expected probabilities, four in a row that sum to 1. Divide counts by their sum first."
        )
    return np.rint(np.log2((matrix + PSEUDOCOUNT) * 4) / BIN).astype(np.int64)


def unreachable(motifs: Mapping[str, NDArray[Any]], threshold: float = P_THRESHOLD) -> list[str]:
    """Names of the motifs that can have no site, because even their best word is more likely than ``threshold``."""
    return _unreachable({name: _rounded(name, matrix) for name, matrix in motifs.items()}, threshold)


def _unreachable(matrices: Mapping[str, NDArray[np.int64]], threshold: float) -> list[str]:
    best = {
        name: float(np.prod((matrix == matrix.max(axis=1, keepdims=True)).sum(axis=1) / 4))
        for name, matrix in matrices.items()
    }
    return [name for name, p in best.items() if p > threshold]


def _fimo(
    codes: NDArray[np.uint8], matrices: Mapping[str, NDArray[np.int64]], threshold: float
) -> pd.DataFrame:
    """Sites on both strands: region, start, motif (number), minus, score and p_value; starts count from the window.

    memelite rounds the entries of a matrix for the distribution of scores, but not for the sites, whose P is then that of
    a bin or more beside their own, or 0. Given entries that are whole bins, each column with its least at 0, both are
    the same numbers; ``_MARGIN`` guards them from the float error, and an unknown base, which memelite scores 0, is
    the worst one.
    """
    from memelite import fimo

    names = [str(number) for number in range(len(matrices))]
    probabilities = {}
    for name, matrix in zip(names, matrices.values(), strict=True):
        bins = matrix - matrix.min(axis=1, keepdims=True) + _MARGIN / len(matrix)
        probabilities[name] = (2.0 ** (bins * BIN) / 4 - PSEUDOCOUNT).T
    # memelite keeps P < threshold; the margin is far below the distance of two P-values of a motif
    with torch_threads_kept():
        tables = fimo(
            probabilities,
            one_hot(codes, dtype=np.int8),
            bin_size=BIN,
            eps=PSEUDOCOUNT,
            threshold=threshold * (1 + 1e-9),
        )
    tables = [table for table in tables if len(table)]
    if not tables:
        return _no_hits()
    found = pd.concat(tables, ignore_index=True)
    motif = found["motif_idx"].to_numpy(np.int64)
    least = np.array([matrix.min(axis=1).sum() for matrix in matrices.values()])
    bins = np.rint(found["score"].to_numpy(float) / BIN - _MARGIN / 2).astype(np.int64)
    return pd.DataFrame(
        {
            "region": found["sequence_name"].to_numpy(np.int64),
            "start": found["start"].to_numpy(np.int64),
            "motif": motif,
            "minus": found["strand"].to_numpy() == "-",
            "score": (bins + least[motif]) * BIN,
            "p_value": found["p-value"].to_numpy(float),
        }
    )


def _no_hits() -> pd.DataFrame:
    kinds = {"region": int, "start": int, "motif": int, "minus": bool, "score": float, "p_value": float}
    return pd.DataFrame({name: np.zeros(0, kind) for name, kind in kinds.items()})


def one_per_place(found: pd.DataFrame, keys: Iterable[str] = ("region", "start", "motif")) -> pd.DataFrame:
    """Of the hits of a motif at one place keep the best score, and the plus strand of equal ones; sort."""
    keys = list(keys)
    order = np.lexsort([found["minus"], -found["score"], *(found[key] for key in reversed(keys))])
    return found.iloc[order].drop_duplicates(keys)


def score_hits(
    hits: pd.DataFrame,
    regions: pd.DataFrame,
    scores: NDArray[Any],
    name: str,
    how: How = "max",
    off_by_one: bool = False,
) -> pd.DataFrame:
    """Add the attribution of one model to hits: its extreme and its mean over the bases of each site.

    Parameters
    ----------
    hits : DataFrame
        As :func:`scan_hits` gives it for the same ``regions``.
    regions : DataFrame
        Columns chrom, start and end, N rows.
    scores : ndarray, shape (N, L)
        One number per base. A site with a NaN among its bases has no score (NaN).
    name : str
        The model; the new columns are ``score.NAME.max`` (or ``.min``) and ``score.NAME.mean``, float64.
    how : {"max", "min"}
        The paper's: the largest gradient x input, the smallest in-silico mutagenesis delta (important bases have
        negative deltas).
    off_by_one : bool
        Read one base to the right of the site, as the original's R script does, which takes the start of a BED line
        as a 1-based one; a site that ends with its window has no such bases and gets NaN. Only for comparison.

    Returns
    -------
    DataFrame
        A copy of ``hits`` with two more columns, in the same order.

    Raises
    ------
    ChromTransferError
        If the arguments disagree, or a hit does not lie in its region.
    """
    if how not in ("max", "min"):
        raise ChromTransferError(f"how={how!r}: expected max or min.")
    starts = _check_windows(regions, scores)
    absent = set(HIT_COLUMNS[:4]) - set(hits.columns)
    if absent:
        raise ChromTransferError(f"hits: no column {', '.join(sorted(absent))}.")
    region = hits["region"].to_numpy(np.int64)
    if region.size and not (region.min() >= 0 and region.max() < len(regions)):
        raise ChromTransferError(f"hits: a region number is not among the {len(regions)} regions.")
    first = hits["start"].to_numpy(np.int64) - starts[region]
    width = (hits["end"] - hits["start"]).to_numpy(np.int64)
    wrong = (first < 0) | (width < 1) | (first + width > scores.shape[1])
    wrong |= hits["chrom"].astype(str).to_numpy() != regions["chrom"].astype(str).to_numpy()[region]
    if wrong.any():
        row = hits.iloc[int(wrong.argmax())]
        raise ChromTransferError(
            f"hits: {row['chrom']}:{row['start']}-{row['end']} does not lie in its region (number {row['region']}): "
            "are the hits those of these regions?"
        )
    shift = int(off_by_one)
    extreme, mean = np.full((2, len(hits)), np.nan)
    reduce = np.max if how == "max" else np.min
    for bases in np.unique(width):
        rows = np.flatnonzero((width == bases) & (first + bases + shift <= scores.shape[1]))
        for part in np.split(rows, range(_SCORE_BATCH, len(rows), _SCORE_BATCH)):
            columns = first[part, None] + shift + np.arange(bases)
            values = scores[region[part, None], columns].astype(np.float64)
            extreme[part], mean[part] = reduce(values, axis=1), values.mean(axis=1)
    return hits.assign(**{f"score.{name}.{how}": extreme, f"score.{name}.mean": mean})
