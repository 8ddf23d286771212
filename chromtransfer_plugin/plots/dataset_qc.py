"""What a data set is made of, in one figure of four panels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots.comparison_parts import new_figure, save_figure
from chromtransfer_plugin.plots.style import FONT, LINES, say, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POSITIVE, NEGATIVE = LINES[0][0], LINES[4][0]
_TRAIN, _TEST = "0.45", LINES[2][0]
_SHOWN = 30  # chromosomes; scaffolds beyond them are one bar


def dataset_figure(path: Path, sets: Mapping[str, pd.DataFrame], widths: ArrayLike) -> None:
    """Draw GC content, widths of the input regions, regions per chromosome and class balance as one PNG.

    Parameters
    ----------
    path : path
    sets : mapping of str to DataFrame
        Name of a line (or of the pre-training set) to its windows: ``chrom, start, end`` and ``positive`` (bool); also
        ``gc`` (share of known bases) if sequences were read, and ``split`` (``train``, ``test``) if there is one.
    widths : array-like, shape (n,)
        bp of the regions as they were given.

    Raises
    ------
    ChromTransferError
        If there are no windows, or the file cannot be written.
    """
    from matplotlib.patches import Patch

    if not any(len(table) for table in sets.values()):
        raise ChromTransferError(f"{path}: there are no windows to draw.")
    # Rows of a quarter inch, so that seven lines read as well as one.
    height = 1.6 + 0.45 * max(4, len(sets))
    figure = new_figure(11.5, height + 3.6)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    cells = figure.add_gridspec(2, 2, height_ratios=[height, 3.6])
    axes = [figure.add_subplot(cells[i // 2, i % 2]) for i in range(4)]
    plot_gc(axes[0], sets)
    plot_balance(axes[1], sets)
    plot_widths(axes[2], widths)
    plot_chromosomes(axes[3], sets)
    classes = [Patch(color=POSITIVE, label="positive"), Patch(color=NEGATIVE, label="negative")]
    figure.legend(handles=classes, fontsize=FONT, frameon=False, ncols=2, loc="outside upper right")
    save_figure(figure, path, "png")


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, fontsize=FONT + 1, loc="left")
    tidy(ax)


def _rows(ax: Axes, names: list[str]) -> None:
    """Name one row for each set, the first on top."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)


def plot_gc(ax: Axes, sets: Mapping[str, pd.DataFrame]) -> None:
    """Draw median, quartiles, and 5th to 95th percentile of the GC content of positives and negatives of each set."""
    _title(ax, "GC content (median, 50 %, 90 % of the windows)")
    _rows(ax, list(sets))
    if not any("gc" in table for table in sets.values()):
        ax.set_xticks([])
        say(ax, "not known: no genome was given")
        return
    low, high = [], []
    for row, table in enumerate(sets.values()):
        for offset, color, chosen in ((-0.17, POSITIVE, True), (0.17, NEGATIVE, False)):
            values = table["gc"][table["positive"] == chosen].dropna() if "gc" in table else pd.Series()
            if values.empty:
                continue
            ends = np.percentile(values, [5, 25, 50, 75, 95])
            ax.plot(ends[[0, 4]], [row + offset] * 2, color=color, linewidth=1.5, solid_capstyle="butt")
            ax.plot(ends[[1, 3]], [row + offset] * 2, color=color, linewidth=7, solid_capstyle="butt")
            ax.plot(ends[2], row + offset, "|", color="white", markersize=9, markeredgewidth=2)
            low.append(ends[0])
            high.append(ends[4])
    margin = 0.05
    ax.set_xlim(max(0, min(low) - margin), min(1, max(high) + margin))
    ax.set_xlabel("Share of G and C", fontsize=FONT)


