"""All figures of one comparison, as files: the products of the paper's R script and more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.plots.comparison_parts import (
    Format,
    Sites,
    distributions,
    mean_scores,
    new_figure,
    save_figure,
)
from chromtransfer_plugin.plots.distributions import plot_density, plot_ecdf
from chromtransfer_plugin.plots.enrichment import plot_distances, plot_ranks
from chromtransfer_plugin.plots.logo import plot_motif
from chromtransfer_plugin.plots.names import (
    file_names,
    score_name,
    short_names,
    signed,
    site_score_name,
    upper_first,
)
from chromtransfer_plugin.plots.overview import overview_figure
from chromtransfer_plugin.plots.profile import plot_mean_profile
from chromtransfer_plugin.plots.style import DIFFERENCE, FONT, LINES, say
from chromtransfer_plugin.plots.tracks import plot_tracks, plot_zoom

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(
    comparison: Comparison,
    folder: Path,
    format: Format = "pdf",
    focus: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Write every figure of a comparison.

    ``overview`` (of two models), ``mean_profile``, ``densities``, ``distances`` (of two models), ``ranks``, and for each
    focus motif ``ecdf/MOTIF`` and ``regions/MOTIF``. An existing file of that name is replaced.

    Parameters
    ----------
    comparison : Comparison
    folder : path
        An existing folder.
    format : {"pdf", "png", "svg"}
    focus : int, optional
        Draw only so many of the focus motifs, the first ones. All are labelled in ``distances``.
    progress : bool
        Show a bar.

    Returns
    -------
    list of Path
        The files, in the order above.

    Raises
    ------
    ChromTransferError
        If the folder is missing or cannot be written to, or the format is another one.
    """
    if format not in ("pdf", "png", "svg"):
        raise ChromTransferError(f"format={format!r}: expected pdf, png or svg.")
    if focus is not None and focus < 0:
        raise ChromTransferError(f"focus={focus}: expected a number of motifs, 0 or more.")
    folder = Path(folder)
    if not folder.is_dir():
        raise ChromTransferError(f"{folder}: there is no such folder to write figures to.")

    from tqdm import tqdm

    plan = list(_plan(comparison, focus))
    paths = []
    for name, draw in tqdm(plan, desc="figures", unit="figure", disable=not progress):
        path = folder / f"{name}.{format}"
        path.parent.mkdir(exist_ok=True)
        save_figure(draw(), path, format)
        paths.append(path)
    return paths


