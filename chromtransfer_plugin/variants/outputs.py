"""Writing scored variants block by block: VCF (plain, or bgzip with an index), TSV and Parquet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, open_output
from chromtransfer_plugin.prediction.outputs import lines_of
from chromtransfer_plugin.prediction.plan import beside
from chromtransfer_plugin.variants.info import Field, Header, info_texts, make_header, with_info
from chromtransfer_plugin.variants.look import Look
from chromtransfer_plugin.variants.plan import INDEXES, Plan, format_of, is_bgzip
from chromtransfer_plugin.variants.sorting import LineSorter
from chromtransfer_plugin.variants.table import COLUMNS, TEXTS, Measure, Results
from chromtransfer_plugin.variants.vcf_text import quiet_htslib


class Writer(Protocol):
    """Takes the blocks in input order; the files appear when its stack is left without an error."""

    paths: list[Path]

    def write(self, results: Results) -> None:
        """Add a block."""

    def finish(self) -> None:
        """Do what can only be done after the last block."""


def score_columns(columns: Sequence[str], measures: Sequence[Measure]) -> dict[str, Measure]:
    """Give the columns of the numbers, in order."""
    return {f"{column}.{measure.name}": measure for column in columns for measure in measures}


class TsvWriter:
    """TSV, compressed if the name ends in ``.gz``; what an allele does not have is empty."""

    def __init__(
        self, stack: contextlib.ExitStack, out: Path, columns: Sequence[str], measures: Sequence[Measure]
    ) -> None:
        self.paths = [out]
        self._out = open_output(stack, out)
        header = pd.DataFrame(columns=[*COLUMNS, *score_columns(columns, measures)])
        self._out.write(header.to_csv(sep="\t", index=False).encode())

    def write(self, results: Results) -> None:
        """Add a block."""
        self._out.write(lines_of(results.table, "\t"))

    def finish(self) -> None:
        """Nothing is left to do."""


class ParquetWriter:
    """Parquet, one row group for each block; how it was made is its metadata under the key ``chromtransfer``."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        out: Path,
        columns: Sequence[str],
        measures: Sequence[Measure],
        facts: dict[str, Any],
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.paths = [out]
        scores = score_columns(columns, measures)
        self._schema = pa.schema(
            [
                *((name, pa.string() if name in TEXTS else pa.int64()) for name in COLUMNS),
                *((name, pa.int64() if measure.is_integer else pa.float32()) for name, measure in scores.items()),
            ],
            {"chromtransfer": json.dumps(facts, default=str)},
        )  # fmt: skip
        temporary = stack.enter_context(atomic_path(out))
        self._out = stack.enter_context(pq.ParquetWriter(temporary, self._schema))

    def write(self, results: Results) -> None:
        """Add a block as a row group."""
        import pyarrow as pa

        self._out.write_table(pa.Table.from_pandas(results.table, self._schema, preserve_index=False))

    def finish(self) -> None:
        """Nothing is left to do."""


