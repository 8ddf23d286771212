"""Logos: letters as tall as their attribution, or as their information in a motif."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import ALPHABET, one_hot
from chromtransfer_plugin.plots.style import BASES, FONT, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Highlight = tuple[int, int, str]

_SITE = "0.9"
_ROW = 0.13  # height of one row of labels, as a share of the axes
LOGO_WIDTH = 80  # bp in one row of a figure: letters stay legible


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
        Attribution per base. A NaN has no letter.
    start : int
        0-based contig position of the first base; the x axis shows 0-based positions.
    highlights : sequence of (start, end, label)
        Stretches to mark, 0-based half-open on the contig, e.g. planted motifs.

    Raises
    ------
    ChromTransferError
        If the shapes do not fit together.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    letters = one_hot(sequence.astype(np.uint8)) if sequence.ndim == 1 else sequence
    if letters.shape != (len(ALPHABET), len(scores)):
        raise ChromTransferError(
            f"logo: expected codes (L,) or one-hot (4, L) and scores (L,), got {sequence.shape} and "
            f"{np.shape(scores)}."
        )
    scores = np.nan_to_num(scores)
    draw_letters(ax, (letters * scores).T, start, shade=0.4, fade=0.3)
    rows = _mark(ax, highlights)
    low, high = min(0.0, float(np.min(scores))), max(0.0, float(np.max(scores)))
    margin = 0.05 * ((high - low) or 1.0)
    share = max(0.25, 1 - _ROW * rows)  # of the height, left for the letters below the labels
    ax.set_ylim(low - margin, low - margin + (high - low + 2 * margin) / share)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    tidy(ax)


def plot_motif(ax: Axes, matrix: NDArray[np.floating], title: str = "") -> None:
    """Draw a motif: letters as tall as their share of the position's information.

    Parameters
    ----------
    ax : matplotlib Axes
    matrix : ndarray, shape (length, 4)
        Probabilities of A, C, G, T. The information is 2 bits minus the entropy, every base being equally likely.
    title : str

    Raises
    ------
    ChromTransferError
        If it is no matrix of probabilities.
    """
    p = np.asarray(matrix, dtype=np.float64)
    if p.ndim != 2 or not len(p) or p.shape[1] != len(ALPHABET):
        raise ChromTransferError(f"motif: expected a matrix (length, 4), got {p.shape}.")
    if not ((p >= 0).all() and np.allclose(p.sum(axis=1), 1, atol=1e-3)):
        raise ChromTransferError("motif: expected probabilities, four that sum to 1 in each row.")
    information = 2 + (p * np.log2(np.where(p > 0, p, 1))).sum(axis=1, keepdims=True)
    draw_letters(ax, p * information, 1)
    ax.set(ylim=(0, 2), yticks=[0, 1, 2])
    ax.set_ylabel("Bits", fontsize=FONT)
    ax.set_xlabel("Position in the motif", fontsize=FONT)
    ax.set_title(title, fontsize=FONT + 1, loc="left")
    tidy(ax)


def draw_letters(
    ax: Axes, heights: NDArray[np.number], start: int = 0, shade: float = 0.0, fade: float = 0.0
) -> None:
    """Stack letters at each position, the tallest on top; negative ones hang below zero, upside down.

    Parameters
    ----------
    ax : matplotlib Axes
        Gets limits that hold all letters, and a line at zero.
    heights : ndarray, shape (L, 4)
        Of A, C, G, T. A letter without height is not drawn.
    start : int
        Position of the first one.
    shade, fade : float
        How much darker and how much more transparent negative letters are, 0 to 1.
    """
    from logomaker import Glyph
    from matplotlib.colors import to_rgb

    colors = [np.array(to_rgb(BASES[base])) for base in ALPHABET]
    heights = np.asarray(heights, dtype=np.float64)
    # logomaker's Logo would also make the letters without height, three of four in a logo of scores.
    for position, stack in enumerate(heights, start):
        top = float(stack[stack < 0].sum())
        for base in np.argsort(stack):
            height = float(stack[base])
            if not height:
                continue
            low, top, below = top, top + abs(height), height < 0
            Glyph(
                position,
                ALPHABET[base],
                low,
                top,
                ax=ax,
                color=tuple(colors[base] * (1 - shade * below)),
                alpha=1 - fade * below,
                flip=below,
                zorder=0,
            )
    ax.axhline(0, color="black", linewidth=0.5, zorder=-1)
    ax.set_xlim(start - 0.5, start + len(heights) - 0.5)
    low, high = (
        float(np.sum(part, axis=1).max(initial=0))
        for part in (np.maximum(-heights, 0), np.maximum(heights, 0))
    )
    if low or high:
        ax.set_ylim(-low, high)


def _mark(ax: Axes, highlights: Sequence[Highlight]) -> int:
    """Shade and label stretches; labels that would collide go to a further row. Returns the rows used."""
    left, right = ax.get_xlim()
    bases_per_point = (right - left) / (ax.bbox.width * 72 / ax.figure.dpi)
    row_ends: list[float] = []
    for start, end, label in sorted(highlights):
        ax.axvspan(start - 0.5, end - 0.5, color=_SITE, linewidth=0, zorder=-2)
        if not label:
            continue
        half = 0.5 * len(label) * 0.62 * FONT * bases_per_point  # 0.62 em: a generous mean letter width
        centre = min(max((start + end - 1) / 2, left + half), right - half)
        free = [i for i, row_end in enumerate(row_ends) if row_end <= centre - half]
        row = free[0] if free else len(row_ends)
        row_ends[row : row + 1] = [centre + half]
        where = ax.get_xaxis_transform()
        ax.text(centre, 0.98 - _ROW * row, label, transform=where, fontsize=FONT, ha="center", va="top")
    return len(row_ends)
