"""``chromtransfer attributions plot``: logos of stored attributions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chromtransfer_plugin.attribution.show import Found, find_windows
from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.attribution.tracks import mean_over
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.plots.logo import LogoPanel, plot_logo
from chromtransfer_plugin.plots.style import DPI, FONT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
MOST_BASES = 2_000  # in one figure
_PER_BASE, _NARROWEST, _HEIGHT = 1 / 15, 8.0, 4.0  # inches; the original's 600 bp are 40 x 4
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def plot_store(
    path: str | Path,
    region: str | None = None,
    *,
    out: str | Path | None = None,
    top: int | None = None,
    out_folder: str | Path | None = None,
    models: Sequence[str] = (),
    sets: Sequence[str] = (),
    report: Callable[[str], object] = lambda _: None,
) -> list[Path]:
    """Draw attribution logos, one panel for each model.

    Parameters
    ----------
    path : path
        Store.
    region : str
        ``chrom:start-end`` (0-based half-open), where each base has the mean of the windows over it, or the name of a
        sequence without a place; written to ``out``, a PNG, PDF or SVG.
    top : int
        Instead of a region: each of the first windows of the store, as PNG files in ``out_folder`` called like the
        windows, with ``_`` for what is no letter, digit, dot, plus or minus.
    models, sets : sequence of str
        Which; none means all.
    report : callable
        Takes the names of the files.

    Returns
    -------
    list of Path

    Raises
    ------
    ChromTransferError
        If the arguments do not go together, there is no such window, model or set, the region is too long for letters,
        or a file cannot be written.
    """
    if (region is None) == (top is None):
        raise ChromTransferError(
            "plot: give either a region with --out FILE, or --top N with --out-folder FOLDER."
        )
    if (region is None) != (out is None) or (top is None) != (out_folder is None):
        raise ChromTransferError(
            "plot: a region is written to --out FILE, and --top N to --out-folder FOLDER."
        )
    with AttributionStore(path) as store:
        wanted = store.chosen_models(models)
        target = Path(out or out_folder or "").expanduser()
        store.require_outside(target)
        if region is not None:
            files = [_plot_region(store, region, target, wanted, sets)]
        else:
            assert top is not None
            files = _plot_top(store, top, target, wanted, sets)
    report("\n".join(map(str, files)))
    return files


def _plot_region(
    store: AttributionStore, region: str, out: Path, models: Sequence[str], sets: Sequence[str]
) -> Path:
    if out.suffix.lower() not in FORMATS:
        raise ChromTransferError(f"{out}: expected a name that ends in {', '.join(FORMATS)}.")
    found = find_windows(store, region, sets)
    _check_length(region, found.end - found.start)
    _check_one_sequence(store, region, found)
    panels = []
    for model in models:
        if store.regions["chrom"].isna()[found.rows[0]]:
            row = found.rows[:1]
            codes, scores = store.codes(row)[0], store.scores(model, row)[0]
        else:
            codes, scores = mean_over(store, found.rows, model, found.start, found.end)
        panels.append(LogoPanel(f"{model}, {region}", codes, scores, found.start))
    _save(draw_logos(panels, store.facts["method"]), out)
    return out


def _check_one_sequence(store: AttributionStore, region: str, found: Found) -> None:
    """Raise if windows give different bases, as records of a FASTA can: their mean would be of no sequence."""
    if store.facts["genome"] is not None or len(found.rows) == 1:
        return
    starts = store.regions["start"].iloc[found.rows].fillna(0).to_numpy(np.int64)
    positions = (starts[:, None] + np.arange(store.window)).ravel()
    inside = (positions >= found.start) & (positions < found.end)
    bases = np.unique(np.stack([positions, store.codes(found.rows).ravel()])[:, inside], axis=1)[0]
    if len(np.unique(bases)) < len(bases):
        raise ChromTransferError(
            f"{region}: {len(found.rows):,} sequences of {store.path} are there, and they differ. Choose one with --set, or "
            "draw each by itself with --top."
        )


def _plot_top(
    store: AttributionStore, top: int, folder: Path, models: Sequence[str], sets: Sequence[str]
) -> list[Path]:
    if isinstance(top, bool) or top < 1:
        raise ChromTransferError(f"--top {top}: expected a number of windows of at least 1.")
    _check_length("--top", store.window)
    rows = store.rows(sets or None)[:top]
    names = store.window_names(rows)
    files = _file_names(folder, names)
    make_folder(folder)
    for row, name, path in zip(rows, names, files, strict=True):
        start = int(store.regions["start"].fillna(0).iloc[row])
        codes = store.codes([row])[0]
        panels = [
            LogoPanel(f"{model}, {name}", codes, store.scores(model, [row])[0], start) for model in models
        ]
        _save(draw_logos(panels, store.facts["method"]), path)
    return files


def _file_names(folder: Path, names: Sequence[str]) -> list[Path]:
    """Names of files that exist once each: later windows of one name get a number."""
    files: dict[str, Path] = {}
    for name in names:
        stem = _UNSAFE.sub("_", name)
        numbers = itertools.count(2)
        unique = stem
        while unique in files:
            unique = f"{stem}.{next(numbers)}"
        files[unique] = folder / f"{unique}.png"
    return list(files.values())


def _check_length(what: str, length: int) -> None:
    if length > MOST_BASES:
        raise ChromTransferError(
            f"{what}: {length:,} bp are too many for letters, at most {MOST_BASES:,} bp."
        )


def draw_logos(panels: Sequence[LogoPanel], method: str) -> Figure:
    """Draw logos below each other.

    Parameters
    ----------
    panels : sequence of LogoPanel
        Of one length.
    method : str
        Stands at the y axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(_NARROWEST, _PER_BASE * len(panels[0].codes))
    figure = Figure(figsize=(width, _HEIGHT * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, panel in enumerate(panels):
        ax = figure.add_subplot(len(panels), 1, number + 1)
        plot_logo(ax, panel.codes, panel.scores, panel.start, panel.highlights)
        ax.set_title(panel.title, fontsize=FONT + 1, loc="left")
        ax.set_ylabel(f"attribution\n({method})", fontsize=FONT)
    ax.set_xlabel("Position (bp, 0-based)", fontsize=FONT)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
