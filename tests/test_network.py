"""The network against its specification: sizes, wiring, padding, order of layers, initialisation, L2."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from chromtransfer_plugin.defaults import FROZEN, HEADS, SCRATCH
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.blocks import (
    ConvUnit,
    SameConv1d,
    ShortcutBlock,
    glorot_linear,
    init_he_normal,
)
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.transfer import apply_phase, parameter_groups, phases


def one_hot(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(4)[torch.randint(0, 4, (batch, length), generator=generator)].transpose(1, 2)


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give biases, gammas and betas values of their own, and the norms statistics of data; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.3
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = None  # average over all batches: one pass sets the statistics
    with torch.no_grad():
        model.train()(one_hot(32, 100, seed))
    for norm in norms:
        norm.momentum = 0.01
    return model.eval()


def small(**settings) -> ChromTransfer:
    torch.manual_seed(1)
    return ChromTransfer(**{"width": 0.125, "head": (16, 8), "head_bn": True, **settings})


# --- sizes -----------------------------------------------------------------------------------------------


def keras_count(model: nn.Module) -> tuple[int, int]:
    """(all, trainable) as Keras counts: running means and variances are parameters that do not train."""
    statistics = sum(b.numel() for name, b in model.named_buffers() if "running" in name)
    weights = sum(p.numel() for p in model.parameters())
    return weights + statistics, sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("head", "outputs", "total", "trainable"),
    [
        ("pretrain", 1, 655_777, 652_513),
        ("finetune", 1, 653_537, 651_553),
        ("finetune_bn", 1, 657_761, 653_665),
        ("multiclass", 7, 656_551, 653_287),
        ("finetune_bn", 7, 657_959, 653_863),
        ("finetune", 7, 653_735, 651_751),
    ],
)
def test_parameter_counts_of_the_original(head, outputs, total, trainable):
    model = ChromTransfer(**HEADS[head].model_dump(), n_outputs=outputs)
    assert keras_count(model) == (total, trainable)
    assert keras_count(model.trunk) == (554_144, 552_160)


def test_parameter_count_with_a_frozen_trunk():
    model = ChromTransfer(**HEADS["finetune"].model_dump())
    apply_phase(model, phases(model, FROZEN)[0], FROZEN)
    assert keras_count(model) == (653_537, 99_393)


def test_parameters_of_each_layer():
    """Counted from the paper: convolution and batch norm of every unit, in order."""
    convs = [m for m in ChromTransfer().trunk.modules() if isinstance(m, nn.Conv1d)]
    wanted = [
        6_464,
        40_992,
        20_512,
        40_992,
        *[15_392] * 6,
        61_504,
        41_024,
        61_504,
        *[20_544] * 6,
        41_024,
        20_544,
    ]
    assert [sum(p.numel() for p in conv.parameters()) for conv in convs] == wanted


# --- padding and receptive field -------------------------------------------------------------------------


def tensorflow_same(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, left: int) -> np.ndarray:
    """Explicit stride-1 cross-correlation of (cin, L) with (cout, cin, k) and ``left`` zeros in front."""
    k, length = kernel.shape[2], x.shape[1]
    padded = np.pad(x, ((0, 0), (left, k - 1 - left)))
    return (
        np.stack([np.tensordot(kernel, padded[:, i : i + k], 2) for i in range(length)], axis=1)
        + bias[:, None]
    )


@pytest.mark.parametrize(
    ("kernel", "left", "right"), [(25, 12, 12), (20, 9, 10), (15, 7, 7), (10, 4, 5), (5, 2, 2)]
)
def test_padding_is_tensorflows_and_not_its_mirror_image(kernel, left, right):
    assert (left, right) == ((kernel - 1) // 2, kernel // 2)
    torch.manual_seed(kernel)
    layer = SameConv1d(3, 4, kernel).double()
    nn.init.normal_(layer.conv.bias)
    x = torch.randn(1, 3, 40, dtype=torch.float64)
    arrays = x[0].numpy(), layer.conv.weight.detach().numpy(), layer.conv.bias.detach().numpy()
    y = layer(x)[0].detach().numpy()
    np.testing.assert_allclose(y, tensorflow_same(*arrays, left=left), atol=1e-12)
    mirrored = tensorflow_same(*arrays, left=right)
    if kernel % 2 == 0:
        assert np.abs(y - mirrored).max() > 0.1
    else:
        np.testing.assert_allclose(y, mirrored, atol=1e-12)


def test_receptive_field_is_202_bases():
    """Every output position sees 202 bases: the paddings left and right of the longest path, and itself."""
    path = [25, 20, 20, *[15] * 6, 10, 10, *[5] * 6, 10, 5]
    before, after = sum((k - 1) // 2 for k in path), sum(k // 2 for k in path)
    assert before + 1 + after == 202
    model = randomised(small()).double()
    X, centre = one_hot(16, 500).double().requires_grad_(), 250
    model.trunk.positions(X)[:, :, centre].sum().backward()
    seen = X.grad.abs().sum(dim=(0, 1)).nonzero().flatten()
    assert (seen.min(), seen.max()) == (centre - before, centre + after)
    assert len(seen) == 202
    changed = X.detach().clone()
    changed[:, :, : centre - before] = changed[:, :, centre + after + 1 :] = 0
    with torch.no_grad():
        here, there = (model.trunk.positions(sequence)[:, :, centre] for sequence in (X, changed))
    torch.testing.assert_close(here, there, rtol=0, atol=1e-12)


# --- wiring ----------------------------------------------------------------------------------------------


def conv_reference(s: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = s[f"{name}.weight"]
    k = weight.shape[2]
    return functional.conv1d(functional.pad(x, ((k - 1) // 2, k // 2)), weight, s[f"{name}.bias"])


def norm_reference(s: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    shape = (1, -1, *[1] * (x.dim() - 2))
    mean, var, gamma, beta = (
        s[f"{name}.{key}"].reshape(shape) for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-3).sqrt() * gamma + beta


def reference_logits(s: dict[str, torch.Tensor], x: torch.Tensor, hidden: int, head_bn: bool) -> torch.Tensor:
    """The network of the paper (Methods, Figure 1), written down once more without our modules; evaluation mode."""

    def unit(name: str, x: torch.Tensor) -> torch.Tensor:
        return norm_reference(s, f"{name}.bn", conv_reference(s, f"{name}.conv.conv", x).clamp(min=0))

    def main(name: str, x: torch.Tensor) -> torch.Tensor:
        return unit(f"{name}.b", unit(f"{name}.a", x))

    x = unit("trunk.stem", x)
    x = main("trunk.reduce", x) + unit("trunk.reduce.shortcut", x)
    one = main("trunk.narrow.0", x) + x
    two = main("trunk.narrow.1", one) + one
    three = main("trunk.narrow.2", two) + two
    x = torch.cat([one, two, three], 1)
    x = main("trunk.expand", x) + unit("trunk.expand.shortcut", x)
    for i in range(3):
        x = main(f"trunk.wide.{i}", x) + x
    x = conv_reference(s, "trunk.last_conv.conv", unit("trunk.top", x)).clamp(min=0).mean(2)
    for i in range(hidden):
        x = (x @ s[f"head.{i}.linear.weight"].T + s[f"head.{i}.linear.bias"]).clamp(min=0)
        x = norm_reference(s, f"head.{i}.bn", x) if head_bn else x
    return x @ s[f"head.{hidden}.weight"].T + s[f"head.{hidden}.bias"]


@pytest.mark.parametrize("head_bn", [True, False])
def test_whole_network_equals_an_independent_one(head_bn):
    model = randomised(small(head_bn=head_bn, n_outputs=3)).double()
    X = one_hot(3, 111).double()
    X[1, :, 40:60] = 0
    with torch.no_grad():
        logits = model(X)
    assert logits.std() > 0.05
    torch.testing.assert_close(
        logits, reference_logits(model.state_dict(), X, 2, head_bn), rtol=1e-10, atol=1e-10
    )


def test_order_in_a_unit_is_convolution_relu_norm_dropout():
    unit = ConvUnit(4, 4, 5, 0.5, 0.01, 1e-3).train()
    order = []
    for name, module in unit.named_children():
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    y = unit(torch.randn(8, 4, 50))
    assert order == ["conv", "relu", "bn", "dropout"]
    assert 0.4 < (y == 0).float().mean() < 0.6  # dropout comes last: nothing fills its zeros
    kept = y[y != 0]
    assert kept.min() < 0  # the ReLU is not after the norm


def test_dropout_acts_on_both_branches_of_a_shortcut_block_and_nowhere_after_the_sum():
    block = ShortcutBlock(4, 4, 5, 0.5, 0.01, 1e-3).train()
    y = block(torch.randn(16, 4, 100))
    assert 0.2 < (y == 0).float().mean() < 0.3  # both branches dropped: 0.5 * 0.5


def test_batch_norm_settings_are_keras():
    norms = [m for m in ChromTransfer().modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == 22
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}
    assert {m.p for m in ChromTransfer().modules() if isinstance(m, nn.Dropout)} == {0.1}


def test_features_and_head_compose_to_the_model_which_gives_logits():
    model = randomised(small(n_outputs=5))
    X = one_hot(64, 60)
    with torch.no_grad():
        logits = model(X)
        assert torch.equal(logits, model.head(model.features(X)))
    assert model.features(X).shape == (64, 8)
    model.head[-1].bias.data -= 100
    with torch.no_grad():
        torch.testing.assert_close(model(X), logits - 100, rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 7, 24, 599, 601])
def test_any_length_works(length):
    model = randomised(small()).double()
    X = one_hot(2, length).double()
    with torch.no_grad():
        torch.testing.assert_close(model(X), reference_logits(model.state_dict(), X, 2, True))


def test_batch_size_and_neighbours_do_not_matter_in_evaluation():
    model = randomised(small())
    X = one_hot(5, 200)
    with torch.no_grad():
        alone = torch.cat([model(X[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(model(X), alone, rtol=0, atol=1e-5)


def test_each_non_linearity_is_a_module_used_once():
    """What DeepLIFT needs; a ReLU called twice or as a function would give wrong attributions."""
    model = small().eval()
    called: Counter[str] = Counter()
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: called.update([name]))
    model(one_hot(1, 30))
    assert set(called.values()) == {1}
    assert (
        sum(isinstance(m, nn.ReLU) for m in model.modules()) == 20 + 1 + 2
    )  # units, last conv, hidden layers
    assert set(called) == {name for name, m in model.named_modules() if not list(m.children())}


def test_deep_lift_converges():
    from tangermeme.deep_lift_shap import deep_lift_shap

    model = randomised(small(head_bn=True))
    X, reference = one_hot(3, 100), one_hot(3, 100, seed=9)
    scores = deep_lift_shap(
        model, X, references=reference.unsqueeze(1), device="cpu", warning_threshold=1e-4, random_state=0
    )
    with torch.no_grad():
        difference = (model(X) - model(reference))[:, 0]
    assert difference.abs().min() > 1e-3
    torch.testing.assert_close(scores.sum(dim=(1, 2)), difference, rtol=0, atol=1e-4)


# --- initialisation and L2 -------------------------------------------------------------------------------


def test_convolutions_start_from_a_truncated_he_normal():
    weight = torch.empty(128, 64, 20)
    torch.manual_seed(0)
    init_he_normal(weight)
    std = math.sqrt(2 / (64 * 20))
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert abs(weight.mean().item()) < 0.01 * std
    cut = 2 * std / 0.87962566
    assert 0.98 * cut < weight.abs().max().item() <= cut * (1 + 1e-6)


def test_dense_layers_start_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    bound = math.sqrt(6 / (64 + 512))
    weight = glorot_linear(64, 512).weight
    assert 0.99 * bound < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    model = small()
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            assert not module.bias.any()
        if isinstance(module, nn.BatchNorm1d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
    assert all(torch.unique(kernel).numel() > 100 for kernel in model.l2_kernels())


def groups_of(model: ChromTransfer) -> list[dict]:
    return [{**group, "lr": 1.0} for group in parameter_groups(model, phases(model, SCRATCH)[0], SCRATCH)]


def test_l2_is_weight_decay_on_twenty_kernels_and_nothing_else():
    """One step of SGD with decay 2e-4 on these kernels equals one step on loss + 1e-4 * sum(w ** 2)."""
    X, y = one_hot(8, 40).double(), torch.rand(8, 1, dtype=torch.float64)

    def step(penalty: bool) -> ChromTransfer:
        model = small(dropout=0).double().train()
        groups = [{"params": list(model.parameters())}] if penalty else groups_of(model)
        optimizer = torch.optim.SGD(groups, lr=1.0)
        loss = functional.binary_cross_entropy_with_logits(model(X), y)
        if penalty:
            kernels = [m.conv.conv.weight for m in model.modules() if isinstance(m, ConvUnit)]
            assert len(kernels) == 20
            loss = loss + 1e-4 * sum(w.pow(2).sum() for w in kernels)
        loss.backward()
        optimizer.step()
        return model

    ours, keras = step(penalty=False).state_dict(), step(penalty=True).state_dict()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, keras[name], rtol=0, atol=1e-12)
    plain = groups_of(small())
    assert [group["weight_decay"] for group in plain] == [2e-4, 0.0]
    assert [len(group["params"]) for group in plain] == [20, len(list(small().parameters())) - 20]


# --- mistakes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widht": 1}, "unknown key 'widht'. Did you mean 'width'"),
        ({"width": 0}, "width=0"),
        ({"width": float("inf")}, "width=inf"),
        ({"n_outputs": 0}, "n_outputs=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"head": [512, -1]}, "head.1=-1"),
        ({"head": "wide"}, "head='wide'"),
        ({"bn_momentum": 2}, "bn_momentum=2"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ChromTransferError) as error:
        ChromTransfer(**settings)
    assert message in str(error.value)


@pytest.mark.parametrize("shape", [(2, 600, 4), (4, 600), (1, 4, 0), (1, 5, 600), (1, 4, 600, 1)])
def test_bad_input_shapes_are_named(shape):
    with pytest.raises(
        ChromTransferError, match=r"expected one-hot input of shape \(batch, 4, length >= 1\)"
    ):
        small()(torch.zeros(shape))


@pytest.mark.gpu
def test_gpu_gives_the_logits_of_the_cpu():
    from chromtransfer_plugin.predict import predict_logits

    model = randomised(ChromTransfer())
    X = one_hot(8, 600).numpy()
    cpu = predict_logits(model, X, device="cpu")
    gpu = predict_logits(model, X, device="cuda")
    np.testing.assert_allclose(gpu, cpu, rtol=1e-4, atol=1e-4)
    assert cpu.std() > 1e-3
