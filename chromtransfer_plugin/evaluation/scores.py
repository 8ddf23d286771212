"""The scores of many models on the same windows of one line, in memory and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path

Floats: TypeAlias = NDArray[np.float64]

SCORES, VALIDATION = "scores.parquet", "validation.parquet"  # in the folder of a line
PREFIX = "score."
COLUMNS = ("chrom", "start", "end", "label", "y", "locus")
_WHOLE_NUMBERS = {"start": np.int64, "end": np.int64, "y": np.int8, "locus": np.int64}


@dataclass(frozen=True)
class ScoreTable:
    """Labelled windows and the probability that each model gives them.

    Attributes
    ----------
    line : str
    table : DataFrame
        ``chrom, start, end`` (0-based half-open), ``label`` (its name in the file), ``y`` (int8, 1 = open in the line),
        ``locus`` (int64, neighbours share it); N rows.
    scores : dict of str to ndarray (N,) float64
        Probability of being open by name of model; none is NaN.
    """

    line: str
    table: pd.DataFrame
    scores: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def y(self) -> NDArray[np.int64]:
        """Labels (N,), 1 for open."""
        return self.table["y"].to_numpy(dtype=np.int64)

    @property
    def locus(self) -> NDArray[np.int64]:
        """Locus of each window (N,)."""
        return self.table["locus"].to_numpy(dtype=np.int64)


def write_scores(scores: ScoreTable, path: str | Path) -> None:
    """Write windows and scores as Parquet; models become columns ``score.NAME``.

    The same table gives the same bytes.

    Raises
    ------
    ChromTransferError
        If a column is missing, a score is no probability, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check(scores, f"{path}: not written")
    table = scores.table
    columns = {
        name: pa.array(table[name].to_numpy(dtype=_WHOLE_NUMBERS[name]))
        if name in _WHOLE_NUMBERS
        else pa.array([str(v) for v in table[name]], pa.string())
        for name in COLUMNS
    }
    for name, values in scores.scores.items():
        columns[PREFIX + name] = pa.array(np.asarray(values, dtype=np.float64))
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def read_scores(path: str | Path, line: str) -> ScoreTable:
    """Read what :func:`write_scores` wrote.

    Raises
    ------
    ChromTransferError
        If the file is missing or of another form.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with Path(path).open("rb") as stream:
            whole = pq.read_table(stream).to_pandas()
    except OSError as error:
        raise ChromTransferError(
            f"{path}: cannot be read as scores of models: {error.strerror or error}. Run `chromtransfer evaluate` again."
        ) from error
    except pa.ArrowException as error:
        raise ChromTransferError(
            f"{path}: is no Parquet file of scores of models: {error}. Run `chromtransfer evaluate` again."
        ) from error
    models = {
        name.removeprefix(PREFIX): whole[name].to_numpy() for name in whole.columns if name.startswith(PREFIX)
    }
    table = whole[[name for name in whole.columns if name in COLUMNS]].copy()
    scores = ScoreTable(line, table, models)
    _check(scores, str(path))
    return ScoreTable(line, table, {name: values.astype(np.float64) for name, values in models.items()})


def _check(scores: ScoreTable, where: str) -> None:
    missing = [name for name in COLUMNS if name not in scores.table]
    if missing:
        raise ChromTransferError(
            f"{where}: the windows lack the column {missing[0]}, expected {', '.join(COLUMNS)}."
        )
    for name in _WHOLE_NUMBERS:
        if not pd.api.types.is_integer_dtype(scores.table[name]) or scores.table[name].hasnans:
            raise ChromTransferError(f"{where}: the column {name} does not hold whole numbers.")
    if not scores.table["y"].isin([0, 1]).all():
        raise ChromTransferError(f"{where}: the column y holds other labels than 0 and 1.")
    for name, values in scores.scores.items():
        if np.shape(values) != (len(scores.table),):
            raise ChromTransferError(
                f"{where}: the model {name} has scores of shape {np.shape(values)} for {len(scores.table)} windows."
            )
        numbers = np.asarray(values)
        if numbers.dtype.kind not in "fiu" or not ((numbers >= 0) & (numbers <= 1)).all():
            raise ChromTransferError(
                f"{where}: the model {name} has scores that are no probabilities: expected numbers in [0, 1]; "
                "models return logits, apply a sigmoid first."
            )
