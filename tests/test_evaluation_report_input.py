"""`chromtransfer report` on results that are broken, doubled, moved or in the way: a message, and nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from evaluation_report_cases import (
    FEW,
    Page,
    make_dataset,
    make_evaluation,
    make_run,
    make_scores,
)

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.scores import SCORES, write_scores
from chromtransfer_plugin.evaluation_report import write_report


@pytest.mark.parametrize("run", ["../gone", "x" * 5000], ids=["moved", "too long"])
def test_a_training_run_that_is_not_there_is_told(run: str, small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "e")
    rewrite_first(None, run=run)(tmp_path / "e")
    text = write_report([tmp_path / "e"], tmp_path / "r.html").path.read_text()
    assert "HEPG2, fine-tuned: its training run is not at" in text


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
    result = CliRunner().invoke(main, ["report", *map(str, folders[::-1]), "-o", str(tmp_path / "r.html")])
    assert [line.partition(" ")[0] for line in result.output.splitlines()] == ["link:", "e:", "Written:"]


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
    "calls that do not add up": (rewrite_first(None, tp=-5, fn=26), "do not add up to the line's 21 open and 39 closed"),
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


def test_command(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    verdicts = tmp_path / "v.json"
    result = CliRunner().invoke(main, ["report", str(small), "-o", str(out), "--verdicts", str(verdicts)])
    assert result.exit_code == 0
    first = json.loads(verdicts.read_text())["verdicts"][0]
    assert (first["line"], first["model"], first["level"]) == ("HEPG2", "fine-tuned", "usable")
    assert [r["level"] for r in first["reasons"] if r["rule"] == "ranking"] == ["usable"]
    lines = result.output.splitlines()
    assert lines[0].startswith("HEPG2, fine-tuned: Usable, because AUROC is")
    assert " Next: Use it: rank windows by it, " in lines[0]
    assert lines[1:] == [f"Written: {out}", f"Written: {verdicts}"]
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
        (["-o", str(small / "evaluation.json")], "is a result that a report reads"),
        (
            ["-o", str(tmp_path / "new.html"), "--verdicts", str(small / "manifest.json")],
            "a report reads",
        ),
        (["-o", str(tmp_path / "new.html"), "--verdicts", str(tmp_path / "new.html")], "Name two files"),
        (["-o", str(tmp_path / "new.html"), "--verdicts", str(tmp_path / "no" / "v.json")], "does not exist"),
        (
            ["-o", str(tmp_path / "new.html"), str(small / "evaluation.json")],
            "is a file",
        ),
    ):
        result = CliRunner().invoke(main, ["report", str(small), *options])
        assert result.exit_code == 1
        assert said in result.output
        assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "v.json"]
