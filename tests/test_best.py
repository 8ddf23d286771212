"""The `best` preset from end to end: decoupled weight decay, features once for all folds, and its Selene file."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from motif_cases import COUNTS, random_motifs, write_meme
from selene_cases import CONFIGS, SeleneServer, edited, run_selene, write_example
from sklearn.metrics import roc_auc_score
from training_cases import assert_equal, make_trainer, tensors

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.defaults import BEST, BEST_NETWORK, Training
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.models.motif_trunk import MotifTrunk
from chromtransfer_plugin.motifs import read_motifs
from chromtransfer_plugin.predict import predict_checkpoint, predict_logits, probabilities
from chromtransfer_plugin.train import TrainingData, train

SMALL = {"motifs": COUNTS, "head": [8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("best")
    write_example(folder)
    example = folder / "configs/example"
    lines = (example / "HEPG2.csv").read_text().replace("HEPG2", "K562").splitlines()
    (example / "K562.csv").write_text("\n".join(lines[::2]) + "\n")  # not known for the other windows
    write_meme(folder / "small.meme", random_motifs())
    return folder


@pytest.fixture
def data(folder) -> TrainingData:
    example = folder / "configs/example"
    return TrainingData(example / "genome.fa", [example / "pretrain.csv"], positive=["open"], fold_by="locus")


@pytest.fixture(scope="module")
def filled_trunk(folder) -> list[torch.Tensor]:
    trunk = MotifTrunk(COUNTS)
    trunk.fill(read_motifs(folder / "small.meme"))
    return tensors(trunk)


@pytest.fixture(scope="module")
def server(folder):
    server = SeleneServer(folder)
    yield server
    server.close()


# --- weight decay ----------------------------------------------------------------------------------------


def sgd(groups: list[dict]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups)


class NoLoss(torch.nn.Module):
    """A loss without a gradient: whatever moves then, the decay has moved."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 0.0 * logits.sum()


def decay_settings(**changes) -> Training:
    values = {"lr": 0.1, "batch_size": 16, "patience": None, "max_epochs": 1, "l2": 0.0}
    return Training(**{**values, "weight_decay": 0.3, **changes})


def test_one_step_is_that_of_sgd_less_learning_rate_times_decay_times_weight(tmp_path):
    """Windows in one batch; only the kernels of the head's two layers differ from a step without decay."""
    steps = {}
    for decay in (0.0, 0.3):
        trainer = make_trainer(
            tmp_path / str(decay), decay_settings(weight_decay=decay, batch_size=64), optimizer=sgd
        )
        start = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        result = trainer.fit()
        assert result.best.step == 1
        steps[decay] = trainer.model.state_dict()
    kernels = {"head.0.linear.weight", "head.1.weight"}
    for name, tensor in steps[0.0].items():
        if name in kernels:
            assert not torch.equal(tensor, start[name])
            torch.testing.assert_close(steps[0.3][name], tensor - 0.1 * 0.3 * start[name], rtol=0, atol=1e-6)
            assert (steps[0.3][name] - tensor).abs().max() > 1e-3
        else:
            assert torch.equal(steps[0.3][name], tensor), name


