"""``chromtransfer attribute``: one or many models over one or many sets of windows, into a store."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import chromtransfer_plugin
from chromtransfer_plugin.attribution.methods import attribute_codes
from chromtransfer_plugin.attribution.settings import Settings, parse_settings, reject_unused
from chromtransfer_plugin.attribution.show import TABLE_COLUMNS
from chromtransfer_plugin.attribution.store import Piece, window_names, write_store
from chromtransfer_plugin.attribution.store_parts import check_target
from chromtransfer_plugin.attribution.window_sets import NamedFile, Survey, Width, WindowSets, parse_sets
from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import remove_leftovers
from chromtransfer_plugin.onehot import ALPHABET
from chromtransfer_plugin.prediction import plan as plans
from chromtransfer_plugin.prediction.dropped import SUFFIX, Dropped
from chromtransfer_plugin.prediction.engine import enough_memory
from chromtransfer_plugin.prediction.names import NamedModel, choose_models
from chromtransfer_plugin.prediction.store import Partial
from chromtransfer_plugin.run_record import write_run_record

if TYPE_CHECKING:
    import torch

# Windows between two savings, of gradient x input and of the other methods, which take seconds for each on a CPU and
# need many to fill a GPU. A kill loses at most these.
_SAVED = {"cpu": (64, 4), "cuda": (1024, 64)}
_WRITTEN = 256
_MOST_LISTED = 5

Report = Callable[[str], object]


class Attribution(NamedTuple):
    """What :func:`attribute_file` did.

    Attributes
    ----------
    folder : Path
        The store; see :class:`~chromtransfer_plugin.attribution.store.AttributionStore`.
    counts : dict of str to dict
        By set, rows by status; "ok" for those in the store.
    columns : list of str
        What the models' scores are called: ``NAME``, or ``NAME.OUTPUT`` of a model with several outputs.
    """

    folder: Path
    counts: dict[str, dict[str, int]]
    columns: list[str]


class Column(NamedTuple):
    """One output of one model."""

    name: str
    model: NamedModel
    target: int

    @property
    def identity(self) -> dict[str, Any]:
        """What its scores depend on."""
        card = self.model.card
        return {
            "name": self.name,
            "model": self.model.name,
            "output": card.outputs[self.target],
            "target": self.target,
            "activation": card.activation,
            "weights_sha256": self.model.sha256,
        }


def attribute_file(
    models: str | Path | Sequence[str | Path],
    sets: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    genome: str | Path | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    width: Width | None = None,
    target: str | int | None = None,
    hypothetical: bool = False,
    device: str = "auto",
    strict: bool = False,
    progress: bool = False,
    report: Report = lambda _: None,
) -> Attribution:
    """Attribute outputs of one or many models to the bases of one or many sets of windows.

    Results are kept in ``.NAME.partial`` beside the store until it is complete: the same call after a kill goes on where
    it stopped and writes the same bytes. Of the windows, only the table of regions is held in memory.

    Parameters
    ----------
    models : str, path or sequence of them
        As for :func:`~chromtransfer_plugin.prediction.run.predict_file`.
    sets : str, path or sequence of them
        Each a file, or ``NAME=FILE``: BED, narrowPeak or ``chrom:start-end,label`` lines, or all of them FASTA. Plain,
        gzip or bgzip.
    out : path
        Folder of the store; an earlier store there is replaced when the new one is complete. ``OUT.run.json`` is written
        beside it, and ``OUT.dropped.tsv`` if rows could not be used.
    genome : path
        FASTA that regions refer to; not for FASTA sets.
    settings : Settings or mapping
        Method and its settings; by default gradient x input of the logit. Of a mapping, settings that the method does not
        read are refused.
    width : int, "native" or None
        Bases around the centre of each row, or of each FASTA record. None is the models' window; "native" keeps what is
        there, which must be of one length.
    target : str, int or None
        Of models with several outputs: name or number, from 0, of the one that is attributed. None or "all" takes each.
    hypothetical : bool
        Keep the scores of all four bases as well, as TF-MoDISco needs them; five times the space.
    device : str
        auto, cpu, cuda or cuda:N.
    strict : bool
        Raise at the first row that cannot be used, before anything is computed.
    progress : bool
        Show a bar with rate and ETA.
    report : callable
        Takes messages of one or more lines.

    Returns
    -------
    Attribution

    Raises
    ------
    ChromTransferError
        For any input that is not usable, or a set without a usable row.
    """
    if not isinstance(settings, Settings):
        given = settings or {}
        settings = parse_settings(**given)
        reject_unused(settings, given)
    folder = Path(out).expanduser()
    plans.check_width(width)
    files = parse_sets(sets)
    check_target(folder)
    chosen = choose_models(models, taken=TABLE_COLUMNS)
    columns = choose_outputs(chosen, target)
    beside = [plans.beside(folder, suffix) for suffix in (".run.json", SUFFIX)]
    inputs = [*(one.path for one in files), *plans.model_files(chosen)]
    plans.check_targets(beside, [*inputs, *([Path(genome).expanduser()] if genome else [])])
    bases = None if width == "native" else width or plans.common_window(chosen)
    used = plans.announce(chosen, device, report)
    windows = WindowSets(files, genome, bases)
    for note in windows.notes:
        report(note)
    with contextlib.ExitStack() as stack:
        dropped = Dropped(stack, beside[1])
        survey = windows.survey(strict, dropped)

        def keep_dropped() -> None:
            stack.close()
            dropped.report(report)
            if not dropped.paths:
                beside[1].unlink(missing_ok=True)  # of an earlier run

        _warn_of_n(survey, report)
        for model in chosen:
            model.network.to(used)
        facts = _facts(settings, columns, files, windows, survey, hypothetical)
        run = _Run(folder, windows, survey, columns, settings, facts, used, progress, report)
        run.run(keep_dropped)
    write_run_record(beside[0], used, store=str(folder), mostly_n=survey.mostly_n, **facts)
    names = [column.name for column in columns]
    report(f"{folder}: {len(survey.regions):,} windows of {survey.window:,} bp, {', '.join(names)}")
    return Attribution(folder, survey.counts, names)


def choose_outputs(models: Sequence[NamedModel], target: str | int | None) -> list[Column]:
    """Choose what is attributed: ``target`` of every model with several outputs, and of others the only one.

    Raises
    ------
    ChromTransferError
        If a model with several outputs, or the only model, has no such output.
    """
    several = [model for model in models if len(model.columns) > 1]
    columns = []
    for model in models:
        numbers = range(len(model.columns))
        if target not in (None, "all") and (model in several or not several):
            numbers = _number(model, target)  # type: ignore[arg-type]
        columns += [Column(model.columns[number], model, number) for number in numbers]
    return columns


def _number(model: NamedModel, target: str | int) -> range:
    outputs = list(model.card.outputs)
    if target in outputs:
        number = outputs.index(str(target))
    elif not isinstance(target, bool) and str(target).isdecimal() and int(target) < len(outputs):
        number = int(target)
    else:
        raise ChromTransferError(
            f"--target {target}: {model.name} has no such output, but {', '.join(outputs)} "
            f"(numbers 0 to {len(outputs) - 1})."
        )
    return range(number, number + 1)


def _facts(
    settings: Settings, columns: list[Column], files: list[NamedFile], windows: WindowSets, survey: Survey,
    hypothetical: bool,
) -> dict[str, Any]:  # fmt: skip
    """What the store says of itself."""
    genome = windows.genome
    return {
        "method": settings.method,
        "objective": settings.objective,
        "models": [{**column.identity, "folder": str(column.model.folder)} for column in columns],
        "sets": [
            {"name": one.name, "path": str(one.path), "sha256": windows.hashes[one.name], "rows": survey.counts[one.name]}
            for one in files
        ],
        "window": survey.window,
        "hypothetical": hypothetical,
        "genome": genome and {"path": str(genome.path), "identity": genome.identity, "contigs": genome.contigs},
        "settings": settings.model_dump(),
        "versions": _versions(),
    }  # fmt: skip


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {
        "chromtransfer-plugin": chromtransfer_plugin.__version__,
        **{name: version(name) for name in ("torch", "tangermeme")},
    }


def _warn_of_n(survey: Survey, report: Report) -> None:
    if survey.mostly_n:
        lines = [f"windows that are more than half N, which scores 0: {len(survey.mostly_n):,}"]
        lines += [f"  {text}" for text in survey.mostly_n[:_MOST_LISTED]]
        report("\n".join(lines))


class _Run:
    """Compute window by window into a file of numbers, then write the store from it."""

    def __init__(
        self, folder: Path, windows: WindowSets, survey: Survey, columns: list[Column], settings: Settings,
        facts: dict[str, Any], device: torch.device, progress: bool, report: Report,
    ) -> None:  # fmt: skip
        self._folder, self._windows, self._survey, self._columns = folder, windows, survey, columns
        self._settings, self._facts, self._device = settings, facts, device
        self._progress, self._report = progress, report
        self._hypothetical = bool(facts["hypothetical"])
        # Long windows come in smaller pieces, so that the memory of one stays the same.
        gradient, other = _SAVED[device.type]
        saved = max(gradient, settings.batch_size or 0) if settings.method == "gradient-x-input" else other
        self._size = max(1, saved * WINDOW // max(WINDOW, survey.window))

    @property
    def _numbers(self) -> int:
        """Numbers for each window and column."""
        return self._survey.window * (1 + len(ALPHABET) * self._hypothetical)

    def run(self, begin: Callable[[], object]) -> None:
        """Do what is left to do; call ``begin`` once no other run can be writing the same store."""
        facts = self._facts
        identity = {
            "models": [column.identity for column in self._columns],
            "sets": [[one["name"], one["sha256"]] for one in facts["sets"]],
            "genome": facts["genome"] and facts["genome"]["identity"],
            # The same file may mean other windows: by its name, narrowPeak or not, and by --width.
            "windows": [self._survey.window, self._survey.places_sha256],
            **{name: facts[name] for name in ("hypothetical", "settings", "versions")},
            "device": str(self._device),
            "windows saved at a time": self._size,
        }
        partial = Partial(self._folder, identity, len(self._columns) * self._numbers)
        with partial.opened():
            begin()
            remove_leftovers(self._folder)
            if partial.changed:
                self._report(
                    f"{partial.folder}: results of an earlier run with other settings ({', '.join(partial.changed)}) "
                    "are discarded."
                )
            self._compute(partial)
            self._write(partial)

    def _compute(self, partial: Partial) -> None:
        from tqdm import tqdm

        done, total = partial.rows(), len(self._survey.regions)
        if done:
            self._report(f"resumed: {done:,} of {total:,} windows were done before")
        if done == total:
            return
        self._check_room(partial.folder, total - done)
        columns = len(self._columns)
        with (
            tqdm(
                total=total * columns,
                initial=done * columns,
                unit="window",
                desc=f"{self._settings.method}, {columns} outputs" if columns > 1 else self._settings.method,
                disable=not self._progress,
            ) as bar,
            partial.appending() as append,
            enough_memory(self._settings.batch_size or self._size),
        ):
            first = done
            for codes in self._windows.codes(self._survey.window, self._size, skip=done):
                numbers = []
                for column in self._columns:
                    numbers.append(self._attributed(column, codes, first))
                    bar.update(len(codes))
                append(np.concatenate(numbers, axis=1))
                first += len(codes)

    def _check_room(self, folder: Path, windows: int) -> None:
        needed = 4 * windows * len(self._columns) * self._numbers
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise ChromTransferError(
                f"{folder}: the results need {needed / 1e9:.1f} GB while they are computed, and {free / 1e9:.1f} GB are "
                "free. Free some space, or choose another --out."
            )

    def _attributed(self, column: Column, codes: NDArray[np.uint8], first: int) -> NDArray[np.float32]:
        """Numbers of some windows, (n, L) or (n, 5 L): scores, then those of all bases."""
        try:
            scores, hypothetical = attribute_codes(
                column.model.network,
                codes,
                self._settings,
                target=column.target,
                activation=column.model.card.activation,
                hypothetical=self._hypothetical,
            )
        except ChromTransferError as error:
            where = window_names(self._survey.regions.iloc[[first]], self._windows.genome is not None)[0]
            raise ChromTransferError(f"'{column.name}', windows from {where} on: {error}") from error
        parts = [scores, *([] if hypothetical is None else [hypothetical.reshape(len(codes), -1)])]
        return np.concatenate(parts, axis=1)

    def _write(self, partial: Partial) -> None:
        from tqdm import tqdm

        with (
            partial.reading() as stored,
            tqdm(
                total=len(self._survey.regions),
                unit="window",
                desc="write",
                disable=not self._progress,
                leave=False,
                delay=1,
            ) as bar,
        ):
            write_store(self._folder, self._facts, self._survey.regions, self._pieces(stored), bar.update)

    def _pieces(self, stored: Callable[[int], NDArray[np.float32]]) -> Iterator[Piece]:
        window, columns = self._survey.window, len(self._columns)
        for codes in self._windows.codes(window, max(1, _WRITTEN * WINDOW // max(WINDOW, window))):
            n = len(codes)
            numbers = stored(n).reshape(n, columns, self._numbers)
            hypothetical = None
            if self._hypothetical:
                hypothetical = numbers[:, :, window:].reshape(n, columns, len(ALPHABET), window)
            yield Piece(codes, numbers[:, :, :window], hypothetical)
