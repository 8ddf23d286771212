"""The sampler in Python, and the other ways to train and analyse through Selene."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from selene_cases import SeleneServer, edited, small_config, write_example
from sklearn.metrics import roc_auc_score

from chromtransfer_plugin.checkpoint import Card, load_model, read_card, save_model
from chromtransfer_plugin.dataset import epoch_order
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import encode, one_hot
from chromtransfer_plugin.predict import predict_logits, probabilities

# Quicker than the 512 and 128 units of the paper.
SMALL_HEAD = {"head: [512, 128], head_bn: True": "head: [8], head_bn: False"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_example(folder)
    windows = pd.read_csv(folder / "configs/example/pretrain.csv", names=["region", "label"])
    classes = np.resize(["A549", "K562", "MCF7"], len(windows))
    windows.assign(label=classes).to_csv(folder / "classes.csv", header=False, index=False)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    server = SeleneServer(folder)
    yield server
    server.close()


def train(server: SeleneServer, folder: Path, out: str, changes: dict[str, str], **environment: str):
    text = edited(small_config("pretrain"), {"runs/pretrain": out, **SMALL_HEAD, **changes})
    (folder / f"{out}.yml").write_text(text)
    return server.run(f"{out}.yml", folder, **environment)


def weights(path: Path) -> list[torch.Tensor]:
    return list(load_model(path).model.state_dict().values())


# --- the sampler -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampler(folder):
    from chromtransfer_plugin.selene import RegionSampler

    example = folder / "configs/example"
    return RegionSampler(str(example / "genome.fa"), str(example / "pretrain.csv"), positive="open", seed=5)


def test_sampler_visits_every_window_once_per_epoch_in_the_order_of_the_seed(sampler):
    windows = sampler.windows("train")
    assert windows.n == 40
    sampler.set_mode("train")
    drawn = [sampler.sample(16) for _ in range(5)]  # two epochs
    X, y = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    order = np.concatenate([epoch_order(40, 5, 0), epoch_order(40, 5, 1)])
    assert X.shape == (80, 600, 4)
    np.testing.assert_array_equal(X.transpose(0, 2, 1), one_hot(windows.codes[order]))
    np.testing.assert_array_equal(y, windows.targets[order])


def test_sampler_gives_whole_sets_in_file_order(sampler):
    for mode, give in (("validate", sampler.get_validation_set), ("test", sampler.get_test_set)):
        batches, targets = give(16)
        windows = sampler.windows(mode)
        assert [len(X) for X, _ in batches] == [16, 16, 8]
        np.testing.assert_array_equal(
            np.concatenate([X for X, _ in batches]), one_hot(windows.codes, "channels_last")
        )
        for values in (targets, np.concatenate([y for _, y in batches])):
            np.testing.assert_array_equal(values, windows.targets)
        assert len(give(16, 20)[1]) == 20
    assert sampler.get_feature_from_index(0) == "open"
    assert sampler.modes == ["train", "validate", "test"]


def test_sampler_for_a_smoke_test_keeps_few_windows(folder):
    from chromtransfer_plugin.selene import RegionSampler

    example = folder / "configs/example"
    sampler = RegionSampler(str(example / "genome.fa"), str(example / "pretrain.csv"), positive=["open"])
    whole = sampler.windows("train").table["start"]
    sampler.shrink(7)
    assert [sampler.windows(mode).n for mode in ("train", "validate", "test")] == [7, 7, 40]
    assert set(sampler.windows("train").table["start"]) <= set(whole)
    assert sampler.windows("train").table.index.tolist() == list(range(7))


# --- training --------------------------------------------------------------------------------------------


def test_classes_are_trained_with_softmax(server, folder):
    changes = {
        "configs/example/pretrain.csv": "classes.csv",
        "positive: open": "classes: [MCF7, A549, K562]",
        "head_bn: False": "head_bn: False, n_outputs: 3",
    }
    done = train(server, folder, "classes", changes)
    assert done.code == 0, done.err
    out = folder / "classes"
    card = load_model(out).card
    assert (card.outputs, card.activation) == (["MCF7", "A549", "K562"], "softmax")
    table = pd.read_csv(folder / "classes.csv", names=["region", "label"])
    test = table[table["region"].str.startswith(("chr2:", "chr3:"))]
    targets = np.load(out / "test_targets.npz")["data"]
    np.testing.assert_array_equal(
        targets, [[label == name for name in card.outputs] for label in test["label"]]
    )
    predictions = np.load(out / "test_predictions.npz")["data"]
    np.testing.assert_allclose(predictions.sum(axis=1), 1, rtol=1e-6)
    scores = pd.read_csv(out / "test_performance.txt", sep="\t", index_col=0)["roc_auc"]
    for i, name in enumerate(card.outputs):
        assert scores[name] == pytest.approx(roc_auc_score(targets[:, i], predictions[:, i]), abs=6e-5)
    history = pd.read_csv(out / "history.csv")
    assert history["train_loss"].between(0.9, 1.6).all()  # about ln 3


def test_a_frozen_trunk_with_balanced_weights(server, folder):
    torch.manual_seed(3)
    source = ChromTransfer(width=0.125, bn_momentum=0.3, head=(4,), head_bn=False)
    source.train()(torch.rand(4, 4, 100))
    save_model(source, folder / "source", Card(architecture=source.architecture, outputs=["open"]))
    changes = {"protocol: pretrain": "protocol: frozen, pretrained: source, balanced: True, adam_eps: 0.001"}
    done = train(server, folder, "frozen", changes)
    assert done.code == 0, done.err
    model, card = load_model(folder / "frozen")
    trained, given = model.trunk.state_dict(), source.trunk.state_dict()
    assert all(torch.equal(trained[name], given[name]) for name in given)
    settings = card.training["settings"]
    assert (settings["trainable"], settings["trunk_bn"], settings["balanced"]) == ("head", "eval", True)
    assert "142 tensors transferred, 4 new, 4 trainable" in done.out
    state = torch.load(folder / "frozen/best_model.pth.tar", weights_only=True)
    assert [group["eps"] for group in state["optimizer"]["param_groups"]] == [0.001]


CRASH = """
import os
from sklearn.metrics import roc_auc_score

