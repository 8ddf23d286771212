"""The page of `chromtransfer report`: its numbers are the records', nothing in a name becomes markup, bad input is told."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluation_report_cases import (
    FEW,
    HOSTILE,
    LINES,
    Page,
    judge_scores,
    make_dataset,
    make_efficiency,
    make_evaluation,
    make_leaks,
    make_record,
    make_run,
    make_scores,
    write_evaluation,
)
from matplotlib.figure import Figure

from chromtransfer_plugin.evaluation.record import METRICS, Comparison, LineResult, Measure, ModelResult
from chromtransfer_plugin.evaluation.scores import SCORES, ScoreTable
from chromtransfer_plugin.evaluation_report import write_report
from chromtransfer_plugin.evaluation_report.load import Evaluated
from chromtransfer_plugin.evaluation_report.markup import measure
from chromtransfer_plugin.evaluation_report.page import judge_all
from chromtransfer_plugin.evaluation_report.palette import make_palette
from chromtransfer_plugin.evaluation_report.rules import LEVELS, MEANINGS
from chromtransfer_plugin.evaluation_report.section_overview import overview_part
from chromtransfer_plugin.evaluation_report.sections_evaluation import best_model
from chromtransfer_plugin.json_record import write_record
from chromtransfer_plugin.metrics import binary_metrics
from chromtransfer_plugin.report.page import policy_hash

MATRIX = "AUROC and verdict of every model on every line"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Results of every kind."""
    root = tmp_path_factory.mktemp("results")
    make_run(root / "runs" / "a", kind="overfits")
    make_run(root / "runs" / "b")
    make_evaluation(root / "evaluation", ("HEPG2", "K562"), FEW, n=300, runs={"fine-tuned": "../runs/a"})
    make_dataset(root / "data")
    make_efficiency(root / "efficiency")
    write_record(make_leaks(100, 7), root / "data" / "leaks.json")
    figure = Figure(figsize=(1, 1))
    figure.savefig(root / "data" / "qc.png")
    return root


@pytest.fixture(scope="module")
def text(folder: Path, tmp_path_factory) -> str:
    target = tmp_path_factory.mktemp("page") / "report.html"
    write_report([folder / name for name in ("evaluation", "data", "efficiency", "runs/b")], target)
    return target.read_text(encoding="utf-8")


def test_numbers_are_those_of_the_record(folder: Path, text: str) -> None:
    record = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    page = Page(text)
    for line in record["lines"]:
        rows = page.tables[f"{line['line']}: ranking, calls and probabilities"]
        heads = dict(zip(rows[0], range(99), strict=False))
        for model, row in zip(line["models"], rows[1:], strict=True):
            assert row[0] == model["name"]
            for name in ("auroc", "average_precision", "average_precision_calls", "brier", "ece"):
                shown = row[heads[METRICS[name][0]]].replace("★", "").strip()
                one = model["measures"][name]
                assert shown == f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
        calls = page.tables[f"{line['line']}: open is called above 0.5"][1:]
        assert [row[-4:] for row in calls] == [
            [str(m[k]) for k in ("tp", "fp", "fn", "tn")] for m in line["models"]
        ]
        tests = page.tables[f"{line['line']}: differences in AUROC"]
        assert tests[0] == ["Models", "Difference", "P, bootstrap", "P, DeLong", "q"]
        wanted = [one for one in line["comparisons"] if one["metric"] == "auroc"]
        for row, one in zip(tests[1:], wanted, strict=True):
            assert row[0] == f"{one['a']} minus {one['b']}"
            assert row[1].split()[0] == f"{one['difference']['value']:+.3f}".replace("-", "−")
            assert [float(cell) for cell in row[2:]] == pytest.approx(
                [one["p_bootstrap"], one["p_delong"], one["q"]], rel=0.06
            )
    matrix = page.tables[MATRIX]
    assert matrix[0] == ["Line", "Windows", *FEW]
    assert [row[0] for row in matrix[1:]] == ["HEPG2", "K562"]
    assert matrix[1][3].endswith("floor")


