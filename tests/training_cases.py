"""A small trainer on easy data, for the tests of the engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from chromtransfer_plugin.checkpoint import Card
from chromtransfer_plugin.dataset import Windows
from chromtransfer_plugin.defaults import Training
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.training import Trainer

SETTINGS = Training(lr=0.01, batch_size=16, patience=3, max_epochs=4)


def make_windows(n: int, seed: int, length: int = 60, flank: int = 0) -> Windows:
    """Windows whose label says whether they are rich in G and C."""
    length += 2 * flank
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    p = np.where(y[:, None, None] == 1, [0.1, 0.4, 0.4, 0.1], [0.4, 0.1, 0.1, 0.4])
    codes = (rng.random((n, length, 1)) > p.cumsum(-1)).sum(-1).astype(np.uint8).clip(max=3)
    table = pd.DataFrame({"chrom": "chr1", "start": np.arange(n), "end": np.arange(n) + length - 2 * flank})
    return Windows(codes, y[:, None].astype(np.float32), table, flank)


def make_trainer(folder, settings: Training = SETTINGS, model_seed: int = 1, **changes) -> Trainer:
    torch.manual_seed(model_seed)
    # A momentum that lets the statistics settle within a few steps.
    model = ChromTransfer(width=0.0625, head=(4,), head_bn=True, bn_momentum=0.3)
    train = make_windows(65, 1, flank=settings.shift)
    arguments = {"train": train, "validation": make_windows(20, 2), "criterion": BinaryLoss()}
    return Trainer(
        changes.pop("model", model),
        settings=settings,
        output_dir=folder,
        card=Card(architecture=model.architecture, outputs=["open"], training=changes.pop("facts", {})),
        device="cpu",
        transferred=[name for name in model.state_dict() if name.startswith("trunk.")],
        **{**arguments, "seed": 7, **changes},
    )


def tensors(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def assert_equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> None:
    assert len(a) == len(b)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def without_speed(history) -> list[tuple]:
    return [epoch._replace(sequences_per_second=0.0) for epoch in history]