@pytest.mark.parametrize("trainable", ["head", "full"])
def test_decay_follows_the_schedule_and_reaches_the_heads_kernels_only(tmp_path, trainable):
    settings = decay_settings(schedule="cosine", trainable=trainable)
    trainer = make_trainer(tmp_path, settings, optimizer=sgd, criterion=NoLoss())
    start = {name: tensor.clone() for name, tensor in trainer.model.named_parameters()}
    steps = trainer.fit().best.step
    assert steps == 4
    factors = [0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
    shrunk = math.prod(1 - 0.1 * factor * 0.3 for factor in factors)
    for name, parameter in trainer.model.named_parameters():
        if name in ("head.0.linear.weight", "head.1.weight"):
            torch.testing.assert_close(parameter.detach(), shrunk * start[name], rtol=1e-6, atol=0)
        else:
            assert torch.equal(parameter, start[name]), name


def test_without_decay_nothing_shrinks(tmp_path):
    trainer = make_trainer(tmp_path, decay_settings(weight_decay=0.0), optimizer=sgd, criterion=NoLoss())
    start = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.fit()
    assert_equal(list(trainer.model.parameters()), start)


# --- the preset in Python --------------------------------------------------------------------------------


def test_an_ensemble_computes_every_feature_once(data, folder, filled_trunk, tmp_path, monkeypatch):
    from chromtransfer_plugin.transfer import features

    calls: list[int] = []
    compute = features.cached_features

    def counting(model, codes, *args, **kwargs):
        calls.append(len(codes))
        return compute(model, codes, *args, **kwargs)

    monkeypatch.setattr(features, "cached_features", counting)
    results = train(data, tmp_path, "best", ensemble=True, network=SMALL, motifs=str(folder / "small.meme"))
    assert len(results) == 3
    assert sum(calls) == 80  # windows of four chromosomes
    assert len(calls) == 2  # training and validation of the first fold
    members = [load_model(result.best_model) for result in results]
    for model, card in members:
        assert_equal(tensors(model.trunk), filled_trunk)
        assert model.architecture == BEST_NETWORK.model_copy(update={"motifs": tuple(COUNTS), "head": (8,)})
        assert card.training["protocol"] == "best"
        assert card.training["settings"] == BEST.model_dump()
    assert not torch.equal(members[0].model.head[2].linear.weight, members[1].model.head[2].linear.weight)
    # Windows rich in G and C are open in this example: their 6-mers say so after six steps.
    test = data.splits(0, 1, ensemble=False)[0][0].test
    assert roc_auc_score(test.targets, predict_checkpoint(tmp_path, test.codes)) > 0.9


def test_best_learns_as_many_outputs_as_the_regions_define(folder, tmp_path):
    example = folder / "configs/example"
    tasks = {line: [example / f"{line}.csv"] for line in ("HEPG2", "K562")}
    data = TrainingData(example / "genome.fa", tasks=tasks, fold_by="locus")
    (result,) = train(data, tmp_path, "best", network=SMALL, motifs=str(folder / "small.meme"))
    assert load_model(result.best_model).card.outputs == ["HEPG2", "K562"]


def test_features_cached_or_not_give_the_same_model(data, folder, tmp_path):
    common = {"network": SMALL, "motifs": str(folder / "small.meme")}
    models = []
    for cache in (True, False):
        settings = {"cache_features": cache, "batch_size": 16, "lr": 0.01}
        (result,) = train(data, tmp_path / str(cache), "best", settings=settings, **common)
        models.append(load_model(result.best_model).model)
    for a, b in zip(tensors(models[0]), tensors(models[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_augmentation_and_bfloat16_go_together_with_the_trunk_of_motifs(data, folder, filled_trunk, tmp_path):
    """The trunk then runs in every step, under autocast."""
    settings = {"reverse_complement": True, "shift": 5, "bf16": True, "batch_size": 32, "max_epochs": 2}
    motifs = str(folder / "small.meme")
    (result,) = train(data, tmp_path, "best", network=SMALL, settings=settings, motifs=motifs)
    assert math.isfinite(result.best.validation_loss)
    assert_equal(tensors(load_model(result.best_model).model.trunk), filled_trunk)


def test_a_member_is_fine_tuned_without_a_source_of_motifs(data, folder, filled_trunk, tmp_path):
    motifs = str(folder / "small.meme")
    train(data, tmp_path / "first", "best", network=SMALL, settings={"max_epochs": 1}, motifs=motifs)
    settings = {"max_epochs": 1, "lr": 0.001}
    (result,) = train(
        data, tmp_path / "second", "finetune", pretrained=tmp_path / "first", settings=settings, motifs="none"
    )
    model = load_model(result.best_model).model
    moved = [not torch.equal(a, b) for a, b in zip(tensors(model.trunk), filled_trunk, strict=True)]
    assert all(moved)
    assert model.architecture.motifs == tuple(COUNTS)


# --- the preset in Selene --------------------------------------------------------------------------------

HEPG2, K562 = "configs/example/HEPG2.csv", "configs/example/K562.csv"
ONE_LINE = {  # what the file's comment says
    f"tasks: {{HEPG2: {HEPG2}, K562: {K562}}}": f"regions: {HEPG2}, positive: HEPG2",
    "n_outputs: 2": "n_outputs: 1",
}


@pytest.mark.parametrize("changes", [{}, ONE_LINE], ids=["several lines", "one line"])
def test_the_file_with_small_motifs(folder, server, filled_trunk, tmp_path, changes):
    out = tmp_path / "run"
    text = edited(
        (CONFIGS / "chromtransfer/best.yml").read_text(),
        {
            "genome.fa.gz": "genome.fa",
            "motifs: JASPAR2024,": f"motifs: {folder / 'small.meme'},",
            "trunk: motifs,": f"trunk: motifs, motifs: {COUNTS},",
            "head: [256]": "head: [8]",
            "device: auto,": "device: cpu, cpu_n_threads: 1,",
            "runs/best": str(out),
            **changes,
        },
    )
    (folder / "best.yml").write_text(text)
    done = server.run("best.yml", folder, CHROMTRANSFER_SMOKE="1")
    assert done.code == 0, done.err
    model, card = load_model(out)
    assert card.members == 3
    assert card.outputs == (["HEPG2"] if changes else ["HEPG2", "K562"])
    assert card.training["protocol"] == "best"
    for number in range(3):
        member = load_model(out / f"fold_{number}")
        smoke = BEST.model_dump() | {"batch_size": 64, "max_epochs": 2, "head_epochs": 1, "unfreeze_every": 1}
        assert member.card.training["settings"] == smoke
        assert_equal(tensors(member.model.trunk), filled_trunk)
    parts = pd.read_csv(folder / "configs/example/HEPG2.csv", names=["region", "label"])
    parts = parts["region"].str.extract(r"(?P<chrom>.+):(?P<start>\d+)-").astype({"start": int})
    parts = parts[parts["chrom"].isin(["chr2", "chr3"])]
    codes = Genome(folder / "configs/example/genome.fa").extract(
        parts["chrom"].to_numpy(), parts["start"].to_numpy(), 600
    )
    wanted = probabilities(predict_logits(model, codes), "sigmoid")
    assert np.ptp(wanted) > 0.01
    predictions = np.load(out / "test_predictions.npz")["data"]
    np.testing.assert_allclose(predictions, wanted, rtol=0, atol=1e-6)


def test_another_number_of_motifs_ends_in_one_line_with_the_remedy(folder, server, tmp_path):
    text = edited(
        (CONFIGS / "chromtransfer/best.yml").read_text(),
        {
            "genome.fa.gz": "genome.fa",
            "motifs: JASPAR2024,": f"motifs: {folder / 'small.meme'},",
            "runs/best": str(tmp_path / "out"),
        },
    )
    (folder / "wrong.yml").write_text(text)
    error = server.run("wrong.yml", folder).error()
    assert error.endswith("set `motifs: [2, 2, 1, 2]` in the network's settings.")


@pytest.mark.slow
def test_the_file_as_it_is_in_smoke_mode(tmp_path):
    shutil.copytree(
        CONFIGS, tmp_path / "configs", ignore=shutil.ignore_patterns("*.fai", "*.gzi", "*.genome-cache")
    )
    done = run_selene("configs/chromtransfer/best.yml", tmp_path, CHROMTRANSFER_SMOKE="1")
    assert done.code == 0, done.err
    card = load_model(tmp_path / "runs/best").card
    assert card.architecture == BEST_NETWORK.model_copy(update={"n_outputs": 2})
    table = pd.read_csv(tmp_path / "runs/best/test_performance.txt", sep="\t")
    assert list(table["class"]) == ["HEPG2", "K562"]
    assert table["roc_auc"].between(0, 1).all()
