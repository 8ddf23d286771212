"""The training engine: reproducible, stops when it should, keeps the best epoch, resumes bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional
from training_cases import SETTINGS, assert_equal, make_trainer, make_windows, tensors, without_speed

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.defaults import PRETRAIN, Engine, Training
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.losses import BinaryLoss, criterion_for, training_loss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.training import Evaluation, evaluate, l2_penalty, phase_run, trainer

# --- a whole run -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An uninterrupted run: its folder, result and final weights."""
    folder = tmp_path_factory.mktemp("run")
    trainer = make_trainer(folder)
    return folder, trainer.fit(), tensors(trainer.model)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(run, tmp_path):
    again = make_trainer(tmp_path / "a")
    result = again.fit()
    assert without_speed(result.history) == without_speed(run[1].history)
    assert_equal(tensors(again.model), run[2])
    short = SETTINGS.model_copy(update={"max_epochs": 1})
    losses = {make_trainer(tmp_path / f"{s}", short, seed=s).fit().history[0].train_loss for s in (7, 8)}
    assert len(losses) == 2
    assert run[1].history[0].train_loss in losses


def test_it_learns(run):
    assert run[1].best.validation_loss < 0.6 < run[1].history[0].train_loss
    loss, logits = evaluate(load_model(run[0]).model, make_windows(60, 9), BinaryLoss())
    assert ((logits > 0) == make_windows(60, 9).targets).mean() > 0.8
    assert loss < 0.6


def test_history_and_checkpoint_say_what_happened(run):
    folder, result, final = run
    table = pd.read_csv(folder / "history.csv")
    assert list(table.columns) == [
        *(
            "epoch",
            "step",
            "train_loss",
            "validation_loss",
            "l2",
            "lr",
            "sequences_per_second",
            "best",
            "phase",
        ),
    ]
    assert [tuple(row) for row in table.itertuples(index=False)] == [tuple(epoch) for epoch in result.history]
    assert list(table["epoch"]) == [1, 2, 3, 4]
    assert list(table["step"]) == [4, 8, 12, 16]  # 65 windows: the lone last one joins the fourth batch
    assert set(table["lr"]) == {0.01}
    model, card = load_model(folder / "best_model")
    assert_equal(tensors(model), final)
    assert card.training["best"] == result.best._asdict()
    assert card.training["settings"] == SETTINGS.model_dump()
    assert sorted(path.name for path in folder.iterdir()) == ["best_model", "history.csv", "run.json"]


def test_the_monitored_loss_counts_the_penalty_like_keras(run):
    folder, result, _ = run
    kernels = [w for n, w in load_model(folder).model.state_dict().items() if n.endswith(".conv.conv.weight")]
    assert len(kernels) == 20
    penalty = 1e-4 * sum(w.double().pow(2).sum().item() for w in kernels)
    assert result.best.l2 == pytest.approx(penalty, rel=1e-9)
    assert result.best.monitored == result.best.validation_loss + result.best.l2
    assert result.best.monitored == min(epoch.monitored for epoch in result.history)
    model = ChromTransfer(width=0.0625)
    assert l2_penalty(model, 1e-4) > 0 == l2_penalty(model, 0.0)


