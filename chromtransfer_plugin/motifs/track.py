"""Sites of motifs in a genome-wide JASPAR track."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.hits import HIT_COLUMNS, one_per_place

MIN_TRACK_SCORE = 500  # of the track, -100 log10(P): the paper's P <= 1e-5
_READ_BATCH = 2_000  # regions


def read_jaspar_bigbed(
    path: str | Path,
    regions: pd.DataFrame,
    min_score: float = MIN_TRACK_SCORE,
    motif_field: str = "name",
    progress: bool = False,
    contigs: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Read the sites in regions from a genome-wide JASPAR track, e.g. ``JASPAR2022_hg38.bb``.

    Parameters
    ----------
    path : str or path
        A bigBed whose fields after the place are name, score (-100 log10 of P, at most 1000) and strand, and perhaps more.
    regions : DataFrame
        Columns chrom, start and end (0-based, half-open).
    min_score : float
        Least score; 500 is P <= 1e-5.
    motif_field : str
        The field that names the motif, among those the file describes (its autoSql).
    progress : bool
        Show a bar.
    contigs : mapping of str to int
        Lengths of the contigs of the genome that the regions are of; a track with other lengths is refused.

    Returns
    -------
    DataFrame
        The same columns as :func:`scan_hits` gives, with the same rules: only sites wholly inside the region, one
        per place and motif. ``score`` is the track's, ``p_value`` is ``10 ** (-score / 100)`` (1e-10 also stands for less).

    Raises
    ------
    ChromTransferError
        If the file is not a bigBed of this kind, or a region lies on no contig of it or beyond its end.
    """
    import pybigtools
    from tqdm import tqdm

    if not Path(path).is_file():
        raise ChromTransferError(f"{path}: no such file (expected a bigBed such as JASPAR2022_hg38.bb).")
    try:
        track = pybigtools.open(str(path))
        sound = track.is_bigbed
    except Exception as error:  # its classes differ between versions
        raise ChromTransferError(f"{path}: not readable as bigBed ({error}).") from error
    if not sound:
        raise ChromTransferError(f"{path}: is a bigWig, expected a bigBed with the sites of motifs.")
    with track:
        _check_contigs(path, regions, track.chroms(), contigs or {})
        fields = _fields(path, str(track.sql()), motif_field)
        parts = []
        with tqdm(total=len(regions), desc="read", unit="region", disable=not progress) as bar:
            for first in range(0, len(regions) or 1, _READ_BATCH):
                batch = regions.iloc[first : first + _READ_BATCH]
                part = _sites(path, track, batch, fields, motif_field, min_score)
                parts.append(part.assign(region=part["region"] + first))
                bar.update(len(batch))
    found = pd.concat(parts, ignore_index=True)
    found["chrom"] = regions["chrom"].astype("category").array[found["region"].to_numpy(np.int64)]
    found["p_value"] = 10 ** (-found["score"] / 100)
    return found[list(HIT_COLUMNS)].astype({"strand": "category", "motif": "category"})


def _sites(
    path: str | Path,
    track: Any,
    regions: pd.DataFrame,
    fields: Mapping[str, int],
    motif_field: str,
    min_score: float,
) -> pd.DataFrame:
    """Sites of a track in regions, sorted; ``region`` counts from 0."""
    rows: list[tuple[int, int, int, str, float, str]] = []
    places = zip(regions["chrom"].astype(str), regions["start"], regions["end"], strict=True)
    for number, (chrom, start, end) in enumerate(places):
        try:
            for record in track.records(chrom, int(start), int(end)):
                score = float(record[fields["score"]])
                if score >= min_score and record[0] >= start and record[1] <= end:
                    strand = record[fields["strand"]] if "strand" in fields else "."
                    rows.append((number, record[0], record[1], record[fields[motif_field]], score, strand))
        except (IndexError, ValueError) as error:
            raise ChromTransferError(
                f"{path}: a record at {chrom}:{start}-{end} has no field name, score or strand where expected ({error})."
            ) from error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a damaged block: a panic of Rust is no Exception
            raise ChromTransferError(f"{path}: cannot be read at {chrom}:{start}-{end} ({error}).") from error
    found = pd.DataFrame(rows, columns=["region", "start", "end", "motif", "score", "strand"])
    kinds = {"region": "int64", "start": "int64", "end": "int64", "motif": "str", "score": "float64"}
    found = found.astype(kinds).assign(minus=found["strand"] == "-")
    return one_per_place(found, ("region", "start", "end", "motif"))


def _check_contigs(
    path: str | Path, regions: pd.DataFrame, contigs: Mapping[str, int], expected: Mapping[str, int]
) -> None:
    absent = {"chrom", "start", "end"} - set(regions.columns)
    if absent:
        raise ChromTransferError(
            f"regions: no column {', '.join(sorted(absent))}: expected chrom, start and end."
        )
    for name, bases in contigs.items():
        if expected.get(name, bases) != bases:
            raise ChromTransferError(
                f"{path}: its {name} has {bases} bp, but that of the genome of the regions {expected[name]}: the track is "
                "of another assembly."
            )
    length = regions["chrom"].astype(str).map(dict(contigs)).astype(float)
    wrong = (~(regions["end"] <= length) | (regions["start"] < 0)).to_numpy()
    if wrong.any():
        row = regions.iloc[int(wrong.argmax())]
        size = contigs.get(str(row["chrom"]))
        why = (
            f"ends at {size}"
            if size is not None
            else f"is not among its contigs ({', '.join(list(contigs)[:5])} ...)"
        )
        raise ChromTransferError(
            f"{path}: {int(wrong.sum())} regions lie outside, first {row['chrom']}:{row['start']}-{row['end']}: "
            f"{row['chrom']} {why}. Is the track of the same assembly?"
        )


def _fields(path: str | Path, sql: str, motif_field: str) -> dict[str, int]:
    """Places of the fields in a record; a file that describes only chrom, start and end is taken as plain BED."""
    described = [line.split(";")[0].split()[-1] for line in sql.splitlines() if ";" in line]
    names = ["start", "end", *(described[3:] or ["name", "score", "strand"])]
    fields = {name: place for place, name in enumerate(names)}
    absent = [name for name in (motif_field, "score") if name not in fields]
    if absent:
        raise ChromTransferError(
            f"{path}: its records have no field '{absent[0]}', only {', '.join(names[2:])}: expected a track of motif sites."
        )
    return fields
