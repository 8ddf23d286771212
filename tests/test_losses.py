"""Losses by hand and by independent formulas; the shift of logits between shares of positives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import (
    BinaryLoss,
    CategoricalLoss,
    criterion_for,
    effective_prior,
    prior_shift,
    training_loss,
)

NAN = math.nan
Y = torch.tensor([[1.0, 0.0, NAN], [NAN, NAN, 1.0], [0.0, 1.0, 1.0]])


def logits_of(shape: tuple[int, ...], seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()


def targets_of(n: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (n, k)).astype(float))


# --- binary ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 1), (65, 7)])
def test_without_unknown_labels_it_is_torchs_cross_entropy(shape):
    logits = logits_of(shape).detach().float().requires_grad_()
    targets = targets_of(*shape).float()
    ours = BinaryLoss()(logits, targets)
    (gradient,) = torch.autograd.grad(ours, logits)
    theirs = functional.binary_cross_entropy_with_logits(logits, targets)
    if shape[1] == 1:  # the same sum in the same order
        assert ours.item() == theirs.item()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, logits)[0], rtol=1e-5, atol=1e-9)


def test_a_window_counts_once_however_many_labels_are_known():
    x = logits_of((3, 3))
    p = torch.sigmoid(x.detach())
    rows = [
        -(p[0, 0].log() + (1 - p[0, 1]).log()) / 2,
        -p[1, 2].log(),
        -((1 - p[2, 0]).log() + p[2, 1].log() + p[2, 2].log()) / 3,
    ]
    assert BinaryLoss()(x, Y.double()).item() == pytest.approx(sum(rows).item() / 3, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_unknown_labels_have_no_gradient_and_no_say(gamma):
    loss = BinaryLoss([0.5, 1.0, 2.0], [3.0, 1.0, 0.7], focal_gamma=gamma)
    x = logits_of((3, 3))
    value = loss(x, Y.double())
    (gradient,) = torch.autograd.grad(value, x)
    assert torch.isfinite(gradient).all()
    assert torch.equal(gradient == 0, torch.isnan(Y))
    changed = torch.where(torch.isnan(Y), torch.tensor(900.0, dtype=torch.float64), x)
    assert loss(changed, Y.double()).item() == value.item()


def test_shares_of_a_batch_average_to_it():
    loss = BinaryLoss(0.4, 1.7, focal_gamma=1.0)
    x, y = logits_of((12, 3)).detach(), targets_of(12, 3)
    y[::3, 1] = NAN
    halves = (loss(x[:6], y[:6]) + loss(x[6:], y[6:])) / 2
    assert loss(x, y).item() == pytest.approx(halves.item(), rel=1e-12)


def test_weights_multiply_and_the_mean_divides_by_the_number_of_terms():
    x, y = torch.tensor([[2.0], [0.5], [-1.0]]), torch.tensor([[1.0], [0.0], [0.0]])
    each = [2.5 * math.log1p(math.exp(-2)), 0.6 * math.log1p(math.exp(0.5)), 0.6 * math.log1p(math.exp(-1))]
    assert BinaryLoss(0.6, 2.5)(x, y).item() == pytest.approx(sum(each) / 3, rel=1e-6)


def test_weights_of_each_output():
    x, y = torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss = BinaryLoss(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    assert loss(x, y).item() == pytest.approx(math.log(2) * (3 + 5 + 1 + 2) / 4, rel=1e-6)


# --- focal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_papers_formula(gamma):
    x, y = logits_of((50, 1)), targets_of(50, 1)
    p = torch.sigmoid(x)
    p_t = torch.where(y > 0.5, p, 1 - p)
    wanted = (-((1 - p_t) ** gamma) * p_t.log()).mean()
    ours = BinaryLoss(focal_gamma=gamma)(x, y)
    assert ours.item() == pytest.approx(wanted.item(), rel=1e-10)
    gradients = [torch.autograd.grad(loss, x)[0] for loss in (ours, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-15)


def test_focal_loss_by_hand():
    # p_t = 0.9: Lin et al. write that gamma 2 divides its loss by 100.
    x, one = torch.tensor([[math.log(9.0)]]), torch.ones(1, 1)
    assert BinaryLoss(focal_gamma=2.0)(x, one).item() == pytest.approx(-math.log(0.9) / 100, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("softmax", [False, True])
def test_sure_networks_have_finite_losses_and_gradients(gamma, softmax):
    x = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [30.0, -30.0]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    loss = (CategoricalLoss if softmax else BinaryLoss)(focal_gamma=gamma)(x, y)
    (gradient,) = torch.autograd.grad(loss, x)
    # Only the second window is wrong, and (1 - p_t) is 1 there.
    assert loss.item() == pytest.approx((400 if softmax else 200) / 3, rel=1e-6)
    wanted = torch.tensor([-1.0, 1.0]) / (3 if softmax else 6)
    torch.testing.assert_close(gradient[1], wanted, rtol=1e-4, atol=0)  # float32 logits of 400
    assert torch.isfinite(gradient).all()
    assert gradient[[0, 2]].abs().max() < 1e-6


# --- exclusive classes -----------------------------------------------------------------------------------


def test_categorical_loss_is_torchs_cross_entropy():
    x, labels = logits_of((20, 5)), torch.arange(20) % 5
    y = torch.eye(5, dtype=torch.float64)[labels]
    assert CategoricalLoss()(x, y).item() == pytest.approx(
        functional.cross_entropy(x, labels).item(), rel=1e-12
    )
    weights = [0.5, 1.0, 2.0, 4.0, 0.25]
    each = functional.cross_entropy(x, labels, reduction="none") * torch.tensor(weights).double()[labels]
    assert CategoricalLoss(weights)(x, y).item() == pytest.approx(each.mean().item(), rel=1e-12)
    p_t = torch.exp(-functional.cross_entropy(x, labels, reduction="none"))
    focal = (-((1 - p_t) ** 2) * p_t.log()).mean()
    assert CategoricalLoss(focal_gamma=2.0)(x, y).item() == pytest.approx(focal.item(), rel=1e-10)


def test_two_classes_are_one_logit():
    """Softmax over (0, x) is a sigmoid of x, with focal weights too."""
    x, y = logits_of((30, 1)), targets_of(30, 1)
    two, onehot = torch.cat([torch.zeros_like(x), x], dim=1), torch.cat([1 - y, y], dim=1)
    for gamma in (0.0, 1.5):
        binary, classes = BinaryLoss(focal_gamma=gamma)(x, y), CategoricalLoss(focal_gamma=gamma)(two, onehot)
        assert binary.item() == pytest.approx(classes.item(), rel=1e-12)


def test_validation_losses_have_no_weights():
    assert isinstance(criterion_for("softmax"), CategoricalLoss)
    assert isinstance(criterion_for("sigmoid"), BinaryLoss)
    assert criterion_for("softmax")(torch.zeros(3, 7), torch.eye(7)[:3]).item() == pytest.approx(math.log(7))
    assert criterion_for("sigmoid")(torch.zeros(3, 2), torch.ones(3, 2)).item() == pytest.approx(math.log(2))


# --- class weights from a training set -------------------------------------------------------------------


def test_balanced_weights_agree_with_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    y = np.array([1, 0, 0, 0, 0, 1, 0])
    loss = training_loss("sigmoid", y[:, None].astype(np.float32), balanced=True)
    wanted = compute_class_weight("balanced", classes=np.array([0, 1]), y=y)
    assert [loss.negative_weight.item(), loss.positive_weight.item()] == pytest.approx(wanted, rel=1e-7)
    labels = np.array([2, 0, 1, 1, 2, 2, 2])
    loss = training_loss("softmax", np.eye(3)[labels], balanced=True)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(loss.class_weights, wanted, rtol=1e-6)


def test_balanced_weights_of_tasks_count_known_labels():
    y = np.array([[1, 0], [0, 1], [0, NAN], [0, NAN], [NAN, 0], [NAN, 0]])
    loss = training_loss("sigmoid", y, balanced=True)
    np.testing.assert_allclose(loss.positive_weight, [4 / 2, 4 / 2])
    np.testing.assert_allclose(loss.negative_weight, [4 / 6, 4 / 6])


def test_pos_weight_and_gamma_reach_the_loss():
    loss = training_loss("sigmoid", np.array([[1.0], [0.0]]), pos_weight=3.0, focal_gamma=2.0)
    x, y = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
    assert loss(x, y).item() == pytest.approx((3 + 1) / 2 * 0.25 * math.log(2))
    loss = training_loss("softmax", np.eye(2), focal_gamma=2.0)
    assert loss(torch.zeros(2, 2), torch.eye(2)).item() == pytest.approx(0.25 * math.log(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sigmoid", [[1], [0]], True, 2.0), "balanced and pos_weight=2 both weigh the classes: choose one"),
        (("softmax", [[1, 0], [0, 1]], False, 2.0), "pos_weight=2 has no meaning for exclusive classes"),
        (("sigmoid", [[0], [0]], True), "for output 0 the training set has 0 positive and 2 negative"),
        (
            ("sigmoid", [[0, 1], [1, 1], [1, NAN]], True),
            "for output 1 the training set has 2 positive and 0 neg",
        ),
        (("sigmoid", [[0, 1], [1, 1]], True, None, 0, ["a", "liver"]), "for 'liver' the training set"),
        (("softmax", [[1, 0, 0], [0, 1, 0]], True, None, 0, ["a", "b", "c"]), "'c' does not occur"),
    ],
)
def test_impossible_weights(arguments, message):
    activation, targets, *rest = arguments
    with pytest.raises(ChromTransferError) as error:
        training_loss(activation, np.array(targets, dtype=np.float32), *rest)
    assert message in str(error.value)


# --- share of positives ----------------------------------------------------------------------------------

ONE_IN_FIVE = np.array([[1.0], [0.0], [0.0], [0.0], [0.0]])


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, 0.2),
        ({"balanced": True}, 0.5),
        ({"pos_weight": 3.0}, 3 / 7),
        ({"sampling": "balanced"}, 0.5),
        ({"sampling": "balanced", "pos_weight": 3.0}, 0.75),
        ({"sampling": "balanced", "balanced": True}, 0.8),  # corrected twice
    ],
)
def test_effective_prior_by_hand(settings, wanted):
    np.testing.assert_allclose(effective_prior(ONE_IN_FIVE, **settings), [wanted], rtol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"balanced": True}, {"pos_weight": 4.0}])
def test_effective_prior_is_what_a_constant_network_learns(settings):
    """A network without input ends at logit(prior): the gradient of the loss vanishes there."""
    y = np.where(np.random.default_rng(3).random((200, 3)) < [0.1, 0.4, 0.8], 1.0, 0.0)
    y[:60, 0] = y[150:, 1] = NAN
    prior = effective_prior(y, **settings)
    logits = torch.logit(torch.from_numpy(prior)).requires_grad_()
    loss = training_loss("sigmoid", y, **settings)(logits.expand(200, 3), torch.from_numpy(y))
    (gradient,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(gradient, 0, atol=1e-8)


def test_effective_prior_of_exclusive_classes():
    y = np.eye(3)[[0, 0, 0, 0, 0, 0, 1, 1, 1, 2]]
    np.testing.assert_allclose(effective_prior(y, activation="softmax"), [0.6, 0.3, 0.1])
    for settings in ({"balanced": True}, {"sampling": "balanced"}):
        np.testing.assert_allclose(
            effective_prior(y, activation="softmax", **settings), np.full(3, 1 / 3), rtol=1e-6
        )


def test_shifted_logits_are_bayes_rule():
    """Two unit normals at 0 and 1: the true logit is x - 1/2 + logit(prior)."""
    x = np.linspace(-3, 3, 7)
    logits = {prior: x - 0.5 + math.log(prior / (1 - prior)) for prior in (0.5, 0.02)}
    shift = prior_shift(np.array([0.5]), 0.02)
    np.testing.assert_allclose(logits[0.5] + shift, logits[0.02], rtol=1e-12)
    np.testing.assert_allclose(prior_shift(np.array([0.02]), [0.02]), [0.0], atol=1e-15)
    np.testing.assert_allclose(prior_shift(np.array([0.2, 0.5]), 0.5), [math.log(4), 0])


def test_shifted_class_logits_are_bayes_rule():
    start, goal, likelihood = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1]), np.array([0.7, 0.1, 0.4])
    logits = np.log(start * likelihood) + prior_shift(start, goal, activation="softmax")
    p = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(p, goal * likelihood / (goal * likelihood).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: effective_prior(ONE_IN_FIVE, focal_gamma=2.0), "focal_gamma=2 does not"),
        (lambda: effective_prior(np.ones((3, 1))), "output 0 has only one kind"),
        (lambda: prior_shift(np.array([0.5]), 1.0), "target_prior=1.0 is not a share between 0 and 1"),
        (lambda: prior_shift(np.array([0.5]), NAN), "target_prior=nan is not a share"),
        (lambda: prior_shift(np.array([0.5]), [0.1, 0.2]), "2 shares but the model has 1 outputs"),
        (
            lambda: prior_shift(np.ones(3) / 3, 0.1, activation="softmax"),
            "one share for each of the 3 classes",
        ),
        (lambda: prior_shift(np.ones(2) / 2, [0.3, 0.3], activation="softmax"), "summing to 1"),
    ],
)
def test_impossible_priors(call, message):
    with pytest.raises(ChromTransferError) as error:
        call()
    assert message in str(error.value)
