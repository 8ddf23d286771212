"""``chromtransfer attributions export``: a store as text, bigWig, bedGraph or NumPy files for other programs."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.attribution.text import DECIMALS, MOST_DECIMALS, window_lines
from chromtransfer_plugin.attribution.tracks import base_means
from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder, open_output
from chromtransfer_plugin.onehot import one_hot
from chromtransfer_plugin.prediction.bigwig import Interval, write_bigwig
from chromtransfer_plugin.prediction.plan import check_targets

Format = Literal["text", "bigwig", "bedgraph", "npz"]
SUFFIXES = {"gradient-x-input": "grad-x-input"}  # the original's; other methods go by their name
_GZIP = 6  # 9 takes four times as long on these numbers for 1 % less
_STEP = 256  # windows at a time


class _Job(NamedTuple):
    """One model over one set."""

    store: AttributionStore
    model: str
    rows: NDArray[np.int64]
    done: Callable[[int], object]

    def parts(self) -> Iterator[NDArray[np.int64]]:
        """Rows, some at a time."""
        step = max(1, _STEP * WINDOW // max(WINDOW, self.store.window))
        for first in range(0, len(self.rows), step):
            yield self.rows[first : first + step]
            self.done(len(self.rows[first : first + step]))


def export_store(
    store: str | Path | AttributionStore,
    format: Format,
    out: str | Path,
    *,
    models: Sequence[str] = (),
    sets: Sequence[str] = (),
    decimals: int = DECIMALS,
    compress: bool = False,
    progress: bool = False,
    report: Callable[[str], object] = lambda _: None,
) -> list[Path]:
    """Write the scores of each model over each set to files of their own.

    Parameters
    ----------
    store : path or AttributionStore
    format : {"text", "bigwig", "bedgraph", "npz"}
        ``text``: the original's three lines per window, ``MODEL/SET.METHOD.gz``. ``bigwig``, ``bedgraph``: mean of the
        windows over each base, ``MODEL.SET.bw``. ``npz``: for TF-MoDISco, arrays (N, 4, L) called ``arr_0``:
        ``MODEL.SET.ohe.npz`` (one-hot, int8) and ``MODEL.SET.hyp.npz`` (scores of all bases, float32), and
        ``SET.rows.tsv`` with the regions of their rows.
    out : path
        Folder; made if it is missing.
    models, sets : sequence of str
        Which of the store; none means all.
    decimals : int
        Of the text; the original has 5.
    compress : bool
        bedGraph with gzip.
    progress : bool
        Show a bar with rate and ETA.
    report : callable
        Takes messages.

    Returns
    -------
    list of Path
        The files, each of which appears when it is complete.

    Raises
    ------
    ChromTransferError
        If something is not in the store, a place in a genome is missing where one is needed, or a file cannot be written.
    """
    if format not in get_args(Format):
        raise ChromTransferError(f"format is '{format}', expected one of {', '.join(get_args(Format))}.")
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= MOST_DECIMALS:
        raise ChromTransferError(f"decimals is {decimals!r}, expected 0 to {MOST_DECIMALS}.")
    opened = store if isinstance(store, AttributionStore) else AttributionStore(store)
    with contextlib.nullcontext() if opened is store else opened:
        return _export(
            opened, format, Path(out).expanduser(), opened.chosen_models(models),
            list(dict.fromkeys(sets)) or opened.sets, decimals, compress, progress, report,
        )  # fmt: skip


def _export(
    store: AttributionStore, format: Format, out: Path, models: Sequence[str], sets: Sequence[str], decimals: int,
    compress: bool, progress: bool, report: Callable[[str], object],
) -> list[Path]:  # fmt: skip
    from tqdm import tqdm

    tracks = format in ("bigwig", "bedgraph")
    rows = {name: store.rows(name, each_place_once=tracks) for name in sets}
    contigs = store.contigs if tracks else {}  # refuses sequences without a genome before anything is written
    if format == "npz":
        store.hypothetical(models[0], slice(0, 0))  # refuses a store without
    store.require_outside(out)
    files = {
        (model, name): _paths(store, format, out, model, name, compress) for model in models for name in sets
    }
    tables = {name: out / f"{_safe(name)}.rows.tsv" for name in sets} if format == "npz" else {}
    for folder in {path.parent for paths in files.values() for path in paths}:
        make_folder(folder)
    targets = [*(path for paths in files.values() for path in paths), *tables.values()]
    check_targets(targets, [])
    total = len(models) * sum(map(len, rows.values()))
    with tqdm(total=total, unit="window", desc=f"export {format}", disable=not progress) as bar:
        for name, path in tables.items():
            _write_rows(store, rows[name], path)
        for (model, name), paths in files.items():
            job = _Job(store, model, rows[name], bar.update)
            if format == "text":
                _write_text(job, paths[0], decimals)
            elif format == "bigwig":
                with atomic_path(paths[0]) as temporary:
                    write_bigwig(temporary, paths[0], contigs, _intervals(job))
            elif format == "bedgraph":
                _write_bedgraph(job, paths[0])
            else:
                _write_npz(job, *paths)
    report("\n".join(f"{path}" for path in targets))
    return targets


def method_suffix(method: str) -> str:
    """Give what a text file of this method ends in, before ``.gz``."""
    return SUFFIXES.get(method, method)


def _paths(
    store: AttributionStore, format: Format, out: Path, model: str, name: str, compress: bool
) -> list[Path]:
    model, name = _safe(model), _safe(name)
    if format == "text":
        return [out / model / f"{name}.{method_suffix(store.facts['method'])}.gz"]
    if format == "bigwig":
        return [out / f"{model}.{name}.bw"]
    if format == "bedgraph":
        return [out / f"{model}.{name}.bedGraph{'.gz' if compress else ''}"]
    return [out / f"{model}.{name}.{kind}.npz" for kind in ("ohe", "hyp")]


def _safe(name: str) -> str:
    return name.replace("/", "_")


def _write_text(job: _Job, path: Path, decimals: int) -> None:
    with contextlib.ExitStack() as stack:
        out = open_output(stack, path, _GZIP)
        for part in job.parts():
            codes, scores = job.store.codes(part), job.store.scores(job.model, part)
            out.write(window_lines(job.store.window_names(part), codes, scores, decimals))


def _intervals(job: _Job) -> Iterator[Interval]:
    for chrom, part in base_means(job.store, job.rows, [job.model], job.done):
        for position, value in zip(part.positions.tolist(), part.scores[:, 0].tolist(), strict=True):
            yield chrom, position, position + 1, value


def _write_bedgraph(job: _Job, path: Path) -> None:
    with contextlib.ExitStack() as stack:
        out = open_output(stack, path, _GZIP)
        for chrom, part in base_means(job.store, job.rows, [job.model], job.done):
            # The text of a float32 is the shortest that reads back the same.
            values = map(str, part.scores[:, 0])
            pairs = zip(part.positions.tolist(), values, strict=True)
            out.write("".join(f"{chrom}\t{at}\t{at + 1}\t{value}\n" for at, value in pairs).encode())


def _write_npz(job: _Job, ohe: Path, hyp: Path) -> None:
    shape = (len(job.rows), 4, job.store.window)
    with contextlib.ExitStack() as stack:
        sequences = stack.enter_context(_npz(ohe, shape, np.dtype(np.int8), zipfile.ZIP_DEFLATED))
        scores = stack.enter_context(_npz(hyp, shape, np.dtype(np.float32), zipfile.ZIP_STORED))
        for part in job.parts():
            sequences(one_hot(job.store.codes(part), dtype=np.int8))
            scores(job.store.hypothetical(job.model, part))


@contextlib.contextmanager
def _npz(
    path: Path, shape: tuple[int, ...], kind: np.dtype[Any], compression: int
) -> Iterator[Callable[[NDArray[Any]], object]]:
    """Yield a function that appends rows to the one array of an npz file; np.savez wants it whole."""
    info = zipfile.ZipInfo("arr_0.npy")  # with a fixed time: the same scores give the same bytes
    info.compress_type = compression
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open(info, "w", force_zip64=True) as member,
    ):
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        yield lambda rows: member.write(np.ascontiguousarray(rows, dtype=kind).tobytes())


def _write_rows(store: AttributionStore, rows: NDArray[np.int64], path: Path) -> None:
    table = store.regions.iloc[rows].drop(columns="set")
    with contextlib.ExitStack() as stack:
        table.to_csv(open_output(stack, path), sep="\t", index_label="row")
