from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots.dataset_qc import (
    dataset_figure,
    plot_balance,
    plot_chromosomes,
    plot_gc,
    plot_widths,
)


def table(n: int, seed: int, chroms: tuple[str, ...] = ("chr1", "chr2", "chr10", "chrX")) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    start = rng.permutation(100_000)[:n] * 600
    chrom = np.array(chroms)[np.arange(n) % len(chroms)]
    positive = np.arange(n) % 4 == 0
    return pd.DataFrame(
        {
            "chrom": chrom, "start": start, "end": start + 600, "positive": positive,
            "gc": np.where(positive, 0.5, 0.4), "split": np.where(chrom == "chr2", "test", "train"),
        }
    )  # fmt: skip


def axes() -> object:
    return Figure().add_subplot()


def texts(ax) -> str:
    return " ".join(text.get_text() for text in ax.texts)


def test_bytes_are_the_same_each_time(tmp_path: Path):
    sets = {"K562": table(400, 1), "pre-training": table(4_000, 2)}
    widths = np.random.default_rng(0).integers(150, 350, 500)
    for name in ("a.png", "b.png"):
        dataset_figure(tmp_path / name, sets, widths)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    dataset_figure(tmp_path / "b.png", {"K562": table(400, 3)}, widths)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_gc_shows_medians_of_both_classes():
    ax = axes()
    plot_gc(ax, {"K562": table(400, 1)})
    medians = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "|"]
    assert medians == pytest.approx([0.5, 0.4])


def test_without_sequence_the_panel_says_so():
    ax = axes()
    plot_gc(ax, {"K562": table(40, 1).drop(columns="gc")})
    assert "no genome was given" in texts(ax)
    assert not ax.lines


def test_balance():
    ax = axes()
    plot_balance(ax, {"K562": table(400, 1), "none": table(40, 1).assign(positive=False)})
    assert [bar.get_width() for bar in ax.patches] == [0.25, 0.75, 0, 1]
    assert texts(ax) == "100 : 300  (1 : 3.0) 0 : 40  (no positives)"


def test_widths():
    ax = axes()
    plot_widths(ax, [150] * 7)
    assert "all 7 regions are 150 bp wide" in texts(ax)
    ax = axes()
    plot_widths(ax, [*range(100, 1_100), 1_000_000])
    assert sum(bar.get_height() for bar in ax.patches) == 1_001
    assert "longest 1,000,000" in texts(ax)
    assert ax.get_xlim()[1] < 2_000
    ax = axes()
    plot_widths(ax, range(150, 351))
    assert texts(ax) == "median 250, longest 350"
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([4] * 50, abs=1)
    ax = axes()
    plot_widths(ax, [])
    assert "no regions were given" in texts(ax)


def test_chromosomes_in_order_and_windows_once():
    ax = axes()
    one = table(400, 1)
    plot_chromosomes(ax, {"K562": one, "MCF7": one.iloc[:100]})
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "10", "X"]
    assert [bar.get_height() for bar in ax.patches] == [100, 0, 100, 100, 0, 100, 0, 0]
    ax = axes()
    plot_chromosomes(ax, {"K562": table(400, 1, tuple(f"chrUn_KI{i}" for i in range(50)))})
    assert ax.get_xticklabels()[-1].get_text() == "20 others"
    assert sum(bar.get_height() for bar in ax.patches) == 400


def test_no_windows(tmp_path: Path):
    with pytest.raises(ChromTransferError, match="no windows to draw"):
        dataset_figure(tmp_path / "a.png", {"K562": table(0, 1)}, [])
    assert not list(tmp_path.iterdir())