class VcfWriter:
    """The records of the input with our INFO fields, sorted; bgzip with an index if the name ends in ``.gz``.

    Parameters
    ----------
    stack : ExitStack
    out : Path
    header : Header
    fields : sequence of Field
    sort_in : Path or None
        Folder for sorting, None if the input is sorted.
    """

    def __init__(
        self,
        stack: contextlib.ExitStack,
        out: Path,
        header: Header,
        fields: Sequence[Field],
        sort_in: Path | None,
    ) -> None:
        self.paths = [out]
        self._stack = stack
        self._header, self._fields = header, fields
        self._sorter = None if sort_in is None else LineSorter(sort_in)
        self._ranks = {name: number for number, name in enumerate(header.contigs)}
        self._out: IO[bytes]
        self._temporary: Path | None = None
        if is_bgzip(out):
            import pysam

            self._temporary = stack.enter_context(atomic_path(out))
            self._out = pysam.BGZFile(str(self._temporary), "wb")
            stack.callback(self._give_up)  # without effect after finish
        else:
            self._out = open_output(stack, out)
        self._put("\n".join(header.lines) + "\n")

    def write(self, results: Results) -> None:
        """Add a block."""
        block = results.block
        texts = info_texts(results, self._fields)
        replaced = self._header.replaced
        lines = [with_info(line, text, replaced) for line, text in zip(block.lines, texts, strict=True)]
        if self._sorter is None:
            self._put("".join(f"{line}\n" for line in lines))
            return
        first = block.table[block.table["allele"] == 0]
        places = zip(first["chrom"].map(self._ranks), first["pos"], lines, strict=True)
        self._sorter.add((int(rank), int(pos), line) for rank, pos, line in places)

    def finish(self) -> None:
        """Write what had to be sorted, and the index."""
        if self._sorter is not None:
            for line in self._sorter.lines():
                self._put(f"{line}\n")
        if self._temporary is not None:
            with self._writing():
                self._out.close()
            self.paths.append(self._index(self._temporary))

    def _index(self, written: Path) -> Path:
        """Write an index: .csi if .tbi cannot hold the positions, among them those of END and SVLEN."""
        out = self.paths[0]
        for suffix in INDEXES:
            path = beside(out, suffix)
            try:
                with contextlib.ExitStack() as opened:
                    _make_index(written, opened.enter_context(atomic_path(path)), suffix)
                    self._stack.push(opened.pop_all())  # appears together with the VCF
                return path
            except OSError as error:
                reason = error.strerror or "a position, END or SVLEN is beyond what an index can hold"
        raise ChromTransferError(f"{out}: cannot be indexed ({reason}). Write .vcf instead of .vcf.gz.")

    def _put(self, text: str) -> None:
        with self._writing():
            self._out.write(text.encode())

    def _give_up(self) -> None:
        with contextlib.suppress(OSError), quiet_htslib():  # what went wrong is on its way to the user
            self._out.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the file when htslib, which gives no reason, cannot write it."""
        try:
            with quiet_htslib():
                yield
        except OSError as error:
            raise ChromTransferError(
                f"{self.paths[0]}: cannot be written ({error}). Is there room on the disk?"
            ) from error


def _make_index(path: Path, index: Path, kind: str) -> None:
    import pysam

    with quiet_htslib():  # it warns of POS 0
        pysam.tabix_index(str(path), force=True, preset="vcf", index=str(index), csi=kind == ".csi")


def open_writers(
    stack: contextlib.ExitStack,
    plan: Plan,
    look: Look,
    header: Sequence[str],
    fields: Sequence[Field],
    measures: Sequence[Measure],
    facts: dict[str, Any],
    scratch: Path,
) -> list[Writer]:
    """Open all outputs of a run.

    Parameters
    ----------
    stack : ExitStack
    plan : Plan
    look : Look
        At the whole input.
    header : sequence of str
        Of the input.
    fields : sequence of Field
        Of the VCFs.
    measures : sequence of Measure
    facts : dict
        Of :func:`~chromtransfer_plugin.variants.plan.facts_of`.
    scratch : Path
        Folder in which is sorted what is not.
    """
    writers: list[Writer] = []
    for number, out in enumerate(plan.request.outs):
        format = format_of(out)
        if format == "tsv":
            writers.append(TsvWriter(stack, out, plan.columns, measures))
        elif format == "parquet":
            writers.append(ParquetWriter(stack, out, plan.columns, measures, facts))
        else:
            contigs = plan.genome.contigs
            whole = make_header(header, list(look.contigs), contigs, fields, plan.columns, facts)
            folder = None if look.is_sorted else scratch / f"sort{number}"
            writers.append(VcfWriter(stack, out, whole, fields, folder))
    return writers


def remove_other_indexes(out: Path, kept: Sequence[Path]) -> None:
    """Remove the index of an earlier output of this name if it is of the other kind."""
    for suffix in INDEXES:
        path = beside(out, suffix)
        if is_bgzip(out) and path not in kept:
            path.unlink(missing_ok=True)
