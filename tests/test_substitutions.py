"""Copies of sequences that differ in one base get the logits of whole forward passes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from motif_cases import COUNTS

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.models import substitutions
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.convolution import plain_layers
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.models.substitutions import (
    SubstitutedMotifs,
    SubstitutedTrunk,
    Substitutions,
    TogetherSubstituted,
)
from chromtransfer_plugin.onehot import N_CODE, one_hot_tensor

ZOO = Path(__file__).parents[1] / "model_zoo" / "ChromTransfer"
BANK = {"trunk": "motifs", "motifs": COUNTS}
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def network(seed: int, **settings) -> ChromTransfer:
    torch.manual_seed(seed)
    model = ChromTransfer(**{"width": 1 / 16, "head": (6,), "head_bn": False, **settings}).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.3)
    for group in getattr(model.trunk, "bank", []):
        group.conv.weight.data.normal_()
    return model


def sequences(n: int, length: int, seed: int = 0) -> torch.Tensor:
    codes = torch.randint(0, 4, (n, length), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    codes[0, length // 3 : length // 3 + 5] = N_CODE
    return codes


def copies_of(codes: torch.Tensor, at: int) -> Substitutions:
    """Three copies of the second sequence, one of the first, an unknown base in the last; in no order."""
    parents = torch.tensor([1, 0, 1, len(codes) - 1, 1])
    bases = (codes[parents, at] + torch.tensor([1, 2, 2, 0, 3], dtype=torch.uint8)) % 4
    bases[3] = N_CODE
    return Substitutions(at, parents, bases)


def assert_same(models, codes, copies) -> None:
    X = one_hot_tensor(torch.cat([codes, copies.whole(codes)]))
    with torch.inference_mode():
        for model, logits in zip(models, TogetherSubstituted(models)(codes, copies), strict=True):
            wanted = model(X)
            torch.testing.assert_close(logits, wanted, **TOLERANCE)
            changed = (wanted[len(codes) :] - wanted[copies.parents]).abs()
            assert changed.max() > 10 * TOLERANCE["atol"]  # else the comparison says nothing


@pytest.mark.parametrize("length", [60, 61, 240])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("trunk", ["residual", "motifs"])
def test_copies_get_the_logits_of_whole_passes(trunk, where, length):
    at = {"first": 0, "middle": (length - 1) // 2, "last": length - 1}[where]
    settings = BANK if trunk == "motifs" else {}
    codes = sequences(4, length)
    assert_same([network(1, n_outputs=3, **settings)], codes, copies_of(codes, at))


@pytest.mark.parametrize("cut", ["stem", "reduce", "narrow.1", "expand", "wide.0", "top"])
def test_every_level_can_be_the_last(cut):
    codes = sequences(4, 301)
    assert_same([network(2, cut=cut)], codes, copies_of(codes, 150))


@pytest.mark.parametrize("name", ["pretrained", "HEPG2"])
def test_models_of_the_zoo(name):
    codes = sequences(4, 600)
    assert_same([load_model(ZOO / name)[0].eval()], codes, copies_of(codes, 299))


def test_several_models_and_ensembles_with_trunks_in_common():
    one, bank = network(1), network(2, **BANK)
    same = network(3, n_outputs=2)
    same.trunk = copy.deepcopy(one.trunk)
    models = [one, bank, same, Ensemble([network(4), copy.deepcopy(one)]).eval()]
    codes = sequences(5, 200)
    assert_same(models, codes, copies_of(codes, 99))


def test_without_copies_only_the_sequences():
    models = [network(1), network(2, **BANK)]
    codes = sequences(3, 100)
    with torch.inference_mode():
        for model, logits in zip(models, TogetherSubstituted(models)(codes), strict=True):
            torch.testing.assert_close(logits, model(one_hot_tensor(codes)), **TOLERANCE)


def test_a_trunk_that_is_listened_to_runs_on_whole_sequences():
    seen = []
    model = network(1)
    model.trunk.top.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape)))
    codes = sequences(4, 90)
    with torch.inference_mode():
        TogetherSubstituted([model])(codes, copies_of(codes, 44))
    assert seen == [(4 + 5, 4, 90)]
    assert_same([model], codes, copies_of(codes, 44))


def test_which_trunks_are_computed_in_part():
    class Own(ChromTransfer):
        pass

    residual, bank = network(1), network(2, **BANK)
    assert isinstance(substitutions._substituted(residual), SubstitutedTrunk)
    assert isinstance(substitutions._substituted(bank), SubstitutedMotifs)
    replaced = network(3)
    replaced.trunk.top.relu = torch.nn.LeakyReLU()
    for other in (replaced, Own(width=1 / 16), network(4).double()):
        assert substitutions._substituted(other) is None


@pytest.mark.parametrize(("method", "settings"), [("forward", {}), ("positions", {}), ("forward", BANK)])
def test_a_trunk_whose_method_was_replaced_is_called(method, settings):
    model = network(1, **settings)
    own = getattr(model.trunk, method)
    setattr(model.trunk, method, lambda X: 2 * own(X))
    codes = sequences(4, 90)
    assert_same([model], codes, copies_of(codes, 44))


def test_the_features_of_a_sequence_do_not_depend_on_its_neighbours():
    model = network(1, **BANK)
    codes = sequences(9, 600)
    with torch.inference_mode():
        together = TogetherSubstituted([model])
        (whole,) = together(codes)
        for row in range(len(codes)):
            torch.testing.assert_close(together(codes[row : row + 1])[0], whole[row : row + 1], **TOLERANCE)


def test_as_on_a_gpu_with_the_plain_layers():
    codes = sequences(4, 201)
    copies = copies_of(codes, 100)
    with plain_layers():
        assert_same([network(1)], codes, copies)
    bank = network(2, **BANK).trunk
    with torch.inference_mode():
        by_tables = SubstitutedMotifs(bank)
        by_convolution = SubstitutedMotifs(bank)
        for group in by_convolution._groups:
            group._tables = None
        for one, other in zip(
            by_tables.features(codes, copies), by_convolution.features(codes, copies), strict=True
        ):
            torch.testing.assert_close(one, other, **TOLERANCE)
