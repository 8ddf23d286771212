"""Drawing the variants of a null: SNVs at places of the genome, or alleles of a VCF.

Coordinates are 0-based and half-open.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import N_CODE, decode
from chromtransfer_plugin.variants.scorer import Settings
from chromtransfer_plugin.variants.windows import STRANDS, window_starts

TRANSITIONS = 2.1  # for each transversion, as among the common SNVs of human genomes
_CHUNK = 1 << 18  # bases looked at in one go: few enough to stay in the processor's cache
_NEEDED = ["chrom", "start", "old", "new", "slide", "swapped"]


class Contexts:
    """Sequences of one length that stand in for a genome: each is a contig, called by its number.

    Only what :func:`~chromtransfer_plugin.variants.windows.allele_windows` asks of a genome.
    """

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._codes = codes

    def contig_index(self, names: ArrayLike) -> NDArray[np.int64]:
        """Give the row of each sequence."""
        return np.asarray(names, dtype=np.int64)

    def extract(
        self,
        index: NDArray[np.int64],
        starts: NDArray[np.int64],
        length: int,
        *,
        pad: bool = False,  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        """Give the codes of windows, all of which lie inside their sequence."""
        return self._codes[index[:, None], starts[:, None] + np.arange(length)]


def draw_snvs(
    genome: Genome, size: int, settings: Settings, seed: int, regions: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Draw SNVs at different places of the genome, each place as likely as any other.

    Parameters
    ----------
    genome : Genome
    size : int
    settings : Settings
        A place is possible if all its windows, of either strand even where one alone is scored, lie on its contig and have
        no unknown base.
    seed : int
    regions : DataFrame, optional
        Columns chrom, start, end; only bases in them are possible. Overlaps count once.

    Returns
    -------
    DataFrame
        What :meth:`~chromtransfer_plugin.variants.scorer.Scorer.score` needs, in the order of the genome. The base of
        the genome becomes the one of a transition with a chance of 2.1 / 3.1, and either other one with 0.5 / 3.1.

    Raises
    ------
    ChromTransferError
        If there are fewer possible places.
    """
    rng = np.random.default_rng(seed)
    before, after = reach(settings)
    index, start, end = _possible(genome, before, after, regions)
    ends = np.cumsum(end - start)
    n = int(ends[-1]) if len(ends) else 0
    if n < size:
        where = "the regions have" if regions is not None else "the genome has"
        raise ChromTransferError(
            f"{genome.path}: {where} only {n:,} places for a null of {size:,} variants: a place needs "
            f"{before} known bases before and {after - 1} behind it. Ask for a smaller null"
            + (", or give larger regions." if regions is not None else ".")
        )
    places = np.sort(rng.choice(n, size, replace=False))
    number = np.searchsorted(ends, places, side="right")
    position = np.asarray(end[number] - (ends[number] - places), dtype=np.int64)
    old = genome.extract(index[number], position, 1)[:, 0]
    names = np.array(list(genome.contigs), dtype=object)
    return _snv_table(names[index[number]], position, old, _other_base(rng, old))


def _snv_table(
    chrom: NDArray[Any], start: NDArray[np.int64], old: NDArray[np.uint8], new: NDArray[np.uint8]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chrom": chrom,
            "start": start,
            "old": list(decode(old)),
            "new": list(decode(new)),
            "slide": 0,
            "swapped": False,
        }
    )


