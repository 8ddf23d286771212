"""Adapters: attaching and detaching change nothing, merging changes nothing but the names, files fit one base."""

from __future__ import annotations

import copy
import errno

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transfer_cases import make, pretrained, snapshot, take_steps, training

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.transfer import (
    adapter_files,
    adapter_state,
    adapters_of,
    apply_phase,
    attach_adapters,
    detach_adapters,
    load_adapter_file,
    load_adapters,
    merge_adapters,
    merged_copy,
    phases,
    save_adapters,
    train_mode,
    what_moved,
)
from chromtransfer_plugin.transfer.adapters import base_state

TENSORS = {"lora": ("a", "b"), "ia3": ("scale",)}
KINDS = tuple(TENSORS)


def adapted(kind: str, seed: int = 0, rank: int = 3, alpha: float = 6.0, **settings) -> ChromTransfer:
    """A pre-trained network with adapters that have learnt something."""
    model = pretrained(**settings)
    attach_adapters(model, kind, rank, alpha)
    shake(model, seed)
    return model


def shake(module: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for adapter in adapters_of(module).values():
            for parameter in adapter.parameters():
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)


def sequences(seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(4)[torch.randint(0, 4, (4, 90), generator=generator)].transpose(1, 2)


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(sequences())


# --- attach ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_attaching_changes_no_bit_of_the_output_and_adapts_the_21_convolutions(kind):
    model = pretrained()
    before = logits(model)
    names = attach_adapters(model, kind)
    convolutions = [name for name, module in model.trunk.named_modules() if isinstance(module, nn.Conv1d)]
    assert names == list(adapters_of(model)) == [f"trunk.{name}" for name in convolutions]
    assert len(names) == 21
    assert torch.equal(logits(model), before)
    learning = {
        name for name, p in model.named_parameters() if p.requires_grad and name.startswith(tuple(names))
    }
    assert learning == {f"{name}.parametrizations.weight.0.{t}" for name in names for t in TENSORS[kind]}
    shake(model)
    assert (logits(model) - before).abs().max() > 0.01


def test_low_rank_update_is_two_convolutions_beside_the_first():
    """LoCon: a convolution to `rank` channels, then one of kernel size 1, times alpha / rank."""
    torch.manual_seed(0)
    conv = nn.Conv1d(5, 7, 4).double()
    plain = copy.deepcopy(conv)
    attach_adapters(conv, "lora", rank=2, alpha=5.0)
    adapter = adapters_of(conv)[""]
    assert (adapter.a.shape, adapter.b.shape) == ((2, 20), (7, 2))
    assert not adapter.b.any()
    assert adapter.a.abs().min() > 0
    shake(conv)
    X = torch.randn(3, 5, 20, dtype=torch.float64)
    down = functional.conv1d(X, adapter.a.view(2, 5, 4))
    torch.testing.assert_close(conv(X), plain(X) + 2.5 * functional.conv1d(down, adapter.b.view(7, 2, 1)))


def test_low_rank_update_of_a_linear_layer():
    layer = nn.Linear(6, 3).double()
    plain = copy.deepcopy(layer)
    attach_adapters(layer, "lora", rank=2, alpha=1.0)
    shake(layer)
    adapter = adapters_of(layer)[""]
    X = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(X), plain(X) + 0.5 * (X @ adapter.a.T @ adapter.b.T))


@pytest.mark.parametrize("layer", [nn.Conv1d(5, 7, 4), nn.Conv1d(5, 7, 4, bias=False), nn.Linear(5, 7)])
def test_ia3_scales_the_output_channels_bias_included(layer):
    layer = copy.deepcopy(layer).double()
    plain = copy.deepcopy(layer)
    attach_adapters(layer, "ia3")
    scale = adapters_of(layer)[""].scale
    assert torch.equal(scale, torch.ones(7, dtype=torch.float64))
    shake(layer)
    X = (
        torch.randn(3, 5, 20, dtype=torch.float64)
        if isinstance(layer, nn.Conv1d)
        else torch.randn(3, 5).double()
    )
    by_channel = scale.view(-1, 1) if isinstance(layer, nn.Conv1d) else scale
    torch.testing.assert_close(layer(X), plain(X) * by_channel)


