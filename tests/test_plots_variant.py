"""The figure of a variant: what stands where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.onehot import encode
from chromtransfer_plugin.plots.variant import (
    BREAK,
    ENDS,
    KINDS,
    LONG,
    MOST_SITES,
    subtitle_of,
    variant_figure,
)
from chromtransfer_plugin.variants.explain_alleles import AlleleScores, Variant, align

FLANK = 30
SCORES = {"p_ref": 0.584, "p_alt": 0.783, "log_odds": 0.9448, "percentile": 99.98, "p_value": 0.0004}


def alignment(ref: str, alt: str, seen: int | None = None):
    """An allele pair at 1000; the score of a base is its number in the flanked allele. ``seen``: bases with a score."""
    variant = Variant("chr1", 1000, (ref, alt), 0)
    sides = "ACGT" * (FLANK // 4 + 1)
    views = []
    for bases in (ref, alt):
        sequence = sides[:FLANK] + bases + sides[:FLANK]
        scores = np.arange(1.0, len(sequence) + 1)
        if seen is not None:
            scores[seen:] = np.nan
        views.append(AlleleScores(1000 - FLANK, encode(sequence), scores))
    return align(variant, (views[0], views[1]), FLANK)


def sites(*rows: tuple[str, str, int, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["change", "motif", "first", "last"])
    return table.assign(p_ref=2e-5, p_alt=np.nan, ref_start=0, alt_start=0)


def draw(ref="A", alt="G", changes=None, chrom="chr1", seen=None):
    if changes is None:
        changes = sites()
    shown = alignment(ref, alt, seen)
    return variant_figure(shown, changes, chrom, "title $x^2$", "below", "score", (0.584, 0.783))


def letters(ax) -> str:
    found = sorted(
        (text.get_position()[0], text.get_text()) for text in ax.texts if len(text.get_text()) == 1
    )
    return "".join(text for _, text in found)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_insertion_and_deletion_have_gaps() -> None:
    for ref, alt in (("", "GGG"), ("GGG", "")):
        figure = draw(ref, alt)
        rows = [letters(figure.axes[at]) for at in (1, 3)]
        short, long = rows if not ref else rows[::-1]
        assert short[FLANK : FLANK + 3] == "–––"
        assert long[FLANK : FLANK + 3] == "GGG"
        assert short.replace("–", "") == long[:FLANK] + long[FLANK + 3 :]
        shade = next(
            p for p in figure.axes[4].patches if p.get_facecolor()[:3] == (1.0, 243 / 255, 196 / 255)
        )
        assert (shade.get_x(), shade.get_width()) == (FLANK - 0.5, 3)


def test_tracks_are_the_scores_and_their_difference() -> None:
    figure = draw("", "GGG")
    bars = [bar.get_height() for bar in figure.axes[4].patches if bar.get_width() == pytest.approx(0.8)]
    both = alignment("", "GGG")
    assert bars == pytest.approx(list(both.difference))
    assert bars[:FLANK] == [0] * FLANK
    assert bars[FLANK : FLANK + 3] == [31, 32, 33]
    assert bars[FLANK + 3 :] == [3] * FLANK
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()
    assert "P = 0.584" in figure.axes[0].get_ylabel()
    assert "P = 0.783" in figure.axes[2].get_ylabel()


def test_positions_are_those_of_a_vcf() -> None:
    axis = draw("", "GGG").axes[-1]
    labels = dict(zip(axis.get_xticks(), (label.get_text() for label in axis.get_xticklabels()), strict=True))
    assert labels[FLANK - 1] == "1,000"  # the base before the insertion, 999 counted from 0
    assert labels[FLANK + 3 + 9] == "1,010"
    assert len(labels) == 5


def test_a_long_variant_is_shown_by_its_ends() -> None:
    inserted = "A" * 20 + "C" * 500 + "T" * 20
    figure = draw("", inserted)
    width = 2 * FLANK + 2 * ENDS + BREAK
    assert figure.axes[0].get_xlim() == (-0.5, width - 0.5)
    assert letters(figure.axes[3])[FLANK : FLANK + 2 * ENDS] == "A" * ENDS + "T" * ENDS
    notes = [text.get_text() for text in figure.axes[3].texts if len(text.get_text()) > 1]
    assert notes == [f"… {540 - 2 * ENDS:,} bp …"]
    assert letters(draw("", "A" * LONG).axes[3])[FLANK : FLANK + LONG] == "A" * LONG


def test_sites_of_a_hidden_part_stand_in_the_mark() -> None:
    n = 540
    changes = sites(
        ("gained", "before", FLANK - 5, FLANK + 5),
        ("gained", "inside", FLANK + 200, FLANK + 210),
        ("lost", "behind", FLANK + n - 5, FLANK + n + 5),
    )
    boxes = draw("", "C" * n, changes).axes[-1].collections
    spans = [box.get_paths()[0].get_extents() for box in boxes]
    end = FLANK + 2 * ENDS + BREAK
    assert (spans[0].x0, spans[0].x1) == (FLANK - 5.5, FLANK + 4.5)
    assert FLANK + ENDS < spans[1].x0 < spans[1].x1 < FLANK + ENDS + BREAK
    assert (spans[2].x0, spans[2].x1) == (end - 5.5, end + 4.5)


def test_sites_are_named_and_do_not_overlap() -> None:
    changes = sites(
        ("gained", "MA0001.1 ONE", 25, 35),
        ("lost", "MA0002.1 $TWO$", 26, 36),
        ("changed", "MA0003.1 THREE", 55, 61),
        ("lost", "MA0004.1 FOUR", 1, 9),
    )
    figure = draw(changes=changes)
    axis = figure.axes[-1]
    labels = [text.get_text() for text in axis.texts]
    assert labels == [
        "+ ONE  2.0e-05 → >0.01", "− $TWO$  2.0e-05 → >0.01", "~ THREE  2.0e-05 → >0.01", "− FOUR  2.0e-05 → >0.01",
    ]  # fmt: skip
    figure.draw_without_rendering()
    drawn = [text.get_window_extent() for text in axis.texts]
    drawn += [box.get_paths()[0].get_extents(axis.transData) for box in axis.collections]
    overlaps = [(i, j) for i, a in enumerate(drawn) for j, b in enumerate(drawn) if i < j and a.overlaps(b)]
    assert overlaps == []
    assert all(box.x0 > 0 and box.x1 < figure.bbox.width for box in drawn)


def test_only_the_first_sites_are_drawn() -> None:
    changes = sites(*[("lost", f"M{number}", 20, 35) for number in range(MOST_SITES + 3)])
    axis = draw(changes=changes).axes[-1]
    assert len(axis.collections) == MOST_SITES
    assert axis.texts[-1].get_text() == "and 3 more sites, see hits.tsv"
    once = draw(changes=sites(("lost", "M", 20, 35), ("lost", "M", 25, 40))).axes[-1]
    assert [len(once.collections), once.texts[-1].get_text()] == [1, "and 1 more site, see hits.tsv"]
    assert "no site of a motif" in draw().axes[-1].texts[0].get_text()


def test_beyond_the_window_is_grey() -> None:
    figure = draw(seen=FLANK + 11)
    for at in (0, 2, 4):
        grey = [p for p in figure.axes[at].patches if p.get_facecolor()[:3] == (0.93, 0.93, 0.93)]
        assert [p.get_x() + 0.5 for p in grey] == list(range(FLANK + 11, 2 * FLANK + 1))


def test_dollars_of_names_are_no_formulas() -> None:
    figure = draw(chrom="chr$_1$", changes=sites(("lost", "$\\bad$", 20, 30)))
    assert "title $x^2$" in texts(figure)
    figure.draw_without_rendering()  # a formula with an unknown command raises here


def test_subtitle() -> None:
    assert subtitle_of("m", SCORES) == "m:  P 0.584 → 0.783,  log-odds +0.945,  percentile 99.98,  p = 0.0004"
    plain = {"p_ref": 0.5, "p_alt": 0.5, "log_odds": -0.0}
    assert subtitle_of("m", plain) == "m:  P 0.5 → 0.5,  log-odds +0"


def test_signs_differ_as_colours_do() -> None:
    signs, colours = zip(*KINDS.values(), strict=True)
    assert len(set(signs)) == len(set(colours)) == 3
