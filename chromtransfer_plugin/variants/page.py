"""The ranked table of explained variants as an HTML page, with their figures below; it needs no script to be read."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, NamedTuple

import pandas as pd

from chromtransfer_plugin.plots.names import short_names, signed
from chromtransfer_plugin.plots.variant import p_text
from chromtransfer_plugin.report.page import page_part, policy_hash

_TITLE = "Variants, ranked by effect"
_MOST_NAMES = 4  # motifs in a row of the table
_IF_ANY = ("id", "flags")  # columns that are left out where all are empty
_MOST_SITES = 12  # rows of sites below a figure


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
    size : tuple of int
        Width and height of the figure in pixels, so that nothing moves when it is loaded.
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
    size: tuple[int, int]
    changes: pd.DataFrame


def render_page(explained: Sequence[Explained], facts: Mapping[str, Any]) -> str:
    """Make the page.

    Parameters
    ----------
    explained : sequence of Explained
        By rank; none makes a page that says so.
    facts : mapping
        method, motifs, threshold and models (each with a name), for the text.

    Returns
    -------
    str
        HTML. Nothing in a name can become markup.
    """
    style = f"{page_part('page.css')}\n{page_part('variants.css')}"
    script = '"use strict";\n' + page_part("variants.js")
    content = _table(explained) + "".join(map(_section, explained))
    return Template(page_part("variants.html")).substitute(
        title=_TITLE,
        summary=_summary(explained, facts),
        style=style,
        style_hash=policy_hash(style),
        script=script,
        script_hash=policy_hash(script),
        content=content if explained else "<p>There is no variant to show: none was scored.</p>",
        how=_how(facts),
    )


def _summary(explained: Sequence[Explained], facts: Mapping[str, Any]) -> str:
    models = ", ".join(model["name"] for model in facts["models"])
    genome = facts["genome"]["path"].rpartition("/")[2]
    n = len(explained)
    return html.escape(f"{n:,} variant{'s' * (n != 1)}. Models: {models}. Genome: {genome}.")


class _Column(NamedTuple):
    """A column of the table: its heading, what a cell shows (HTML), what it is sorted by, its class, and how.

    A first click sorts by text (``text``), or the largest (``down``), the smallest (``up``) or the one that is furthest
    from 0 (``size``) comes first; see variants.js.
    """

    head: str
    show: Callable[[Explained], str]
    value: Callable[[Explained], float | str]
    kind: str
    sort: str = "text"


def _score(head: str, name: str, show: Callable[[float], str], sort: str = "down") -> _Column:
    return _Column(
        head, lambda one: html.escape(show(one.scores[name])), lambda one: one.scores[name], "number", sort
    )


def _columns(explained: Sequence[Explained]) -> list[_Column]:
    found = [
        _Column("Rank", lambda one: str(one.rank), lambda one: one.rank, "number", "up"),
        _Column(
            "Variant",
            lambda one: f'<a href="#variant-{one.rank}">{html.escape(one.name)}</a>',
            lambda one: one.name,
            "name",
        ),
        _Column("ID", lambda one: html.escape(one.id), lambda one: one.id, "id"),
        _Column("Model", lambda one: html.escape(one.column), lambda one: one.column, "model"),
        _score("P(ref)", "p_ref", _plain),
        _score("P(alt)", "p_alt", _plain),
        _score("Difference", "difference", _signed, "size"),
        _score("Log-odds", "log_odds", _signed, "size"),
    ]
    if any("percentile" in one.scores for one in explained):
        found.append(_score("Percentile", "percentile", lambda value: f"{value:.4g}"))
    if any("p_value" in one.scores for one in explained):
        found.append(_score("p", "p_value", lambda value: f"{value:.2g}", "up"))
    found.append(_Column("Flags", lambda one: html.escape(one.flags), lambda one: one.flags, "flags"))
    for change in ("gained", "lost"):
        found.append(
            _Column(
                f"Motifs {change}",
                lambda one, change=change: _names(one, change),  # type: ignore[misc]
                lambda one, change=change: float((one.changes["change"] == change).sum()),  # type: ignore[misc]
                f"sites {change}",
                "down",
            )
        )
    return found


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _signed(value: float) -> str:
    return signed(value, "+.3g") if value else "0"


def _names(one: Explained, change: str) -> str:
    """Name the motifs of the best sites, one per factor."""
    motifs = one.changes.loc[one.changes["change"] == change, "motif_name"].astype(str)
    names = motifs.drop_duplicates().tolist()
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return html.escape(", ".join(names[:_MOST_NAMES]) + more)


def _table(explained: Sequence[Explained]) -> str:
    columns = [
        column
        for column in _columns(explained)
        if column.kind not in _IF_ANY or any(map(column.show, explained))
    ]
    heads = "".join(
        f'<th scope="col" class="{column.kind}" data-sort="{column.sort}">{html.escape(column.head)}</th>'
        for column in columns
    )
    rows = "".join(
        f'<tr data-rank="{one.rank}">' + "".join(_cell(column, one) for column in columns) + "</tr>\n"
        for one in explained
    )
    return (
        '<p id="filter-box" hidden><label>Filter <input type="search" placeholder="place, ID, model, motif …"></label> '
        '<output aria-live="polite"></output></p>\n'
        f'<div class="scroll"><table id="variants"><caption>One row for each variant</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )


def _cell(column: _Column, one: Explained) -> str:
    text, value = column.show(one), column.value(one)
    sort = "" if isinstance(value, str) or value != value else f' data-value="{value:.9g}"'
    tag, scope = ("th", ' scope="row"') if column.kind == "name" else ("td", "")
    none = "" if text else " none"
    return f'<{tag}{scope} class="{column.kind}{none}" data-label="{html.escape(column.head)}"{sort}>{text}</{tag}>'


def _section(one: Explained) -> str:
    figure = html.escape(one.figure)
    width, height = one.size
    vector = html.escape(one.figure.removesuffix(".png") + ".svg")
    name = html.escape(f"{one.name} {one.id}".strip())
    described = html.escape(
        f"Attribution of both alleles of {one.name} by {one.column}, and the sites of motifs that change"
    )
    return (
        f'<section class="variant" id="variant-{one.rank}">\n<h2>{one.rank}. {name}</h2>\n'
        f'<figure><div class="picture" tabindex="0"><img src="{figure}" width="{width}" height="{height}" '
        f'alt="{described}" loading="lazy"></div>'
        f'<figcaption class="note"><a href="{vector}">Figure as SVG</a></figcaption></figure>\n'
        f"{_sites(one.changes)}</section>\n"
    )


def _sites(changes: pd.DataFrame) -> str:
    if changes.empty:
        return '<p class="note">No site of a motif is gained, lost or changed.</p>\n'
    names = short_names(changes["motif"].astype(str).drop_duplicates())
    shown: list[Any] = list(changes.head(_MOST_SITES).itertuples())
    rows = "".join(
        f'<tr><th scope="row" class="{site.change}">{site.change}</th><td>{html.escape(names[site.motif])}</td>'
        f"<td>{site.strand}</td>"
        f'<td class="number">{site.start:,}–{site.end:,}</td>'
        f'<td class="number">{_p(site.p_ref, site.ref_start)}</td><td class="number">{_p(site.p_alt, site.alt_start)}</td>'
        f'<td class="number">{_sum(site.attribution_ref)}</td><td class="number">{_sum(site.attribution_alt)}</td></tr>\n'
        for site in shown
    )
    more = len(changes) - _MOST_SITES
    rest = f'<p class="note">{more:,} more in <a href="hits.tsv">hits.tsv</a></p>\n' if more > 0 else ""
    return (
        f'<details><summary>{len(changes):,} sites of motifs</summary><div class="scroll"><table>\n<thead><tr>'
        '<th scope="col">Change</th><th scope="col">Motif</th><th scope="col">Strand</th>'
        '<th scope="col">Place (0-based)</th><th scope="col">P in ref</th><th scope="col">P in alt</th>'
        '<th scope="col">Attribution ref</th><th scope="col">Attribution alt</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>{rest}</details>\n"
    )


def _p(value: float, start: int) -> str:
    return html.escape(p_text(value, start))


def _sum(value: float) -> str:
    return signed(value, "+.2f") if value == value else "–"


def _how(facts: Mapping[str, Any]) -> str:
    method = {
        "ism": "the model's logit with the base that is there minus its mean over the four bases",
        "gradient-x-input": "gradient × input of the model's logit",
    }[facts["method"]]
    lines = [
        "Rows are in the order of the variants' ranks. P is the model's probability of open chromatin, log-odds the natural "
        "log of the odds of ALT minus that of REF; percentile and p, where there are such columns, compare its size with "
        "those of variants drawn from the genome. Of each variant the model is shown whose log-odds change most.",
        f"Letters are as tall as the attribution of their base: {method}, the mean of both strands if both were scored. "
        "Letters above the line raise the output. A dash is a gap, where the other allele has more bases; the "
        "third track is ALT minus REF, in which a gap counts 0. Grey columns lie beyond the model's window.",
        f"Sites of motifs ({facts['motifs']}) overlap the variant, have P ≤ {facts['threshold']:g} in one allele (gained, "
        "lost) or both (changed), and change their score by at least 1 bit. P is the share of random words that match "
        "as well. Related factors have nearly the same motif, so one change often has many names. That a motif changes "
        "does not show that it is the cause: look whether the model's letters follow it.",
    ]
    return "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
