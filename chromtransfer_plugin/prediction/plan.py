"""Checking what was asked for, before anything is computed, and choosing input and output for it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS
from chromtransfer_plugin.device import describe, pick_device
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.prediction.bigwig import BigWigWriter, bigwig_paths
from chromtransfer_plugin.prediction.dropped import SUFFIX
from chromtransfer_plugin.prediction.evaluation import evaluated_outputs, evaluation_paths
from chromtransfer_plugin.prediction.fasta_input import FastaSource
from chromtransfer_plugin.prediction.inputs import LONGEST, Block, RegionSource, Source
from chromtransfer_plugin.prediction.names import NamedModel
from chromtransfer_plugin.prediction.outputs import (
    BedWriter,
    OriginalWriter,
    ParquetWriter,
    TextWriter,
    Writer,
    check_original,
    format_of,
)
from chromtransfer_plugin.prediction.policy import POLICIES, NPolicy

if TYPE_CHECKING:
    import torch

Kind = Literal["bed", "fasta", "csv"]


class Request(NamedTuple):
    """The arguments of :func:`~chromtransfer_plugin.prediction.run.predict_file`."""

    kind: Kind
    path: Path
    out: Path
    genome: str | Path | None
    width: int | Literal["native"] | None
    format: str | None
    n_policy: NPolicy
    both_strands: bool
    batch_size: int
    device: str
    positive: str | None
    evaluation: Path | None
    evaluation_calls: bool


class Plan(NamedTuple):
    """A checked request with its input opened and its output chosen."""

    request: Request
    source: Source
    width: int | None
    format: str
    device: torch.device
    names: list[str]
    stamp: tuple[int, int]  # of the input before it was read
    targets: list[Path]  # every file that may be written

    def writer(
        self,
        stack: contextlib.ExitStack,
        columns: Sequence[str],
        scratch: Path,
        facts: Callable[[], dict[str, Any]],
    ) -> Writer:
        """Open the output."""
        out, with_label = self.request.out, not self.source.named_by_label
        if self.format == "parquet":
            return ParquetWriter(stack, out, columns, with_label, facts)
        if self.format == "bed":
            return BedWriter(stack, out, columns)
        if self.format == "bigwig":
            assert self.source.genome is not None  # make_plan refuses a FASTA
            return BigWigWriter(stack, out, columns, self.source.genome.contigs, scratch)
        if self.format == "original":
            return OriginalWriter(stack, out, self.names, windows=self.request.kind != "fasta")
        return TextWriter(stack, out, "\t" if self.format == "tsv" else ",", columns, with_label)


def one_input(**inputs: str | Path | None) -> tuple[Kind, Path]:
    """Return kind and path of the one input given."""
    given = [(kind, path) for kind, path in inputs.items() if path is not None]
    if len(given) != 1:
        raise ChromTransferError(
            f"predict: {len(given)} inputs given, expected exactly one of --bed, --fasta and --csv."
        )
    kind, path = given[0]
    return kind, Path(path).expanduser()  # type: ignore[return-value]


def check_request(request: Request) -> None:
    """Refuse arguments that have no meaning or do not go together, and an input that cannot be read twice."""
    kind, path = request.kind, request.path
    if kind == "fasta" and request.genome is not None:
        raise ChromTransferError(
            "--genome has no use with --fasta, whose sequences are scored as they stand."
        )
    if kind != "fasta" and request.genome is None:
        raise ChromTransferError(f"--{kind} {path}: the sequences come from a genome: give --genome FASTA.")
    check_width(request.width)
    if request.n_policy not in POLICIES:
        raise ChromTransferError(f"n-policy is '{request.n_policy}', expected one of {', '.join(POLICIES)}.")
    size = request.batch_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ChromTransferError(f"batch size is {size!r}, expected a whole number of at least 1.")
    if request.evaluation is not None and not request.positive:
        raise ChromTransferError("--evaluation needs --positive LABEL, the label of the positive rows.")
    if request.evaluation_calls and request.evaluation is None:
        raise ChromTransferError(
            "--evaluation-calls adds a column to the file of --evaluation: name that file."
        )
    check_readable_again(path)


def check_width(width: object) -> None:
    """Raise if this is no width of windows."""
    if width not in (None, "native") and (
        isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= LONGEST
    ):
        raise ChromTransferError(f"width is {width!r}, expected 1 to {LONGEST:,} bp or 'native'.")


def check_readable_again(path: Path) -> None:
    """Raise if an input is a pipe or a device, which can be read only once."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ChromTransferError(
            f"{path}: is no regular file. It is read several times: save it to a file first."
        )


