"""Which motifs a model reads: the paper's signed Kolmogorov-Smirnov test of the attribution of motif sites.

For each motif and each of two models A and B and their difference A - B, the scores of the motif's sites are compared
with those of all sites of other motifs that overlap none of its own (ChromTransfer, Methods, "Motif analysis").
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.motifs.places import SitePlaces

MIN_HITS = 100  # paper: motifs with at least 100 sites
FDR = 0.001  # paper
PLACE = ["region", "chrom", "start", "end", "motif"]  # what makes two rows the same site


def join_scores(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Put the scores of two hit tables side by side: an outer join on region, place and motif.

    Parameters
    ----------
    a, b : DataFrame
        Hits with score columns (:func:`chromtransfer_plugin.motifs.hits.score_hits`), each site once; region numbers
        mean the same in both.

    Returns
    -------
    DataFrame
        The sites of either table; a score that only the other table has is NaN. Strand, score and P-value of a site
        are those of ``a`` where it has them.

    Raises
    ------
    ChromTransferError
        If a site is in a table twice, or both tables have a score column of the same name.
    """
    for name, table in (("first", a), ("second", b)):
        _require(table, PLACE)
        if table.duplicated(PLACE).any():
            row = table[table.duplicated(PLACE)].iloc[0]
            raise ChromTransferError(
                f"hits: the {name} table has the site {row['motif']} at {row['chrom']}:{row['start']}-{row['end']} "
                "twice in one region."
            )
    both = [name for name in a.columns.intersection(b.columns) if name.startswith("score.")]
    if both:
        raise ChromTransferError(
            f"hits: both tables have the column '{both[0]}': give the models different names."
        )
    for column in ("chrom", "motif"):
        kind = pd.CategoricalDtype(sorted(set(a[column].astype(str)) | set(b[column].astype(str))))
        a, b = (table.assign(**{column: table[column].astype(str).astype(kind)}) for table in (a, b))
    shared = [name for name in a.columns.intersection(b.columns) if name not in PLACE]
    for column in shared:  # categories of their own would not mix
        a, b = (
            table.assign(**{column: table[column].astype(str)})
            if table[column].dtype == "category"
            else table
            for table in (a, b)
        )
    joined = a.merge(b, on=PLACE, how="outer", suffixes=("", " of b"))
    for column in shared:
        joined[column] = joined[column].fillna(joined.pop(f"{column} of b"))
    return joined


