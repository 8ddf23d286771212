"""The page of explained variants: as text, and in a real Chromium."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chromtransfer_plugin.plots.comparison_parts import new_figure
from chromtransfer_plugin.variants.motif_changes import CHANGE_COLUMNS
from chromtransfer_plugin.variants.page import Explained, render_page

HOSTILE = '</script><script>document.title = "broken"</script><img src=x onerror=alert(1)>&"\''
FACTS = {
    "method": "ism",
    "motifs": "JASPAR2022",
    "threshold": 1e-4,
    "genome": {"path": "folder/hg38.fa"},
    "models": [{"name": "HEPG2"}, {"name": HOSTILE}],
}


def site(change: str, name: str, p_ref: float, p_alt: float):
    values = {
        "number": 0, "change": change, "motif": f"MA0001.1 {name}", "motif_id": "MA0001.1", "motif_name": name,
        "strand": "+", "start": 1000, "end": 1010, "new_bases": 0, "score_ref": 9.0, "score_alt": 1.0,
        "p_ref": p_ref, "p_alt": p_alt, "attribution_ref": 2.5, "attribution_alt": np.nan,
        "ref_start": 0, "ref_end": 10, "alt_start": 0, "alt_end": 10,
    }  # fmt: skip
    return [values[name] for name in CHANGE_COLUMNS]


def explained(rank: int, log_odds: float, **values) -> Explained:
    sites = values.pop("sites", [])
    scores = {"p_ref": 0.5, "p_alt": 0.25, "difference": -0.25, "log_odds": log_odds} | values.pop("more", {})
    given = {
        "rank": rank, "name": f"chr1:{rank}00 A>G", "id": "", "column": "HEPG2", "scores": scores,
        "flags": "", "figure": f"figures/{rank}.png", "size": (900, 600),
        "changes": pd.DataFrame(sites, columns=list(CHANGE_COLUMNS)),
    }  # fmt: skip
    return Explained(**(given | values))


def some() -> list[Explained]:
    names = ["ONE", "TWO", "ONE", "THREE", "FOUR", "FIVE", "SIX"]
    return [
        explained(
            1,
            -2.5,
            id="rs1",
            more={"p_value": 0.02},
            sites=[site("lost", name, 2e-7, np.nan) for name in names],
        ),
        explained(2, 2.0, id=HOSTILE, name=f"{HOSTILE}:7 A>G", column="K562", more={"p_value": 0.3}),
        explained(
            3,
            0.5,
            sites=[site("gained", HOSTILE, np.nan, 3e-5)],
            flags="swapped|edge",
            more={"p_value": 0.004},
        ),
    ]


class Cells(HTMLParser):
    """Text of the cells of the first table, and all tags."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.inside = self.table = False

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        if ("id", "variants") in attributes:
            self.table = True
        if self.table and tag == "tr":
            self.rows.append([])
        if self.table and tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag) -> None:
        if tag in ("td", "th"):
            self.inside = False
        if tag == "table":
            self.table = False

    def handle_data(self, data) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def read(page: str) -> Cells:
    cells = Cells()
    cells.feed(page)
    return cells


def test_table_is_there_without_a_script() -> None:
    rows = read(render_page(some(), FACTS)).rows
    assert rows[0] == [
        "Rank", "Variant", "ID", "Model", "P(ref)", "P(alt)", "Difference", "Log-odds", "p", "Flags",
        "Motifs gained", "Motifs lost",
    ]  # fmt: skip
    assert rows[1] == [
        "1", "chr1:100 A>G", "rs1", "HEPG2", "0.5", "0.25", "−0.25", "−2.5", "0.02", "", "",
        "ONE, TWO, THREE, FOUR and 2 more",
    ]  # fmt: skip
    assert rows[2][:4] == ["2", f"{HOSTILE}:7 A>G", HOSTILE, "K562"]
    assert rows[3][-3:] == ["swapped|edge", HOSTILE, ""]


def test_scores_of_a_null_have_columns() -> None:
    page = render_page([explained(1, -0.0, more={"percentile": 99.987, "p_value": 0.00042})], FACTS)
    head, row = read(page).rows
    assert "ID" not in head  # there is none
    assert "Flags" not in head
    shown = dict(zip(head, row, strict=True))
    assert (shown["Percentile"], shown["p"], shown["Log-odds"]) == ("99.99", "0.00042", "0")


def test_names_stay_text() -> None:
    page = render_page(some(), FACTS)
    plain = render_page([explained(rank, 1.0) for rank in (1, 2, 3)], FACTS | {"models": []})
    assert read(page).tags.count("script") == read(plain).tags.count("script") == 1
    assert read(page).tags.count("img") == 3
    assert "onerror=alert(1)>" not in page