def announce(models: Sequence[NamedModel], device: str, report: Callable[[str], object]) -> torch.device:
    """Choose the device; say which it is and where each model lies."""
    chosen = pick_device(device)
    for model in models:  # a name may stand for an installed model or for one of the package
        report(f"model {model.name}: {model.folder}")
    report(f"device: {describe(chosen)}")
    return chosen


def model_files(models: Sequence[NamedModel]) -> list[Path]:
    """Give the files that the models were read from."""
    return [model.folder / name for model in models for name in (CARD, WEIGHTS)]


def make_plan(request: Request, models: list[NamedModel], report: Callable[[str], object]) -> Plan:
    """Open input and genome and check the outputs.

    Raises
    ------
    ChromTransferError
        If any of them is not usable.
    """
    format = format_of(request.out, request.format)
    if format == "bigwig" and request.kind == "fasta":
        raise ChromTransferError(
            "bigWig needs a genome's coordinates, which a FASTA lacks. Write TSV or Parquet."
        )
    names = [model.name for model in models]
    if format == "original":
        absent = check_original({model.name: len(model.columns) for model in models})
        if absent:
            report(f"--format original: no model for {', '.join(absent)}; these columns are left out.")
    columns = [column for model in models for column in model.columns]
    targets = bigwig_paths(request.out, columns) if format == "bigwig" else [request.out]
    if request.positive:
        evaluated_outputs(models, request.positive)
    if request.evaluation is not None:
        targets += evaluation_paths(request.evaluation, models)
    targets += [beside(request.out, suffix) for suffix in (".run.json", SUFFIX)]
    inputs = [request.path, *model_files(models)]
    inputs += [Path(request.genome).expanduser()] if request.genome else []
    check_targets(targets, inputs)
    width = _width(request, models, format)
    device = announce(models, request.device, report)
    before = stamp(request.path)
    source = _open(request, width)
    for note in source.notes:
        report(note)
    return Plan(request, source, width, format, device, names, before, targets)


def _open(request: Request, width: int | None) -> Source:
    if request.kind == "fasta":
        return FastaSource(request.path, width, request.n_policy)
    assert request.genome is not None  # check_request
    format: Literal["csv", "auto"] = "csv" if request.kind == "csv" else "auto"
    return RegionSource(request.path, Genome(request.genome), width, request.n_policy, format)


def _width(request: Request, models: list[NamedModel], format: str) -> int | None:
    if request.width == "native":
        return None
    if request.width is not None:
        return request.width
    if request.kind == "fasta" or "original" in (request.n_policy, format):
        return None
    return common_window(models)


def common_window(models: Sequence[NamedModel]) -> int:
    """Give the window that all models were trained on; raise if they differ."""
    windows = {model.card.window for model in models}
    if len(windows) > 1:
        listed = ", ".join(f"{model.name} {model.card.window}" for model in models)
        raise ChromTransferError(
            f"--model: the models were trained on windows of different widths ({listed} bp): choose one for all with "
            "--width, or run them one by one."
        )
    return windows.pop()


class _Probe(Exception):  # noqa: N818 - never seen by anyone
    pass


def check_targets(targets: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise if a file cannot be written, would be written twice, or is an input."""
    for path, count in Counter(targets).items():
        if count > 1:
            raise ChromTransferError(f"{path}: would be written twice. Choose different names.")
        for source in inputs:
            if path.exists() and source.exists() and path.samefile(source):
                raise ChromTransferError(f"{path}: is an input of this run, choose another output.")
        # Leaving by an exception keeps what is there; the messages are those of the real writing.
        with contextlib.suppress(_Probe), atomic_path(path):
            raise _Probe


def stamp(path: Path) -> tuple[int, int]:
    """Give what tells that a file has changed; zeros for one that does not exist."""
    if not path.exists():
        return 0, 0
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def beside(out: Path, suffix: str) -> Path:
    """Give the name of a file that goes with the output."""
    return out.with_name(out.name + suffix)


def count_labels(path: Path, block: Block, labels: Counter[str]) -> None:
    """Count the labels of a block's rows that can be scored; raise if one has none."""
    table = block.table()[block.status == 0]
    missing = np.flatnonzero(table["label"] == "")
    if missing.size:
        raise ChromTransferError(
            f"{path}: line {table['source_line'].iloc[missing[0]]}: has no label, which --positive needs: it would "
            "silently count as negative. Give every row a label."
        )
    labels.update(table["label"])


def check_positive(path: Path, positive: str, labels: Counter[str]) -> None:
    """Raise if no row has the positive label."""
    if positive not in labels:
        found = ", ".join(f"{label} {count}" for label, count in labels.most_common(20))
        raise ChromTransferError(
            f"{path}: no row has the label '{positive}'. Labels and counts: {found or 'none'}. Choose one of these."
        )