def test_scores_that_are_drawn_are_those_of_the_table(folder: Path, text: str) -> None:
    from chromtransfer_plugin.evaluation.scores import read_scores

    scores = read_scores(folder / "evaluation" / "K562" / SCORES, "K562")
    found = binary_metrics(scores.y, scores.scores["authors"])
    label = next(
        value
        for name, value in Page(text).attributes
        if name == "aria-label" and "ROC curves on K562" in value
    )
    assert f"authors {found.auroc:.3f}" in label


def test_all_parts_are_there(text: str) -> None:
    page = Page(text)
    words = html.unescape(re.sub("<[^>]*>", " ", text))
    heads = re.findall("<h2>(.*?)</h2>", text)
    assert heads == [
        "Verdict", "Numbers and figures", "Training and amount of data", "Data", "How it was made", "How to read it"
    ]  # fmt: skip
    assert "Its learning curves show: “Overfits" in words
    assert page.tables["What each step left: HEPG2"][1:3] == [
        ["open", "150,000", ""],
        ["open in no other line", "38,000", ""],
    ]
    assert ["share 50% or more of their 24-base words with one training window", "7", "7.00%"] in page.tables[
        "100 test windows against 5,000 training windows"
    ]
    rows = page.tables["HEPG2: mean (standard deviation over draws) [95% interval]"]
    assert rows[1][:3] == ["1%", "747", "10"]
    assert "chromtransfer evaluate --genome 'my genome.fa' --out evaluation" in words
    assert "ab" * 32 in words
    assert "With 5 % of the windows the AUROC is within 0.05" in words
    assert (
        sum(name == "src" and value.startswith("data:image/png;base64,") for name, value in page.attributes)
        == 1
    )
    assert words.index("fine-tuned: ") < words.index("Numbers and figures")


def test_the_policy_lets_nothing_but_the_page_s_own_style_pass(text: str) -> None:
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert f"style-src '{policy_hash(style[1])}'" in text
    page = Page(text)
    assert "script" not in page.tags
    names = {name for name, _ in page.attributes}
    assert "style" not in names
    assert not {name for name in names if name.startswith("on")}
    for name, value in page.attributes:
        if name in ("href", "src") and value is not None:
            assert value.startswith(("#", "data:image/png;base64,"))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert wanted <= set(ids)


def test_the_same_input_gives_the_same_bytes(folder: Path, text: str, tmp_path: Path) -> None:
    """Also in another process, where strings have other hashes."""
    names = [str(folder / name) for name in ("evaluation", "data", "efficiency", "runs/b")]
    command = [sys.executable, "-c", "from chromtransfer_plugin.cli import main; main()", "report", *names]
    other = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([*command, "-o", str(tmp_path / "r.html")], check=True, env=other, capture_output=True)
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == text
    assert str(folder) not in text


def test_hostile_names_stay_text(tmp_path: Path, recwarn) -> None:
    models = {
        HOSTILE: FEW["fine-tuned"],
        "</svg><img src=x onerror=alert(1)>": FEW["k-mers"],
        "']]>`${x}": FEW["authors"],
    }
    hostile_line = "<b>&'\"$y$ 例"
    table = make_scores(hostile_line, models, 120, 1)
    line = judge_scores(table, {name: kind for name, (kind, _, _) in models.items()}, {}, 5)
    line = line.model_copy(update={"read": ["<i>dropped</i>"]})
    write_evaluation(tmp_path / "<u>", make_record([line], 5), [table])
    text = write_report([tmp_path / "<u>"], tmp_path / "r.html", title="<h1>\ud800").path.read_text(
        encoding="utf-8"
    )
    assert not recwarn.list  # that this machine's fonts lack a sign is no concern of the page's
    page = Page(text)
    assert not {"script", "img", "b>", "i", "u"} & set(page.tags)
    assert page.tags.count("h1") == 1
    assert "<title>&lt;h1&gt;�</title>" in text
    assert page.tables[f"{hostile_line}: ranking, calls and probabilities"][1][0] == HOSTILE