def _other_base(rng: np.random.Generator, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # A, C, G, T are 0 to 3: exclusive or with 2 gives the transition, with 1 and 3 the transversions.
    chances = np.array([0.5, TRANSITIONS, 0.5]) / (TRANSITIONS + 1)
    return codes ^ rng.choice(np.array([1, 2, 3], dtype=np.uint8), len(codes), p=chances)


def reach(settings: Settings) -> tuple[int, int]:
    """Give the bases before an SNV, and those from it on, that its windows take, on either strand and with every shift."""
    snv = _snv_table(np.array(["-"]), np.zeros(1, np.int64), np.zeros(1, np.uint8), np.ones(1, np.uint8))
    begins = [
        int(window_starts(snv, "ref", settings.width, strand, shift)[0])
        for strand in STRANDS
        for shift in settings.shifts
    ]
    return max(0, -min(begins)), max(1, max(begins) + settings.width)


def _possible(
    genome: Genome, before: int, after: int, regions: pd.DataFrame | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Give the intervals of possible places as number of the contig, start and end; none overlap."""
    numbers = {name: number for number, name in enumerate(genome.contigs)}
    found = [
        (numbers[chrom], start, end)
        for chrom, first, last in _stretches(genome, regions)
        for start, end in _runs(genome, chrom, first, last, before, after)
    ]
    index, start, end = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return index, start, end


def _stretches(genome: Genome, regions: pd.DataFrame | None) -> Iterator[tuple[str, int, int]]:
    """Yield what is to be looked at in pieces that follow each other: all contigs, or the union of the regions."""
    whole = ((chrom, 0, length) for chrom, length in genome.contigs.items())
    for chrom, start, end in whole if regions is None else _union(genome, regions):
        for first in range(start, end, _CHUNK):
            yield chrom, first, min(first + _CHUNK, end)


def _union(genome: Genome, regions: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    groups = dict(list(regions.groupby("chrom")))
    for chrom in filter(groups.__contains__, genome.contigs):
        own = groups[chrom].sort_values("start")
        start = own["start"].to_numpy(dtype=np.int64)
        end = np.maximum.accumulate(own["end"].to_numpy(dtype=np.int64))
        opens = np.ones(len(own), dtype=bool)
        opens[1:] = start[1:] > end[:-1]
        closes = np.roll(opens, -1)
        yield from ((chrom, int(a), int(b)) for a, b in zip(start[opens], end[closes], strict=True))


def _runs(
    genome: Genome, chrom: str, first: int, last: int, before: int, after: int
) -> Iterator[tuple[int, int]]:
    """Yield the intervals of places in ``[first, last)`` that have their bases before and behind them."""
    begin, end = max(0, first - before), min(genome.contigs[chrom], last + after - 1)
    known = np.zeros(end - begin + 2, dtype=np.int8)
    known[1:-1] = genome.codes(chrom, begin, end) != N_CODE
    changes = np.flatnonzero(np.diff(known)) + begin
    for start, stop in zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True):
        start, stop = max(start + before, first), min(stop - after + 1, last)
        if start < stop:
            yield start, stop


def shuffled_contexts(
    genome: Genome, table: pd.DataFrame, settings: Settings, seed: int
) -> tuple[Contexts, pd.DataFrame]:
    """Shuffle what is on either side of SNVs.

    Each side keeps its dinucleotides and the base beside the variant, so the whole keeps all of them.

    Returns
    -------
    Contexts
        Long enough for all windows.
    DataFrame
        The SNVs on these.
    """
    import torch

    from chromtransfer_plugin.attribution.references import shuffles

    before, after = reach(settings)
    start = table["start"].to_numpy(dtype=np.int64)
    codes = genome.extract(table["chrom"].to_numpy(), start - before, before + after)
    for side in (slice(None, before), slice(before + 1, None)):
        codes[:, side] = shuffles(torch.from_numpy(codes[:, side].copy()), 1, seed)[:, 0].numpy()
    return Contexts(codes), table.assign(chrom=np.arange(len(table)), start=before)


def draw_alleles(path: Path, genome: Genome, size: int, settings: Settings, seed: int) -> pd.DataFrame:
    """Draw alleles of a VCF, each as likely as any other; all of them if there are no more than ``size``.

    Those that cannot be scored, change nothing, or have unknown bases in a window or a window off the contig are passed
    over.

    Raises
    ------
    ChromTransferError
        If the file is unusable, or none is left.
    """
    from chromtransfer_plugin.variants.records import VariantSource
    from chromtransfer_plugin.variants.statuses import Flag

    rng = np.random.default_rng(seed)
    source = VariantSource(path, genome, settings.width, settings.shifts, edges="skip")
    drawn = pd.DataFrame({"key": []})
    for block in source.blocks():
        flags = block.table["flags"].to_numpy() & int(Flag.UNKNOWN | Flag.SAME)
        usable = block.table[(block.table["status"] == 0) & (flags == 0)]
        # The smallest of random keys are an even draw, whatever the number of alleles will be.
        more = usable[_NEEDED].assign(key=rng.random(len(usable)))
        drawn = pd.concat([drawn, more]) if len(drawn) else more
        drawn = drawn.nsmallest(size, "key")
    if not len(drawn):
        raise ChromTransferError(
            f"{path}: has no variant that a null could use: all lie off the genome {genome.path}, near unknown bases, or "
            "have other alleles than it. Is it a VCF of the same assembly?"
        )
    return drawn[_NEEDED].reset_index(drop=True)
