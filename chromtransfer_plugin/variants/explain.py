"""Why a variant has its score: attribution of both alleles, and the motifs it makes or breaks, as figures and a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, check_result_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.motifs.hits import unreachable
from chromtransfer_plugin.motifs.matrices import read_motifs
from chromtransfer_plugin.motifs.sites import MOTIFS
from chromtransfer_plugin.plots.comparison_parts import Format, save_figure
from chromtransfer_plugin.plots.names import file_names
from chromtransfer_plugin.plots.style import DPI
from chromtransfer_plugin.plots.variant import subtitle_of, variant_figure
from chromtransfer_plugin.run_record import package_versions
from chromtransfer_plugin.variants.explain_alleles import Alignment, AlleleScores, Variant, align
from chromtransfer_plugin.variants.explain_scores import (
    METHOD_NAMES,
    ExplainMethod,
    attribute_alleles,
    check_method,
)
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.motif_changes import CHANGES, THRESHOLD, find_changes
from chromtransfer_plugin.variants.page import Explained, render_page
from chromtransfer_plugin.variants.scorer import Scorer, Settings
from chromtransfer_plugin.variants.statuses import flag_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "explain.json"
PAGE, HITS, FIGURES = "index.html", "hits.tsv", "figures"
_LONGEST = 16  # letters of an allele that are written
_LONGEST_ID = 30
FLANK = 35  # bp on either side of the variant in a figure
_FORMATS: tuple[Format, ...] = ("png", "svg")  # the page shows the first
_PLACED = ("chrom", "pos", "id", "ref", "alt", "flags", "start", "old", "new", "slide", "swapped")
_SCORES = ("p_ref", "p_alt", "difference", "log_odds")
_NULL = ("percentile", "p_value")


def explain_variants(
    table: pd.DataFrame,
    predictors: Sequence[Predictor],
    genome: Genome,
    settings: Settings,
    out: str | Path,
    *,
    motifs: str | Path | None = None,
    threshold: float = THRESHOLD,
    method: ExplainMethod = "ism",
    flank: int = FLANK,
    columns: Sequence[str] | None = None,
    device: str = "auto",
    progress: bool = False,
    report: Callable[[str], object] = print,
) -> list[Path]:
    """Draw the attribution of both alleles of variants, find the motifs that they make or break, and write a page.

    Of each variant the output with the largest ``|log_odds|`` is explained.

    Parameters
    ----------
    table : DataFrame
        Variants in the order of their ranks: chrom, pos, id, ref, alt, flags, the place (start, old, new, slide,
        swapped; see :class:`~chromtransfer_plugin.variants.placing.Place`) and for each output C of the predictors
        C.p_ref, C.p_alt, C.difference, C.log_odds and, if known, C.percentile and C.p_value.
    predictors : sequence of Predictor
        Those that scored them. The attribution of several members is their mean.
    genome : Genome
    settings : Settings
        Of the scores: windows, strands (the attribution is their mean) and shifts.
    out : str or path
        Folder; it appears when all is there, and replaces an earlier one.
    motifs : str or path, optional
        A release of JASPAR or a MEME file; by default the one that ``chromtransfer motifs scan`` takes.
    threshold : float
        Largest P of a site.
    method : {"ism", "gradient-x-input"}
        See :func:`~chromtransfer_plugin.variants.explain_scores.attribute_alleles`.
    flank : int
        bp on either side of a variant in its figure.
    columns : sequence of str, optional
        Choose the output among these.
    device : str
    progress : bool
        Show bars.
    report : callable
        Takes lines of text.

    Returns
    -------
    list of Path
        ``index.html``, ``hits.tsv``, ``explain.json`` (the run record), and a PNG and an SVG for each variant.

    Raises
    ------
    ChromTransferError
        If the table lacks a column, a variant has no score, an option or the motifs cannot be used, or the folder holds
        other things.
    """
    from tqdm import tqdm

    check_method(method)
    if isinstance(flank, bool) or not isinstance(flank, int) or not 1 <= flank <= settings.width:
        raise ChromTransferError(
            f"variants: flank={flank!r} bp: expected a whole number from 1 to {settings.width}, the window."
        )
    if not 0 < threshold <= 0.5:
        raise ChromTransferError(f"threshold={threshold!r}: expected a P-value above 0 and at most 0.5.")
    target = Path(out).expanduser()
    check_folder(target)
    choices = _choose(table, predictors, columns)
    matrices = read_motifs(MOTIFS if motifs is None else motifs)
    variants = [Variant.of(row) for row in table.itertuples(index=False)]
    silent = unreachable(matrices, threshold)
    if silent:
        report(
            f"{len(silent)} of {len(matrices)} motifs are so short that they have no site at P <= {threshold:g}"
        )
    reach = max(flank, max(len(matrix) for matrix in matrices.values()))
    scores = _attribute(table, choices, predictors, genome, settings, method, reach, device, progress)
    changes = find_changes(variants, scores, matrices, threshold, progress)
    explained = [
        _explained(number, row, choice.column, changes)
        for number, (row, choice) in enumerate(zip(table.to_dict("records"), choices, strict=True))
    ]
    facts = {
        "method": method,
        "flank": flank,
        "motifs": str(MOTIFS if motifs is None else motifs),
        "threshold": threshold,
        "genome": {"path": str(genome.path), "identity": genome.identity},
        "models": [predictor.facts for predictor in predictors],
        "settings": settings._asdict(),
    }
    with atomic_folder(target) as new:
        (new / FIGURES).mkdir()
        paths = []
        bar = tqdm(explained, desc="figures", unit="figure", disable=not progress)
        for number, (one, variant, pair) in enumerate(zip(bar, variants, scores, strict=True)):
            figure = _draw(one, variant, align(variant, pair, flank), METHOD_NAMES[method])
            width, height = figure.get_size_inches() * DPI
            explained[number] = replace(one, size=(int(width), int(height)))
            for kind in _FORMATS:
                paths.append((new / one.figure).with_suffix(f".{kind}"))
                save_figure(figure, paths[-1], kind)
        paths.append(new / HITS)
        _hits_table(changes, table, explained).to_csv(paths[-1], sep="\t", index=False, float_format="%.6g")
        paths.insert(0, new / PAGE)
        paths[0].write_text(render_page(explained, facts), encoding="utf-8")
        paths.append(new / RECORD)
        record = {"command": sys.argv, "versions": package_versions(), **facts, "variants": len(explained)}
        paths[-1].write_text(json.dumps(record, indent=2) + "\n")
    report(f"{len(explained):,} variants with {_count(changes)} sites of motifs explained in {target / PAGE}")
    return [target / path.relative_to(new) for path in paths]


def check_folder(folder: Path) -> None:
    """Raise if figures may not be written at ``folder``: something else lies there, or would be lost."""
    check_result_folder(folder, RECORD, lambda entry: entry.name in (RECORD, PAGE, HITS, FIGURES))


class _Choice(NamedTuple):
    """Which output of a variant is explained: its column, predictor and number there, and its place among all."""

    column: str
    predictor: Predictor
    output: int
    place: int


def _choose(
    table: pd.DataFrame, predictors: Sequence[Predictor], only: Sequence[str] | None
) -> list[_Choice]:
    """Choose the output of each variant."""
    all_columns = [column for predictor in predictors for column in predictor.columns]
    for column in only or ():
        if column not in all_columns:
            raise ChromTransferError(
                f"variants: there is no output '{column}' to explain; there are {', '.join(all_columns)}."
            )
    names = [column for column in all_columns if only is None or column in only]
    needed = [*_PLACED, *(f"{name}.{score}" for name in names for score in _SCORES)]
    absent = [name for name in needed if name not in table]
    if absent or not names:
        what = f"column {', '.join(absent)}" if names else "output to explain"
        raise ChromTransferError(f"variants: the table has no {what}.")
    sizes = table[[f"{name}.log_odds" for name in names]].abs().to_numpy(np.float64)
    without = np.flatnonzero(~np.isfinite(sizes).any(axis=1))
    if without.size:
        row = table.iloc[int(without[0])]
        raise ChromTransferError(
            f"variants: {row['chrom']}:{row['pos']} {row['ref']}>{row['alt']} has no score to explain; give variants that "
            "were scored."
        )
    outputs = {
        column: (predictor, number)
        for predictor in predictors
        for number, column in enumerate(predictor.columns)
    }
    best = np.nan_to_num(sizes, nan=-1).argmax(axis=1) if len(table) else []
    return [_Choice(names[i], *outputs[names[i]], all_columns.index(names[i])) for i in best]


def _attribute(
    table: pd.DataFrame,
    choices: Sequence[_Choice],
    predictors: Sequence[Predictor],
    genome: Genome,
    settings: Settings,
    method: ExplainMethod,
    reach: int,
    device: str,
    progress: bool,
) -> list[tuple[AlleleScores, AlleleScores]]:
    """Attribution of REF and ALT of every variant by its output, in the windows that it was scored with."""
    from tqdm import tqdm

    shifts = np.full((len(table), sum(len(one.columns) for one in predictors)), settings.shifts[0])
    if len(settings.shifts) > 1 and len(table):
        scorer = Scorer(predictors, genome, settings._replace(device=device))
        with scorer.ready():
            shifts = scorer.score(table).shift
    found = []
    for number, choice in enumerate(tqdm(choices, desc="attribution", unit="variant", disable=not progress)):
        shift = int(shifts[number, choice.place])
        row = table.iloc[number : number + 1]
        found.append(
            attribute_alleles(
                row, choice.predictor, choice.output, genome, settings, method, reach, shift, device
            )
        )
    return found


def _explained(number: int, row: dict[Hashable, Any], column: str, changes: pd.DataFrame) -> Explained:
    scores = {name: float(row[f"{column}.{name}"]) for name in _SCORES}
    scores |= {name: float(row[f"{column}.{name}"]) for name in _NULL if f"{column}.{name}" in row}
    place = f"{row['chrom']}:{row['pos']}"
    stem = f"{number + 1:03d}_{row['chrom']}_{row['pos']}"
    return Explained(
        rank=number + 1,
        name=f"{place} {_short(row['ref'])}>{_short(row['alt'])}",
        id="" if pd.isna(row["id"]) or row["id"] == "." else str(row["id"]),
        column=column,
        scores=scores,
        flags=_flag_text(row["flags"]),
        figure=f"{FIGURES}/{file_names([stem])[stem]}.png",
        size=(0, 0),
        changes=changes[changes["number"] == number].reset_index(drop=True),
    )


def _draw(one: Explained, variant: Variant, alignment: Alignment, score: str) -> Figure:
    name = one.id if len(one.id) <= _LONGEST_ID else f"{one.id[:_LONGEST_ID]}…"
    return variant_figure(
        alignment,
        _with_columns(one.changes, variant, alignment),
        variant.chrom,
        f"{one.rank}.  {one.name}   {name}".rstrip(),
        subtitle_of(one.column, one.scores),
        score,
        (one.scores["p_ref"], one.scores["p_alt"]),
    )


def _with_columns(changes: pd.DataFrame, variant: Variant, alignment: Alignment) -> pd.DataFrame:
    """Add the columns of the alignment that each site takes, in ALT if it is gained, else in REF."""
    allele = (changes["change"] == "gained").astype(int)
    start, end = (changes[f"ref_{end}"].where(allele == 0, changes[f"alt_{end}"]) for end in ("start", "end"))
    first = [alignment.column(variant, *pair) for pair in zip(allele, start, strict=True)]
    last = [alignment.column(variant, own, at - 1) + 1 for own, at in zip(allele, end, strict=True)]
    return changes.assign(first=first, last=last)


def _hits_table(changes: pd.DataFrame, table: pd.DataFrame, explained: Sequence[Explained]) -> pd.DataFrame:
    """Say of each row which variant it belongs to, and leave out what only the figures need."""
    number = changes["number"].to_numpy(dtype=int)
    front = {
        "rank": number + 1,
        "variant": [explained[i].name for i in number],
        "id": [explained[i].id or "." for i in number],
        "column": [explained[i].column for i in number],
        "chrom": table["chrom"].to_numpy()[number],
        "pos": table["pos"].to_numpy()[number],
    }
    return pd.concat([pd.DataFrame(front), changes.iloc[:, 1:-4]], axis=1)


def _short(bases: str) -> str:
    """Write an allele as it is, or the ends of a long one and how long it is."""
    if len(bases) <= _LONGEST:
        return bases
    return f"{bases[:6]}…{bases[-6:]} ({len(bases):,} bp)"


def _flag_text(flags: Any) -> str:
    """Name flags that are given as a number; those that are names already stay."""
    text = flags if isinstance(flags, str) else flag_text(int(flags))
    return "" if text == "." else text


def _count(changes: pd.DataFrame) -> str:
    return ", ".join(f"{int((changes['change'] == change).sum()):,} {change}" for change in CHANGES)