calls = 0

def metric(targets, predictions):
    global calls
    calls += 1
    if calls > 1 and "CRASH" in os.environ:
        raise RuntimeError("the power is gone")
    return roc_auc_score(targets, predictions)
"""


def test_an_interrupted_run_is_resumed_by_the_same_command(server, folder):
    (folder / "crash.py").write_text(CRASH)
    changes = {
        "max_epochs: 2": "max_epochs: 3",
        "protocol: pretrain": "protocol: pretrain, metrics: {roc_auc: !import crash.metric}",
    }
    done = train(server, folder, "whole", changes)
    assert done.code == 0, done.err
    done = train(server, folder, "broken", changes, CRASH="1")
    assert done.code == 1
    assert "RuntimeError: the power is gone" in done.err
    assert (folder / "broken/resume.safetensors").exists()
    done = train(server, folder, "broken", changes)
    assert done.code == 0, done.err
    assert "resuming in epoch 2, after step" in done.err
    for a, b in zip(weights(folder / "whole"), weights(folder / "broken"), strict=True):
        assert torch.equal(a, b)
    whole, resumed = (pd.read_csv(folder / out / "history.csv") for out in ("whole", "broken"))
    pd.testing.assert_frame_equal(
        whole.drop(columns="sequences_per_second"), resumed.drop(columns="sequences_per_second")
    )
    predictions = [np.load(folder / out / "test_predictions.npz")["data"] for out in ("whole", "broken")]
    np.testing.assert_array_equal(*predictions)
    assert not (folder / "broken/resume.safetensors").exists()
    for name in ("train", "validation"):
        files = [folder / out / f"selene_sdk.train_model.{name}.txt" for out in ("whole", "broken")]
        assert files[0].read_text() == files[1].read_text()


def test_a_second_run_replaces_the_logs_of_the_first(server, folder):
    for epochs in ("2", "1"):
        done = train(server, folder, "again", {"max_epochs: 2": f"max_epochs: {epochs}"})
        assert done.code == 0, done.err
    assert len(pd.read_csv(folder / "again/history.csv")) == 1
    for name, header in (("train", "loss"), ("validation", "loss\taverage_precision\troc_auc")):
        lines = (folder / f"again/selene_sdk.train_model.{name}.txt").read_text().splitlines()
        assert lines[0] == header
        assert len(lines) == 2


def test_smoke_mode_cuts_the_run(server, folder):
    done = train(server, folder, "smoke", {"max_epochs: 2": "max_epochs: 50"}, CHROMTRANSFER_SMOKE="1")
    assert done.code == 0, done.err
    assert "CHROMTRANSFER_SMOKE is set: two epochs on 256 windows" in done.err
    card = read_card(folder / "smoke" / "best_model")
    assert card.training["smoke"] is True
    assert card.trained_on.startswith("SMOKE TEST, not a trained model.")
    assert len(pd.read_csv(folder / "smoke/history.csv")) == 2
    record = json.loads((folder / "smoke/run.json").read_text())
    assert record["settings"]["max_epochs"] == 2


# --- other analyses --------------------------------------------------------------------------------------


def test_mutagenesis_and_substitutions_equal_python(folder, tmp_path):
    from chromtransfer_plugin.selene import AnalyzeSequences, Genome
    from chromtransfer_plugin.selene.model import ChromTransferProbability

    settings = {"width": 0.125, "head": (8,), "head_bn": False, "bn_momentum": 1.0}
    torch.manual_seed(2)
    source = ChromTransfer(**settings, dropout=0)
    source.train()(
        torch.from_numpy(one_hot(np.random.default_rng(0).integers(0, 4, (64, 60)).astype(np.uint8)))
    )
    save_model(source, tmp_path / "m", Card(architecture=source.architecture, outputs=["open"]))
    fasta = str(folder / "configs/example/genome.fa")
    model = ChromTransferProbability(**settings, dropout=0)
    analysis = AnalyzeSequences(
        model, str(tmp_path / "m"), sequence_length=60, reference_sequence=Genome(fasta), device="cpu"
    )

    def python(*texts: str) -> np.ndarray:
        return probabilities(predict_logits(source, np.stack([encode(text) for text in texts])))

    contig = "".join(Path(fasta).read_text().split(">chr2\n")[0].splitlines()[1:]).upper()
    text = contig[1_000:1_060]
    np.testing.assert_allclose(analysis.get_predictions(text), python(text), atol=1e-6)
    analysis.in_silico_mutagenesis(text, ["predictions"], str(tmp_path / "ism"), output_format="hdf5")
    with h5py.File(tmp_path / "ism_predictions.h5") as file:
        scores = file["data"][:]
    rows = pd.read_csv(tmp_path / "ism_row_labels.txt", sep="\t", keep_default_na=False)
    mutants = [text[: row.pos] + row.alt + text[row.pos + 1 :] for row in rows.itertuples()]
    assert len(set(mutants) - {text}) == 180
    np.testing.assert_allclose(scores, python(*mutants), atol=1e-6)
    position, alt = 1_030, "ACGT"[("ACGT".index(contig[1_029]) + 1) % 4]  # 1-based, as in VCF
    (tmp_path / "v.vcf").write_text(f"##fileformat=VCFv4.2\nchr1\t{position}\tx\t{contig[1_029]}\t{alt}\n")
    analysis.variant_effect_prediction(
        str(tmp_path / "v.vcf"), ["predictions"], output_dir=str(tmp_path), output_format="hdf5"
    )
    found = []
    for allele in ("ref", "alt"):
        with h5py.File(tmp_path / f"v.{allele}_predictions.h5") as file:
            found.append(file["data"][0])
    around = contig[position - 30 : position + 30]
    np.testing.assert_allclose(found[0], python(around)[0], atol=1e-6)
    np.testing.assert_allclose(found[1], python(around[:29] + alt + around[30:])[0], atol=1e-6)
    assert abs(found[0] - found[1]) > 1e-5
