"""The three files of an attribution store: what they are called, and whether they belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import check_result_folder, require_short
from chromtransfer_plugin.onehot import ALPHABET

if TYPE_CHECKING:
    import h5py
    import pandas as pd

FORMAT = 1
FACTS, REGIONS, ARRAYS = "store.json", "regions.parquet", "attributions.h5"
REGION_COLUMNS = ("set", "chrom", "start", "end", "name", "label")

_MIXED = "The store is damaged or was put together from parts of others: compute it again."


def identity_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of all facts: the file of arrays names the store that it was written for."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_facts(path: Path) -> dict[str, Any]:
    """Read ``store.json``.

    Raises
    ------
    ChromTransferError
        If the folder is no store, or one of another format.
    """
    require_short(path)
    if not (path / FACTS).is_file():
        raise ChromTransferError(
            f"{path}: is no attribution store (a folder with {FACTS}, written by `chromtransfer attribute`)."
        )
    try:
        facts = json.loads((path / FACTS).read_text())
        known = facts["format"]
        if known != FORMAT:
            raise ChromTransferError(f"{path}: is of format {known}, this version reads {FORMAT}.")
        _check_facts(facts)
    except ChromTransferError:
        raise
    except UnicodeDecodeError as error:  # whose own text holds the whole file
        raise ChromTransferError(
            f"{path / FACTS}: is not readable (no text). Compute the store again."
        ) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ChromTransferError(
            f"{path / FACTS}: is not readable ({error!r}). Compute the store again."
        ) from error
    return dict(facts)


def _check_facts(facts: Mapping[str, Any]) -> None:
    for key in ("hypothetical", "method", "objective", "genome"):
        facts[key]
    for key in ("models", "sets"):
        names = [one["name"] for one in facts[key]]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{key}: {names}")
    if int(facts["window"]) < 1:
        raise ValueError(f"window: {facts['window']}")
    if facts["genome"] is not None:
        for name, length in dict(facts["genome"]["contigs"]).items():
            if not isinstance(length, int):
                raise TypeError(f"length of contig {name}: {length!r}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say plainly that a store is damaged."""
    try:
        yield
    except ChromTransferError:
        raise
    except Exception as error:  # damaged files raise many classes
        raise ChromTransferError(
            f"{path}: is no complete attribution store ({error}). Compute it again."
        ) from error


def check_parts(path: Path, facts: Mapping[str, Any], regions: pd.DataFrame, arrays: h5py.File) -> None:
    """Raise if the files of a store do not fit together, or were not written together."""
    _check_regions(path, facts, regions)
    _check_arrays(path, facts, len(regions), arrays)
    if facts.get("regions_sha256") not in (None, sha256(path / REGIONS)):
        raise ChromTransferError(f"{path / REGIONS}: is not the table that {FACTS} names. {_MIXED}")
    if arrays.attrs.get("identity") != facts.get("identity"):
        raise ChromTransferError(f"{path / ARRAYS}: was written for another store. {_MIXED}")


def _check_regions(path: Path, facts: Mapping[str, Any], regions: pd.DataFrame) -> None:
    absent = set(REGION_COLUMNS) - set(regions.columns)
    if absent:
        raise ChromTransferError(f"{path / REGIONS}: no column {', '.join(sorted(absent))}.")
    strange = set(regions["set"].unique()) - {one["name"] for one in facts["sets"]}
    lengths = (regions["end"] - regions["start"]).dropna()
    window = int(facts["window"])
    if strange or not (lengths == window).all():
        what = f"the set '{strange.pop()}'" if strange else f"windows of other lengths than {window}"
        raise ChromTransferError(f"{path / REGIONS}: has {what}, which {FACTS} does not know. {_MIXED}")


def _check_arrays(path: Path, facts: Mapping[str, Any], n: int, arrays: h5py.File) -> None:
    window = int(facts["window"])
    shapes: dict[str, tuple[int, ...]] = {"codes": (n, window)}
    for number in range(len(facts["models"])):
        shapes[f"scores/{number}"] = (n, window)
        if facts["hypothetical"]:
            shapes[f"hypothetical/{number}"] = (n, len(ALPHABET), window)
    for name, shape in shapes.items():
        found = getattr(arrays.get(name), "shape", None)  # a group has none
        if found != shape:
            raise ChromTransferError(
                f"{path / ARRAYS}: '{name}' has the shape {found}, expected {shape}. {_MIXED}"
            )


def check_target(path: Path) -> None:
    """Raise if a store may not be written at ``path``: something else lies there, or would be deleted with an old store."""
    # What is hidden is a leftover of a system or a kill.
    check_result_folder(
        path, FACTS, lambda entry: entry.name in (FACTS, REGIONS, ARRAYS) or entry.name.startswith(".")
    )
