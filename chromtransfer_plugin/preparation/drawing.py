"""Drawing windows at random, or composed like others; the same for the same windows, whatever the order of files."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.config import Match
from chromtransfer_plugin.preparation.matching import Features, How, MatchFacts, composition, matched_sample

_BLOCK = 1 << 15


def composition_of(table: pd.DataFrame, genome: Genome, how: How) -> Features:
    """Measure the composition of windows of one width; see :func:`.matching.composition`.

    Parameters
    ----------
    table : DataFrame
        ``chrom`` (category), ``start``, ``end``; n rows.
    genome : Genome
    how : {"gc", "dinucleotide"}

    Returns
    -------
    ndarray (n, 1 or 11) float32
    """
    index = genome.contig_index(table["chrom"].cat.categories.to_list())
    contig = index[table["chrom"].cat.codes.to_numpy()]
    start = table["start"].to_numpy(np.int64)
    width = int(table["end"].iloc[0] - start[0]) if len(table) else 1
    blocks = [
        composition(genome.extract(contig[i : i + _BLOCK], start[i : i + _BLOCK], width), how)
        for i in range(0, max(len(table), 1), _BLOCK)
    ]
    return np.concatenate(blocks)


class Drawing:
    """Draws from tables of windows that are sorted by place.

    Parameters
    ----------
    seed : int
    match : {"none", "gc", "dinucleotide"}
    genome : Genome
        Only read with ``match``.

    Attributes
    ----------
    facts : dict of str to MatchFacts
        What each matched draw is like, by its purpose.
    """

    def __init__(self, seed: int, match: Match, genome: Genome) -> None:
        self._seed, self._match, self._genome = seed, match, genome
        self.facts: dict[str, MatchFacts] = {}

    def features(self, table: pd.DataFrame) -> Features | None:
        """Measure the composition of all windows of a table, if it will be matched."""
        return None if self._match == "none" else composition_of(table, self._genome, self._match)

    def draw(
        self,
        purpose: str,
        pool: NDArray[np.int64],
        n: int,
        like: Features | None = None,
        features: Features | None = None,
    ) -> NDArray[np.int64]:
        """Draw without replacement.

        Parameters
        ----------
        purpose : str
            What for; draws for other purposes are independent.
        pool : ndarray of int64
            Rows to draw from, ascending.
        n : int
            At most as many as there are.
        like, features : ndarray, optional
            Composition of the windows to match, and of those of the pool; without, all are equally likely.

        Returns
        -------
        ndarray (n,) of int64
            Rows, ascending.
        """
        if n == 0:
            return pool[:0]
        number = zlib.crc32(purpose.encode())
        if like is None or features is None or self._match == "none":
            return np.sort(np.random.default_rng([self._seed, number]).choice(pool, n, replace=False))
        rows, facts = matched_sample(like, features, n, self._match, self._seed ^ number)
        self.facts[purpose] = facts
        return pool[rows]


def as_records(facts: dict[str, MatchFacts]) -> dict[str, dict[str, Any]]:
    """Give the facts as plain dictionaries."""
    return {purpose: one.model_dump(mode="json") for purpose, one in facts.items()}
