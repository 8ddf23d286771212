"""Named levels, cutting and transferring the trunk, and the report of what moved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transfer_cases import LEVELS, changed, make, pretrained, snapshot, statistics, weights

from chromtransfer_plugin.checkpoint import Card, load_model, save_model
from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models import chromtransfer
from chromtransfer_plugin.models.chromtransfer import ChromTransfer, level_of
from chromtransfer_plugin.transfer import TransferReport, fine_tuning_model, transfer_trunk, what_moved

TRUNK_TENSORS = 21 * 2 + 20 * 5  # convolutions; norms: gamma, beta, mean, variance, batches seen


@pytest.fixture
def source() -> ChromTransfer:
    return pretrained()


# --- levels ----------------------------------------------------------------------------------------------


def test_levels_are_the_trunks_parts_from_input_to_output():
    model = make()
    assert chromtransfer.LEVELS == LEVELS == tuple(model.levels())
    owners = {id(p): name for name, level in model.levels().items() for p in level.parameters()}
    assert len(owners) == 21 * 2 + 20 * 2
    for name, parameter in model.named_parameters():
        assert level_of(name) == owners.get(id(parameter), "head")
    assert level_of("trunk.narrow.2.b.bn.running_mean") == "narrow.2"
    with pytest.raises(ChromTransferError, match=r"'trunk\.pool' is not the name of a tensor"):
        level_of("trunk.pool")


@pytest.mark.parametrize(
    ("cut", "features", "parameters", "kernels"),
    [  # spec 1.3, summed from the input; statistics count as Keras counts them
        ("stem", 64, 6_720, 1),
        ("reduce", 32, 109_600, 4),
        ("narrow.0", 32, 140_640, 6),
        ("narrow.1", 32, 171_680, 8),
        ("narrow.2", 32, 202_720, 10),
        ("expand", 64, 367_520, 13),
        ("wide.0", 64, 409_120, 15),
        ("wide.1", 64, 450_720, 17),
        ("wide.2", 64, 492_320, 19),
        ("top", 64, 533_600, 20),
        ("last_conv", 64, 554_144, 20),
    ],
)
def test_sizes_of_cut_networks(cut, features, parameters, kernels):
    trunk = ChromTransfer(cut=cut, head=()).trunk
    tensors = dict(trunk.state_dict())
    assert sum(t.numel() for name, t in tensors.items() if "num_batches" not in name) == parameters
    model = ChromTransfer(cut=cut, head=(7,))
    assert model.head[0].linear.in_features == features == model.trunk.n_features
    assert len(list(model.l2_kernels())) == kernels


def test_the_whole_network_is_the_default_and_its_start_does_not_depend_on_the_cut():
    assert Architecture().cut == "last_conv"
    whole, cut = make().state_dict(), make(cut="expand").state_dict()
    assert [name for name in whole if name in cut] == list(cut)
    trunk = [name for name in cut if name.startswith("trunk.")]
    assert all(torch.equal(whole[name], cut[name]) for name in trunk)


@pytest.mark.parametrize("cut", LEVELS)
def test_a_cut_network_gives_the_pooled_output_of_its_level(source, cut):
    """Inside narrow.* that is the output of the block, without the concatenation."""
    target = make(head=(4,), seed=2, cut=cut).eval()
    names = transfer_trunk(source, target)
    assert set(names) == {name for name in target.state_dict() if name.startswith("trunk.")}
    seen = {}
    source.levels()[cut].register_forward_hook(lambda _m, _x, y: seen.update(y=y))
    X = torch.randn(2, 4, 60)
    with torch.no_grad():
        source(X)
        y = seen["y"].relu() if cut == "last_conv" else seen["y"]
        torch.testing.assert_close(target.features(X), y.mean(dim=2), rtol=0, atol=1e-6)
        assert torch.equal(target(X), target.head(target.features(X)))
    assert y.std() > 0.01


def test_a_cut_network_can_be_saved_and_loaded(tmp_path):
    model = pretrained(cut="narrow.1", n_outputs=3)
    save_model(model, tmp_path / "m", Card(architecture=model.architecture, outputs=["a", "b", "c"]))
    loaded, card = load_model(tmp_path / "m")
    assert (card.architecture.cut, list(loaded.levels())) == ("narrow.1", list(LEVELS[:4]))
    X = torch.randn(2, 4, 40)
    with torch.no_grad():
        assert torch.equal(loaded(X), model(X))


def test_an_unknown_cut_is_named():
    with pytest.raises(ChromTransferError, match=r"cut='narrow' is not usable: .*'narrow\.0'"):
        make(cut="narrow")


# --- transfer --------------------------------------------------------------------------------------------


def test_every_bit_of_the_trunk_is_copied_and_nothing_of_the_head(source):
    target = make(head=(4,), head_bn=False, seed=2)
    before = snapshot(target)
    names = transfer_trunk(source, target)
    assert names == [name for name in before if name.startswith("trunk.")]
    assert len(names) == TRUNK_TENSORS
    for name in names:
        assert torch.equal(target.state_dict()[name], source.state_dict()[name]), name
    assert not any(name.startswith("head.") for name in changed(before, target))
    assert "trunk.last_conv.conv.weight" in changed(before, target)
    assert "trunk.stem.bn.running_mean" in changed(before, target)
    target.trunk.stem.conv.conv.weight.data.zero_()
    assert source.trunk.stem.conv.conv.weight.any()  # a copy, not the same tensor


@pytest.mark.parametrize("upto", ["stem", "narrow.1", "top"])
def test_levels_above_a_named_one_start_anew(source, upto):
    target = make(seed=2)
    before = snapshot(target)
    names = transfer_trunk(source, target, upto)
    kept = LEVELS[: LEVELS.index(upto) + 1]
    assert set(names) == weights(target, *kept) | statistics(target, *kept)
    assert changed(before, target) == set(names)  # the source differs from a new network everywhere
    assert all(torch.equal(target.state_dict()[name], source.state_dict()[name]) for name in names)


def test_transferred_features_are_those_of_the_source(source):
    target = make(head=(4,), seed=2)
    transfer_trunk(source, target)
    X = torch.randn(2, 4, 60)
    with torch.no_grad():
        assert torch.equal(target.eval().features(X), source.eval().features(X))


@pytest.mark.parametrize(
    ("given", "new", "upto", "message"),
    [
        ({}, {"width": 0.25}, None, r"trunk has width 0\.125, the new model 0\.25.*same `width`"),
        (
            {"cut": "expand"},
            {},
            None,
            r"ends after 'expand', it has no 'last_conv'\..*\(upto\).*`cut: expand`",
        ),
        ({"cut": "expand"}, {}, "top", "ends after 'expand', it has no 'top'"),
        ({}, {"cut": "stem"}, "top", r"the new model ends after 'stem' \(cut\), it has no 'top'"),
        ({}, {}, "pool", "level 'pool' is unknown: use one of stem, reduce"),
    ],
)
def test_trunks_that_do_not_fit_are_refused_and_nothing_is_copied(given, new, upto, message):
    target = make(**new)
    before = snapshot(target)
    with pytest.raises(ChromTransferError, match=message):
        transfer_trunk(make(seed=3, **given), target, upto)
    assert changed(before, target) == set()


def test_a_cut_source_feeds_the_lower_levels_of_a_whole_network():
    target = make(seed=2)
    names = transfer_trunk(pretrained(cut="reduce"), target, "reduce")
    assert set(names) == weights(target, "stem", "reduce") | statistics(target, "stem", "reduce")


# --- report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trainable", "n_trainable"),
    [
        ("full", 21 * 2 + 20 * 2 + 4),
        ("head", 4),
        ("head_then_full", 4),
        ("gradual", 4),
        ("bitfit", 4 + 21 + 20),
        ("lora", 4),
        ("ia3", 4),
    ],
)
def test_report_lists_every_tensor_once(source, tmp_path, trainable, n_trainable):
    save_model(source, tmp_path / "m", Card(architecture=source.architecture, outputs=["open"]))
    target = make(head=(8,), head_bn=False)
    report = fine_tuning_model(tmp_path / "m", target, trainable)
    assert [*report.transferred, *report.new] == list(target.state_dict())
    assert report.new == ["head.0.linear.weight", "head.0.linear.bias", "head.1.weight", "head.1.bias"]
    assert report.trainable == [name for name, p in target.named_parameters() if p.requires_grad]
    assert len(report.trainable) == n_trainable
    summary = report.summary()
    assert f"{TRUNK_TENSORS} tensors transferred, 4 new, {n_trainable} trainable" in summary
    assert "new: head.0.linear.weight, head.0.linear.bias" in summary
    assert str(tmp_path / "m") in summary


def test_a_report_up_to_a_level(source, tmp_path):
    save_model(source, tmp_path / "m", Card(architecture=source.architecture, outputs=["open"]))
    target = make(head=())
    report = fine_tuning_model(tmp_path / "m", target, "full", upto="stem")
    assert report.transferred == [name for name in target.state_dict() if name.startswith("trunk.stem.")]
    assert len(report.transferred) == 7
    assert report.new[0] == "trunk.reduce.a.conv.conv.weight"
    with pytest.raises(
        ChromTransferError, match="trainable='all' is unknown: use one of full, head, head_then_full"
    ):
        fine_tuning_model(tmp_path / "m", target, "all")


def test_what_moved_sees_every_bit_of_parameters_and_buffers():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        net[0].weight[0, 0] = math.nan  # equal to itself, bit for bit
        net[0].bias[:] = 0.0
        net[1].weight[1] = 1.0
    before = snapshot(net)
    assert what_moved(before, net.state_dict()).moved == []
    with torch.no_grad():
        net[0].bias[1] = -0.0  # equal as numbers
        net[1].weight[1] = math.nextafter(1.0, 2.0) + 2**-23  # the next float32
        net[1].num_batches_tracked += 1
    moved, unmoved = what_moved(before, net.state_dict())
    assert moved == ["0.bias", "1.weight", "1.num_batches_tracked"]
    assert unmoved == ["0.weight", "1.bias", "1.running_mean", "1.running_var"]


def test_what_moved_refuses_other_tensors():
    state = {"a": torch.zeros(2), "b": torch.zeros(1)}
    with pytest.raises(ChromTransferError, match="'b' is missing after training: merge or detach adapters"):
        what_moved(state, {"a": torch.zeros(2)})
    with pytest.raises(ChromTransferError, match="'b' is missing before training"):
        what_moved({"a": torch.zeros(2)}, state)
    with pytest.raises(
        ChromTransferError, match=r"'b' was \(1,\) torch.float32 and is \(1,\) torch.float64 now"
    ):
        what_moved(state, state | {"b": torch.zeros(1, dtype=torch.float64)})


def test_the_summary_joins_levels_of_which_the_same_is_true():
    model = make()
    before = snapshot(model)
    after = snapshot(model)
    for name in after:
        if name.startswith(("head.", "trunk.top.", "trunk.wide.2.")) or name == "trunk.stem.conv.conv.bias":
            after[name] = after[name] + 1
    assert what_moved(before, after).summary().splitlines() == [
        "38 of 158 tensors moved (compared bit for bit)",
        "  trunk stem: 1 of 4 weights moved, no batch-norm statistics moved",
        "  trunk reduce to wide.1: no weights moved, no batch-norm statistics moved",
        "  trunk wide.2 to top: all weights moved, all batch-norm statistics moved",
        "  trunk last_conv: no weights moved",
        "  head: all weights moved, all batch-norm statistics moved",
    ]


def test_the_transfer_summary_counts_what_is_frozen():
    report = TransferReport("m", ["trunk.a", "trunk.b"], ["head.c"], ["head.c"])
    assert report.summary().splitlines()[0] == (
        "transfer from m: 2 tensors transferred, 1 new, 1 trainable at the start, 2 not (frozen weights and statistics)"
    )
