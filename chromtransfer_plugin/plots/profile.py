"""Mean attribution along the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.plots.style import FONT, LINES, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_mean_profile(
    ax: Axes, means: Mapping[str, NDArray[np.floating]], score: str = "attribution", title: str = ""
) -> None:
    """Draw the mean attribution of each position, one line per model.

    Parameters
    ----------
    ax : matplotlib Axes
    means : mapping of str to ndarray, shape (L,)
        Name of a model -> mean over windows. 0 on the x axis is base L // 2, where the middle (the summit) of a region lies.
    score : str
        What the means are of, see :func:`~chromtransfer_plugin.plots.names.score_name`.
    title : str
    """
    ax.axhline(0, color="0.75", linewidth=0.8)
    ax.axvline(0, color="0.75", linewidth=0.8)
    for i, (name, mean) in enumerate(means.items()):
        color, style = LINES[i % len(LINES)]
        # dashes would make a line this jagged unreadable: thin and thick tell them apart in grey
        positions = np.arange(len(mean)) - len(mean) // 2
        ax.plot(positions, mean, color=color, linewidth=1.6 if style == "-" else 0.8, label=name)
        ax.set_xlim(positions[0], positions[-1] + 1)
    ax.set_xlabel("Position relative to the middle of the window (bp)", fontsize=FONT)
    ax.set_ylabel(f"Mean {score}", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1, loc="left")
    if means:
        ax.legend(fontsize=FONT - 1, frameon=False, loc="upper left")
    tidy(ax)
