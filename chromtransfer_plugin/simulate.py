"""A small simulated genome with labelled regions, so that the demonstration needs no download.

The simulation keeps the structure of the ChromTransfer data (paper, Methods) at toy size. Windows of 600 bp
lie on six contigs of a genome with varying GC content, depleted CpG, soft-masked repeats and runs of N. Open
windows carry sites of a few motifs shared by all open chromatin; the positives of a cell line carry that
line's own motifs as well. Some closed windows carry sites as decoys, so a single motif does not give the
label away. Motifs are JASPAR 2022 matrices (CC BY 4.0) read from the installed ``pyjaspar``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.simulate_background import Codes, background, lay_out

# JASPAR names, with the odds that a site is of that motif. All open windows share the same three motifs, but
# constitutive ones are rather promoter-like, and ones that are open in few tissues rather enhancer-like.
CONSTITUTIVE_MOTIFS: Mapping[str, float] = {
    "CTCF": 0.4,
    "SP1": 0.4,
    "FOS::JUN": 0.2,
}
ENHANCER_MOTIFS: Mapping[str, float] = {"FOS::JUN": 0.6, "CTCF": 0.2, "SP1": 0.2}
LINE_MOTIFS: Mapping[str, Mapping[str, float]] = {
    "HEPG2": {"HNF4A": 0.5, "CEBPA": 0.5},
    "K562": {"GATA1": 0.6, "TAL1::TCF3": 0.4},
}

_CENTRAL = 300  # bp around the window centre that receive sites
# Fewest and most sites: shared ones in constitutively open windows, shared ones in windows open through a
# line's motifs, and sites of those motifs.
_CONSTITUTIVE, _BESIDE_LINE, _OF_LINE = (6, 9), (2, 3), (4, 6)
_FASTA_LINE = 60
_BASES = np.frombuffer(b"ACGTN", dtype=np.uint8)


@dataclass(frozen=True)
class SimulatedData:
    """Where the simulated files lie, and what was planted.

    Attributes
    ----------
    folder : Path
        The folder holding every file below.
    genome : Path
        FASTA, soft-masked, with runs of N.
    pretrain : Path
        Paper CSV (``chrom:start-end,label``), labels ``open`` and ``closed``.
    lines : mapping of str to Path
        Paper CSV of each cell line, labels ``<LINE>``, ``<LINE>_NEG`` and ``Negative``.
    planted_motifs : Path
        TSV of ``sites``.
    sites : DataFrame
        Columns chrom, start, end (0-based half-open), strand, motif (JASPAR name) and group: ``shared``, a
        cell line, or ``decoy`` (any site in a closed window). In genome order, never overlapping.
    """

    folder: Path
    genome: Path
    pretrain: Path
    lines: Mapping[str, Path]
    planted_motifs: Path
    sites: pd.DataFrame = field(repr=False, compare=False)

    def __str__(self) -> str:
        files = [self.genome, self.pretrain, *self.lines.values(), self.planted_motifs]
        names = ", ".join(path.name for path in files)
        return f"SIMULATED data in {self.folder}: {names}; {len(self.sites)} planted motif sites"


@cache
def jaspar_matrix(name: str) -> NDArray[np.float64]:
    """Base probabilities of a JASPAR 2022 CORE vertebrate motif, read offline.

    Parameters
    ----------
    name : str
        JASPAR name, e.g. ``"HNF4A"``. Of several matrices with that name the one with the lowest identifier
        is taken, i.e. the longest-standing profile (HNF4A: MA0114, CTCF: MA0139).

    Returns
    -------
    ndarray, shape (4, width), float64, read-only
        Columns sum to 1; rows are A, C, G, T.

    Raises
    ------
    ChromTransferError
        If JASPAR has no such motif.
    """
    from pyjaspar import jaspardb  # brings Biopython along: kept out of the import

    found = jaspardb(release="JASPAR2022").fetch_motifs(
        collection="CORE", tax_group=["vertebrates"], tf_name=[name]
    )
    if not found:
        raise ChromTransferError(f"JASPAR 2022 CORE vertebrates has no motif named '{name}'.")
    counts = min(found, key=lambda motif: motif.matrix_id).counts
    matrix = np.array([counts[base] for base in "ACGT"], dtype=np.float64)
    matrix /= matrix.sum(axis=0)
    matrix.flags.writeable = False
    return matrix


def simulate(
    out_dir: str | Path,
    seed: int = 1,
    n_open: int = 3_000,
    n_closed: int = 3_000,
    n_line_positives: int = 200,
    n_line_other_open: int = 140,
    n_line_closed: int = 140,
    decoy_rate: float = 0.2,
    line_motif_rate: float = 0.6,
    gc_preference: float = 0.3,
    site_draws: int = 8,
    noise_rate: float = 0.02,
) -> SimulatedData:
    """Write a simulated genome, its labelled windows and the planted motif sites.

    As in the paper, windows that are positives of a line are left out of the pre-training set, the ``_NEG``
    windows of a line are open windows of the pre-training set or positives of other lines, and ``Negative``
    windows are the same in every line. The same arguments give byte-identical files.

    Parameters
    ----------
    out_dir : str or Path
        Folder for the files; made if missing. Files of an earlier run are replaced.
    seed : int
        Seed of everything random.
    n_open, n_closed : int
        Windows of the pre-training set.
    n_line_positives, n_line_other_open, n_line_closed : int
        Windows of each line labelled ``<LINE>``, ``<LINE>_NEG`` and ``Negative``.
    decoy_rate : float
        A closed window carries up to two sites of shared motifs, each with this probability.
    line_motif_rate : float
        Share of open pre-training windows that are open through a line's motifs, as windows open in related
        tissues are. They are never a ``_NEG`` of that line.
    noise_rate : float
        Share of windows whose sequence misleads: open ones without a site, closed ones with the sites of an
        open one, positives of a line without its motifs. It keeps the best possible AUROC below 1.
    gc_preference : float
        How strongly open windows prefer GC-rich background: log odds per standard deviation of GC.
    site_draws : int
        Each site is the best of this many draws from its matrix: bound sites are better than chance ones.

    Returns
    -------
    SimulatedData

    Raises
    ------
    ChromTransferError
        If a count or rate is out of range.
    """
    counts = {
        "n_open": n_open,
        "n_closed": n_closed,
        "n_line_positives": n_line_positives,
        "n_line_other_open": n_line_other_open,
        "n_line_closed": n_line_closed,
    }
    rates = _Rates(decoy_rate, line_motif_rate, noise_rate)
    _check({**counts, "site_draws": site_draws}, rates)
    folder = Path(out_dir)
    _refuse_foreign(folder)
    rng = np.random.default_rng(seed)
    n_windows = n_open + n_closed + n_line_positives * len(LINE_MOTIFS)
    windows, gaps = lay_out(n_windows, rng)
    genome, masked = background(windows, gaps, rng)
    windows["role"] = _roles(windows, genome, counts, gc_preference, rng)
    sites = _place_sites(windows, rates, rng)
    _write_sites(genome, sites, site_draws, rng)
    closed = _pick(windows.index[windows["role"] == "closed"], n_line_closed, rng)
    labels = {
        line: _line_labels(line, windows, sites, closed, n_line_other_open, rng) for line in LINE_MOTIFS
    }

    make_folder(folder)
    data = SimulatedData(
        folder=folder,
        genome=folder / "genome.fa",
        pretrain=folder / "pretrain.csv",
        lines={line: folder / f"{line}.csv" for line in LINE_MOTIFS},
        planted_motifs=folder / "planted_motifs.tsv",
        sites=sites.drop(columns="window"),
    )
    _write_fasta(data.genome, genome, masked)
    roles = windows["role"]
    _write_regions(data.pretrain, windows, roles[roles.isin(["open", "closed"])])
    for line, path in data.lines.items():
        _write_regions(path, windows, labels[line])
    with atomic_path(data.planted_motifs) as temporary:
        data.sites.to_csv(temporary, sep="\t", index=False, lineterminator="\n")
    return data


def planted_mask(
    sites: pd.DataFrame, regions: pd.DataFrame, groups: Collection[str] | None = None
) -> NDArray[np.bool_]:
    """Mark the bases of every window that belong to a planted site.

    Parameters
    ----------
    sites : DataFrame
        As :attr:`SimulatedData.sites`.
    regions : DataFrame
        Columns chrom, start, end (0-based half-open), all of one width L.
    groups : collection of str, optional
        Count only sites of these groups, e.g. ``["HEPG2"]``.

    Returns
    -------
    ndarray, shape (N, L), bool
    """
    chosen = sites if groups is None else sites[sites["group"].isin(list(groups))]
    by_contig = {
        str(chrom): rows.sort_values("start")[["start", "end"]].to_numpy()
        for chrom, rows in chosen.groupby("chrom")
    }
    widths = (regions["end"] - regions["start"]).unique()
    if len(widths) > 1:
        raise ChromTransferError(
            f"planted_mask: the windows must have one width, got {sorted(widths.tolist())}."
        )
    mask = np.zeros((len(regions), int(widths[0]) if len(widths) else 0), dtype=bool)
    for row, (chrom, start, end) in enumerate(regions[["chrom", "start", "end"]].itertuples(index=False)):
        spans = by_contig.get(chrom, np.empty((0, 2), dtype=np.int64))
        # Sites never overlap, so their ends are sorted as well as their starts.
        first = np.searchsorted(spans[:, 1], start, side="right")
        last = np.searchsorted(spans[:, 0], end, side="left")
        for site_start, site_end in spans[first:last]:
            mask[row, max(site_start - start, 0) : site_end - start] = True
    return mask


class _Rates(NamedTuple):
    decoy: float
    line_motif: float
    noise: float


def _refuse_foreign(folder: Path) -> None:
    """Do not overwrite somebody's genome or regions; an earlier simulation has the table of planted sites."""
    names = ["genome.fa", "pretrain.csv", *(f"{line}.csv" for line in LINE_MOTIFS)]
    found = [name for name in names if (folder / name).exists()]
    if found and not (folder / "planted_motifs.tsv").exists():
        raise ChromTransferError(
            f"{folder}: holds {', '.join(found)}, not from a simulation; name another folder with --out."
        )