def test_layers_can_be_chosen_and_dense_ones_too():
    model = pretrained()
    where = ["head.0.linear", "trunk.top.conv.conv"]
    assert attach_adapters(model, "lora", 2, 2.0, where) == where
    assert set(adapters_of(model)) == set(where)
    assert set(adapter_state(model)) == {f"{name}.{tensor}" for name in where for tensor in ("a", "b")}
    plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Conv1d(3, 3, 1))
    assert attach_adapters(plain, "ia3") == ["0", "2"]


def test_mistakes_are_named_and_nothing_is_attached():
    model = make()
    for arguments, message in [
        (("dora",), "kind 'dora' is unknown: use lora or ia3"),
        (("lora", 0), "rank=0"),
        (("lora", 2, 0.0), "alpha=0.0"),
        (
            ("lora", 2, 1.0, ["trunk.stem.conv.conv", "trunk.stem.bn"]),
            "'trunk.stem.bn' is not a convolution or dense",
        ),
    ]:
        with pytest.raises(ChromTransferError, match=message):
            attach_adapters(model, *arguments)
        assert adapters_of(model) == {}
    attach_adapters(model, "ia3", where=["trunk.stem.conv.conv"])
    with pytest.raises(ChromTransferError, match=r"'trunk\.stem\.conv\.conv' carries an adapter already"):
        attach_adapters(model, "lora")
    assert list(adapters_of(model)) == ["trunk.stem.conv.conv"]


# --- merge and detach ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_a_plain_network_with_the_same_output(kind):
    model, plain = adapted(kind), pretrained()
    base = logits(plain)
    before = logits(model)
    assert (before - base).abs().max() > 0.01
    state = adapter_state(model)
    assert merge_adapters(model) == [name for name, m in model.named_modules() if type(m) is nn.Conv1d]
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-6)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]
    layer = "trunk.top.conv.conv"
    kernel = plain.trunk.top.conv.conv.weight
    if kind == "lora":
        update = torch.einsum("or,ri->oi", state[f"{layer}.b"], state[f"{layer}.a"]).view_as(kernel)
        wanted = kernel + 6.0 / 3 * update
    else:
        wanted = kernel * state[f"{layer}.scale"][:, None, None]
    torch.testing.assert_close(model.trunk.top.conv.conv.weight, wanted)
    assert merge_adapters(model) == []


@pytest.mark.parametrize("kind", KINDS)
def test_detaching_gives_every_bit_of_the_base_back(kind):
    model = pretrained()
    with torch.no_grad():
        model.trunk.top.conv.conv.weight[0, 0, 0] = -0.0
    before, kernel = snapshot(model), model.trunk.stem.conv.conv.weight
    attach_adapters(model, kind)
    settings = training(kind)
    take_steps(model, phases(model, settings)[0], settings)
    model.head.load_state_dict({n[5:]: t for n, t in before.items() if n.startswith("head.")})
    assert len(detach_adapters(model)) == 21
    assert list(model.state_dict()) == list(before)
    assert what_moved(before, model.state_dict()).moved == []
    assert model.trunk.stem.conv.conv.weight is kernel  # what an optimiser holds
    assert type(model.trunk.stem.conv.conv) is nn.Conv1d


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_copy_does_not_disturb_training(kind):
    """torch's own removal of a parametrization from a deep copy breaks the network it was copied from."""

    names = list(make().state_dict())

    def train(save: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        model, settings = pretrained(), training(kind)
        attach_adapters(model.trunk, kind)
        phase = phases(model, settings)[0]
        apply_phase(model, phase, settings)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
        torch.manual_seed(0)
        for _ in range(3):
            train_mode(model, phase, settings)
            model(sequences()).pow(2).mean().backward()
            optimizer.step()
            if save:
                copied = merged_copy(model)
                torch.testing.assert_close(logits(copied), logits(model), rtol=0, atol=1e-6)
                assert list(copied.state_dict()) == names
        return model.state_dict(), torch.rand(1)

    (undisturbed, draw), (disturbed, same_draw) = train(False), train(True)
    assert what_moved(undisturbed, disturbed).moved == []
    assert torch.equal(draw, same_draw)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deep_copy_has_adapters_of_its_own(kind):
    model = adapted(kind)
    before = logits(model)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied), before)
    shake(copied, seed=9)
    assert torch.equal(logits(model), before)
    torch.testing.assert_close(logits(merged_copy(copied)), logits(copied), rtol=0, atol=1e-6)
    layer = copied.trunk.stem.conv.conv
    if kind == "ia3":  # the bias follows the copy's scale, not the original's
        scale = adapters_of(copied)["trunk.stem.conv.conv"].scale
        torch.testing.assert_close(layer.bias, layer.parametrizations.bias.original * scale)
    assert (logits(copied) - before).abs().max() > 1e-3
    detach_adapters(copied)
    assert torch.equal(logits(model), before)


