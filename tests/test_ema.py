"""Averaged weights: the recursion by hand, swapping and resuming bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.training.ema import AveragedWeights


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv1d(4, 3, 5), nn.ReLU(), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(18, 2))


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    assert a.keys() == b.keys()
    return {name for name in a if not torch.equal(a[name], b[name])}


def train_steps(model: nn.Module, average: AveragedWeights | None, n: int, seed: int = 0) -> None:
    """Steps that move every parameter which needs a gradient, and batch norm."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        optimizer.zero_grad()
        model(torch.randn(8, 4, 10, generator=generator)).square().mean().backward()
        optimizer.step()
        if average is not None:
            average.update(model)


def set_all(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def averaged(average: AveragedWeights, model: nn.Module) -> dict[str, torch.Tensor]:
    with average.swapped(model):
        return copies(model)


def test_the_recursion_by_hand():
    """Decays of the first steps: 1/10, 2/11, 3/12, then at most 0.2."""
    model = nn.Linear(2, 1)
    set_all(model, 1.0)
    average, value = AveragedWeights(model, 0.2), 1.0
    for new, decay in ((3.0, 1 / 10), (-2.0, 2 / 11), (5.0, 0.2), (0.5, 0.2)):
        set_all(model, new)
        average.update(model)
        value = decay * value + (1 - decay) * new
        torch.testing.assert_close(averaged(average, model)["weight"], torch.full((1, 2), value))
    assert average.steps == 4


def test_buffers_are_averaged_and_counters_copied():
    model = network()
    average = AveragedWeights(model, 0.9)
    train_steps(model, average, 1)
    own, mean = copies(model), averaged(average, model)
    torch.testing.assert_close(mean["2.running_mean"], 0.9 * own["2.running_mean"])  # from 0, decay 1/10
    torch.testing.assert_close(mean["2.running_var"], 0.1 + 0.9 * own["2.running_var"])
    assert mean["2.num_batches_tracked"] == own["2.num_batches_tracked"] == 1


def test_the_average_of_what_is_frozen_is_that_exactly():
    model = network()
    model[0].requires_grad_(False)
    model[2].eval().requires_grad_(False)
    average = AveragedWeights(model, 0.999)
    train_steps(model, average, 25)
    assert differing(averaged(average, model), copies(model)) == {"4.weight", "4.bias"}


@pytest.mark.parametrize("fails", [False, True])
def test_swapping_gives_the_average_and_then_the_own_weights_back(fails):
    model, fresh = network(), network(1)
    average = AveragedWeights(model, 0.9)
    train_steps(model, average, 3)
    parameters, own = list(model.parameters()), copies(model)
    gradients = [p.grad.clone() for p in parameters]
    with pytest.raises(OSError, match="disk full") if fails else torch.no_grad(), average.swapped(model):
        inside = copies(model)
        assert differing(inside, own) == own.keys() - {"2.num_batches_tracked"}
        model.load_state_dict(fresh.state_dict())  # whatever happens meanwhile is undone
        if fails:
            raise OSError("disk full")
    assert differing(copies(model), own) == set()
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(torch.equal(p.grad, g) for p, g in zip(parameters, gradients, strict=True))
    assert differing(averaged(average, model), inside) == set()


def test_averaging_does_not_touch_training():
    plain, model = network(), network()
    train_steps(plain, None, 5)
    average = AveragedWeights(model, 0.9)
    train_steps(model, average, 2)
    with average.swapped(model):
        pass
    # The same inputs as steps 3 to 5 of the plain run.
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        torch.randn(8, 4, 10, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4, 10, generator=generator)).square().mean().backward()
        optimizer.step()
        average.update(model)
    assert differing(copies(plain), copies(model)) == set()


def test_a_resumed_average_is_the_uninterrupted_one(tmp_path):
    from safetensors.torch import load_file, save_file

    model = network()
    whole = AveragedWeights(model, 0.95)
    train_steps(model, whole, 4)
    save_file(whole.state_dict(), tmp_path / "s.safetensors")
    weights = copies(model)
    train_steps(model, whole, 4, seed=1)
    again = network(5)
    resumed = AveragedWeights(again, 0.95)
    again.load_state_dict(weights)
    resumed.load_state_dict(load_file(tmp_path / "s.safetensors"))
    train_steps(again, resumed, 4, seed=1)
    assert resumed.steps == whole.steps == 8
    assert differing(averaged(resumed, again), averaged(whole, model)) == set()


def test_tied_weights_are_averaged_once():
    model = network()
    model.add_module("tied", model[4])
    average = AveragedWeights(model, 0.5)
    assert sum("weight" in name for name in average.state_dict()) == 3  # conv, bn, linear


@pytest.mark.parametrize("other", [nn.Linear(18, 2), nn.Sequential(*network()[:4], nn.Linear(18, 3))])
def test_the_average_of_another_network_is_refused(other):
    average = AveragedWeights(network(), 0.9)
    before = {k: v.clone() for k, v in average.state_dict().items()}
    with pytest.raises(ChromTransferError, match="the saved ones are of another network; they differ in"):
        average.load_state_dict(AveragedWeights(other, 0.9).state_dict())
    assert differing(before, average.state_dict()) == set()


@pytest.mark.parametrize("added", [True, False])
def test_a_network_that_changed_its_layers_is_refused(added):
    model = network()
    average = AveragedWeights(model, 0.9)
    if added:
        model.add_module("5", nn.Linear(2, 2))
    else:
        del model[4].bias
    where = r"has changed since the average began; it differs in \['[45].bias'"
    with pytest.raises(ChromTransferError, match=where), average.swapped(model):
        pass
    if not added:
        with pytest.raises(ChromTransferError, match=where):
            average.update(model)


def test_tensors_replaced_in_the_network_are_followed():
    """Moving a network to another device or type puts new tensors into its buffers."""
    model = network()
    average = AveragedWeights(model, 0.9)
    model[2]._buffers["running_mean"] = torch.full((3,), 7.0)
    model[4].weight = nn.Parameter(torch.full((2, 18), 5.0))
    average.update(model)
    mean, start = averaged(average, model), copies(network())
    torch.testing.assert_close(mean["2.running_mean"], torch.full((3,), 6.3))
    torch.testing.assert_close(mean["4.weight"], 0.1 * start["4.weight"] + 4.5)


def test_an_equal_network_may_take_the_place():
    """The average follows the one it is given, not the one it began with."""
    one, other = network(), network(1)
    average = AveragedWeights(one, 0.9)
    average.update(other)
    torch.testing.assert_close(
        averaged(average, one)["4.bias"], 0.1 * copies(one)["4.bias"] + 0.9 * copies(other)["4.bias"]
    )
