"""Training from region files: the same in Python, on the command line and through Selene; ensembles, tasks, folds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner
from selene_cases import SeleneServer, edited, small_config, write_example
from training_cases import assert_equal, make_trainer, make_windows, tensors

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.defaults import PROTOCOLS, Engine, Training
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.predict import predict_checkpoint, predict_logits
from chromtransfer_plugin.train import TrainingData, train
from chromtransfer_plugin.training import evaluate, run_settings
from chromtransfer_plugin.training.resident import ResidentWindows

NETWORK = {"width": 0.0625, "head": [8], "head_bn": False}
QUICK = {"lr": 1e-3, "batch_size": 32, "max_epochs": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    write_example(folder)
    return folder


@pytest.fixture(scope="module")
def example(folder) -> Path:
    return folder / "configs/example"


def data_of(example: Path, **changes) -> TrainingData:
    settings = {"genome": example / "genome.fa", "regions": [example / "pretrain.csv"], "positive": ["open"]}
    return TrainingData(**{**settings, **changes})


def test_python_the_command_line_and_selene_give_the_same_model(folder, example, tmp_path):
    settings = {
        **QUICK,
        "ema": 0.5,
        "schedule": "cosine",
        "reverse_complement": True,
        "shift": 7,
        "clip_norm": 1.0,
    }
    train(data_of(example), tmp_path / "python", "scratch", network=NETWORK, settings=settings)
    options = [f"--set={name}={value}" for name, value in settings.items()]
    options += [f"--network={name}={value}" for name, value in NETWORK.items()]
    command = ["train", "--genome", str(example / "genome.fa"), "--regions", str(example / "pretrain.csv")]
    command += ["--positive", "open", "--out", str(tmp_path / "command"), *options]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    keys = ", ".join(f"{name}: {value}" for name, value in settings.items() if name != "lr")
    text = edited(
        small_config("pretrain"),
        {
            "runs/pretrain": str(tmp_path / "selene"),
            "head: [512, 128], head_bn: True": "head: [8], head_bn: False",
            "protocol: pretrain": f"protocol: scratch, {keys}",
        },
    )
    sections = [
        line
        for line in text.splitlines()
        if not line.strip().startswith(("batch_size:", "max_epochs:", "patience:"))
    ]
    (tmp_path / "config.yml").write_text(
        "\n".join(sections).replace("width: 0.125, bn_momentum: 0.3", "width: 0.0625")
    )
    server = SeleneServer(folder)
    selene = server.run(tmp_path / "config.yml", folder)
    server.close()
    assert selene.code == 0, selene.err
    wanted = tensors(load_model(tmp_path / "python").model)
    assert_equal(tensors(load_model(tmp_path / "command").model), wanted)
    record = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("python", "selene")]
    assert record[0]["settings"] == record[1]["settings"]
    assert record[0]["card"]["training"]["train_sha256"] == record[1]["card"]["training"]["train_sha256"]
    assert_equal(tensors(load_model(tmp_path / "selene").model), wanted)


def test_an_ensemble_is_the_mean_of_its_folds_and_finished_folds_are_kept(example, tmp_path):
    arguments = {"ensemble": True, "network": NETWORK, "settings": QUICK}
    results = train(data_of(example, fold_by="locus"), tmp_path / "run", **arguments)
    assert [r.best_model.parent.name for r in results] == ["fold_0", "fold_1", "fold_2"]
    codes = make_windows(5, 3, length=600).codes
    members = [predict_logits(load_model(r.best_model).model, codes) for r in results]
    np.testing.assert_allclose(
        predict_checkpoint(tmp_path / "run", codes), 1 / (1 + np.exp(-np.mean(members, axis=0))), atol=1e-6
    )
    assert not np.allclose(members[0], members[1], atol=1e-3)
    # Interrupted before the last fold: the first two are kept, the third is trained as it was.
    wanted = (tmp_path / "run/best_model/model.safetensors").read_bytes()
    times = [(r.best_model / "card.json").stat().st_mtime_ns for r in results]
    (tmp_path / "run/best_model/card.json").unlink()
    (tmp_path / "run/best_model/model.safetensors").unlink()
    (tmp_path / "run/best_model").rmdir()
    (tmp_path / "run/fold_2/run.json").unlink()
    results = train(data_of(example, fold_by="locus"), tmp_path / "run", **arguments)
    assert [
        t == (r.best_model / "card.json").stat().st_mtime_ns for t, r in zip(times, results, strict=True)
    ] == [
        *(True, True, False),
    ]
    assert (tmp_path / "run/best_model/model.safetensors").read_bytes() == wanted


def test_several_tasks_share_a_trunk(example, tmp_path):
    files = {"open": str(example / "pretrain.csv"), "HEPG2": str(example / "HEPG2.csv")}
    tasks = data_of(example, regions=(), positive=None, tasks=files)
    (result,) = train(tasks, tmp_path / "run", network=NETWORK, settings=QUICK)
    model, card = load_model(result.best_model)
    assert card.outputs == ["open", "HEPG2"]
    assert card.activation == "sigmoid"
    assert math.isfinite(result.best.validation_loss)
    fine = data_of(example, regions=[example / "HEPG2.csv"], positive=["HEPG2"])
    (result,) = train(fine, tmp_path / "fine", "frozen", pretrained=tmp_path / "run", network={"head": []})
    tuned = load_model(result.best_model).model
    assert_equal(tensors(tuned.trunk), tensors(model.trunk))
    assert tuned.architecture.width == 0.0625  # of the pre-trained trunk, without being told
    assert not (tmp_path / "fine/resume.safetensors").exists()


# --- the trainer's options -------------------------------------------------------------------------------------


def test_cached_features_train_the_same_head(tmp_path):
    settings = Training(lr=0.01, batch_size=16, patience=None, max_epochs=3, trainable="head")
    runs = []
    for cache in (True, False):
        trainer = make_trainer(tmp_path / str(cache), settings, engine=Engine(cache_features=cache))
        runs.append((trainer.fit(), tensors(trainer.model)))
    for a, b in zip(runs[0][1], runs[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    losses = [[epoch.validation_loss for epoch in result.history] for result, _ in runs]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-6)


def test_the_prior_of_use_shifts_every_logit_and_nothing_else(tmp_path):
    """65 windows in batches of balanced draws: the loss makes the model believe in one half."""
    settings = Training(lr=0.01, batch_size=16, patience=None, max_epochs=1, sampling="balanced")
    shift = np.array([math.log(0.1 / 0.9)])
    logits = []
    for name, prior in (("a", None), ("b", shift)):
        trainer = make_trainer(tmp_path / name, settings, prior_shift=prior)
        trainer.fit()
        logits.append(evaluate(trainer.model, make_windows(20, 5), BinaryLoss()).logits)
    np.testing.assert_allclose(logits[1] - logits[0], np.full((20, 1), shift[0]), atol=1e-6)


def test_the_learning_rate_follows_its_schedule_in_every_phase(tmp_path):
    settings = Training(
        lr=0.01, batch_size=16, patience=None, max_epochs=4, schedule="cosine",
        trainable="head_then_full", head_epochs=2, head_lr=0.5,
    )  # fmt: skip
    history = make_trainer(tmp_path, settings).fit().history
    factors = [0.5 * (1 + math.cos(math.pi * step / 16)) for step in (3, 7, 11, 15)]
    wanted = [rate * factor for rate, factor in zip((0.5, 0.5, 0.01, 0.01), factors, strict=True)]
    assert [epoch.lr for epoch in history] == pytest.approx(wanted)
    assert [epoch.phase for epoch in history] == ["head", "head", "full", "full"]


def test_a_plateau_of_the_head_does_not_slow_the_next_phase(tmp_path):
    settings = Training(
        lr=0.01, batch_size=64, patience=None, max_epochs=5, trainable="head_then_full", head_epochs=3, head_lr=1e-9,
        schedule="plateau", plateau_patience=1, plateau_min_delta=9.0, layer_decay=0.5,
    )  # fmt: skip
    history = make_trainer(tmp_path, settings).fit().history
    assert [epoch.lr for epoch in history] == pytest.approx([1e-9, 1e-9, 1e-10, 0.01, 0.01])


def test_patience_is_counted_anew_in_the_last_phase(tmp_path):
    settings = Training(
        lr=1e-9,
        batch_size=64,
        patience=1,
        max_epochs=9,
        trainable="head_then_full",
        head_epochs=4,
        head_lr=5.0,
    )
    history = make_trainer(tmp_path, settings).fit().history
    assert len(history) >= 5
    assert history[4].phase == "full"


def test_the_last_epoch_can_be_kept(tmp_path, monkeypatch):
    from chromtransfer_plugin.training import Evaluation, phase_run

    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(phase_run, "evaluate", lambda *_: Evaluation(next(losses), np.zeros((20, 1))))
    settings = Training(lr=0.01, batch_size=64, patience=2, max_epochs=5, l2=0, keep="last")
    trainer, weights = make_trainer(tmp_path, settings), {}
    result = trainer.fit(lambda epoch, _: weights.update({epoch.epoch: tensors(trainer.model)}))
    assert len(result.history) == 4  # two epochs after the lowest loss
    assert (result.best.epoch, result.stopped_early) == (4, True)
    assert_equal(tensors(trainer.model), weights[4])


def test_augmented_windows_are_the_genomes_own_bases():
    windows = make_windows(6, 4, length=40, flank=5)
    resident = ResidentWindows(windows, torch.device("cpu"))
    rows, flip = np.array([3, 0]), np.array([True, False])
    X, y = resident.batch(rows, flip, np.array([-5, 2]))
    first, second = 3 - windows.codes[3][0:40][::-1], windows.codes[0][7:47]
    np.testing.assert_array_equal(X.argmax(dim=1), np.stack([first, second]))
    np.testing.assert_array_equal(y, windows.targets[rows])
    X, _ = resident.batch(rows, np.zeros(2, bool), np.zeros(2, int))
    np.testing.assert_array_equal(X.argmax(dim=1), windows.codes[rows, 5:45])


def test_tensorboard_gets_the_losses(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = make_trainer(tmp_path, engine=Engine(tensorboard=True)).fit().history
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = [(e.step, e.value) for e in board.Scalars("validation_loss")]
    assert losses == [(e.epoch, pytest.approx(e.validation_loss)) for e in history]


def test_without_tensorboard_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ChromTransferError, match=r"pip install 'chromtransfer-plugin\[tensorboard\]'"):
        make_trainer(tmp_path, engine=Engine(tensorboard=True))


def test_the_bar_shows_sequences_per_second_and_what_is_left(tmp_path, monkeypatch, capsys):
    from chromtransfer_plugin.training import progress

    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with progress.Progress(tmp_path, active=True, tensorboard=False).bar("epoch 1/2", 100, 20) as bar:
        bar.update(40)
        bar.refresh()
    with progress.Progress(tmp_path, active=False, tensorboard=False).bar("epoch 1/2", 100, 0) as bar:
        bar.update(40)
    shown = capsys.readouterr().err
    assert "60/100 [" in shown
    assert "seq/s]" in shown
    assert "40/100" not in shown  # another process than the first says nothing


def test_a_card_that_torch_cannot_use_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    from chromtransfer_plugin import device
    from chromtransfer_plugin.friendly import ChromTransferWarning

    driver = tmp_path / "version"
    driver.write_text("NVRM")
    monkeypatch.setattr(device, "_NVIDIA_DRIVER", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device._warn_of_an_idle_card.cache_clear()
    with pytest.warns(ChromTransferWarning, match="NVIDIA driver, but torch .* using the CPU"):
        assert device.pick_device("auto").type == "cpu"
    device._warn_of_an_idle_card.cache_clear()


# --- bad input -------------------------------------------------------------------------------------------------


def test_a_learning_rate_that_explodes_stops_with_advice(tmp_path):
    settings = Training(lr=1e30, batch_size=16, patience=None, max_epochs=3)
    with pytest.raises(ChromTransferError, match=r"became (nan|inf).*Lower the learning rate"):
        make_trainer(tmp_path, settings).fit()
    assert not (tmp_path / "best_model").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": make_windows(1, 1)}, "batch norm needs at least 2"),
        ({"validation": make_windows(0, 1)}, "validation set is empty"),
        ({"settings": Training(lr=0.1, batch_size=4, patience=1, max_epochs=1, shift=3), "train": make_windows(9, 1)},
         "shift=3 needs windows with flanks"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_trained_on(tmp_path, changes, message):
    with pytest.raises(ChromTransferError, match=message):
        make_trainer(tmp_path, **changes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sheduler": "cosine"}, "unknown key 'sheduler'. Did you mean 'schedule'"),
        ({"ema": 1.5}, "ema=1.5 is not usable"),
        ({"sampling": "balanced", "balanced": True}, "correct the classes twice"),
        ({"trainable": "trunk"}, "trainable='trunk' is not usable"),
    ],
)
def test_settings_that_make_no_sense(given, message):
    with pytest.raises(ChromTransferError, match=message):
        run_settings("finetune", given)


@pytest.mark.parametrize("option", ["--set=lr", "--set==3", "--set=lr=[1", "--network=width=wide"])
def test_options_that_make_no_sense(example, tmp_path, option):
    command = ["train", "--genome", str(example / "genome.fa"), "--regions", str(example / "pretrain.csv")]
    done = CliRunner().invoke(main, [*command, "--positive", "open", "--out", str(tmp_path / "o"), option])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1


def test_examples_in_the_documentation_are_settings():
    for page in ("training", "transfer"):
        text = (Path(__file__).parents[1] / "docs" / f"{page}.md").read_text()
        for block in text.split("```yaml\n")[1:]:
            for given in yaml.safe_load_all(block.split("```")[0]):
                protocol = given.pop("protocol")
                known = {name: value for name, value in given.items() if name not in ("upto", "ensemble")}
                settings, _ = run_settings(protocol, known)
                assert protocol in PROTOCOLS
                assert {name: getattr(settings, name) for name in known if name in Training.model_fields} == {
                    name: value for name, value in known.items() if name in Training.model_fields
                }


def test_history_of_a_fold_is_a_table(example, tmp_path):
    train(data_of(example), tmp_path, network=NETWORK, settings=QUICK)
    table = pd.read_csv(tmp_path / "history.csv")
    assert list(table["epoch"]) == [1, 2]
    assert set(table["phase"]) == {"full"}
