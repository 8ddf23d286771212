"""Sites of motifs that a variant makes, breaks or changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.motifs.hits import scan_hits
from chromtransfer_plugin.onehot import N_CODE
from chromtransfer_plugin.plots.names import MATRIX_ID
from chromtransfer_plugin.variants.explain_alleles import AlleleScores, Variant

THRESHOLD = 1e-4  # P of a site, FIMO's default: what changes is at one place, so there are few tests
MIN_CHANGE = 1.0  # bits by which a site's score must change to be listed: half or twice the odds
WEAK = 0.01  # P up to which the score at the place of a site in the other allele is known
CHANGES = ("gained", "lost", "changed")
CHANGE_COLUMNS = (
    "number", "change", "motif", "motif_id", "motif_name", "strand", "start", "end", "new_bases", "score_ref",
    "score_alt", "p_ref", "p_alt", "attribution_ref", "attribution_alt", "ref_start", "ref_end", "alt_start", "alt_end",
)  # fmt: skip


class Site(NamedTuple):
    """A site of a motif in one allele, at positions of that allele."""

    start: int
    end: int
    strand: str
    score: float
    p_value: float


Sites = dict[str, dict[int, Site]]  # motif -> start -> site


def find_changes(
    variants: Sequence[Variant],
    scores: Sequence[tuple[AlleleScores, AlleleScores]],
    motifs: Mapping[str, NDArray[Any]],
    threshold: float = THRESHOLD,
    progress: bool = False,
) -> pd.DataFrame:
    """Compare the sites of motifs that overlap a variant between its alleles.

    The counterpart of a site (P at most ``threshold``) in the other allele is the motif, on either strand, where it has
    the same bases left of the variant, or the same right of it; the better one of both. The site is

    * ``gained`` or ``lost`` if the counterpart is no site, or there is none,
    * ``changed`` if both are,

    and is listed if the scores differ by :data:`MIN_CHANGE` bits or more.

    Parameters
    ----------
    variants : sequence of Variant
    scores : sequence of (AlleleScores, AlleleScores)
        REF and ALT of each; sites beyond them or beyond their known scores are not looked for.
    motifs : mapping of str to ndarray (length, 4)
        As :func:`chromtransfer_plugin.motifs.read_motifs` gives them.
    threshold : float
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        One row per site, those of a variant by smallest P: number (of the variant, from 0), change, motif, motif_id
        and motif_name (its parts, if it is called as in JASPAR), strand, start and end (0-based half-open on the
        genome; equal if all bases are inserted ones), new_bases (how many bases of the site the genome does not have),
        scores (bits; NaN if P is above :data:`WEAK`) and P-values of either allele, the sum of the attribution in
        either allele (NaN if there is no such place), and the site's place counted in either allele (-1: none).
    """
    sites = _scan(variants, scores, motifs, threshold, progress)
    rows = [
        (number, *row)
        for number, variant in enumerate(variants)
        for own in (0, 1)
        for row in _changes_of(variant, own, sites[number], scores[number], threshold)
    ]
    table = pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))
    table["best"] = table[["p_ref", "p_alt"]].min(axis=1)
    table = table.sort_values(["number", "best", "motif"], kind="stable")
    return table.drop(columns="best").reset_index(drop=True)


def _scan(
    variants: Sequence[Variant],
    scores: Sequence[tuple[AlleleScores, AlleleScores]],
    motifs: Mapping[str, NDArray[Any]],
    threshold: float,
    progress: bool,
) -> list[tuple[Sites, Sites]]:
    """Find the sites, also weak ones, that overlap each variant, of REF and of ALT."""
    found: list[tuple[Sites, Sites]] = [({}, {}) for _ in variants]
    alleles = [allele for pair in scores for allele in pair]
    if not alleles:
        return found
    width = max(len(allele.codes) for allele in alleles)
    codes = np.full((len(alleles), width), N_CODE, dtype=np.uint8)
    for row, allele in zip(codes, alleles, strict=True):
        seen = ~np.isnan(allele.scores)  # the model does not see the rest, which is left unknown
        row[: len(seen)][seen] = allele.codes[seen]
    starts = np.array([allele.start for allele in alleles])
    windows = pd.DataFrame({"chrom": "", "start": starts, "end": starts + width})
    hits = scan_hits(windows, codes, motifs, max(threshold, WEAK), progress)
    columns = ("region", "start", "end", "strand", "motif", "score", "p_value")
    for region, start, end, strand, motif, score, p_value in zip(
        *(hits[c].tolist() for c in columns), strict=True
    ):
        number, own = divmod(region, 2)
        site = Site(start, end, strand, score, p_value)
        unknown = (codes[region, start - starts[region] : end - starts[region]] == N_CODE).any()
        if not unknown and _overlaps(variants[number], own, site):
            found[number][own].setdefault(motif, {})[start] = site
    return found


def _overlaps(variant: Variant, own: int, site: Site) -> bool:
    """Tell whether a site has bases of the allele, or bases on both sides of an allele without any."""
    if variant.length(own):
        return site.start < variant.start + variant.length(own) and site.end > variant.start
    return site.start < variant.start < site.end


def _places(variant: Variant, own: int, site: Site) -> list[int]:
    """Give where the site would begin in the other allele: with its bases left of the variant, and with those right of it.

    It has neither if it lies wholly in an allele that is longer or shorter than the other.
    """
    lengths = variant.length(own), variant.length(1 - own)
    longer = lengths[1] - lengths[0]
    if longer == 0:
        return [site.start]
    left = [site.start] if site.start < variant.start else []
    right = [site.start + longer] if site.end > variant.start + lengths[0] else []
    return left + right


def _changes_of(
    variant: Variant,
    own: int,
    sites: tuple[Sites, Sites],
    scores: tuple[AlleleScores, AlleleScores],
    threshold: float,
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, without their first column, of sites in REF (0) or ALT (1); what is a site in both is REF's."""
    for motif, mine in sites[own].items():
        others = sites[1 - own].get(motif, {})
        for site in mine.values():
            if site.p_value > threshold:
                continue
            places = _places(variant, own, site)
            there = [others[place] for place in places if place in others]
            other = max(there, key=lambda one: one.score, default=None)
            in_both = other is not None and other.p_value <= threshold
            if (in_both and own == 1) or (other is not None and abs(other.score - site.score) < MIN_CHANGE):
                continue
            change = "changed" if in_both else CHANGES[own == 0]
            start = other.start if other else places[0] if places else None
            yield _row(variant, change, motif, own, site, other, start, scores)


def _row(
    variant: Variant,
    change: str,
    motif: str,
    own: int,
    site: Site,
    other: Site | None,
    start: int | None,
    scores: tuple[AlleleScores, AlleleScores],
) -> tuple[Any, ...]:
    nan, length = float("nan"), site.end - site.start
    begin, end = variant.on_contig(own, site.start), variant.on_contig(own, site.end)
    match = MATRIX_ID.fullmatch(motif)
    here = (site.score, site.p_value, scores[own].total(site.start, site.end), (site.start, site.end))
    there = (
        other.score if other else nan,
        other.p_value if other else nan,
        nan if start is None else scores[1 - own].total(start, start + length),
        (-1, -1) if start is None else (start, start + length),
    )
    ref, alt = (here, there) if own == 0 else (there, here)
    both = [value for pair in zip(ref[:3], alt[:3], strict=True) for value in pair]
    return (
        change, motif, *(match.groups() if match else ("", motif)), site.strand, begin, end, length - (end - begin),
        *both, *ref[3], *alt[3],
    )  # fmt: skip
