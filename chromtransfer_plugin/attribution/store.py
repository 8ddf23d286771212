"""Attributions on the disk: one folder for one or many models over one or many sets of regions.

``store.json``
    What was computed, by which models, on which genome.
``regions.parquet``
    One row per window, the index of all other data: set, chrom, start, end (0-based half-open), name, label.
``attributions.h5``
    ``codes`` (N, L) uint8; for model number i ``scores/i`` (N, L) float32 and, if they were kept,
    ``hypothetical/i`` (N, 4, L) float32. Chunked by windows and compressed, so that a few windows are read without the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.arrays import Output, create_array, picked
from chromtransfer_plugin.attribution.store_parts import (
    ARRAYS,
    FACTS,
    FORMAT,
    REGION_COLUMNS,
    REGIONS,
    check_parts,
    check_target,
    identity_of,
    read_facts,
    readable,
)
from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder
from chromtransfer_plugin.onehot import ALPHABET
from chromtransfer_plugin.regions import parse_region, region_ids

if TYPE_CHECKING:
    import h5py

Rows = slice | Sequence[int] | NDArray[np.int64] | None


class Piece(NamedTuple):
    """What is known of some consecutive windows: see :func:`write_store`.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n, L)
    scores : ndarray of float32, shape (n, models, L)
    hypothetical : ndarray of float32, shape (n, models, 4, L), or None
    """

    codes: NDArray[np.uint8]
    scores: NDArray[np.float32]
    hypothetical: NDArray[np.float32] | None


class AttributionStore:
    """Read attributions.

    Parameters
    ----------
    path : str or path
        Folder written by :func:`write_store`, e.g. by ``chromtransfer attribute``.

    Attributes
    ----------
    facts : dict
        ``method`` (gradient-x-input, integrated-gradients, deep-lift-shap or ism), ``objective`` (logit or probability),
        ``models`` (dicts with name, output, weights_sha256, ...), ``sets`` (dicts with name, path, ...), ``window``,
        ``genome`` (path, identity and contigs, a dict of lengths; None for sequences without a genome), ``settings``
        and versions; ``regions_sha256`` and ``identity`` tell whether the files belong together.
    regions : DataFrame
        Columns ``REGION_COLUMNS``; row number = row of the arrays. chrom, start and end are missing for a sequence without a
        place. set and chrom are categorical.
    models, sets : list of str
    window : int
        L, base pairs.

    Raises
    ------
    ChromTransferError
        If the folder is no complete store of a format known here.
    """

    def __init__(self, path: str | Path) -> None:
        import h5py

        self.path = Path(path).expanduser()
        self.facts: dict[str, Any] = read_facts(self.path)
        with readable(self.path):
            self.regions = pd.read_parquet(self.path / REGIONS).reset_index(drop=True)
            self._file: h5py.File = h5py.File(self.path / ARRAYS, "r")
        self.models: list[str] = [model["name"] for model in self.facts["models"]]
        self.sets: list[str] = [one["name"] for one in self.facts["sets"]]
        self.window = int(self.facts["window"])
        try:
            check_parts(self.path, self.facts, self.regions, self._file)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.regions)

    def __repr__(self) -> str:
        return (
            f"AttributionStore({str(self.path)!r}, {len(self):,} windows of {self.window} bp, "
            f"{self.facts['method']}, models: {', '.join(self.models)})"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file of arrays."""
        self._file.close()

    @property
    def has_hypothetical(self) -> bool:
        """Whether the scores of all four bases were kept, as TF-MoDISco needs them."""
        return bool(self.facts["hypothetical"])

    @property
    def contigs(self) -> dict[str, int]:
        """Lengths of the genome's contigs.

        Raises
        ------
        ChromTransferError
            If the windows are sequences without a genome.
        """
        if self.facts["genome"] is None:
            raise ChromTransferError(
                f"{self.path}: holds sequences without a genome, which this needs. Compute it from regions and a genome."
            )
        return dict(self.facts["genome"]["contigs"])

    def codes(self, rows: Rows = None) -> NDArray[np.uint8]:
        """Base codes (n, L) of the windows in ``rows`` (None: all; repeated and unsorted rows are allowed)."""
        return self._read("codes", rows)

    def scores(self, model: str, rows: Rows = None) -> NDArray[np.float32]:
        """Attribution of the observed bases, (n, L), by one model."""
        return self._read(f"scores/{self.model_number(model)}", rows)

    def hypothetical(self, model: str, rows: Rows = None) -> NDArray[np.float32]:
        """Attribution that each base would have, (n, 4, L), channel order A, C, G, T.

        Raises
        ------
        ChromTransferError
            If they were not kept.
        """
        number = self.model_number(model)
        if not self.has_hypothetical:
            raise ChromTransferError(
                f"{self.path}: holds no scores of bases that are not there, which this needs. Compute it "
                "again with `chromtransfer attribute --hypothetical`."
            )
        return self._read(f"hypothetical/{number}", rows)

    def model_number(self, model: str) -> int:
        """Position of a model in ``models``; an unknown name is an error that lists them."""
        if model not in self.models:
            raise ChromTransferError(f"{self.path}: has no model '{model}', but {', '.join(self.models)}.")
        return self.models.index(model)

    def chosen_models(self, names: Iterable[str] = ()) -> list[str]:
        """Those that are named, each once, or all if none is; an unknown name is an error."""
        chosen = list(dict.fromkeys(names)) or self.models
        for name in chosen:
            self.model_number(name)
        return chosen

    def rows(
        self, sets: str | Iterable[str] | None = None, each_place_once: bool = True
    ) -> NDArray[np.int64]:
        """Row numbers of the windows of one or several sets (None: all).

        Parameters
        ----------
        sets : str or iterable of str, optional
        each_place_once : bool
            Give windows of the same place, in one or several sets, once, by their first row: they have the same scores.
            Sequences of a FASTA may differ although their names tell one place, so they are all given.

        Raises
        ------
        ChromTransferError
            If there is no such set.
        """
        wanted = self.sets if sets is None else [sets] if isinstance(sets, str) else list(sets)
        for name in wanted:
            if name not in self.sets:
                raise ChromTransferError(f"{self.path}: has no set '{name}', but {', '.join(self.sets)}.")
        table = self.regions[self.regions["set"].isin(wanted)]
        rows = table.index.to_numpy(np.int64)
        if not each_place_once or self.facts["genome"] is None:
            return rows
        again = table.duplicated(["chrom", "start", "end"]) & table["chrom"].notna()
        return rows[~again.to_numpy(bool)]

    def query(self, region: str, sets: str | Iterable[str] | None = None) -> NDArray[np.int64]:
        """Row numbers of the windows that share a base with ``chrom:start-end`` (0-based half-open).

        Raises
        ------
        ChromTransferError
            If the text is no region.
        """
        chrom, start, end = parse_region(region)
        rows = self.rows(sets)
        table = self.regions.iloc[rows]
        hit = (table["chrom"] == chrom) & (table["start"] < end) & (table["end"] > start)
        return rows[hit.fillna(False).to_numpy(bool)]

    def placed(self, rows: NDArray[np.int64]) -> pd.DataFrame:
        """chrom, start and end of windows as plain columns, in the order of ``rows``.

        Raises
        ------
        ChromTransferError
            If one has no place in a genome.
        """
        table = self.regions.iloc[rows][["chrom", "start", "end"]].reset_index(drop=True)
        if table.isna().any(axis=None):
            name = self.regions.iloc[rows]["name"].to_numpy()[table.isna().any(axis=1).to_numpy()][0]
            raise ChromTransferError(
                f"{self.path}: the sequence '{name}' has no place in a genome, which this needs."
            )
        return table.astype({"chrom": str, "start": np.int64, "end": np.int64})

    def window_names(self, rows: NDArray[np.int64]) -> list[str]:
        """What each window is called: ``chrom:start-end``, or the name of its record in a FASTA."""
        return window_names(self.regions.iloc[rows], self.facts["genome"] is not None)

    def require_same_genome(self, identity: str, other: str | Path) -> None:
        """Raise if the windows were cut from another genome than ``other``, whose identity is given."""
        genome = self.facts["genome"]
        if genome is None or genome["identity"] != identity:
            mine = "no genome (a FASTA of sequences)" if genome is None else genome["path"]
            raise ChromTransferError(
                f"{self.path}: was computed on {mine}, which is not the genome of {other}. Compute both on the same FASTA."
            )

    def require_outside(self, path: Path) -> None:
        """Raise if what is written to ``path`` would lie in the store, or take the place of it."""
        if path.resolve().is_relative_to(self.path.resolve()):
            raise ChromTransferError(f"{path}: is inside the store {self.path}. Choose another place.")

    def _read(self, name: str, rows: Rows) -> NDArray[Any]:
        data = self._file[name]
        if rows is None:
            rows = slice(None)
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise ChromTransferError(
                f"{self.path}: has no row {wanted.min() if wanted.min() < 0 else wanted.max()}, but 0 to {len(self) - 1}."
            )
        wanted = wanted.astype(np.int64)
        with readable(self.path):
            if (np.diff(wanted) > 0).all():
                return picked(data, wanted)
            distinct, inverse = np.unique(wanted, return_inverse=True)
            return picked(data, distinct)[inverse]


