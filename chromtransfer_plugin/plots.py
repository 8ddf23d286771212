"""Figures: ROC curves and attribution logos, drawn on given axes and without pyplot state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.onehot import ALPHABET, one_hot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves: TypeAlias = Mapping[str, tuple[ArrayLike, ArrayLike]]
Highlight: TypeAlias = tuple[int, int, str]

# Okabe and Ito's palette, safe for the common colour-vision deficiencies. Line styles and letter shapes
# carry the same information a second time.
_LINES = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#E69F00", (0, (5, 1, 1, 1, 1, 1))),
    ("#56B4E9", (0, (1, 1))),
)
_BASES = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
_SITE = "0.9"
_FONT = 10  # points
_ROW = 0.13  # height of one row of labels, as a share of the axes
_DPI = 150
LOGO_WIDTH = 80  # bp in one row of the demonstration figure: letters stay legible


class LogoPanel(NamedTuple):
    """One attribution logo.

    Attributes
    ----------
    title : str
    codes : ndarray, shape (L,), uint8
        Base codes.
    scores : ndarray, shape (L,)
        Attribution per base.
    start : int
        0-based position of the first base on its contig.
    highlights : sequence of (start, end, label)
        Stretches to mark, 0-based half-open on the contig.
    """

    title: str
    codes: NDArray[np.uint8]
    scores: NDArray[np.floating]
    start: int
    highlights: Sequence[Highlight] = ()

    def zoom(self, width: int = LOGO_WIDTH) -> LogoPanel:
        """Cut out the ``width`` bases around the largest |scores|, and clip the highlights to them."""
        width = min(width, len(self.scores))
        # Weights that fall off to both sides bring the peak to the middle; equal ones leave it anywhere.
        at = int(np.convolve(np.abs(self.scores), np.hamming(width), mode="valid").argmax())
        low, high = self.start + at, self.start + at + width
        clipped = [(max(s, low), min(e, high), e - s, label) for s, e, label in self.highlights]
        # A stretch that is mostly cut off stays shaded, but its name would stand beside it.
        visible = [(s, e, label if 2 * (e - s) > full else "") for s, e, full, label in clipped if s < e]
        return LogoPanel(self.title, self.codes[at : at + width], self.scores[at : at + width], low, visible)


def plot_roc(ax: Axes, curves: Curves, title: str = "") -> None:
    """Draw one ROC curve per model, with its AUROC in the legend.

    Parameters
    ----------
    ax : matplotlib Axes
    curves : mapping of str to (y, p)
        Name -> 0/1 labels and scores, each of shape (N,).
    title : str

    Raises
    ------
    ChromTransferError
        If a curve lacks one of the two classes.
    """
    from sklearn.metrics import roc_curve

    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for i, (name, (y, p)) in enumerate(curves.items()):
        labels, scores = np.asarray(y), np.asarray(p)
        if not 0 < labels.sum() < len(labels):
            raise ChromTransferError(f"ROC curve '{name}': needs examples of both classes, got one only.")
        false_positive, true_positive, _ = roc_curve(labels, scores)
        color, style = _LINES[i % len(_LINES)]
        ax.plot(
            false_positive,
            true_positive,
            color=color,
            linestyle=style,
            linewidth=2,
            label=f"{name}: {auroc(labels, scores):.3f}",
        )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.set_xlabel("False positive rate", fontsize=_FONT)
    ax.set_ylabel("True positive rate", fontsize=_FONT)
    ax.set_title(title, fontsize=_FONT + 1)
    ax.legend(
        loc="lower right", fontsize=_FONT - 1, title="AUROC", title_fontsize=_FONT - 1, handlelength=2.5
    )
    _tidy(ax)


def plot_logo(
    ax: Axes,
    sequence: NDArray[np.number],
    scores: NDArray[np.floating],
    start: int = 0,
    highlights: Sequence[Highlight] = (),
) -> None:
    """Draw letters as tall as their attribution; negative ones point down and are shaded.

    Parameters
    ----------
    ax : matplotlib Axes
    sequence : ndarray, shape (L,) base codes or (4, L) one-hot
        An N has no letter.
    scores : ndarray, shape (L,)
        Attribution per base.
    start : int
        0-based contig position of the first base; the x axis shows 0-based positions.
    highlights : sequence of (start, end, label)
        Stretches to mark, 0-based half-open on the contig, e.g. planted motifs.

    Raises
    ------
    ChromTransferError
        If the shapes do not fit together.
    """
    import logomaker
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    letters = one_hot(sequence.astype(np.uint8)) if sequence.ndim == 1 else sequence
    if letters.shape != (len(ALPHABET), len(scores)):
        raise ChromTransferError(
            f"logo: expected codes (L,) or one-hot (4, L) and scores (L,), got {sequence.shape} and "
            f"{np.shape(scores)}."
        )
    positions = np.arange(start, start + len(scores))
    heights = pd.DataFrame((letters * scores).T, columns=list(ALPHABET), index=positions)
    logomaker.Logo(heights, ax=ax, color_scheme=_BASES, shade_below=0.4, fade_below=0.3, baseline_width=0.5)
    ax.set_xlim(start - 0.5, start + len(scores) - 0.5)
    rows = _mark(ax, highlights)
    low, high = min(0.0, float(np.min(scores))), max(0.0, float(np.max(scores)))
    margin = 0.05 * ((high - low) or 1.0)
    share = max(0.25, 1 - _ROW * rows)  # of the height, left for the letters below the labels
    ax.set_ylim(low - margin, low - margin + (high - low + 2 * margin) / share)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    _tidy(ax)


def demo_figure(
    path: str | Path, roc_curves: Mapping[str, Curves], logo_panels: Sequence[LogoPanel], dpi: int = _DPI
) -> None:
    """Write one PNG: a row of ROC panels and below it one attribution logo per row.

    Parameters
    ----------
    path : str or Path
        Where to write; the suffix chooses the format.
    roc_curves : mapping of str to curves
        Panel title -> curves as in :func:`plot_roc`.
    logo_panels : sequence of LogoPanel
        Zoomed to the 80 bp around the largest attributions. Titles should name the contig.
    dpi : int
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    n_roc, n_logo = len(roc_curves), len(logo_panels)
    if not n_roc or not n_logo:
        raise ChromTransferError(
            f"{path}: needs at least one ROC panel and one logo, got {n_roc} and {n_logo}."
        )
    roc_height, logo_height = 4.2, 2.3  # inches
    figure = Figure(
        figsize=(max(11.0, 4.2 * n_roc), roc_height + logo_height * n_logo),
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1),
    )
    FigureCanvasAgg(figure)
    rows = figure.add_gridspec(2, 1, height_ratios=[roc_height, logo_height * n_logo])
    cells = rows[0].subgridspec(1, n_roc)
    for i, (title, curves) in enumerate(roc_curves.items()):
        plot_roc(figure.add_subplot(cells[0, i]), curves, title)
    cells = rows[1].subgridspec(n_logo, 1)
    for i, full in enumerate(logo_panels):
        panel, ax = full.zoom(), figure.add_subplot(cells[i, 0])
        plot_logo(ax, panel.codes, panel.scores, panel.start, panel.highlights)
        ax.set_title(panel.title, fontsize=_FONT + 1, loc="left")
        ax.set_ylabel("Gradient × input", fontsize=_FONT)
    ax.set_xlabel("Position (bp, 0-based)", fontsize=_FONT)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)


def _mark(ax: Axes, highlights: Sequence[Highlight]) -> int:
    """Shade and label stretches; labels that would collide go to a further row. Returns the rows used."""
    left, right = ax.get_xlim()
    bases_per_point = (right - left) / (ax.bbox.width * 72 / ax.figure.dpi)
    row_ends: list[float] = []
    for start, end, label in sorted(highlights):
        ax.axvspan(start - 0.5, end - 0.5, color=_SITE, linewidth=0, zorder=-2)
        if not label:
            continue
        half = 0.5 * len(label) * 0.62 * _FONT * bases_per_point  # 0.62 em: a generous mean letter width
        centre = min(max((start + end - 1) / 2, left + half), right - half)
        free = [i for i, row_end in enumerate(row_ends) if row_end <= centre - half]
        row = free[0] if free else len(row_ends)
        row_ends[row : row + 1] = [centre + half]
        where = ax.get_xaxis_transform()
        ax.text(centre, 0.98 - _ROW * row, label, transform=where, fontsize=_FONT, ha="center", va="top")
    return len(row_ends)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=_FONT - 1)