def _check(counts: Mapping[str, int], rates: _Rates) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ChromTransferError(f"simulate: {name} must be at least 1, got {count}.")
    for name, rate in rates._asdict().items():
        if not 0 <= rate <= 1:
            raise ChromTransferError(f"simulate: {name}_rate must lie between 0 and 1, got {rate}.")
    if counts["n_line_closed"] > counts["n_closed"]:
        raise ChromTransferError(
            f"simulate: n_line_closed ({counts['n_line_closed']}) are drawn from the closed windows, of "
            f"which there are only {counts['n_closed']}; raise n_closed."
        )


def _roles(
    windows: pd.DataFrame,
    genome: Mapping[str, Codes],
    counts: Mapping[str, int],
    gc_preference: float,
    rng: np.random.Generator,
) -> NDArray[np.object_]:
    """``open``, ``closed`` or the name of a line for every window; GC-rich ones are more often not closed."""
    gc = np.array(
        [
            np.isin(genome[chrom][start:end], (1, 2)).mean()
            for chrom, start, end in windows[["chrom", "start", "end"]].itertuples(index=False)
        ]
    )
    z = (gc - gc.mean()) / gc.std()
    # Logistic noise turns the top ranks into a draw with log odds proportional to z.
    order = np.argsort(-(gc_preference * z + rng.logistic(size=len(z))), kind="stable")
    n_not_closed = len(windows) - counts["n_closed"]
    names = ["open"] * counts["n_open"]
    for line in LINE_MOTIFS:
        names += [line] * counts["n_line_positives"]
    roles = np.full(len(windows), "closed", dtype=object)
    roles[order[:n_not_closed]] = rng.permutation(np.array(names, dtype=object))
    return roles