def window_names(regions: pd.DataFrame, of_genome: bool) -> list[str]:
    """What windows are called, of a table with ``REGION_COLUMNS``; see :meth:`AttributionStore.window_names`."""
    return region_ids(regions).tolist() if of_genome else regions["name"].tolist()


def write_store(
    path: str | Path,
    facts: Mapping[str, Any],
    regions: pd.DataFrame,
    pieces: Iterable[Piece],
    done: Callable[[int], object] = lambda _: None,
) -> None:
    """Write a store; it appears when it is complete, and replaces an earlier store at that place.

    Parameters
    ----------
    path : str or path
        Folder.
    facts : mapping
        As :attr:`AttributionStore.facts`: models, sets, window, hypothetical, method, objective, genome and more.
    regions : DataFrame
        Columns ``REGION_COLUMNS``, N rows.
    pieces : iterable of Piece
        All N windows in the order of ``regions``.
    done : callable
        Takes the number of windows of each piece once it is written.

    Raises
    ------
    ChromTransferError
        If the path is something else than a store, the pieces are not N windows, or it cannot be written.
    """
    import h5py

    target = Path(path).expanduser()
    check_target(target)
    n, window, models = len(regions), int(facts["window"]), len(facts["models"])
    with atomic_folder(target) as folder:
        table = regions[list(REGION_COLUMNS)].reset_index(drop=True)
        table = table.astype({"set": "category", "chrom": "category", "start": "Int64", "end": "Int64"})
        table.to_parquet(folder / REGIONS, index=False)
        whole = {"format": FORMAT, **facts, "regions_sha256": sha256(folder / REGIONS)}
        whole["identity"] = identity_of(whole)
        with Output(folder / ARRAYS) as file, h5py.File(file, "w") as out:
            out.attrs["identity"] = whole["identity"]
            arrays = {"codes": create_array(out, "codes", (n, window), np.uint8)}
            for number in range(models):
                arrays[f"scores/{number}"] = create_array(out, f"scores/{number}", (n, window), np.float32)
                if facts["hypothetical"]:
                    shape = (n, len(ALPHABET), window)
                    arrays[f"hypothetical/{number}"] = create_array(
                        out, f"hypothetical/{number}", shape, np.float32
                    )
            first = 0
            for piece in pieces:
                last = first + len(piece.codes)
                if last > n:
                    raise ChromTransferError(f"{target}: more than the {n} windows of the table were given.")
                arrays["codes"][first:last] = piece.codes
                for number in range(models):
                    arrays[f"scores/{number}"][first:last] = piece.scores[:, number]
                    if piece.hypothetical is not None:
                        arrays[f"hypothetical/{number}"][first:last] = piece.hypothetical[:, number]
                file.check()
                done(last - first)
                first = last
        file.check()  # closing writes, too
        if first != n:
            raise ChromTransferError(f"{target}: {first} of the {n} windows of the table were given.")
        (folder / FACTS).write_text(json.dumps(whole, indent=2) + "\n")
