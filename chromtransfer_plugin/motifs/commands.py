"""What ``chromtransfer motifs`` does: the analyses of this package from files to files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.files import require_parent
from chromtransfer_plugin.motifs.agreement import agreement_by_motif
from chromtransfer_plugin.motifs.analysis import FigureFormat, check_folder, compare, write_comparison
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.motifs.enrichment import write_table
from chromtransfer_plugin.motifs.hits import P_THRESHOLD
from chromtransfer_plugin.motifs.sites import (
    MOTIFS,
    Report,
    check_sites_path,
    find_sites,
    read_sites,
    write_sites,
)

_TOP = 8  # motifs in a printed table


def scan_store(
    store: str | Path,
    out: str | Path,
    *,
    sets: Iterable[str] | None = None,
    motifs: str | Path = MOTIFS,
    track: str | Path | None = None,
    track_field: str = "name",
    threshold: float = P_THRESHOLD,
    progress: bool = True,
    report: Report = print,
) -> Path:
    """Find the sites of motifs in the windows of a store and write them; the arguments are those of ``find_sites``.

    Returns
    -------
    Path
        ``out``: ``.parquet``, which :func:`compare_store` takes as ``hits``, ``.tsv`` or ``.tsv.gz``.
    """
    check_sites_path(out)  # before the long part
    with AttributionStore(store) as opened:
        opened.require_outside(Path(out))
        rows = opened.rows(sets)
        hits = find_sites(opened, rows, motifs, track, track_field, threshold, progress, report)
        path = write_sites(hits, out)
    report(
        f"{len(hits):,} sites of {hits['motif'].nunique():,} motifs in {len(rows):,} windows written to {path}"
    )
    return path


def compare_store(
    store: str | Path,
    a: str,
    b: str | None,
    out: str | Path,
    *,
    hits: str | Path | None = None,
    figures: FigureFormat | None = "pdf",
    html: bool = True,
    hits_text: bool = False,
    report: Report = print,
    progress: bool = True,
    **options: Any,
) -> Comparison:
    """Compare two models of a store, or test one, and write the folder ``out``.

    Parameters
    ----------
    store : str or path
    a, b : str
        Models.
    out : str or path
        See :func:`chromtransfer_plugin.motifs.analysis.write_comparison`, also for ``figures``, ``html`` and ``hits_text``.
    hits : str or path
        Sites written by :func:`scan_store`.
    report : callable
        Takes lines of text: what is left out, then a short table and the files.
    progress : bool
        Show bars.
    **options
        As in :func:`chromtransfer_plugin.motifs.analysis.compare`.
    """
    folder = Path(out).expanduser()
    check_folder(folder)
    with AttributionStore(store) as opened:
        opened.require_outside(folder)
        given = None if hits is None else read_sites(hits)
        comparison = compare(opened, a, b, hits=given, progress=progress, report=report, **options)
        paths = write_comparison(comparison, out, figures, html, hits_text, progress)
    report(summary(comparison))
    for path in (path for path in paths if path.parent == folder):
        report(f"{path.name:20} {path}")
    if figures is not None:
        report(f"{'figures':20} {folder / 'figures'}")
    return comparison


def agree_stores(
    gradients: str | Path,
    ism: str | Path,
    model: str,
    out: str | Path,
    *,
    report: Report = print,
    progress: bool = True,
    **options: Any,
) -> pd.DataFrame:
    """Write :func:`chromtransfer_plugin.motifs.agreement.agreement_by_motif` of two stores as TSV and Parquet."""
    require_parent(Path(out))
    with AttributionStore(gradients) as first, AttributionStore(ism) as second:
        first.require_outside(Path(out))
        second.require_outside(Path(out))
        table = agreement_by_motif(first, second, model, progress=progress, report=report, **options)
    paths = write_table(table, out)
    whole = table.iloc[0]
    report(f"all {whole['n']:,} sites: Pearson {whole['pearson']:.3f}, Spearman {whole['spearman']:.3f}")
    below = int((table["spearman"].iloc[1:] < 0).sum())
    report(f"{below} of {len(table) - 1} motifs have a negative correlation (Spearman), as expected")
    report(table.iloc[1:].sort_values("spearman").head(_TOP).to_string(index=False, float_format="%.3f"))
    report(f"table                {paths[0]}, {paths[1]}")
    return table


def summary(comparison: Comparison) -> str:
    """Return a few lines: how much was tested, and the motifs with the largest D by each model and at both ends of A - B."""
    record, table = comparison.record, comparison.table
    lines = [
        f"{record['windows']:,} windows, {record['sites']['total']:,} sites; {record['motifs']['tested']} of "
        f"{record['motifs']['read']} motifs tested, {record['motifs']['significant']} significant (FDR < {record['fdr']:g})"
    ]
    significant = table[table["sig"]]
    shown = [f"{name}.D" for name in comparison.names]
    # the score of a site is a smallest delta in mutagenesis: the more negative, the more the model reads it
    best_end, other_end = ("lowest", "highest") if comparison.how == "min" else ("highest", "lowest")
    ends = [(name, best_end) for name in comparison.names]
    if comparison.b is not None:
        ends.append(("diff", other_end))  # what B reads and A does not
    for name, what in ends:
        best = significant.sort_values(f"{name}.D", ascending=what == "lowest").head(_TOP)
        title = f"{comparison.a} - {comparison.b}" if name == "diff" else name
        lines.append(f"\n{what} D, {title}:")
        columns = ["motif", *shown, f"{name}.fdr", "n"]
        formats = {f"{name}.fdr": "{:.1e}".format}
        text = best[columns].to_string(index=False, float_format="%.3f", formatters=formats)
        lines.append(text if len(best) else "  no significant motif")
    return "\n".join(lines) + "\n"
