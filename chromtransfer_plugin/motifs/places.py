"""Which sites of a table are a motif's, and which of the others overlap them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError


class SitePlaces(NamedTuple):
    """The sites of a table in the order of the genome, ready to be asked what overlaps what.

    Attributes
    ----------
    order : ndarray of int64, shape (N,)
        Row number in the table of each site. "Rows" below are places in this order.
    starts, ends : ndarray of int64, shape (N,)
        0-based, half-open; they run on from contig to contig with gaps between.
    widest : int
        Bases of the widest site.
    motifs : list of str
        In the order in which the table first names them; their numbers are used below.
    by_motif : ndarray of int64, shape (N,)
        Rows sorted by motif and then by place.
    bounds : ndarray of int64, shape (len(motifs) + 1,)
        Where each motif's rows lie in ``by_motif``.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    widest: int
    motifs: list[str]
    by_motif: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, hits: pd.DataFrame) -> SitePlaces:
        """Sort a table with chrom, start, end and motif; a ChromTransferError says what is wrong with it."""
        contig = pd.factorize(hits["chrom"])[0]
        motif, motifs = pd.factorize(hits["motif"])
        if len(hits) == 0 or (contig < 0).any() or (motif < 0).any():
            raise ChromTransferError("hits: the table is empty, or a chrom or motif is missing.")
        starts, ends = (hits[name].to_numpy(np.int64) for name in ("start", "end"))
        if (ends <= starts).any() or (starts < 0).any():
            row = hits.iloc[int(((ends <= starts) | (starts < 0)).argmax())]
            raise ChromTransferError(f"hits: {row['chrom']}:{row['start']}-{row['end']} is no interval.")
        widest = int((ends - starts).max())
        offset = contig.astype(np.int64) * (int(ends.max()) + widest)
        starts, ends = starts + offset, ends + offset
        order = np.argsort(starts, kind="stable")
        motif = motif[order]
        by_motif = np.argsort(motif, kind="stable")
        bounds = np.concatenate([[0], np.cumsum(np.bincount(motif, minlength=len(motifs)))])
        return cls(order, starts[order], ends[order], widest, [str(m) for m in motifs], by_motif, bounds)

    def rows(self, motif: int) -> NDArray[np.int64]:
        """Rows of the sites of a motif, in the order of the genome."""
        return self.by_motif[self.bounds[motif] : self.bounds[motif + 1]]

    def overlapping(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that share a base with a row of ``own``, these included; each once."""
        furthest = np.maximum.accumulate(self.ends[own])
        first = np.flatnonzero(np.concatenate([[True], self.starts[own[1:]] >= furthest[:-1]]))
        left = self.starts[own[first]]  # own sites merged into intervals apart from each other
        right = furthest[np.concatenate([first[1:] - 1, [len(own) - 1]])]
        low = np.searchsorted(self.starts, left - self.widest, "right")
        high = np.searchsorted(self.starts, right, "left")
        # a row near two intervals that overlaps the later one overlaps the earlier one too
        low[1:] = np.maximum(low[1:], high[:-1])
        count = high - low
        rows = np.repeat(low - (np.cumsum(count) - count), count) + np.arange(count.sum())
        return rows[self.ends[rows] > np.repeat(left, count)]
