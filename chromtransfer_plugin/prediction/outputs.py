"""Writing predictions, block by block: TSV, CSV, Parquet, BED and the original's CSV. bigWig has its own module."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, open_output
from chromtransfer_plugin.prediction.inputs import STATUSES
from chromtransfer_plugin.regions import region_ids

FORMATS = ("tsv", "csv", "parquet", "bed", "bigwig", "original")
# Columns of the original's table, in its order, and the models they are of.
ORIGINAL = {
    "TL_Open_Closed": "pretrained",
    "A549": "A549",
    "HCT116": "HCT116",
    "HEPG2": "HEPG2",
    "K562": "K562",
    "GM12878": "GM12878",
    "MCF7": "MCF7",
}
NO_PLACE = "has no coordinates, so it is not in the output"
_SUFFIXES = {
    ".tsv": "tsv",
    ".txt": "tsv",
    ".csv": "csv",
    ".parquet": "parquet",
    ".bed": "bed",
    ".bw": "bigwig",
    ".bigwig": "bigwig",
}


class Scored(NamedTuple):
    """A block of rows with their status and probabilities (n, columns) float32, NaN where it is not ok."""

    table: pd.DataFrame
    status: NDArray[np.int8]
    probabilities: NDArray[np.float32]

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Rows that have a score and coordinates to put it at."""
        return (self.status == 0) & self.table["start"].notna().to_numpy()


class Writer(Protocol):
    """Takes the blocks in input order; the files appear when its stack is left without an error."""

    paths: list[Path]
    needs_place: bool  # rows without coordinates have no place in this format

    def write(self, block: Scored) -> None:
        """Add a block."""

    def finish(self) -> None:
        """Do what can only be done after the last block."""


def format_of(out: Path, format: str | None) -> str:
    """Return the output format: the one given, else that of the file name's suffix.

    Raises
    ------
    ChromTransferError
        If the name does not tell.
    """
    if format is not None:
        if format not in FORMATS:
            raise ChromTransferError(f"format is '{format}', expected one of {', '.join(FORMATS)}.")
        return format
    found = _SUFFIXES.get(Path(out.name.removesuffix(".gz")).suffix.lower())
    if found is None or (found in ("parquet", "bigwig") and out.suffix == ".gz"):
        raise ChromTransferError(
            f"{out}: the name does not tell a format. End it in .tsv, .csv (or .tsv.gz, .csv.gz), .parquet, .bed or "
            f".bw, or give --format: {', '.join(FORMATS)}."
        )
    return found


def region_columns(with_label: bool) -> list[str]:
    """Give the columns before the probabilities."""
    return [
        "chrom",
        "start",
        "end",
        "name",
        "strand",
        *(["label"] if with_label else []),
        "source_line",
        "status",
    ]


def table_of(block: Scored, columns: Sequence[str], with_label: bool) -> pd.DataFrame:
    """Put rows, status and probabilities into one table."""
    names = np.array(STATUSES, dtype=object)[block.status]
    table = block.table.assign(status=pd.Series(names, index=block.table.index, dtype="str"))
    table = table[region_columns(with_label)]
    scores = pd.DataFrame(block.probabilities, columns=list(columns), index=table.index)
    return pd.concat([table, scores], axis=1)


class TextWriter:
    """TSV or CSV, compressed if the name ends in ``.gz``; an unscored row has empty probabilities."""

    needs_place = False

    def __init__(
        self, stack: contextlib.ExitStack, out: Path, separator: str, columns: Sequence[str], with_label: bool
    ) -> None:
        self.paths = [out]
        self._separator, self._columns, self._with_label = separator, columns, with_label
        self._out = open_output(stack, out)
        header = pd.DataFrame(columns=[*region_columns(with_label), *columns])
        self._out.write(header.to_csv(sep=separator, index=False).encode())

    def write(self, block: Scored) -> None:
        """Add a block."""
        self._out.write(lines_of(table_of(block, self._columns, self._with_label), self._separator))

    def finish(self) -> None:
        """Nothing is left to do."""


