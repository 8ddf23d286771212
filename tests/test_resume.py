"""A run that is killed at any step ends as if nothing had happened, whatever it trains and however."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from training_cases import SETTINGS, assert_equal, make_trainer, tensors, without_speed

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.defaults import Engine
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.training import phase_run, resume

EVERY_STEP = Engine(save_every=0)
CASES = {
    "paper": {},
    "averaged": {"ema": 0.9, "clip_norm": 1.0},
    "plateau": {"schedule": "plateau", "plateau_patience": 1, "plateau_min_delta": 0.5},
    "cosine": {"schedule": "cosine", "warmup_epochs": 1.5},
    "augmented": {"reverse_complement": True, "shift": 5, "sampling": "balanced"},
    "head_then_full": {"trainable": "head_then_full", "head_epochs": 2, "l2_sp": 0.1},
    "gradual": {"trainable": "gradual", "head_epochs": 1, "unfreeze_every": 1, "layer_decay": 0.7},
    "lora": {"trainable": "lora", "ema": 0.9},
    "ia3": {"trainable": "ia3"},
    "bitfit": {"trainable": "bitfit"},
    "head": {"trainable": "head"},
}


class KilledError(Exception):
    pass


def kill_at(trainer, step: int) -> None:
    """Die after a step was taken and before anything was saved of it."""
    take = trainer._train_step

    def step_or_die(*arguments) -> None:
        take(*arguments)
        if trainer.step == step:
            raise KilledError

    trainer._train_step = step_or_die


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [3, 7])  # within the first and the second of three epochs of four steps
def test_killed_within_an_epoch(tmp_path, case, step):
    settings = SETTINGS.model_copy(update={"max_epochs": 3, **CASES[case]})
    whole = make_trainer(tmp_path / "whole", settings, engine=EVERY_STEP)
    wanted = whole.fit()
    killed = make_trainer(tmp_path / "killed", settings, engine=EVERY_STEP)
    kill_at(killed, step)
    with pytest.raises(KilledError):
        killed.fit()
    torch.rand(1000)  # the generator of the new process is somewhere else
    again = make_trainer(tmp_path / "killed", settings, engine=EVERY_STEP)
    torch.rand(1000)
    result = again.fit()
    assert without_speed(result.history) == without_speed(wanted.history)
    assert_equal(tensors(again.model), tensors(whole.model))
    assert_equal(
        tensors(load_model(tmp_path / "killed").model), tensors(load_model(tmp_path / "whole").model)
    )
    assert not (tmp_path / "killed/resume.safetensors").exists()


def test_killed_while_validating_after_a_save_on_the_last_batch(tmp_path, monkeypatch):
    settings = SETTINGS.model_copy(update={"max_epochs": 3})
    whole = make_trainer(tmp_path / "whole", settings, engine=EVERY_STEP)
    whole.fit()

    def die(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(phase_run, "evaluate", die)
        with pytest.raises(KilledError):
            make_trainer(tmp_path / "killed", settings, engine=EVERY_STEP).fit()
    again = make_trainer(tmp_path / "killed", settings, engine=EVERY_STEP)
    again.fit()
    assert_equal(tensors(again.model), tensors(whole.model))
    assert without_speed(again.history) == without_speed(whole.history)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from training_cases import SETTINGS, make_trainer
from chromtransfer_plugin.defaults import Engine
settings = SETTINGS.model_copy(update={{"max_epochs": 20, "patience": None, "ema": 0.9, "schedule": "plateau"}})
make_trainer(Path(sys.argv[1]), settings, engine=Engine(save_every=0)).fit()
"""


def test_kill_minus_nine(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # killed twice
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "killed")],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        state = tmp_path / "killed/resume.safetensors"
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(0.3)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert state.exists()
    for folder in ("killed", "whole"):
        subprocess.run(
            [sys.executable, str(script), str(tmp_path / folder)],
            env=environment, check=True, capture_output=True,
        )  # fmt: skip
    assert_equal(
        tensors(load_model(tmp_path / "killed").model), tensors(load_model(tmp_path / "whole").model)
    )
    histories = [
        (tmp_path / folder / "history.csv").read_text().splitlines() for folder in ("killed", "whole")
    ]
    strip = [[row.split(",")[:6] for row in history] for history in histories]
    assert len(strip[0]) == 21
    assert strip[0] == strip[1]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left")])
def test_a_full_disk_keeps_the_state_before_and_says_how_to_go_on(tmp_path, monkeypatch, error):
    trainer = make_trainer(tmp_path / "run", engine=EVERY_STEP)
    kill_at(trainer, 6)
    with pytest.raises(KilledError):
        trainer.fit()
    before = (tmp_path / "run/resume.safetensors").read_bytes()
    with monkeypatch.context() as patch:

        def full(*_, **__):
            raise error

        patch.setattr(resume, "save_file", full)
        with pytest.raises(ChromTransferError, match=r"No(t written, no)? (room|space)|make room"):
            make_trainer(tmp_path / "run", engine=EVERY_STEP).fit()
    assert (tmp_path / "run/resume.safetensors").read_bytes() == before
    assert not list((tmp_path / "run").glob(".tmp-*"))
    whole = make_trainer(tmp_path / "whole", engine=EVERY_STEP)
    whole.fit()
    again = make_trainer(tmp_path / "run", engine=EVERY_STEP)
    again.fit()
    assert_equal(tensors(again.model), tensors(whole.model))
