"""Which motifs a model reads, and which two models read differently, from a store of attributions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, check_result_folder
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.motifs.enrichment import (
    FDR,
    MIN_HITS,
    check_fdr,
    enrichment,
    focus_motifs,
    write_table,
)
from chromtransfer_plugin.motifs.hits import P_THRESHOLD, How
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
    sites_again,
    write_sites,
)
from chromtransfer_plugin.run_record import package_versions

RECORD = "comparison.json"
_WRITTEN = {
    "enrichment.tsv", "enrichment.parquet", "hits.parquet", "hits.tsv.gz", "focus.tsv", "figures", "report.html", RECORD,
}  # fmt: skip
FigureFormat = Literal["pdf", "png", "svg"]


def compare(
    store: AttributionStore,
    a: str,
    b: str | None = None,
    *,
    sets: str | Iterable[str] | None = None,
    motifs: MotifSource = MOTIFS,
    names: Iterable[str] | None = None,
    track: str | Path | None = None,
    track_field: str = "name",
    hits: pd.DataFrame | None = None,
    threshold: float = P_THRESHOLD,
    min_hits: int = MIN_HITS,
    fdr: float = FDR,
    how: How | None = None,
    off_by_one: bool = False,
    progress: bool = False,
    report: Report = silent,
) -> Comparison:
    """Find out which motifs a model reads, or what two models read differently (paper, Methods, "Motif analysis").

    Parameters
    ----------
    store : AttributionStore
        Its windows must have places in a genome. A place that is in several sets counts once.
    a, b : str
        Models of the store; without ``b`` only ``a`` is tested.
    sets : str or iterable of str
        Sets of the store, else all.
    motifs : str, path or mapping of str to ndarray (length, 4)
        JASPAR release, MEME file or probabilities. Not used with a track.
    names : iterable of str
        Motifs to test, as :func:`~chromtransfer_plugin.motifs.choose_motifs` understands them; else all. The sites of
        all motifs stay in the background, so a motif's D is the same either way; its FDR counts only these.
    track, track_field
        A genome-wide JASPAR bigBed in place of a scan, and its field that names the motif.
    hits : DataFrame
        Sites that :func:`~chromtransfer_plugin.motifs.sites.find_sites` found in the same windows, so that several
        comparisons need one search. Those with a P above ``threshold`` are left out.
    threshold : float
        Largest P of a site.
    min_hits : int
        Motifs with fewer sites are not tested.
    fdr : float
        A motif is significant if its FDR in A or in B is less than this.
    how : {"max", "min"}
        The score of a site: the largest or the smallest of its bases. None: min for a store of in-silico mutagenesis,
        where important bases have negative scores, else max.
    off_by_one : bool
        Read each site one base to the right, as the original does; only for comparison with it.
    progress : bool
        Show bars.
    report : callable
        Takes a line of text on what is left out.

    Returns
    -------
    Comparison
        ``record`` has the settings, the source of the motifs, counts of windows, sites and motifs, ``unreachable`` (the
        motifs that cannot reach the threshold) and ``few_sites`` (those with fewer than ``min_hits``, and how many).

    Raises
    ------
    ChromTransferError
        If a model, set or motif is not there, a window has no place, ``hits`` are of other windows or motifs, or no
        motif has enough sites.
    """
    models = _models(store, a, b)
    check_fdr(fdr)
    chosen = [sets] if isinstance(sets, str) else list(store.sets if sets is None else sets)
    rows = store.rows(chosen)
    matrices = {} if track is not None else matrices_of(motifs)
    only = (
        None if names is None or track is not None else choose_motifs(matrices, names)
    )  # before a long scan
    if hits is None:
        label = str(motifs) if isinstance(motifs, str | Path) else None
        hits = find_sites(store, rows, matrices, track, track_field, threshold, progress, report, label)
    else:
        hits = sites_again(hits, store, rows, None if track is not None else matrices, threshold)
    facts = search_facts(hits)
    if names is not None and track is not None:
        only = choose_motifs(facts["motifs"], names)
    if hits.empty:
        raise ChromTransferError(
            f"{store.path}: no motif has a site with P <= {threshold:g} in {len(rows):,} windows. Use more windows or a "
            "larger threshold."
        )
    how = how or ("min" if store.facts["method"] == "ism" else "max")
    for model in models:
        hits = score_sites(hits, store, rows, model, how, off_by_one, progress=progress)
    columns = [f"score.{model}.{how}" for model in models]
    if b is not None:
        hits = hits.assign(**{f"score.diff.{how}": hits[columns[0]] - hits[columns[1]]})
    table = enrichment(
        hits, columns[0], columns[1] if b else None, min_hits, fdr, names=models, only=only, progress=progress
    )
    record = {
        "a": a, "b": b, "sets": chosen, "threshold": threshold, "min_hits": min_hits, "fdr": fdr, "how": how,
        "off_by_one": off_by_one, **_counts(hits, table, only, columns),
    }  # fmt: skip
    few = record["motifs"]["few_sites"]
    if few:
        report(f"{len(few)} motifs have fewer than {min_hits} sites and are not tested")
    used = {name: matrix for name, matrix in matrices.items() if name in set(facts["motifs"])}
    return Comparison(
        store, a, b, rows, store.placed(rows), hits, table, focus_motifs(table), used, how, record
    )


def _models(store: AttributionStore, a: str, b: str | None) -> list[str]:
    models = [a] if b is None else [a, b]
    for model in models:
        store.model_number(model)
    if a == b:
        raise ChromTransferError(f"compare: the models A and B are both '{a}': name two, or only A.")
    if "diff" in models:
        raise ChromTransferError("compare: a model is called 'diff', which is the difference's name.")
    return models


def _counts(
    hits: pd.DataFrame, table: pd.DataFrame, only: list[str] | None, columns: list[str]
) -> dict[str, Any]:
    """What was looked at, what was left out and why, for the run record."""
    facts = search_facts(hits)
    sites = hits["motif"].astype(str).value_counts()
    tested = set(table["motif"])
    asked = facts["motifs"] if only is None else [name for name in only if name not in facts["unreachable"]]
    return {
        "windows": facts["windows"],
        "sites": {"total": len(hits)}
        | {f"without {column}": int(hits[column].isna().sum()) for column in columns},
        "motifs": {
            "source": facts["source"],
            "read": len(facts["motifs"]) + len(facts["unreachable"]),
            "searched": len(facts["motifs"]),
            "tested": len(tested),
            "significant": int(table["sig"].sum()),
            "asked_for": only,
            "unreachable": facts["unreachable"],
            "few_sites": {name: int(sites.get(name, 0)) for name in asked if name not in tested},
        },
    }


def write_comparison(
    comparison: Comparison,
    folder: str | Path,
    figures: FigureFormat | None = "pdf",
    html: bool = True,
    hits_text: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Write tables, figures and a page; the folder appears when all is there, and replaces an earlier one.

    Parameters
    ----------
    comparison : Comparison
        From :func:`compare`.
    folder : str or path
        New, empty, or written by this function before.
    figures : {"pdf", "png", "svg"}
        Format of the figures in ``figures/``; None: none.
    html : bool
        Write ``report.html``.
    hits_text : bool
        Also write the sites as ``hits.tsv.gz``.
    progress : bool
        Show a bar for the figures.

    Returns
    -------
    list of Path
        ``enrichment.tsv``, ``enrichment.parquet``, ``hits.parquet``, ``focus.tsv``, ``comparison.json`` (the run record)
        and more as asked for.

    Raises
    ------
    ChromTransferError
        If the folder holds other things or cannot be written.
    """
    if figures is not None and figures not in get_args(FigureFormat):
        raise ChromTransferError(f"figures={figures!r}: expected pdf, png, svg or None.")
    target = Path(folder).expanduser()
    check_folder(target)
    with atomic_folder(target) as new:
        paths = list(write_table(comparison.table, new / "enrichment"))
        paths.append(write_sites(comparison.hits, new / "hits.parquet"))
        if hits_text:
            paths.append(write_sites(comparison.hits, new / "hits.tsv.gz"))
        paths.append(new / "focus.tsv")
        comparison.focus.to_csv(paths[-1], sep="\t", index=False)
        if figures is not None:
            from chromtransfer_plugin.plots.comparison_figures import write_figures

            (new / "figures").mkdir()
            paths += write_figures(comparison, new / "figures", figures, progress=progress)
        if html:
            from chromtransfer_plugin.report import write_report

            paths.append(write_report(comparison, new / "report.html"))
        paths.append(new / RECORD)
        paths[-1].write_text(json.dumps(_run_record(comparison), indent=2) + "\n")
    return [target / path.relative_to(new) for path in paths]


def check_folder(folder: Path) -> None:
    """Raise if a comparison may not be written at ``folder``: something else lies there, or would be lost."""
    check_result_folder(folder, RECORD, lambda entry: entry.name in _WRITTEN)


def _run_record(comparison: Comparison) -> dict[str, Any]:
    store = comparison.store
    wanted = {comparison.a, comparison.b}
    facts = {key: value for key, value in store.facts.items() if key != "models"}
    return {
        "command": sys.argv,
        "versions": package_versions() | {name: version(name) for name in ("scipy", "memelite", "pyjaspar")},
        **comparison.record,
        "models": [model for model in store.facts["models"] if model["name"] in wanted],  # weights_sha256 too
        "store": {"path": str(store.path.resolve()), **facts},
    }
