"""The page of `chromtransfer report` in a real Chromium: nothing is refused, nothing is loaded, it fits a phone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_report_cases import MODELS, make_dataset, make_efficiency, make_evaluation, make_run

from chromtransfer_plugin.evaluation_report import write_report

FEW = {name: MODELS[name] for name in ("fine-tuned", "k-mers", "authors")}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("results")
    make_run(root / "run")
    models = {f"a model with a long name, {name}": how for name, how in FEW.items()}
    lines = ("HEPG2", "a_line_with_a_name_that_has_no_space_to_break_it_anywhere")
    make_evaluation(root / "evaluation", lines, models, n=120, resamples=5)
    folders = [
        root / "evaluation",
        root / "run",
        make_dataset(root / "data"),
        make_efficiency(root / "efficiency"),
    ]
    return write_report(folders, root / "report.html").path


@pytest.fixture(params=[1280, 360])
def shown(browser, page: Path, request):
    """Open the page at a width with all that is folded open; nothing may be logged, and nothing requested but the file."""
    browser.get_log("browser"), browser.get_log("performance")
    size = {"width": request.param, "height": 800, "deviceScaleFactor": 1, "mobile": request.param < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in sent
    assert [url for url in sent if not url.startswith(("file:///", "chrome://", "data:"))] == []


def test_the_verdict_is_read_first_and_the_page_does_not_scroll_sideways(shown) -> None:
    read = shown.execute_script("return document.body.innerText").split("\n")
    assert read[:2] == ["Is the model good?", "Verdict"]
    first = next(line for line in read[2:] if line.strip())
    assert first.startswith("a model with a long name, fine-tuned: ")
    width = shown.execute_script("return innerWidth")
    for opened in (False, True):
        shown.execute_script(
            f"document.querySelectorAll('details').forEach((one) => {{ one.open = {str(opened).lower()} }})"
        )
        assert shown.execute_script("return document.documentElement.scrollWidth") <= width
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    printed = shown.execute_script("return document.documentElement.scrollWidth")
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert printed <= max(width, 718)  # an A4 page
    tall = shown.execute_script(
        "return [...document.querySelectorAll('figure svg')].map((one) => one.getBoundingClientRect().height)"
    )
    assert len(tall) > 10
    assert min(tall) > 70


def test_text_in_figures_is_inside_readable_and_not_on_other_text(shown) -> None:
    shown.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    outside, small, over = shown.execute_script(
        """
        let outside = [], small = [], over = [];
        for (const svg of document.querySelectorAll("figure svg")) {
          const box = svg.getBoundingClientRect();
          const texts = [...svg.querySelectorAll("text")];
          for (const [i, text] of texts.entries()) {
            const at = text.getBoundingClientRect();
            if (at.left < box.left - 2 || at.right > box.right + 2 || at.top < box.top - 2 || at.bottom > box.bottom + 2)
              outside.push(text.textContent);
            for (const other of texts.slice(i + 1)) {
              const to = other.getBoundingClientRect();
              const wide = Math.min(at.right, to.right) - Math.max(at.left, to.left);
              const high = Math.min(at.bottom, to.bottom) - Math.max(at.top, to.top);
              if (wide > 2 && high > 4) over.push(text.textContent + " / " + other.textContent);
            }
            const scale = box.width / svg.viewBox.baseVal.width;
            if (parseFloat(getComputedStyle(text).fontSize) * scale < 9) small.push(text.textContent);
          }
        }
        return [outside, small, over];
        """
    )
    assert outside == []
    assert small == []
    assert over == []


def test_colours_of_figures_are_not_refused_by_the_policy(shown) -> None:
    """Style attributes would be: every line would then be black and filled."""
    strokes = shown.execute_script(
        "return [...document.querySelectorAll('figure svg path')].map((one) => getComputedStyle(one).stroke)"
    )
    assert "rgb(0, 114, 178)" in strokes
    filled = shown.execute_script(
        'return [...document.querySelectorAll(\'figure svg [stroke="#0072b2"][fill="none"]\')].length'
    )
    assert filled > 0
