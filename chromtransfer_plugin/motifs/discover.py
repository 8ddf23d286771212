"""What recurs in the attributions of each model, and what it is called: seqlets, TF-MoDISco, TOMTOM, summaries."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, atomic_path, check_result_folder, open_output
from chromtransfer_plugin.motifs.enrichment import write_table
from chromtransfer_plugin.motifs.matrices import Matrices, read_motifs
from chromtransfer_plugin.motifs.patterns import (
    MAX_SEQLETS,
    Pattern,
    clustered_part,
    discover_patterns,
    pattern_seqlets,
    require_modisco,
)  # fmt: skip
from chromtransfer_plugin.motifs.seqlets import annotate_seqlets, find_seqlets, window_places
from chromtransfer_plugin.motifs.tomtom import (
    Q_THRESHOLD,
    best_similarity,
    consensus,
    information,
    match_patterns,
)  # fmt: skip
from chromtransfer_plugin.plots.names import file_names

RECORD = "discovery.json"
_WRITTEN = {RECORD, "summary.tsv", "summary.parquet", "summary.png"}  # and a folder per model
SAME_PATTERN = 0.8  # similarity from which patterns of two models are one group
Say = Callable[[str], object]


@dataclass(frozen=True)
class Discovery:
    """What one model's attributions hold.

    Attributes
    ----------
    model : str
    rows : ndarray of int64
        Windows used, rows of the store.
    seqlets : DataFrame
        From :func:`~chromtransfer_plugin.motifs.seqlets.find_seqlets`.
    patterns : list of Pattern
        Empty if only seqlets were wanted.
    matches : DataFrame
        From :func:`~chromtransfer_plugin.motifs.tomtom.match_patterns`.
    """

    model: str
    rows: NDArray[np.int64]
    seqlets: pd.DataFrame
    patterns: list[Pattern]
    matches: pd.DataFrame

    def best(self, name: str) -> Any:
        """Row of the best match of a pattern."""
        return self.matches[(self.matches["pattern"] == name) & (self.matches["rank"] == 1)].iloc[0]

    def table(self) -> pd.DataFrame:
        """One row per pattern: see docs/discover.md."""
        rows = []
        for one in self.patterns:
            best = self.best(one.name)
            part = self.matches[(self.matches["pattern"] == one.name) & (self.matches["rank"] > 1)]
            named = bool(best["named"])
            rows.append(
                {
                    "pattern": one.name,
                    "n_seqlets": len(one.seqlets),
                    "windows": one.seqlets["region"].nunique() / len(self.rows),
                    "contribution": one.seqlets["attribution"].mean(),
                    "consensus": consensus(one.pwm[slice(*one.core)]),
                    "information": information(one.pwm[slice(*one.core)]).sum(),
                    "match": best["motif"] if named else "no match",
                    "q_value": best["q_value"], "strand": best["strand"] if named else pd.NA,
                    "similarity": best["similarity"],
                    "nearest": best["motif"],
                    "next": "; ".join(f"{m} (q={q:.2g})" for m, q in zip(part["motif"], part["q_value"], strict=True)),
                }
            )  # fmt: skip
        return pd.DataFrame(rows).astype(dict.fromkeys(("match", "strand", "nearest", "next"), "str"))


def discover_motifs(
    store: str | Path,
    out: str | Path,
    *,
    models: Sequence[str] = (),
    sets: Sequence[str] = (),
    own_sets: bool = False,
    motifs: str | Path = "JASPAR2022",
    max_seqlets: int = MAX_SEQLETS,
    window: int | None = None,
    q_threshold: float = Q_THRESHOLD,
    seqlets_only: bool = False,
    annotate: bool = False,
    progress: bool = False,
    report: Say = lambda _: None,
) -> Path:
    """Find seqlets and patterns of models of a store, name them, and write tables, matrices and figures to a folder.

    Parameters
    ----------
    store : str or path
        Folder of an :class:`~chromtransfer_plugin.attribution.AttributionStore` with hypothetical scores (any for
        ``seqlets_only``).
    out : str or path
        Folder to write: a new or empty one, or an earlier result, which is replaced when the new one is complete.
    models, sets : sequence of str
        Names in the store; none: all.
    own_sets : bool
        Each model on the set of its own name (instead of ``sets``).
    motifs : str or path
        As for :func:`~chromtransfer_plugin.motifs.read_motifs`.
    max_seqlets, window
        As for :func:`~chromtransfer_plugin.motifs.patterns.discover_patterns`.
    q_threshold : float
        A pattern is named by its best match if its q is below.
    seqlets_only : bool
        Stop after the seqlets; needs no modisco-lite.
    annotate : bool
        Add the nearest motif to every seqlet.
    progress : bool
        Show bars.
    report : callable
        Takes messages.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ChromTransferError
        For unusable input, before anything is computed where that can be.
    """
    target = Path(out).expanduser()
    check_output(target)
    if not seqlets_only:
        require_modisco()
    matrices = {} if seqlets_only and not annotate else read_motifs(motifs)
    with AttributionStore(store) as opened:
        opened.require_outside(target)
        names = list(dict.fromkeys(models)) or opened.models
        wanted = {name: _sets_of(opened, name, sets, own_sets) for name in names}
        if not seqlets_only:
            clustered_part(opened, window, max_seqlets)
            opened.hypothetical(names[0], slice(0, 0))  # raises if there are none
        with atomic_folder(target) as folder:
            found, folders = [], file_names(names)
            for name in names:
                inside = folder / folders[name]
                inside.mkdir()
                report(f"{name}: {len(wanted[name][1]):,} windows")
                one = _discover(
                    opened, name, wanted[name], matrices, inside, max_seqlets=max_seqlets, window=window,
                    q_threshold=q_threshold, seqlets_only=seqlets_only, annotate=annotate, progress=progress, report=report,
                )  # fmt: skip
                report(f"{name}: {len(one.seqlets):,} seqlets, {len(one.patterns)} patterns")
                found.append(one)
            write_discovery(folder, found, opened, matrices)
            from torch import device

            from chromtransfer_plugin.run_record import write_run_record

            write_run_record(
                folder / RECORD, device("cpu"), store=str(opened.path), method=opened.facts["method"],
                motifs=str(motifs), q_threshold=q_threshold, max_seqlets=max_seqlets, window=window or opened.window,
                modisco_lite=_version("modisco-lite"), memelite=_version("memelite"),
                models=[
                    {"name": one.model, "sets": wanted[one.model][0], "windows": len(one.rows), "seqlets": len(one.seqlets),
                     "patterns": len(one.patterns), "named": sum(bool(one.best(p.name)["named"]) for p in one.patterns)}
                    for one in found
                ],
            )  # fmt: skip
    return target


def _discover(
    store: AttributionStore, name: str, wanted: tuple[list[str], NDArray[np.int64]], matrices: Matrices, folder: Path,
    *, max_seqlets: int, window: int | None, q_threshold: float, seqlets_only: bool, annotate: bool, progress: bool,
    report: Say,
) -> Discovery:  # fmt: skip
    """Seqlets, patterns and matches of one model; modisco-lite's own file goes to ``folder``."""
    sets, rows = wanted
    seqlets = find_seqlets(store, name, rows, progress=progress)
    if annotate:
        seqlets = annotate_seqlets(seqlets, store, matrices)
    if seqlets_only:
        return Discovery(name, rows, seqlets, [], pd.DataFrame())
    report(f"{name}: {len(seqlets):,} seqlets; clustering them takes minutes")
    patterns = discover_patterns(
        store, name, sets=sets, window=window, max_seqlets=max_seqlets, hdf5=folder / "modisco.h5"
    )
    matches = match_patterns({one.name: one.pwm for one in patterns}, matrices, q_threshold=q_threshold)
    return Discovery(name, rows, seqlets, patterns, matches)


