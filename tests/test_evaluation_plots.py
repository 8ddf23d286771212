"""Curves of an evaluation: precision-recall, reliability."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots import plot_precision_recall, plot_reliability
from chromtransfer_plugin.plots.roc import thinned


def test_precision_recall_goes_through_the_hand_computed_points() -> None:
    ax = Figure().add_subplot()
    plot_precision_recall(ax, {"m": ([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9])})
    guessing, curve = ax.lines
    assert guessing.get_ydata() == [0.5, 0.5]
    points = set(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    assert {(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, 2 / 3), (1.0, 0.5)} == points
    assert curve.get_label() == "m: 0.833"
    with pytest.raises(ChromTransferError, match="both classes"):
        plot_precision_recall(ax, {"m": ([1, 1], [0.1, 0.4])})


def test_reliability_leaves_out_bins_that_say_nothing() -> None:
    ax = Figure().add_subplot()
    plot_reliability(ax, {"as it is": ([0.1, None, 0.9], [0.2, None, 0.8], [10, 0, 9])})
    assert ax.lines[1].get_xydata().tolist() == [[0.1, 0.2]]
    assert [round(bar.get_height() / ax.patches[0].get_height(), 6) for bar in ax.patches] == [1, 0, 0.9]
    plot_reliability(ax, {"as it is": ([None], [None], [0])})


def test_thinned_curves_keep_their_shape() -> None:
    x = np.linspace(0, 1, 50000)
    y = np.sqrt(x)
    few_x, few_y = thinned(x, y)
    assert len(few_x) <= 400
    assert (few_x[0], few_x[-1]) == (0, 1)
    assert np.abs(np.interp(x, few_x, few_y) - y).max() < 0.003
    assert thinned(x[:9], y[:9])[0] is not None