def test_the_first_epoch_equals_a_plain_loop(tmp_path):
    """Adam as Keras sets it up, decay 2e-4 on 20 kernels, batches in the order of the seed."""
    trainer = make_trainer(tmp_path, SETTINGS.model_copy(update={"max_epochs": 1}))
    history = trainer.fit().history
    model = make_trainer(tmp_path / "other").model.train()
    decayed = [p for n, p in model.named_parameters() if n.endswith(".conv.conv.weight")]
    rest = [p for n, p in model.named_parameters() if not n.endswith(".conv.conv.weight")]
    groups = [{"params": decayed, "weight_decay": 2e-4}, {"params": rest}]
    optimizer = torch.optim.Adam(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-7, fused=True)
    windows, total = make_windows(65, 1), 0.0
    order = np.random.default_rng([7, 0]).permutation(65)
    for rows in (order[:16], order[16:32], order[32:48], order[48:]):
        X = torch.eye(4)[torch.from_numpy(windows.codes[rows].astype(int))].transpose(1, 2).contiguous()
        loss = functional.binary_cross_entropy_with_logits(model(X), torch.from_numpy(windows.targets[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    assert history[0].train_loss == pytest.approx(total / 65, rel=1e-6)
    for ours, plain in zip(tensors(trainer.model), tensors(model), strict=True):
        # Adam magnifies the rounding of gradients that are nearly zero; a wrong rate or decay moves by 1e-2.
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-3)


# --- stopping --------------------------------------------------------------------------------------------


def scripted(monkeypatch, losses: list[float]) -> None:
    """Make the validation losses what a test needs; the penalty is set to zero in the settings."""
    values = iter(losses)
    monkeypatch.setattr(
        phase_run, "evaluate", lambda *_: Evaluation(next(values), np.zeros((20, 1), np.float32))
    )


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best", "early"),
    [
        ([5, 4, 6, 6, 6, 1], 3, 5, 2, True),  # third epoch without a better one ends it
        ([5, 4, 4, 4, 4, 1], 3, 5, 2, True),  # an equal loss is no improvement
        ([5, 6, 6, 4, 6, 6], 3, 6, 4, False),  # the limit of epochs comes first
        ([5, 6, 1], 1, 2, 1, True),
        ([5, 6, 6, 6, 6, 6], None, 6, 1, False),
    ],
)
def test_early_stopping_and_the_best_epoch(monkeypatch, tmp_path, losses, patience, epochs, best, early):
    scripted(monkeypatch, losses)
    settings = Training(lr=0.01, batch_size=64, patience=patience, max_epochs=6, l2=0)
    trainer = make_trainer(tmp_path, settings)
    weights = {}
    result = trainer.fit(lambda epoch, _: weights.update({epoch.epoch: tensors(trainer.model)}))
    assert len(result.history) == epochs == len(weights)
    assert (result.best.epoch, result.stopped_early) == (best, early)
    assert_equal(tensors(trainer.model), weights[best])
    assert not trainer.model.training
    assert [e.epoch for e in result.history if e.best][-1] == best


def test_the_penalty_takes_part_in_stopping(monkeypatch, tmp_path):
    """A cross-entropy that falls by less than the penalty rises is not an improvement."""
    scripted(monkeypatch, [5.0, 4.9])
    penalties = iter([1.0, 1.2])
    monkeypatch.setattr(trainer, "l2_penalty", lambda *_: next(penalties))
    result = make_trainer(tmp_path, Training(lr=0.01, batch_size=64, patience=1, max_epochs=9)).fit()
    assert [epoch.monitored for epoch in result.history] == pytest.approx([6.0, 6.1])
    assert result.best.epoch == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_advice(monkeypatch, tmp_path, value):
    scripted(monkeypatch, [0.7, value])
    with pytest.raises(
        ChromTransferError, match=rf"became {value} in epoch 2. Lower the learning rate \(lr\)"
    ):
        make_trainer(tmp_path).fit()


def test_steps_can_be_limited(tmp_path):
    result = make_trainer(tmp_path, engine=Engine(max_steps=6)).fit()
    assert [epoch.step for epoch in result.history] == [4, 6]


# --- resuming --------------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


def kill_after(epochs: int):
    def on_epoch(epoch, _):
        if epoch.epoch == epochs:
            raise KilledError

    return on_epoch


def test_an_interrupted_run_ends_as_if_nothing_had_happened(run, tmp_path):
    """Killed in the third epoch, after its checkpoint but before its state was written: it is done again."""
    trainer = make_trainer(tmp_path)
    with pytest.raises(KilledError):
        trainer.fit(kill_after(3))
    assert (tmp_path / "resume.safetensors").exists()
    torch.rand(1000)  # the generator of the new process is somewhere else
    seen = []
    trainer = make_trainer(tmp_path)
    torch.rand(1000)
    result = trainer.fit(lambda epoch, _: seen.append(epoch.epoch))
    assert seen == [3, 4]
    assert without_speed(result.history) == without_speed(run[1].history)
    assert_equal(tensors(trainer.model), run[2])
    assert not (tmp_path / "resume.safetensors").exists()


@pytest.fixture
def interrupted(tmp_path):
    with pytest.raises(KilledError):
        make_trainer(tmp_path).fit(kill_after(2))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": SETTINGS.model_copy(update={"lr": 0.02})}, "settings"),
        ({"train": make_windows(64, 3)}, "train"),
        ({"validation": make_windows(20, 4)}, "validation"),
        ({"seed": 8}, "seed"),
        ({"model_seed": 2}, "torch_seed"),
        ({"engine": Engine(bf16=True)}, "engine"),
        ({"model": ChromTransfer(width=0.0625, head=(5,))}, "architecture"),
        ({"facts": {"pretrained": "elsewhere"}}, "pretrained"),
    ],
)
def test_the_state_of_another_run_is_refused(interrupted, changes, message):
    before = (interrupted / "resume.safetensors").read_bytes()
    trainer = make_trainer(interrupted, **changes)
    wanted = rf"resume.safetensors: an unfinished run with other {message} is in this folder\. Choose another"
    with pytest.raises(ChromTransferError, match=wanted):
        trainer.fit()
    assert (interrupted / "resume.safetensors").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"x" * 100])
