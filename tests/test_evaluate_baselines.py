"""Baselines that `evaluate` trains: what they see, what they never see, and that finished ones are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate_cases import LINES, QUICK, TINY, Case, make_case, write_rows
from kipoi_cases import make_checkpoint

from chromtransfer_plugin import evaluate
from chromtransfer_plugin.checkpoint import find_checkpoint, read_card
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.evaluation.baselines import TrainedBaseline, at_share, held_out
from chromtransfer_plugin.evaluation.inputs import read_labelled
from chromtransfer_plugin.evaluation.kmers import fit_kmer_regression, kmer_features, kmer_scores
from chromtransfer_plugin.evaluation.multiclass import CopiedWindows, multiclass_rows
from chromtransfer_plugin.evaluation.record import EvaluationRecord, read_evaluation
from chromtransfer_plugin.evaluation.scores import read_scores
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.predict import predict_checkpoint

TRAINED = ("binary", "multiclass", "multiclass-fixed", "fine-tuned")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    case = make_case(tmp_path_factory.mktemp("baselines"))
    make_checkpoint(case.folder / "pretrained")
    return case


@pytest.fixture(scope="module")
def options(case) -> dict:
    return {
        **case.options,
        "train": case.train,
        "baselines": ("binary", "multiclass", "multiclass-fixed", "pretrained", "fine-tuned"),
        "pretrained": str(case.folder / "pretrained"),
        "settings": {**QUICK, "fine-tuned.lr": 1e-4},
        "network": TINY,
    }


@pytest.fixture(scope="module")
def done(options, tmp_path_factory) -> tuple[Path, EvaluationRecord]:
    out = tmp_path_factory.mktemp("done") / "out"
    return out, evaluate(**options, out=out)


def run_record(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_each_baseline_is_trained_as_its_name_says(options, done):
    out, record = done
    assert [model.name for model in record.lines[0].models] == list(options["baselines"])
    runs = {model.name: model.run for model in record.lines[1].models}
    assert runs == {
        "binary": "models/binary/beta",
        "multiclass": "models/multiclass",
        "multiclass-fixed": "models/multiclass-fixed",
        "pretrained": "",
        "fine-tuned": "models/fine-tuned/beta",
    }
    settings = {name: run_record(out / runs[name])["settings"] for name in TRAINED}
    assert {name: s["lr"] for name, s in settings.items()} == {
        "binary": 1e-3,
        "multiclass": 1e-3,
        "multiclass-fixed": 1e-3,
        "fine-tuned": 1e-4,
    }
    assert {name: s["patience"] for name, s in settings.items()} == {
        "binary": 10,
        "multiclass": None,
        "multiclass-fixed": None,
        "fine-tuned": 10,
    }
    assert settings["multiclass"]["keep"] == "last"
    cards = {name: read_card(find_checkpoint(out / runs[name])) for name in TRAINED}
    assert cards["multiclass"].outputs == [*LINES, "Negative"]
    assert cards["multiclass"].activation == "softmax"
    assert cards["multiclass"].architecture.head_bn
    assert not cards["binary"].architecture.head_bn
    assert cards["binary"].architecture.width == TINY["width"]
    # The trunk of a fine-tuned network is that of the pre-trained one.
    assert cards["fine-tuned"].architecture.width == 0.125
    assert cards["fine-tuned"].training["protocol"] == "finetune"
    assert [model.output for model in record.lines[1].models] == ["beta", "beta", "beta", "open", "beta"]


def test_scores_are_those_of_the_trained_models(case, done):
    out, _ = done
    scores = read_scores(out / "alpha" / "scores.parquet", "alpha")
    codes = Genome(case.folder / "genome.fa").extract(
        scores.table["chrom"].to_numpy(), scores.table["start"].to_numpy(), 600
    )
    folders = {
        "binary": out / "models/binary/alpha",
        "multiclass": out / "models/multiclass",
        "pretrained": case.folder / "pretrained",
        "fine-tuned": out / "models/fine-tuned/alpha",
    }
    for name, folder in folders.items():
        np.testing.assert_allclose(
            scores.scores[name], predict_checkpoint(folder, codes)[:, 0], atol=1e-6, err_msg=name
        )


def test_validation_scores_are_of_windows_that_no_model_learnt_from(case, done):
    out, record = done
    fold = read_scores(out / "alpha" / "validation.parquet", "alpha")
    assert {"binary", "pretrained", "fine-tuned"} <= set(fold.scores)
    windows = run_record(out / "models/binary/alpha")["card"]["training"]
    assert len(fold.y) == windows["validation_windows"]
    assert len(fold.y) + windows["train_windows"] == 90
    of_binary = {c.method: c.fitted_on for c in record.lines[0].models[0].calibration}
    assert of_binary["temperature"].startswith(f"validation fold, {len(fold.y)} windows")


def test_a_network_of_all_lines_is_calibrated_far_from_what_it_learnt(case):
    windows = read_labelled(case.folder / "alpha.train.csv", Genome(case.folder / "genome.fa"), "alpha", 600)
    first = windows.table[windows.table["locus"] == 0][["chrom", "start", "end"]]
    network = TrainedBaseline(Path("x"), validation=windows.table.iloc[-1:], trained=first.iloc[:1])
    far = windows.table["start"] - first["end"].iloc[0] >= 10_000
    assert 0 < far.sum() < 90
    held = held_out(network, windows, "multiclass")
    assert not (held & ~far).any()
    # As many of one class are left out as it takes to keep the share of positives of the line.
    counts = [int((far & (windows.y == label)).sum()) for label in (0, 1)]
    of_line = [int((windows.y == label).sum()) for label in (0, 1)]
    whole = min(n / of for n, of in zip(counts, of_line, strict=True))
    kept = [int((held & (windows.y == label)).sum()) for label in (0, 1)]
    assert kept == [round(whole * of) for of in of_line]
    assert any(n == of for n, of in zip(kept, counts, strict=True))
    # A network of one line is calibrated on the fold that chose its epoch.
    assert np.flatnonzero(held_out(network, windows, "binary")).tolist() == [89]


def test_windows_are_thinned_to_the_share_of_open_ones():
    y = np.array([1] * 30 + [0] * 70)
    rows = np.ones(100, dtype=bool)
    assert at_share(rows, y).all()
    rows[:20] = False  # 10 open and 70 closed: 3 of 10 open need 23 closed
    kept = at_share(rows, y)
    assert (kept[y == 1].sum(), kept[y == 0].sum()) == (10, 23)
    assert not kept[:20].any()
    assert (at_share(rows, y) == kept).all()
    rows[:30] = False
    assert not at_share(rows, y).any()


def test_finished_baselines_are_kept_and_others_refused(options, done, monkeypatch, tmp_path):
    out, record = done

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("chromtransfer_plugin.evaluation.baselines.train", never)
    said: list[str] = []
    again = evaluate(**options, out=out, report=said.append)
    assert again.lines == record.lines
    assert sum("trained before, kept" in text for text in said) == 6
    with pytest.raises(ChromTransferError, match="holds a model of other windows, settings or seed"):
        evaluate(**{**options, "settings": {**QUICK, "lr": 1e-2}}, out=out)
    with pytest.raises(ChromTransferError, match="holds a model of other windows, settings or seed"):
        evaluate(**{**options, "seed": 2}, out=out)
    assert read_evaluation(out) == again
    with pytest.raises(AssertionError, match="trained again"):
        evaluate(**options, out=tmp_path / "new")


def test_validation_scores_of_an_earlier_call_do_not_stay(options, tmp_path):
    given = {**options, "baselines": ("pretrained",), "settings": {}, "network": {}, "resamples": 0}
    evaluate(**given, out=tmp_path / "out")
    assert (tmp_path / "out/alpha/validation.parquet").is_file()
    without = {**given, "baselines": ("kmer",), "pretrained": None}
    evaluate(**without, out=tmp_path / "out")
    assert not list((tmp_path / "out/alpha").glob("validation*"))


def test_nothing_that_overlaps_a_test_window_of_any_line_is_trained_on(case, options, tmp_path):
    """Whole test sets among the training windows change no trained weight."""
    for line in LINES:
        train = (case.folder / f"{line}.train.csv").read_text().splitlines()
        write_rows(tmp_path / f"{line}.csv", [*train, *case.test_rows(line)])
    small = {**options, "lines": ("alpha",), "baselines": ("binary",), "pretrained": None, "resamples": 0}
    small["settings"] = QUICK
    evaluate(**small, out=tmp_path / "clean")
    evaluate(**{**small, "train": f"{tmp_path}/{{line}}.csv"}, out=tmp_path / "leaky")
    clean, leaky = (
        run_record(tmp_path / name / "models/binary/alpha")["card"]["training"] for name in ("clean", "leaky")
    )
    assert clean["train_sha256"] == leaky["train_sha256"]
    assert clean["validation_sha256"] == leaky["validation_sha256"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"multiclass.lrr": 1}}, "unknown key 'lrr'"),
        ({"settings": {"fine-tuned.max_epochs": 0}}, "max_epochs=0 is not usable"),
        ({"network": {"wdith": 1}}, "wdith"),
        ({"pretrained": "/nowhere/model"}, "/nowhere/model"),
    ],
)
def test_faults_are_found_before_anything_is_trained(options, tmp_path, monkeypatch, change, message):
    def never(*_, **__):
        raise AssertionError("trained")

    monkeypatch.setattr("chromtransfer_plugin.evaluation.baselines.train", never)
    with pytest.raises(ChromTransferError, match=message):
        evaluate(**{**options, **change}, out=tmp_path / "out")


def table(*rows: tuple[int, str, int]) -> pd.DataFrame:
    starts = [start for start, _, _ in rows]
    return pd.DataFrame(
        {
            "chrom": "chr1",
            "start": starts,
            "end": [start + 600 for start in starts],
            "label": [label for _, label, _ in rows],
            "y": [y for _, _, y in rows],
        }
    )


BY_LINE = {
    "a": table((0, "a", 1), (1000, "a_NEG", 0), (2000, "a_NEG", 0), (3000, "Negative", 0)),
    "b": table(
        (1000, "b", 1), (0, "b_NEG", 0), (4000, "b_NEG", 0), (2000, "b_NEG", 0), (3000, "Negative", 0)
    ),
}


def classes(fixed: bool) -> dict[int, tuple[str, int]]:
    rows = multiclass_rows(BY_LINE, fixed=fixed)
    return {
        start: (label, copies)
        for start, label, copies in zip(rows["start"], rows["label"], rows["copies"], strict=True)
    }


def test_as_really_trained_every_negative_of_a_line_is_missing_and_negative_counts_for_each_line():
    assert classes(fixed=False) == {0: ("a", 1), 1000: ("b", 1), 3000: ("Negative", 2)}


def test_fixed_has_each_lines_negatives_once_unless_open_elsewhere():
    assert classes(fixed=True) == {
        0: ("a", 1),
        1000: ("b", 1),
        2000: ("Negative", 1),
        3000: ("Negative", 1),
        4000: ("Negative", 1),
    }


def test_faults_of_multiclass_windows():
    both = {**BY_LINE, "b": table((0, "b", 1), (3000, "Negative", 0))}
    with pytest.raises(ChromTransferError, match=r"1 windows are positive in several lines, e.g. chr1:0-600"):
        multiclass_rows(both, fixed=True)
    without = {line: rows[rows["label"] != "Negative"] for line, rows in BY_LINE.items()}
    with pytest.raises(
        ChromTransferError, match=r"no training window is labelled 'Negative'.*multiclass-fixed"
    ):
        multiclass_rows(without, fixed=False)
    assert set(multiclass_rows(without, fixed=True)["label"]) == {"a", "b", "Negative"}


def test_copies_are_seen_so_often(case, tmp_path):
    rows = (case.folder / "alpha.train.csv").read_text().splitlines()
    data = CopiedWindows(
        genome=case.folder / "genome.fa", regions=[write_rows(tmp_path / "w.csv", rows)], positive=["alpha"],
        test_chromosomes=(), fold_by="locus", folds=2, copies={("chr1", 700): 6},
    )  # fmt: skip
    (splits,), _, _ = data.splits(0, 1, ensemble=False)
    starts = np.concatenate([splits.train.table["start"], splits.validation.table["start"]])
    assert len(starts) == 90 + 5
    assert (starts == 700).sum() == 6
    where = splits.train if (splits.train.table["start"] == 700).any() else splits.validation
    same = where.codes[where.table["start"] == 700]
    assert (same == same[0]).all()


def test_kmers_of_both_strands_count_alike_and_separate():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    codes = np.where(
        y[:, None] == 1, rng.choice(4, (60, 300), p=[0.1, 0.4, 0.4, 0.1]), rng.choice(4, (60, 300))
    ).astype(np.uint8)
    features = kmer_features(codes)
    np.testing.assert_array_equal(features, kmer_features(3 - codes[:, ::-1]))
    np.testing.assert_allclose((features**2).sum(axis=1), 295, rtol=1e-5)
    p = kmer_scores(fit_kmer_regression(codes[:40], y[:40]), codes[40:])
    assert p[y[40:] == 1].min() > p[y[40:] == 0].max()
    assert kmer_features(np.zeros((0, 600), np.uint8)).shape == (0, 2080)
