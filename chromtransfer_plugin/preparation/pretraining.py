"""The pre-training set: regions open in no line, against tiles of the genome far from any region."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.calls import BACKGROUND, Called
from chromtransfer_plugin.preparation.config import Pretraining
from chromtransfer_plugin.preparation.contigs import contig_counts, has_sequence
from chromtransfer_plugin.preparation.drawing import Drawing
from chromtransfer_plugin.preparation.ledger import Ledger
from chromtransfer_plugin.regions import read_regions
from chromtransfer_plugin.tiles import away_from, genome_tiles

GROUP = "pre-training"
OPEN, CLOSED = "open", "closed"
COLUMNS = ("chrom", "start", "end", "label", "name")


def pretraining_set(
    wanted: Pretraining,
    called: Called,
    all_regions: pd.DataFrame,
    genome: Genome,
    drawing: Drawing,
    ledger: Ledger,
) -> pd.DataFrame:
    """Make the set.

    Parameters
    ----------
    wanted : Pretraining
    called : Called
    all_regions : DataFrame
        ``chrom, start, end`` of every region, as the file gives it, open ones and ones of unused contigs too.
    genome : Genome
    drawing : Drawing
    ledger : Ledger

    Returns
    -------
    DataFrame
        Windows by place; ``label`` is ``open`` or ``closed``.

    Raises
    ------
    ChromTransferError
        If no region is open in no line, or too few tiles are left.
    """
    regions = called.table
    rows = np.flatnonzero(regions["status"] == BACKGROUND)
    ledger.count(GROUP, "regions open in no line", len(rows))
    if not len(rows):
        raise ChromTransferError(
            f"pretraining: every one of {len(regions):,} regions is open in some line, so there are no positives. Give "
            "regions that go beyond those of the lines (such as ENCODE's rDHSs), or remove `pretraining`."
        )
    if wanted.max_regions is not None:
        rows = drawing.draw("pre-training regions", rows, min(wanted.max_regions, len(rows)))
        ledger.count(GROUP, "regions drawn", len(rows))
    positives = regions.iloc[rows].reset_index(drop=True)
    tiles = _tiles(wanted, regions, all_regions, genome, ledger)
    n = _number_of_tiles(wanted, len(positives), len(tiles))
    like = drawing.features(positives)
    chosen = drawing.draw("pre-training tiles", np.arange(len(tiles)), n, like, drawing.features(tiles))
    ledger.count(GROUP, "positives (open)", len(positives))
    ledger.count(GROUP, "negatives (closed), drawn from the tiles", len(chosen))
    table = pd.concat(
        [positives.assign(label=OPEN), tiles.iloc[chosen].assign(label=CLOSED, name="")], ignore_index=True
    )
    order = np.lexsort((table["end"], table["start"], table["chrom"].cat.codes))
    return table.iloc[order].reset_index(drop=True)[list(COLUMNS)]


def _number_of_tiles(wanted: Pretraining, n_positives: int, n_tiles: int) -> int:
    n = min(n_positives, n_tiles) if wanted.ratio is None else round(wanted.ratio * n_positives)
    if not n_tiles:
        raise ChromTransferError(
            f"pretraining: no tile is left that is {wanted.distance:,} bp from every region and off gaps and blacklist, so "
            "there are no negatives. Lower `distance`, look into these files, or remove `pretraining`."
        )
    if n > n_tiles:
        largest = np.floor(n_tiles / n_positives * 1000) / 1000
        raise ChromTransferError(
            f"pretraining: {n_positives:,} regions need {n:,} tiles and {n_tiles:,} are far enough from any "
            f"region. The largest possible `ratio` is {largest:g}; or lower `distance`, or set `max_regions`."
        )
    return n


def _tiles(
    wanted: Pretraining, regions: pd.DataFrame, all_regions: pd.DataFrame, genome: Genome, ledger: Ledger
) -> pd.DataFrame:
    """Tiles on the contigs that have regions, less gaps, blacklist and the surroundings of all regions."""
    from tqdm import tqdm

    width = int(regions["end"].iloc[0] - regions["start"].iloc[0])
    used = [name for name, count in contig_counts(regions).items() if count]
    ledger.say(f"tiling the genome in windows of {width} bp")
    bases = sum(genome.contigs[name] for name in used)
    with tqdm(total=bases, unit="bp", unit_scale=True, desc="tiles", disable=not ledger.progress) as bar:
        tiles = genome_tiles(genome, width, used, has_sequence(genome), bar)
    if tiles.empty:
        raise ChromTransferError(
            f"pretraining: no contig with regions has a tile of {width} bp without unknown bases."
        )
    ledger.count(GROUP, "tiles without unknown bases" if has_sequence(genome) else "tiles", len(tiles))
    steps: Mapping[str, list[str] | None] = {"gaps": wanted.gaps, "blacklist": wanted.blacklist}
    for what, files in steps.items():
        if files:
            tables = [_masked(written, genome, ledger) for written in files]
            for written in files:
                ledger.read(what, written)
            tiles = tiles[away_from(tiles, tables)]
            ledger.count(GROUP, f"tiles off the {what}", len(tiles))
    tiles = tiles[away_from(tiles, [all_regions], wanted.distance)]
    ledger.count(GROUP, f"tiles at least {wanted.distance} bp from every region", len(tiles))
    categories = regions["chrom"].cat.categories
    return tiles.assign(chrom=pd.Categorical(tiles["chrom"], categories=categories)).reset_index(drop=True)


def _masked(written: str, genome: Genome, ledger: Ledger) -> pd.DataFrame:
    """Read intervals that no tile may overlap; they may reach off the contigs."""
    path = ledger.path(written)
    regions = read_regions(path, width=None)
    table = regions.table
    ledger.drop(written, regions.report.dropped)
    found = table["chrom"].unique()
    if not any(name in genome.contigs for name in found):
        raise ChromTransferError(
            f"{path}: none of its contigs is in the genome {genome.path}. {genome.naming_hint(str(found[0]))}"
        )
    return table