def write_discovery(
    folder: Path, found: Sequence[Discovery], store: AttributionStore, motifs: Matrices
) -> None:
    """Write the tables, MEME files and figures of models into an existing folder, one folder for each, and the summary."""
    folders = file_names(one.model for one in found)
    for one in found:
        inside = folder / folders[one.model]
        inside.mkdir(exist_ok=True)
        one.seqlets.to_parquet(inside / "seqlets.parquet", index=False)
        write_bed(inside / "seqlets.bed.gz", one.seqlets, "motif" if "motif" in one.seqlets else None)
        windows = window_places(store, one.rows)
        windows = windows.assign(end=windows["start"] + store.window, strand=".", attribution=0.0)
        write_bed(inside / "windows.bed.gz", windows, None)
        if not one.patterns:
            continue
        write_table(one.table(), inside / "patterns")
        write_table(one.matches, inside / "matches")
        places = pattern_seqlets(one.patterns)
        places.to_parquet(inside / "pattern_seqlets.parquet", index=False)
        write_bed(inside / "pattern_seqlets.bed.gz", places, "pattern")
        write_meme(inside / "patterns.meme", one)
        _draw(inside / "logos", one, motifs)
    if found and found[0].patterns:
        summary = summarise(found)
        write_table(summary, folder / "summary")
        from chromtransfer_plugin.motifs.pattern_figures import summary_figure

        summary_figure(summary, [one.model for one in found]).savefig(folder / "summary.png")


