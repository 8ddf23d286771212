"""One page that sums up a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.plots.comparison_parts import Sites, distributions, mean_scores, new_figure
from chromtransfer_plugin.plots.distributions import plot_ecdf
from chromtransfer_plugin.plots.enrichment import plot_distances, plot_ranks
from chromtransfer_plugin.plots.names import score_name, short_names, site_score_name, upper_first
from chromtransfer_plugin.plots.profile import plot_mean_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 14.0, 15.0  # inches
_ECDFS = 3


def overview_figure(comparison: Comparison) -> Figure:
    """Draw profile, distances, ranks, and the cumulative distributions of three motifs at the ends of D of A - B.

    Raises
    ------
    ChromTransferError
        If the comparison is of one model.
    """
    a, b, table = comparison.a, comparison.b, comparison.table
    if b is None:
        raise ChromTransferError(f"overview: needs two models, the comparison has {a} alone.")
    figure = new_figure(_WIDTH, _HEIGHT)
    facts = comparison.store.facts

    def panel(left: float, bottom: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / _WIDTH, bottom / _HEIGHT, width / _WIDTH, height / _HEIGHT))

    profile, distances = panel(0.9, 12.1, 6.3, 2.4), panel(0.9, 5.3, 5.7, 5.7)
    title = f"a  Mean of {len(comparison.rows):,} windows"
    plot_mean_profile(profile, mean_scores(comparison), score_name(facts), title)
    title = f"b  {len(table):,} motifs, {int(table['sig'].sum()):,} of them significant"
    plot_distances(distances, table, a, b, comparison.focus["motif"].astype(str), title)
    for letter, name, bottom in (("c", a, 10.35), ("d", b, 5.3)):
        plot_ranks(panel(8.6, bottom, 5.1, 4.15), table, name, title=f"{letter}  {name}")
    motifs = extremes(table)
    if motifs:
        sites, names = Sites(comparison.hits), short_names(motifs)
        score = upper_first(site_score_name(facts, comparison.how))
    for i, motif in enumerate(motifs):
        ax = panel(0.9 + 4.55 * i, 1.95, 3.75, 2.1)
        values, statistics = distributions(comparison, motif, sites, [a, b])
        plot_ecdf(ax, values, names[motif], statistics, score, f"{'efg'[i]}  {names[motif]}")
    return figure


def extremes(table: pd.DataFrame) -> list[str]:
    """Return the significant motifs of the largest and the smallest D of the difference, then the next one of a larger size.

    Motifs of one family have nearly the same sites; the three largest sizes of D would often be one family's.
    """
    ranked = table[table["sig"].astype(bool)].dropna(subset=["diff.D"]).sort_values("diff.D", kind="stable")
    order = ranked["motif"].astype(str).tolist()
    if len(order) <= _ECDFS:
        return order[::-1]
    distances = ranked["diff.D"].tolist()
    third = order[-2] if abs(distances[-2]) >= abs(distances[1]) else order[1]
    return [order[-1], order[0], third]
