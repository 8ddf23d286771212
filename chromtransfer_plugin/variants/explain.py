"""Why a variant has its score: attribution of both alleles, and the motifs it makes or breaks, as figures and a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, check_result_folder
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.motifs.matrices import read_motifs
from chromtransfer_plugin.motifs.sites import MOTIFS
from chromtransfer_plugin.plots.comparison_parts import save_figure
from chromtransfer_plugin.plots.names import file_names
from chromtransfer_plugin.run_record import package_versions
from chromtransfer_plugin.variants.explain_alleles import AlleleScores, Variant, align, one_row
from chromtransfer_plugin.variants.explain_scores import ExplainMethod, attribute_alleles, check_method
from chromtransfer_plugin.variants.models import Predictor
from chromtransfer_plugin.variants.motif_changes import CHANGES, THRESHOLD, find_changes
from chromtransfer_plugin.variants.scorer import Scorer, Settings
from chromtransfer_plugin.variants.statuses import FLAG_NAMES, Flag

RECORD = "explain.json"
PAGE, HITS, FIGURES = "index.html", "hits.tsv", "figures"
FLANK = 35  # bp on either side of the variant in a figure
_PLACED = ("chrom", "pos", "id", "ref", "alt", "flags", "start", "old", "new", "slide", "swapped")
_SCORES = ("p_ref", "p_alt", "difference", "log_odds")
_NULL = ("percentile", "p_value")


@dataclass(frozen=True)
class Explained:
    """What figure and page say of a variant.

    Attributes
    ----------
    rank : int
        From 1.
    name : str
        ``chrom:pos REF>ALT``, long alleles shortened.
    id : str
        Of the VCF; empty for ``.``.
    column : str
        The output that is explained.
    scores : dict of str to float
        Of this output: p_ref, p_alt, difference, log_odds, and percentile and p_value if there are.
    flags : str
    figure : str
        File, relative to the page.
    changes : DataFrame
        Its sites, see :func:`~chromtransfer_plugin.variants.motif_changes.find_changes`.
    """

    rank: int
    name: str
    id: str
    column: str
    scores: dict[str, float]
    flags: str
    figure: str
    changes: pd.DataFrame


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
    check_method(method)
    if isinstance(flank, bool) or not isinstance(flank, int) or flank < 1:
        raise ChromTransferError(f"variants: flank={flank!r} bp: expected a whole number above 0.")
    target = Path(out).expanduser()
    check_result_folder(target, RECORD, lambda entry: entry.name in (RECORD, PAGE, HITS, FIGURES))
    outputs = _outputs(table, predictors, columns)
    raise NotImplementedError
