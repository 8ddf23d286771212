"""DeepLIFT/SHAP: closed forms, tangermeme's numbers, scores that add up for all our networks, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from gradient_cases import LENGTH, Counting, Power, random_codes
from ism_cases import make
from motif_cases import network as motif_network
from torch import nn

from chromtransfer_plugin.attribution import deep_lift_shap
from chromtransfer_plugin.attribution.completeness import same_output
from chromtransfer_plugin.attribution.deep_lift import CONVERGENCE
from chromtransfer_plugin.attribution.references import shuffles
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.onehot import one_hot


def residual() -> nn.Module:
    return make(dtype=torch.float32)


def residual_ensemble() -> nn.Module:
    return Ensemble([make(seed=seed, dtype=torch.float32) for seed in (1, 2)])


def motifs(seed: int = 1) -> nn.Module:
    """With the layers of the zoo's models."""
    return motif_network(seed, n_outputs=2, feature_norm=True, feature_dropout=0.5)


def ensemble_with_one_trunk() -> nn.Module:
    return Ensemble([motifs(seed) for seed in (1, 2)])


def ensemble_with_two_trunks() -> nn.Module:
    members = [motifs(seed) for seed in (1, 2)]
    with torch.no_grad():
        members[1].trunk.bank[0].conv.weight += 0.1
    return Ensemble(members)


