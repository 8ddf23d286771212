"""``chromtransfer predict``: from a file of regions or sequences to a file of probabilities."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import chromtransfer_plugin
from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.defaults import PREDICT_BATCH
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import remove_leftovers
from chromtransfer_plugin.prediction import plan as plans
from chromtransfer_plugin.prediction.dropped import SUFFIX, Dropped
from chromtransfer_plugin.prediction.engine import PIECE_BASES, Settings, score_blocks
from chromtransfer_plugin.prediction.evaluation import EvaluationWriter, Figures
from chromtransfer_plugin.prediction.inputs import STATUSES, Block, Source
from chromtransfer_plugin.prediction.names import NamedModel, choose_models
from chromtransfer_plugin.prediction.outputs import NO_PLACE, Scored, region_columns
from chromtransfer_plugin.prediction.policy import NPolicy
from chromtransfer_plugin.prediction.store import Partial
from chromtransfer_plugin.region_windows import OK, strict_error

BLOCK_ROWS = 4096  # rows held at a time; a killed run repeats at most these

Report = Callable[[str], object]


class Prediction(NamedTuple):
    """What :func:`predict_file` did.

    Attributes
    ----------
    files : list of Path
        Everything written.
    counts : dict
        Rows by status; "ok" for those with probabilities.
    columns : list of str
        The probability columns.
    figures : dict
        Of labelled input: by model, number of rows, positives, AUROC and average precision.
    """

    files: list[Path]
    counts: dict[str, int]
    columns: list[str]
    figures: dict[str, Figures]


def predict_file(
    models: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    bed: str | Path | None = None,
    fasta: str | Path | None = None,
    csv: str | Path | None = None,
    genome: str | Path | None = None,
    width: int | Literal["native"] | None = None,
    format: str | None = None,
    n_policy: NPolicy = "zero",
    both_strands: bool = False,
    batch_size: int = PREDICT_BATCH,
    device: str = "auto",
    strict: bool = False,
    positive: str | None = None,
    evaluation: str | Path | None = None,
    evaluation_calls: bool = False,
    progress: bool = False,
    report: Report = lambda _: None,
) -> Prediction:
    """Predict open chromatin for every row of a file with one or many models in one pass.

    Any number of rows needs the same memory. Results are kept in ``.NAME.partial`` beside the output until it is
    complete: the same call after a kill goes on where it stopped and writes the same bytes.

    Parameters
    ----------
    models : str, path or sequence of them
        Model folders, names of installed models, or ``NAME=FOLDER``; see
        :func:`~chromtransfer_plugin.prediction.names.choose_models`.
    out : path
        Written when complete, together with ``OUT.run.json``, and ``OUT.dropped.tsv`` if rows could not be scored.
    bed, fasta, csv : path
        Exactly one: BED or narrowPeak; FASTA; ``chrom:start-end,label`` lines. Plain, gzip or bgzip.
    genome : path
        FASTA that the regions of a BED or CSV refer to.
    width : int, "native" or None
        Bases around the centre of each row; "native" keeps each row's own. None is the models' window for regions
        and "native" for a FASTA, and for whatever reproduces the original.
    format : {"tsv", "csv", "parquet", "bed", "bigwig", "original"} or None
        None goes by the suffix of ``out``.
    n_policy : {"zero", "original"}
        "zero": an unknown base is an all-zero column. "original": N are deleted, other letters repeat the base
        before them, and all sequences are filled up with zeros at the end to the longest of the input.
    both_strands : bool
        Mean of the logits of each sequence and of its reverse complement.
    batch_size : int
    device : str
        auto, cpu, cuda or cuda:N.
    strict : bool
        Raise at the first row that cannot be scored, before any is.
    positive : str, optional
        Label of the positives: checks that every row has a label, and gives ``figures``.
    evaluation : path, optional
        Evaluation CSV to write; needs ``positive``.
    evaluation_calls : bool
        Add its older fifth column, the call.
    progress : bool
        Show a bar with rate and ETA.
    report : callable
        Takes messages of one or more lines.

    Returns
    -------
    Prediction

    Raises
    ------
    ChromTransferError
        For any input that is not usable, if no row at all can be scored, or with ``strict`` for the first bad row.
    """
    kind, path = plans.one_input(bed=bed, fasta=fasta, csv=csv)
    request = plans.Request(
        kind, path, Path(out).expanduser(), genome, width, format, n_policy, both_strands, batch_size, device, positive,
        None if evaluation is None else Path(evaluation).expanduser(), evaluation_calls,
    )  # fmt: skip
    plans.check_request(request)
    chosen = choose_models(models, taken=region_columns(True))
    plan = plans.make_plan(request, chosen, report)
    run = _Run(plan, chosen, progress, report)
    return run.run(strict)


class _Run:
    """The three passes over an input: look (only where needed), score, write."""

    def __init__(self, plan: plans.Plan, models: list[NamedModel], progress: bool, report: Report) -> None:
        self._plan, self._models, self._progress, self._report = plan, models, progress, report
        self._source: Source = plan.source
        self._input_sha256 = sha256(self._source.path)
        self._columns = [column for model in models for column in model.columns]
        self._counts: Counter[str] = Counter()

    def run(self, strict: bool) -> Prediction:
        request = self._plan.request
        pad_to = self._look(strict, request.positive, request.n_policy == "original")
        settings = Settings(request.batch_size, request.both_strands, pad_to, str(self._plan.device))
        partial = Partial(request.out, self._identity(settings), len(self._columns))
        with partial.opened():
            for target in self._plan.targets:
                remove_leftovers(target)
            if partial.changed:
                self._report(
                    f"{partial.folder}: results of an earlier run with other settings ({', '.join(partial.changed)}) "
                    "are discarded."
                )
            self._score(partial, settings)
            files, figures = self._write(partial)
        return Prediction(files, dict(self._counts), self._columns, figures)

    def _blocks(self) -> Iterator[Block]:
        yield from self._source.blocks(BLOCK_ROWS)
        if plans.stamp(self._source.path) != self._plan.stamp:
            raise ChromTransferError(
                f"{self._source.path}: changed while it was read. Run the command again."
            )

    def _look(self, strict: bool, positive: str | None, original: bool) -> int:
        """Check all rows where something about all of them must be known first; return the length to pad to."""
        if not (strict or positive or original):
            return 0
        longest = 0
        labels: Counter[str] = Counter()
        for block in self._blocks():
            bad = np.flatnonzero(block.status)
            if strict and bad.size:
                line = int(block.table()["source_line"].iloc[bad[0]])
                raise strict_error(
                    self._source.path, (line, block.text(bad[:1])[0], STATUSES[block.status[bad[0]]])
                )
            if positive:
                plans.count_labels(self._source.path, block, labels)
            if original:
                longest = max(longest, block.longest_known(PIECE_BASES))
        if positive:
            plans.check_positive(self._source.path, positive, labels)
        return longest

    def _identity(self, settings: Settings) -> dict[str, Any]:
        import torch

        return {
            "input": {"sha256": self._input_sha256, "kind": self._plan.request.kind},
            "models": [model.facts for model in self._models],
            "genome": self._source.genome.identity if self._source.genome else None,
            "width": self._plan.width,
            "N policy": self._plan.request.n_policy,
            "settings": settings._asdict(),
            "rows of a block": BLOCK_ROWS,
            "versions": [chromtransfer_plugin.__version__, torch.__version__],
        }

    def _score(self, partial: Partial, settings: Settings) -> None:
        from tqdm import tqdm

        done, total = partial.rows(), self._source.n_rows
        if done:
            self._report(f"resumed: {done:,} of {total:,} rows were done before")

        def remaining() -> Iterator[Block]:
            passed = 0
            for block in self._blocks():
                if passed >= done:
                    yield block
                passed += len(block)

        with (
            tqdm(
                total=total,
                initial=done,
                unit="seq",
                desc="predict",
                disable=not self._progress or done == total,
            ) as bar,
            partial.appending() as append,
        ):
            if done < total:
                for block, values in score_blocks(self._models, remaining(), settings, bar.update):
                    self._check_numbers(block, values)
                    append(values)

    def _check_numbers(self, block: Block, values: NDArray[np.float32]) -> None:
        wrong = np.argwhere(~np.isfinite(values) & (block.status == 0)[:, None])
        if wrong.size:
            column = wrong[0, 1]
            raise ChromTransferError(
                f"'{self._columns[column]}': the model gives no number for {block.text(wrong[:1, 0])[0]!r}, as if its "
                "weights were not finite. Check or replace the model."
            )

    def _write(self, partial: Partial) -> tuple[list[Path], dict[str, Figures]]:
        from tqdm import tqdm

        request = self._plan.request
        with contextlib.ExitStack() as stack, partial.reading() as stored:
            writer = self._plan.writer(stack, self._columns, partial.folder, self._facts)
            evaluation = None
            if request.positive:
                evaluation = EvaluationWriter(
                    stack, request.evaluation, self._models, request.positive, request.evaluation_calls
                )
            dropped = Dropped(stack, plans.beside(request.out, SUFFIX))
            kept = 0
            with tqdm(
                total=self._source.n_rows,
                unit="row",
                desc="write",
                disable=not self._progress,
                leave=False,
                delay=1,
            ) as bar:
                for block in self._blocks():
                    scored = Scored(block.table(), block.status, stored(len(block)))
                    writer.write(scored)
                    if evaluation:
                        evaluation.write(scored)
                    given = scored.placed if writer.needs_place else scored.status == 0
                    left = np.flatnonzero(~given)
                    reasons = [STATUSES[number] if number else NO_PLACE for number in scored.status[left]]
                    dropped.write(block, scored.table, left, reasons)
                    kept += int(given.sum())
                    self._count(block)
                    bar.update(len(block))
            if not self._counts[OK]:
                partial.remove()
                raise self._source.refusal(self._counts)
            if not kept:
                partial.remove()
                raise ChromTransferError(
                    f"{self._source.path}: no row has coordinates (chrom:start-end in its name), which this output "
                    "needs. Write TSV, CSV or Parquet."
                )
            writer.finish()
            figures = evaluation.figures() if evaluation else {}
        files = [*writer.paths, *(evaluation.paths if evaluation else []), *dropped.paths]
        return self._finished(files, dropped, figures), figures

    def _count(self, block: Block) -> None:
        for number, count in enumerate(np.bincount(block.status, minlength=len(STATUSES))):
            if count:
                self._counts[STATUSES[number]] += int(count)

    def _facts(self) -> dict[str, Any]:
        request = self._plan.request
        genome = self._source.genome
        return {
            "models": [{**model.facts, "folder": str(model.folder)} for model in self._models],
            "input": {"path": str(self._source.path), "sha256": self._input_sha256, "kind": request.kind},
            "genome": {"path": str(genome.path), "identity": genome.identity} if genome else None,
            "window": self._plan.width or "native",
            "n_policy": request.n_policy,
            "both_strands": request.both_strands,
            "batch_size": request.batch_size,
            "columns": self._columns,
            "rows": dict(self._counts),
        }

    def _finished(self, files: list[Path], dropped: Dropped, figures: dict[str, Figures]) -> list[Path]:
        from chromtransfer_plugin.run_record import write_run_record

        out = self._plan.request.out
        if not dropped.paths:
            plans.beside(out, SUFFIX).unlink(missing_ok=True)  # of an earlier run
        record = plans.beside(out, ".run.json")
        # JSON has no NaN.
        plain = {
            name: {key: number if number == number else None for key, number in value._asdict().items()}
            for name, value in figures.items()
        }
        facts = {**self._facts(), "figures": plain}
        write_run_record(record, self._plan.device, **facts)
        dropped.report(self._report)
        for name, value in figures.items():
            self._report(
                f"{name}: AUROC {value.auroc:.4f}, average precision {value.average_precision:.4f} "
                f"({value.n_positive:,} of {value.n:,} rows are {self._plan.request.positive})"
            )
        total = sum(self._counts.values())
        self._report(f"{self._counts[OK]:,} of {total:,} rows scored: {', '.join(map(str, files[:8]))}")
        return [*files, record]
