"""All a page shows, as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.plots.style import BASES, LINES
from chromtransfer_plugin.report.sites import MotifSites, SiteTable, number, site_scores
from chromtransfer_plugin.report.windows import choose_windows, describe_windows, window_totals

MOST_LINKED = 600  # windows besides the top ones; each takes about 5 kB
# The length of chr1 (UCSC's chromInfo tables) tells an assembly that has a genome browser.
_ASSEMBLIES = {
    248_956_422: "hg38",
    249_250_621: "hg19",
    248_387_328: "hs1",
    195_471_971: "mm10",
    195_154_279: "mm39",
}


def page_data(comparison: Comparison, top: int, title: str) -> dict[str, Any]:
    """Collect what the page shows.

    Parameters
    ----------
    comparison : Comparison
    top : int
        Windows chosen by their attribution; those of the motifs' extreme sites are added.
    title : str

    Returns
    -------
    dict
        Of numbers, texts, lists and None only. Numbers have 3 significant digits (D: 5), per-base scores 16 bits.
    """
    totals = window_totals(comparison)
    order = np.argsort(-totals[:, -1], kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(1, len(order) + 1)
    table = SiteTable(comparison)
    sites = {motif: table.of(motif) for motif in comparison.table["motif"]}
    chosen = choose_windows(order, top, _linked(comparison, sites), MOST_LINKED)
    on_page = {window: i for i, window in enumerate(chosen)}
    motif_numbers = {motif: i for i, motif in enumerate(comparison.table["motif"])}
    windows = describe_windows(comparison, chosen, totals, place, motif_numbers)
    tested = len(comparison.table)
    return {
        "title": title,
        "facts": _facts(comparison),
        "limit": comparison.record.get("fdr"),
        "names": comparison.names,
        "how": comparison.how,
        "assembly": _assembly(comparison),
        "colours": {"bases": BASES, "models": [LINES[0][0], LINES[1][0]]},
        "motifs": [
            _motif(comparison, row, sites[motif], on_page)
            for motif, row in zip(comparison.table["motif"], comparison.table.to_dict("records"), strict=True)
        ],
        "untested": list(motif_numbers)[tested:],
        "regions": windows,
        "top": min(top, len(order)),
        "of": len(order),
    }


def _linked(comparison: Comparison, sites: Mapping[str, MotifSites]) -> pd.Series:
    """Windows of extreme sites: first of the motifs in focus, then of those with the largest |D|."""
    table = comparison.table.set_index("motif")
    distance = table[[f"{name}.D" for name in comparison.names]].abs().max(axis=1)
    others = distance.sort_values(ascending=False, kind="stable").index
    motifs = dict.fromkeys([m for m in comparison.focus["motif"] if m in sites] + list(others))
    return pd.concat([part["region"] for m in motifs for part in (sites[m].highest, sites[m].lowest)])


def _motif(
    comparison: Comparison,
    row: Mapping[Any, Any],
    sites: MotifSites,
    on_page: Mapping[int, int],
) -> dict[str, Any]:
    name, names = row["motif"], comparison.names
    matrix = comparison.motifs.get(name)
    reasons = comparison.focus.set_index("motif")["reason"]
    return {
        "name": name,
        "n": int(row["n"]),
        "background": int(row["n_background"]),
        "D": [number(row[f"{one}.D"], 5) for one in names],
        "p": [number(row[f"{one}.pval"]) for one in names],
        "fdr": [number(row[f"{one}.fdr"]) for one in names],
        "rank": [number(row[f"{one}.rank"], 6) for one in names],
        "sig": bool(row["sig"]),
        "focus": str(reasons[name]) if name in reasons.index else "",
        "matrix": None if matrix is None else [round(float(p), 3) for p in np.asarray(matrix).ravel()],
        "quantiles": [list(pair) for pair in sites.quantiles],
        "highest": _listed(comparison, sites.highest, on_page),
        "lowest": _listed(comparison, sites.lowest, on_page),
    }


def _listed(comparison: Comparison, sites: pd.DataFrame, on_page: Mapping[int, int]) -> list[list[Any]]:
    """chrom, start, end, strand, number of the window on the page (or None) and scores of some sites."""
    scores = [[number(value) for value in column] for column in site_scores(sites, comparison)]
    columns = [sites[name].astype(str) for name in ("chrom", "strand")]
    windows = [on_page.get(int(region)) for region in sites["region"]]
    return [
        [chrom, int(start), int(end), strand, window, *own]
        for chrom, strand, start, end, window, *own in zip(
            *columns, sites["start"], sites["end"], windows, *scores, strict=True
        )
    ]


def _facts(comparison: Comparison) -> list[list[str]]:
    """What was compared: pairs of a label and words. The first three are the page's summary."""
    store, hits, table, record = comparison.store, comparison.hits, comparison.table, comparison.record
    sets = store.regions["set"].iloc[comparison.rows].astype(str).value_counts()
    # a place in several sets counts for the first
    parts = [
        f"{sets[name]:,} {'more ' if i else ''}of {name}"
        for i, name in enumerate(n for n in store.sets if n in sets)
    ]
    extreme = "largest" if comparison.how == "max" else "smallest"
    shift = (
        ", read one base to the right of the site as the original does" if record.get("off_by_one") else ""
    )
    genome = store.facts["genome"]
    motifs = record.get("motifs", {})
    source = PurePath(str(motifs.get("source", "matrices" if comparison.motifs else "a track"))).name
    threshold = f", P ≤ {record['threshold']:g}" if "threshold" in record else ""
    few = f"; too few sites: {len(motifs['few_sites']):,}" if motifs.get("few_sites") else ""
    never = (
        f"; motifs that cannot reach this P: {len(motifs['unreachable']):,}"
        if motifs.get("unreachable")
        else ""
    )
    facts = {
        "Models": comparison.a if comparison.b is None else f"A = {comparison.a}, B = {comparison.b}",
        "Attribution": f"{store.facts['method']} of the {store.facts['objective']}",
        "Windows": f"{len(comparison.rows):,} windows of {store.window} bp ({', '.join(parts)})",
        "Genome": "none" if genome is None else PurePath(genome["path"]).name,
        "Motifs from": source,
        "Sites": f"{len(hits):,} sites of {hits['motif'].nunique():,} motifs{threshold}{never}",
        "Score of a site": f"the {extreme} attribution of its bases{shift}",
        "Tested": f"{len(table):,} motifs with at least {record.get('min_hits', table['n'].min()):,} sites{few}",
        "Significant": f"{int(table['sig'].sum()):,} motifs",
    }
    return [[label, text] for label, text in facts.items()]


def _assembly(comparison: Comparison) -> str | None:
    """UCSC's name of the genome, if it is known."""
    genome = comparison.store.facts["genome"]
    return None if genome is None else _ASSEMBLIES.get(genome["contigs"].get("chr1"))
