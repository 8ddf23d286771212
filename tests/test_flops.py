"""Counts of operations against the paper's layer sizes, and the peak rates they are divided by."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from chromtransfer_plugin import device as device_module
from chromtransfer_plugin.defaults import HEADS
from chromtransfer_plugin.device import peak_flops
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.flops import flops_by_layer, forward_flops, training_flops

MAC_PER_BASE = 549_120  # of the trunk: 6400 + 102400 + 92160 + 163840 + 122880 + 40960 + 20480
TRUNK = 2 * MAC_PER_BASE * 600
HEAD = 2 * (64 * 512 + 512 * 128 + 128)


def test_the_papers_network():
    model = ChromTransfer()
    layers = flops_by_layer(model, 600)
    assert len(layers) == 21 + 3
    trunk = {name: n // 1200 for name, n in layers.items() if name.startswith("trunk.")}
    assert trunk["trunk.stem.conv.conv"] == 6_400
    assert sum(n for name, n in trunk.items() if name.startswith("trunk.reduce.")) == 102_400
    assert sum(n for name, n in trunk.items() if name.startswith("trunk.narrow.")) == 92_160
    assert sum(n for name, n in trunk.items() if name.startswith("trunk.expand.")) == 163_840
    assert sum(n for name, n in trunk.items() if name.startswith("trunk.wide.")) == 122_880
    assert sum(trunk.values()) == MAC_PER_BASE
    assert forward_flops(model, 600) == TRUNK + HEAD == 659_140_864


def test_the_trunk_grows_with_the_length_and_the_head_does_not():
    model = ChromTransfer(**HEADS["finetune"].model_dump())
    head = 2 * (64 * 1024 + 1024 * 32 + 32)
    assert forward_flops(model, 100) == 2 * MAC_PER_BASE * 100 + head
    assert forward_flops(model, 1) == 2 * MAC_PER_BASE + head


@pytest.mark.parametrize(("frozen", "passes"), [(False, 3), (True, 1)])
def test_training_is_three_passes_of_what_trains(frozen, passes):
    assert training_flops(ChromTransfer(), 600, frozen) == passes * TRUNK + 3 * HEAD


def test_counting_leaves_the_model_as_it_was():
    model = ChromTransfer(width=0.125).train()
    model.head.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    forward_flops(model, 50)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_used_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 4, 3, padding=1, bias=False)

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(X))

    assert flops_by_layer(Twice(), 10) == {"conv": 2 * 2 * 4 * 4 * 3 * 10}


def test_peak_of_a_cpu_is_measured_once():
    cpu = torch.device("cpu")
    rate, source = peak_flops(cpu, torch.float32)
    assert 1e8 < rate < 1e15
    assert "float32 matrix products measured on cpu" in source
    started = time.perf_counter()
    assert peak_flops(cpu, torch.float32) == (rate, source)
    assert time.perf_counter() - started < 0.01


@pytest.mark.parametrize(
    ("card", "dtype", "tf32", "wanted"),
    [
        ("NVIDIA H200", torch.bfloat16, True, 989e12),
        ("NVIDIA H200", torch.float32, True, 495e12),
        ("NVIDIA H200", torch.float32, False, 67e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, True, 756e12),
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, True, 989e12),
        ("NVIDIA A100-SXM4-80GB", torch.float32, True, 156e12),
        ("NVIDIA L4", torch.bfloat16, True, 121e12),
        ("NVIDIA L40S", torch.bfloat16, True, 362e12),
    ],
)
def test_peaks_of_known_cards(monkeypatch, card, dtype, tf32, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: card)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    rate, source = peak_flops(torch.device("cuda:0"), dtype)
    assert rate == wanted
    assert "data sheet" in source


def test_an_unknown_card_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Unheard of 1000")
    monkeypatch.setattr(device_module, "_measured_flops", lambda *_: 5e12)
    rate, source = peak_flops(torch.device("cuda:0"), torch.bfloat16)
    assert rate == 5e12
    assert "measured on cuda:0 (Unheard of 1000)" in source
