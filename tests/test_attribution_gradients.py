"""Gradient x input: TensorFlow's and tangermeme's numbers, closed forms, cost, and models that have no gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from genome_helpers import real_data_folder
from gradient_cases import LENGTH, WITHOUT_GRADIENT, Counting, random_codes
from ism_cases import make
from motif_cases import network as motif_network
from torch import nn

from chromtransfer_plugin.attribution import deep_lift_shap, gradient_x_input, integrated_gradients, ism
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import one_hot, reverse_complement_codes


@pytest.mark.real_data
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_scores_are_tensorflows(output: str) -> None:
    """On the network that TensorFlow 2.15.1 wrote as ft_keras2.h5 and the sequences in tfref_ft.npz beside it.

    tests/data/tf_gradients.npz was made there by tf.GradientTape: gradient of the model's output times input, summed over
    the bases; ``logit`` with the last activation replaced by a linear one.
    """
    from chromtransfer_plugin.keras.importer import read_keras

    folder = real_data_folder() / "keras"
    wanted = np.load(Path(__file__).parent / "data" / "tf_gradients.npz")[output]
    X = np.load(folder / "tfref_ft.npz")["x"].transpose(0, 2, 1)
    scores = gradient_x_input(read_keras(folder / "ft_keras2.h5").model, X, output=output)
    assert np.abs(wanted).max() > 0.2
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("hypothetical", [False, True])
def test_scores_are_tangermemes_without_its_correction(hypothetical: bool) -> None:
    from tangermeme.saliency import saliency

    model, codes = make(dtype=torch.float32), random_codes()
    wanted = saliency(
        model, torch.from_numpy(one_hot(codes)), target=1, gradient_correction=False, hypothetical=hypothetical,
        device="cpu",
    ).numpy()  # fmt: skip
    scores = gradient_x_input(model, codes, target=1, hypothetical=hypothetical)
    assert np.abs(scores).max() > 1e-2
    if hypothetical:
        np.testing.assert_array_equal(scores[2, :, 5:9], 0)
        wanted[2, :, 5:9] = 0
    np.testing.assert_allclose(scores, wanted if hypothetical else wanted.sum(axis=1), atol=1e-7)


def test_softmax_has_its_own_slope() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4 * LENGTH, 3)).double()
    codes = random_codes(2)
    X = one_hot(codes, dtype=np.float64)
    with torch.no_grad():
        p = torch.softmax(model(torch.from_numpy(X)), dim=1).numpy()
    weight = model[1].weight.detach().numpy().reshape(3, 4, LENGTH)
    # d p_1 / d z_k = p_1 (1 if k = 1 else 0) - p_1 p_k
    slope = p[:, 1, None, None] * (weight[1] - np.einsum("nk,kcl->ncl", p, weight))
    scores = gradient_x_input(model, codes, output="probability", target=1, activation="softmax")
    np.testing.assert_allclose(scores, (slope * X).sum(axis=1), rtol=1e-5)
    with pytest.raises(ChromTransferError, match="needs a model of at least two outputs"):
        gradient_x_input(
            nn.Sequential(nn.Flatten(), nn.Linear(4 * LENGTH, 1)), codes, "probability", activation="softmax"
        )


def test_one_pass_forwards_and_backwards_for_each_batch() -> None:
    model = Counting(make())
    gradient_x_input(model, random_codes(7), batch_size=3)
    # The last batch is filled up.
    assert (model.inputs, model.forwards, model.backwards) == (9, 3, 3)


def test_batches_change_rounding_only() -> None:
    model, codes = make(), random_codes(9)
    scores = gradient_x_input(model, codes, batch_size=9)
    for size in (1, 4, 100, None):
        np.testing.assert_allclose(gradient_x_input(model, codes, batch_size=size), scores, rtol=1e-6)


@pytest.mark.parametrize("network", [make, motif_network])
def test_a_sequence_does_not_depend_on_its_neighbours(network) -> None:
    """To the last bit, even where the gradient jumps: here the best match of a motif occurs many times."""
    torch.manual_seed(0)
    model = network().float()
    codes = np.tile(random_codes(11, 20), 12)
    together = gradient_x_input(model, codes)
    for first in (1, 5, 8, 10):
        np.testing.assert_array_equal(gradient_x_input(model, codes[first:]), together[first:])


@pytest.mark.parametrize("explain", [gradient_x_input, integrated_gradients])
def test_the_other_strand_of_a_model_that_reads_both(explain) -> None:
    model, codes = motif_network(), random_codes(4, 60)
    scores, other = explain(model, codes), explain(model, reverse_complement_codes(codes))
    if explain is integrated_gradients:
        scores, other = scores.scores, other.scores
    assert np.abs(scores).max() > 1e-4
    np.testing.assert_allclose(other, scores[:, ::-1], atol=1e-6 * np.abs(scores).max())


@pytest.mark.parametrize(
    "model", WITHOUT_GRADIENT, ids=lambda model: getattr(model, "how", type(model).__name__)
)
def test_a_model_without_gradients_is_named(model: nn.Module) -> None:
    message = rf"the model \({type(model).__name__}\) has no gradient: .* method ism"
    codes = random_codes(2)
    for explain in (gradient_x_input, integrated_gradients, deep_lift_shap):
        with pytest.raises(ChromTransferError, match=message):
            explain(model, codes)
    with pytest.raises(ChromTransferError, match=message):
        ism(model, codes, method="taylor")
    assert np.isfinite(ism(model, codes)).all()


@pytest.mark.parametrize("explain", [gradient_x_input, integrated_gradients, deep_lift_shap])
def test_what_every_method_refuses(explain) -> None:
    model, codes = make(), random_codes(3)
    for options, message in (
        ({"output": "logits"}, "output='logits' is unknown|objective='logits' is not usable"),
        ({"activation": "tanh"}, "activation='tanh' is unknown, use one of sigmoid, softmax"),
        ({"target": 2}, r"no target 2, the model's output has the shape \(\d+, 2\)"),
        ({"target": True}, "no target True"),
        ({"batch_size": 0}, "batch_size=0 is not usable"),
        ({"batch_size": True}, "batch_size=True is not usable"),
        ({"device": "gpu"}, "device 'gpu' is unknown"),
    ):
        with pytest.raises(ChromTransferError, match=message):
            explain(model, codes, **options)
    with pytest.raises(ChromTransferError, match="other numbers than 0 and one 1"):
        explain(model, one_hot(codes) / 2)
    with torch.no_grad():
        model.trunk.last_conv.conv.weight.fill_(float("nan"))
    with pytest.raises(
        ChromTransferError, match=r"scores of sequence 0 .* not finite; the model itself is broken"
    ):
        explain(model, codes)


def test_progress_counts_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    for explain in (gradient_x_input, integrated_gradients, deep_lift_shap):
        explain(make(), random_codes(3), progress=True)
        assert "3/3" in capsys.readouterr().err
        explain(make(), random_codes(1))
        assert capsys.readouterr().err == ""