def test_nothing_is_loaded_but_figures() -> None:
    page = render_page(some(), FACTS)
    loaded = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    figures = [f"figures/{rank}.{kind}" for rank in (1, 2, 3) for kind in ("png", "svg")]
    assert sorted(loaded) == sorted(figures)
    assert "http" not in page.replace("http-equiv", "")
    assert render_page(some(), FACTS) == page


def test_many_sites_are_in_the_table_of_hits() -> None:
    page = render_page(
        [explained(1, 1.0, sites=[site("lost", f"M{n}", 1e-5, 0.002) for n in range(15)])], FACTS
    )
    assert '3 more in <a href="hits.tsv">' in page
    assert page.count('class="lost">lost</th>') == 12


def test_no_variants() -> None:
    page = render_page([], FACTS)
    assert "There is no variant to show" in page
    assert "0 variants." in page
    assert "<table" not in page


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "figures").mkdir()
    for rank in (1, 2, 3):
        new_figure(9, 6).savefig(folder / f"figures/{rank}.png", dpi=100)
    (folder / "index.html").write_text(render_page(some(), FACTS), encoding="utf-8")
    return folder / "index.html"


@pytest.fixture
def opened(browser, page):
    browser.get_log("browser")
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def ranks(browser) -> list[str]:
    rows = "[...document.querySelectorAll('#variants tbody tr')].filter((row) => !row.hidden)"
    return browser.execute_script(f"return {rows}.map((row) => row.cells[0].innerText)")


def test_a_click_sorts(opened) -> None:
    heads = opened.find_elements("css selector", "#variants thead button")
    by_name = {head.text.rstrip(" |▲▼"): head for head in heads}
    assert ranks(opened) == ["1", "2", "3"]
    for name, *orders in (
        ("Log-odds", ["1", "2", "3"], ["2", "3", "1"], ["1", "3", "2"], ["1", "2", "3"]),  # by size, by value
        ("p", ["3", "1", "2"], ["2", "1", "3"]),  # what is small matters
        ("Motifs lost", ["1", "2", "3"], ["2", "3", "1"]),
        ("Model", ["1", "3", "2"], ["2", "1", "3"]),
        ("Rank", ["1", "2", "3"], ["3", "2", "1"]),
    ):
        for wanted in orders:
            by_name[name].click()
            assert ranks(opened) == wanted, name
    sorted_by = opened.find_element("css selector", "#variants th[aria-sort]")
    assert (sorted_by.text, sorted_by.get_attribute("aria-sort")) == ("Rank ▼", "descending")


def test_filter_narrows_table_and_figures(opened) -> None:
    box = opened.find_element("css selector", "#filter-box input")
    box.send_keys("hepg2 swapped")
    assert ranks(opened) == ["3"]
    shown = "return [...document.querySelectorAll('.variant')].filter((s) => !s.hidden).map((s) => s.id)"
    assert opened.execute_script(shown) == ["variant-3"]
    assert opened.find_element("css selector", "#filter-box output").text == "1 of 3 variants"
    box.clear()
    box.send_keys(" ")
    assert ranks(opened) == ["1", "2", "3"]


def test_figures_are_shown_and_names_are_not_run(opened) -> None:
    assert opened.title == "Variants, ranked by effect"
    opened.execute_script("document.querySelectorAll('img').forEach((one) => (one.loading = 'eager'))")
    sizes = opened.execute_async_script(
        "Promise.all([...document.images].map((one) => one.decode().then(() => one.naturalWidth))).then(arguments[0])"
    )
    assert sizes == [900, 900, 900]


def test_a_phone_scrolls_in_one_direction_only(opened) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened.refresh()
        assert opened.execute_script("return document.documentElement.scrollWidth") == 390
        caption = "return document.querySelector('#variants caption').getClientRects()[0].height"
        assert opened.execute_script(caption) < 40  # one line, not a narrow column
        cells = opened.execute_script(
            "return [...document.querySelectorAll('#variants td, #variants th')].map((c) => c.getBoundingClientRect().right)"
        )
        assert max(cells) <= 390
        label = "return getComputedStyle(document.querySelector('td.number'), '::before').content"
        assert opened.execute_script(label) == '"Rank"'
        middle = "const p = document.querySelector('.picture'); return [p.scrollLeft, (p.scrollWidth - p.clientWidth) / 2]"
        at, wanted = opened.execute_script(middle)
        assert at == pytest.approx(wanted, abs=1)
        assert wanted > 100
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
