"""Mutagenesis that computes only what changes, against whole forward passes; and the convolutions behind it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ism_cases import brute_force, make, sequences
from motif_cases import network as motif_network
from torch import nn

from chromtransfer_plugin.attribution.mutagenesis import ism
from chromtransfer_plugin.attribution.mutagenesis_methods import is_windowed
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.blocks import SameConv1d
from chromtransfer_plugin.models.chromtransfer import LEVELS
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.models.spectral import SpectralKernel, add_convolutions
from chromtransfer_plugin.models.windowed import WindowedTrunk
from chromtransfer_plugin.onehot import one_hot_tensor
from chromtransfer_plugin.transfer.adapters import attach_adapters


@pytest.mark.parametrize("taps", [5, 10, 15, 20])
@pytest.mark.parametrize("rows", [1, 7, 91, 165])
def test_spectral_convolution_is_the_same_convolution(taps: int, rows: int) -> None:
    torch.manual_seed(taps)
    conv = SameConv1d(3, 4, taps).double()
    nn.init.zeros_(conv.conv.bias)
    scale, X = torch.randn(3).double(), torch.randn(rows, 2, 3).double()
    kernel = SpectralKernel(conv.conv.weight, scale)
    assert (kernel.left, kernel.right) == (taps // 2, (taps - 1) // 2)
    # Between enough zeros, the plain layer sees all that the rows change.
    padded = nn.functional.pad((X * scale).permute(1, 2, 0), (30, 30))
    wanted = conv(padded).permute(2, 0, 1)[30 - kernel.left : 30 + rows + kernel.right]
    for skip, cut in ((0, 0), (3, 1)):
        before = torch.randn(len(wanted) - skip - cut, 2, 4).double()
        output = before.clone()
        with torch.inference_mode():
            add_convolutions(X, [kernel], [output], skip)
        torch.testing.assert_close(
            output, before + wanted[skip : len(wanted) - cut], atol=1e-12, rtol=0, check_dtype=True
        )


@pytest.mark.parametrize("cut", LEVELS)
def test_every_level_that_a_trunk_can_end_with(cut: str) -> None:
    model = make(cut=cut, head=())
    codes = sequences(2, 47, unknown=(0, 20, 46))
    naive = ism(model, codes, raw=True, method="naive")
    assert is_windowed(model)
    assert naive.std() > 1e-3
    np.testing.assert_allclose(ism(model, codes, raw=True, method="windowed"), naive, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 30, 201, 250])
def test_every_length_and_the_edges(length: int) -> None:
    model = make(seed=length)
    codes = sequences(1, length, unknown=(length // 2,) if length > 1 else ())
    naive = ism(model, codes, raw=True, method="naive")
    np.testing.assert_allclose(ism(model, codes, raw=True, method="windowed"), naive, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("width", [1 / 32, 1 / 8, 0.3])
def test_float32_equals_brute_force(width: float) -> None:
    model = make(width=width, dtype=torch.float32)
    codes = sequences(1, 230, unknown=(0, 1, 100, 229))
    scores = ism(model, codes, raw=True, target=1)
    np.testing.assert_allclose(scores, brute_force(copy.deepcopy(model).double(), codes, target=1), atol=1e-5)
    assert (scores[0][:, [0, 1, 100, 229]] == 0).all()


_LONGEST = [
    *(f"reduce.{side}" for side in "ab"),
    *(f"narrow.{i}.{side}" for i in range(3) for side in "ab"),
    *(f"expand.{side}" for side in "ab"),
    *(f"wide.{i}.{side}" for i in range(3) for side in "ab"),
    "top",
    "last_conv",
]


def test_a_mutation_reaches_202_positions() -> None:
    """Of the last layer, no matter how long the sequence is: what is computed is neither less nor more."""
    trunk = make(seed=3, width=0.25).trunk
    kernels = WindowedTrunk(trunk)._kernels
    left, right = (12 + sum(getattr(kernels[name], side) for name in _LONGEST) for side in ("left", "right"))
    assert left + 1 + right == 202
    codes = sequences(1, 600).repeat(2, axis=0)
    codes[1, 300] = (codes[0, 300] + 2) % 4
    with torch.inference_mode():
        maps = trunk.positions(one_hot_tensor(torch.from_numpy(codes)).double())
    changed = ((maps[0] - maps[1]).abs().amax(dim=0) > 1e-13).nonzero()
    assert 300 - left <= int(changed.min()) < 300 - left + 12
    assert 300 + right - 12 < int(changed.max()) <= 300 + right


def test_ensembles_with_and_without_a_common_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [make(seed=seed) for seed in (1, 2, 3)]
    members[2].trunk.load_state_dict(members[1].trunk.state_dict())
    ensemble = Ensemble(members)
    codes = sequences(2, 40, unknown=(7,))
    built = []
    init = WindowedTrunk.__init__
    monkeypatch.setattr(
        WindowedTrunk, "__init__", lambda self, trunk: (built.append(trunk), init(self, trunk))[1]
    )
    windowed = ism(ensemble, codes, raw=True, method="windowed")
    assert built == [members[0].trunk, members[1].trunk]  # the third has that of the second
    np.testing.assert_allclose(windowed, ism(ensemble, codes, raw=True, method="naive"), atol=1e-7, rtol=1e-6)
    # The mean of the members' logits has the mean of their differences.
    alone = np.mean([ism(member, codes, raw=True) for member in members], axis=0)
    np.testing.assert_allclose(windowed, alone, atol=1e-6)


def test_adapted_layers_count_as_they_are() -> None:
    model = make(seed=4).float()
    attach_adapters(model.trunk, "lora", rank=2, alpha=4)
    for name, parameter in model.named_parameters():
        if "parametrizations" in name and "original" not in name:
            nn.init.normal_(parameter, std=0.3)
    model.eval()
    codes = sequences(1, 60)
    assert is_windowed(model)
    scores = ism(model, codes, raw=True, method="windowed")
    np.testing.assert_allclose(
        scores, brute_force(copy.deepcopy(model).double(), codes), atol=1e-5, rtol=1e-5
    )
    assert np.abs(scores - ism(make(seed=4), codes, raw=True)).max() > 1e-3


@pytest.mark.parametrize("length", [1, 5, 6, 40, 240, 300])
@pytest.mark.parametrize("motifs", ["some", "none"])
def test_trunk_of_motifs(length: int, motifs: str) -> None:
    model = motif_network(**({} if motifs == "some" else {"motifs": (0, 0, 0, 0)})).double()
    with torch.no_grad():
        for group in model.trunk.bank:
            group.conv.bias += 2  # so that weak matches count, and a mutation can only weaken the best
    codes = sequences(2, length, unknown=(length // 2,) if length > 1 else ())
    assert is_windowed(model)
    naive = ism(model, codes, raw=True, method="naive")
    np.testing.assert_allclose(ism(model, codes, raw=True), naive, atol=1e-7, rtol=1e-6)
    assert length < 6 or np.count_nonzero(naive) > naive.size / 4


def test_ensemble_of_motif_networks() -> None:
    members = [motif_network(seed=seed) for seed in (1, 2)]
    model, codes = Ensemble(members), sequences(1, 60, unknown=(8,))
    assert is_windowed(model)
    np.testing.assert_allclose(ism(model, codes), ism(model, codes, method="naive"), atol=1e-5)


def test_what_is_not_known_layer_by_layer_takes_whole_passes() -> None:
    codes = sequences(1, 30)

    hooked = make()
    hooked.trunk.wide[1].a.relu.register_forward_hook(lambda module, args, output: output * 2)
    replaced = make()
    replaced.trunk.top.relu = nn.Tanh()
    changed = make()
    changed.trunk.top.forward = lambda X: X  # type: ignore[method-assign]
    motif = motif_network()
    motif.trunk.bank[1].relu.register_forward_hook(lambda module, args, output: output * 2)
    watched = make()
    watched.register_forward_hook(lambda module, args, output: output * 3)
    for model in (hooked, replaced, changed, watched, motif, make().bfloat16()):
        assert not is_windowed(model)
        with pytest.raises(ChromTransferError, match="'windowed' is for ChromTransfer networks of float32"):
            ism(model, codes, method="windowed")
        np.testing.assert_array_equal(ism(model, codes), ism(model, codes, method="naive"))
    np.testing.assert_allclose(ism(watched, codes), 3 * ism(make(), codes), rtol=1e-6, atol=1e-7)


def test_batch_size_order_and_neighbours_do_not_matter() -> None:
    codes = sequences(3, 70, unknown=(1, 30, 31, 69))
    # float32 rounds differently in products of another size.
    for dtype, close in ((torch.float64, 1e-7), (torch.float32, 1e-5)):
        model = make(dtype=dtype)
        scores = ism(model, codes, raw=True)
        for size in (1, 3, 10, 1000):
            np.testing.assert_allclose(ism(model, codes, raw=True, batch_size=size), scores, atol=close)
        np.testing.assert_allclose(ism(model, codes[::-1].copy(), raw=True)[::-1], scores, atol=close)
        np.testing.assert_allclose(ism(model, codes[1:2], raw=True), scores[1:2], atol=close)


def test_a_window_of_positions_is_a_part_of_the_whole() -> None:
    model = make()
    codes = sequences(2, 70, unknown=(30,))
    for raw in (True, False):
        whole = ism(model, codes, raw=raw)
        np.testing.assert_allclose(ism(model, codes, raw=raw, start=11, end=50), whole[..., 11:50], atol=1e-7)
        np.testing.assert_allclose(ism(model, codes, raw=raw, start=69), whole[..., 69:], atol=1e-7)
