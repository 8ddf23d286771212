"""`chromtransfer evaluate`: stored scores and figures agree, order and forms do not matter, faults have messages."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from evaluate_cases import LINES, Case, make_case, write_rows, write_scores_csv
from genome_helpers import real_data_folder
from kipoi_cases import make_checkpoint

from chromtransfer_plugin import evaluate
from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.constants import CELL_LINES
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.record import COMPARED, METRICS, read_evaluation
from chromtransfer_plugin.evaluation.results import pairs_of
from chromtransfer_plugin.evaluation.scores import read_scores
from chromtransfer_plugin.evaluation.settings import EvaluationSettings, named
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc, binary_metrics
from chromtransfer_plugin.predict import predict_checkpoint


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    case = make_case(tmp_path_factory.mktemp("evaluate"))
    rng = np.random.default_rng(1)
    for line in LINES:
        rows = case.test_rows(line)
        write_scores_csv(case.folder / f"{line}.rival.csv", rows, rng.random(len(rows)).round(4).tolist())
    make_checkpoint(case.folder / "net", outputs=("open",))
    make_checkpoint(case.folder / "classes", outputs=(*LINES, "Negative"), activation="softmax", seed=2)
    return case


@pytest.fixture(scope="module")
def options(case) -> dict:
    return {
        **case.options,
        "train": case.train,
        "models": {"net": str(case.folder / "net"), "classes": str(case.folder / "classes")},
        "baselines": ("kmer",),
        "against": {"rival": f"{case.folder}/{{line}}.rival.csv"},
    }


@pytest.fixture(scope="module")
def done(options, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("done") / "out"
    evaluate(**options, out=out)
    return out


def figures(out: Path) -> list:
    record = json.loads((out / "evaluation.json").read_text())
    return [
        {key: value for key, value in model.items() if key != "source"}
        for line in record["lines"]
        for model in line["models"]
    ]


def test_figures_are_those_of_the_stored_scores(case, done):
    record = read_evaluation(done)
    assert [line.line for line in record.lines] == list(LINES)
    for line in record.lines:
        scores = read_scores(done / line.line / "scores.parquet", line.line)
        assert list(scores.scores) == ["net", "classes", "kmer", "rival"] == [m.name for m in line.models]
        labels = pd.read_csv(case.folder / f"{line.line}.test.csv", header=None, names=["region", "label"])
        assert line.n == len(labels) == 40
        assert line.n_positive == (labels["label"] == line.line).sum() == 10
        for model in line.models:
            p = scores.scores[model.name]
            wanted = binary_metrics(scores.y, p)
            for name in METRICS:
                if hasattr(wanted, name):
                    assert model.measures[name].value == pytest.approx(getattr(wanted, name), abs=1e-12)
            assert (model.tp, model.fp, model.fn, model.tn) == (wanted.tp, wanted.fp, wanted.fn, wanted.tn)
            interval = model.measures["auroc"]
            assert interval.low <= interval.value <= interval.high
    assert record.means[0].measures["auroc"].value == pytest.approx(
        np.mean([line.models[0].measures["auroc"].value for line in record.lines])
    )


def test_scores_are_those_of_the_models(case, done):
    scores = read_scores(done / "beta" / "scores.parquet", "beta")
    codes = Genome(case.folder / "genome.fa").extract(
        scores.table["chrom"].to_numpy(), scores.table["start"].to_numpy(), 600
    )
    np.testing.assert_allclose(
        scores.scores["net"], predict_checkpoint(case.folder / "net", codes)[:, 0], atol=1e-6
    )
    classes = predict_checkpoint(case.folder / "classes", codes)
    np.testing.assert_allclose(scores.scores["classes"], classes[:, 1], atol=1e-6)  # softmax, class beta
    rival = pd.read_csv(case.folder / "beta.rival.csv")["score"]
    assert scores.scores["rival"].tolist() == rival.tolist()  # genome order is file order here
    assert auroc(scores.y, scores.scores["kmer"]) > 0.6


def test_tables_hold_what_the_record_holds(done):
    record = read_evaluation(done)
    metrics = pd.read_csv(done / "metrics.tsv", sep="\t")
    assert len(metrics) == (len(LINES) + 1) * 4 * len(METRICS)
    row = metrics.query("line == 'beta' and model == 'kmer' and metric == 'brier'").iloc[0]
    wanted = record.lines[1].models[2].measures["brier"]
    assert (row["value"], row["low"], row["high"]) == pytest.approx(
        (wanted.value, wanted.low, wanted.high), rel=1e-5
    )
    comparisons = pd.read_csv(done / "comparisons.tsv", sep="\t")
    assert len(comparisons) == (len(LINES) + 1) * 5 * len(COMPARED)
    assert comparisons["q"].notna().all()
    calibration = pd.read_csv(done / "calibration.tsv", sep="\t")
    assert calibration.groupby(["line", "model", "method"])["n"].sum().eq(40).all()
    assert pd.read_csv(done / "dropped.tsv", sep="\t").empty
    text = (done / "evaluation.md").read_text()
    measure = record.lines[0].models[0].measures["auroc"]
    assert f"{measure.value:.3f} [{measure.low:.3f}, {measure.high:.3f}]" in text
    of_means = comparisons.query("line == 'mean' and a == 'net' and b == 'kmer' and metric == 'auroc'").iloc[
        0
    ]
    means = {mean.name: mean.measures["auroc"].value for mean in record.means}
    assert of_means["difference"] == pytest.approx(means["net"] - means["kmer"], rel=1e-5)
    assert of_means["low"] < of_means["difference"] < of_means["high"]
    for heading, _ in METRICS.values():
        assert heading in text
    for line in LINES:
        assert json.loads((done / line / "leaks.json").read_text())["n_overlapping"] == 0


def test_pairs_are_with_the_first_model_and_with_the_floor():
    assert pairs_of(["a", "b", "kmer"]) == [("a", "b"), ("a", "kmer"), ("b", "kmer")]
    assert pairs_of(["kmer", "a"]) == [("kmer", "a")]
    assert pairs_of(["a"]) == []
    assert pairs_of(["a", "binary", "fine-tuned"])[2:] == [("fine-tuned", "binary")]
    assert pairs_of(["fine-tuned", "binary"]) == [("fine-tuned", "binary")]


def test_the_recorded_command_gives_the_same_bytes(options, done, tmp_path):
    command = read_evaluation(done).command
    assert command[:2] == ["chromtransfer", "evaluate"]
    again = [word if word != str(done) else str(tmp_path / "again") for word in command[2:]]
    result = CliRunner().invoke(main, ["evaluate", *again, "--quiet"])
    assert result.exit_code == 0, result.output
    assert "kmer" in result.output
    assert "open/all" in result.output
    for name in ("metrics.tsv", "comparisons.tsv", "calibration.tsv", "alpha/scores.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (done / name).read_bytes(), name
    first, second = ((folder / "evaluation.md").read_text() for folder in (done, tmp_path / "again"))
    assert second.replace(str(tmp_path / "again"), str(done)) == first
    assert shlex.join(command) in first


def test_the_order_of_rows_and_repeated_rows_change_nothing(case, options, done, tmp_path):
    for line in LINES:
        rows = case.test_rows(line)
        shuffled = [rows[i] for i in np.random.default_rng(2).permutation(len(rows))]
        write_rows(tmp_path / f"{line}.csv", [*shuffled, shuffled[0]])
    evaluate(**{**options, "test": f"{tmp_path}/{{line}}.csv"}, out=tmp_path / "out")
    assert figures(tmp_path / "out") == figures(done)
    read = read_evaluation(tmp_path / "out").lines[0].read
    assert "1 windows occur again with the same target: used once" in read


def test_computed_scores_are_kept(options, done, monkeypatch, tmp_path):
    before = figures(done)

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("chromtransfer_plugin.predict.predict_logits", never)
    monkeypatch.setattr("chromtransfer_plugin.evaluation.line_models.fit_kmer_regression", never)
    evaluate(**options, out=done)
    assert figures(done) == before
    with pytest.raises(AssertionError, match="computed again"):
        evaluate(**options, out=tmp_path / "new")


def test_one_data_set_needs_no_line_and_chromosomes_can_be_chosen(case, tmp_path):
    rows = case.test_rows() + (case.folder / "alpha.train.csv").read_text().splitlines()
    path = write_rows(tmp_path / "all.csv", ["chr3:0-600,alpha", *rows])
    record = evaluate(
        genome=case.folder / "genome.fa", test=str(path), positive="alpha", out=tmp_path / "out", device="cpu",
        models={"net": str(case.folder / "net")}, test_chromosomes=("chr2",), resamples=0,
    )  # fmt: skip
    (line,) = record.lines
    assert (line.line, line.n, record.means) == ("alpha", 40, [])
    assert line.models[0].measures["auroc"].low is None
    assert "40 of 130 windows lie on chr2" in line.read
    dropped = pd.read_csv(tmp_path / "out" / "dropped.tsv", sep="\t")
    assert dropped[["line", "file_line", "text"]].to_numpy().tolist() == [["alpha", 1, "chr3:0-600,alpha"]]
    assert (tmp_path / "out" / "evaluation.md").read_text().count("[") == 0


def test_chromosomes_divide_one_file_into_windows_to_test_and_to_train_on(case, done, options, tmp_path):
    for line in LINES:
        train = (case.folder / f"{line}.train.csv").read_text().splitlines()
        write_rows(tmp_path / f"{line}.csv", [*train, *case.test_rows(line)])
    both = f"{tmp_path}/{{line}}.csv"
    given = {**options, "test": both, "train": both, "test_chromosomes": ("chr2",)}
    record = evaluate(**given, out=tmp_path / "out")
    assert figures(tmp_path / "out") == figures(done)
    assert record.lines[0].leaks == read_evaluation(done).lines[0].leaks
    assert "training windows: 90 of 130 windows lie not on chr2" in record.lines[0].read


def test_overlaps_with_training_are_counted_left_out_and_refused_if_wanted(case, options, tmp_path):
    train = (case.folder / "alpha.train.csv").read_text().splitlines()
    write_rows(tmp_path / "alpha.csv", [*train, case.test_rows()[0]])
    write_rows(tmp_path / "beta.csv", (case.folder / "beta.train.csv").read_text().splitlines())
    given = {**options, "train": f"{tmp_path}/{{line}}.csv", "resamples": 0}
    record = evaluate(**given, out=tmp_path / "out")
    leaks = record.lines[0].leaks
    assert leaks is not None
    assert (leaks.n_identical, leaks.n_overlapping) == (1, 1)
    assert "training windows: 1 of 91 overlap a test window and train no baseline" in record.lines[0].read
    assert record.lines[0].models[2].note.endswith("fitted on 90 windows")
    with pytest.raises(
        ChromTransferError, match=r"alpha: 1 of 40 test windows overlap .* \(1 are the same window\)"
    ):
        evaluate(**given, out=tmp_path / "strict", strict_leaks=True)


def test_training_windows_that_are_all_test_windows_are_refused(case, options, tmp_path):
    with pytest.raises(
        ChromTransferError,
        match="40 of 40 training windows overlap test windows; of the other 0, 0 are positive",
    ):
        evaluate(**{**options, "train": f"{case.folder}/{{line}}.test.csv"}, out=tmp_path / "out")


def test_a_window_of_two_labels_is_refused(case, options, tmp_path):
    rows = case.test_rows()
    region, label = rows[0].split(",")
    other = "Negative" if label == "alpha" else "alpha"
    path = write_rows(tmp_path / "alpha.csv", [*rows, f"{region},{other}"])
    with pytest.raises(ChromTransferError, match="contradictory labels"):
        evaluate(**{**options, "test": str(path), "lines": ("alpha",)}, out=tmp_path / "out")


BAD = {
    "nothing to evaluate": ({"models": {}, "baselines": (), "against": {}}, "nothing to evaluate"),
    "no line": ({"lines": ()}, "name what is evaluated"),
    "a line twice": ({"lines": ("alpha", "alpha")}, "--line alpha: was given 2 times"),
    "a folder's name": ({"lines": ("alpha", "a/b")}, "names a folder"),
    "one file for two lines": ({"test": "x.csv"}, "2 lines need a file each"),
    "one training file": ({"train": "x.csv"}, "--train x.csv: 2 lines need"),
    "unknown baseline": ({"baselines": ("svm",)}, "--baseline svm: unknown, expected one of kmer"),
    "no training windows": ({"train": None}, "--baseline kmer: is trained here"),
    "no pre-trained model": ({"baselines": ("fine-tuned",)}, "--pretrained"),
    "pre-trained for nothing": ({"pretrained": "pretrained"}, "no baseline uses it"),
    "one class": ({"baselines": ("multiclass",), "lines": ("alpha",)}, "needs two or more"),
    "settings for nothing": ({"settings": {"lr": 1}}, "--set: no network is trained"),
    "settings of no kind": (
        {"baselines": ("binary",), "settings": {"binari.lr": 1}},
        "unknown key 'binari'. Did you mean 'binary'",
    ),
    "logits of nothing": ({"logits": ("x",)}, "there is no --against x=FILE"),
    "folds": ({"folds": 1}, "--folds 1"),
    "level": ({"level": 95}, "--level 95"),
    "resamples": ({"resamples": -1}, "--resamples -1"),
    "same name": ({"against": {"net": "x"}}, "'net' is the name of several"),
    "a baseline twice": ({"baselines": ("kmer", "kmer")}, "'kmer' is the name of several"),
    "a line without a name": ({"lines": ("alpha", "")}, "--line ''"),
    "absent model": ({"models": {"m": "/nowhere/m"}}, "nowhere"),
    "absent test file": ({"test": "/nowhere/{line}.csv"}, "/nowhere/alpha.csv"),
    "no such label": ({"positive": "gamma"}, "no region has the label 'gamma'"),
    "no such chromosome": ({"test_chromosomes": ("chr7",)}, "of 40 windows none lies on chr7"),
    "other width": ({"width": 500}, "reads windows of 600 bp, these are 500 bp: add --width 600"),
    "unknown option": ({"modles": {}}, "Did you mean 'models'"),
    "absent scores": ({"against": {"r": "/nowhere/{line}.csv"}}, "/nowhere/alpha.csv"),
}


@pytest.mark.parametrize("fault", BAD)
def test_faults(options, tmp_path, fault):
    change, message = BAD[fault]
    with pytest.raises(ChromTransferError) as error:
        evaluate(**{**options, **change}, out=tmp_path / "out")
    assert message in str(error.value)
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_all_of_one_class_is_refused_with_counts(case, options, tmp_path):
    for line in LINES:
        write_rows(
            tmp_path / f"{line}.csv", [row for row in case.test_rows(line) if row.endswith(f",{line}")]
        )
    with pytest.raises(
        ChromTransferError, match=r"10 windows are positive \('alpha'\) and 0 negative \(alpha 10\)"
    ):
        evaluate(**{**options, "test": f"{tmp_path}/{{line}}.csv"}, out=tmp_path / "out")


def test_a_model_must_have_an_output_of_the_line(case, options, tmp_path):
    model = make_checkpoint(tmp_path / "other", outputs=("x", "y"))
    with pytest.raises(
        ChromTransferError, match=r"--model m: has 2 outputs \(x, y\) and none is called alpha"
    ):
        evaluate(**{**options, "models": {"m": str(model)}}, out=tmp_path / "out")
    make_checkpoint(tmp_path / "zoo" / "a")
    make_checkpoint(tmp_path / "zoo" / "b")
    with pytest.raises(ChromTransferError, match=r"holds 2 models \(a, b\); name one"):
        evaluate(**{**options, "models": {"m": str(tmp_path / "zoo")}}, out=tmp_path / "out")


def test_results_of_other_lines_are_not_lost(options, done):
    with pytest.raises(ChromTransferError, match="holds the evaluation of alpha, beta; beta would be lost"):
        evaluate(**{**options, "lines": ("alpha",)}, out=done)


def test_a_folder_of_something_else_is_left_alone(options, tmp_path):
    (tmp_path / "metrics.tsv").write_text("mine")
    with pytest.raises(ChromTransferError, match=r"holds other files, such as metrics\.tsv"):
        evaluate(**options, out=tmp_path)
    assert (tmp_path / "metrics.tsv").read_text() == "mine"
    with pytest.raises(ChromTransferError, match="is a file, expected a folder"):
        evaluate(**options, out=tmp_path / "metrics.tsv")


def test_nothing_of_an_earlier_call_stays(case, options, tmp_path):
    given = {**options, "baselines": (), "models": {}, "resamples": 0, "out": tmp_path / "out"}
    evaluate(**given)
    assert (tmp_path / "out" / "alpha" / "leaks.json").exists()
    record = evaluate(**{**given, "train": None})
    assert record.lines[0].leaks is None
    assert sorted(path.name for path in (tmp_path / "out" / "alpha").iterdir()) == ["scores.parquet"]
    (tmp_path / "out" / "evaluation.json").write_text('{"half')
    with pytest.raises(ChromTransferError, match=r"evaluation\.json: .* Remove this file first"):
        evaluate(**given)


def test_a_record_is_there_only_when_all_files_are(options, tmp_path, monkeypatch):
    given = {**options, "baselines": (), "models": {}, "resamples": 0, "out": tmp_path / "out"}
    evaluate(**given)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("chromtransfer_plugin.evaluation.run.write_summary", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(**given)
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_a_model_of_another_line_is_told_and_so_are_dropped_rows(case, options, tmp_path):
    beta, k562 = (make_checkpoint(tmp_path / name, outputs=(name,)) for name in ("beta", "K562"))
    test = write_rows(tmp_path / "test.csv", [*case.test_rows(), "chr2:999000000-999000600,alpha"])
    told: list[str] = []
    record = evaluate(
        **{**options, "lines": ("alpha",), "test": str(test), "train": None, "baselines": (), "resamples": 0}
        | {"models": {"k": str(k562), "net": options["models"]["net"]}, "against": {}},
        out=tmp_path / "out",
        report=told.append,
    )
    assert f"{test}: 1 rows dropped, see dropped.tsv" in told
    assert "chr2:999000000" in (tmp_path / "out" / "dropped.tsv").read_text()
    trained_on = "trained on: nothing, a test network"
    assert [model.note for model in record.lines[0].models] == [
        f"{trained_on}; its output is of K562, not of alpha",
        trained_on,
    ]
    given = {**options, "train": None, "baselines": (), "models": {"m": str(beta)}, "resamples": 0}
    record = evaluate(**given, out=tmp_path / "both")
    assert [line.models[0].note for line in record.lines] == [
        f"{trained_on}; its output is of beta, not of alpha",
        trained_on,
    ]


def test_names_of_models():
    assert named("--model", ["zoo={line}", "HEPG2", "b=x=y"]) == {
        "zoo": "{line}",
        "HEPG2": "HEPG2",
        "b": "x=y",
    }
    for given, message in (
        (["{line}"], r"give it a name: --model NAME=\{line\}"),
        (["runs/x"], "give it a name"),
        (["a=1", "a=2"], "given twice"),
        (["=x"], "expected NAME=VALUE"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            named("--model", given)


def test_a_line_takes_the_place_of_its_mark_everywhere(case, options, tmp_path):
    folder = tmp_path / "by-line"
    for line in LINES:
        make_checkpoint(folder / line / "best_model", seed=LINES.index(line) + 5)
    record = evaluate(
        **{**options, "models": {"own": f"{folder}/{{line}}"}, "baselines": (), "resamples": 0},
        out=tmp_path / "out",
    )
    assert [line.models[0].source for line in record.lines] == [f"{folder}/{line}" for line in LINES]
    first, second = (read_scores(tmp_path / "out" / line / "scores.parquet", line) for line in LINES)
    assert not np.allclose(first.scores["own"], second.scores["own"], atol=1e-3)
    assert load_model(folder / "alpha").card.outputs == ["open"]


def test_settings_of_one_kind_only():
    settings = EvaluationSettings(
        genome=Path("g"), test="{line}", train="{line}", out=Path("o"), lines=("a", "b"), pretrained="p",
        baselines=("binary", "fine-tuned"), settings={"lr": 1, "fine-tuned.lr": 2, "binary.patience": None},
    )  # fmt: skip
    assert settings.of_kind("binary", settings.settings) == {"lr": 1, "patience": None}
    assert settings.of_kind("fine-tuned", settings.settings) == {"lr": 2}
    assert "--set lr=1 --set fine-tuned.lr=2 --set binary.patience=null" in " ".join(settings.command())


@pytest.mark.real_data
def test_the_authors_scores_and_the_floor_on_real_windows(tmp_path):
    data = real_data_folder()
    record = evaluate(
        genome=data / "hg38_partial.fa.gz", test=f"{data}/regions/test/{{line}}.csv", lines=CELL_LINES,
        train=f"{data}/regions/train/{{line}}.csv", baselines=("kmer",), resamples=0, device="cpu",
        against={"authors": f"{data}/paper_scores/{{line}}.csv"}, out=tmp_path / "out",
    )  # fmt: skip
    wanted = json.loads((data / "paper_scores" / "summary.json").read_text())
    floor = dict(zip(CELL_LINES, (0.694, 0.792, 0.610, 0.704, 0.646, 0.892), strict=True))
    for line in record.lines:
        kmer, authors = (model.measures for model in line.models)
        facts = wanted[line.line]
        assert (line.n, line.n_positive) == (facts["n"], facts["pos"])
        assert authors["auroc"].value == pytest.approx(facts["auroc"], abs=5e-5)
        assert authors["average_precision"].value == pytest.approx(facts["ap"], abs=5e-5)
        assert kmer["auroc"].value == pytest.approx(floor[line.line], abs=0.02)
    assert record.means[0].measures["auroc"].value == pytest.approx(0.723, abs=0.005)
