"""The table of enrichment, drawn: two models against each other, and each motif at its rank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots.names import short_names
from chromtransfer_plugin.plots.placing import place_labels, spread
from chromtransfer_plugin.plots.style import FONT, LINES, say, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABEL = 8  # points
_BOTH_WAYS = "RdBu_r"  # red: more in A, blue: more in B


def plot_distances(
    ax: Axes, table: pd.DataFrame, a: str, b: str, labels: Iterable[str] = (), title: str = ""
) -> list[str]:
    """Draw the signed K-S distance of each motif in model A against that in model B.

    Triangles, upwards where D of the difference is positive, are the significant motifs; their colour is D of the
    difference, on a scale with white in its middle. Labelled ones are larger. Grey dots
    are the others.

    Parameters
    ----------
    ax : matplotlib Axes
        Of its final size: labels are placed for it. Leave room on the right for the colour bar.
    table : DataFrame
        From :func:`~chromtransfer_plugin.motifs.enrichment.enrichment`, of two models.
    a, b : str
        Their names.
    labels : iterable of str
        Motifs to label; those that the table does not have are passed over.
    title : str

    Returns
    -------
    list of str
        Labels that found no room. There are none with some 60 labels and an axes of 6 by 6 inches.

    Raises
    ------
    ChromTransferError
        If a column is missing.
    """
    from matplotlib.collections import PathCollection

    _require(table, ["motif", "sig", f"{a}.D", f"{b}.D", "diff.D"])
    table = table.dropna(subset=[f"{a}.D", f"{b}.D"])
    x, y = (table[f"{name}.D"].to_numpy(np.float64) for name in (a, b))
    difference, significant = table["diff.D"].to_numpy(np.float64), table["sig"].to_numpy(bool)
    known = difference[significant & np.isfinite(difference)]
    wanted = table["motif"].isin(list(labels)).to_numpy(bool)
    limit = float(np.abs(known).max(initial=0.0)) or 1.0
    _frame(ax, x, y, a, b)
    if (~significant).any():
        ax.scatter(
            x[~significant], y[~significant], s=12, color="0.72", linewidths=0, label="not significant"
        )
    for marker, way, part in (
        ("^", "D of the difference ≥ 0", significant & ~(difference < 0)),
        ("v", "D of the difference < 0", significant & (difference < 0)),
    ):
        mappable = ax.scatter(
            x[part],
            y[part],
            c=np.nan_to_num(difference[part]),
            s=np.where(wanted[part], 46, 24),
            marker=marker,
            cmap=_BOTH_WAYS,
            vmin=-limit,
            vmax=limit,
            edgecolors="0.2",
            linewidths=np.where(wanted[part], 1.1, 0.4).tolist(),
            label=f"significant, {way}",
            zorder=3,
        )
    bar = ax.figure.colorbar(mappable, cax=ax.inset_axes((1.025, 0.0, 0.03, 1.0)))
    bar.set_label(f"D of the difference, {a} − {b}", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)
    ax.set_title(title, fontsize=FONT + 1, loc="left")
    if not len(table):
        say(ax, "no motif with enough sites")
        return []
    if not significant.any():
        say(ax, "no significant motif", 0.5, 0.97)
    legend = ax.legend(
        fontsize=FONT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3
    )
    for handle in legend.legend_handles:  # the shape counts here, the bar explains the colour
        if isinstance(handle, PathCollection):
            handle.set_array(None)
            handle.set_facecolor("0.72")
            handle.set_sizes([30])
            handle.set_linewidth(0.6)
    names = short_names(table["motif"][wanted])
    return place_labels(ax, x[wanted], y[wanted], list(names.values()), _LABEL, np.column_stack([x, y]))


def plot_ranks(
    ax: Axes, table: pd.DataFrame, name: str, labelled: int = 10, title: str = "", what: str = ""
) -> None:
    """Draw D of the significant motifs against their rank, and label those at both ends.

    Parameters
    ----------
    ax : matplotlib Axes
        Of its final size: labels are placed for it.
    table : DataFrame
        From :func:`~chromtransfer_plugin.motifs.enrichment.enrichment`.
    name : str
        A model, or ``diff``.
    labelled : int
        How many of the lowest and of the highest to label.
    title : str
    what : str
        For the y axis: what ``name`` stands for, if not for itself.

    Raises
    ------
    ChromTransferError
        If a column is missing.
    """
    _require(table, ["motif", f"{name}.D", f"{name}.rank"])
    ranked = table.dropna(subset=[f"{name}.rank", f"{name}.D"]).sort_values(f"{name}.rank", kind="stable")
    ax.set_xlabel("Rank among the significant motifs", fontsize=FONT)
    ax.set_ylabel(f"Signed K-S distance D, {what or name}", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1, loc="left")
    tidy(ax)
    if not len(ranked):
        ax.set(xlim=(0, 1), ylim=(-1, 1))
        say(ax, "no significant motif")
        return
    x = ranked[f"{name}.rank"].to_numpy(np.float64)
    y = ranked[f"{name}.D"].to_numpy(np.float64)
    names = list(short_names(ranked["motif"]).values())
    ax.axhline(0, color="0.75", linewidth=0.8)
    ax.scatter(x, y, s=9, color=LINES[0][0], linewidths=0, zorder=3)
    if labelled < 1:
        return
    low = np.arange(min(labelled, (len(x) + 1) // 2))
    high = np.arange(max(len(x) - labelled, len(low)), len(x))
    ax.scatter(x[low], y[low], s=22, marker="v", color=LINES[1][0], linewidths=0, zorder=4)
    ax.scatter(x[high], y[high], s=22, marker="^", color=LINES[1][0], linewidths=0, zorder=4)
    _label_ends(ax, x, y, low, high, names)


def _frame(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], a: str, b: str) -> None:
    """Set square limits that leave labels some room, and lines for zero and for equal distances."""
    reach = float(np.abs(np.concatenate([x, y])).max(initial=0.0)) or 1.0
    reach = min(1.18, reach * 1.18)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
    ax.plot([-reach, reach], [-reach, reach], color="0.8", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    ax.set_xlabel(f"Signed K-S distance D, {a}", fontsize=FONT)
    ax.set_ylabel(f"Signed K-S distance D, {b}", fontsize=FONT)
    tidy(ax)


def _label_ends(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    names: Sequence[str],
) -> None:
    """Write the labels of both ends of a rising curve in columns: those of the low end below it, of the high end above.

    The y axis is widened until both columns fit beside the curve.
    """
    gap, height = _LABEL * 1.3, ax.bbox.height * 72 / ax.figure.dpi
    width = len(x)
    beside = max(0.04 * width, 0.5)
    ax.set_xlim(1 - beside, width + beside)
    span = float(y[-1] - y[0]) or 0.1
    # The further from the end of the curve, the more room, but also the longer the lines.
    for margin, share in product(range(10, max(11, int(0.48 * height)), 6), (0.07, 0.12, 0.17, 0.22)):
        columns = x[low[-1]] + share * width, x[high[0] if len(high) else -1] - share * width
        unit = span / max(height - 2.0 * margin, 1.0)  # data per point
        # Below (above) this place of the curve is below (above) all the rest; nearly level lines cross few points.
        caps = np.interp(columns, x, y)
        caps[0] = min(caps[0], y[low[-1]] + 3 * gap * unit)
        caps[1] = max(caps[1], y[high[0] if len(high) else -1] - 3 * gap * unit)
        floor, ceiling = y[0] - (margin - 5) * unit, y[-1] + (margin - 5) * unit
        below = (caps[0] - floor) / unit - gap
        above = (ceiling - caps[1]) / unit - gap
        if below >= gap * (len(low) - 1) and above >= gap * (len(high) - 1):
            break
    ax.set_ylim(y[0] - margin * unit, y[-1] + margin * unit)
    ax.set_yticks([tick for tick in ax.get_yticks() if abs(tick) <= 1 and floor <= tick <= ceiling])
    line = {"arrowstyle": "-", "linewidth": 0.4, "color": "0.6", "shrinkA": 0, "shrinkB": 2, "patchA": None}
    for which, column, align, bottom, top in (
        (low, columns[0], "left", floor, caps[0] - gap * unit),
        (high, columns[1], "right", caps[1] + gap * unit, ceiling),
    ):
        heights = spread(y[which], gap * unit, bottom, top)
        for i, at in zip(which, heights, strict=True):
            ax.annotate(
                names[i],
                (x[i], y[i]),
                xytext=(column, at),
                ha=align,
                va="center",
                fontsize=_LABEL,
                arrowprops={**line, "relpos": (0.0 if align == "left" else 1.0, 0.5)},
            )


def _require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    for column in columns:
        if column not in table:
            raise ChromTransferError(
                f"figure: the table has no column '{column}', only {', '.join(map(str, table.columns))}."
            )
