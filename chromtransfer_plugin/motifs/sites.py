"""The sites of motifs in the windows of an attribution store, and their scores, within bounded memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, require_parent
from chromtransfer_plugin.motifs.hits import HIT_COLUMNS, P_THRESHOLD, How, scan_hits, score_hits, unreachable
from chromtransfer_plugin.motifs.matrices import Matrices, read_motifs
from chromtransfer_plugin.motifs.track import read_jaspar_bigbed

MOTIFS = "JASPAR2022"  # paper
MotifSource = str | Path | Mapping[str, NDArray[Any]]
Report = Callable[[str], object]
_FACTS = "sites"  # key of DataFrame.attrs, which Parquet keeps
_FACT_NAMES = ("windows", "windows_sha256", "source", "motifs_sha256", "motifs", "unreachable", "threshold")
_BLOCK = 4096  # windows whose scores are in memory at a time


def silent(_: str) -> None:
    """Take a message and drop it."""


def matrices_of(motifs: MotifSource) -> Matrices:
    """Read motifs if they are not matrices yet."""
    return dict(motifs) if isinstance(motifs, Mapping) else read_motifs(motifs)


def find_sites(
    store: AttributionStore,
    rows: NDArray[np.int64],
    motifs: MotifSource = MOTIFS,
    track: str | Path | None = None,
    track_field: str = "name",
    threshold: float = P_THRESHOLD,
    progress: bool = False,
    report: Report = silent,
    source: str | None = None,
) -> pd.DataFrame:
    """Find the sites of motifs in windows of a store, by a scan or in a genome-wide JASPAR track.

    Parameters
    ----------
    store : AttributionStore
    rows : ndarray of int64
        Windows; all must have a place in a genome.
    motifs : str, path or mapping of str to ndarray (length, 4)
        JASPAR release, MEME file or probabilities to scan with. Not used with a track.
    track : str or path
        bigBed of the sites, instead of a scan.
    track_field : str
        Its field that names the motif.
    threshold : float
        Largest P of a site.
    progress : bool
        Show bars.
    report : callable
        Takes a line of text on what is left out.
    source : str
        What to call the motifs in the record [default: their release or file].

    Returns
    -------
    DataFrame
        As :func:`chromtransfer_plugin.motifs.hits.scan_hits`; ``region`` counts in ``rows``. ``attrs["sites"]`` says what
        was searched for what, so that other functions can tell whether a table is that of their windows.

    Raises
    ------
    ChromTransferError
        If a window has no place, no motif can reach the threshold, or the track is of another assembly.
    """
    regions = store.placed(rows)
    if not len(rows):
        raise ChromTransferError(f"{store.path}: there are no windows to search.")
    facts: dict[str, Any] = {"windows": len(rows), "windows_sha256": _digest(store, rows, regions)}
    if track is not None:
        if not 1e-10 <= threshold < 1:
            raise ChromTransferError(f"threshold={threshold!r}: expected a P-value from 1e-10 to below 1.")
        least = round(-100 * math.log10(threshold), 6)
        contigs = store.facts["genome"]["contigs"]
        hits = read_jaspar_bigbed(track, regions, least, track_field, progress, contigs)
        facts |= {
            "source": str(track),
            "motifs_sha256": None,
            "motifs": sorted(hits["motif"].astype(str).unique()),
            "unreachable": [],
        }
    else:
        matrices = matrices_of(motifs)
        searched = _motif_digest(matrices)
        source = source or ("matrices" if isinstance(motifs, Mapping) else str(motifs))
        short = unreachable(matrices, threshold) if 0 < threshold <= 0.5 else []  # scan_hits refuses the rest
        matrices = {name: matrix for name, matrix in matrices.items() if name not in set(short)}
        if short:
            report(
                f"{len(short)} of {len(short) + len(matrices)} motifs can have no site with P <= {threshold:g}: their "
                "best word is more likely than that"
            )
            if not matrices:
                raise ChromTransferError(
                    f"{source}: no motif is left; use a larger threshold or longer motifs."
                )
        hits = scan_hits(regions, store.codes(rows), matrices, threshold, progress)
        facts |= {"source": source, "motifs_sha256": searched, "motifs": list(matrices), "unreachable": short}
    hits.attrs[_FACTS] = {**facts, "threshold": threshold}
    return hits


def search_facts(hits: pd.DataFrame) -> dict[str, Any]:
    """Return what :func:`find_sites` noted of a table: windows, source, motifs, unreachable, threshold."""
    if _FACTS not in hits.attrs:
        raise ChromTransferError(
            "hits: the table does not say in which windows the sites were looked for: use what find_sites or "
            "`chromtransfer motifs scan` made."
        )
    return dict(hits.attrs[_FACTS])


def sites_again(
    hits: pd.DataFrame,
    store: AttributionStore,
    rows: NDArray[np.int64],
    motifs: Mapping[str, NDArray[Any]] | None,
    threshold: float,
) -> pd.DataFrame:
    """Check that a table holds the sites in these windows and of these motifs; cut it to a threshold.

    Raises
    ------
    ChromTransferError
        If it was made from other windows, other motifs or with a smaller threshold.
    """
    facts = search_facts(hits)
    if facts["windows_sha256"] != _digest(store, rows, store.placed(rows)):
        raise ChromTransferError(
            f"hits: the sites were looked for in other windows ({facts['windows']:,}) than these {len(rows):,} of "
            f"{store.path}: scan the same store and sets."
        )
    if threshold > facts["threshold"]:
        raise ChromTransferError(
            f"hits: only sites with P <= {facts['threshold']:g} were looked for, not <= {threshold:g}: scan again."
        )
    if motifs is None and facts["motifs_sha256"] is not None:
        raise ChromTransferError(
            f"hits: the sites are of a scan for {facts['source']}, not of a track: leave one away."
        )
    if motifs is not None:
        known = {*facts["motifs"], *facts["unreachable"]}
        other = sorted(known ^ set(motifs))
        if other or facts["motifs_sha256"] != _motif_digest(motifs):
            why = f"'{other[0]}' is not in both" if other else "some have other numbers"
            raise ChromTransferError(
                f"hits: the sites are of {facts['source']}, not of the motifs given now ({why}): name the same motifs in "
                "both."
            )
    return hits[hits["p_value"] <= threshold * (1 + 1e-9)].reset_index(drop=True)


def score_sites(
    hits: pd.DataFrame,
    store: AttributionStore,
    rows: NDArray[np.int64],
    model: str,
    how: How,
    off_by_one: bool = False,
    name: str | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Do what :func:`chromtransfer_plugin.motifs.hits.score_hits` does, some thousand windows of the store at a time.

    Parameters
    ----------
    hits : DataFrame
        From :func:`find_sites` with the same store and rows, in the order it gave them.
    store, rows, model
        Where the scores are.
    how, off_by_one
        As in ``score_hits``.
    name : str
        What to call the model in the new columns.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        A copy of ``hits`` with columns score.NAME.max (or .min) and score.NAME.mean.
    """
    from tqdm import tqdm

    columns = [f"score.{name or model}.{what}" for what in (how, "mean")]
    values = np.full((2, len(hits)), np.nan)
    regions = store.placed(rows)
    region = hits["region"].to_numpy(np.int64)
    if (np.diff(region) < 0).any():
        raise ChromTransferError(
            "hits: the sites are not in the order of their windows, as find_sites gave them."
        )
    with tqdm(total=len(rows), desc=f"score {model}", unit="window", disable=not progress) as bar:
        for first in range(0, len(rows), _BLOCK):
            block = slice(first, first + _BLOCK)
            low, high = np.searchsorted(region, [first, first + _BLOCK])
            part = hits.iloc[low:high].assign(region=region[low:high] - first)
            scores = store.scores(model, rows[block])
            scored = score_hits(part, regions.iloc[block], scores, name or model, how, off_by_one)
            values[:, low:high] = scored[columns].to_numpy().T
            bar.update(len(scores))
    return hits.assign(**dict(zip(columns, values, strict=True)))


