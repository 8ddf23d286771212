"""Reliability curves: how often windows are open that a model gives a probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chromtransfer_plugin.plots.style import FONT, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Observed share and mean prediction of each equal-width bin, None where it is empty, and the number of windows.
Bins = tuple[Sequence[float | None], Sequence[float | None], Sequence[int]]
FEWEST = 10  # windows in a bin, below which its share is mostly chance and is not drawn
_COUNTS = 0.24  # height of the panel's part for the numbers of windows


def plot_reliability(
    ax: Axes, curves: Mapping[str, Bins], title: str = "", *, color: str = "#0072B2"
) -> None:
    """Draw the reliability curve of a model as it is, and after corrections, with the windows of each bin below.

    Parameters
    ----------
    ax : matplotlib Axes
    curves : mapping of str to (mean predicted, observed, n)
        Of each bin. The first is of the model as it is: a thick line, whose windows are counted below. Others are thin
        and dashed. Bins of fewer than 10 windows are not drawn.
    title : str
    color : str
        Of the first curve.
    """
    others = (("0.25", "--"), ("0.25", ":"))
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for i, (name, (predicted, observed, n)) in enumerate(curves.items()):
        points = [
            (x, y)
            for x, y, count in zip(predicted, observed, n, strict=True)
            if x is not None and y is not None and count >= FEWEST
        ]
        x, y = [point[0] for point in points], [point[1] for point in points]
        if i == 0:
            ax.plot(x, y, color=color, linewidth=2, marker="o", markersize=5, label=name, zorder=3)
            _counts(ax, n)
        else:
            line, style = others[(i - 1) % len(others)]
            ax.plot(x, y, color=line, linestyle=style, linewidth=1.4, marker=".", markersize=5, label=name)
    ax.set(xlim=(-0.01, 1.01), ylim=(-_COUNTS - 0.02, 1.02))
    ax.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    ax.set_xlabel("Predicted probability", fontsize=FONT)
    ax.set_ylabel("Share of windows that are open", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1)
    # Above the panel: inside there is no corner that no curve can reach.
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1), fontsize=FONT - 1, handlelength=2.2, frameon=False, borderpad=0,
    )  # fmt: skip
    tidy(ax)


def _counts(ax: Axes, n: Sequence[int]) -> None:
    """Draw bars below the curve, as high as each bin has windows, and say how many the highest stands for."""
    most = max(n, default=0)
    if most == 0:
        return
    width = 1 / len(n)
    ax.axhline(-_COUNTS, color="0.6", linewidth=0.8)
    ax.bar(
        [(i + 0.5) * width for i in range(len(n))], [count / most * (_COUNTS - 0.11) for count in n],
        bottom=-_COUNTS, width=0.9 * width, color="0.75",
    )  # fmt: skip
    ax.text(
        1,
        -0.065,
        f"windows in bins, at most {most:,}",
        fontsize=FONT - 2,
        color="0.35",
        ha="right",
        va="center",
    )
