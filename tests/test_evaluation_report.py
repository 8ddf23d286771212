"""The page of `chromtransfer report`: its numbers are the records', nothing in a name becomes markup, bad input is told."""

from __future__ import annotations

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from evaluation_report_cases import (
    HOSTILE,
    LINES,
    MODELS,
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

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.record import METRICS, Comparison, LineResult, Measure, ModelResult
from chromtransfer_plugin.evaluation.scores import SCORES, ScoreTable, write_scores
from chromtransfer_plugin.evaluation_report import write_report
from chromtransfer_plugin.evaluation_report.markup import measure
from chromtransfer_plugin.evaluation_report.palette import make_palette
from chromtransfer_plugin.evaluation_report.sections_evaluation import best_model
from chromtransfer_plugin.json_record import write_record
from chromtransfer_plugin.metrics import binary_metrics
from chromtransfer_plugin.plots import plot_precision_recall, plot_reliability
from chromtransfer_plugin.plots.roc import thinned
from chromtransfer_plugin.report.page import policy_hash

FEW = {name: MODELS[name] for name in ("fine-tuned", "k-mers", "authors")}
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Text of cells by table and row, all attributes and tags; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.cell: list[str] | None = None
        self.caption = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.tables.setdefault(self.caption, []).append([])
        if tag in ("th", "td", "caption"):
            self.cell = []

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "caption" and self.cell is not None:
            self.caption, self.cell = "".join(self.cell), None
        elif tag in ("th", "td") and self.cell is not None:
            self.tables[self.caption][-1].append("".join(self.cell).strip())
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(data)


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
    matrix = page.tables["AUROC and verdict of every model on every line"]
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


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    names = [folder / name for name in ("evaluation", "data", "efficiency", "runs/b")]
    written = [write_report(names, tmp_path / name).path.read_bytes() for name in ("a.html", "b.html")]
    assert written[0] == written[1]
    assert str(folder).encode() not in written[0]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("run", ["../gone", "x" * 5000], ids=["moved", "too long"])
def test_a_training_run_that_is_not_there_is_told(run: str, small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "e")
    rewrite_first(None, run=run)(tmp_path / "e")
    text = write_report([tmp_path / "e"], tmp_path / "r.html").path.read_text()
    assert "HEPG2, fine-tuned: its training run is not at" in text


@pytest.mark.slow
def test_six_lines_and_eight_models_stay_small(tmp_path: Path) -> None:
    make_evaluation(tmp_path / "e", LINES, n=200, resamples=5)
    written = write_report([tmp_path / "e"], tmp_path / "r.html")
    assert len(written.verdicts) == 12
    text = written.path.read_text()
    assert len(text) < 2_500_000
    assert text.count("<details id=") == 6
    assert "<details open" not in text


def test_two_evaluations_of_a_line_are_told_apart_by_as_much_of_the_path_as_it_takes(
    small: Path, tmp_path: Path
) -> None:
    for name in ("old/e", "new/e"):
        shutil.copytree(small, tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / "new" / "e")
    folders = [tmp_path / name for name in ("old/e", "new/e", "link")]
    written = write_report([*folders, f"{folders[0]}/"], tmp_path / "r.html", title=" ")
    assert [(one.evaluation, one.line) for one in written.verdicts] == [
        ("old/e", "HEPG2"),
        ("new/e", "HEPG2"),
    ]
    text = written.path.read_text()
    assert text.count("<h3>old/e</h3>") == 2  # in the verdicts and in the numbers
    assert text.count("<h3>new/e</h3>") == 2
    assert str(tmp_path) not in text
    assert "<h1>Is the model good?</h1>" in text
    Page(text)
    result = CliRunner().invoke(main, ["report", *map(str, folders), "-o", str(tmp_path / "r.html")])
    assert [line.partition(" ")[0] for line in result.output.splitlines()] == ["old/e:", "new/e:", "Written:"]


def test_a_metric_that_an_older_record_lacks_is_a_dash(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "e")
    path = tmp_path / "e" / "evaluation.json"
    record = json.loads(path.read_text())
    for name in ("auroc", "average_precision", "ece"):
        del record["lines"][0]["models"][0]["measures"][name]
    path.write_text(json.dumps(record))
    written = write_report([tmp_path / "e"], tmp_path / "r.html")
    assert written.verdicts[0].sentence.startswith("Cannot tell, because AUROC is not in the evaluation")
    assert Page(written.path.read_text()).tables["HEPG2: ranking, calls and probabilities"][1][1:3] == [
        "–",
        "–",
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """One line, few windows; copied before it is changed."""
    folder = tmp_path_factory.mktemp("small") / "e"
    make_evaluation(folder, models=FEW, n=60, resamples=3)
    return folder


def rewrite(name: str, old: str, new: str):
    def change(folder: Path) -> None:
        path = folder / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def rewrite_lines(folder: Path, times: int) -> None:
    path = folder / "evaluation.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"lines": times * record["lines"]}))


def rewrite_first(measured: str | None, **changes):
    """Change the first model of the first line, or one of its metrics."""

    def change(folder: Path) -> None:
        path = folder / "evaluation.json"
        record = json.loads(path.read_text())
        model = record["lines"][0]["models"][0]
        (model if measured is None else model["measures"][measured]).update(changes)
        path.write_text(json.dumps(record))

    return change


def rewrite_bins(n: list[int]):
    def change(folder: Path) -> None:
        path = folder / "evaluation.json"
        record = json.loads(path.read_text())
        record["lines"][0]["models"][0]["calibration"][0]["n"] = n
        path.write_text(json.dumps(record))

    return change


BAD = {
    "half a record": (lambda f: (f / "evaluation.json").write_text('{"format":'), "evaluation.json: is not the record"),
    "another version": (rewrite("evaluation.json", "evaluation/1", "evaluation/9"), "at format"),
    "no scores": (lambda f: (f / "HEPG2" / SCORES).unlink(), "scores.parquet: cannot be read"),
    "scores that are none": (lambda f: (f / "HEPG2" / SCORES).write_bytes(b"PAR1"), "is no Parquet file"),
    "scores of other windows": (lambda f: write_scores(make_scores("HEPG2", FEW, 50, 0), f / "HEPG2" / SCORES),
                                "do not fit evaluation.json"),
    "a number that is none": (rewrite_first("auroc", value=float("nan")), "lines.0.models.0.measures.auroc.value is not"),
    "an endless number": (rewrite_first("ece", high=float("inf")), "the number at lines.0.models.0.measures.ece.high"),
    "calls that do not add up": (rewrite_first(None, tp=-5), "do not add up to the line's 21 open and 39 closed windows"),
    "a model twice": (rewrite("evaluation.json", '"name": "authors"', '"name": "k-mers"'), "the model k-mers twice"),
    "a line twice": (lambda f: rewrite_lines(f, 2), "holds the line HEPG2 twice"),
    "bins that do not fit": (rewrite_bins([1]), "model fine-tuned: the bins of its calibration do not fit"),
    "bins of less than nothing": (rewrite_bins([-1] * 10), "the bins of its calibration do not fit"),
    "scores of other models": (rewrite("evaluation.json", '"name": "authors"', '"name": "others"'), "do not fit"),
    "a line that leads away": (rewrite("evaluation.json", '"line": "HEPG2"', '"line": "../HEPG2"'), "name of a folder"),
    "no line": (lambda f: rewrite_lines(f, 0), "holds no line"),
    "the folder above": (lambda f: (f.rename(f.parent / "x") and f.mkdir()) or (f.parent / "x").rename(f / "x"),
                         "chromtransfer train`, `selene_sdk`). Did you mean"),
    "not finished": (lambda f: (f / "evaluation.json").unlink(), "has not finished has no evaluation.json"),
    "an empty folder": (lambda f: (f / "evaluation.json").unlink(), "holds no result that a report can show. Looked for"),
    "half a data set": (lambda f: (f / "manifest.json").write_text("{}"), "manifest.json: is not the manifest"),
    "half an efficiency": (lambda f: (f / "efficiency.json").write_text("[]"), "efficiency.json: is not the record"),
    "leaks of another form": (lambda f: (f / "leaks.json").write_text("{}"), "leaks.json: is not"),
    "an empty history": (lambda f: (f / "history.csv").write_text(""), "history.csv"),
    "a run record that is none": (lambda f: make_run(f / "x") and (f / "x" / "run.json").write_text("["), None),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_and_nothing_is_written(name: str, small: Path, tmp_path: Path) -> None:
    change, said = BAD[name]
    shutil.copytree(small, tmp_path / "e")
    folder = tmp_path / "e"
    change(folder)
    folders = [str(folder)] if said else [str(folder / "x")]
    result = CliRunner().invoke(main, ["report", *folders, "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert (said or "run.json: cannot be read as the record of a training run") in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e"]


def test_a_data_set_s_figure_that_is_none(tmp_path: Path) -> None:
    (make_dataset(tmp_path / "d") / "qc.png").write_bytes(b"<script>")
    with pytest.raises(ChromTransferError, match=r"qc\.png: is no PNG"):
        write_report([tmp_path / "d"], tmp_path / "r.html")


def test_command(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    verdicts = tmp_path / "v.json"
    result = CliRunner().invoke(
        main, ["report", str(folder / "evaluation"), "-o", str(out), "--verdicts", str(verdicts)]
    )
    assert result.exit_code == 0
    first = json.loads(verdicts.read_text())["verdicts"][0]
    assert (first["line"], first["model"], first["level"]) == ("HEPG2", "fine-tuned", "usable for ranking")
    assert [r["level"] for r in first["reasons"] if r["rule"] == "ranking"] == ["usable"]
    lines = result.output.splitlines()
    assert lines[0].startswith("HEPG2, fine-tuned: Usable for ranking, because AUROC is")
    assert lines[1].startswith("K562, fine-tuned: ")
    assert lines[2] == f"Written: {out}"
    assert out.read_text().startswith("<!doctype html>")
    before = out.read_bytes()
    result = CliRunner().invoke(main, ["report", str(tmp_path / "nowhere"), "-o", str(out)])
    assert result.exit_code == 1
    assert "there is no such folder" in result.output
    assert out.read_bytes() == before
    for options, said in (
        (["-o", str(tmp_path)], "is a folder"),
        (["-o", str(tmp_path / "no" / "r.html")], "does not exist"),
        (["-o", str(tmp_path / f"{'n' * 300}.html")], "File name too long"),
        (["-o", str(folder / "evaluation" / "evaluation.json")], "is a result that a report reads"),
        (
            ["-o", str(tmp_path / "new.html"), "--verdicts", str(folder / "data" / "manifest.json")],
            "a report reads",
        ),
        (["-o", str(tmp_path / "new.html"), "--verdicts", str(tmp_path / "new.html")], "Name two files"),
        (["-o", str(tmp_path / "new.html"), "--verdicts", str(tmp_path / "no" / "v.json")], "does not exist"),
        (
            ["-o", str(tmp_path / "new.html"), "--title", "x", str(folder / "data" / "manifest.json")],
            "is a file",
        ),
    ):
        result = CliRunner().invoke(main, ["report", str(folder / "evaluation"), *options])
        assert result.exit_code == 1
        assert said in result.output
        assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "v.json"]


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


def test_each_model_has_a_style_of_its_own() -> None:
    palette = make_palette([*"abcdefghijklmnop", "a"])
    assert len(palette) == 16
    assert len({str(style) for style in palette.values()}) == 16
    assert make_palette("ab")["a"] == palette["a"]


def test_numbers() -> None:
    assert measure(Measure(value=-0.0004), 3) == "−0.000"
    assert measure(Measure(value=None, low=0.1, high=0.2)) == "–"
    assert "[+0.100, +0.300]" in measure(Measure(value=0.2, low=0.1, high=0.3), sign=True)


def test_precision_recall_goes_through_the_hand_computed_points() -> None:
    ax = Figure().add_subplot()
    plot_precision_recall(ax, {"m": ([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9])})
    guessing, curve = ax.lines
    assert guessing.get_ydata() == [0.5, 0.5]
    points = set(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    assert {(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, 2 / 3), (1.0, 0.5)} == points
    assert curve.get_label() == "m: 0.833"
    with pytest.raises(ChromTransferError, match="both classes"):
        plot_precision_recall(ax, {"m": ([1, 1], [0.1, 0.4])})


def test_reliability_leaves_out_bins_that_say_nothing() -> None:
    ax = Figure().add_subplot()
    plot_reliability(ax, {"as it is": ([0.1, None, 0.9], [0.2, None, 0.8], [10, 0, 9])})
    assert ax.lines[1].get_xydata().tolist() == [[0.1, 0.2]]
    assert [round(bar.get_height() / ax.patches[0].get_height(), 6) for bar in ax.patches] == [1, 0, 0.9]
    plot_reliability(ax, {"as it is": ([None], [None], [0])})


def test_thinned_curves_keep_their_shape() -> None:
    x = np.linspace(0, 1, 50000)
    y = np.sqrt(x)
    few_x, few_y = thinned(x, y)
    assert len(few_x) <= 400
    assert (few_x[0], few_x[-1]) == (0, 1)
    assert np.abs(np.interp(x, few_x, few_y) - y).max() < 0.003
    assert thinned(x[:9], y[:9])[0] is not None
