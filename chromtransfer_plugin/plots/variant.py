"""A variant: logos of both alleles and their difference on one axis, and the sites of motifs that it makes or breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.onehot import ALPHABET, N_CODE
from chromtransfer_plugin.plots.comparison_parts import new_figure
from chromtransfer_plugin.plots.logo import draw_letters
from chromtransfer_plugin.plots.names import short_names, signed
from chromtransfer_plugin.plots.style import BASES, FONT, say, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chromtransfer_plugin.variants.explain_alleles import Alignment

# Columns: a longer variant is cut, what is shown of its ends, width of the mark.
LONG, ENDS, BREAK = 40, 14, 12
MOST_SITES = 10  # boxes in a figure
_COLUMN, _LEFT, _RIGHT = 0.125, 0.95, 0.15  # inches
_TITLE, _LOGO, _LETTERS, _DIFFERENCE, _ROW, _BOTTOM, _GAP = 0.62, 1.15, 0.19, 0.8, 0.19, 0.68, 0.08
_SMALL = 8.0  # points
_LABEL = 3  # columns, half the width of a coordinate
_SHADE, _BEYOND = "#fff3c4", "0.93"
_CUT = 255  # code of a column that stands for what is not shown
# A sign says the same as the colour.
_LEGEND = "site of a motif:  + gained,  − lost,  ~ changed;  P in REF → P in ALT"
KINDS = {"gained": ("+", "#0072B2"), "lost": ("−", "#D55E00"), "changed": ("~", "0.6")}


class _Shown(NamedTuple):
    """What is drawn, W columns: a long variant has lost its middle."""

    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]  # (2, W)
    scores: NDArray[np.float64]  # (2, W)
    first: int  # columns of the variant
    last: int
    hidden: tuple[int, int]  # columns of the alignment that are not shown
    n_before: int  # columns before them

    def x(self, column: int) -> float:
        """Where a column of the alignment is drawn; what is hidden, in the middle of the mark."""
        low, high = self.hidden
        if column < low or low == high:
            return column
        return self.n_before + (BREAK - 1) / 2 if column < high else column - (high - low) + BREAK


def variant_figure(
    alignment: Alignment,
    changes: pd.DataFrame,
    chrom: str,
    title: str,
    subtitle: str,
    score: str,
    probabilities: tuple[float, float],
) -> Figure:
    """Draw one variant.

    Parameters
    ----------
    alignment : Alignment
        Both alleles; a variant of more than :data:`LONG` columns is shown by its ends.
    changes : DataFrame
        Sites of motifs as :func:`~chromtransfer_plugin.variants.motif_changes.find_changes` gives them, and first and
        last, their columns of the alignment (half-open). The first site of each motif is drawn, of at most
        :data:`MOST_SITES` motifs.
    chrom : str
    title, subtitle : str
        Two lines above.
    score : str
        What the letters' heights are.
    probabilities : tuple of float
        Of REF and ALT.
    """
    shown = _shorten(alignment)
    width = _LEFT + _COLUMN * shown.codes.shape[1] + _RIGHT
    boxes = _pack(changes.drop_duplicates("motif").head(MOST_SITES), shown)
    n_rows = max([row for *_, row in boxes], default=0) + 1 + (len(changes) > len(boxes))
    heights = [_LOGO, _LETTERS, _LOGO, _LETTERS, _DIFFERENCE, _ROW * n_rows]
    height = _TITLE + sum(heights) + _GAP * (len(heights) - 1) + _BOTTOM
    figure = new_figure(width, height)
    axes, top = [], height - _TITLE
    for part in heights:
        top -= part
        place = (_LEFT / width, top / height, (width - _LEFT - _RIGHT) / width, part / height)
        axes.append(figure.add_axes(place))
        top -= _GAP
    _heading(figure, title, subtitle, score, height)
    low, high = _limits(shown.scores)
    for number, name in enumerate(("REF", "ALT")):
        _logo(axes[2 * number], shown, number, (low, high))
        axes[2 * number].set_ylabel(f"{name}\nP = {probabilities[number]:.3g}", fontsize=FONT - 1)
        _sequence(axes[2 * number + 1], shown, number)
    _difference(axes[4], shown)
    _sites(axes[5], boxes, len(changes), n_rows)
    for ax in axes:
        ax.set_xlim(-0.5, shown.codes.shape[1] - 0.5)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False, bottom=False)
    _shade(axes, shown)
    _positions(axes[-1], shown, chrom)
    return figure


def _shorten(alignment: Alignment) -> _Shown:
    n, (first, last) = len(alignment.positions), (alignment.first, alignment.last)
    if last - first <= LONG:
        return _Shown(alignment.positions, alignment.codes, alignment.scores, first, last, (n, n), n)
    low, high = first + ENDS, last - ENDS

    def cut(values: NDArray[Any], filler: float) -> NDArray[Any]:
        mark = np.full((*values.shape[:-1], BREAK), filler, dtype=values.dtype)
        return np.concatenate([values[..., :low], mark, values[..., high:]], axis=-1)

    return _Shown(
        cut(alignment.positions, -1),
        cut(alignment.codes, _CUT),
        cut(alignment.scores, 0.0),
        first,
        last - (high - low) + BREAK,
        (low, high),
        low,
    )


def _heading(figure: Figure, title: str, subtitle: str, score: str, height: float) -> None:
    # parse_math: names come from files, where a $ is a $.
    common: dict[str, Any] = {"parse_math": False, "va": "top"}
    left, right = _LEFT / figure.get_figwidth(), 1 - _RIGHT / figure.get_figwidth()
    figure.text(left, 1 - 0.08 / height, title, fontsize=FONT + 2, weight="bold", **common)
    figure.text(left, 1 - 0.33 / height, subtitle, fontsize=FONT, **common)
    common |= {"fontsize": _SMALL, "color": "0.35"}
    figure.text(left, 0.18 / height, _LEGEND, **common)
    figure.text(right, 0.18 / height, score, ha="right", **common)


def _limits(scores: NDArray[np.float64]) -> tuple[float, float]:
    """One scale for both alleles, with zero in sight."""
    known = np.append(scores[np.isfinite(scores)], 0.0)
    low, high = float(known.min()), float(known.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _logo(ax: Axes, shown: _Shown, number: int, limits: tuple[float, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    scores = np.nan_to_num(shown.scores[number])
    heights = (shown.codes[number][:, None] == np.arange(len(ALPHABET))) * scores[:, None]
    draw_letters(ax, heights, shade=0.4, fade=0.3)
    ax.set_ylim(*limits)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    tidy(ax)
    ax.tick_params(axis="y", labelsize=_SMALL)


def _sequence(ax: Axes, shown: _Shown, number: int) -> None:
    """Write every base, which in the logo may be too small to read; a dash where there is none."""
    for x, code in enumerate(shown.codes[number].tolist()):
        if code == _CUT:
            continue
        base = ALPHABET[code] if code < N_CODE else "N" if code == N_CODE else "–"
        inside = shown.first <= x < shown.last
        ax.text(
            x, 0.45, base, color=BASES.get(base, "0.45"), fontsize=_SMALL, ha="center", va="center",
            family="monospace", weight="bold" if inside else "normal",
        )  # fmt: skip
    hidden = shown.codes[number] == _CUT
    if hidden.any():
        count = shown.hidden[1] - shown.hidden[0]
        ax.text(
            float(np.flatnonzero(hidden).mean()),
            0.45,
            f"… {count:,} bp …",
            fontsize=_SMALL,
            ha="center",
            va="center",
        )
    ax.set_ylim(0, 1)
    ax.set_axis_off()


def _difference(ax: Axes, shown: _Shown) -> None:
    from matplotlib.ticker import MaxNLocator

    values = np.nan_to_num(shown.scores[1] - shown.scores[0])
    ax.bar(np.arange(len(values)), values, width=0.8, color="0.3", linewidth=0)
    ax.axhline(0, color="black", linewidth=0.5)
    ax.set_ylim(*_limits(values))
    ax.set_ylabel("ALT − REF", fontsize=FONT - 1)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=3))
    tidy(ax)
    ax.tick_params(axis="y", labelsize=_SMALL)


def _pack(changes: pd.DataFrame, shown: _Shown) -> list[tuple[float, float, str, str, bool, int]]:
    """Give each site its box (low, high), change, label, whether that stands to the right, and a row where it has room."""
    names = short_names(changes["motif"].astype(str).drop_duplicates())
    end = shown.codes.shape[1] - 0.5
    per_letter = 0.6 * _SMALL / 72 / _COLUMN  # columns; 0.6 em is a generous mean width
    taken: list[list[tuple[float, float]]] = []
    boxes = []
    sites: list[Any] = list(changes.itertuples())
    for site in sites:
        low, high = max(shown.x(site.first) - 0.5, -0.5), min(shown.x(site.last - 1) + 0.5, end)
        ref, alt = p_text(site.p_ref, site.ref_start), p_text(site.p_alt, site.alt_start)
        label = f"{KINDS[site.change][0]} {names[site.motif]}  {ref} → {alt}"
        long = len(label) * per_letter + 1
        right = high + long <= end
        extent = (low, high + long) if right else (low - long, high)
        free = (i for i, row in enumerate(taken) if all(extent[1] < a or b < extent[0] for a, b in row))
        row = next(free, len(taken))
        if row == len(taken):
            taken.append([])
        taken[row].append(extent)
        boxes.append((low, high, site.change, label, right, row))
    return boxes


def p_text(p_value: float, start: int) -> str:
    """Write the P of a site in an allele where it would begin at ``start``; -1: there is no such place."""
    if np.isnan(p_value):
        return "none" if start < 0 else ">0.01"  # above the P up to which it is known
    return f"{p_value:.1e}"


def _sites(ax: Axes, boxes: list[tuple[float, float, str, str, bool, int]], total: int, n_rows: int) -> None:
    for low, high, change, label, right, row in boxes:
        color = KINDS[change][1]
        ax.broken_barh([(low, high - low)], (-row - 0.8, 0.6), color=color, linewidth=0)
        ax.text(
            high + 0.5 if right else low - 0.5, -row - 0.5, label, fontsize=_SMALL, va="center",
            ha="left" if right else "right", parse_math=False,
        )  # fmt: skip
    ax.set(ylim=(-n_rows, 0), yticks=[])
    ax.set_ylabel("motifs", fontsize=FONT - 1, rotation=0, ha="right", va="center")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(labelsize=_SMALL)
    if not boxes:
        say(ax, "no site of a motif is gained, lost or changed")
    elif total > len(boxes):
        left = total - len(boxes)
        text = f"and {left:,} more site{'s' * (left > 1)}, see hits.tsv"
        ax.text(0, -n_rows + 0.5, text, fontsize=_SMALL, va="center", color="0.35")


def _shade(axes: list[Axes], shown: _Shown) -> None:
    """Mark the variant, and what the model does not see."""
    seen = {0: shown.scores[0], 2: shown.scores[1], 4: shown.scores[1] - shown.scores[0]}
    for number, ax in enumerate(axes):
        ax.axvspan(shown.first - 0.5, shown.last - 0.5, color=_SHADE, linewidth=0, zorder=-3)
        if number not in seen:
            continue
        beyond = np.isnan(seen[number])
        for column in np.flatnonzero(beyond):
            ax.axvspan(column - 0.5, column + 0.5, color=_BEYOND, linewidth=0, zorder=-2)
        if beyond.sum() >= 2 * ENDS:
            say(ax, "grey: beyond the model's window", y=0.85)


def _positions(ax: Axes, shown: _Shown, chrom: str) -> None:
    """Write the coordinates of a VCF, every tenth base."""
    inside = range(_LABEL, len(shown.positions) - _LABEL)  # a label nearer to an end would be cut off
    ticks = [x for x in inside if shown.positions[x] >= 0 and (shown.positions[x] + 1) % 10 == 0]
    ax.set_xticks(ticks, [f"{shown.positions[x] + 1:,}" for x in ticks])
    ax.set_xlabel(
        f"Position on {chrom} (bp, counted from 1 as in a VCF)", fontsize=FONT - 1, parse_math=False
    )


def subtitle_of(column: str, scores: dict[str, float]) -> str:
    """Say in a line what the scores of a variant are."""
    log_odds = signed(scores["log_odds"] + 0.0, "+.3g")  # not -0
    text = f"{column}:  P {scores['p_ref']:.3g} → {scores['p_alt']:.3g},  log-odds {log_odds}"
    if "percentile" in scores:
        text += f",  percentile {scores['percentile']:.4g}"
    if "p_value" in scores:
        text += f",  p = {scores['p_value']:.2g}"
    return text
