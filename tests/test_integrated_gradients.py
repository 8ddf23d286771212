"""Integrated gradients against closed forms, captum, and the difference that the scores must add up to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gradient_cases import LENGTH, Counting, Power, random_codes
from ism_cases import make

from chromtransfer_plugin.attribution import integrated_gradients
from chromtransfer_plugin.attribution.references import shuffles
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import one_hot


def test_linear_model_has_its_weights() -> None:
    model, codes = Power(1), random_codes()
    found = integrated_gradients(model, codes, steps=1, hypothetical=True)
    assert found.scores.dtype == found.hypothetical.dtype == np.float32
    np.testing.assert_allclose(found.scores, model.at(codes), rtol=1e-6)
    known = (codes < 4)[:, None]
    np.testing.assert_allclose(found.hypothetical, model.weight.detach().numpy() * known, rtol=1e-6)
    np.testing.assert_allclose(found.completeness.difference, model.at(codes).sum(axis=1))
    np.testing.assert_allclose(found.completeness.total, found.scores.sum(axis=1, dtype=float))
    assert found.completeness.relative.max() < 1e-7


def test_linear_model_with_shuffles_has_the_difference_from_them() -> None:
    model, codes = Power(1), random_codes()
    found = integrated_gradients(
        model, codes, steps=1, baseline="shuffled", references=3, seed=5, hypothetical=True
    )
    others = shuffles(torch.from_numpy(codes), 3, 5).numpy()
    at_others = np.mean([model.at(others[:, k]) for k in range(3)], axis=0)
    np.testing.assert_allclose(found.scores, model.at(codes) - at_others, atol=1e-6)
    known = (codes < 4)[:, None]
    every = (model.weight.detach().numpy() - at_others[:, None]) * known
    np.testing.assert_allclose(found.hypothetical, every, atol=1e-6)
    np.testing.assert_allclose(
        found.completeness.difference, (model.at(codes) - at_others).sum(axis=1), atol=1e-9
    )


def test_a_parabola_needs_one_step() -> None:
    """The gradient grows in proportion to the way, so its mean is half of that at the end."""
    model, codes = Power(2), random_codes()
    at = model.at(codes)
    scores = integrated_gradients(model, codes, steps=1).scores
    np.testing.assert_allclose(scores, at * at.sum(axis=1, keepdims=True), rtol=1e-6)


def test_points_of_a_path_are_as_exact_as_the_model() -> None:
    """Where matches are equally strong, the last digit of a point decides which of them has all of the gradient."""
    model, codes = Power(1).double(), random_codes()[:1]
    points: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, given: points.append(given[0].detach().amax(dim=(1, 2))))
    integrated_gradients(model, codes, steps=10)
    assert torch.cat(points).tolist() == [step / 10 for step in range(11)]


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_what_the_trapezoids_of_a_cubic_leave_over(steps: int) -> None:
    """The mean of 3 a**2 over n trapezoids is 1 + 1 / (2 n**2)."""
    model, codes = Power(3), random_codes()
    found = integrated_gradients(model, codes, steps=steps)
    np.testing.assert_allclose(found.completeness.relative, 1 / (2 * steps**2), rtol=1e-3)
    np.testing.assert_allclose(found.completeness.difference, model.at(codes).sum(axis=1) ** 3, rtol=1e-9)
    assert (found.completeness.delta > 0).all()


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_scores_of_a_network_add_up(output: str) -> None:
    model, codes = make(), random_codes(2, 250)
    coarse, fine = (
        integrated_gradients(
            model, codes, output, 1, baseline="shuffled", references=1, steps=steps, batch_size=64
        ).completeness
        for steps in (5, 100)
    )
    assert fine.size.min() > 1e-2
    assert fine.relative.max() < 2e-2
    assert fine.relative.mean() < coarse.relative.mean()
    np.testing.assert_array_equal(coarse.difference, fine.difference)


def test_scores_are_captums() -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is not installed")
    model, codes = make(dtype=torch.float32), random_codes(3, 60)
    n = 21
    X = torch.from_numpy(one_hot(codes)).requires_grad_()
    wanted = captum.IntegratedGradients(model).attribute(X, target=1, n_steps=n, method="riemann_trapezoid")
    scores = integrated_gradients(model, codes, target=1, steps=n - 1).scores
    # Captum's n points divide the way into n - 1 parts, but it gives each the weight 1 / n.
    wanted = wanted.detach().sum(dim=1).numpy() * n / (n - 1)
    np.testing.assert_allclose(scores, wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_sequence_does_not_depend_on_its_neighbours_nor_on_batches() -> None:
    model, codes = make(dtype=torch.float32), random_codes(5)
    options = {"steps": 7, "baseline": "shuffled", "references": 3}
    together = integrated_gradients(model, codes, **options)
    for row in (0, 2, 4):
        alone = integrated_gradients(model, codes[row : row + 1], **options)
        np.testing.assert_array_equal(alone.scores[0], together.scores[row])
    small = integrated_gradients(model, codes, batch_size=5, **options)
    np.testing.assert_allclose(small.scores, together.scores, atol=1e-6)


def test_gradients_are_counted() -> None:
    model = Counting(make())
    integrated_gradients(model, random_codes(3), steps=10, batch_size=4)
    assert (model.inputs, model.forwards, model.backwards) == (3 * 11, 3 * 3, 3 * 3)


def test_nothing_to_explain() -> None:
    """A sequence of unknown bases is the zero baseline; a repeat of one base has no other shuffle."""
    codes = np.array([[4] * LENGTH, [2] * LENGTH], dtype=np.uint8)
    found = integrated_gradients(make(), codes[:1])
    np.testing.assert_array_equal(found.scores, 0)
    np.testing.assert_array_equal(found.completeness.relative, 0)
    found = integrated_gradients(make(), codes, baseline="shuffled", references=2)
    np.testing.assert_array_equal(found.scores, 0)
    np.testing.assert_array_equal(found.completeness.relative, 0)
    assert integrated_gradients(make(), codes[:0]).scores.shape == (0, LENGTH)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 is not usable: .* greater than or equal to 1"),
        ({"baseline": "one"}, "baseline='one' is not usable: .* 'zero' or 'shuffled'"),
        ({"references": 0}, "references=0 is not usable"),
        ({"seed": -1}, "seed=-1 is not usable"),
        ({"seed": 2**32}, "seed=4294967296 is not usable"),
    ],
)
def test_wrong_options(options: dict, message: str) -> None:
    with pytest.raises(ChromTransferError, match=message):
        integrated_gradients(make(), random_codes(1), **options)
