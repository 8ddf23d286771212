"""Learning rate of each step: warm-up, cosine and the plateau of Keras."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from chromtransfer_plugin.defaults import Training
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.training.schedule import LearningRate


def settings(**changes) -> Training:
    return Training(lr=1.0, batch_size=2, patience=None, max_epochs=100, **changes)


def factors(rate: LearningRate, n: int) -> list[float]:
    return [rate.factor(step) for step in range(n)]


def plateau_factors(losses: list[float], rate: LearningRate) -> list[float]:
    """Factor that each epoch is trained with."""
    seen = []
    for epoch, loss in enumerate(losses):
        seen.append(rate.factor(epoch))
        rate.after_epoch(loss)
    return seen


def test_constant_is_one_at_every_step_whatever_the_losses():
    rate = LearningRate(settings(), 3, 4)
    assert plateau_factors([1.0] * 12, rate) == [1.0] * 12


def test_warm_up_rises_linearly_from_a_first_step_that_moves():
    rate = LearningRate(settings(warmup_epochs=0.5), 8, 2)
    assert factors(rate, 16) == [0.25, 0.5, 0.75] + [1.0] * 13


def test_cosine_by_hand():
    rate = LearningRate(settings(schedule="cosine"), 2, 3)
    root = math.sqrt(3) / 2
    wanted = [1, (1 + root) / 2, 0.75, 0.5, 0.25, (1 - root) / 2, 0]  # the last one is after the run
    np.testing.assert_allclose(factors(rate, 7), wanted, atol=1e-15)
    assert rate.factor(50) == 0


def test_cosine_after_warm_up_is_a_shorter_cosine():
    both = LearningRate(settings(schedule="cosine", warmup_epochs=1), 5, 4)
    short = LearningRate(settings(schedule="cosine"), 5, 3)
    np.testing.assert_allclose(factors(both, 20)[5:], factors(short, 15), rtol=1e-15)
    np.testing.assert_allclose(factors(both, 5), [0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_is_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    rate = LearningRate(settings(schedule="cosine"), 10, 3)
    for step in range(30):
        assert rate.factor(step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("epochs", [3, 2])
def test_a_warm_up_as_long_as_the_run_is_refused(epochs):
    with pytest.raises(
        ChromTransferError, match=rf"warmup_epochs=3 is not shorter than the run of {epochs} epochs"
    ):
        LearningRate(settings(warmup_epochs=3.0), 10, epochs)


# --- plateau ---------------------------------------------------------------------------------------------

# The paper's example script: x 0.1 after 5 epochs without an improvement by more than 1e-4.
KERAS = {"schedule": "plateau", "plateau_factor": 0.1, "plateau_patience": 5, "plateau_min_delta": 1e-4}


def test_plateau_by_hand():
    """Keras' callback worked out on paper; each loss is that of the epoch trained with the factor beside it."""
    script = [
        (0.7000, 1.0),  # best 0.7
        (0.6000, 1.0),  # best 0.6
        (0.59995, 1.0),  # 1: better by less than 1e-4 is no improvement, and the best stays 0.6
        (0.59991, 1.0),  # 2: measured from 0.6, not from the epoch before
        (0.6500, 1.0),  # 3
        (0.59985, 1.0),  # best 0.59985
        (0.7000, 1.0),  # 1
        (0.7000, 1.0),  # 2
        (0.7000, 1.0),  # 3
        (0.7000, 1.0),  # 4
        (0.7000, 1.0),  # 5: reduced after this epoch
        (0.7000, 0.1),  # 1: counted from 0 again
        (0.7000, 0.1),  # 2
        (0.7000, 0.1),  # 3
        (0.7000, 0.1),  # 4
        (0.7000, 0.1),  # 5
        (0.5000, 0.01),  # best 0.5; the rate does not rise again
        (0.5000, 0.01),  # 1
    ]
    losses, wanted = zip(*script, strict=True)
    np.testing.assert_allclose(plateau_factors(list(losses), LearningRate(settings(**KERAS), 1, 100)), wanted)


def torch_factors(losses: list[float], lr: float = 1.0, **arguments) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.1, threshold=1e-4, threshold_mode="abs", **arguments
    )
    seen = []
    for loss in losses:
        seen.append(optimizer.param_groups[0]["lr"] / lr)
        scheduler.step(loss)
    return seen


def walk(seed: int, n: int = 80) -> list[float]:
    """Losses that fall, then stall."""
    rng = np.random.default_rng(seed)
    return list(0.5 + 0.3 * np.exp(-np.arange(n) / 5) + 0.01 * rng.standard_normal(n))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("patience", [2, 5])
def test_plateau_is_torchs_with_one_epoch_less_patience(seed, patience):
    losses = walk(seed)
    ours = plateau_factors(losses, LearningRate(settings(**KERAS | {"plateau_patience": patience}), 1, 80))
    assert ours[-1] < 1e-3
    np.testing.assert_allclose(ours, torch_factors(losses, patience=patience - 1, eps=0), rtol=1e-9)
    assert not np.allclose(ours, torch_factors(losses, patience=patience, eps=0))


def test_there_is_no_floor():
    """torch's default stops reducing the paper's 5e-6 where a reduction is less than 1e-8."""
    losses = [1.0] * 32  # the first is the best
    ours = plateau_factors(losses, LearningRate(settings(**KERAS), 1, 40))
    assert ours[-1] == pytest.approx(1e-6)
    assert torch_factors(losses, lr=5e-6, patience=4)[-1] == pytest.approx(1e-3)


def test_plateau_and_warm_up_multiply():
    rate = LearningRate(settings(warmup_epochs=2, **KERAS | {"plateau_patience": 1}), 2, 10)
    rate.after_epoch(1.0)
    rate.after_epoch(1.0)
    np.testing.assert_allclose(factors(rate, 5), [0.025, 0.05, 0.075, 0.1, 0.1])


@pytest.mark.parametrize("at", [0, 1, 7, 40])
def test_a_restored_schedule_goes_on_exactly(at):
    losses = walk(9)
    whole = plateau_factors(losses, LearningRate(settings(**KERAS), 1, 80))
    first = LearningRate(settings(**KERAS), 1, 80)
    head = plateau_factors(losses[:at], first)
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    second = LearningRate(settings(**KERAS), 1, 80)
    second.restore(state)
    assert [*head, second.factor(at)] == whole[: at + 1]
    rest = []
    for epoch in range(at, 80):
        rest.append(second.factor(epoch))
        second.after_epoch(losses[epoch])
    assert head + rest == whole
