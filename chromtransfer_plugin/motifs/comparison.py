"""What one analysis of motifs is about, as figures and reports take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.motifs.hits import How
from chromtransfer_plugin.motifs.matrices import Matrices


@dataclass(frozen=True)
class Comparison:
    """One model, or two models A and B, over the same windows, with the sites of motifs in them.

    Attributes
    ----------
    store : AttributionStore
    a : str
        Model A, a name in ``store.models``.
    b : str or None
    rows : ndarray of int64, shape (N,)
        Rows of the store. Number i among them is region i of ``hits``.
    regions : DataFrame
        chrom, start and end (0-based, half-open) of these windows, N rows, index 0 to N - 1.
    hits : DataFrame
        Sites (:data:`~chromtransfer_plugin.motifs.hits.HIT_COLUMNS`) with score.A.max (or .min) and score.A.mean, the
        same of B, and with B also score.diff.max (or .min), that of A minus that of B.
    table : DataFrame
        :func:`chromtransfer_plugin.motifs.enrichment.enrichment` of A, B and diff, or of A.
    focus : DataFrame
        motif and reason: those to label and to draw.
    motifs : dict of str to ndarray (length, 4)
        Matrices of the motifs; empty if the sites come from a track.
    how : {"max", "min"}
        Which extreme of a site's bases is its score: min for in-silico mutagenesis.
    record : dict
        What was done and what was left out, for the run record: see :func:`chromtransfer_plugin.motifs.analysis.compare`.
    """

    store: AttributionStore
    a: str
    b: str | None
    rows: NDArray[np.int64]
    regions: pd.DataFrame
    hits: pd.DataFrame
    table: pd.DataFrame
    focus: pd.DataFrame
    motifs: Matrices
    how: How
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The models, and ``diff`` if there are two."""
        return [self.a] if self.b is None else [self.a, self.b, "diff"]

    def column(self, name: str) -> str:
        """Return the column of ``hits`` with the scores of a model or of ``diff``."""
        return f"score.{name}.{self.how}"