def summarise(found: Sequence[Discovery]) -> pd.DataFrame:
    """Which pattern how often in which model.

    Patterns of the same sign that look alike (:func:`~chromtransfer_plugin.motifs.tomtom.best_similarity` of 0.8 or more
    between their cores) are a group, within a model and between models, whatever the names of their best matches: those of
    a family, such as FOS::JUN and BATF::JUN, change at random. Each pattern, from the one with most seqlets on,
    joins the first group whose first pattern it is like.

    Returns
    -------
    DataFrame
        group (best match of its first pattern, or "no match"), sign, consensus (of its first pattern), patterns (all:
        MODEL:NAME), and for each model MODEL.n_seqlets, MODEL.seqlets_per_window and MODEL.contribution (mean over its
        seqlets; NA without one). Most seqlets first.
    """
    members = [(one, pattern) for one in found for pattern in one.patterns]
    members.sort(key=lambda pair: -len(pair[1].seqlets))
    groups: list[list[tuple[Discovery, Pattern]]] = []
    for one, pattern in members:
        matrix = pattern.pwm[slice(*pattern.core)]
        for group in groups:
            leader = group[0][1]
            if leader.name[:3] == pattern.name[:3] and (
                best_similarity(leader.pwm[slice(*leader.core)], matrix) >= SAME_PATTERN
            ):
                group.append((one, pattern))
                break
        else:
            groups.append([(one, pattern)])
    rows = []
    for group in groups:
        one, leader = group[0]
        best = one.best(leader.name)
        row: dict[str, Any] = {
            "group": best["motif"] if best["named"] else "no match", "sign": leader.name[:3],
            "consensus": consensus(leader.pwm[slice(*leader.core)]),
            "patterns": "; ".join(f"{o.model}:{p.name}" for o, p in group),
        }  # fmt: skip
        for each in found:
            values = [p.seqlets["attribution"].to_numpy() for o, p in group if o is each]
            together = np.concatenate(values) if values else np.zeros(0)
            row[f"{each.model}.n_seqlets"] = len(together)
            row[f"{each.model}.seqlets_per_window"] = len(together) / len(each.rows)
            row[f"{each.model}.contribution"] = together.mean() if len(together) else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    total = table[[f"{one.model}.n_seqlets" for one in found]].sum(axis=1)
    return table.loc[total.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


def write_bed(path: Path, table: pd.DataFrame, name: str | None) -> None:
    """Write chrom, start, end, name (``.`` without a column for it), attribution and strand, gzip if it ends in .gz."""
    names = "." if name is None else table[name].str.replace(" ", "_")
    bed = table[["chrom", "start", "end"]].assign(
        name=names, score=table["attribution"], strand=table["strand"]
    )
    with contextlib.ExitStack() as stack:
        out = open_output(stack, path)
        bed.to_csv(out, sep="\t", header=False, index=False, float_format="%.6g")


def write_meme(path: Path, found: Discovery) -> None:
    """Write the cores of patterns in MEME format; a name is ``MODEL:pos.0``, patterns without a core are left out."""
    lines = ["MEME version 5", "", "ALPHABET= ACGT", "", "strands: + -", ""]
    lines += ["Background letter frequencies", "A 0.25 C 0.25 G 0.25 T 0.25", ""]
    for one in found.patterns:
        matrix = one.pwm[slice(*one.core)]
        if len(matrix):
            lines += [f"MOTIF {found.model.replace(' ', '_')}:{one.name}"]
            lines += [
                f"letter-probability matrix: alength= 4 w= {len(matrix)} nsites= {len(one.seqlets)} E= 0"
            ]
            lines += [" ".join(f"{p:.6f}" for p in row) for row in matrix] + [""]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def check_output(folder: Path) -> None:
    """Raise if ``folder`` is something else than a new or empty folder or an earlier result."""
    check_result_folder(
        folder, RECORD, lambda entry: entry.name in _WRITTEN or (entry / "seqlets.parquet").is_file()
    )


def _sets_of(
    store: AttributionStore, model: str, sets: Sequence[str], own: bool
) -> tuple[list[str], NDArray[np.int64]]:
    """Sets and rows that a model is looked at in."""
    store.model_number(model)
    if own and sets:
        raise ChromTransferError("sets: name them, or use each model's own, not both.")
    if own and model not in store.sets:
        raise ChromTransferError(
            f"{store.path}: the model '{model}' has no set of its name, the sets are {', '.join(store.sets)}. Name "
            "the sets to use."
        )
    chosen = [model] if own else list(sets) or store.sets
    rows = store.rows(chosen)
    if not len(rows):
        raise ChromTransferError(f"{store.path}: there are no windows in {', '.join(chosen)}.")
    return chosen, rows


def _draw(folder: Path, found: Discovery, motifs: Matrices) -> None:
    from chromtransfer_plugin.motifs.pattern_figures import pattern_figure

    folder.mkdir()
    for one in found.patterns:
        best = found.best(one.name)
        figure = pattern_figure(one, best, motifs[best["motif"]] if best["named"] else None)
        figure.savefig(folder / f"{one.name}.png")


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
