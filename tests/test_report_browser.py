"""The HTML page in a real Chromium: what a reader clicks does what it says."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from report_cases import HOSTILE, SET, WINDOWS, make_comparison

from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.onehot import decode
from chromtransfer_plugin.plots.style import BASES
from chromtransfer_plugin.report import write_report


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Comparison:
    return make_comparison(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(comparison: Comparison, tmp_path_factory) -> Path:
    return write_report(comparison, tmp_path_factory.mktemp("page") / "report.html", top=8)


@pytest.fixture(scope="module")
def whole(comparison: Comparison, tmp_path_factory) -> Path:
    """A page with all windows."""
    return write_report(comparison, tmp_path_factory.mktemp("page") / "whole.html", top=WINDOWS)


@pytest.fixture
def show(browser, page: Path):
    """Open the page at an address; at the end nothing may have been logged and nothing requested but files."""
    browser.get_log("browser"), browser.get_log("performance")

    def show(hash_: str = "", of: Path = page):
        browser.get("about:blank")
        browser.get(of.as_uri() + hash_)
        return browser

    yield show
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert sent
    # Chromium's own first page asks for chrome:// resources when it likes.
    assert [url for url in sent if not url.startswith(("file:///", "chrome://"))] == []


def find(browser, selector: str):
    return browser.find_elements("css selector", selector)


def one(browser, selector: str):
    return browser.find_element("css selector", selector)


def texts(browser, selector: str) -> list[str]:
    """What is shown; in one call, because each call to a browser costs milliseconds."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText ?? one.textContent)"
    )
    return browser.execute_script(script, selector)


def attributes(browser, selector: str, name: str) -> list[str | None]:
    script = (
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.getAttribute(arguments[1]))"
    )
    return browser.execute_script(script, selector, name)