def test_a_network_without_adapters_is_copied_as_it_is():
    model = pretrained()
    copied = merged_copy(model)
    assert what_moved(snapshot(model), copied.state_dict()).moved == []
    assert copied.head[-1].weight is not model.head[-1].weight


# --- state and files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_state_is_small_and_restores_the_adapters(kind):
    model = adapted(kind)
    state = adapter_state(model)
    n = sum(p.numel() for a in adapters_of(model).values() for p in a.parameters())
    assert sum(t.numel() for t in state.values()) == n
    other = pretrained()
    attach_adapters(other, kind, 3, 6.0)
    load_adapters(other, state)
    assert torch.equal(logits(other), logits(model))
    shake(model)
    assert torch.equal(logits(other), logits(load_into(pretrained(), kind, state)))  # a copy, not a view


def load_into(model: ChromTransfer, kind: str, state: dict[str, torch.Tensor]) -> ChromTransfer:
    attach_adapters(model, kind, 3, 6.0)
    load_adapters(model, state)
    return model


def test_state_of_other_adapters_is_refused():
    state = adapter_state(adapted("lora"))
    for other, message in [
        (make(), "'trunk.stem.conv.conv.a' belongs to no adapter"),
        (adapted("lora", rank=2), r"'trunk.stem.conv.conv.a' has shape \(3, 100\), expected \(2, 100\)"),
        (adapted("ia3"), "'trunk.stem.conv.conv.scale' is missing"),
    ]:
        before = snapshot(other)
        with pytest.raises(ChromTransferError, match=message):
            load_adapters(other, state)
        assert what_moved(before, other.state_dict()).moved == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_adapters_and_head_and_gives_the_network_back(kind, tmp_path):
    model, base = adapted(kind, head=(5,)), pretrained(head=(5,))
    with torch.no_grad():
        model.head[-1].bias += 1
    path = save_adapters(model, tmp_path / "a.safetensors", trained_on="HEPG2")
    metadata = load_adapter_file(base, path)
    assert torch.equal(logits(base), logits(model))
    assert (metadata["kind"], metadata["trained_on"]) == (kind, "HEPG2")
    assert metadata.get("rank") == ("3" if kind == "lora" else None)
    assert what_moved(model.state_dict(), base.state_dict()).moved == []
    assert set(load_file(path)) == {f"adapter.{name}" for name in adapter_state(model)} | {
        name for name in model.state_dict() if name.startswith("head.")
    }
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    save_file(model.state_dict(), tmp_path / "whole.safetensors")  # no tensor appears twice


def test_the_papers_adapters_take_a_tenth_of_the_trunk():
    model = ChromTransfer()
    attach_adapters(model, "lora", rank=4)
    assert sum(t.numel() for t in adapter_state(model).values()) == 50_704
    assert sum(t.numel() for t in base_state(model.trunk).values()) == 554_144 + 20


