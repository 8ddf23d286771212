"""Data efficiency: training on shares, going on after a stop, the files that are written, bad input."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from efficiency_cases import NETWORK, SETTINGS, WIDTH, without_seconds, write_data
from kipoi_cases import make_checkpoint

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.dataset import epoch_order, load_windows
from chromtransfer_plugin.efficiency import train_draw
from chromtransfer_plugin.efficiency.record import read_efficiency
from chromtransfer_plugin.efficiency.run import run_efficiency
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.metrics import auroc
from chromtransfer_plugin.transfer import cached_features


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    files = write_data(folder)
    files["pretrained"] = make_checkpoint(folder / "pretrained", window=WIDTH)
    return files


def run(data, out, **changes):
    arguments = {
        "genome": data["genome"], "train": data["train"], "test": data["test"], "positive": "OPEN",
        "pretrained": data["pretrained"], "fractions": (0.05, 0.3, 1.0), "draws": 2, "network": NETWORK,
        "settings": SETTINGS, "jobs": 1, "resamples": 200, "progress": False, "report": lambda _: None, "device": "cpu",
    }  # fmt: skip
    return run_efficiency(out=out, **{**arguments, **changes})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    return out, run(data, out)


def test_an_easy_task_is_learnt_and_the_curve_rises(finished):
    out, record = finished
    aurocs = [row.mean["auroc"] for row in record.rows]
    assert [row.n for row in record.rows] == [6, 36, 120]
    assert aurocs[0] < aurocs[1] < aurocs[2]
    assert aurocs[2] > max(0.9, aurocs[0] + 0.1)  # features of an untrained trunk give no more
    assert (record.n_train, record.n_test, record.mode, record.line) == (120, 60, "features", "OPEN")
    assert record.n_test_loci == 30
    assert len(record.draws) == 5
    assert all(draw.n_validation == 0 for draw in record.draws)
    assert set(record.references) == {"pre-trained, un-tuned"}
    assert read_efficiency(out) == record


def test_the_files_say_the_same(finished):
    out, record = finished
    table = pd.read_csv(out / "table.tsv", sep="\t")
    assert table["auroc_mean"].to_numpy() == pytest.approx([row.mean["auroc"] for row in record.rows])
    draws = pd.read_csv(out / "draws.tsv", sep="\t")
    by_hand = draws.groupby("fraction")["f1_weighted"].agg(["mean", "std"])
    assert table["f1_weighted_mean"].to_numpy() == pytest.approx(by_hand["mean"].to_numpy())
    assert table["f1_weighted_sd"].to_numpy() == pytest.approx(by_hand["std"].to_numpy(), nan_ok=True)
    text = (out / "table.md").read_text()
    row = record.rows[0]
    assert f"| 5 % | 6 | 2 | {row.mean['f1_negative']:.3f} ({row.sd['f1_negative']:.3f}) |" in text
    assert record.finding in text
    # Predictions of each draw, from which any other number can be computed.
    kept = np.load(out / "draws" / "share_0.3_draw_1.npy", allow_pickle=False)
    assert kept.shape == (60,)
    assert kept.dtype == np.float32
    assert (out / "efficiency.png").read_bytes()[:4] == b"\x89PNG"


def test_a_head_fitted_by_hand_on_the_features_is_the_same(data, finished):
    """The trunk's features, plain Adam and cross-entropy: nothing else goes on in mode `features`."""
    out, record = finished
    draw = next(one for one in record.draws if (one.fraction, one.draw) == (0.3, 1))
    genome = Genome(data["genome"])
    train, _ = load_windows(genome, data["train"], "OPEN", width=WIDTH)
    test, _ = load_windows(genome, data["test"], "OPEN", width=WIDTH)
    from chromtransfer_plugin.checkpoint import load_network
    from chromtransfer_plugin.efficiency.inputs import architecture_of
    from chromtransfer_plugin.efficiency.plan import Sampling, plan_shares
    from chromtransfer_plugin.models.chromtransfer import ChromTransfer

    y = train.targets[:, 0].astype(np.int64)
    share = plan_shares(y, train.table, Sampling((0.3,), 2), hold_out=False)[1]
    source, card = load_network(data["pretrained"])
    X, X_test = cached_features(source, train.codes[share.train]), cached_features(source, test.codes)
    target = torch.from_numpy(train.targets[share.train])
    torch.manual_seed(draw.seed)
    head = ChromTransfer(**architecture_of("frozen", card, NETWORK)).head.train()
    optimizer = torch.optim.Adam(head.parameters(), lr=SETTINGS["lr"], eps=1e-7)
    for epoch in range(SETTINGS["max_epochs"]):
        order = torch.from_numpy(epoch_order(share.n, draw.seed, epoch))
        for rows in order.split(SETTINGS["batch_size"]):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(head(X[rows]), target[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        p = torch.sigmoid(head.eval()(X_test))[:, 0].numpy()
    assert np.load(out / "draws" / "share_0.3_draw_1.npy") == pytest.approx(p, abs=1e-5)
    assert draw.measures["auroc"] == pytest.approx(
        auroc(test.targets[:, 0].astype(int), p.astype(float)), abs=1e-6
    )
    assert (draw.n, draw.n_positive) == (share.n, int(y[share.train].sum()))


def test_any_number_of_processes_and_any_interruption_give_the_same_record(data, finished, tmp_path):
    out, _ = finished
    run(data, tmp_path / "parallel", jobs=2)
    assert without_seconds(tmp_path / "parallel" / "efficiency.json") == without_seconds(
        out / "efficiency.json"
    )
    for name in ("efficiency.png", "table.tsv", "table.md"):
        assert (tmp_path / "parallel" / name).read_bytes() == (out / name).read_bytes()
    # What a kill leaves: some draws whole, of one the predictions alone, a temporary file.
    again = tmp_path / "parallel"
    for name in ("efficiency.json", "table.tsv", "table.md", "draws.tsv", "efficiency.png"):
        (again / name).unlink()
    kept = sorted((again / "draws").glob("*.json"))
    for path in kept[::2]:
        path.unlink()
    (again / "draws" / ".tmp-0123456789ab-share_0.3_draw_1.json").write_text('{"half": ')
    times = {path: path.stat().st_mtime_ns for path in kept[1::2]}
    messages: list[str] = []
    run(data, again, report=messages.append)
    assert without_seconds(again / "efficiency.json") == without_seconds(out / "efficiency.json")
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert "efficiency: 2 of 5 draws were finished before" in messages


def test_draws_and_fractions_may_be_added(data, finished, tmp_path):
    run(data, tmp_path, fractions=(0.3,), draws=1)
    record = run(data, tmp_path)
    assert record.rows == finished[1].rows


def test_draws_of_another_analysis_are_refused(data, finished, tmp_path):
    run(data, tmp_path, fractions=(0.3,), draws=1)
    with pytest.raises(ChromTransferError, match="draws of another analysis, of other: seed, training"):
        run(data, tmp_path, seed=2, settings={**SETTINGS, "lr": 0.1})
    predictions = tmp_path / "draws" / "share_0.3_draw_0.npy"
    predictions.write_bytes(predictions.read_bytes()[:-4])
    with pytest.raises(ChromTransferError, match="predictions are missing or were changed"):
        run(data, tmp_path)
    predictions.with_suffix(".json").write_text('{"half')
    with pytest.raises(ChromTransferError, match=r"share_0\.3_draw_0\.json: .* Delete it and run"):
        run(data, tmp_path)


def test_draws_of_other_windows_are_refused(data, finished, tmp_path):
    for part, name in (("train", "training windows"), ("test", "test windows")):
        fewer = tmp_path / f"{part}.csv"
        fewer.write_text("".join(data[part].read_text().splitlines(keepends=True)[:-1]))
        with pytest.raises(ChromTransferError, match=f"of other: {name}"):
            run(data, finished[0], **{part: fewer})


def test_the_fold_that_validates_is_not_trained_on(data, tmp_path, monkeypatch):
    seen = []

    def spy(_, splits, *__, **___):
        seen.append(splits)
        fitted = SimpleNamespace(history=[None] * 3, best=SimpleNamespace(epoch=2))
        return SimpleNamespace(progress=SimpleNamespace(), fit=lambda: fitted)

    monkeypatch.setattr(train_draw, "make_trainer", spy)
    monkeypatch.setattr(train_draw, "_test_logits", lambda job, _: np.zeros((job.test.n, 1), np.float32))
    record = run(data, tmp_path / "out", mode="full", fractions=(1.0,))
    ((trained, validated),) = [
        [{tuple(row) for row in part.table[["chrom", "start"]].to_numpy()} for part in splits[:2]]
        for splits in seen
    ]
    assert not trained & validated
    assert len(trained | validated) == 120
    assert not {chrom for chrom, _ in trained} & {chrom for chrom, _ in validated}  # whole loci
    (draw,) = record.draws
    assert (draw.n_validation, draw.epochs, draw.best_epoch) == (len(validated), 3, 2)
    assert 30 <= len(validated) <= 50


def test_a_folder_of_something_else_is_left_alone(data, tmp_path):
    (tmp_path / "table.tsv").write_text("mine")
    with pytest.raises(ChromTransferError, match=r"holds other files, such as table\.tsv"):
        run(data, tmp_path)
    assert (tmp_path / "table.tsv").read_text() == "mine"


def test_the_whole_network_is_tuned_and_a_fold_of_each_share_validates(data, tmp_path):
    record = run(
        data, tmp_path, mode="full", fractions=(0.2, 1.0), draws=2,
        settings={"lr": 0.01, "batch_size": 16, "max_epochs": 4},
    )  # fmt: skip
    assert [draw.n_validation for draw in record.draws] == [8, 8, 40]
    assert all(1 <= draw.best_epoch <= draw.epochs <= 4 for draw in record.draws)
    assert record.rows[-1].mean["auroc"] > 0.97
    assert record.settings["protocol"] == "finetune"
    assert record.settings["training"]["trainable"] == "full"


def test_the_test_chromosomes_of_one_file(data, finished, tmp_path):
    both = tmp_path / "both.csv"
    both.write_text(data["train"].read_text() + data["test"].read_text())
    contigs = sorted({line.split(":")[0] for line in data["test"].read_text().splitlines()})
    record = run(data, tmp_path / "out", train=both, test=(), test_chromosomes=contigs)
    assert record.rows == finished[1].rows


def test_references_are_models_and_numbers(data, tmp_path):
    record = run(
        data, tmp_path, fractions=(1.0,),
        references=[f"same={data['pretrained']}", "6-mer regression=0.71"],
    )  # fmt: skip
    assert record.references["same"] == record.references["pre-trained, un-tuned"]
    assert record.references["6-mer regression"] == 0.71


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fractions": (0.001,)},
            r"0.1 % of the 120 training windows .* smallest whole percentage that works is 2 %",
        ),
        ({"positive": "SHUT"}, "SHUT"),
        ({"mode": "half"}, "mode 'half' is unknown"),
        ({"protocol": "guess"}, "protocol 'guess' is unknown"),
        ({"pretrained": None}, "protocol 'frozen' starts from a pre-trained model"),
        ({"pretrained": None, "protocol": "scratch"}, "computes the trunk's features once"),
        ({"pretrained": "nowhere"}, "nowhere"),
        ({"settings": {"reverse_complement": True}}, "reverse_complement=True, shift=0"),
        ({"settings": {"rate": 1}}, "rate"),
        ({"network": {"n_outputs": 2}}, "leave n_outputs out"),
        ({"jobs": 0}, "jobs=0"),
        ({"seed": -1}, "seed=-1"),
        ({"resamples": 0}, "resamples=0"),
        ({"level": 95}, "level=95"),
        ({"references": ["0.7"]}, "--reference 0.7: expected NAME=MODEL"),
        ({"references": ["x=7"]}, "an AUROC lies between 0 and 1"),
        ({"references": ["x=nowhere"]}, "nowhere"),
        ({"test": (), "test_chromosomes": ("chr2",)}, "of 0 test windows 0 are positive"),
        ({"test_chromosomes": ("chr2",)}, "Leave one of the two out"),
    ],
)
def test_bad_input_is_refused_before_any_work(data, tmp_path, changes, message):
    with pytest.raises(ChromTransferError, match=message):
        run(data, tmp_path / "out", **changes)
    assert not list(tmp_path.rglob("*.json"))


