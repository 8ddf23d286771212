"""Batch norm over several processes is batch norm over their batches together."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.training.synced_batch_norm import (
    SyncedBatchNorm1d,
    restore_batch_norm,
    synchronise_batch_norm,
)

SHARES = [slice(0, 7), slice(7, 12)]  # of unequal size
WORLD = len(SHARES)


class Net(nn.Module):
    """Batch norm of sequences, of vectors, without weights, and with the cumulative average."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 3, 3)
        self.bn = nn.BatchNorm1d(3, eps=1e-3, momentum=0.01)
        self.linear = nn.Linear(3, 5)
        self.bn2 = nn.BatchNorm1d(5, affine=False, momentum=None)
        self.bn3 = nn.BatchNorm1d(5, track_running_stats=False)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        h = self.bn(torch.relu(self.conv(X))).amax(dim=2)
        return self.bn3(torch.tanh(self.bn2(self.linear(h))))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    X = torch.randn(12, 4, 10, generator=generator, dtype=torch.float64) + 1
    return X, torch.randn(12, 5, generator=generator, dtype=torch.float64)


def far_data() -> torch.Tensor:
    """A mean far from 0: one-pass variances lose their digits here."""
    return (data()[0] + 1000).float()


def train(model: nn.Module, rows: slice) -> dict[str, torch.Tensor]:
    """Three training passes: outputs, gradients (summed over the rows) and buffers."""
    X, weights = data()
    X = X[rows].clone().requires_grad_()
    result = {}
    for step in range(3):
        out = model(X)
        result[f"out.{step}"] = out.detach()
        (out * weights[rows]).square().sum().backward()
    result["input.grad"] = X.grad
    result |= {f"grad.{name}": p.grad for name, p in model.named_parameters()}
    return result | {f"buffer.{name}": b.clone() for name, b in model.named_buffers()}


def build() -> Net:
    torch.manual_seed(1)
    return Net().double()


def on_process(rank: int, folder: str) -> None:
    warnings.simplefilter("error")  # such as what torch means to remove
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD,
        timeout=timedelta(seconds=60),
    )
    try:
        model = build()
        synchronise_batch_norm(model)
        results = {"synced": train(model, SHARES[rank])}
        X = data()[0][SHARES[rank]]
        restore_batch_norm(model)
        results["restored"] = {"out": model(X).detach()}
        far = nn.BatchNorm1d(4)
        synchronise_batch_norm(far)
        X = far_data()[SHARES[rank]]
        results["far"] = {
            "out": far(X).detach(),
            "var": far.running_var.clone(),
            "half": far(X.bfloat16()).detach(),
        }
        results["eval"] = {"out": far.eval()(X).detach(), "mean": far.running_mean, "var": far.running_var}
        torch.save(results, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What each of two processes computed."""
    folder: Path = tmp_path_factory.mktemp("processes")
    mp.spawn(on_process, (str(folder),), nprocs=WORLD, join=True)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD)]


@pytest.fixture(scope="module")
def whole() -> dict[str, torch.Tensor]:
    """The same on the whole batch by torch's batch norm."""
    return train(build(), slice(0, 12))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_outputs_and_input_gradients_are_those_of_the_whole_batch(ranks, whole):
    for name in ("out.0", "out.1", "out.2", "input.grad"):
        close(torch.cat([rank["synced"][name] for rank in ranks]), whole[name])


def test_weight_gradients_sum_to_those_of_the_whole_batch(ranks, whole):
    names = [name for name in whole if name.startswith("grad.")]
    assert len(names) == 8
    for name in names:
        close(sum(rank["synced"][name] for rank in ranks), whole[name])


def test_running_statistics_are_those_of_the_whole_batch_on_every_process(ranks, whole):
    names = [name for name in whole if name.startswith("buffer.")]
    assert len(names) == 6
    for name in names:
        assert torch.equal(ranks[0]["synced"][name], ranks[1]["synced"][name])
        close(ranks[0]["synced"][name], whole[name])


def test_unsynced_batch_norm_differs(ranks, whole):
    """The test would notice if nothing were exchanged."""
    alone = torch.cat([rank["restored"]["out"] for rank in ranks])
    assert (alone - whole["out.0"]).abs().max() > 0.05


def test_variances_keep_their_digits_far_from_zero(ranks):
    X = far_data()
    norm = nn.BatchNorm1d(4).double()
    wanted = norm(X.double()).detach()
    out = torch.cat([rank["far"]["out"] for rank in ranks])
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=5e-4)
    torch.testing.assert_close(ranks[0]["far"]["var"].double(), norm.running_var, rtol=1e-5, atol=0)


def test_half_precision_inputs_have_statistics_in_full(ranks):
    out = torch.cat([rank["far"]["half"] for rank in ranks])
    assert out.dtype == torch.bfloat16
    wanted = nn.BatchNorm1d(4).double()(far_data().bfloat16().double()).detach()
    torch.testing.assert_close(out.double(), wanted, rtol=5e-3, atol=1e-3)  # a last bit of 8 is 2**-8


def test_evaluation_uses_the_running_statistics(ranks):
    for rank, rows in zip(ranks, SHARES, strict=True):
        mean, var = (rank["eval"][name][:, None] for name in ("mean", "var"))
        wanted = (far_data()[rows] - mean) / torch.sqrt(var + 1e-5)
        torch.testing.assert_close(rank["eval"]["out"], wanted, rtol=1e-4, atol=1e-4)


def test_conversion_keeps_every_tensor_and_name_and_is_undone():
    model = build()
    before = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    synchronise_batch_norm(model)
    assert [type(m) for m in (model.bn, model.bn2, model.bn3)] == [SyncedBatchNorm1d] * 3
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    restore_batch_norm(model)
    assert [type(m) for m in (model.bn, model.bn2, model.bn3)] == [nn.BatchNorm1d] * 3


def test_one_process_is_torchs_batch_norm_bit_for_bit():
    plain, synced = build(), build()
    synchronise_batch_norm(synced)
    a, b = train(plain, slice(0, 12)), train(synced, slice(0, 12))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_batch_norm_of_another_kind_is_refused():
    model = nn.Sequential(nn.Conv1d(4, 2, 1), nn.Sequential(nn.BatchNorm2d(2)))
    with pytest.raises(ChromTransferError, match=r"layer '1.0' is a BatchNorm2d; only BatchNorm1d"):
        synchronise_batch_norm(model)