@pytest.mark.parametrize(
    "network", [residual, residual_ensemble, motifs, ensemble_with_one_trunk, ensemble_with_two_trunks]
)
@pytest.mark.parametrize(
    ("output", "activation"), [("logit", "sigmoid"), ("probability", "sigmoid"), ("probability", "softmax")]
)
def test_scores_add_up(network, output: str, activation: str) -> None:
    model, codes = network(), random_codes(3, 250)
    found = deep_lift_shap(model, codes, output, 1, activation=activation, references=3, hypothetical=True)
    sums = found.completeness
    assert np.abs(found.scores).max() > 1e-4
    assert sums.relative.max() < CONVERGENCE == 1e-4
    # The same differences by predictions of the model, without DeepLIFT.
    others = shuffles(torch.from_numpy(codes), 3, 1).numpy()
    value = {"logit": lambda z: z, "sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, dim=1)}
    with torch.inference_mode():
        own, *other = (
            value["logit" if output == "logit" else activation](model(torch.from_numpy(one_hot(part))))[:, 1]
            for part in (codes, *others.transpose(1, 0, 2))
        )
    np.testing.assert_allclose(
        sums.difference, (own - torch.stack(other).mean(dim=0)).numpy(), atol=5e-3 * sums.size.max()
    )
    np.testing.assert_allclose(sums.total, found.scores.sum(axis=1, dtype=float))
    np.testing.assert_array_equal((found.hypothetical * one_hot(codes)).sum(axis=1), found.scores)
    assert (found.scores[2, 5:9] == 0).all()
    assert (found.hypothetical[2, :, 5:9] == 0).all()


def test_linear_model_has_the_difference_from_its_shuffles() -> None:
    model, codes = Power(1), random_codes()
    found = deep_lift_shap(model, codes, references=4, seed=9, hypothetical=True)
    others = shuffles(torch.from_numpy(codes), 4, 9).numpy()
    at_others = np.mean([model.at(others[:, k]) for k in range(4)], axis=0)
    np.testing.assert_allclose(found.scores, model.at(codes) - at_others, atol=1e-6)
    every = (model.weight.detach().numpy() - at_others[:, None]) * (codes < 4)[:, None]
    np.testing.assert_allclose(found.hypothetical, every, atol=1e-6)


def test_scores_are_tangermemes() -> None:
    from tangermeme.deep_lift_shap import deep_lift_shap as tangermemes

    model, codes = residual(), random_codes(2, 60)
    others = shuffles(torch.from_numpy(codes), 5, 1)
    references = torch.from_numpy(one_hot(others.flatten(0, 1).numpy())).unflatten(0, (2, 5))
    wanted = tangermemes(
        model, torch.from_numpy(one_hot(codes)), target=1, references=references, device="cpu"
    )
    scores = deep_lift_shap(model, codes, target=1, references=5).scores
    np.testing.assert_allclose(scores, wanted.sum(dim=1).numpy(), atol=1e-5 * float(wanted.abs().max()))


def test_a_sequence_does_not_depend_on_its_neighbours_nor_on_batches() -> None:
    model, codes = residual(), random_codes(4)
    together = deep_lift_shap(model, codes, references=5)
    backwards = deep_lift_shap(model, codes[::-1], references=5)
    np.testing.assert_array_equal(backwards.scores[::-1], together.scores)
    np.testing.assert_array_equal(
        deep_lift_shap(model, codes[2:3], references=5).scores[0], together.scores[2]
    )
    for size in (1, 3, 50):
        small = deep_lift_shap(model, codes, references=5, batch_size=size).scores
        np.testing.assert_allclose(small, together.scores, atol=1e-5 * np.abs(small).max())
    other = deep_lift_shap(model, codes, references=5, seed=2).scores
    assert np.abs(other - together.scores).max() > 1e-3 * np.abs(other).max()


def test_shuffles_keep_dinucleotides_ends_and_unknown_bases() -> None:
    codes = torch.from_numpy(random_codes(3, 200))
    found = shuffles(codes, 20, 1)
    assert found.dtype == torch.uint8
    assert found.shape == (3, 20, 200)
    assert len({row.tobytes() for row in found.flatten(0, 1).numpy()}) == 60

    def pairs(row: np.ndarray) -> Counter:
        row = row[row < 4]
        return Counter(zip(row[:-1].tolist(), row[1:].tolist(), strict=True))

    for own, others in zip(codes.numpy(), found.numpy(), strict=True):
        for other in others:
            assert pairs(other) == pairs(own)
            np.testing.assert_array_equal(other == 4, own == 4)
            assert (other[0], other[-1]) == (own[0], own[-1])
            assert (other != own).mean() > 0.3
    assert torch.equal(shuffles(codes[1:2], 20, 1)[0], found[1])
    assert not torch.equal(shuffles(codes[1:2], 20, 2)[0], found[1])


@pytest.mark.parametrize("row", [[4] * LENGTH, [2] * LENGTH, [4] * (LENGTH - 1) + [1]])
def test_a_sequence_without_other_shuffles_scores_0(row: list[int]) -> None:
    codes = np.array([row], dtype=np.uint8)
    found = deep_lift_shap(residual(), codes, references=3)
    np.testing.assert_array_equal(found.scores, 0)
    np.testing.assert_array_equal(found.completeness.relative, 0)
    assert deep_lift_shap(residual(), codes[:0]).scores.shape == (0, LENGTH)


def test_a_probability_that_is_certain_has_no_scores() -> None:
    """Its differences are smaller than any number of float32."""
    model = Written(nn.ReLU())
    with torch.no_grad():
        model.head.bias.fill_(-100)
    found = deep_lift_shap(model, random_codes(2), "probability", references=3)
    assert 0 < found.completeness.size.max() < 1e-40
    np.testing.assert_allclose(found.scores, 0, atol=1e-40)


def test_a_shuffle_that_is_the_sequence_differs_by_nothing() -> None:
    """Not even by rounding, which would be all of a difference of 0."""
    codes = torch.tensor([[0, 1], [2, 3]])
    others = torch.tensor([[[0, 1], [1, 1]], [[2, 2], [2, 3]]])
    value, rounded = torch.tensor([1.0, 2.0]), torch.tensor([[1.1, 5.0], [6.0, 2.1]])
    assert same_output(codes, others, value, rounded).tolist() == [[1.0, 5.0], [6.0, 2.0]]


class Written(nn.Module):
    """A convolution whose non-linear operation can be written in several ways."""

    def __init__(self, operation) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.operation = nn.Conv1d(4, 8, 5), operation
        self.head = nn.Linear(8, 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.operation(self.conv(X)).mean(dim=2))


class Squared(nn.Module):
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return X.square()


class OwnReLU(nn.ReLU):
    pass


def test_an_operation_without_a_rule_is_refused() -> None:
    codes = random_codes(3)
    assert deep_lift_shap(Written(nn.ReLU()), codes, references=3).completeness.relative.max() < 1e-4
    for operation in (torch.relu, Squared()):
        with pytest.raises(
            ChromTransferError, match=r"scores of sequence 0 .* model \(Written\) add up to .* has no rule"
        ):
            deep_lift_shap(Written(operation), codes, references=3)
    with pytest.raises(ChromTransferError, match=r"no rule for .*OwnReLU.* in the model \(Written\)"):
        deep_lift_shap(Written(OwnReLU()), codes, references=3)


def test_rules_can_be_given() -> None:
    from tangermeme.deep_lift_shap import _nonlinear

    codes = random_codes(3)
    wanted = deep_lift_shap(Written(nn.ReLU()), codes, references=3).scores
    found = deep_lift_shap(Written(OwnReLU()), codes, references=3, rules={OwnReLU: _nonlinear}).scores
    np.testing.assert_array_equal(found, wanted)
    squared = deep_lift_shap(Written(Squared()), codes, references=3, rules={Squared: _nonlinear})
    assert squared.completeness.relative.max() < 1e-4


def test_float64_where_float32_is_too_coarse() -> None:
    """Beside 10,000, float32 knows a logit to a thousandth only."""
    model, codes = Written(nn.ReLU()), random_codes(3)
    with torch.no_grad():
        model.head.bias.fill_(1e4)
    counted = Counting(model)
    found = deep_lift_shap(counted, codes, references=3)
    assert counted.inputs == 1 + 3 * 6  # the copy in float64 counts on its own
    assert found.completeness.relative.max() < CONVERGENCE
    model.double()
    np.testing.assert_allclose(found.scores, deep_lift_shap(model, codes, references=3).scores, rtol=1e-6)


def test_the_model_is_left_as_it_was() -> None:
    model = residual().train()
    model.trunk.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    names = {name: set(vars(module)) for name, module in model.named_modules()}
    deep_lift_shap(model, random_codes(1), references=2)
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert names == {name: set(vars(module)) for name, module in model.named_modules()}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())


def test_wrong_options() -> None:
    for options, message in (
        ({"references": 0}, "references=0 is not usable"),
        ({"seed": -1}, "seed=-1 is not usable"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            deep_lift_shap(residual(), random_codes(1), **options)
