"""Figures, drawn on given axes and without pyplot state."""

from __future__ import annotations

from chromtransfer_plugin.plots.demo import demo_figure
from chromtransfer_plugin.plots.logo import LogoPanel, plot_logo
from chromtransfer_plugin.plots.roc import plot_roc

__all__ = ["LogoPanel", "demo_figure", "plot_logo", "plot_roc"]
