"""What the figures of a comparison draw, and how they become files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.motifs.places import SitePlaces
from chromtransfer_plugin.plots.style import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Format = Literal["pdf", "png", "svg"]
_BLOCK = 2048  # windows in memory at a time


class Sites:
    """Which rows of a table of hits are a motif's, and which are its background.

    Parameters
    ----------
    hits : DataFrame
        chrom, start, end (0-based, half-open) and motif.
    """

    def __init__(self, hits: pd.DataFrame) -> None:
        self._places = SitePlaces.of(hits)
        self._numbers = {motif: number for number, motif in enumerate(self._places.motifs)}

    def split(self, motif: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row numbers of its sites and of the sites that overlap none of them; without sites: none and all."""
        n = len(self._places.order)
        if motif not in self._numbers:
            return np.zeros(0, np.int64), np.arange(n)
        own = self._places.rows(self._numbers[motif])
        outside = np.ones(n, dtype=bool)
        outside[self._places.order[self._places.overlapping(own)]] = False
        return np.sort(self._places.order[own]), np.flatnonzero(outside)


def mean_scores(comparison: Comparison) -> dict[str, NDArray[np.float64]]:
    """Mean attribution of each position, (L,), by each model; read in blocks."""
    store, rows = comparison.store, comparison.rows
    models = [comparison.a] if comparison.b is None else [comparison.a, comparison.b]
    means = {}
    for model in models:
        total = np.zeros(store.window)
        for first in range(0, len(rows), _BLOCK):
            total += store.scores(model, rows[first : first + _BLOCK]).sum(axis=0, dtype=np.float64)
        means[model] = total / max(len(rows), 1)
    return means


def distributions(
    comparison: Comparison, motif: str, sites: Sites, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, tuple[float, float]]]:
    """Collect what :func:`~chromtransfer_plugin.plots.distributions.plot_ecdf` draws of one motif.

    Parameters
    ----------
    comparison : Comparison
    motif : str
    sites : Sites
        Of the comparison's hits.
    names : sequence of str
        Models or ``diff``, which is called Difference.

    Returns
    -------
    tuple of dict
        Name -> (inside, outside), the scores; and name -> (D, FDR) for a motif that the table has.
    """
    inside, outside = sites.split(motif)
    rows = comparison.table[comparison.table["motif"] == motif]
    values, statistics = {}, {}
    for name in names:
        called = "Difference" if name == "diff" else name
        scores = comparison.hits[comparison.column(name)].to_numpy(np.float64)
        values[called] = (scores[inside], scores[outside])
        if len(rows):
            statistics[called] = (float(rows[f"{name}.D"].iloc[0]), float(rows[f"{name}.fdr"].iloc[0]))
    return values, statistics


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of so many inches that pyplot does not know of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, format: Format) -> None:
    """Write a figure; the same figure gives the same file."""
    import matplotlib as mpl

    metadata: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[format]
    # TrueType fonts, which drawing programs can edit
    with (
        mpl.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "chromtransfer"}),
        atomic_path(path) as temporary,
    ):
        figure.savefig(temporary, format=format, dpi=DPI, metadata=metadata)
