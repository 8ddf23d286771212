"""Gradient x input against closed forms, the text format byte by byte, and motif recovery."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from chromtransfer_plugin.attribution import gradient_x_input, motif_recovery, write_attributions
from chromtransfer_plugin.errors import ChromTransferError

L = 30


class Linear(nn.Module):
    """logit_t = sum over bases of weight[t, base, position] + bias."""

    def __init__(self, n_outputs: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(4 * L, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.linear(X.flatten(1))


class Convolution(nn.Module):
    """Small but not linear, with the layers whose mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv1d(4, 6, 5), nn.ReLU(), nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.head = nn.Linear(6, 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(X).mean(dim=2))


@pytest.fixture
def codes() -> np.ndarray:
    codes = np.random.default_rng(0).integers(0, 4, (7, L)).astype(np.uint8)
    codes[2, 5:9] = 4
    return codes


def observed_weight(weight: torch.Tensor, codes: np.ndarray) -> np.ndarray:
    """Weight (4 L,) at the observed base of every position, 0 at N."""
    rows = np.vstack([weight.detach().numpy().reshape(4, L), np.zeros(L)])
    return rows[codes, np.arange(L)]


def test_linear_model_gives_the_weight_at_the_observed_base(codes: np.ndarray) -> None:
    torch.manual_seed(0)
    model = Linear()
    scores = gradient_x_input(model, codes)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, observed_weight(model.linear.weight[0], codes), atol=1e-7)
    assert (scores[2, 5:9] == 0).all()


def test_target_selects_the_output(codes: np.ndarray) -> None:
    torch.manual_seed(0)
    model = Linear(n_outputs=3)
    scores = gradient_x_input(model, codes, target=2)
    np.testing.assert_allclose(scores, observed_weight(model.linear.weight[2], codes), atol=1e-7)
    for target in (3, -1):
        with pytest.raises(
            ChromTransferError, match=rf"no target {target}, the model's output has the shape \(8, 3\)"
        ):
            gradient_x_input(model, codes, target=target)


def test_probability_is_the_logit_gradient_times_p_times_one_minus_p(codes: np.ndarray) -> None:
    torch.manual_seed(1)
    model = Convolution().eval()
    X = torch.nn.functional.one_hot(torch.from_numpy(codes).long(), 5)[..., :4].permute(0, 2, 1).float()
    p = torch.sigmoid(model(X)).detach().numpy()
    logit = gradient_x_input(model, codes)
    assert np.abs(logit).max() > 1e-3
    np.testing.assert_allclose(
        gradient_x_input(model, codes, output="probability"), p * (1 - p) * logit, atol=1e-7
    )


def test_gradient_is_not_corrected(codes: np.ndarray) -> None:
    """Adding a constant to all four weights of a position must show: the paper's scores are uncorrected."""
    model = Linear()
    nn.init.constant_(model.linear.weight, 0.25)
    np.testing.assert_allclose(gradient_x_input(model, codes[:2]), 0.25)


def test_codes_and_one_hot_agree_for_any_batch_size(codes: np.ndarray) -> None:
    torch.manual_seed(1)
    model = Convolution()
    one_hot = np.stack([codes == base for base in range(4)], axis=1).astype(np.float32)
    reference = gradient_x_input(model, codes, batch_size=len(codes))
    for batch_size in (1, 3, 100):
        np.testing.assert_allclose(
            gradient_x_input(model, one_hot, batch_size=batch_size), reference, atol=1e-7
        )


def test_model_is_left_as_it_was(codes: np.ndarray) -> None:
    model = Convolution().train()
    model.trunk.eval()  # a frozen trunk under a training head
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.head.weight.grad = torch.ones_like(model.head.weight)
    gradient_x_input(model, codes)
    assert (model.training, model.trunk.training, model.trunk[2].training) == (True, False, False)
    assert model.head.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert model.trunk[0].weight.grad is None
    model(torch.zeros(2, 4, L)).sum().backward()  # no inference-mode tensor is left behind


def test_no_sequence_gives_no_score() -> None:
    assert gradient_x_input(Linear(), np.zeros((0, L), np.uint8)).shape == (0, L)


