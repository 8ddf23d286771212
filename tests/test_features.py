"""Cached features of a frozen trunk: those of the network, and the same fit of a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from motif_cases import network
from transfer_cases import pretrained, snapshot, training

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.onehot import one_hot_tensor
from chromtransfer_plugin.transfer import (
    FeatureStore,
    apply_phase,
    cached_features,
    parameter_groups,
    phases,
    train_mode,
    what_moved,
)


def windows(n: int = 50, length: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (n, length)).astype(np.uint8)


def test_features_are_those_of_the_network_in_evaluation_mode():
    model, codes = pretrained(), windows()
    with torch.no_grad():
        wanted = model.eval().features(one_hot_tensor(torch.from_numpy(codes)))
    model.train()
    features = cached_features(model, codes, "cpu")
    assert (features.shape, features.dtype) == ((50, 8), torch.float32)
    torch.testing.assert_close(features, wanted, rtol=0, atol=1e-6)
    assert (wanted.std(dim=0) > 1e-3).sum() >= 6  # of 8; a ReLU may be closed for all windows
    assert all(module.training for module in model.modules())


def test_a_head_can_be_trained_on_the_whole_tensor():
    """Tensors made in inference mode would be refused by autograd."""
    model = pretrained()
    features = cached_features(model, windows())
    assert not features.is_inference()
    model.head(features).sum().backward()
    assert model.head[0].linear.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("batch_size", [1, 7, 50, 500])
def test_batch_size_and_kind_of_array_do_not_matter(batch_size):
    model, codes = pretrained(), windows()
    features = cached_features(model, torch.from_numpy(codes), batch_size=batch_size)
    torch.testing.assert_close(features, cached_features(model, codes), rtol=0, atol=5e-6)


def test_the_network_is_not_touched():
    model = pretrained()
    model.train()
    before = snapshot(model)
    cached_features(model, windows())
    assert what_moved(before, model.state_dict()).moved == []
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def fit(cached: bool, head_bn: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Three epochs of the head with dropout 0.3; the same seed and order of windows whichever path."""
    model, settings = pretrained(dropout=0.3, head_bn=head_bn), training("head")
    phase = phases(model, settings)[0]
    apply_phase(model, phase, settings)
    optimizer = torch.optim.Adam(parameter_groups(model, phase, settings), eps=settings.adam_eps)
    codes = torch.from_numpy(windows())
    targets = (codes == 2).float().mean(dim=1, keepdim=True).gt(0.2).float()
    features = cached_features(model, codes) if cached else None
    torch.manual_seed(0)
    losses = []
    for epoch in range(3):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(50))
        train_mode(model, phase, settings)
        for rows in order.split(16):
            X = one_hot_tensor(codes[rows])
            output = model(X) if features is None else model.head(features[rows])
            loss = BinaryLoss()(output, targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return snapshot(model), losses


@pytest.mark.parametrize("head_bn", [True, False])
def test_fitting_a_head_on_cached_features_is_the_same_fit(head_bn):
    start = snapshot(pretrained(dropout=0.3, head_bn=head_bn))
    (uncached, losses), (cached, same_losses) = fit(False, head_bn), fit(True, head_bn)
    assert losses == pytest.approx(same_losses, abs=1e-6)
    for name, tensor in cached.items():
        torch.testing.assert_close(tensor, uncached[name], rtol=0, atol=1e-6)
    moved = what_moved(start, cached).moved
    assert moved == [name for name in start if name.startswith("head.")]
    assert (cached["head.0.linear.weight"] - start["head.0.linear.weight"]).abs().max() > 0.01


def test_no_windows_give_no_features():
    assert cached_features(pretrained(), windows(0)).shape == (0, 8)


@pytest.mark.parametrize("codes", [np.zeros((2, 4, 60), np.uint8), np.zeros((2, 60), np.float32)])
def test_other_arrays_are_refused(codes):
    with pytest.raises(ChromTransferError, match=r"features: expected \(N, L\) uint8 base codes, got"):
        cached_features(pretrained(), codes)


def test_progress_is_shown_on_request(capsys):
    cached_features(pretrained(), windows(), batch_size=25, progress=True)
    assert "features: 100%" in capsys.readouterr().err
    cached_features(pretrained(), windows())
    assert capsys.readouterr().err == ""


# --- the store -------------------------------------------------------------------------------------------------

CPU = torch.device("cpu")


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """How many windows each call of ``cached_features`` was given."""
    from chromtransfer_plugin.transfer import features

    calls: list[int] = []

    def counting(model, codes, *args, **kwargs):
        calls.append(len(codes))
        return cached_features(model, codes, *args, **kwargs)

    monkeypatch.setattr(features, "cached_features", counting)
    return calls


@pytest.mark.parametrize("make_model", [pretrained, network])
def test_the_store_computes_new_windows_only(computed, make_model):
    model, codes, store = make_model(), windows(), FeatureStore()
    wanted = cached_features(model, codes)
    for rows, new in [
        (np.arange(30), 30),
        (np.arange(30)[::-1], 0),
        (np.array([45, 3, 45, 31]), 2),  # a window that occurs twice is computed once
        (np.arange(50), 18),
        (np.arange(0), 0),
    ]:
        before = sum(computed)
        features = store.features(model, codes[rows], CPU)
        torch.testing.assert_close(features, wanted[rows.copy()], rtol=0, atol=5e-6)
        assert sum(computed) - before == new
    assert computed == [30, 2, 18]
    assert not features.is_inference()


def test_a_head_may_change_but_another_trunk_is_computed_anew(computed):
    model, codes, store = network(), windows(), FeatureStore()
    first = store.features(model, codes, CPU)
    with torch.no_grad():
        model.head[0].linear.weight += 1
    assert torch.equal(store.features(model, codes, CPU), first)
    assert torch.equal(store.features(network(2, head=[4]), codes, CPU), first)  # other head, the same motifs
    assert computed == [50]
    with torch.no_grad():
        model.trunk.get_submodule("bank.0.conv").bias[0] += 0.5
    changed = store.features(model, codes, CPU)
    assert computed == [50, 50]
    assert torch.equal(changed, cached_features(model, codes))
    assert not torch.equal(changed, first)


def test_statistics_are_part_of_the_trunk(computed):
    model, codes, store = pretrained(), windows(), FeatureStore()
    store.features(model, codes, CPU)
    model.trunk.stem.bn.running_mean += 0.1
    assert torch.equal(store.features(model, codes, CPU), cached_features(model, codes))
    assert computed == [50, 50]


def test_no_windows_may_come_first():
    assert FeatureStore().features(pretrained(), windows(0), CPU).shape == (0, 8)
