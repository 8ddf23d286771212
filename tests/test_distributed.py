"""Two processes started by torchrun train the same model as one process with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training_cases import tensors

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.training.distributed import Processes, from_main, local_device, sum_over

SCRIPT = """
import functools
import sys
sys.path.insert(0, {tests!r})
import torch
from training_cases import SETTINGS, make_trainer
from chromtransfer_plugin.checkpoint import Card
from chromtransfer_plugin.models.chromtransfer import ChromTransfer

case = {{
    "full": {{"ema": 0.9, "reverse_complement": True, "sampling": "balanced"}},
    "head_then_full": {{"trainable": "head_then_full", "head_epochs": 1, "clip_norm": 0.5}},
}}[sys.argv[2]]
torch.manual_seed(int(sys.argv[3]))
model = ChromTransfer(width=0.0625, head=(4,), head_bn=True, bn_momentum=0.3, dropout=0)  # masks differ by process
settings = SETTINGS.model_copy(update={{"max_epochs": 3, "batch_size": 15, **case}})
# Adam divides rounding errors by themselves where a gradient is nearly zero.
sgd = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
make_trainer(sys.argv[1], settings, model=model, optimizer=sgd).fit()
"""


def train(tmp_path: Path, name: str, case: str, processes: int, seed: int = 3) -> pd.DataFrame:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*start, str(script), str(tmp_path / name), case, str(seed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return pd.read_csv(tmp_path / name / "history.csv")


@pytest.mark.parametrize("case", ["full", "head_then_full"])
def test_two_processes_give_the_loss_of_one(tmp_path, case):
    """Batches of 15 cannot be halved evenly, and the last batch of an epoch has 5 windows."""
    one, two = (train(tmp_path, name, case, n) for name, n in (("one", 1), ("two", 2)))
    for column in ("train_loss", "validation_loss", "l2"):
        np.testing.assert_allclose(two[column], one[column], rtol=1e-5)
    assert list(two["step"]) == list(one["step"]) == [5, 10, 15]
    assert one["train_loss"].nunique() == 3
    a, b = (tensors(load_model(tmp_path / name).model) for name in ("one", "two"))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.double(), y.double(), rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "best_model",
        "history.csv",
        "run.json",
    ]


def test_alone_nothing_is_sent():
    import torch

    alone = Processes()
    assert alone.main
    assert from_main(0.1, torch.device("cpu"), alone) == 0.1
    assert sum_over(torch.tensor(2.0), alone) == 2
    assert local_device("auto", alone) == "auto"


def test_every_process_takes_its_own_card(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    second = Processes(rank=7, world=8)
    assert not second.main
    assert [local_device(name, second) for name in ("auto", "cuda", "cuda:0", "cpu")] == [
        *("cuda:3", "cuda:3", "cuda:0", "cpu"),
    ]
