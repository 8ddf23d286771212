"""A region as a genome browser shows it, and one motif's site in it as letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import ALPHABET
from chromtransfer_plugin.plots.logo import plot_logo
from chromtransfer_plugin.plots.names import short_names
from chromtransfer_plugin.plots.style import BASES, FONT, LINES, say, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME = 7.5  # points
_ROW = 1.45 * _NAME  # points from one row of sites to the next
_SITE, _OWN = "0.72", "#CC79A7"
_SHADE = "0.9"
FLANK = 10  # bp on each side of a site in the zoom; paper


def plot_track(
    ax: Axes,
    scores: NDArray[np.floating],
    start: int,
    name: str = "",
    color: str = LINES[0][0],
    highlight: tuple[int, int] | None = None,
) -> None:
    """Draw one number per base as bars, over the bases' positions.

    Parameters
    ----------
    ax : matplotlib Axes
    scores : ndarray, shape (L,)
    start : int
        0-based position of the first base on its contig.
    name : str
        Of the model.
    color : str
    highlight : (start, end), optional
        Stretch to shade, 0-based half-open.
    """
    edges = np.arange(start, start + len(scores) + 1) - 0.5
    ax.stairs(np.nan_to_num(scores), edges, fill=True, color=color, linewidth=0)
    ax.axhline(0, color="0.4", linewidth=0.5)
    ax.set_xlim(edges[0], edges[-1])
    if highlight is not None:
        ax.axvspan(highlight[0] - 0.5, highlight[1] - 0.5, color=_SHADE, linewidth=0, zorder=-2)
    _name(ax, name)
    tidy(ax)


def plot_sites(
    ax: Axes,
    sites: pd.DataFrame,
    start: int,
    end: int,
    highlight: str | None = None,
    site: tuple[int, int] | None = None,
) -> int:
    """Draw the sites of motifs as boxes with their names to the right, in rows so that nothing overlaps.

    Parameters
    ----------
    ax : matplotlib Axes
        Of its final size, which says how many rows there is room for.
    sites : DataFrame
        start, end (0-based, half-open), motif and, if known, p_value. If not all find room, ``site`` comes first, then
        the others of ``highlight``, then those of small P.
    start, end : int
        What the x axis shows. Sites that reach beyond are cut off.
    highlight : str, optional
        Motif whose sites are coloured.
    site : (start, end), optional
        The site of this motif that the figure is about.

    Returns
    -------
    int
        How many sites found no room. The panel says so, too.
    """
    height, width = (size * 72 / ax.figure.dpi for size in (ax.bbox.height, ax.bbox.width))
    rows = max(1, int(height / _ROW))
    ax.set(xlim=(start - 0.5, end - 0.5), ylim=(-height / _ROW, 0), yticks=[])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(labelsize=FONT - 1)
    shown = sites[(sites["start"] < end) & (sites["end"] > start)].drop_duplicates(["start", "end", "motif"])
    if not len(shown):
        say(ax, "no site of a motif")
        return 0
    other = shown["motif"].astype(str) != str(highlight)
    second = other | (shown["start"] != site[0]) | (shown["end"] != site[1]) if site else other
    shown = shown.assign(other=other, second=second)
    last = "p_value" if "p_value" in shown else "start"
    shown = shown.sort_values(["second", "other", last], kind="stable")
    names = short_names(shown["motif"].astype(str).drop_duplicates())
    taken: list[list[tuple[float, float]]] = [[] for _ in range(rows)]
    bases_per_point = (end - start) / width
    pad = 2 * bases_per_point
    left_out = 0
    columns = (shown["start"].tolist(), shown["end"].tolist(), shown["motif"].astype(str), shown["other"])
    for first, last, motif, other in zip(*columns, strict=True):
        low, high = max(first, start) - 0.5, min(last, end) - 0.5
        text = ax.text(0, 0, names[motif], fontsize=_NAME, va="center", weight="normal" if other else "bold")
        long = text.get_window_extent().width * 72 / ax.figure.dpi * bases_per_point
        on_right = high + pad + long <= end - 0.5  # else the name would be cut off
        on_left = low - pad - long >= start - 0.5
        extent = (
            (low, high + pad + long) if on_right else (low - pad - long, high) if on_left else (low, high)
        )
        row = next((i for i, others in enumerate(taken) if _is_free(extent, others, 2 * pad)), None)
        if row is None or not (on_right or on_left or long <= high - low):
            text.remove()
            left_out += 1
            continue
        taken[row].append(extent)
        color = _SITE if other else _OWN
        ax.broken_barh([(low, high - low)], (-row - 0.85, 0.7), color=color, linewidth=0)
        x, align = (high + pad, "left") if on_right else (low - pad, "right")
        if not (on_right or on_left):  # the box is as wide as the panel
            x, align = (low + high) / 2, "center"
        text.set(x=x, y=-row - 0.5, ha=align)
    if left_out:
        ax.set_ylabel(f"+ {left_out}\nmore", fontsize=_NAME, rotation=0, ha="right", va="center")
    return left_out


def _is_free(extent: tuple[float, float], others: Sequence[tuple[float, float]], gap: float) -> bool:
    return all(extent[1] + gap <= low or high + gap <= extent[0] for low, high in others)


def plot_sequence(ax: Axes, codes: NDArray[np.uint8], start: int) -> None:
    """Write the bases, each at its position.

    Parameters
    ----------
    ax : matplotlib Axes
    codes : ndarray, shape (L,), uint8
    start : int
        0-based position of the first base.
    """
    size = min(FONT, ax.bbox.width * 72 / ax.figure.dpi / max(len(codes), 1) * 1.4)
    for position, code in enumerate(codes, start):
        base = ALPHABET[code] if code < len(ALPHABET) else "N"
        ax.text(
            position,
            0.5,
            base,
            color=BASES.get(base, "0.5"),
            fontsize=size,
            ha="center",
            va="center",
            family="monospace",
            weight="bold",
        )
    ax.set(xlim=(start - 0.5, start + len(codes) - 0.5), ylim=(0, 1))
    ax.set_axis_off()


def plot_tracks(
    axes: Sequence[Axes],
    tracks: Mapping[str, NDArray[np.floating]],
    sites: pd.DataFrame,
    chrom: str,
    start: int,
    highlight: str | None = None,
    site: tuple[int, int] | None = None,
    score: str = "",
    title: str = "",
) -> None:
    """Draw the scores of some models over a window, on one scale, and below them the sites of motifs.

    Parameters
    ----------
    axes : sequence of Axes
        One per model and one for the sites, from top to bottom.
    tracks : mapping of str to ndarray, shape (L,)
        Model -> scores.
    sites : DataFrame
        As for :func:`plot_sites`.
    chrom : str
    start : int
        0-based position of the first base.
    highlight : str, optional
        Motif whose sites are coloured.
    site : (start, end), optional
        Stretch to shade in the tracks.
    score : str
        What is drawn, for the title of the y axes.
    title : str

    Raises
    ------
    ChromTransferError
        If the numbers of axes and models do not fit.
    """
    _check(axes, len(tracks) + 1)
    length = _length(tracks)
    for i, (name, scores) in enumerate(tracks.items()):
        plot_track(axes[i], scores, start, name, LINES[i % len(LINES)][0], site)
        axes[i].tick_params(labelbottom=False)
    _same_scale(axes[:-1], list(tracks.values()))
    axes[0].set_title(title, fontsize=FONT, loc="left")
    axes[0].set_title(score, fontsize=_NAME, loc="right")
    plot_sites(axes[-1], sites, start, start + length, highlight, site)
    _positions(axes[-1], chrom)


def plot_zoom(
    axes: Sequence[Axes],
    tracks: Mapping[str, NDArray[np.floating]],
    codes: NDArray[np.uint8],
    sites: pd.DataFrame,
    chrom: str,
    start: int,
    site: tuple[int, int],
    highlight: str | None = None,
    flank: int = FLANK,
) -> None:
    """Draw a site and its flanks as letters as tall as their scores in each model, on one scale, then sequence and sites.

    Parameters
    ----------
    axes : sequence of Axes
        One per model, one for the sequence, one for the sites of motifs, from top to bottom.
    tracks : mapping of str to ndarray, shape (L,)
        Model -> scores of the whole window.
    codes : ndarray, shape (L,), uint8
    sites : DataFrame
        As for :func:`plot_sites`.
    chrom : str
    start : int
        0-based position of the window's first base.
    site : (start, end)
        What to show, 0-based half-open.
    highlight : str, optional
        Motif whose sites are coloured.
    flank : int
        Base pairs on each side, fewer at an end of the window.

    Raises
    ------
    ChromTransferError
        If the numbers of axes and models do not fit, or the site is not in the window.
    """
    _check(axes, len(tracks) + 2)
    length = _length(tracks)
    if not start <= site[0] < site[1] <= start + length:
        raise ChromTransferError(
            f"figure: the site {site[0]}-{site[1]} is not in the window {start}-{start + length}."
        )
    low, high = max(start, site[0] - flank), min(start + length, site[1] + flank)
    cut = slice(low - start, high - start)
    shown = {name: np.nan_to_num(scores[cut]) for name, scores in tracks.items()}
    for ax, (name, scores) in zip(axes, shown.items(), strict=False):
        plot_logo(ax, codes[cut], scores, low)
        ax.axvspan(site[0] - 0.5, site[1] - 0.5, color=_SHADE, linewidth=0, zorder=-2)
        ax.tick_params(labelbottom=False)
        _name(ax, name)
    _same_scale(axes[:-2], list(shown.values()))
    plot_sequence(axes[-2], codes[cut], low)
    plot_sites(axes[-1], sites, low, high, highlight, site)
    _positions(axes[-1], chrom)


def _name(ax: Axes, name: str) -> None:
    """Write the model beside its track, smaller if it is longer than the track is high."""
    height = ax.bbox.height * 72 / ax.figure.dpi
    ax.set_ylabel(name, fontsize=max(5.0, min(FONT, height / (0.62 * max(len(name), 1)))))


def _check(axes: Sequence[Axes], expected: int) -> None:
    if len(axes) != expected:
        raise ChromTransferError(f"figure: expected {expected} axes, got {len(axes)}.")


def _length(tracks: Mapping[str, NDArray[Any]]) -> int:
    lengths = {len(scores) for scores in tracks.values()}
    if len(lengths) != 1:
        raise ChromTransferError(f"figure: expected tracks of one length, got {sorted(lengths)}.")
    return lengths.pop()


def _same_scale(axes: Sequence[Axes], tracks: Sequence[NDArray[np.floating]]) -> None:
    """Make the models comparable by eye; zero is always in sight."""
    from matplotlib.ticker import MaxNLocator

    every = np.nan_to_num(np.concatenate([*tracks, [0.0]]))
    low, high = float(every.min()), float(every.max())
    margin = 0.05 * (high - low) or 1.0
    for ax in axes:
        ax.set_ylim(low - margin, high + margin)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))


def _positions(ax: Axes, chrom: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.set_xlabel(f"Position on {chrom} (bp, 0-based)", fontsize=FONT)
