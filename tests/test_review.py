"""What a stranger tripped over: ensembles of several processes, settings without effect, Selene's own checkpoint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from selene_cases import SeleneServer, run_selene, small_config, write_example

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.train import TrainingData, train
from chromtransfer_plugin.training import SMOKE, run_settings

NETWORK = {"width": 0.0625, "head": [4], "head_bn": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    write_example(folder)
    return folder


@pytest.fixture(scope="module")
def selene(folder):
    server = SeleneServer(folder)
    yield server
    server.close()


@pytest.fixture(scope="module")
def data(folder) -> TrainingData:
    example = folder / "configs/example"
    return TrainingData(genome=example / "genome.fa", regions=[example / "HEPG2.csv"], positive="HEPG2")


ENSEMBLE = """
import sys, time
from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.train import TrainingData, train
from chromtransfer_plugin.training import fit
save = fit.save_ensemble
fit.save_ensemble = lambda *given: (time.sleep(2), save(*given))  # the others must wait for a slow disk
data = TrainingData(genome={genome!r}, regions=[{regions!r}], positive=["HEPG2"])
settings = {{"max_epochs": 1, "batch_size": 32, "trainable": "head"}}
train(data, sys.argv[1], network={network!r}, settings=settings, ensemble=True, device="cpu")
load_model(sys.argv[1])
"""


def test_every_process_can_read_the_ensemble_as_soon_as_it_is_trained(folder, tmp_path):
    example = folder / "configs/example"
    script = tmp_path / "run.py"
    script.write_text(
        ENSEMBLE.format(
            genome=str(example / "genome.fa"), regions=str(example / "HEPG2.csv"), network=NETWORK
        )
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(script), str(tmp_path / "out")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "FutureWarning" not in done.stderr


def test_selenes_own_checkpoint_holds_the_averaged_weights_with_adapters_merged_and_prior_shifted(
    folder, tmp_path
):
    extra = "trainable: lora, ema: 0.5, target_prior: 0.1"
    changes = {
        "trainable: full,": f"{extra},",
        "pretrained: runs/pretrain/best_model,": "",
        "protocol: finetune": "protocol: scratch",
        "runs/finetune": str(tmp_path / "run"),
        "[train, evaluate]": "[train]",
    }
    config = tmp_path / "config.yml"
    config.write_text(small_config("finetune", **changes))
    done = run_selene(config, folder)
    assert done.code == 0, done.err
    ours = load_file(tmp_path / "run/best_model/model.safetensors")
    theirs = torch.load(tmp_path / "run/best_model.pth.tar", weights_only=False)["state_dict"]
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_one_positive_label_may_be_text(data):
    assert data.task().outputs == ["HEPG2"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"upto": "expand"}, "give `pretrained` too"),
        ({"network": {**NETWORK, "n_outputs": 3}}, "n_outputs=3 but the regions define 1 output"),
        ({"seed": -1}, "seed=-1 is not a whole number"),
        ({"seed": 2**64}, "is not a whole number"),
        ({"settings": {"warmup_epochs": float("inf")}}, "warmup_epochs=inf is not usable"),
        ({"settings": {"trainable": "head_then_full", "max_epochs": 5}}, "the trunk never trains"),
        ({"settings": {"trainable": "gradual", "head_epochs": 9, "max_epochs": 3}}, "the trunk never trains"),
    ],
)
def test_what_would_be_ignored_or_crash_is_refused(data, tmp_path, given, message):
    with pytest.raises(ChromTransferError, match=message):
        train(data, tmp_path / "out", **{"network": NETWORK, **given}, device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_smoke_test_refuses_a_batch_size_that_is_no_number(monkeypatch):
    monkeypatch.setenv(SMOKE, "1")
    with pytest.raises(ChromTransferError, match="batch_size='many' is not usable"):
        run_settings("scratch", {"batch_size": "many"})
    assert run_settings("scratch", {"trainable": "gradual", "batch_size": 500})[0].batch_size == 64


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        ("device: auto,", "device: null,", "device=None is not usable: expected text"),
        ("trunk_bn: train,", "ensemble: 'no',", "ensemble='no' is not usable: expected True or False"),
        ("trunk_bn: train,", "metrics: {auc: 5},", "metrics={'auc': 5} is not usable"),
        ("pretrained: runs/pretrain/best_model,", "pretrained: [a],", "pretrained=['a'] is not usable"),
        ("protocol: finetune", "protocol: [a]", "protocol=['a'] is not usable"),
        ('trained_on: "simulated example data"', "trained_on: 5", "trained_on=5 is not usable"),
        ("positive: HEPG2,", "positive: HEPG2, feature: [a],", "feature=['a'] is not usable"),
        ("fold: 0,", f"fold: 0, seed: {2**70},", "is not usable: expected less than"),
    ],
)
def test_a_value_of_the_wrong_kind_is_one_line(selene, folder, tmp_path, place, change, message):
    text = small_config("finetune")
    assert place in text
    config = tmp_path / "config.yml"
    config.write_text(text.replace(place, change).replace("runs/finetune", str(tmp_path / "run")))
    assert message in selene.run(config, folder).error()
    assert not (tmp_path / "run/best_model").exists()
