"""How the scores of motif sites are distributed: densities and cumulative distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin.plots.names import in_words, signed
from chromtransfer_plugin.plots.style import FONT, LINES, Styles, say, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TAIL = 0.001  # share of the scores at each end that is not shown: single sites would squeeze the rest
_BINS = 2048
_STEPS = 1000  # of a drawn cumulative distribution; a PDF with a step per site would be as large as the table


def density(
    values: ArrayLike, low: float, high: float, points: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate a density with a Gaussian kernel, in time linear in the number of values.

    The values are counted in narrow bins first. The bandwidth is Silverman's, 0.9 min(SD, IQR / 1.34) n^(-1/5).

    Parameters
    ----------
    values : array-like, shape (n,)
        Finite, n >= 1.
    low, high : float
        Where to estimate it.
    points : int

    Returns
    -------
    tuple of ndarray
        ``points`` positions from low to high, and the density there; its integral over all numbers is 1.
    """
    data = np.asarray(values, dtype=np.float64)
    quarter, three = np.percentile(data, [25, 75])
    spreads = [spread for spread in (data.std(), (three - quarter) / 1.34) if spread > 0]
    bandwidth = 0.9 * min(spreads, default=0.0) * len(data) ** -0.2
    bandwidth = max(bandwidth, (high - low) / points)  # all values alike, or nearly
    first, last = low - 5 * bandwidth, high + 5 * bandwidth
    counts, edges = np.histogram(data, bins=_BINS, range=(first, last))
    width = edges[1] - edges[0]
    reach = min(int(np.ceil(5 * bandwidth / width)), _BINS // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * width / bandwidth) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="same") / (len(data) * width)
    at = np.linspace(low, high, points)
    return at, np.interp(at, (edges[:-1] + edges[1:]) / 2, smooth)


def plot_density(
    ax: Axes,
    values: Mapping[str, ArrayLike],
    score: str = "attribution",
    title: str = "",
    styles: Styles = LINES,
) -> None:
    """Draw the density of the scores of sites, one line per model.

    Parameters
    ----------
    ax : matplotlib Axes
    values : mapping of str to array-like, shape (n,)
        Name -> scores; what is not finite is left out. The x axis leaves out 0.1 % of them at each end.
    score : str
        What they are.
    title : str
    styles : sequence of (colour, line style)
        One per model.
    """
    data = {name: _finite(given) for name, given in values.items()}
    low, high = _range(list(data.values()))
    drawn = False
    for i, (name, scores) in enumerate(data.items()):
        if not len(scores):
            continue
        color, style = styles[i % len(styles)]
        at, height = density(scores, low, high)
        ax.plot(
            at, height, color=color, linestyle=style, linewidth=1.8, label=f"{name} (n = {len(scores):,})"
        )
        if not drawn:
            ax.fill_between(at, height, color=color, alpha=0.12, linewidth=0)
        drawn = True
    ax.set_xlim(low, high)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(score, fontsize=FONT)
    ax.set_ylabel("Density of sites", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1, loc="left")
    tidy(ax)
    if drawn:
        ax.legend(fontsize=FONT - 1, frameon=False, loc="upper right")
    else:
        say(ax, "no scores")


def plot_ecdf(
    ax: Axes,
    sites: Mapping[str, tuple[ArrayLike, ArrayLike]],
    motif: str = "motif",
    statistics: Mapping[str, tuple[float, float]] | None = None,
    score: str = "attribution",
    title: str = "",
    styles: Styles = LINES,
) -> None:
    """Draw the cumulative distribution of the scores of a motif's sites and of the other sites, for each model.

    Thick: the motif's sites. Thin: its background. The largest vertical distance of the two is D.

    Parameters
    ----------
    ax : matplotlib Axes
    sites : mapping of str to (inside, outside)
        Model -> scores of the motif's sites, and of the sites of other motifs that overlap none of them. What is not
        finite is left out. The x axis leaves out 0.1 % of all at each end.
    motif : str
        For the legend.
    statistics : mapping of str to (D, FDR), optional
        Model -> what the table says; for the legend.
    score : str
        What the scores are.
    title : str
    styles : sequence of (colour, line style)
        One per model.
    """
    data = {name: (_finite(inside), _finite(outside)) for name, (inside, outside) in sites.items()}
    low, high = _range([part for parts in data.values() for part in parts])
    for i, (name, (inside, outside)) in enumerate(data.items()):
        color, style = styles[i % len(styles)]
        known = statistics.get(name) if statistics else None
        remark = "" if known is None else f"\nD = {signed(known[0])}, FDR {in_words(known[1])}"
        for scores, width, label in (
            (inside, 2.4, f"{name}: {motif} (n = {len(inside):,}){remark}"),
            (outside, 0.9, f"{name}: other sites (n = {len(outside):,})"),
        ):
            x, share = ecdf_steps(scores)
            ax.step(
                np.concatenate([[low], x, [high]]) if len(x) else x,
                np.concatenate([[0.0], share, [1.0]]) if len(x) else share,
                where="post",
                color=color,
                linestyle=style,
                linewidth=width,
                label=label,
            )
    ax.set(xlim=(low, high), ylim=(-0.01, 1.01))
    ax.set_xlabel(score, fontsize=FONT)
    ax.set_ylabel("Share of sites with at most this score", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1, loc="left")
    tidy(ax)
    if data:
        _legend_below(ax, len(data))
    if not any(len(inside) for inside, _ in data.values()):
        say(ax, "no scored site of this motif", 0.97, 0.06, ha="right")


def _legend_below(ax: Axes, columns: int) -> None:
    """Explain the curves below the axes, as they may be anywhere in it; in one column if more would not fit."""
    down = 34 * ax.figure.dpi / 72 / ax.bbox.height  # ticks and label of the x axis take 34 points
    for number in (columns, 1):
        legend = ax.legend(
            fontsize=FONT - 2,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -down),
            ncols=number,
            handlelength=2.8,
        )
        if legend.get_window_extent().width <= 1.12 * ax.bbox.width:
            break


def ecdf_steps(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places and heights of the steps of a cumulative distribution; of many, at most about 1,000.

    Each returned height is exact at its place; of equal scores only the last counts.
    """
    ordered = np.sort(scores)
    n = len(ordered)
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[:n])
    if len(last) > _STEPS:
        last = last[np.unique(np.linspace(0, len(last) - 1, _STEPS).astype(np.int64))]
    return ordered[last], (last + 1) / max(n, 1)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64).ravel()
    return data[np.isfinite(data)]


def _range(parts: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the range to show; it has a width also if all values are equal."""
    ends = [np.quantile(part, [_TAIL, 1 - _TAIL]) for part in parts if len(part)]
    if not ends:
        return 0.0, 1.0
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    margin = 0.02 * (high - low) or 0.5 * abs(low) or 1.0
    return low - margin, high + margin