def test_one_class_and_no_intervals(tmp_path: Path) -> None:
    table = make_scores("HEPG2", FEW, 60, 0)
    table = ScoreTable("HEPG2", table.table.assign(y=np.int8(1)), table.scores)
    line = judge_scores(table, {name: kind for name, (kind, _, _) in FEW.items()}, {}, 0)
    write_evaluation(tmp_path / "e", make_record([line], 0), [table])
    written = write_report([tmp_path / "e"], tmp_path / "r.html")
    assert [verdict.level for verdict in written.verdicts] == ["cannot tell"]
    text = written.path.read_text()
    Page(text)
    assert "they need windows of both classes" in text
    assert "no training windows were named" in text
    assert "NaN" not in text
    assert "nan" not in re.sub("<[^>]*>", " ", text).split()


def test_without_an_evaluation(folder: Path, tmp_path: Path) -> None:
    written = write_report([folder / "data"], tmp_path / "r.html")
    assert written.verdicts == []
    text = written.path.read_text()
    Page(text)
    assert "Cannot tell: there is no evaluation among the folders" in text
    assert "How much data a model needs was not measured" in text


@pytest.mark.slow
def test_six_lines_and_eight_models_stay_small(tmp_path: Path) -> None:
    make_evaluation(tmp_path / "e", LINES, n=200, resamples=5)
    written = write_report([tmp_path / "e"], tmp_path / "r.html")
    assert len(written.verdicts) == 12
    text = written.path.read_text()
    assert len(text) < 2_500_000
    assert text.count("<details id=") == 6
    assert "<details open" not in text


def line_of(*comparisons: tuple[str, str, str, float, float | None]) -> LineResult:
    models = [
        ModelResult(name=name, kind="given", source="", measures={}, tp=0, fp=0, fn=0, tn=0) for name in "abc"
    ]
    tests = [
        Comparison(
            a=a, b=b, metric=metric, q=q,
            difference=Measure(value=value, low=value - 0.1, high=value + 0.1),
        )
        for a, b, metric, value, q in comparisons
    ]  # fmt: skip
    return LineResult(line="L", n=9, n_positive=3, n_loci=9, models=models, comparisons=tests)


def test_the_best_is_marked_only_where_the_tests_show_it() -> None:
    assert best_model(line_of(("a", "b", "auroc", 0.2, 0.01), ("a", "c", "auroc", 0.2, 0.01)), "auroc") == "a"
    assert (
        best_model(line_of(("b", "a", "auroc", -0.2, 0.01), ("a", "c", "auroc", 0.2, 0.049)), "auroc") == "a"
    )
    assert (
        best_model(line_of(("a", "b", "auroc", 0.2, 0.01), ("a", "c", "auroc", 0.2, 0.05)), "auroc") is None
    )
    assert best_model(line_of(("a", "b", "auroc", 0.2, 0.01)), "auroc") is None
    assert (
        best_model(line_of(("a", "b", "brier", 0.2, 0.01), ("c", "b", "brier", -0.2, 0.01)), "brier") is None
    )
    lower = line_of(("a", "b", "brier", 0.2, 0.01), ("b", "c", "brier", -0.2, 0.01))
    assert best_model(lower, "brier") == "b"
    assert (
        best_model(line_of(("a", "b", "auroc", 0.2, None), ("a", "c", "auroc", 0.05, None)), "auroc") is None
    )
    assert best_model(line_of(("a", "b", "auroc", 0.2, None), ("a", "c", "auroc", 0.2, None)), "auroc") == "a"