def test_wrong_input_is_named(codes: np.ndarray) -> None:
    with pytest.raises(ChromTransferError, match="output='logits' is unknown"):
        gradient_x_input(Linear(), codes, output="logits")  # type: ignore[arg-type]
    with pytest.raises(ChromTransferError, match="expected base codes"):
        gradient_x_input(Linear(), np.zeros((2, L, 4), np.float32))


REGIONS = pd.DataFrame({"chrom": ["chr2", "chrX"], "start": [10, 0], "end": [14, 4]})
CODES = np.array([[0, 1, 2, 3], [4, 4, 3, 0]], dtype=np.uint8)
SCORES = np.array([[0.123456, -0.5, 0.0, -1e-9], [0.0, 0.0, 12.0, 1e-5]], dtype=np.float32)
TEXT = (
    ">chr2:10-14\nACGT\n0.12346 -0.50000 0.00000 0.00000\n>chrX:0-4\nNNTA\n0.00000 0.00000 12.00000 0.00001\n"
)


def test_text_format_is_the_original_one(tmp_path: Path) -> None:
    path = tmp_path / "HEPG2.grad-x-input"
    write_attributions(path, REGIONS, CODES, SCORES)
    assert path.read_text() == TEXT
    write_attributions(path, REGIONS, CODES, SCORES, decimals=2)
    assert path.read_text().splitlines()[2] == "0.12 -0.50 0.00 0.00"


def test_gzip_holds_the_same_text_and_repeats_byte_by_byte(tmp_path: Path) -> None:
    paths = [tmp_path / "a.grad-x-input.gz", tmp_path / "b.grad-x-input.gz"]
    for path in paths:
        write_attributions(path, REGIONS, CODES, SCORES)
    assert gzip.decompress(paths[0].read_bytes()).decode() == TEXT
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_bad_scores_leave_no_file(tmp_path: Path) -> None:
    broken = SCORES.copy()
    broken[1, 2] = np.nan
    with pytest.raises(ChromTransferError, match=r"chrX:0-4 are not finite"):
        write_attributions(tmp_path / "x.txt", REGIONS, CODES, broken)
    with pytest.raises(ChromTransferError, match="1 regions"):
        write_attributions(tmp_path / "x.txt", REGIONS[:1], CODES, SCORES)
    assert list(tmp_path.iterdir()) == []


def planted_and_scores(signal: float, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    planted = np.zeros((n, 200), dtype=bool)
    for row in planted:
        start = rng.integers(0, 185)
        row[start : start + 15] = True
    noise = rng.normal(size=planted.shape)
    return noise - signal * planted, planted  # negative on purpose: only the magnitude counts


def test_recovery_of_clear_sites_and_of_noise() -> None:
    clear = motif_recovery(*planted_and_scores(4.0))
    assert clear.recovered
    assert clear.top_share == 1.0
    assert clear.auroc > 0.95
    noise = motif_recovery(*planted_and_scores(0.0))
    assert not noise.recovered
    assert noise.auroc == pytest.approx(0.5, abs=0.05)
    # A 15 bp site is touched by 24 of the 191 possible 10 bp stretches, fewer at the edges.
    assert noise.top_expected == pytest.approx(24 / 191, abs=0.01)
    assert clear.top_expected == noise.top_expected


def test_recovery_by_hand() -> None:
    planted = np.zeros((3, 20), dtype=bool)
    planted[0, :2] = planted[1, :2] = True  # the third window has no site and does not count
    scores = np.zeros((3, 20))
    scores[0, 0], scores[1, 19] = 1.0, -1.0
    result = motif_recovery(scores, planted)
    # Window 1: one site base on top, one tied with the rest. Window 2: both tied, below one other base.
    assert result.auroc == pytest.approx(((1 + 0.5) / 2 + (17 / 18) * 0.5) / 2)
    assert (result.n_windows, result.top_share) == (2, 0.5)
    assert result.top_expected == pytest.approx(2 / 11)
    assert result.p_value == pytest.approx(1 - (9 / 11) ** 2)
    assert not result.recovered


def test_recovery_needs_sites() -> None:
    with pytest.raises(ChromTransferError, match="no window"):
        motif_recovery(np.zeros((2, 20)), np.zeros((2, 20), dtype=bool))
    with pytest.raises(ChromTransferError, match="one shape"):
        motif_recovery(np.zeros((2, 20)), np.zeros((2, 21), dtype=bool))
