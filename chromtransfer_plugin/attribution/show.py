"""``chromtransfer attributions list`` and ``show``: what is in a store, as text."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.settings import METHOD_SETTINGS
from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import open_output
from chromtransfer_plugin.onehot import ALPHABET
from chromtransfer_plugin.prediction.outputs import lines_of
from chromtransfer_plugin.regions import parse_region

TABLE_COLUMNS = ("set", "window", "chrom", "start", "end", "base")  # of `show`, before those of the models
_READ = 64  # windows at a time
_LETTERS = np.array([*ALPHABET, "N"], dtype=object)


class Found(NamedTuple):
    """The windows that a user asked for.

    Attributes
    ----------
    rows : ndarray of int64
        Windows of the store.
    start, end : int
        Stretch of the contig, or of the sequence where windows have no place; 0-based half-open.
    """

    rows: NDArray[np.int64]
    start: int
    end: int


def find_windows(store: AttributionStore, what: str, sets: Sequence[str] = ()) -> Found:
    """Find the windows over ``chrom:start-end``, or the sequences of that name that have no place in a genome.

    Raises
    ------
    ChromTransferError
        If there are none, or the text is neither.
    """
    rows = store.rows(sets or None)
    table = store.regions.iloc[rows]
    named = rows[(table["chrom"].isna() & (table["name"] == what)).to_numpy(bool)]
    if named.size:
        return Found(named, 0, store.window)
    chrom, start, end = parse_region(what)
    found = store.query(what, sets or None)
    if not found.size:
        raise ChromTransferError(f"{store.path}: has no window over {what}.{_where(table, chrom)}")
    return Found(found, start, end)


def _where(table: pd.DataFrame, chrom: str) -> str:
    """Say where there are windows instead."""
    there = table[table["chrom"] == chrom]
    if len(there):
        return f" Its {len(there):,} windows on {chrom} lie between {there['start'].min()} and {there['end'].max()}."
    contigs = table["chrom"].dropna().unique().tolist()
    return (
        f" It has windows on {', '.join(map(str, contigs[:8]))}{', ...' if len(contigs) > 8 else ''}."
        if contigs
        else ""
    )


def list_store(path: str | Path) -> str:
    """Give a text that says what a store holds."""
    with AttributionStore(path) as store:
        facts = store.facts
        genome = facts["genome"]["path"] if facts["genome"] else "none, sequences of FASTA files"
        read = {
            name: facts.get("settings", {}).get(name) for name in METHOD_SETTINGS.get(facts["method"], ())
        }
        settings = ", ".join(f"{name}={value}" for name, value in read.items())
        lines = [
            f"{store.path}: {len(store):,} windows of {store.window:,} bp",
            f"method      {facts['method']} of the {facts['objective']}{f' ({settings})' if settings else ''}",
            f"all bases   {'kept' if store.has_hypothetical else 'not kept (--hypothetical)'}",
            f"genome      {genome}",
            "models",
            *(
                f"  {one['name']:20} output {one.get('output', '?')}, weights {one.get('weights_sha256', '?')[:12]}"
                for one in facts["models"]
            ),
            "sets",
        ]
        counts = store.regions["set"].value_counts()
        for one in facts["sets"]:
            dropped = sum(one.get("rows", {}).values()) - one.get("rows", {}).get("ok", 0)
            left = f", {dropped:,} rows dropped" if dropped else ""
            n = counts.get(one["name"], 0)
            lines.append(f"  {one['name']:20} {n:,} windows of {one.get('path', '?')}{left}")
        return "\n".join(lines)


def show_region(
    path: str | Path,
    region: str,
    *,
    models: Sequence[str] = (),
    sets: Sequence[str] = (),
    out: str | Path | None = None,
) -> int:
    """Write the scores of a region base by base, as TSV.

    A row for each base and window, so where windows overlap a base has several. Columns: set, window, chrom, start, end,
    base, then the models. Of a sequence without a place chrom is empty and start counts from its first base.

    Parameters
    ----------
    path : path
        Store.
    region : str
        ``chrom:start-end``, 0-based and half-open, or the name of a sequence without a place.
    models, sets : sequence of str
        Which; none means all.
    out : path, optional
        File, gzip if it ends in ``.gz``; None prints.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    ChromTransferError
        If there is no such window, model or set, or the file cannot be written.
    """
    with AttributionStore(path) as store, contextlib.ExitStack() as stack:
        found = find_windows(store, region, sets)
        wanted = store.chosen_models(models)
        output: IO[bytes] = sys.stdout.buffer
        if out is not None:
            target = Path(out).expanduser()
            store.require_outside(target)
            output = open_output(stack, target)
        output.write(("\t".join([*TABLE_COLUMNS, *wanted]) + "\n").encode())
        n = 0
        for table in _base_tables(store, found, wanted):
            output.write(lines_of(table, "\t"))
            n += len(table)
        output.flush()
        return n


def _base_tables(store: AttributionStore, found: Found, models: Sequence[str]) -> Iterator[pd.DataFrame]:
    for first in range(0, len(found.rows), _READ):
        rows = found.rows[first : first + _READ]
        regions = store.regions.iloc[rows]
        starts = regions["start"].fillna(0).to_numpy(np.int64)
        positions = starts[:, None] + np.arange(store.window)
        window, base = np.nonzero((positions >= found.start) & (positions < found.end))
        at = positions[window, base]
        table = pd.DataFrame(
            {
                "set": regions["set"].astype(str).to_numpy()[window],
                "window": np.array(store.window_names(rows), dtype=object)[window],
                "chrom": regions["chrom"].astype(object).fillna("").to_numpy()[window],
                "start": at,
                "end": at + 1,
                "base": _LETTERS[store.codes(rows)[window, base]],
            }
        )
        for model in models:
            table[model] = store.scores(model, rows)[window, base]
        yield table