class BedWriter:
    """BED6 and one column for each probability, under a ``#`` line that names them."""

    needs_place = True

    def __init__(self, stack: contextlib.ExitStack, out: Path, columns: Sequence[str]) -> None:
        self.paths = [out]
        self._columns = columns
        self._out = open_output(stack, out)
        self._out.write(
            ("#" + "\t".join(["chrom", "start", "end", "name", "score", "strand", *columns]) + "\n").encode()
        )

    def write(self, block: Scored) -> None:
        """Add the rows that have a score and coordinates."""
        placed = block.placed
        table = block.table.loc[placed, ["chrom", "start", "end", "name", "score", "strand"]]
        table = table.assign(name=table["name"].replace("", "."), score=table["score"].fillna(0))
        scores = pd.DataFrame(block.probabilities[placed], columns=list(self._columns), index=table.index)
        self._out.write(lines_of(pd.concat([table, scores], axis=1), None))

    def finish(self) -> None:
        """Nothing is left to do."""


class ParquetWriter:
    """Parquet, one row group for each block; the record is its metadata under the key ``chromtransfer``."""

    needs_place = False

    def __init__(
        self,
        stack: contextlib.ExitStack,
        out: Path,
        columns: Sequence[str],
        with_label: bool,
        record: Callable[[], dict[str, Any]],
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.paths = [out]
        self._columns, self._with_label, self._record = columns, with_label, record
        kinds = {"start": pa.int64(), "end": pa.int64(), "source_line": pa.int64()}
        fields = [(name, kinds.get(name, pa.string())) for name in region_columns(with_label)]
        self._schema = pa.schema([*fields, *((name, pa.float32()) for name in columns)])
        temporary = stack.enter_context(atomic_path(out))
        self._out = stack.enter_context(pq.ParquetWriter(temporary, self._schema))

    def write(self, block: Scored) -> None:
        """Add a block as a row group."""
        import pyarrow as pa

        table = table_of(block, self._columns, self._with_label)
        self._out.write_table(pa.Table.from_pandas(table, self._schema, preserve_index=False))

    def finish(self) -> None:
        """Add the record."""
        self._out.add_key_value_metadata({"chromtransfer": json.dumps(self._record(), default=str)})


class OriginalWriter:
    """The table of the original prediction script: region, then the probabilities to 3 decimals.

    The region is the scored window as ``chrom:start-end``, or the name of a FASTA record, in a column without a name.
    """

    needs_place = False

    def __init__(self, stack: contextlib.ExitStack, out: Path, names: Sequence[str], windows: bool) -> None:
        self.paths = [out]
        self._windows = windows
        self._columns = [column for column, name in ORIGINAL.items() if name in names]
        self._order = [list(names).index(ORIGINAL[column]) for column in self._columns]
        self._out = open_output(stack, out)
        self._out.write(pd.DataFrame(columns=self._columns).to_csv().encode())

    def write(self, block: Scored) -> None:
        """Add a block."""
        table = block.table
        ids = table["name"]
        if self._windows:
            ids = region_ids(table).where(table["start"].notna(), ids)
        rounded = np.round(block.probabilities[:, self._order], 3)
        frame = pd.DataFrame(rounded, columns=self._columns, index=ids.to_numpy(dtype=object))
        self._out.write(frame.to_csv(header=False).encode())

    def finish(self) -> None:
        """Nothing is left to do."""


def check_original(models: dict[str, int]) -> list[str]:
    """Check the models, given with their numbers of outputs, for the original's table; return the columns it lacks.

    Raises
    ------
    ChromTransferError
        If a model has no column in it or several outputs.
    """
    for name, outputs in models.items():
        if name not in ORIGINAL.values() or outputs != 1:
            why = "is none of its models" if outputs == 1 else f"has {outputs} outputs"
            raise ChromTransferError(
                f"--format original: '{name}' {why}. It has a column for each of {', '.join(ORIGINAL.values())}; "
                "name a model that is one of them so: --model K562=FOLDER."
            )
    return [column for column, name in ORIGINAL.items() if name not in models]


def lines_of(table: pd.DataFrame, separator: str | None) -> bytes:
    """Give the rows of a table as text, missing values empty, numbers in the shortest form that reads back the same.

    None separates by tabs and quotes nothing, as BED wants it. (pandas takes four times as long.)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(table):
        return b""
    columns = []
    for name in table:
        values = pa.array(table[name], from_pandas=True)
        text = pc.fill_null(pc.cast(values, pa.string()), "")
        if separator is not None and pa.types.is_large_string(values.type) | pa.types.is_string(values.type):
            special = pc.match_substring_regex(text, f'["\\r\\n{separator}]')
            if pc.any(special).as_py():
                quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
                text = pc.if_else(special, quoted, text)
        columns.append(text)
    lines = pc.binary_join_element_wise(*columns, separator or "\t")
    return ("\n".join(lines.to_pylist()) + "\n").encode()
