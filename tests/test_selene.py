"""The four YAML files through the real ``selene_sdk`` executable, and what they write."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from selene_cases import CONFIGS, Done, run_selene, small_config, write_example
from sklearn.metrics import average_precision_score, roc_auc_score

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.defaults import FINETUNE, PRETRAIN
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.predict import predict_logits, probabilities
from chromtransfer_plugin.transfer import TransferReport

SELENE_FILES = {
    "best_model.pth.tar",
    "checkpoint.pth.tar",
    "configuration.yml",
    "selene_sdk.train_model.log",
    "selene_sdk.train_model.train.txt",
    "selene_sdk.train_model.validation.txt",
    "test_performance.txt",
    "test_predictions.npz",
    "test_targets.npz",
}
OUR_FILES = {"best_model", "history.csv", "model.py", "regions_read.txt", "run.json"}


def run_config(folder: Path, name: str, text: str) -> Done:
    (folder / f"{name}.yml").write_text(text)
    done = run_selene(f"{name}.yml", folder)
    assert done.code == 0, done.err
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("selene")
    write_example(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(folder) -> Done:
    return run_config(folder, "pretrain", small_config("pretrain"))


@pytest.fixture(scope="module")
def finetuned(folder, pretrained) -> Done:
    return run_config(folder, "finetune", small_config("finetune"))


def saved(path: Path) -> np.ndarray:
    return np.load(path)["data"]


def scores(run: Path) -> dict[str, float]:
    table = pd.read_csv(run / "test_performance.txt", sep="\t", index_col=0)
    assert len(table) == 1
    return table.iloc[0].to_dict()


def python_probabilities(checkpoint: Path, windows: pd.DataFrame, genome: Path) -> np.ndarray:
    """What plain Python says: the way every other interface of this project goes."""
    codes = Genome(genome).extract(windows["chrom"].to_numpy(), windows["start"].to_numpy(), 600)
    return probabilities(predict_logits(load_model(checkpoint).model, codes))


def labelled_windows(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, names=["region", "label"])
    parts = table["region"].str.extract(r"(?P<chrom>.+):(?P<start>\d+)-(?P<end>\d+)")
    return parts.astype({"start": int, "end": int}).assign(label=table["label"])


# --- training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "data", "label"), [("pretrain", "pretrain", "open"), ("finetune", "HEPG2", "HEPG2")]
)
def test_training_writes_selenes_files_with_the_right_numbers(folder, finetuned, run, data, label):
    out = folder / "runs" / run
    assert {path.name for path in out.iterdir()} == SELENE_FILES | OUR_FILES
    targets, predictions = saved(out / "test_targets.npz"), saved(out / "test_predictions.npz")
    windows = labelled_windows(folder / f"configs/example/{data}.csv")
    test = windows[windows["chrom"].isin(["chr2", "chr3"])]
    np.testing.assert_array_equal(targets[:, 0], test["label"] == label)
    assert 10 < targets.sum() < 30
    wanted = python_probabilities(out / "best_model", test, folder / "configs/example/genome.fa")
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(predictions, wanted, rtol=0, atol=1e-6)
    assert scores(out) == pytest.approx(
        {
            "roc_auc": roc_auc_score(targets, predictions),
            "average_precision": average_precision_score(targets, predictions),
        },
        abs=6e-5,  # Selene writes four decimals
    )
    assert pd.read_csv(out / "test_performance.txt", sep="\t").iloc[0, 0] == label


def test_losses_are_logged_as_selene_does(folder, finetuned):
    from chromtransfer_plugin.selene import RegionSampler

    for run in ("pretrain", "finetune"):
        out = folder / "runs" / run
        history = pd.read_csv(out / "history.csv")
        assert len(history) == 2
        train = pd.read_csv(out / "selene_sdk.train_model.train.txt")
        np.testing.assert_allclose(train["loss"], history["train_loss"])
        validation = pd.read_csv(out / "selene_sdk.train_model.validation.txt", sep="\t")
        assert list(validation.columns) == ["loss", "average_precision", "roc_auc"]
        np.testing.assert_allclose(validation["loss"], history["validation_loss"])
        # The row of the best epoch holds the scores of the model that was kept.
        example = folder / "configs/example"
        data, label = ("pretrain", "open") if run == "pretrain" else ("HEPG2", "HEPG2")
        windows = RegionSampler(str(example / "genome.fa"), str(example / f"{data}.csv"), label).windows(
            "validate"
        )
        logits = predict_logits(load_model(out).model, windows.codes)
        best = validation.iloc[int(history.index[history["best"]][-1])]
        assert best["roc_auc"] == pytest.approx(roc_auc_score(windows.targets, logits), abs=1e-6)
        precision = average_precision_score(windows.targets, probabilities(logits))
        assert best["average_precision"] == pytest.approx(precision, abs=1e-6)


def test_selenes_checkpoint_holds_the_weights_of_ours(folder, finetuned):
    out = folder / "runs/finetune"
    state = torch.load(out / "best_model.pth.tar", weights_only=True)
    ours = load_model(out / "best_model").model.state_dict()
    assert list(state["state_dict"]) == list(ours)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in state["state_dict"].items())
    best = json.loads((out / "best_model/card.json").read_text())["training"]["best"]
    assert state["min_loss"] == best["validation_loss"] + best["l2"]
    assert state["step"] == best["step"]


def test_card_and_run_record_describe_the_run(folder, finetuned):
    out = folder / "runs/finetune"
    card = load_model(out / "best_model").card
    assert (card.outputs, card.activation, card.window) == (["HEPG2"], "sigmoid", 600)
    assert card.trained_on == "simulated example data"
    assert card.training["protocol"] == "finetune"
    assert card.training["pretrained"] == "runs/pretrain/best_model"
    assert card.training["train_windows"] + card.training["validation_windows"] == 80
    paper = FINETUNE.model_dump() | {"lr": 0.002, "batch_size": 16, "max_epochs": 2}  # as small_config
    assert card.training["settings"] == paper
    record = json.loads((out / "run.json").read_text())
    assert record["command"][1:] == ["finetune.yml"]
    assert record["settings"] == paper
    assert record["genome"] == Genome(folder / "configs/example/genome.fa").identity
    assert record["versions"]["selene-sdk"] == "0.6.0"
    assert record["device"] == "cpu (1 threads)"
    pretraining = load_model(folder / "runs/pretrain/best_model").card
    assert pretraining.training["settings"] == PRETRAIN.model_dump() | {"batch_size": 16, "max_epochs": 2}
    assert "windows: train 40 (" in (out / "regions_read.txt").read_text()


def test_fine_tuning_logs_every_tensor(folder, finetuned):
    log = (folder / "runs/finetune/selene_sdk.train_model.log").read_text()
    model = load_model(folder / "runs/finetune/best_model").model
    names = list(model.state_dict())
    trunk = [name for name in names if name.startswith("trunk.")]
    head = [name for name in names if name.startswith("head.")]
    weights = [name for name, _ in model.named_parameters()]
    assert TransferReport("runs/pretrain/best_model", trunk, head, weights).summary() in log
    assert "142 tensors transferred, 6 new, 88 trainable" in finetuned.out


def test_progress_goes_to_stderr_with_a_rate(pretrained):
    assert re.search(
        r"epoch 2: train loss \d\.\d{4}, validation loss \d\.\d{4} .* sequences/s = .* of the peak",
        pretrained.err,
    )
    assert "training on cpu (1 threads): 40 windows, 40 for validation" in pretrained.err
    assert "restored epoch" in pretrained.err


# --- evaluation ------------------------------------------------------------------------------------------


def test_evaluation_repeats_the_test_of_the_training(folder, finetuned):
    run_config(folder, "evaluate", small_config("evaluate"))
    out, trained = folder / "runs/evaluate", folder / "runs/finetune"
    np.testing.assert_array_equal(saved(out / "test_targets.npz"), saved(trained / "test_targets.npz"))
    np.testing.assert_allclose(
        saved(out / "test_predictions.npz"), saved(trained / "test_predictions.npz"), rtol=0, atol=1e-6
    )
    assert scores(out) == pytest.approx(scores(trained))
    for plot in ("roc_curves.svg", "precision_recall_curves.svg"):
        assert "<svg" in (out / plot).read_text()


# --- analysis --------------------------------------------------------------------------------------------


def read_hdf5(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["data"][:]


def test_predictions_for_a_bed_file(folder, finetuned):
    done = run_config(folder, "bed", small_config("predict", **{"output_format: tsv": "output_format: hdf5"}))
    out = folder / "runs/predict"
    windows = pd.DataFrame(
        [("chr2", 300), ("chr2", 1_000), ("chr2", 1_700), ("chr3", 7_007 - 300)], columns=["chrom", "start"]
    )
    wanted = python_probabilities(
        folder / "runs/finetune/best_model", windows, folder / "configs/example/genome.fa"
    )
    got = read_hdf5(out / "regions_predictions.h5")
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    labels = pd.read_csv(out / "regions_row_labels.txt", sep="\t")
    assert list(labels["contains_unk"]) == [False, True, False, False]
    assert list(labels["start"]) == [300, 1_000, 1_700, 7_005]
    assert (out / "regions.NA").read_text() == "chr3\t20\t40\toff\n"
    assert "Warning: configs/example/regions.bed: 1 lines are not windows of the genome" in done.err


def test_predictions_for_a_fasta_file(folder, finetuned):
    """Unknown bases are zero rows; letters may be lower case; short sequences are padded on both sides."""
    rng = np.random.default_rng(4)
    sequences = [
        "".join(rng.choice(list("ACGT"), 600, p=p)) for p in ([0.4, 0.1, 0.1, 0.4], [0.1, 0.4, 0.4, 0.1])
    ]
    sequences += [
        sequences[0][:200] + "N" * 200 + sequences[0][400:],
        sequences[1].lower(),
        sequences[1][:400],
    ]
    (folder / "seqs.fa").write_text("".join(f">s{i}\n{text}\n" for i, text in enumerate(sequences)))
    changes = {"configs/example/regions.bed": "seqs.fa", "output_format: tsv": "output_format: hdf5"}
    run_config(folder, "fasta", small_config("predict", **changes))
    X = np.zeros((5, 4, 600), dtype=np.float32)
    for i, text in enumerate(sequences):
        for j, letter in enumerate(text.upper()):
            if letter != "N":
                X[i, "ACGT".index(letter), (600 - len(text)) // 2 + j] = 1
    wanted = probabilities(predict_logits(load_model(folder / "runs/finetune").model, X))
    got = read_hdf5(folder / "runs/predict/seqs_predictions.h5")
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
    assert abs(got[0] - got[2]) > 1e-5  # the unknown bases matter
    assert got[1] == got[3]


# --- at full size ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_four_files_as_they_are_in_smoke_mode(tmp_path):
    shutil.copytree(
        CONFIGS, tmp_path / "configs", ignore=shutil.ignore_patterns("*.fai", "*.gzi", "*.genome-cache")
    )
    for name in ("pretrain", "finetune", "evaluate", "predict"):
        done = run_selene(f"configs/chromtransfer/{name}.yml", tmp_path, CHROMTRANSFER_SMOKE="1")
        assert done.code == 0, done.err
    runs = tmp_path / "runs"
    for name in ("pretrain", "finetune"):
        assert {path.name for path in (runs / name).iterdir()} == SELENE_FILES | OUR_FILES
        assert len(pd.read_csv(runs / name / "history.csv")) == 2
    assert scores(runs / "evaluate") == pytest.approx(scores(runs / "finetune"))
    table = pd.read_csv(runs / "predict/regions_predictions.tsv", sep="\t")
    assert len(table) == 13
    assert table["HEPG2"].between(0, 1).all()
