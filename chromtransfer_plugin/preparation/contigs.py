"""Contigs that regions may lie on: of a FASTA, or of a ``chrom.sizes`` where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.config import AUTOSOMES

_AUTOSOME = re.compile(r"(chr)?[0-9]+")


class Contigs(Genome):
    """A genome of which only the names and lengths of the contigs are known.

    Parameters
    ----------
    path : path
        Two columns, name and length (``chrom.sizes``); further columns (``.fai``) do not matter.

    Raises
    ------
    ChromTransferError
        If it cannot be read as such.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.contigs = _read_sizes(self.path)
        self._names = list(self.contigs)
        self._number = {name: number for number, name in enumerate(self._names)}

    def only_n(self, chroms: Any, starts: Any, ends: Any) -> NDArray[np.bool_]:
        """Nothing is known of the bases, so no window counts as unknown."""
        del chroms, ends
        return np.zeros(len(starts), dtype=bool)


def _read_sizes(path: Path) -> dict[str, int]:
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChromTransferError(f"{path}: cannot be read ({getattr(error, 'strerror', error)}).") from error
    sizes: dict[str, int] = {}
    for line, row in enumerate(rows, start=1):
        cells = row.split()
        if not cells:
            continue
        if len(cells) < 2 or not cells[1].isdigit() or int(cells[1]) == 0:
            raise ChromTransferError(
                f"{path}, line {line}: expected the name and the length of a contig, got {row[:60]!r}."
            )
        if cells[0] in sizes:
            raise ChromTransferError(f"{path}, line {line}: the contig {cells[0]} is given twice.")
        sizes[cells[0]] = int(cells[1])
    if not sizes:
        raise ChromTransferError(f"{path}: is empty, expected names and lengths of contigs.")
    return sizes


def has_sequence(genome: Genome) -> bool:
    """Tell whether the bases are known."""
    return not isinstance(genome, Contigs)


def chosen_contigs(genome: Genome, wanted: Iterable[str] | None) -> dict[str, int]:
    """Contigs to use, in the order of the genome.

    Parameters
    ----------
    genome : Genome
    wanted : iterable of str or None
        ``autosomes`` stands for ``chr1`` or ``1``, and so on; None: all.

    Raises
    ------
    ChromTransferError
        If one is not there, or there are no autosomes.
    """
    if wanted is None:
        return dict(genome.contigs)
    names = set(wanted)
    if AUTOSOMES in names:
        found = {name for name in genome.contigs if _AUTOSOME.fullmatch(name)}
        if not found:
            raise ChromTransferError(
                f"chromosomes: {genome.path} has no contig called chr1 or 1 and so on, "
                "so `autosomes` means nothing here. List the chromosomes."
            )
        names = (names - {AUTOSOMES}) | found
    genome.contig_index(sorted(names))
    return {name: size for name, size in genome.contigs.items() if name in names}


def contig_counts(table: pd.DataFrame) -> dict[str, int]:
    """Count the rows of a table on each contig of its categories, in their order."""
    counts = np.bincount(table["chrom"].cat.codes, minlength=len(table["chrom"].cat.categories))
    return dict(zip(map(str, table["chrom"].cat.categories), counts.tolist(), strict=True))


def lacking_reason(name: str, contigs: Mapping[str, int]) -> str:
    """Say how a file that lacks a contig seems to call it, or that it does not have it."""
    other = name[3:] if name.startswith("chr") else f"chr{name}"
    if other in contigs:
        return f"it calls it {other}: rename the contigs of one of the two"
    names = ", ".join(list(contigs)[:5]) + (", ..." if len(contigs) > 5 else "")
    return f"its contigs are {names or 'none'}"
