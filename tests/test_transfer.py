"""Transfer of the trunk, and what each way of fine-tuning leaves untouched, bit for bit."""

from __future__ import annotations

import pytest
import torch

from chromtransfer_plugin.checkpoint import Card, save_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.training import l2_groups
from chromtransfer_plugin.transfer import fine_tuning_model, set_trainable, train_mode, transfer_trunk

TRUNK_TENSORS = 21 * 2 + 20 * 5  # convolutions; norms: gamma, beta, mean, variance, batches seen


def make(head=(16, 8), head_bn=True, seed=1, width=0.125, **settings) -> ChromTransfer:
    torch.manual_seed(seed)
    return ChromTransfer(width=width, head=head, head_bn=head_bn, **settings)


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: torch.nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.fixture
def source() -> ChromTransfer:
    """A pre-trained network whose statistics are not those of a new one."""
    model = make(seed=5)
    model.train()(torch.randn(4, 4, 50))
    return model


def test_every_bit_of_the_trunk_is_copied_and_nothing_of_the_head(source):
    target = make(head=(4,), head_bn=False, seed=2)
    before = snapshot(target)
    names = transfer_trunk(source, target)
    assert set(names) == {name for name in before if name.startswith("trunk.")}
    assert len(names) == TRUNK_TENSORS
    for name in names:
        assert torch.equal(target.state_dict()[name], source.state_dict()[name]), name
    assert not any(name.startswith("head.") for name in changed(before, target))
    assert "trunk.last_conv.conv.weight" in changed(before, target)
    assert "trunk.stem.bn.running_mean" in changed(before, target)
    target.trunk.stem.conv.conv.weight.data.zero_()
    assert source.trunk.stem.conv.conv.weight.any()  # a copy, not the same tensor


def test_transferred_features_are_those_of_the_source(source):
    target = make(head=(4,), seed=2)
    transfer_trunk(source, target)
    X = torch.randn(2, 4, 60)
    with torch.no_grad():
        assert torch.equal(target.eval().features(X), source.eval().features(X))


def test_widths_must_agree(source):
    target = make(width=0.25)
    before = snapshot(target)
    with pytest.raises(
        ChromTransferError, match=r"trunk has width 0\.125, the new model 0\.25.*same `width`"
    ):
        transfer_trunk(source, target)
    assert changed(before, target) == set()


@pytest.mark.parametrize(("trainable", "n_trainable"), [("full", 21 * 2 + 20 * 2 + 4), ("head", 4)])
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


def take_steps(model: ChromTransfer, trainable: str, trunk_bn: str, steps: int = 3) -> set[str]:
    """Names of the tensors that change in some steps of training."""
    set_trainable(model, trainable)
    optimizer = torch.optim.Adam(l2_groups(model, 1e-4), lr=0.01)
    before = snapshot(model)
    for step in range(steps):
        train_mode(model, trainable, trunk_bn)
        torch.manual_seed(step)
        loss = BinaryLoss()(model(torch.randn(8, 4, 60)), torch.randint(0, 2, (8, 1)).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return changed(before, model)


def names(model: ChromTransfer, part: str, statistics: bool) -> set[str]:
    """Weights, or statistics of batch norm, of the trunk or the head."""
    buffers = {name for name, _ in model.named_buffers()}
    return {n for n in model.state_dict() if n.startswith(f"{part}.") and (n in buffers) == statistics}


@pytest.mark.parametrize("trunk_bn", ["train", "eval"])
def test_a_frozen_trunk_does_not_change_at_all(source, trunk_bn):
    moved = take_steps(source, "head", trunk_bn)
    assert moved == names(source, "head", False) | names(source, "head", True)


def test_fixed_statistics_with_learning_weights(source):
    moved = take_steps(source, "full", "eval")
    assert names(source, "trunk", True) & moved == set()
    assert moved == names(source, "trunk", False) | names(source, "head", False) | names(source, "head", True)


def test_full_training_moves_everything(source):
    assert take_steps(source, "full", "train") == set(source.state_dict())


@pytest.mark.parametrize(
    ("trainable", "trunk_bn", "noisy"), [("full", "train", True), ("full", "eval", False)]
)
def test_dropout_of_the_trunk_follows_its_mode(source, trainable, trunk_bn, noisy):
    train_mode(source, trainable, trunk_bn)
    X = torch.randn(4, 4, 60)
    assert torch.equal(source.features(X), source.features(X)) != noisy
    assert source.head.training


def test_freezing_can_be_undone(source):
    set_trainable(source, "head")
    assert not any(p.requires_grad for p in source.trunk.parameters())
    set_trainable(source, "full")
    assert all(p.requires_grad for p in source.parameters())
    with pytest.raises(ChromTransferError, match="trainable='all' is unknown: use 'full' or 'head'"):
        set_trainable(source, "all")


def test_a_frozen_trunk_has_no_decay_either(source):
    set_trainable(source, "head")
    groups = l2_groups(source, 1e-4)
    assert [group["weight_decay"] for group in groups] == [0.0]
    assert {id(p) for p in groups[0]["params"]} == {id(p) for p in source.head.parameters()}
