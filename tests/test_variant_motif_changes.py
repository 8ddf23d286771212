"""Sites of a motif that variants make, break or change, against constructions from strings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from explain_cases import COMPLEMENT, WORD, make_text, rows, variant

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.explain_alleles import AlleleScores, Variant, bases_around
from chromtransfer_plugin.variants.motif_changes import find_changes


@pytest.fixture(scope="module")
def text() -> str:
    return make_text()


@pytest.fixture(scope="module")
def genome(text, tmp_path_factory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(f">chr1\n{text}\n")
    return Genome(folder / "g.fa", folder / "cache")


def matrix(word: str = WORD) -> dict[str, np.ndarray]:
    return {
        "MA0001.1 FAC": np.array([[0.97 if base == letter else 0.01 for base in "ACGT"] for letter in word])
    }


def test_boundaries_on_the_genome() -> None:
    insertion = Variant("chr1", 100, ("", "GGG"), 0)
    assert [insertion.on_contig(1, at) for at in range(99, 106)] == [99, 100, 100, 100, 100, 101, 102]
    deletion = Variant("chr1", 100, ("AAA", ""), 0)
    assert [deletion.on_contig(1, at) for at in (99, 100, 101)] == [99, 103, 104]
    assert [deletion.on_contig(0, at) for at in (99, 100, 101, 103)] == [99, 100, 101, 103]


def changes(genome: Genome, table: pd.DataFrame, word: str = WORD) -> pd.DataFrame:
    """Changes of one motif; the attribution of every base is 1 in REF and 2 in ALT."""
    found = [Variant.of(row) for row in table.itertuples()]
    views = []
    for one in found:
        codes = [bases_around(genome, one, own, 30) for own in (0, 1)]
        views.append(
            tuple(AlleleScores(one.start - 30, c, np.full(len(c), i + 1.0)) for i, c in enumerate(codes))
        )
    return find_changes(found, views, matrix(word))


def test_a_site_is_lost_and_gained(text, genome) -> None:
    at = 1000  # where the word is
    bits = np.log2((np.array([0.97, 0.01]) + 1e-4) * 4)
    table = rows(genome, (at + 5, "TG", "GC"))
    found = changes(genome, table)
    assert found[["change", "motif_id", "motif_name", "strand"]].values.tolist() == [
        ["lost", "MA0001.1", "FAC", "+"]
    ]
    row = found.iloc[0]
    assert (row.start, row.end, row.new_bases) == (at, at + len(WORD), 0)
    assert row.score_ref == pytest.approx(10 * bits[0], abs=0.06)
    assert row.score_alt == pytest.approx(8 * bits[0] + 2 * bits[1], abs=0.06)
    assert row.p_ref == pytest.approx(4.0**-10)
    assert row.p_alt == pytest.approx((1 + 30 + 405) * 4.0**-10)  # words with up to two other bases
    assert (row.attribution_ref, row.attribution_alt) == (10, 20)
    turned = changes(genome, rows(genome, (at + 5, "GC", "TG"), swapped=True))
    assert turned["change"].tolist() == ["gained"]
    assert (turned.score_alt[0], turned.p_alt[0]) == (row.score_ref, row.p_ref)
    assert (turned.start[0], turned.end[0]) == (at, at + len(WORD))
    weaker = changes(genome, rows(genome, (at + 5, "T", "G")))
    assert weaker["change"].tolist() == ["changed"]
    assert weaker.p_alt[0] == pytest.approx(31 * 4.0**-10)


def test_a_site_on_the_other_strand(text, genome) -> None:
    word = WORD[::-1].translate(COMPLEMENT)
    found = changes(genome, rows(genome, (1005, "TG", "GC")), word)
    assert found[["change", "strand", "start"]].values.tolist() == [["lost", "-", 1000]]


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("", "TTG", []),  # before the site: it moves along
        ("", WORD + "AAAAA", ["gained"]),  # a second site
    ],
)
def test_insertions_beside_a_site(ref, alt, expected, text, genome) -> None:
    at = 1000
    found = changes(genome, rows(genome, (at, text[at - 1], text[at - 1] + alt)))
    assert found["change"].tolist() == expected
    if expected:
        assert found.new_bases.tolist() == [len(WORD)]
        assert found.start[0] == found.end[0]
        assert (found.ref_start[0], found.alt_start[0]) == (-1, 1000)
        assert np.isnan(found.attribution_ref[0])
        assert found.attribution_alt[0] == 20


def test_a_second_copy_is_one_site_more(text, genome) -> None:
    """The variant slides along the repeat; the copy that was there stays a site."""
    table = rows(genome, (1010, text[1009], text[1009] + WORD))
    assert table.slide[0] >= len(WORD)
    assert changes(genome, table)["change"].tolist() == ["gained"]
    fewer = rows(genome, (1010, text[1009] + WORD, text[1009]), swapped=True)
    assert changes(genome, fewer)["change"].tolist() == ["lost"]


def test_insertion_within_a_site_breaks_it(text, genome) -> None:
    found = changes(genome, rows(genome, (1005, text[1004], text[1004] + "GGG")))
    assert found[["change", "start", "end"]].values.tolist() == [["lost", 1000, 1010]]
    back = changes(genome, rows(genome, (1005, text[1004] + "GGG", text[1004]), swapped=True))
    assert back["change"].tolist() == ["gained"]


def test_a_shorter_repeat_leaves_a_site_at_its_end(text, genome) -> None:
    """The word holds part of the repeat, from where on does not matter."""
    table = rows(genome, variant(text, "repeat"))
    assert table.old[0] == "CA" or table.old[0] == "AC"
    assert changes(genome, table, "CACACACAGT").empty  # at the right end
    assert changes(genome, table, "GTCACACACA").empty  # at the left end
    whole = changes(genome, table, "GTCACACACACACACAGT").iloc[0]
    assert whole.p_ref == pytest.approx(4.0**-18)
    assert whole.score_ref - whole.score_alt > 10


def test_the_same_alleles_change_nothing(text, genome) -> None:
    assert changes(genome, rows(genome, (1005, text[1004], text[1004]))).empty
    assert find_changes([], [], matrix()).empty