def _plan(comparison: Comparison, focus: int | None) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name of each figure and what draws it, so that only one at a time is in memory."""
    if comparison.b is not None:
        yield "overview", partial(overview_figure, comparison)
    yield "mean_profile", partial(mean_profile_figure, comparison)
    yield "densities", partial(densities_figure, comparison)
    if comparison.b is not None:
        yield "distances", partial(distances_figure, comparison)
    yield "ranks", partial(ranks_figure, comparison)
    motifs = comparison.focus["motif"].astype(str).drop_duplicates().tolist()[:focus]
    if not motifs or not len(comparison.hits):
        return
    names, sites = file_names(motifs), Sites(comparison.hits)
    for motif in motifs:
        yield f"ecdf/{names[motif]}", partial(ecdf_figure, comparison, motif, sites)
    for motif in motifs:
        yield f"regions/{names[motif]}", partial(regions_figure, comparison, motif)


def mean_profile_figure(comparison: Comparison) -> Figure:
    """Product 1: mean attribution along the window."""
    figure = new_figure(7, 4)
    ax = figure.add_axes((0.12, 0.15, 0.85, 0.76))
    title = f"{len(comparison.rows):,} windows"
    plot_mean_profile(ax, mean_scores(comparison), score_name(comparison.store.facts), title)
    return figure


def densities_figure(comparison: Comparison) -> Figure:
    """Product 2: densities of the scores of sites, and of their difference."""
    a, b, hits = comparison.a, comparison.b, comparison.hits
    score = upper_first(site_score_name(comparison.store.facts, comparison.how))
    values = {name: hits[comparison.column(name)] for name in comparison.names if name != "diff"}
    if b is None:
        figure = new_figure(6, 4)
        plot_density(
            figure.add_axes((0.13, 0.15, 0.83, 0.75)), values, f"{score} of a site", "Sites of motifs"
        )
        return figure
    figure = new_figure(11, 4)
    left, right = figure.add_axes((0.07, 0.15, 0.41, 0.75)), figure.add_axes((0.57, 0.15, 0.41, 0.75))
    plot_density(left, values, f"{score} of a site", "Sites of motifs")
    difference = {"Difference": hits[comparison.column("diff")]}
    score = f"Difference of {site_score_name(comparison.store.facts, comparison.how)}"
    plot_density(right, difference, score, f"{a} − {b}, site by site", DIFFERENCE)
    right.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    return figure


def distances_figure(comparison: Comparison) -> Figure:
    """Product 3: D in A against D in B, coloured by D of the difference."""
    assert comparison.b is not None
    figure = new_figure(9.4, 8.4)
    ax = figure.add_axes((0.085, 0.115, 0.745, 0.834))
    title = f"{len(comparison.table):,} motifs, {int(comparison.table['sig'].sum()):,} of them significant"
    left_out = plot_distances(
        ax, comparison.table, comparison.a, comparison.b, comparison.focus["motif"].astype(str), title
    )
    if left_out:
        figure.text(0.99, 0.01, f"no room for: {', '.join(left_out)}", ha="right", fontsize=FONT - 3)
    return figure


def ranks_figure(comparison: Comparison) -> Figure:
    """Product 4: D against rank, one panel per model and one for the difference."""
    names = comparison.names
    figure = new_figure(4.8 * len(names), 5.4)
    for i, name in enumerate(names):
        ax = figure.add_axes(((i + 0.15) / len(names), 0.11, 0.82 / len(names), 0.81))
        what = f"{comparison.a} − {comparison.b}" if name == "diff" else name
        plot_ranks(ax, comparison.table, name, title=what, what=what)
    return figure


def ecdf_figure(comparison: Comparison, motif: str, sites: Sites | None = None) -> Figure:
    """Product 5: cumulative distributions of one motif's sites and of its background, and the motif's logo if known."""
    sites = sites or Sites(comparison.hits)
    short = short_names([motif])[motif]
    score = site_score_name(comparison.store.facts, comparison.how)
    models = [name for name in comparison.names if name != "diff"]
    panels: list[tuple[Any, ...]] = [
        ("Models", *distributions(comparison, motif, sites, models), upper_first(score), LINES)
    ]
    if comparison.b is not None:
        parts = distributions(comparison, motif, sites, ["diff"])
        panels.append((f"{comparison.a} − {comparison.b}", *parts, f"Difference of {score}", DIFFERENCE))
    figure = new_figure(5.4 * len(panels), 6.4)
    figure.suptitle(motif, fontsize=FONT + 3, x=0.4 / figure.get_figwidth(), ha="left", y=0.975)
    top = 0.87
    if motif in comparison.motifs:
        matrix = comparison.motifs[motif]
        width = min(0.27 * len(matrix), 5.0) / figure.get_figwidth()
        plot_motif(figure.add_axes((0.62 / figure.get_figwidth(), 0.8, width, 0.12)), matrix)
        figure.axes[0].set_xlabel("")
        top = 0.7
    for i, (title, values, statistics, label, styles) in enumerate(panels):
        ax = figure.add_axes(((i + 0.13) / len(panels), 0.28, 0.83 / len(panels), top - 0.28))
        plot_ecdf(ax, values, short, statistics, label, title, styles)
    return figure


class _Shown(NamedTuple):
    """One column of a page of regions."""

    title: str
    row: int  # of the table of hits


def regions_figure(comparison: Comparison, motif: str) -> Figure:
    """Product 6: the windows of a motif's sites with the largest and the smallest difference, or score of one model."""
    name = comparison.names[-1]
    what = f"{comparison.a} − {comparison.b}" if name == "diff" else comparison.a
    called = f"difference {what}" if name == "diff" else f"score of {what}"
    hits = comparison.hits
    own = np.flatnonzero((hits["motif"].astype(str) == motif).to_numpy(bool))
    values = hits[comparison.column(name)].to_numpy(np.float64)
    own = own[np.isfinite(values[own])]
    if not len(own):
        figure = new_figure(7, 3)
        ax = figure.add_axes((0.05, 0.05, 0.9, 0.8))
        ax.set_axis_off()
        ax.set_title(motif, fontsize=FONT + 3, loc="left")
        say(ax, "no scored site in these windows")
        return figure
    highest, lowest = own[values[own].argmax()], own[values[own].argmin()]
    shown = [_Shown("largest", int(highest))]
    if lowest != highest:
        shown.append(_Shown("smallest", int(lowest)))
    figure = new_figure(7.6 * len(shown), 9.4)
    figure.suptitle(
        f"{motif}: sites with the {' and the '.join(one.title for one in shown)} {called}",
        fontsize=FONT + 3,
        x=0.35 / figure.get_figwidth(),
        ha="left",
        y=0.985,
    )
    for i, one in enumerate(shown):
        _draw_region(comparison, motif, one, values[one.row], figure, i, len(shown))
    return figure


def _draw_region(
    comparison: Comparison,
    motif: str,
    shown: _Shown,
    value: float,
    figure: Figure,
    column: int,
    columns: int,
) -> None:
    """Draw one window and its zoom into a column of the figure."""
    store, models = comparison.store, [name for name in comparison.names if name != "diff"]
    hit = comparison.hits.iloc[shown.row]
    region = int(hit["region"])
    window = comparison.regions.iloc[region]
    chrom, start, end = str(window["chrom"]), int(window["start"]), int(window["end"])
    row = comparison.rows[[region]]
    tracks = {model: store.scores(model, row)[0] for model in models}
    left, right = (column + 0.105) / columns, (column + 0.985) / columns
    n = len(models)
    whole = figure.add_gridspec(
        n + 1, 1, left=left, right=right, top=0.905, bottom=0.49, hspace=0.12, height_ratios=[1] * n + [1.6]
    )
    zoom = figure.add_gridspec(
        n + 2,
        1,
        left=left,
        right=right,
        top=0.405,
        bottom=0.065,
        hspace=0.1,
        height_ratios=[1] * n + [0.22, 0.95],
    )
    sites = comparison.hits[comparison.hits["region"] == region]
    site = int(hit["start"]), int(hit["end"])
    title = f"{shown.title.capitalize()} {'difference' if n > 1 else 'score'}: {signed(value, '#.3g')}"
    if n > 1:
        title += " = " + " − ".join(signed(hit[comparison.column(name)], "#.3g") for name in models)
    plot_tracks(
        [figure.add_subplot(whole[i]) for i in range(n + 1)],
        tracks,
        sites,
        chrom,
        start,
        motif,
        site,
        title=f"{chrom}:{start:,}-{end:,}\n{title}",
        score=upper_first(score_name(store.facts)),
    )
    plot_zoom(
        [figure.add_subplot(zoom[i]) for i in range(n + 2)],
        tracks,
        store.codes(row)[0],
        sites,
        chrom,
        start,
        site,
        motif,
    )
