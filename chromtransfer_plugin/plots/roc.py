"""ROC curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.plots.style import FONT, LINES, Styles, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats: TypeAlias = NDArray[np.float64]
Curves: TypeAlias = Mapping[str, tuple[ArrayLike, ArrayLike]]


MOST_POINTS = 400  # of a curve; more cannot be seen


def plot_roc(
    ax: Axes, curves: Curves, title: str = "", *, styles: Styles = LINES, legend: bool = True
) -> None:
    """Draw one ROC curve per model, with its AUROC in the legend.

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
    from sklearn.metrics import roc_curve

    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for i, (name, labels, scores) in enumerate(of_both_classes(curves, "ROC")):
        false_positive, true_positive, _ = roc_curve(labels, scores)
        color, style = styles[i % len(styles)]
        ax.plot(
            *thinned(false_positive, true_positive),
            color=color,
            linestyle=style,
            linewidth=2,
            label=f"{name}: {auroc(labels, scores):.3f}",
        )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set_xlabel("False positive rate: closed called open", fontsize=FONT)
    ax.set_ylabel("True positive rate: open called open", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1)
    if legend:
        ax.legend(
            loc="lower right", fontsize=FONT - 1, title="AUROC", title_fontsize=FONT - 1, handlelength=2.5
        )
    tidy(ax)


def of_both_classes(curves: Curves, kind: str) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield name, labels and scores of each curve; raise at one whose labels are all the same."""
    for name, (y, p) in curves.items():
        labels, scores = np.asarray(y), np.asarray(p)
        if not 0 < labels.sum() < len(labels):
            raise ChromTransferError(f"{kind} curve '{name}': needs examples of both classes, got one only.")
        yield name, labels, scores


def thinned(x: Floats, y: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """Leave out points of a curve in the unit square that cannot be told from their neighbours; its ends stay."""
    if len(x) <= most:
        return x, y
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    chosen = np.searchsorted(along, np.linspace(0, along[-1], most))
    chosen[-1] = len(x) - 1
    return x[np.unique(chosen)], y[np.unique(chosen)]