@pytest.mark.parametrize("tensor", ["trunk.top.conv.conv.weight", "trunk.stem.bn.running_var"])
def test_another_base_is_refused(tensor, tmp_path):
    save_adapters(adapted("lora"), tmp_path / "a.safetensors")
    other = pretrained()
    with torch.no_grad():
        other.state_dict()[tensor].view(-1)[0] += 1e-3
    before = snapshot(other)
    with pytest.raises(
        ChromTransferError, match=r"a\.safetensors: these adapters were trained on another network"
    ):
        load_adapter_file(other, tmp_path / "a.safetensors")
    assert what_moved(before, other.state_dict()).moved == []


def test_another_head_is_refused_and_nothing_stays_attached(tmp_path):
    save_adapters(adapted("ia3"), tmp_path / "a.safetensors")
    other = pretrained()
    other.head = make(head=(3, 8)).head
    before = snapshot(other)
    with pytest.raises(
        ChromTransferError,
        match=r"a\.safetensors \(head\): the weights belong to another .*'0.linear.weight' has shape",
    ):
        load_adapter_file(other, tmp_path / "a.safetensors")
    assert what_moved(before, other.state_dict()).moved == []


def test_a_trunk_alone_can_be_saved(tmp_path):
    model, base = adapted("lora"), pretrained()
    save_adapters(model.trunk, tmp_path / "a.safetensors")
    load_adapter_file(base.trunk, tmp_path / "a.safetensors")
    assert torch.equal(logits(base), logits(model))
    with pytest.raises(ChromTransferError, match="trained on another network"):
        load_adapter_file(pretrained(), tmp_path / "a.safetensors")


def test_files_that_are_not_adapters(tmp_path):
    good = save_adapters(adapted("ia3"), tmp_path / "a.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-100])
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, message in [
        ("cut", "cannot be read as a file of adapters"),
        ("missing", "cannot be read as a file of adapters"),
        ("other", "not a file of adapters"),
    ]:
        model = pretrained()
        with pytest.raises(ChromTransferError, match=rf"{name}\.safetensors: {message}"):
            load_adapter_file(model, tmp_path / f"{name}.safetensors")
        assert adapters_of(model) == {}


def test_saving_needs_adapters_of_one_kind(tmp_path):
    model = make()
    with pytest.raises(
        ChromTransferError, match="expected adapters of one kind to save, the network carries none"
    ):
        save_adapters(model, tmp_path / "a.safetensors")
    attach_adapters(model, "ia3", where=["trunk.stem.conv.conv"])
    attach_adapters(model, "lora", 2, 2.0, ["trunk.top.conv.conv"])
    with pytest.raises(ChromTransferError, match="carries ia3, lora, rank 2, alpha 2"):
        save_adapters(model, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_file_before(tmp_path, monkeypatch):
    path = save_adapters(adapted("ia3"), tmp_path / "a.safetensors")
    before = path.read_bytes()

    def full(tensors, temporary, metadata):
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(adapter_files, "save_file", full)
    with pytest.raises(ChromTransferError, match="no room left on the disk"):
        save_adapters(adapted("ia3", seed=4), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


# --- with the rest of torch ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_into_one_graph(kind):
    model = adapted(kind, cut="narrow.0")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(logits(compiled), logits(model), rtol=0, atol=1e-5)
    torch.compiler.reset()


@pytest.mark.parametrize("kind", KINDS)
def test_trains_under_distributed_data_parallel(kind, tmp_path):
    model, settings = adapted(kind), training(kind, adapter_rank=3, adapter_alpha=6.0)
    alone = copy.deepcopy(model)
    for network in (model, alone):
        phase = phases(network, settings)[0]
        apply_phase(network, phase, settings)
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        parallel = nn.parallel.DistributedDataParallel(model)
        parallel(sequences()).pow(2).mean().backward()
    finally:
        torch.distributed.destroy_process_group()
    alone(sequences()).pow(2).mean().backward()
    wanted = {name: p.grad for name, p in alone.named_parameters() if p.requires_grad}
    assert len(wanted) == (42 if kind == "lora" else 21) + 2 * 4 + 2
    for name, parameter in model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-7)
        else:
            assert parameter.grad is None
