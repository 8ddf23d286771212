"""Precision-recall curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chromtransfer_plugin.metrics import average_precision
from chromtransfer_plugin.plots.roc import Curves, of_both_classes, thinned
from chromtransfer_plugin.plots.style import FONT, LINES, Styles, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_precision_recall(
    ax: Axes, curves: Curves, title: str = "", *, styles: Styles = LINES, legend: bool = True
) -> None:
    """Draw one precision-recall curve per model, with its average precision in the legend.

    The grey line is the share of positives of the first curve: the precision of guessing.

    Parameters
    ----------
    ax : matplotlib Axes
    curves : mapping of str to (y, p)
        Name -> 0/1 labels and scores, each of shape (N,).
    title : str
    styles : sequence of (colour, line style)
        Of the curves in their order, from the first again where there are more.
    legend : bool

    Raises
    ------
    ChromTransferError
        If a curve lacks one of the two classes.
    """
    from sklearn.metrics import precision_recall_curve

    for i, (name, labels, scores) in enumerate(of_both_classes(curves, "precision-recall")):
        if i == 0:
            share = float(labels.mean())
            ax.axhline(share, color="0.6", linewidth=1)
            ax.text(
                0.99, share + (0.015 if share < 0.1 else -0.02), f"guessing: {share:.3f}",
                ha="right", va="bottom" if share < 0.1 else "top", fontsize=FONT - 1, color="0.25", zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
        precision, recall, _ = precision_recall_curve(labels, scores)
        color, style = styles[i % len(styles)]
        # From the largest recall to none: steps go down to the right, as average precision adds them up.
        ax.step(
            *thinned(recall[::-1], precision[::-1]),
            where="pre",
            color=color,
            linestyle=style,
            linewidth=2,
            label=f"{name}: {average_precision(labels, scores):.3f}",
        )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set_xlabel("Recall: share of open windows that are found", fontsize=FONT)
    ax.set_ylabel("Precision: share of found that are open", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1)
    if legend:
        ax.legend(
            loc="upper right", fontsize=FONT - 1, title="Average precision", title_fontsize=FONT - 1,
            handlelength=2.5,
        )  # fmt: skip
    tidy(ax)
