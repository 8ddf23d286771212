"""Learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots.style import FONT, LINES, say, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chromtransfer_plugin.learning_curves import LearningCurve


def plot_learning(ax: Axes, curves: Sequence[LearningCurve], title: str = "") -> None:
    """Draw training and validation loss by epoch: one colour for each, one line for each fold.

    A circle marks the epoch whose weights were kept (or, where the log does not say, the lowest validation loss).

    Parameters
    ----------
    ax : matplotlib Axes
    curves : sequence of LearningCurve
        See :func:`~chromtransfer_plugin.learning_curves.read_learning`.
    title : str

    Raises
    ------
    ChromTransferError
        If there is no curve.
    """
    from matplotlib.ticker import MaxNLocator

    if not curves:
        raise ChromTransferError("learning curves: there is none to draw.")
    for number, curve in enumerate(curves):
        marker = "." if len(curve.epoch) <= 20 else ""  # one epoch alone would show no line
        for (color, style), name, values in zip(
            LINES[:2],
            ("training", "validation"),
            (curve.train_loss, curve.validation_loss),
            strict=True,
        ):
            shown = np.where(np.isfinite(values), values, np.nan)
            label = name if number == 0 and np.isfinite(shown).any() else None
            ax.plot(
                curve.epoch, shown, color=color, linestyle=style, marker=marker, linewidth=1.6, label=label
            )
        chosen = curve.kept if curve.kept is not None else curve.best
        if chosen is not None:
            ax.plot(
                [chosen],
                curve.validation_loss[curve.epoch == chosen],
                marker="o",
                markersize=8,
                markerfacecolor="none",
                markeredgecolor="0.2",
                linestyle="none",
                label=("epoch kept" if curve.kept is not None else "lowest") if number == 0 else None,
            )
    if not any(np.isfinite(values).any() for c in curves for values in (c.train_loss, c.validation_loss)):
        say(ax, "no loss is a number")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("Epoch", fontsize=FONT)
    ax.set_ylabel("Loss (cross-entropy)", fontsize=FONT)
    folds = f", {len(curves)} folds" if len(curves) > 1 else ""
    ax.set_title(f"{title}{folds}".removeprefix(", "), fontsize=FONT + 1)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=FONT - 1, frameon=False)
    tidy(ax)
