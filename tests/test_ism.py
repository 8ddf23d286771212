"""Mutagenesis against closed forms, what it selects, how many forward passes it takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ism_cases import Linear, brute_force, make, sequences
from torch import nn

from chromtransfer_plugin.attribution.mutagenesis import agreement, ism
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import one_hot

# Weights of A, C, G, T at four positions; the sequence is C, N, T, A.
WEIGHT = np.array([[1.0, 9, 2, 0], [4, 9, -1, 3], [6, 9, 0, -3], [2, 9, 3, 1]])
CODES = np.array([[1, 4, 3, 0]], dtype=np.uint8)
# The other bases' weight minus the own one's: -3, +2, -2 | N | -1, -4, -3 | +3, -3, +1
RAW = np.array([[-3.0, 0, -1, 0], [0, 0, -4, 3], [2, 0, -3, -3], [-2, 0, 0, 1]])
EXACT = ("auto", "naive", "taylor")  # for a linear model


@pytest.mark.parametrize("method", EXACT)
def test_differences_by_hand(method: str) -> None:
    np.testing.assert_array_equal(ism(Linear(WEIGHT[None]), CODES, raw=True, method=method), RAW[None])


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    ("select", "wanted"),
    [
        (
            "largest",
            [-3, 0, -4, 3],
        ),  # at the last position C (+3) and G (-3) are equally large: C comes first
        ("min", [-3, 0, -4, -3]),
        ("max", [2, 0, -1, 3]),
        ("mean", [-1, 0, -8 / 3, 1 / 3]),
    ],
)
def test_selection_by_hand(select: str, wanted: list[float], method: str) -> None:
    scores = ism(Linear(WEIGHT[None]), CODES, select=select, method=method)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [wanted], rtol=1e-6)


def test_the_last_base_wins_no_tie() -> None:
    weight = np.array([[2.0], [0.0], [-2.0], [-2.0]])  # from C: A +2, G -2, T -2
    assert ism(Linear(weight[None]), np.array([[1]]))[0, 0] == 2


@pytest.mark.parametrize("method", ["auto", "naive"])
def test_probability_is_the_difference_of_sigmoids(method: str) -> None:
    model = Linear(WEIGHT[None])
    logit = 4 + 3 + 0
    p = 1 / (1 + np.exp(-(logit + RAW))) - 1 / (1 + np.exp(-float(logit)))
    wanted = np.where(RAW == 0, 0, p)[None]
    np.testing.assert_allclose(
        ism(model, CODES, output="probability", raw=True, method=method), wanted, rtol=1e-6
    )


def test_softmax_probability() -> None:
    weight = np.stack([WEIGHT, WEIGHT[::-1], np.zeros_like(WEIGHT)])
    model = Linear(weight)

    def p(codes: np.ndarray) -> np.ndarray:
        z = np.einsum("bcl,tcl->bt", one_hot(codes, dtype=np.float64), weight)
        return (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))[:, 1]

    mutant = CODES.copy()
    mutant[0, 2] = 1
    scores = ism(model, CODES, output="probability", activation="softmax", target=1, raw=True)
    np.testing.assert_allclose(scores[0, 1, 2], p(mutant)[0] - p(CODES)[0], rtol=1e-6)
    independent = ism(model, CODES, output="probability", target=1, raw=True)
    assert abs(independent[0, 1, 2] - scores[0, 1, 2]) > 0.01
    with pytest.raises(ChromTransferError, match="needs a model of at least two outputs"):
        ism(Linear(WEIGHT[None]), CODES, output="probability", activation="softmax")


def test_a_certain_model_keeps_its_differences() -> None:
    """A logit of 30 is a probability of 1 in float32, without any difference."""
    weight = np.array([[30.0], [29.0], [0.0], [0.0]])
    model = Linear(weight[None])
    scores = ism(model, np.array([[0]]), output="probability", raw=True)
    wanted = 1 / (1 + np.exp(-29.0)) - 1 / (1 + np.exp(-30.0))
    np.testing.assert_allclose(scores[0, 1, 0], wanted, rtol=1e-6)


def test_taylor_of_a_probability_has_its_slope() -> None:
    model = Linear(WEIGHT[None] / 10)
    p = 1 / (1 + np.exp(-0.7))
    scores = ism(model, CODES, output="probability", raw=True, method="taylor")
    np.testing.assert_allclose(scores[0], RAW / 10 * p * (1 - p), rtol=1e-5)


def test_taylor_is_the_slope_of_the_network() -> None:
    """In float64, against small steps from one base towards another."""
    model = make(seed=2)
    codes = sequences(1, 40, unknown=(3,))
    scores = ism(model, codes, raw=True, method="taylor", target=1)
    X = torch.from_numpy(one_hot(codes, dtype=np.float64))
    step = 1e-6
    for position in (0, 17, 39):
        own = int(codes[0, position])
        base = (own + 2) % 4
        moved = [X.clone(), X.clone()]
        for sign, Z in zip((1, -1), moved, strict=True):
            Z[0, base, position] += sign * step
            Z[0, own, position] -= sign * step
        with torch.no_grad():
            slope = float((model(moved[0]) - model(moved[1]))[0, 1]) / (2 * step)
        np.testing.assert_allclose(scores[0, base, position], slope, rtol=1e-4, atol=1e-7)
    assert (scores[0, :, 3] == 0).all()


class Counting(nn.Module):
    """Counts the sequences that go through a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.n, self.calls = model, 0, 0

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        self.n += len(X)
        self.calls += 1
        return self.model(X)


