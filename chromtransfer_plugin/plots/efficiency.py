"""How the test scores grow with the number of training windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chromtransfer_plugin.evaluation.record import METRICS
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.plots.style import DPI, FONT, LINES, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from chromtransfer_plugin.efficiency.record import EfficiencyRecord

PANELS = ("auroc", "f1_weighted")
_APART = 0.13  # of a decade: tick labels that are closer are left out


def plot_efficiency(ax: Axes, record: EfficiencyRecord, metric: str = "auroc") -> None:
    """Draw the mean over draws with its band, every draw as a point, and AUROCs of other models as lines.

    Parameters
    ----------
    ax : matplotlib Axes
    record : EfficiencyRecord
    metric : str
        A name of :data:`~chromtransfer_plugin.evaluation.record.METRICS`.
    """
    color = LINES[0][0]
    x = np.array([row.fraction for row in record.rows])
    mean, low, high = (
        np.array([values.get(metric) for values in column], dtype=float)  # None becomes NaN
        for column in (
            [row.mean for row in record.rows],
            [row.low for row in record.rows],
            [row.high for row in record.rows],
        )
    )
    if not np.isnan(low).all():
        resampled = "loci" if record.resample == "locus" else "windows"
        band = f"{100 * record.level:g} % band (draws and test {resampled})"
        ax.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, label=band)
    points = [(draw.fraction, draw.measures.get(metric)) for draw in record.draws]
    known = np.array([(a, b) for a, b in points if b is not None], dtype=float).reshape(-1, 2)
    ax.plot(known[:, 0], known[:, 1], ".", color=color, alpha=0.35, markersize=5, label="one draw")
    ax.plot(x, mean, color=color, linewidth=2, marker="o", markersize=4, label="mean of the draws")
    if metric == "auroc":
        for i, (name, value) in enumerate(record.references.items(), start=1):
            other, style = LINES[i % len(LINES)]
            ax.axhline(value, color=other, linestyle=style, linewidth=1.5, label=f"{name}: {value:.2f}")
    _ticks(ax, record)
    ax.set_xlabel(f"Share of the {record.n_train:,} training windows (number below)", fontsize=FONT)
    ax.set_ylabel(METRICS[metric][0], fontsize=FONT)
    # Below the axes: inside, it would hide a band or a line somewhere.
    ax.legend(fontsize=FONT - 1, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.24))
    tidy(ax)


def _ticks(ax: Axes, record: EfficiencyRecord) -> None:
    ax.set_xscale("log")
    shown: list[float] = []
    for row in reversed(record.rows):  # the largest share is always labelled
        if not shown or np.log10(shown[-1] / row.fraction) > _APART:
            shown.append(row.fraction)
    labels = [f"{100 * row.fraction:g} %\n{row.n:,}" if row.fraction in shown else "" for row in record.rows]
    ax.set_xticks([row.fraction for row in record.rows], labels)
    ax.minorticks_off()


def efficiency_figure(path: str | Path, record: EfficiencyRecord) -> None:
    """Write one figure: AUROC, and the paper's overall F1; the suffix chooses the format."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(PANELS), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, metric in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        plot_efficiency(ax, record, metric)
    how = "new head on cached features" if record.mode == "features" else "whole network fine-tuned"
    figure.suptitle(
        f"{record.line}: {how}; tested on {record.n_test:,} windows, {record.n_test_positive:,} open",
        fontsize=FONT + 1,
    )
    with atomic_path(path) as temporary:
        # Without the version of matplotlib in it, equal results give equal files.
        figure.savefig(temporary, dpi=DPI, metadata={"Software": None})