def wait_for(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not react"
        time.sleep(0.02)


def by_distance(comparison: Comparison, column: str, down: bool) -> list[str]:
    return comparison.table.sort_values(column, ascending=not down)["motif"].tolist()


def every_motif(browser) -> None:
    box = one(browser, "#only-significant")
    if box.is_selected():
        box.click()


def names(browser) -> list[str]:
    return texts(browser, "#motif-table tbody th")


def test_table_is_sorted_by_any_column(show, comparison: Comparison) -> None:
    browser = show()
    every_motif(browser)
    assert names(browser) == by_distance(comparison, "diff.D", down=True)
    for key, column in (("D0", "A&B.D"), ("fdr1", "second.fdr"), ("D2", "diff.D")):
        for down in (True, False):
            one(browser, f'#motif-table button[data-key="{key}"]').click()
            assert names(browser) == by_distance(comparison, column, down)
            head = one(browser, f'#motif-table th:has(button[data-key="{key}"])')
            assert head.get_attribute("aria-sort") == ("descending" if down else "ascending")
    shown = texts(browser, '#motif-table tbody td[data-key="D2"]')
    wanted = [f"{value:.3f}".replace("-", "−") for value in sorted(comparison.table["diff.D"])]
    assert shown == wanted


def test_only_significant_motifs_are_listed_first(show, comparison: Comparison) -> None:
    significant = comparison.table[comparison.table["sig"]]
    assert 0 < len(significant) < len(comparison.table)
    assert sorted(names(show())) == sorted(significant["motif"])


def test_search_narrows_the_table_and_marks_the_plot(show) -> None:
    browser = show()
    every_motif(browser)
    search = one(browser, "#motif-search")
    search.send_keys("HI")
    assert names(browser) == ["high"]
    assert attributes(browser, "circle.found", "data-motif") == ["high"]
    search.send_keys("zz")
    assert names(browser) == []
    assert texts(browser, "#motif-pages span") == ["No motif matches."]


def test_pages_of_the_table(show, comparison: Comparison) -> None:
    browser = show()
    every_motif(browser)
    browser.execute_script("table.size = 3; drawTable()")
    order = by_distance(comparison, "diff.D", down=True)
    assert names(browser) == order[:3]
    one(browser, "#motif-pages button:last-child").click()
    assert names(browser) == order[3:]
    assert texts(browser, "#motif-pages span") == ["4–4 of 4 motifs"]


def test_a_click_on_a_motif_shows_it(show, comparison: Comparison) -> None:
    browser = show()
    one(browser, "#motif-table tbody th a[title='high']").click()
    wait_for(lambda: texts(browser, "#motif-detail h2") == ["high"])
    row = comparison.table.set_index("motif").loc["high"]
    for at, name in enumerate(comparison.names):
        shown = one(browser, f'#motif-detail td[data-key="D{at}"]').text
        assert float(shown.replace("−", "-")) == pytest.approx(row[f"{name}.D"], abs=6e-4)
    assert len(find(browser, "#motif-detail figure svg")) == 3
    assert one(browser, "#motif-detail").is_displayed()


def test_a_click_on_a_point_shows_its_motif(show) -> None:
    from selenium.webdriver import ActionChains

    browser = show()
    point = one(browser, "circle[data-motif='low']")
    ActionChains(browser).move_to_element(point).perform()
    assert one(browser, "#tooltip").text.startswith("low\nD A&B: ")
    ActionChains(browser).click(point).perform()
    wait_for(lambda: texts(browser, "#motif-detail h2") == ["low"])


def test_logo_has_the_information_of_the_matrix(show) -> None:
    """Row 2 says nothing; row 3 is one bit, C and G alike."""
    browser = show("#motif=high")
    letters = "#motif-detail .big-logo path"
    heights, tops = {}, {}
    for transform, colour in zip(
        attributes(browser, letters, "transform"), attributes(browser, letters, "fill"), strict=True
    ):
        x, y, _, height = (float(part) for part in re.findall(r"[\d.]+", transform))
        heights[(x // 10, colour)] = height
        tops[(x // 10, colour)] = y
    bits = 2 + 0.97 * np.log2(0.97) + 3 * 0.01 * np.log2(0.01)
    assert heights[(0, BASES["A"])] * 100 == pytest.approx(20 * bits * 0.97, abs=0.02)
    assert heights[(2, BASES["C"])] * 100 == pytest.approx(10, abs=0.02)
    assert heights[(2, BASES["G"])] * 100 == pytest.approx(10, abs=0.02)
    assert not [key for key in heights if key[0] == 1]
    assert tops[(0, BASES["A"])] == pytest.approx(40 - 20 * bits, abs=0.02)  # the tallest letter is on top
    assert sorted([tops[(2, BASES["C"])], tops[(2, BASES["G"])]]) == pytest.approx([20, 30], abs=0.02)


def test_letters_are_the_sequence(show, comparison: Comparison, whole: Path) -> None:
    """Window 5, zoomed in: an N is no letter, a missing score nothing, and what is negative hangs below the line."""
    browser = show("#region=chr1:6000-6600&view=6000-6040", whole)
    scores = [comparison.store.scores(name, [5])[0] for name in ("A&B", "second")]
    sequence = decode(comparison.store.codes([5])[0])
    for model, name in enumerate(("A&B", "second")):
        marks = f'g.track[data-model="{name}"] [data-base]'
        known = [i for i in range(40) if not np.isnan(scores[model][i])]
        assert attributes(browser, marks, "data-position") == [str(6000 + i) for i in known]
        assert "".join(attributes(browser, marks, "data-base")) == "".join(sequence[i] for i in known)
        kinds = browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.tagName)", marks
        )
        assert kinds == ["rect" if sequence[i] == "N" else "path" for i in known]
        below = [name == "negative" for name in attributes(browser, marks, "class")]
        assert below == [bool(scores[model][i] < 0) for i in known]
    assert sequence[7] == "N"
    assert len(known) == 40  # of the second model; A misses one


def test_letters_are_as_tall_as_their_scores(show, comparison: Comparison, whole: Path) -> None:
    browser = show("#region=chr1:3000-3600&view=3060-3070", whole)
    for name in ("A&B", "second"):
        scores = comparison.store.scores(name, [2])[0][60:70]
        letters = attributes(browser, f'g.track[data-model="{name}"] path', "transform")
        tall = [float(text.rstrip(")").split()[-1]) for text in letters]
        # one scale for both tracks: pixels per score are the same
        both = [comparison.store.scores(one, [2])[0] for one in ("A&B", "second")]
        extent = max(0, *(s.max() for s in both)) - min(0, *(s.min() for s in both))
        np.testing.assert_allclose(tall, 1.3 * abs(scores) / (1.08 * extent), atol=2e-4)


def test_zoom_and_move_by_button_key_and_wheel(show, whole: Path) -> None:
    browser = show("#region=chr1:3000-3600", whole)
    state = "return [view.start, view.end]"
    assert browser.execute_script(state) == [3000, 3600]
    assert not find(browser, "g.track path")
    one(browser, "button[aria-label='Zoom in']").click()
    assert browser.execute_script(state) == [3150, 3450]
    one(browser, "button[aria-label='Move right']").click()
    assert browser.execute_script(state) == [3300, 3600]
    one(browser, "#tracks").send_keys("++")
    assert browser.execute_script(state) == [3413, 3488]
    wait_for(lambda: len(find(browser, "g.track path")) == 150)
    assert "view=3413-3488" in browser.current_url
    browser.execute_script(
        "const r = byId('tracks').getBoundingClientRect();"
        "byId('tracks').dispatchEvent(new WheelEvent('wheel', {deltaY: -1, clientX: r.left + 60, cancelable: true}))"
    )
    start, end = browser.execute_script(state)
    assert end - start == 60
    assert start == 3413
    one(browser, "#tracks").send_keys("0")
    assert browser.execute_script(state) == [3000, 3600]


def test_tooltip_tells_place_base_and_scores(show, comparison: Comparison, whole: Path) -> None:
    from selenium.webdriver import ActionChains

    browser = show("#region=chr1:3000-3600&view=3052-3062", whole)  # the site of "high" in window 2
    mark = find(browser, "g.track path")[4]
    ActionChains(browser).move_to_element(mark).perform()
    lines = one(browser, "#tooltip").text.split("\n")
    base = decode(comparison.store.codes([2])[0])[56]
    assert lines[0].split() == ["chr1:3,056", base]
    for line, name in zip(lines[1:3], ("A&B", "second"), strict=True):
        shown = float(line.removeprefix(f"{name}: ").replace("−", "-"))
        assert shown == pytest.approx(comparison.store.scores(name, [2])[0][56], rel=6e-3, abs=1e-4)
    assert lines[3:] == ["high"]


def test_sites_are_drawn_and_lead_to_motifs(show, whole: Path) -> None:
    browser = show("#region=chr1:3000-3600", whole)
    one(browser, "#shown-sites option[value='all']").click()
    assert sorted(attributes(browser, "#tracks a", "aria-label")) == sorted(["high", "low", HOSTILE, "plain"])
    one(browser, "#shown-sites option[value='focus']").click()
    links = find(browser, "#tracks a")
    assert [link.get_attribute("aria-label") for link in links] == ["high"]
    links[0].find_element("css selector", "rect").click()
    wait_for(lambda: texts(browser, "#motif-detail h2") == ["high"])


def test_a_site_of_a_motif_opens_its_window(show, comparison: Comparison) -> None:
    browser = show("#motif=high")
    link = find(browser, "table.sites a")[0]
    place = link.text
    link.click()
    wait_for(lambda: one(browser, "#tab-regions").is_displayed())
    start, end = (int(part) for part in place.split(":")[1].split("-"))
    assert browser.execute_script("return [view.start, view.end]") == [start - 30, end + 30]
    assert len(find(browser, ".chosen-site")) == 1


def test_next_window_and_go_to(show) -> None:
    browser = show("#regions")
    listed = texts(browser, "#region-table tbody th")
    assert len(listed) == 8
    assert one(browser, "#region-place").text == listed[0]
    one(browser, "#region-view").find_element("link text", "Next").click()
    wait_for(lambda: one(browser, "#region-place").text == listed[1])
    start = int(listed[4].split(":")[1].split("-")[0])
    one(browser, "#go-to").send_keys(f"chr1:{start + 100:,}-{start + 150:,}\n")
    wait_for(lambda: one(browser, "#region-place").text == listed[4])
    assert browser.execute_script("return [view.start, view.end]") == [start + 100, start + 150]
    one(browser, "#go-to").send_keys("chr9:5-9\n")
    assert "No window on this page" in one(browser, "#status").text
    one(browser, "#go-to").clear()
    one(browser, "#go-to").send_keys("nonsense\n")
    assert "write it as chr1:100-700" in one(browser, "#status").text


def test_order_of_the_windows(show, comparison: Comparison) -> None:
    browser = show("#regions")
    one(browser, "#region-order option[value='genome']").click()
    starts = [int(text.split(":")[1].split("-")[0]) for text in texts(browser, "#region-table tbody th")]
    assert starts == sorted(starts)
    one(browser, "#region-which option[value='all']").click()
    assert len(find(browser, "#region-table tbody tr")) == browser.execute_script(
        "return DATA.regions.length"
    )


def test_hostile_names_stay_text(show) -> None:
    browser = show(f"#motif={quote(HOSTILE)}")
    assert texts(browser, "#motif-detail h2") == [HOSTILE]
    assert browser.title == "Motifs read by A&B and second"
    browser = show("#about")
    assert SET in one(browser, "#tab-about").text
    assert not find(browser, "#tab-about dd b")
    assert "<b>" not in browser.execute_script("return byId('summary').innerHTML")


def test_unknown_links_are_told(show) -> None:
    assert "no tested motif “nothing”" in one(show("#motif=nothing"), "#status").text
    assert "No window on this page" in one(show("#region=chrX:1-2"), "#status").text


@pytest.mark.parametrize("hash_", ["", "#motif=high", "#regions", "#about"])
def test_a_narrow_screen_scrolls_in_one_direction_only(show, hash_: str) -> None:
    browser = show(hash_)
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.refresh()
        assert browser.execute_script("return innerWidth") == 400
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_one_model_without_matrices_and_significant_motifs(show, tmp_path: Path) -> None:
    plain = make_comparison(tmp_path, two=False, how="min", matrices=False)
    plain.table["sig"] = False
    plain.table["A&B.rank"] = np.nan
    page = write_report(plain, tmp_path / "one.html", top=WINDOWS)
    browser = show("#motif=low", page)
    assert len(names(browser)) == len(plain.table)
    assert "No motif is significant" in one(browser, "#motif-list").text
    assert "the sites come from a track" in one(browser, "#motif-detail").text
    assert len(find(browser, "#motif-detail figure svg")) == 1
    browser = show("#region=chr1:40000-40600", page)  # the window without sites
    assert one(browser, "#hidden-sites").text == "no sites of these motifs here"
    assert len(find(browser, "g.track")) == 1
    assert "important sites have low" in show("#about", page).execute_script(
        "return byId('tab-about').textContent"
    )


def test_mutagenesis_turns_round_which_model_reads_more(show, tmp_path: Path) -> None:
    """There what a model reads has low scores: A - B above 0 says that B reads the motif more."""
    comparison = make_comparison(tmp_path, how="min")
    browser = show("", write_report(comparison, tmp_path / "min.html"))
    every_motif(browser)
    assert names(browser) == by_distance(comparison, "diff.D", down=False)
    assert "A − B above 0: B reads the motif more than A does" in one(browser, "#tab-motifs").text
    about = one(browser, "#tab-about").get_attribute("textContent")
    assert "Above 0 (blue): model B reads the motif more than A does" in about