def test_forward_passes_are_counted() -> None:
    model = Counting(make())
    codes = sequences(2, 30, unknown=(0, 4, 5))
    ism(model, codes, batch_size=7)
    assert model.n == 2 + 3 * (27 + 30)  # each reference once, three mutants for each known base
    assert model.calls == -(-(1 + 81) // 7) + -(-(1 + 90) // 7)
    model.n = model.calls = 0
    ism(model, codes, start=2, end=6)
    assert model.n == 2 + 3 * (2 + 4)
    model.n = model.calls = 0
    ism(model, np.full((1, 30), 4), method="naive")
    assert model.n == 0
    ism(model, codes, method="taylor")
    assert (model.n, model.calls) == (2, 1)


def test_any_model_equals_brute_force() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 6, 5), nn.ReLU(), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Flatten(),
                          nn.LazyLinear(2))  # fmt: skip
    codes = sequences(2, 30, unknown=(0, 29))
    model(torch.from_numpy(one_hot(codes)))
    for target in (0, 1):
        scores = ism(model, codes, raw=True, target=target)
        np.testing.assert_allclose(scores, brute_force(model, codes, target), atol=1e-6)
        assert scores.std() > 0.01


@pytest.mark.parametrize("method", ["windowed", "naive", "taylor"])
def test_the_model_is_left_as_it_was(method: str) -> None:
    model = make(dtype=torch.float32).train()
    model.trunk.stem.eval()
    model.head.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    codes = sequences(1, 30)
    first = ism(model, codes, method=method)
    np.testing.assert_array_equal(first, ism(model, codes, method=method))  # no dropout
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert flags == {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_one_hot_and_any_integers_are_the_same_as_codes() -> None:
    model = make()
    codes = sequences(2, 30, unknown=(4, 7))
    scores = ism(model, codes)
    np.testing.assert_array_equal(ism(model, one_hot(codes)), scores)
    np.testing.assert_array_equal(ism(model, torch.from_numpy(one_hot(codes)).to(torch.int8)), scores)
    signed = codes.astype(np.int64)
    signed[0, [4, 7]] = [-1, 90]
    np.testing.assert_array_equal(ism(model, signed), scores)
    assert ism(model, codes[:0]).shape == (0, 30)
    assert ism(model, codes[:0], raw=True).shape == (0, 4, 30)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "p"}, "ism: output='p' is unknown, use one of logit, probability"),
        ({"select": "best"}, "select='best' is unknown, use one of largest, min, max, mean"),
        ({"method": "fast"}, "method='fast' is unknown, use one of auto, windowed, naive, taylor"),
        ({"activation": "relu"}, "activation='relu' is unknown"),
        ({"target": 2}, r"there is no target 2, the model's output has the shape \(\d+, 2\)"),
        ({"target": -1}, "there is no target -1"),
        ({"start": 10, "end": 10}, "start=10 and end=10 are no range .* expected 0 <= start < end <= 30"),
        ({"end": 31}, "start=0 and end=31 are no range"),
        ({"start": -3}, "start=-3 is not usable: expected a whole number"),
        ({"batch_size": 0}, "batch_size=0 is not usable"),
    ],
)
def test_wrong_options(change: dict, message: str) -> None:
    for model in (make(), nn.Sequential(make())):
        with pytest.raises(ChromTransferError, match=message):
            ism(model, sequences(1, 30), **change)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X: X / 2, "other numbers than 0 and one 1 per base"),
        (lambda X: np.ones_like(X), "other numbers than 0 and one 1 per base"),
        (lambda X: X[:, :3], r"got shape \(1, 3, 30\)"),
        (lambda X: X[0], r"got shape \(4, 30\) of torch.float32"),
        (lambda X: X[:, :, :0], r"with L >= 1, got shape \(1, 4, 0\)"),
    ],
)
def test_wrong_sequences(spoil: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    with pytest.raises(ChromTransferError, match=message):
        ism(make(), spoil(one_hot(sequences(1, 30))))


@pytest.mark.parametrize("method", ["windowed", "naive", "taylor"])
def test_a_broken_model_is_not_silent(method: str) -> None:
    model = make()
    with torch.no_grad():
        model.trunk.last_conv.conv.weight.fill_(float("nan"))
    with pytest.raises(
        ChromTransferError, match=r"scores of sequence 0 .* not finite; the model itself is broken"
    ):
        ism(model, sequences(2, 30), method=method)


def test_agreement() -> None:
    exact = np.array([[1.0, 2, 0, 4], [8, 16, 32, 0]])
    linear = agreement(exact, -2 * exact)
    assert linear.n == 6  # without the two that are 0 in both
    np.testing.assert_allclose(linear[1:], [-1, -1])
    logarithm = agreement(exact, np.where(exact > 0, np.log2(np.maximum(exact, 1)) + 1, 0))
    x, y = np.array([1.0, 2, 4, 8, 16, 32]), np.arange(1.0, 7)
    np.testing.assert_allclose(logarithm[1:], [np.corrcoef(x, y)[0, 1], 1])
    assert np.isnan(agreement(exact, np.ones_like(exact)).pearson)
    with pytest.raises(ChromTransferError, match="scores of one shape"):
        agreement(exact, exact[:1])
    with pytest.raises(ChromTransferError, match="0 score"):
        agreement(np.zeros(3), np.zeros(3))


def test_progress_counts_mutants(capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("windowed", "naive", "taylor"):
        ism(make(), sequences(2, 30, unknown=(3,)), progress=True, method=method)
        assert "177/177" in capsys.readouterr().err
    ism(make(), sequences(1, 30))
    assert capsys.readouterr().err == ""
