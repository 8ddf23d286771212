"""Parameter groups: learning rates by depth, L2 on the right kernels, every parameter once; and L2-SP."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transfer_cases import LEVELS, make, pretrained, training

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import level_of
from chromtransfer_plugin.transfer import (
    L2SP,
    apply_phase,
    attach_adapters,
    parameter_groups,
    phases,
    transfer_trunk,
)

MODES = ("full", "head", "head_then_full", "gradual", "bitfit", "lora", "ia3")


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("mode", MODES)
def test_every_trainable_parameter_is_in_exactly_one_group(mode, layer_decay):
    model, settings = make(), training(mode, layer_decay=layer_decay)
    if mode in ("lora", "ia3"):
        attach_adapters(model.trunk, mode)
    kernels = {id(kernel) for kernel in model.l2_kernels()}
    for phase in phases(model, settings):
        apply_phase(model, phase, settings)
        groups = parameter_groups(model, phase, settings)
        grouped = [id(p) for group in groups for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
        assert groups[0]["lr"] == phase.lr
        names = {id(p): name for name, p in model.named_parameters()}
        for group in groups:
            levels = {level_of(names[id(p)]) for p in group["params"]}
            depths = {0 if level == "head" else 11 - LEVELS.index(level) for level in levels}
            assert {phase.lr * layer_decay**depth for depth in depths} == {group["lr"]}
            for parameter in group["params"]:
                assert group["weight_decay"] == (2e-4 if id(parameter) in kernels else 0.0)


def test_groups_of_the_paper_are_two():
    model, settings = make(), training("full")
    groups = parameter_groups(model, phases(model, settings)[0], settings)
    assert [(g["name"], g["lr"], g["weight_decay"], len(g["params"])) for g in groups] == [
        ("stem..top", 0.01, 2e-4, 20),
        ("stem..head", 0.01, 0.0, 2 * 20 + 22 + 10),
    ]
    assert {id(p) for p in groups[0]["params"]} == {id(kernel) for kernel in model.l2_kernels()}
    without = parameter_groups(model, phases(model, settings)[0], training("full", l2=0.0))
    assert [(g["name"], g["weight_decay"]) for g in without] == [("stem..head", 0.0)]


def test_layer_decay_slows_each_level_below_the_head():
    model, settings = make(cut="narrow.0"), training("full", lr=1.0, layer_decay=0.5, l2=0.0)
    groups = parameter_groups(model, phases(model, settings)[0], settings)
    assert [(g["name"], g["lr"]) for g in groups] == [
        ("head", 1.0),
        ("narrow.0", 0.5),
        ("reduce", 0.25),
        ("stem", 0.125),
    ]


def test_layer_decay_counts_from_the_head_also_while_lower_levels_are_frozen():
    model, settings = make(), training("gradual", lr=1.0, layer_decay=0.1)
    head, _, two = phases(model, settings)[:3]
    apply_phase(model, head, settings)
    assert [(g["name"], g["lr"]) for g in parameter_groups(model, head, settings)] == [("head", 0.02)]
    apply_phase(model, two, settings)
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in parameter_groups(model, two, settings)] == [
        ("head", 1.0, 0.0),
        ("last_conv", 0.1, 0.0),
        ("top", 0.1**2, 2e-4),
        ("top", 0.1**2, 0.0),
    ]


@pytest.mark.parametrize("mode", ["head", "bitfit", "lora", "ia3"])
def test_nothing_decays_while_kernels_are_frozen(mode):
    model, settings = make(), training(mode)
    if mode in ("lora", "ia3"):
        attach_adapters(model.trunk, mode)
    phase = phases(model, settings)[0]
    apply_phase(model, phase, settings)
    assert [g["weight_decay"] for g in parameter_groups(model, phase, settings)] == [0.0]
    assert len(list(model.l2_kernels())) == 20
    assert not any(kernel.requires_grad for kernel in model.l2_kernels())


# --- L2-SP -----------------------------------------------------------------------------------------------


def anchored(strength: float = 0.25, **settings):
    source = pretrained()
    model = make(seed=2, **settings)
    names = transfer_trunk(source, model)
    return model, L2SP(model, names, strength)


def test_penalty_and_its_gradient_in_closed_form():
    model, penalty = anchored(0.25)
    assert penalty.penalty().item() == 0.0
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    value = penalty.penalty()
    value.backward()
    total = 0.0
    for name, parameter in model.named_parameters():
        if name.startswith("head."):
            assert parameter.grad is None
            continue
        difference = parameter.detach() - start[name]
        total += 0.25 * difference.double().pow(2).sum().item()
        torch.testing.assert_close(parameter.grad, 2 * 0.25 * difference)
    assert value.item() == pytest.approx(total, rel=1e-5)
    assert total > 1


def test_anchor_is_the_transferred_weights_and_no_statistics():
    model = make(seed=2)
    names = transfer_trunk(pretrained(), model, "stem")
    penalty = L2SP(model, names, 1.0)
    assert penalty.names == [
        f"trunk.stem.{n}" for n in ("conv.conv.weight", "conv.conv.bias", "bn.weight", "bn.bias")
    ]
    assert len(names) == 7
    with torch.no_grad():
        model.trunk.top.conv.conv.weight += 1
        model.head[-1].weight += 1
        model.trunk.stem.bn.running_mean += 1
    assert penalty.penalty().item() == 0.0
    with torch.no_grad():
        model.trunk.stem.bn.bias += 2  # eight numbers
    assert penalty.penalty().item() == pytest.approx(8 * 4)


def test_a_resumed_run_has_the_same_anchor(tmp_path):
    model, penalty = anchored()
    save_file(penalty.state_dict(), tmp_path / "anchor.safetensors")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    resumed = L2SP(model, penalty.names, 0.25)  # made from weights that have moved
    assert resumed.penalty().item() == 0.0
    resumed.load_state_dict(load_file(tmp_path / "anchor.safetensors"))
    assert resumed.penalty().item() == penalty.penalty().item() > 0
    assert len(penalty.state_dict()) == 21 * 2 + 20 * 2
    assert list(penalty.parameters()) == []


def test_frozen_weights_are_not_penalised():
    model, penalty = anchored()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    settings = training("head_then_full")
    head, full = phases(model, settings)
    apply_phase(model, head, settings)
    nothing = penalty.penalty()
    assert (nothing.item(), nothing.requires_grad) == (0.0, False)
    apply_phase(model, full, settings)
    assert penalty.penalty().item() > 0


def test_under_adapters_their_effect_is_penalised():
    model, penalty = anchored(2.0)
    attach_adapters(model.trunk, "lora", rank=2, alpha=6.0)
    settings = training("lora", adapter_rank=2, adapter_alpha=6.0)
    apply_phase(model, phases(model, settings)[0], settings)
    assert penalty.penalty().item() == 0.0
    adapter = model.trunk.top.conv.conv.parametrizations.weight[0]
    with torch.no_grad():
        adapter.b += 0.5
    update = 3.0 * (adapter.b @ adapter.a)
    assert penalty.penalty().item() == pytest.approx(2.0 * update.pow(2).sum().item(), rel=1e-5)
    penalty.penalty().backward()
    assert adapter.b.grad.abs().sum() > 0
    assert model.trunk.top.conv.conv.parametrizations.weight.original.grad is None


def test_the_anchor_follows_the_weights_to_their_device():
    model, penalty = anchored()
    model.to("meta")
    assert penalty.penalty().device.type == "meta"
    assert {buffer.device.type for buffer in penalty.buffers()} == {"meta"}


def test_without_transferred_weights_there_is_nothing_to_stay_close_to():
    with pytest.raises(ChromTransferError, match="l2_sp: no pre-trained weight to stay close to"):
        L2SP(make(), ["trunk.stem.bn.running_mean"], 1.0)
