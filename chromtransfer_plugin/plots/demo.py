"""The figure of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.plots.logo import LogoPanel, plot_logo
from chromtransfer_plugin.plots.roc import Curves, plot_roc
from chromtransfer_plugin.plots.style import DPI, FONT


def demo_figure(
    path: str | Path, roc_curves: Mapping[str, Curves], logo_panels: Sequence[LogoPanel], dpi: int = DPI
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
        ax.set_title(panel.title, fontsize=FONT + 1, loc="left")
        ax.set_ylabel("Gradient × input", fontsize=FONT)
    ax.set_xlabel("Position (bp, 0-based)", fontsize=FONT)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
