"""Figures, drawn on given axes and without pyplot state."""

from __future__ import annotations

from chromtransfer_plugin.plots.comparison_figures import write_figures
from chromtransfer_plugin.plots.demo import demo_figure
from chromtransfer_plugin.plots.distributions import plot_density, plot_ecdf
from chromtransfer_plugin.plots.enrichment import plot_distances, plot_ranks
from chromtransfer_plugin.plots.logo import LogoPanel, plot_logo, plot_motif
from chromtransfer_plugin.plots.names import file_names, score_name, short_names
from chromtransfer_plugin.plots.precision_recall import plot_precision_recall
from chromtransfer_plugin.plots.profile import plot_mean_profile
from chromtransfer_plugin.plots.reliability import plot_reliability
from chromtransfer_plugin.plots.roc import plot_roc
from chromtransfer_plugin.plots.tracks import plot_sequence, plot_sites, plot_track, plot_tracks, plot_zoom

__all__ = [
    "LogoPanel",
    "demo_figure",
    "file_names",
    "plot_density",
    "plot_distances",
    "plot_ecdf",
    "plot_logo",
    "plot_mean_profile",
    "plot_motif",
    "plot_precision_recall",
    "plot_ranks",
    "plot_reliability",
    "plot_roc",
    "plot_sequence",
    "plot_sites",
    "plot_track",
    "plot_tracks",
    "plot_zoom",
    "score_name",
    "short_names",
    "write_figures",
]
