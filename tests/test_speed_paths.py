"""The fast CPU layers give the numbers of torch's own: outputs, all gradients, statistics; and step aside for hooks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from chromtransfer_plugin.models import convolution
from chromtransfer_plugin.models.blocks import ConvUnit, SameConv1d, ShortcutBlock
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.convolution import FastDropout, batch_norm, is_plain_norm, plain_layers

needs_fast = pytest.mark.skipif(
    not convolution.is_fast_input(torch.zeros(1, 1, 1)), reason="this torch has no oneDNN"
)
pytestmark = needs_fast


@pytest.fixture
def fast_calls(monkeypatch) -> list[int]:
    """How many kernels each fast convolution merged, so that no test passes on the plain path by mistake."""
    calls: list[int] = []
    original = convolution.same_convolution

    def counted(X, convs, training):
        calls.append(len(convs))
        return original(X, convs, training)

    monkeypatch.setattr("chromtransfer_plugin.models.blocks.same_convolution", counted)
    return calls


def gradients(
    module: nn.Module, X: torch.Tensor, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Output, gradients of input and parameters, and buffers after one pass of a copy of the module."""
    module = copy.deepcopy(module).to(dtype)
    X = X.to(dtype).clone().requires_grad_()
    Y = module(X)
    weights = torch.rand(Y.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    (Y * weights).sum().backward()
    found = {"output": Y.detach(), "input": X.grad}
    found |= {name: parameter.grad for name, parameter in module.named_parameters()}
    return found | dict(module.named_buffers())


def assert_near(found: dict, wanted: dict, tolerance: float) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        scale = max(tensor.abs().max().item(), 1e-3)
        error = (found[name].double() - tensor.double()).abs().max().item() / scale
        assert error < tolerance, (name, error)


SHAPES = [
    (1, 4, 8, 25, 30),
    (3, 8, 5, 20, 61),
    (2, 6, 6, 15, 40),
    (2, 6, 6, 15, 15),
    (2, 6, 6, 15, 14),  # shorter than the kernel
    (2, 3, 7, 10, 1),
    (1, 1, 1, 5, 600),
    (4, 16, 32, 4, 9),
]


@pytest.mark.parametrize(("batch", "cin", "cout", "kernel", "length"), SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_a_convolution_and_its_gradients_equal_torchs(batch, cin, cout, kernel, length, training, fast_calls):
    torch.manual_seed(kernel)
    layer = SameConv1d(cin, cout, kernel).train(training)
    nn.init.normal_(layer.conv.bias)
    X = torch.randn(batch, cin, length)
    fast = gradients(layer, X)
    assert fast_calls == [1]
    with plain_layers():
        exact, plain = gradients(layer, X, torch.float64), gradients(layer, X)
    assert fast_calls == [1]
    assert_near(fast, exact, 5e-6)
    assert_near(fast, plain, 5e-6)


@pytest.mark.parametrize("kernel", [5, 10, 15, 20])
def test_merged_siblings_equal_separate_layers(kernel, fast_calls):
    torch.manual_seed(0)
    block = ShortcutBlock(6, 4, kernel, 0.0, 0.01, 1e-3).train()
    X = torch.randn(5, 6, 70)
    fast = gradients(block, X)
    assert fast_calls == [2, 1]
    with plain_layers():
        assert_near(fast, gradients(block, X, torch.float64), 2e-5)


@pytest.mark.parametrize(("width", "length", "batch"), [(0.5, 120, 6), (0.25, 33, 4), (0.125, 3, 5)])
def test_a_training_step_of_the_network_equals_the_plain_one(width, length, batch, fast_calls):
    torch.manual_seed(2)
    model = ChromTransfer(width=width, head=(16,), dropout=0).train()
    X = torch.eye(4)[torch.randint(0, 4, (batch, length))].transpose(1, 2)
    fast = gradients(model, X)
    assert fast_calls == [1, 2, 1, *[1] * 6, 2, 1, *[1] * 6, 1, 1]
    with plain_layers():
        plain, exact = gradients(model, X), gradients(model, X, torch.float64)
    torch.testing.assert_close(fast["output"], plain["output"], rtol=1e-4, atol=1e-4)
    # Gradients of biases in front of a norm are sums of cancelling numbers, so errors count against the largest.
    for name, tensor in exact.items():
        error = (fast[name].double() - tensor.double()).norm().item()
        assert error < 1e-3 * max(tensor.double().norm().item(), 1e-2), name


def test_evaluation_gives_the_same_logits_and_input_gradients(fast_calls):
    torch.manual_seed(3)
    model = ChromTransfer(width=0.25).train()
    X = torch.randn(8, 4, 100)
    model(X)
    model.eval()
    fast_calls.clear()
    fast = gradients(model, X)
    assert len(fast_calls) == 19
    with plain_layers():
        assert_near(fast, gradients(model, X), 1e-4)


def test_autocast_to_bfloat16_stays_within_its_grain():
    torch.manual_seed(4)
    unit = ConvUnit(16, 16, 15, 0.0, 0.01, 1e-3).train()
    X = torch.randn(4, 16, 200)
    with torch.autocast("cpu", torch.bfloat16):
        fast = gradients(unit, X)
        with plain_layers():
            plain = gradients(unit, X)
    assert fast["output"].dtype == plain["output"].dtype == torch.bfloat16
    assert {fast[f"conv.conv.{name}"].dtype for name in ("weight", "bias")} == {torch.float32}
    with plain_layers():
        exact = gradients(unit, X, torch.float64)
    for name in ("output", "input", "conv.conv.weight", "bn.weight", "bn.bias", "bn.running_var"):
        ours, theirs = ((found[name].double() - exact[name]).norm() for found in (fast, plain))
        assert 1e-6 < ours / exact[name].norm() < 0.1, name  # bfloat16 was used
        assert ours < 1.5 * theirs, name


class _LowRank(nn.Module):
    """As an adapter: the kernel plus a product of two small matrices."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        out, flat = weight.shape[0], weight[0].numel()
        self.up, self.down = nn.Parameter(torch.randn(out, 2)), nn.Parameter(torch.randn(2, flat))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + (self.up @ self.down).view(weight.shape) / 4


def test_parametrised_kernels_are_read_and_trained(fast_calls):
    torch.manual_seed(5)
    block = ShortcutBlock(5, 4, 10, 0.0, 0.01, 1e-3).train()
    for unit in (block.a, block.b, block.shortcut):
        conv = unit.conv.conv
        parametrize.register_parametrization(conv, "weight", _LowRank(conv.weight))
    X = torch.randn(3, 5, 40)
    fast = gradients(block, X)
    assert fast_calls == [2, 1]
    with plain_layers():
        wanted = gradients(block, X, torch.float64)
    assert_near(fast, wanted, 2e-5)
    assert wanted["a.conv.conv.parametrizations.weight.0.up"].abs().max() > 0.01


def test_hooks_on_a_convolution_are_called_and_obeyed(fast_calls):
    torch.manual_seed(6)
    block = ShortcutBlock(5, 4, 10, 0.0, 0.01, 1e-3).train()
    X = torch.randn(3, 5, 40)
    block(X)
    assert fast_calls == [2, 1]
    fast_calls.clear()
    seen = []
    handle = block.a.conv.conv.register_forward_hook(lambda _m, _i, Y: seen.append(Y.shape) or Y * 0)
    Y = block(X)
    assert fast_calls == [1, 1]  # b and the shortcut, each alone
    assert seen == [(3, 4, 40)]
    handle.remove()
    assert not torch.equal(Y, block(X))
    fast_calls.clear()
    handle = nn.modules.module.register_module_forward_hook(lambda m, _i, _o: seen.append(type(m)))
    try:
        block(X)
    finally:
        handle.remove()
    assert fast_calls == []
    assert seen.count(nn.Conv1d) == 3


def test_every_module_but_the_bare_convolution_is_called_once_in_training():
    model = ChromTransfer(width=0.125).train()
    calls: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU | nn.BatchNorm1d | nn.Dropout):
            module.register_forward_hook(
                lambda _m, i, o, name=name: calls.update(
                    {name: calls.get(name, 0) + int(i[0].shape == o.shape)}
                )
            )
    model(torch.randn(3, 4, 30))
    assert set(calls.values()) == {1}
    assert len(calls) == 23 + 22 + 22


def test_a_replaced_forward_or_module_is_used(fast_calls):
    layer = SameConv1d(3, 3, 5)
    layer.conv.forward = lambda X: X * 7
    X = torch.randn(2, 3, 9)
    torch.testing.assert_close(layer(X), X * 7)
    layer.conv = nn.Identity()
    assert torch.equal(layer(X), X)
    assert fast_calls == []


def test_other_types_and_functional_transforms_take_the_plain_path(fast_calls):
    layer = SameConv1d(3, 2, 5).double()
    layer(torch.randn(1, 3, 8, dtype=torch.float64))
    layer = layer.float()
    X = torch.randn(4, 3, 8)
    expected = torch.stack([layer(x[None])[0] for x in X])
    fast_calls.clear()
    torch.testing.assert_close(torch.func.vmap(lambda x: layer(x[None])[0])(X), expected)
    with torch.autocast("cpu", torch.float16):
        layer(X)
    assert fast_calls == []


# --- batch norm ------------------------------------------------------------------------------------------


class Norm(nn.Module):
    """A batch norm as the units of the trunk run it."""

    def __init__(self, channels: int, momentum: float | None = 0.01) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, eps=1e-3, momentum=momentum)
        nn.init.normal_(self.bn.weight)
        nn.init.normal_(self.bn.bias)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return batch_norm(self.bn, X) if is_plain_norm(self.bn, X) else self.bn(X)


@pytest.mark.parametrize(
    ("momentum", "batch", "length"), [(0.01, 5, 30), (None, 5, 30), (0.01, 1, 40), (0.01, 7, 1)]
)
def test_batch_norm_in_rows_equals_torchs_and_moves_the_same_statistics(momentum, batch, length):
    torch.manual_seed(7)
    norm = Norm(6, momentum).train()
    X = (torch.randn(batch, length, 6) * 3 + 2).transpose(1, 2)
    assert is_plain_norm(norm.bn, X)
    fast = gradients(norm, X)
    with plain_layers():
        exact = gradients(norm, X, torch.float64)
    assert exact["bn.num_batches_tracked"] == fast["bn.num_batches_tracked"] == 1
    assert_near(fast, exact, 2e-6)


def test_batch_norm_of_many_rows_is_as_exact_as_with_the_channels_first():
    """torch's own kernel for this memory order is off by 1e-3 here."""
    torch.manual_seed(8)
    norm = Norm(8).train()
    X = (torch.randn(64, 600, 8).relu() + torch.rand(8)).transpose(1, 2)
    with torch.no_grad():
        fast = norm(X)
        exact = copy.deepcopy(norm).double()(X.double())
    assert (fast - exact).abs().max() < 1e-5


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_frozen_statistics_stay_and_are_used(dtype, tolerance):
    torch.manual_seed(9)
    norm = Norm(4).eval()
    norm.bn.running_mean.normal_()
    norm.bn.running_var.uniform_(0.5, 2)
    X = torch.randn(3, 20, 4).transpose(1, 2).to(dtype)
    assert is_plain_norm(norm.bn, X)
    fast = norm(X)
    with plain_layers():
        exact = gradients(norm, X, torch.float64)
    assert fast.dtype == dtype
    assert_near({"output": fast}, {"output": exact["output"]}, tolerance)
    if dtype == torch.float32:
        fast = gradients(norm, X)
        assert_near(fast, exact, tolerance)
    assert torch.equal(exact["bn.running_mean"].float(), norm.bn.running_mean)


def test_other_norms_and_hooked_ones_run_as_they_are():
    class Other(nn.BatchNorm1d):
        pass

    X = torch.randn(3, 20, 4).transpose(1, 2)
    assert is_plain_norm(nn.BatchNorm1d(4), X)
    assert not is_plain_norm(Other(4), X)
    assert not is_plain_norm(nn.BatchNorm1d(4, affine=False), X)
    assert not is_plain_norm(nn.BatchNorm1d(4), X.contiguous())
    assert not is_plain_norm(nn.BatchNorm1d(4), X.double())
    hooked = nn.BatchNorm1d(4)
    hooked.register_full_backward_hook(lambda *_: None)
    assert not is_plain_norm(hooked, X)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        Norm(4).train()(torch.randn(1, 4, 1))


# --- dropout ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(dtype, p):
    torch.manual_seed(10)
    X = torch.ones(100, 40, 51, dtype=dtype).transpose(1, 2).requires_grad_()
    Y = FastDropout(p).train()(X)
    n, kept = Y.numel(), (Y != 0).double().mean().item()
    assert abs(kept - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5
    assert len(Y.unique()) == 2
    assert Y.max().item() == pytest.approx(1 / (1 - p), rel=1e-2 if dtype == torch.bfloat16 else 1e-3)
    Y.sum().backward()
    assert torch.equal(X.grad, Y.detach())  # the same mask and scale


def test_dropout_masks_follow_the_seed_and_are_independent():
    drop, X = FastDropout(0.5).train(), torch.ones(4, 1000)

    def masks(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([drop(X), drop(X)]).ne(0)

    assert torch.equal(masks(1), masks(1))
    first, second = masks(1).double().flatten(1)
    other = masks(2).double().flatten(1)[0]
    for a, b in ((first, second), (first, other), (first[:-1], first[1:]), (first[:-4], first[4:])):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.08


def test_dropout_is_off_in_evaluation():
    X = torch.randn(3, 4)
    assert FastDropout(0.5).eval()(X) is X


def test_the_switch_is_restored_after_an_error():
    X = torch.zeros(1)

    def fail() -> None:
        with plain_layers():
            assert not convolution.is_fast_input(X)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert convolution.is_fast_input(X)