def test_what_the_words_mean_is_said_at_once(text: str) -> None:
    words = html.unescape(re.sub("<[^>]*>", "", text))
    headline = words.index("fine-tuned: usable for ranking on all 2 lines.")
    meaning = words.index(f"usable for ranking: {MEANINGS['usable for ranking']}.")
    assert 0 < meaning - headline < 100
    assert "cannot tell: " not in words[:meaning]
    explained = words[words.index("How to read it", words.index("How it was made")) :]
    assert all(f"{level}: {meaning}." in explained for level, meaning in MEANINGS.items())
    assert list(MEANINGS) == list(LEVELS)


def test_the_head_of_a_line_says_whose_verdict_it_is_and_its_models_what_they_are(text: str) -> None:
    heads = re.findall(r"<summary><h3>(.*?)</h3>(.*?)</summary>", text)
    assert [name for name, _ in heads] == ["HEPG2", "K562"]
    assert re.sub("<[^>]*>", "", heads[0][1]).split() == ["fine-tuned", "≈", "usable", "for", "ranking"]
    assert [row[:3] for row in Page(text).tables["K562: models"]] == [
        ["Model", "Kind", "Output"],
        ["fine-tuned", "your model", "K562"],
        ["k-mers", "baseline: kmer", "K562"],
        ["authors", "scores from elsewhere", "–"],
    ]


def contrast(first: str, second: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05) of relative luminances."""

    def luminance(color: str) -> float:
        digits = color.lstrip("#")
        digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_of_text_are_told_from_what_they_lie_on(text: str) -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777", "#fff") == pytest.approx(4.48, abs=0.01)
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    variables = dict(re.findall(r"--(\w+): (#\w+);", style[1]))
    used = set(re.findall(r"(?<![-\w])color: var\(--(\w+)\)", style[1]))
    assert used == {"ink", "soft", "link", "good", "rank", "weak", "bad", "unknown"} - {"bad"}
    for name in used | {"bad"}:  # white on it
        assert contrast(variables[name], "#fff") >= 4.5, name
    for name in ("ink", "soft"):  # in boxes of code
        assert contrast(variables[name], "#f5f5f5") >= 4.5
    bars = re.search(r"\.bar \{[^}]*fill: (#\w+)", style[1])
    assert bars is not None
    assert contrast(bars[1], "#fff") >= 3
    for grey in ("0.25", "0.35"):  # of text in figures
        assert contrast("#" + 3 * f"{round(255 * float(grey)):02x}", "#fff") >= 4.5


def test_many_models_have_rows_in_the_overview() -> None:
    models = {f"model {i}": ("given" if i else "kmer", 1.0, 0.0) for i in range(9)}
    tables = [make_scores(line, models, 60, seed) for seed, line in enumerate(("HEPG2", "K562"))]
    lines = [
        judge_scores(one, {name: kind for name, (kind, _, _) in models.items()}, {}, 0) for one in tables
    ]
    lines[1] = lines[1].model_copy(update={"models": lines[1].models[:8]})
    judged = judge_all(Evaluated(Path("e"), "e", make_record(lines, 0), {}))
    matrix = Page(overview_part(judged, make_palette(models), "x")).tables[MATRIX]
    assert matrix[0] == ["Model", "HEPG2", "K562"]
    assert [row[0] for row in matrix[1:]] == ["Windows", *models]
    assert matrix[1][1].startswith("60 ")
    assert matrix[2][2].endswith("floor")
    assert matrix[10][1] == f"{lines[0].models[8].measures['auroc'].value:.3f} ? cannot tell"
    assert matrix[10][2] == "–"


def test_each_model_has_a_style_of_its_own() -> None:
    palette = make_palette([*"abcdefghijklmnop", "a"])
    assert len(palette) == 16
    assert len({str(style) for style in palette.values()}) == 16
    assert make_palette("ab")["a"] == palette["a"]


def test_numbers() -> None:
    assert measure(Measure(value=-0.0004), 3) == "−0.000"
    assert measure(Measure(value=None, low=0.1, high=0.2)) == "–"
    assert "[+0.100, +0.300]" in measure(Measure(value=0.2, low=0.1, high=0.3), sign=True)