def test_training_windows_that_overlap_test_windows_are_refused(data, tmp_path):
    leaky = tmp_path / "leaky.csv"
    leaky.write_text(data["train"].read_text() + data["test"].read_text().splitlines()[0] + "\n")
    # Its neighbour in the training file is on another contig: one window overlaps.
    with pytest.raises(
        ChromTransferError, match="1 of 121 training windows overlap test windows, the first is c60:0-60"
    ):
        run(data, tmp_path / "out", train=leaky)


def test_one_class_of_test_windows(data, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("".join(line + "\n" for line in data["test"].read_text().splitlines() if ",OPEN" in line))
    with pytest.raises(ChromTransferError, match=r"test windows .* are positive, expected both classes"):
        run(data, tmp_path / "out", test=test)


def test_the_command(data, finished, tmp_path):
    command = [
        "efficiency", "--genome", data["genome"], "--train", data["train"], "--test", data["test"],
        "--positive", "OPEN", "--pretrained", data["pretrained"], "--out", tmp_path / "out", "--fraction", "0.05",
        "--fraction", "0.3", "--fraction", "1", "--draws", "2", "--jobs", "1", "--resamples", "200", "--device", "cpu",
        "--network", "head=[8]", "--network", "dropout=0", "--quiet",
        *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 0, result.output
    assert finished[1].finding in result.output
    assert (
        json.loads((tmp_path / "out" / "efficiency.json").read_text())["rows"]
        == json.loads((finished[0] / "efficiency.json").read_text())["rows"]
    )
    bad = CliRunner().invoke(main, [*map(str, command), "--fraction", "50"])
    assert bad.exit_code != 0
    assert "Write 0.5 for 50 %" in bad.output


def test_the_figure_shows_means_bands_draws_and_references(finished):
    from matplotlib.figure import Figure

    from chromtransfer_plugin.plots.efficiency import plot_efficiency

    _, record = finished
    ax = Figure().subplots()
    plot_efficiency(ax, record)
    points, mean, reference = ax.get_lines()
    assert mean.get_ydata() == pytest.approx([row.mean["auroc"] for row in record.rows])
    assert sorted(points.get_ydata()) == pytest.approx(
        sorted(draw.measures["auroc"] for draw in record.draws)
    )
    assert reference.get_ydata()[0] == record.references["pre-trained, un-tuned"]
    (band,) = ax.collections
    ends = band.get_paths()[0].vertices[:, 1]
    assert ends.min() == pytest.approx(min(row.low["auroc"] for row in record.rows))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["5 %\n6", "30 %\n36", "100 %\n120"]
