"""Learning curves: reading logs, the diagnosis, the figure."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from training_cases import make_trainer

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.learning_curves import LearningCurve, diagnose, read_learning


def make_curve(validation, train=None, **more) -> LearningCurve:
    validation = np.asarray(validation, dtype=float)
    n = len(validation)
    train = np.linspace(0.6, 0.3, n) if train is None else np.asarray(train, dtype=float)
    return LearningCurve("run", None, np.arange(1, n + 1), train, validation, np.zeros(n), **more)


def test_a_run_of_the_trainer_is_read_as_it_was_logged(tmp_path):
    result = make_trainer(tmp_path / "run").fit()
    (curve,) = read_learning(tmp_path / "run")
    assert curve.name == "run"
    assert curve.epoch.tolist() == [1, 2, 3, 4][: len(result.history)]
    assert curve.validation_loss == pytest.approx([epoch.validation_loss for epoch in result.history])
    assert curve.train_loss == pytest.approx([epoch.train_loss for epoch in result.history])
    assert curve.penalty == pytest.approx([epoch.l2 for epoch in result.history])
    assert curve.kept == curve.best == result.best.epoch
    (again,) = read_learning(tmp_path / "run" / "best_model")
    assert np.array_equal(again.train_loss, curve.train_loss)


def test_folds_come_in_the_order_of_their_numbers(tmp_path):
    for fold in (0, 2, 10):
        (tmp_path / f"fold_{fold}").mkdir()
        table = pd.DataFrame({"epoch": [1], "train_loss": [fold], "validation_loss": [0.5], "l2": [0.1]})
        table.to_csv(tmp_path / f"fold_{fold}" / "history.csv", index=False)
    curves = read_learning(tmp_path)
    assert [curve.name for curve in curves] == ["fold_0", "fold_2", "fold_10"]
    assert [curve.train_loss[0] for curve in curves] == [0, 2, 10]
    assert curves[0].kept is None


def test_the_log_of_keras_counts_from_0(tmp_path):
    log = tmp_path / "training.csv"
    log.write_text(
        "epoch,accuracy,loss,val_accuracy,val_loss\n0,.5,.70,.52,.71\n1,.6,.60,.55,.66\n2,.7,.50,.5,.7\n"
    )
    (curve,) = read_learning(log)
    assert curve.epoch.tolist() == [1, 2, 3]
    assert curve.train_loss.tolist() == [0.7, 0.6, 0.5]
    assert curve.validation_loss.tolist() == [0.71, 0.66, 0.7]
    assert curve.metrics["accuracy"].tolist() == [0.52, 0.55, 0.5]
    assert curve.best == 2


def test_the_logs_of_selene(tmp_path):
    (tmp_path / "selene_sdk.train_model.train.txt").write_text("loss\n0.7\n0.6\n0.5\n")
    validation = tmp_path / "selene_sdk.train_model.validation.txt"
    validation.write_text("loss\taverage_precision\troc_auc\n0.71\t0.5\t0.6\n0.69\tNA\t0.7\n")
    (curve,) = read_learning(tmp_path)
    assert curve.validation_loss.tolist() == [0.71, 0.69]
    assert curve.train_loss.tolist() == [0.7, 0.6]
    assert curve.metrics["roc_auc"].tolist() == [0.6, 0.7]
    assert np.isnan(curve.metrics["average_precision"][1])
    pd.DataFrame({"epoch": [1, 2], "train_loss": [3, 2], "validation_loss": [3, 2]}).to_csv(
        tmp_path / "history.csv", index=False
    )
    (curve,) = read_learning(tmp_path)
    assert curve.validation_loss.tolist() == [3, 2]
    assert curve.metrics["roc_auc"].tolist() == [0.6, 0.7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "is no log of epochs: it has the columns a, b"),
        ("epoch,train_loss,validation_loss\n", "has no epoch yet"),
        ("", "cannot be read as a log of epochs"),
        ("epoch,loss\n0,much\n", "line 2: loss is 'much', expected a number"),
        ("epoch,loss\n0,1\n1,1\n0,1\n", "the epochs do not rise"),
    ],
)
def test_what_is_no_log(tmp_path, text, message):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ChromTransferError, match=message):
        read_learning(tmp_path / "log.csv")


def test_a_folder_without_a_log(tmp_path):
    with pytest.raises(ChromTransferError, match="no learning curve here"):
        read_learning(tmp_path)
    with pytest.raises(ChromTransferError, match="no learning curve here"):
        read_learning(tmp_path / "missing")


@pytest.mark.parametrize(
    ("curve", "kind", "words"),
    [
        (
            make_curve([0.6, 0.5, 0.55, 0.6, 0.65]),
            "overfits",
            r"after epoch 2 of 5 .* rises by 20 % \(to 0.600",
        ),
        (make_curve([0.6, 0.5, 0.55, 0.6, 0.65], kept=2), "overfits", "weights of epoch 2 were kept"),
        # The same validation loss is no overfitting where training does not get better either.
        (
            make_curve([0.6, 0.5, 0.55, 0.6, 0.65], [0.6, 0.5, 0.5, 0.6, 0.6]),
            "converged",
            "lowest in epoch 2",
        ),
        (
            make_curve([0.69, 0.66, 0.63, 0.60, 0.57]),
            "improving",
            r"0.570, 13.6 % lower than 3 epochs before",
        ),
        (make_curve([0.69, 0.6, 0.6, 0.6, 0.599]), "converged", "epoch 5 of 5"),
        (make_curve([0.69, 0.6, 0.59, 0.6, 0.6]), "converged", "lowest in epoch 3"),
        (make_curve([0.693] * 5, [0.693, 0.692, 0.693, 0.693, 0.692]), "flat", "learning rate is too low"),
        (make_curve([0.6, np.nan, np.nan]), "diverged", "validation loss is no number from epoch 2"),
        (
            make_curve([0.6, 0.6, 0.6], [0.6, 0.6, np.inf]),
            "diverged",
            "training loss is no number from epoch 3",
        ),
        (make_curve([0.6, 0.7, 0.9], [0.6, 0.8, 1.2]), "diverged", "rises from 0.6 to 1.2"),
        (make_curve([0.6, 0.5]), "unknown", "2 epochs: too few"),
        (make_curve([np.nan] * 4), "unknown", "no validation loss"),
    ],
)
def test_diagnosis(curve, kind, words):
    found = diagnose(curve)
    assert found.kind == kind
    assert re.search(words, found.text), found.text


def test_the_figure_shows_both_losses_and_the_epoch_kept():
    from matplotlib.figure import Figure

    from chromtransfer_plugin.plots.learning import plot_learning

    ax = Figure().subplots()
    plot_learning(ax, [make_curve([0.6, 0.5, 0.55], kept=2), make_curve([0.7, 0.6, 0.5])], "HEPG2")
    lines = ax.get_lines()
    assert len(lines) == 6
    assert lines[0].get_ydata().tolist() == pytest.approx([0.6, 0.45, 0.3])
    assert lines[1].get_ydata().tolist() == [0.6, 0.5, 0.55]
    assert (lines[2].get_xdata()[0], lines[2].get_ydata()[0]) == (2, 0.5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "training",
        "validation",
        "epoch kept",
    ]
    assert ax.get_title() == "HEPG2, 2 folds"
    with pytest.raises(ChromTransferError, match="there is none"):
        plot_learning(ax, [])
