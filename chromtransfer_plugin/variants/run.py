"""``chromtransfer variants``: from a VCF to the same VCF with scores, and to tables of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.constants import SEED
from chromtransfer_plugin.defaults import PREDICT_BATCH
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import plain_no_room, remove_leftovers
from chromtransfer_plugin.prediction import plan as plans
from chromtransfer_plugin.prediction.store import Partial
from chromtransfer_plugin.variants import plan as variant_plans
from chromtransfer_plugin.variants.dropped import SUFFIX, Dropped
from chromtransfer_plugin.variants.effects import effects_of
from chromtransfer_plugin.variants.info import fields_of
from chromtransfer_plugin.variants.look import Look
from chromtransfer_plugin.variants.models import choose_predictors
from chromtransfer_plugin.variants.null import Null, make_null
from chromtransfer_plugin.variants.outputs import open_writers, remove_other_indexes
from chromtransfer_plugin.variants.plan import NO_NULL, RECORD, Plan, Request, StrandChoice, format_of
from chromtransfer_plugin.variants.records import BLOCK_RECORDS, Block, Edges, VariantSource
from chromtransfer_plugin.variants.scorer import Scorer, Scores
from chromtransfer_plugin.variants.table import Results, Top, measures

SCORED_ROWS = 512  # alleles of a block that are scored before the numbers are stored: what a kill loses
NULL_SIZE = 1000
_NUMBERS = 3  # stored of each allele and column: logits of REF and ALT, shift

Report = Callable[[str], object]


class VariantRun(NamedTuple):
    """What :func:`score_variants` did.

    Attributes
    ----------
    files : list of Path
        Everything written.
    counts : dict
        Alleles by status, "scored" for those with numbers, and "rejected" for lines that are no records.
    columns : list of str
        NAME of each model, or NAME.OUTPUT of those with several outputs.
    top : DataFrame
        The alleles with the largest absolute log-odds over all columns, that first: the columns of the TSV, then
        ``start``, ``old``, ``new``, ``slide`` and ``swapped`` (see :class:`~chromtransfer_plugin.variants.placing.Place`).
    """

    files: list[Path]
    counts: dict[str, int]
    columns: list[str]
    top: pd.DataFrame


def score_variants(
    vcf: str | Path,
    out: str | Path | Sequence[str | Path],
    *,
    genome: str | Path,
    models: str | Path | Sequence[str | Path] = (),
    ensembles: Sequence[str] = (),
    strand: StrandChoice = "both",
    shifts: Sequence[int] = (0,),
    edges: Edges = "pad",
    swap: bool = False,
    null: str | Path = "genome",
    null_size: int = NULL_SIZE,
    null_regions: str | Path | None = None,
    cache: str | Path | None = None,
    width: int | None = None,
    batch_size: int = PREDICT_BATCH,
    device: str = "auto",
    seed: int = SEED,
    top: int = 0,
    figures: str | Path | None = None,
    progress: bool = False,
    report: Report = lambda _: None,
) -> VariantRun:
    """Score each ALT allele of a VCF with one or many models in one pass.

    Any number of records needs the same memory. Results are kept in ``.NAME.partial`` beside the first output until it
    is complete: the same call after a kill goes on where it stopped and writes the same bytes.

    Parameters
    ----------
    vcf : path
        VCF (plain or bgzip) or BCF.
    out : path or sequence of them
        ``.vcf``, ``.vcf.gz`` (with an index), ``.tsv``, ``.tsv.gz`` or ``.parquet``. Beside the first one are
        written ``OUT.run.json``, and ``OUT.dropped.tsv`` if an allele has no score.
    genome : path
        FASTA that the VCF refers to.
    models, ensembles : sequence
        See :func:`~chromtransfer_plugin.variants.models.choose_predictors`.
    strand : {"both", "forward"}
        Mean of the logits of both strands, or the plus strand alone.
    shifts : sequence of int
        bp by which windows are moved as well; the one with the largest absolute log-odds counts, for each column on
        its own, but for exclusive classes of one model together. The centred window is always among them.
    edges : {"pad", "skip"}
        Fill windows that reach off the contig with unknown bases, or do not score their variants.
    swap : bool
        Score alleles whose ALT instead of REF is what the genome has.
    null : {"genome", "shuffled", "none"} or path
        Variants that tell how large effects without a meaning are; the path of a VCF takes its variants.
    null_size : int
        How many are drawn.
    null_regions : path, optional
        BED in which they are drawn.
    cache : path, optional
        File of scored windows that is read and added to.
    width : int, optional
        Window in bp; None is the models' own.
    batch_size : int
    device : str
        auto, cpu, cuda or cuda:N.
    seed : int
        Of the null.
    top : int
        How many alleles to return in ``VariantRun.top``.
    figures : path, optional
        Folder of figures that explain these; see :func:`~chromtransfer_plugin.variants.explain.explain_variants`.
    progress : bool
        Show a bar with rate and ETA.
    report : callable
        Takes messages of one or more lines.

    Returns
    -------
    VariantRun

    Raises
    ------
    ChromTransferError
        For any input that is not usable; if no contig is in the genome; if REF is never what the genome has.
    """
    request = Request(
        Path(vcf).expanduser(), variant_plans.paths_of(out), Path(genome).expanduser(), strand, tuple(shifts), edges,
        swap, str(null), null_size, _path(null_regions), _path(cache), width, batch_size, device, seed, top,
        _path(figures),
    )  # fmt: skip
    variant_plans.check_request(request)
    specs = [models] if isinstance(models, str | Path) else list(models)
    predictors = choose_predictors(specs, ensembles)
    plan = variant_plans.make_plan(request, predictors, report)
    return _Run(plan, progress, report).run()


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser()


def _n_scored(table: pd.DataFrame) -> int:
    return int((table["status"] == 0).sum())


class _Run:
    """The three passes over an input: look, score, write."""

    def __init__(self, plan: Plan, progress: bool, report: Report) -> None:
        self._plan, self._progress, self._report = plan, progress, report
        request, settings = plan.request, plan.settings
        self._source = VariantSource(
            request.path, plan.genome, settings.width, settings.shifts, request.edges, request.swap
        )
        self._input_sha256 = sha256(request.path)
        self._scorer = Scorer(plan.predictors, plan.genome, settings, request.cache)
        self._measures = measures(request.null != NO_NULL, len(settings.shifts) > 1)
        has_vcf = "vcf" in map(format_of, request.outs)
        self._fields = fields_of(plan.columns, self._measures) if has_vcf else []

    def run(self) -> VariantRun:
        look = self._look()
        look.check(self._plan.request.path, self._plan.genome)
        null = self._null()
        self._facts = variant_plans.facts_of(self._plan, null.facts if null else None)
        partial = Partial(self._plan.out, self._identity(), _NUMBERS * len(self._plan.columns))
        with plain_no_room(partial.folder), partial.opened():
            figures = self._plan.request.figures
            for target in [*self._plan.targets, *([figures] if figures else [])]:
                remove_leftovers(target)
            if partial.changed:
                self._report(
                    f"{partial.folder}: results of an earlier run with other settings "
                    f"({', '.join(partial.changed)}) are discarded."
                )
            with self._scorer.ready():
                self._score(partial, look)
            top = Top(self._plan.request.top)
            files, dropped = self._write(partial, look, null, top)
            drawn = self._draw(top)
            record = self._record([*files, *drawn], look)
        files.append(record)
        self._say(files, dropped, look)
        counts = {**look.counts, **({"rejected": look.n_rejected} if look.n_rejected else {})}
        return VariantRun([*files, *drawn], counts, self._plan.columns, top.table)

    def _blocks(self) -> Iterator[Block]:
        yield from self._source.blocks(BLOCK_RECORDS)
        if plans.stamp(self._source.path) != self._plan.stamp:
            raise ChromTransferError(
                f"{self._source.path}: changed while it was read. Run the command again."
            )

    def _look(self) -> Look:
        """Read everything once, before hours of work: what is wrong is found now, and the end is in sight."""
        from tqdm import tqdm

        look = Look()
        with tqdm(unit="record", desc="read", disable=not self._progress, leave=False, delay=1) as bar:
            for block in self._blocks():
                look.add(block)
                bar.update(len(block.lines))
        return look

    def _null(self) -> Null | None:
        request = self._plan.request
        if request.null == NO_NULL:
            return None
        with self._scorer.ready():
            return make_null(
                request.null,
                request.null_size,
                self._scorer,
                self._plan.genome,
                request.seed,
                request.null_regions,
                self._progress,
            )

    def _identity(self) -> dict[str, Any]:
        import torch

        return {
            **self._facts,
            "input": self._input_sha256,
            "settings": self._plan.settings._asdict(),
            "rows of a block": [BLOCK_RECORDS, SCORED_ROWS],
            "torch": torch.__version__,
        }

    def _score(self, partial: Partial, look: Look) -> None:
        from tqdm import tqdm

        done, total = partial.rows(), look.n_alleles
        if done:
            self._report(f"resumed: {done:,} of {total:,} alleles were done before")
        with (
            tqdm(
                total=look.n_scored,
                unit="allele",
                desc="score",
                disable=not self._progress or done == total,
            ) as bar,
            partial.appending() as append,
        ):
            passed = 0
            for block in self._blocks() if done < total else ():
                for start in range(0, len(block.table), SCORED_ROWS):
                    rows = block.table.iloc[start : start + SCORED_ROWS]
                    if passed >= done:
                        append(self._numbers(rows))
                    elif not bar.disable:
                        bar.initial += _n_scored(rows)  # not of this run's speed
                    passed += len(rows)
                    bar.update(_n_scored(rows))

    def _numbers(self, table: pd.DataFrame) -> NDArray[np.float32]:
        """Score the rows that can be; (n, 3 * columns), NaN in the others."""
        out = np.full((len(table), _NUMBERS * len(self._plan.columns)), np.nan, dtype=np.float32)
        scored = (table["status"] == 0).to_numpy()
        if scored.any():
            out[scored] = np.concatenate(self._scorer.score(table[scored]), axis=1, dtype=np.float32)
        return out

    def _write(self, partial: Partial, look: Look, null: Null | None, top: Top) -> tuple[list[Path], Dropped]:
        from tqdm import tqdm

        with contextlib.ExitStack() as stack, partial.reading() as stored:
            writers = open_writers(
                stack,
                self._plan,
                look,
                self._source.header,
                self._fields,
                self._measures,
                self._facts,
                partial.folder,
            )
            dropped = Dropped(stack, plans.beside(self._plan.out, SUFFIX))
            with tqdm(
                total=look.n_records,
                unit="record",
                desc="write",
                disable=not self._progress,
                leave=False,
                delay=1,
            ) as bar:
                for block in self._blocks():
                    results = self._results(block, stored(len(block.table)), null)
                    for writer in writers:
                        writer.write(results)
                    dropped.write(results)
                    top.add(results)
                    bar.update(len(block.lines))
            for writer in writers:
                writer.finish()
        files = [*(path for writer in writers for path in writer.paths), *dropped.paths]
        for out in self._plan.request.outs:
            remove_other_indexes(out, files)
        if not dropped.paths:
            plans.beside(self._plan.out, SUFFIX).unlink(missing_ok=True)  # of an earlier run
        return files, dropped

    def _results(self, block: Block, stored: NDArray[np.float32], null: Null | None) -> Results:
        ref, alt, shift = np.split(stored, _NUMBERS, axis=1)
        shifts = np.where(np.isnan(shift), 0, shift).astype(np.int64)
        effects = effects_of(Scores(ref, alt, shifts), self._plan.predictors)
        return Results(
            block,
            effects,
            null.percentile(effects.log_odds) if null else None,
            null.p_value(effects.log_odds) if null else None,
            shifts,
            self._plan.genome,
            self._plan.settings.width,
            self._plan.columns,
            self._measures,
        )

    def _draw(self, top: Top) -> list[Path]:
        """Explain the largest effects by figures, if asked for."""
        folder = self._plan.request.figures
        if folder is None:
            return []
        if not len(top.table):
            self._report(f"{folder}: not written, nothing was scored that figures could explain.")
            return []
        from chromtransfer_plugin.variants.explain import explain_variants

        plan = self._plan
        return explain_variants(
            top.table,
            plan.predictors,
            plan.genome,
            plan.settings,
            folder,
            device=plan.request.device,
            progress=self._progress,
            report=self._report,
        )

    def _record(self, files: list[Path], look: Look) -> Path:
        from chromtransfer_plugin.run_record import write_run_record

        plan, scorer = self._plan, self._scorer
        record = plans.beside(plan.out, RECORD)
        windows = {"asked_for": scorer.n_windows, "run": scorer.n_run, "from_cache": scorer.n_cached}
        facts = {
            **self._facts,
            "genome": {"path": str(plan.genome.path), "identity": plan.genome.identity},
            "input": {"path": str(plan.request.path), "sha256": self._input_sha256},
            "batch_size": plan.settings.batch_size,
            "columns": plan.columns,
            "records": look.n_records,
            "alleles": look.counts,
            "rejected_lines": look.n_rejected,
            "windows": windows,
            "files": [str(path) for path in files],
        }
        write_run_record(record, plan.device, **facts)
        return record

    def _say(self, files: list[Path], dropped: Dropped, look: Look) -> None:
        scorer = self._scorer
        self._report(dropped.summary(look))
        for warning in look.warnings(self._plan.genome):
            self._report(f"WARNING: {warning}")
        self._report(
            f"windows: {scorer.n_windows:,} asked for, {scorer.n_run:,} run, {scorer.n_cached:,} from the cache"
        )
        self._report(f"written: {', '.join(map(str, files))}")