def plot_balance(ax: Axes, sets: Mapping[str, pd.DataFrame]) -> None:
    """Draw the numbers of positives and negatives of each set, and their ratio."""
    _title(ax, "Class balance (share, number and ratio of the windows)")
    _rows(ax, list(sets))
    for row, table in enumerate(sets.values()):
        positive, total = int(table["positive"].sum()), len(table)
        negative = total - positive
        ax.barh(row, positive / max(total, 1), 0.6, color=POSITIVE)
        ax.barh(row, negative / max(total, 1), 0.6, left=positive / max(total, 1), color=NEGATIVE)
        ratio = f"1 : {negative / positive:.1f}" if positive else "no positives"
        ax.text(1.03, row, f"{positive:,} : {negative:,}  ({ratio})", va="center", fontsize=FONT - 1)
    ax.set_xlim(0, 1.8)
    ax.set_xticks([0, 0.5, 1])
    ax.set_xlabel("Share of the windows", fontsize=FONT, x=0.28)


def _counts(ax: Axes) -> None:
    """Count in whole numbers upwards."""
    from matplotlib.ticker import MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def plot_widths(ax: Axes, widths: ArrayLike) -> None:
    """Draw how wide the regions are that were given."""
    _title(ax, "Width of the regions given")
    values = np.asarray(widths, dtype=np.float64)
    ax.set_xlabel("bp", fontsize=FONT)
    if not len(values):
        ax.set_yticks([])
        say(ax, "no regions were given")
        return
    if values.min() == values.max():
        ax.set(xticks=[], yticks=[])
        say(ax, f"all {len(values):,} regions are {values[0]:,.0f} bp wide")
        return
    # A few wide regions would squeeze the rest into one bar.
    last = max(np.percentile(values, 99.5), values.min() + 1)
    if values.max() <= 2 * last:
        last = values.max()
    ax.hist(np.minimum(values, last), bins=50, color="0.45")
    beyond = int((values > last).sum())
    note = f"median {np.median(values):,.0f}, longest {values.max():,.0f}"
    say(
        ax, note + (f"\n{beyond:,} beyond the axis are in the last bar" if beyond else ""), 0.98, 0.9, "right"
    )
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # room for the note
    _counts(ax)
    ax.set_ylabel("Regions", fontsize=FONT)


def plot_chromosomes(ax: Axes, sets: Mapping[str, pd.DataFrame]) -> None:
    """Draw how many different windows of all sets lie on each chromosome; those of the test in a colour of their own."""
    _title(ax, "Windows per chromosome")
    columns = ["chrom", "start", "end"]
    kept = [table[[*columns, *(["split"] if "split" in table else [])]] for table in sets.values()]
    windows = pd.concat([table.astype({"chrom": "str"}) for table in kept], ignore_index=True)
    windows = windows.drop_duplicates(columns)
    test = (windows["split"] == "test") if "split" in windows else pd.Series(False, index=windows.index)
    counts = pd.DataFrame(
        {"train": windows["chrom"][~test].value_counts(), "test": windows["chrom"][test].value_counts()}
    ).fillna(0)
    counts = counts.loc[sorted(counts.index, key=_place)]
    if len(counts) > _SHOWN:
        rest = counts.iloc[_SHOWN:].sum().rename(f"{len(counts) - _SHOWN} others")
        counts = pd.concat([counts.iloc[:_SHOWN], rest.to_frame().T])
    at = np.arange(len(counts))
    ax.bar(at, counts["train"], 0.75, color=_TRAIN, label="training")
    ax.bar(
        at,
        counts["test"],
        0.75,
        bottom=counts["train"],
        color=_TEST,
        hatch="//",
        edgecolor="white",
        label="test",
    )
    ax.set_xticks(
        at, [name.removeprefix("chr") for name in counts.index], rotation=90 if len(counts) > 12 else 0
    )
    _counts(ax)
    ax.set_ylim(0, 1.05 * counts.sum(axis=1).max())
    ax.set_ylabel("Windows", fontsize=FONT)
    if test.any():
        ax.legend(fontsize=FONT - 1, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98))


def _place(name: str) -> tuple[int, int, str]:
    """Sort chr2 before chr10, numbers before letters, and these before scaffolds."""
    number = re.fullmatch(r"(?:chr)?(\d+)", name)
    if number:
        return 0, int(number[1]), name
    return (1 if re.fullmatch(r"(?:chr)?\w{1,2}", name) else 2), 0, name