def enrichment(
    hits: pd.DataFrame,
    a: str,
    b: str | None = None,
    min_hits: int = MIN_HITS,
    fdr: float = FDR,
    names: Sequence[str] | None = None,
    only: Collection[str] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Test the sites of each motif against those of the others.

    Parameters
    ----------
    hits : DataFrame
        Columns chrom, start, end (0-based, half-open), motif, ``a`` and ``b``; one row per site and region.
    a, b : str
        Score columns of the two models, e.g. ``score.HEPG2.max``. NaN: the site has no score from this model. Without
        ``b`` only ``a`` is tested.
    min_hits : int
        Motifs with fewer scored sites in both models are not tested. Their sites stay in the background.
    fdr : float
        A motif is significant if its FDR in A or in B is less than this.
    names : sequence of str
        What to call the models; else the middle of ``score.NAME.max``.
    only : collection of str
        Motifs to test, else all. The sites of the others stay in the background.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        One row per motif, by name. For each model and for ``diff``: ``NAME.D``, the two-sample Kolmogorov-Smirnov
        distance, negative if the motif's mean rank among all sites is below that of its background; ``NAME.pval``,
        two-sided, as ``scipy.stats.ks_2samp(method="asymp")``; ``NAME.fdr``, Benjamini-Hochberg over the motifs; then
        ``sig`` and, among the significant motifs, ``NAME.rank`` of D, ascending from 1. Also n and n_background, the
        rows that are the motif's and that overlap none of them on either strand. A motif without scored sites or
        without a background has NaN and is not counted in the adjustment.

    Raises
    ------
    ChromTransferError
        If a column is missing or not usable, or no motif has ``min_hits`` sites.
    """
    columns = [a] if b is None else [a, b]
    names = _names(columns) if names is None else list(names)
    if len(set(names) - {"diff"}) != len(columns):
        raise ChromTransferError(f"names={names}: expected {len(columns)} different ones, not 'diff'.")
    check_fdr(fdr)
    _require(hits, ["chrom", "start", "end", "motif", *columns])
    values = {name: _values(hits, column) for name, column in zip(names, columns, strict=True)}
    if b is not None:
        values["diff"] = values[names[0]] - values[names[1]]
    places = SitePlaces.of(hits)
    values = {name: column[places.order] for name, column in values.items()}
    tested = _enough(hits, places, [values[name] for name in names], min_hits, only)

    from tqdm import tqdm

    sorted_values = {name: _Sorted.of(column) for name, column in values.items()}
    rows = []
    for number in tqdm(tested, desc="enrichment", unit="motif", disable=not progress):
        own = places.rows(number)
        near = places.overlapping(own)
        row = {"motif": places.motifs[number], "n": len(own), "n_background": len(hits) - len(near)}
        for name, column in sorted_values.items():
            row[f"{name}.D"], row[f"{name}.pairs"] = column.compare(own, near)
        rows.append(row)
    return _finish(pd.DataFrame(rows), list(values), names, fdr)


class _Sorted(NamedTuple):
    """Scores by their places in sorted order, so that a motif costs only the rows near its own sites."""

    below: NDArray[np.signedinteger]  # of each row: how many scores are less; -1 if it has none
    up_to: NDArray[np.signedinteger]  # [below]: how many scores are less or equal
    n: int

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> _Sorted:
        rows = np.flatnonzero(~np.isnan(values))
        rows = rows[np.argsort(values[rows])]
        ordered = values[rows]
        n = len(rows)
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[:n])
        last = np.concatenate([first[1:], [n]])[: len(first)]
        kind: type[np.signedinteger] = np.int32 if n < 2**31 else np.int64  # half the memory, faster sorts
        below = np.full(len(values), -1, dtype=kind)
        below[rows] = np.repeat(first, last - first)
        up_to = np.zeros(n, dtype=kind)
        up_to[first] = last
        return cls(below, up_to, n)

    def compare(self, own: NDArray[np.int64], near: NDArray[np.int64]) -> tuple[float, float]:
        """Signed K-S distance of rows ``own`` from all but ``near`` (which holds ``own``), and n m / (n + m).

        Between two scores of ``near`` the distribution of ``own`` is flat and that of the background rises: the largest
        distance is at one of those scores, or just below it.
        """
        inside, around = (np.sort(self.below[rows]) for rows in (own, near))
        inside, around = (places[np.searchsorted(places, 0) :] for places in (inside, around))
        n, m = len(inside), self.n - len(around)
        if n == 0 or m == 0:
            return np.nan, np.nan
        first = np.flatnonzero(np.concatenate([[True], around[1:] != around[:-1]]))
        place = around[first]
        last = np.concatenate([first[1:], [len(around)]])
        at = np.searchsorted(inside, place, "right") / n - (self.up_to[place] - last) / m
        before = np.searchsorted(inside, place, "left") / n - (place - first) / m
        distance = float(max(abs(at).max(), abs(before).max()))
        # twice the sum of average ranks, in whole numbers: equal means are not a matter of rounding
        own_sum, near_sum = (
            int(places.sum(dtype=np.int64) + self.up_to[places].sum(dtype=np.int64)) + len(places)
            for places in (inside, around)
        )
        lower = own_sum * m < (self.n * (self.n + 1) - near_sum) * n
        return (-distance if lower else distance), n * m / (n + m)


def check_fdr(fdr: float) -> None:
    """Raise if it is no limit of a false discovery rate."""
    if not 0 < fdr <= 1:
        raise ChromTransferError(f"fdr={fdr!r}: expected a number above 0 and at most 1.")


def _names(columns: Sequence[str]) -> list[str]:
    """``score.HEPG2.max`` is HEPG2; anything else is its own name."""
    parts = [column.split(".") for column in columns]
    return [
        ".".join(part[1:-1]) if len(part) > 2 and part[0] == "score" else column
        for part, column in zip(parts, columns, strict=True)
    ]


def _require(hits: pd.DataFrame, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in hits:
            raise ChromTransferError(f"hits: no column '{column}', only {', '.join(map(str, hits.columns))}.")


def _values(hits: pd.DataFrame, column: str) -> NDArray[np.float64]:
    try:
        values = hits[column].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ChromTransferError(f"hits: the column '{column}' is not of numbers ({error}).") from error
    if np.isinf(values).any():
        raise ChromTransferError(f"hits: the column '{column}' holds an infinite score.")
    return values


def _enough(
    hits: pd.DataFrame,
    places: SitePlaces,
    scores: Sequence[NDArray[np.float64]],
    min_hits: int,
    only: Collection[str] | None,
) -> list[int]:
    """Numbers of the motifs with at least ``min_hits`` scores in one model, sorted by name."""
    codes = np.empty(len(hits), np.int64)
    codes[places.by_motif] = np.repeat(np.arange(len(places.motifs)), np.diff(places.bounds))
    counts = np.max([np.bincount(codes[~np.isnan(s)], minlength=len(places.motifs)) for s in scores], axis=0)
    if only is not None:
        counts[[motif not in set(only) for motif in places.motifs]] = 0
    tested = np.flatnonzero(counts >= max(min_hits, 1)).tolist()
    if not tested:
        most = int(counts.argmax())
        which = "no motif" if only is None else "none of the chosen motifs"
        raise ChromTransferError(
            f"hits: {which} has {min_hits} scored sites (most: {places.motifs[most]}, {counts[most]}). Use more regions "
            "or a smaller min_hits."
        )
    return sorted(tested, key=places.motifs.__getitem__)


def _finish(table: pd.DataFrame, parts: Sequence[str], models: Sequence[str], fdr: float) -> pd.DataFrame:
    """Add P, FDR, significance and ranks, in the order of the original's columns."""
    from scipy.stats import false_discovery_control, kstwo

    for name in parts:
        p = kstwo.sf(table[f"{name}.D"].abs(), np.round(table[f"{name}.pairs"]))
        table[f"{name}.pval"] = np.clip(p, 0, 1)  # as scipy's ks_2samp
        known = table[f"{name}.pval"].notna().to_numpy()
        table[f"{name}.fdr"] = np.nan
        if known.any():
            table.loc[known, f"{name}.fdr"] = false_discovery_control(table.loc[known, f"{name}.pval"])
    table["sig"] = (table[[f"{name}.fdr" for name in models]] < fdr).any(axis=1)
    for name in parts:
        table[f"{name}.rank"] = table.loc[table["sig"], f"{name}.D"].rank()
    columns = [f"{name}.{what}" for name in parts for what in ("D", "pval")]
    columns += [*(f"{name}.fdr" for name in parts), "sig", *(f"{name}.rank" for name in parts)]
    return table[["motif", *columns, "n", "n_background"]]


def focus_motifs(
    table: pd.DataFrame, lowest: int = 5, highest: int = 10, difference: int = 10
) -> pd.DataFrame:
    """Choose the motifs to label and to draw, as the paper's figures do.

    Parameters
    ----------
    table : DataFrame
        Of one or two models, from :func:`enrichment`. Only significant motifs are chosen.
    lowest, highest : int
        How many motifs of the smallest and largest D of each model; and as many again among the motifs whose D has the
        opposite sign in the other model.
    difference : int
        How many of the smallest and of the largest D of the difference.

    Returns
    -------
    DataFrame
        motif and reason (what it was chosen for, separated by "; "), in the order of first choice.

    Raises
    ------
    ChromTransferError
        If the table is of something else.
    """
    names = [name.removesuffix(".rank") for name in table.columns if name.endswith(".rank")]
    if len(names) != 1 and (len(names) != 3 or names[2] != "diff"):
        raise ChromTransferError(
            "table: expected the enrichment of one model or of two, columns NAME.D, NAME.rank and for two diff.D."
        )
    table = table[table["sig"].astype(bool)].set_index("motif")
    passes = [(table, names, "")]
    if len(names) == 3:
        a, b = names[:2]
        opposite = table[np.sign(table[f"{a}.D"]) * np.sign(table[f"{b}.D"]) < 0]
        passes.append((opposite, [a, b], ", opposite in the other model"))
    choices: dict[str, list[str]] = {}
    for rows, parts, remark in passes:
        for name in parts:
            counts = (difference, difference) if name == "diff" else (lowest, highest)
            by_distance = rows[f"{name}.D"].dropna().sort_values(kind="stable").index
            for motif in by_distance[: counts[0]]:
                choices.setdefault(motif, []).append(f"{name} lowest{remark}")
            for motif in by_distance[::-1][: counts[1]]:
                choices.setdefault(motif, []).append(f"{name} highest{remark}")
    reasons = ["; ".join(reason) for reason in choices.values()]
    return pd.DataFrame({"motif": list(choices), "reason": reasons}, dtype="str")


def write_table(table: pd.DataFrame, out: str | Path) -> tuple[Path, Path]:
    """Write ``OUT.tsv`` (missing values are NA) and ``OUT.parquet``; both appear when both are complete.

    Parameters
    ----------
    table : DataFrame
        Hits or an enrichment.
    out : str or path
        Path without suffix (``.tsv`` or ``.parquet`` is cut off).

    Returns
    -------
    tuple of Path
        The two files.

    Raises
    ------
    ChromTransferError
        If they cannot be written.
    """
    stem = Path(out)
    if stem.suffix in (".tsv", ".parquet"):
        stem = stem.with_suffix("")
    paths = stem.with_name(f"{stem.name}.tsv"), stem.with_name(f"{stem.name}.parquet")
    with contextlib.ExitStack() as stack:
        tsv, parquet = (stack.enter_context(atomic_path(path)) for path in paths)
        table.to_csv(tsv, sep="\t", index=False, na_rep="NA")
        table.to_parquet(parquet, index=False)
    return paths