def test_a_damaged_state_is_refused(interrupted, content):
    (interrupted / "resume.safetensors").write_bytes(content)
    with pytest.raises(
        ChromTransferError, match=r"cannot resume, the file is damaged.*Delete it to start over"
    ):
        make_trainer(interrupted).fit()


# --- losses ----------------------------------------------------------------------------------------------


def test_balanced_weights_are_n_over_two_n_class():
    targets = np.array([[1], [0], [0], [0], [0]], dtype=np.float32)
    loss = training_loss("sigmoid", targets, balanced=True)
    assert (loss.negative_weight.item(), loss.positive_weight.item()) == (5 / 8, 5 / 2)
    logits = torch.tensor([[2.0], [0.5], [-1.0], [0.0], [3.0]])
    p = torch.sigmoid(logits)[:, 0].double()
    each = torch.cat([-torch.log(p[:1]) * 2.5, -torch.log(1 - p[1:]) * 0.625])
    assert loss(logits, torch.from_numpy(targets)).item() == pytest.approx(each.mean().item(), rel=1e-6)
    with pytest.raises(ChromTransferError, match="0 positive and 5 negative"):
        training_loss("sigmoid", np.zeros((5, 1)), balanced=True)


def test_losses_of_logits_by_hand():
    y = torch.tensor([[1.0], [0.0]])
    assert BinaryLoss()(torch.zeros(2, 1), y).item() == pytest.approx(math.log(2))
    assert BinaryLoss()(torch.tensor([[800.0], [-800.0]]), y).item() == 0  # no overflow
    classes = criterion_for("softmax")(torch.zeros(3, 7), torch.eye(7)[:3])
    assert classes.item() == pytest.approx(math.log(7))
    assert isinstance(criterion_for("sigmoid"), BinaryLoss)


def test_cross_entropy_takes_one_hot_targets():
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    wanted = -(logits[0, 1] - torch.logsumexp(logits[0], 0))
    assert criterion_for("softmax")(logits, torch.eye(3)[1:2]).item() == pytest.approx(wanted.item())


def test_evaluation_is_weighted_by_batch_and_leaves_the_model_alone():
    model = ChromTransfer(width=0.0625, head=(4,)).train()
    before, windows = tensors(model), make_windows(21, 5)
    whole = evaluate(model, windows, BinaryLoss())
    parts = evaluate(model, windows, BinaryLoss(), batch_size=8)  # 8, 8 and 5
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    np.testing.assert_allclose(parts.logits, whole.logits, atol=1e-5)
    assert_equal(tensors(model), before)
    assert model.training
    entropy = np.logaddexp(0, whole.logits) - windows.targets * whole.logits
    assert whole.loss == pytest.approx(entropy.mean(), rel=1e-5)


def test_pretraining_uses_the_papers_settings():
    assert (PRETRAIN.lr, PRETRAIN.batch_size, PRETRAIN.patience, PRETRAIN.adam_eps) == (1e-3, 256, 15, 1e-7)


def test_class_weights_count_in_training_only(tmp_path):
    """As Keras' class_weight: the validation loss, on which training stops, has no weights."""
    weighted = BinaryLoss(negative_weight=0.2, positive_weight=3.0)
    trainer = make_trainer(tmp_path, criterion=weighted, validation_criterion=BinaryLoss())
    result = trainer.fit()
    plain = evaluate(trainer.model, trainer.validation, BinaryLoss()).loss
    assert result.best.validation_loss == pytest.approx(plain, rel=1e-6)
    assert evaluate(trainer.model, trainer.validation, weighted).loss != pytest.approx(plain, rel=0.01)