def write_sites(hits: pd.DataFrame, path: str | Path) -> Path:
    """Write sites as ``.parquet``, which ``compare`` takes again, or as ``.tsv`` or ``.tsv.gz``.

    Raises
    ------
    ChromTransferError
        If the name ends in something else, or the file cannot be written.
    """
    path = check_sites_path(path)
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            hits.to_parquet(temporary, index=False)
        else:
            hits.to_csv(temporary, sep="\t", index=False, na_rep="NA")
    return path


def check_sites_path(path: str | Path) -> Path:
    """Raise if :func:`write_sites` could not write there."""
    path = Path(path)
    if not path.name.endswith((".parquet", ".tsv", ".tsv.gz")):
        raise ChromTransferError(f"{path}: expected a name that ends in .parquet, .tsv or .tsv.gz.")
    require_parent(path)
    return path


def read_sites(path: str | Path) -> pd.DataFrame:
    """Read a Parquet file of :func:`write_sites`.

    Raises
    ------
    ChromTransferError
        If it is not such a file.
    """
    if not Path(path).is_file():
        raise ChromTransferError(
            f"{path}: no such file (expected the .parquet of `chromtransfer motifs scan`)."
        )
    try:
        hits = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many classes
        raise ChromTransferError(f"{path}: not readable as Parquet ({error}).") from error
    facts = search_facts(hits)
    absent = [name for name in HIT_COLUMNS if name not in hits]
    absent += [name for name in _FACT_NAMES if name not in facts]
    if absent:
        raise ChromTransferError(
            f"{path}: has no {absent[0]}; it was changed or made by another version: scan again."
        )
    return hits


def _motif_digest(motifs: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of names and probabilities, in any order of the motifs."""
    digest = hashlib.sha256()
    for name in sorted(motifs):
        matrix = np.ascontiguousarray(motifs[name], dtype=np.float64)
        digest.update(f"{name}\0{matrix.shape}\0".encode())
        digest.update(matrix.tobytes())
    return digest.hexdigest()


def _digest(store: AttributionStore, rows: NDArray[np.int64], regions: pd.DataFrame) -> str:
    """SHA-256 of places and sequences of windows, in their order."""
    digest = hashlib.sha256("\n".join(regions["chrom"]).encode())
    digest.update(regions[["start", "end"]].to_numpy(np.int64).tobytes())
    for first in range(0, len(rows), _BLOCK):
        digest.update(np.ascontiguousarray(store.codes(rows[first : first + _BLOCK])).tobytes())
    return digest.hexdigest()
