"""Figures of patterns, drawn on given axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.motifs.patterns import Pattern
from chromtransfer_plugin.motifs.tomtom import information
from chromtransfer_plugin.plots.logo import draw_letters
from chromtransfer_plugin.plots.style import DPI, FONT, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 40  # rows of the heat map


def pattern_figure(pattern: Pattern, match: Any, motif: NDArray[np.floating] | None) -> Figure:
    """Contributions of a pattern's core, its probabilities, and below them the matched motif in its place.

    Parameters
    ----------
    pattern : Pattern
    match : row of :func:`~chromtransfer_plugin.motifs.tomtom.match_patterns`
        Its best match.
    motif : ndarray, shape (length, 4), or None
        The matrix that was matched; None if the pattern has no match to show.
    """
    from matplotlib.figure import Figure

    first, last = pattern.core
    if first == last:
        first, last = 0, len(pattern.pwm)
    rows = [("mean contribution", pattern.cwm[first:last], first)]
    rows.append(("pattern, bits", _bits(pattern.pwm[first:last]), first))
    if motif is not None:
        oriented = motif[::-1, ::-1] if match.strand == "-" else motif
        rows.append(("motif, bits", _bits(oriented), int(match.offset)))
    low = min(start for _, _, start in rows)
    high = max(start + len(heights) for _, heights, start in rows)
    figure = Figure(
        figsize=(1.5 + 0.28 * max(high - low, 14), 1.7 * len(rows)), dpi=DPI, layout="constrained"
    )
    for ax, (label, heights, start) in zip(np.ravel(figure.subplots(len(rows), 1)), rows, strict=True):
        draw_letters(ax, heights, start, shade=0.4)
        tidy(ax)
        ax.set_xlim(low - 0.5, high - 0.5)
        ax.set_ylabel(label, fontsize=FONT - 1)
        if label.endswith("bits"):
            ax.set_ylim(0, 2)
    title = f"{pattern.name}: {len(pattern.seqlets):,} seqlets"
    if motif is not None:
        title += f"\n{match.motif} ({match.strand}), q = {match.q_value:.2g}"
    figure.axes[0].set_title(title if motif is not None else f"{title}\nno match", fontsize=FONT)
    return figure


def summary_figure(summary: pd.DataFrame, models: list[str]) -> Figure:
    """Heat map of :func:`~chromtransfer_plugin.motifs.discover.summarise`: seqlets of each group per 100 windows."""
    from matplotlib.figure import Figure

    shown = summary.head(_SHOWN)
    figure = Figure(figsize=(4.5 + 0.9 * len(models), 1.6 + 0.28 * len(shown)), dpi=DPI, layout="constrained")
    draw_summary(figure.subplots(), shown, models)
    if len(shown) < len(summary):
        figure.supxlabel(f"the {len(shown)} of {len(summary)} groups with most seqlets", fontsize=FONT - 1)
    return figure


def draw_summary(ax: Axes, summary: pd.DataFrame, models: list[str]) -> None:
    """Draw the heat map of groups (rows) and models on ``ax``; cells say how many seqlets there are per 100 windows."""
    values = np.column_stack([100 * summary[f"{m}.seqlets_per_window"].to_numpy(float) for m in models])
    limit = float(values.max()) or 1.0
    image = ax.imshow(values, aspect="auto", cmap="Blues", vmin=0, vmax=limit)
    for (row, column), value in np.ndenumerate(values):
        if value:
            color = "white" if value > 0.6 * limit else "black"
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=FONT - 2, color=color)
    unnamed = summary["group"] == "no match"
    groups = summary["group"].where(~unnamed, "no match: " + summary["consensus"])
    labels = groups + " " + summary["sign"].map({"pos": "(raises)", "neg": "(lowers)"})
    ax.set_xticks(range(len(models)), models, fontsize=FONT, rotation=30, ha="right")
    ax.set_yticks(range(len(summary)), labels, fontsize=FONT - 1)
    colorbar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    colorbar.set_label("seqlets per 100 windows", fontsize=FONT - 1)


def _bits(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(matrix, dtype=np.float64) * information(matrix)[:, None]