def _grammar(role: str, rates: _Rates, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(motif, group) of the sites to plant into one window."""

    def draw(motifs: Mapping[str, float], least_most: tuple[int, int], group: str) -> list[tuple[str, str]]:
        size = int(rng.integers(least_most[0], least_most[1] + 1))
        return [(str(name), group) for name in rng.choice(list(motifs), p=list(motifs.values()), size=size)]

    if rng.random() < rates.noise:
        if role == "open":
            return []
        return draw(CONSTITUTIVE_MOTIFS, _CONSTITUTIVE, "decoy" if role == "closed" else "shared")
    if role == "closed":
        n = int(rng.binomial(2, rates.decoy))
        return draw(CONSTITUTIVE_MOTIFS, (n, n), "decoy")
    if role == "open" and rng.random() < rates.line_motif:
        role = str(rng.choice(list(LINE_MOTIFS)))
    if role == "open":
        return draw(CONSTITUTIVE_MOTIFS, _CONSTITUTIVE, "shared")
    sites = draw(ENHANCER_MOTIFS, _BESIDE_LINE, "shared") + draw(LINE_MOTIFS[role], _OF_LINE, role)
    return [sites[i] for i in rng.permutation(len(sites))]


def _place_sites(windows: pd.DataFrame, rates: _Rates, rng: np.random.Generator) -> pd.DataFrame:
    """Positions, strands and motifs of all sites, without overlaps."""
    rows = []
    for window, chrom, start, role in windows[["chrom", "start", "role"]].itertuples():
        planned = _grammar(role, rates, rng)
        widths = [jaspar_matrix(name).shape[1] for name, _ in planned]
        left = start + (WINDOW - _CENTRAL) // 2
        # Sorted draws from the space left over, shifted by the sites before: uniform and never overlapping.
        offsets = np.sort(rng.integers(0, _CENTRAL - sum(widths) + 1, size=len(planned)))
        for (name, group), width, offset in zip(planned, widths, offsets, strict=True):
            at = int(left + offset)
            rows.append((window, chrom, at, at + width, "+-"[int(rng.integers(2))], name, group))
            left += width
    columns = ["window", "chrom", "start", "end", "strand", "motif", "group"]
    return pd.DataFrame(rows, columns=columns)


def _write_sites(
    genome: Mapping[str, Codes], sites: pd.DataFrame, site_draws: int, rng: np.random.Generator
) -> None:
    """Draw every site from its matrix and write it into the genome, reverse-complemented on the - strand."""
    for name, group in sites.groupby("motif", sort=True):
        matrix = jaspar_matrix(str(name))
        cumulative, columns = np.cumsum(matrix, axis=0)[:3], np.arange(matrix.shape[1])
        draws = rng.random((len(group), site_draws, 1, len(columns)))
        bases = (draws > cumulative).sum(axis=2).astype(np.uint8)
        likelihood = np.log(matrix[bases, columns]).sum(axis=2)
        best = bases[np.arange(len(group)), likelihood.argmax(axis=1)]
        for site, (chrom, start, end, strand) in zip(
            best, group[["chrom", "start", "end", "strand"]].itertuples(index=False), strict=True
        ):
            genome[chrom][start:end] = site if strand == "+" else 3 - site[::-1]


def _pick(index: pd.Index, n: int, rng: np.random.Generator) -> list[int]:
    return sorted(rng.choice(index.to_numpy(), size=n, replace=False).tolist())


def _line_labels(
    line: str,
    windows: pd.DataFrame,
    sites: pd.DataFrame,
    closed: list[int],
    n_other_open: int,
    rng: np.random.Generator,
) -> pd.Series:
    """Label of every window in the set of one line, indexed by window in genome order."""
    own = set(sites.loc[sites["group"] == line, "window"])
    is_open = ~windows["role"].isin(["closed", line]) & ~windows.index.isin(own)
    candidates = windows.index[is_open]
    if len(candidates) < n_other_open:
        raise ChromTransferError(
            f"simulate: n_line_other_open is {n_other_open}, but only {len(candidates)} open windows carry "
            f"no {line} motif; raise n_open or lower line_motif_rate."
        )
    labels = dict.fromkeys(_pick(candidates, n_other_open, rng), f"{line}_NEG")
    labels |= dict.fromkeys(closed, "Negative")
    labels |= dict.fromkeys(windows.index[windows["role"] == line], line)
    return pd.Series(labels).sort_index()


def _write_regions(path: Path, windows: pd.DataFrame, labels: pd.Series) -> None:
    rows = windows.loc[labels.index, ["chrom", "start", "end"]].itertuples(index=False)
    text = "".join(
        f"{chrom}:{start}-{end},{label}\n" for (chrom, start, end), label in zip(rows, labels, strict=True)
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii", newline="\n")


def _write_fasta(path: Path, genome: Mapping[str, Codes], masked: Mapping[str, NDArray[np.bool_]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        for contig, codes in genome.items():
            letters = _BASES[codes] + 32 * masked[contig]  # 32 is the ASCII distance to lower case
            handle.write(f">{contig}\n".encode("ascii"))
            lines = letters.astype(np.uint8).tobytes()
            for i in range(0, len(lines), _FASTA_LINE):
                handle.write(lines[i : i + _FASTA_LINE] + b"\n")
