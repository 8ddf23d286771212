"""Whether gradients and in-silico mutagenesis tell the same of the sites of each motif (paper, Supplementary Fig. S3)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.enrichment import MIN_HITS
from chromtransfer_plugin.motifs.hits import P_THRESHOLD
from chromtransfer_plugin.motifs.matrices import choose_motifs
from chromtransfer_plugin.motifs.sites import (
    MOTIFS,
    MotifSource,
    Report,
    find_sites,
    matrices_of,
    score_sites,
    search_facts,
    silent,
)

ALL_SITES = "all sites"


def agreement_by_motif(
    gradients: AttributionStore,
    ism: AttributionStore,
    model: str,
    *,
    ism_model: str | None = None,
    sets: str | Iterable[str] | None = None,
    motifs: MotifSource = MOTIFS,
    names: Iterable[str] | None = None,
    track: str | Path | None = None,
    track_field: str = "name",
    threshold: float = P_THRESHOLD,
    min_hits: int = MIN_HITS,
    progress: bool = False,
    report: Report = silent,
) -> pd.DataFrame:
    """Correlate, over the sites of each motif, the largest gradient x input with the smallest mutagenesis delta.

    Bases that matter have a positive gradient x input and, because their loss lowers the output, a negative delta: where
    the two methods agree the correlation is negative.

    Parameters
    ----------
    gradients, ism : AttributionStore
        Of the same genome; ``ism`` holds in-silico mutagenesis. Windows are matched by place, those of only one store
        are not used.
    model : str
        The model in ``gradients``.
    ism_model : str
        Its name in ``ism`` [default: the same].
    sets : str or iterable of str
        Sets of ``gradients``, else all.
    motifs, track, track_field, threshold
        Where the sites come from: see :func:`chromtransfer_plugin.motifs.analysis.compare`.
    names : iterable of str
        Motifs to look at, else all. The paper's were CEBPA, HNF4A and FOS::JUNB.
    min_hits : int
        Motifs with fewer sites that have both scores are left out.
    progress : bool
        Show bars.
    report : callable
        Takes a line of text on what is left out.

    Returns
    -------
    DataFrame
        motif, n (sites), pearson, spearman; in order of name after a first row "all sites". There a place that is a site of
        several of the motifs counts for each of them. NaN where one of the scores is the same at all sites.

    Raises
    ------
    ChromTransferError
        If the stores are of other genomes, methods or weights, share no window, or no motif has enough sites.
    """
    ism_model = ism_model or model
    _check(gradients, ism, model, ism_model)
    mine, other = _matched(gradients, ism, sets)
    report(f"{len(mine):,} windows are in both stores")
    matrices = {} if track is not None else matrices_of(motifs)
    if track is None and names is not None:  # the sites of other motifs are not needed
        matrices = {name: matrices[name] for name in choose_motifs(matrices, names)}
    label = str(motifs) if isinstance(motifs, str | Path) else None
    hits = find_sites(gradients, mine, matrices, track, track_field, threshold, progress, report, label)
    if track is not None and names is not None:
        hits = hits[hits["motif"].isin(choose_motifs(search_facts(hits)["motifs"], names))]
    hits = score_sites(hits, gradients, mine, model, "max", name="gradient", progress=progress)
    hits = score_sites(hits, ism, other, ism_model, "min", name="ism", progress=progress)
    pairs = hits.rename(columns={"score.gradient.max": "gradient", "score.ism.min": "ism"})
    pairs = pairs.dropna(subset=["gradient", "ism"])
    rows = [{"motif": ALL_SITES, **_correlations(pairs)}]
    few = 0
    for motif, own in pairs.groupby(pairs["motif"].astype(str), sort=True):
        if len(own) >= min_hits:
            rows.append({"motif": motif, **_correlations(own)})
        else:
            few += 1
    if len(rows) == 1:
        most = pairs["motif"].value_counts()
        best = f"most: {most.index[0]}, {most.iloc[0]}" if len(pairs) else "there is none at all"
        raise ChromTransferError(
            f"{gradients.path}: no motif has {min_hits} sites with both scores ({best}). Use more windows or a smaller "
            "min_hits."
        )
    if few:
        report(f"{few} motifs have fewer than {min_hits} sites and are left out")
    return pd.DataFrame(rows)


def _check(gradients: AttributionStore, ism: AttributionStore, model: str, ism_model: str) -> None:
    if ism.facts["method"] != "ism" or gradients.facts["method"] == "ism":
        raise ChromTransferError(
            f"expected first a store of gradients and then one of in-silico mutagenesis: {gradients.path} is of "
            f"{gradients.facts['method']}, {ism.path} of {ism.facts['method']}."
        )
    weights = [
        store.facts["models"][store.model_number(name)].get("weights_sha256")
        for store, name in ((gradients, model), (ism, ism_model))
    ]
    if all(weights) and weights[0] != weights[1]:
        raise ChromTransferError(
            f"the model {model} of {gradients.path} has other weights than {ism_model} of {ism.path}."
        )
    if ism.facts["genome"] is None:
        raise ChromTransferError(f"{ism.path}: its sequences have no place in a genome, which this needs.")
    gradients.require_same_genome(ism.facts["genome"]["identity"], ism.path)


def _matched(
    gradients: AttributionStore, ism: AttributionStore, sets: str | Iterable[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the windows of both stores, in the order of the first."""
    if gradients.window != ism.window:
        raise ChromTransferError(
            f"{gradients.path} has windows of {gradients.window} bp, {ism.path} of {ism.window} bp: they share none."
        )
    tables = [
        store.placed(rows).assign(row=rows)
        for store, rows in ((gradients, gradients.rows(sets)), (ism, ism.rows()))
    ]
    both = tables[0].merge(tables[1], on=["chrom", "start", "end"], suffixes=("", "_ism"))
    if both.empty:
        raise ChromTransferError(f"{gradients.path} and {ism.path} share no window.")
    return both["row"].to_numpy(np.int64), both["row_ism"].to_numpy(np.int64)


def _correlations(pairs: pd.DataFrame) -> dict[str, float]:
    from scipy.stats import rankdata

    x, y = (pairs[name].to_numpy(np.float64) for name in ("gradient", "ism"))
    return {
        "n": len(pairs),
        "pearson": _pearson(x, y),
        "spearman": _pearson(rankdata(x), rankdata(y)),
    }


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if len(x) < 2 or x.min() == x.max() or y.min() == y.max():
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
