"""``chromtransfer attribute``: values of every window, model and output, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from attribute_cases import FILES, WINDOWS, attributed, second, small_pieces  # noqa: F401 - some are fixtures
from click.testing import CliRunner
from kipoi_cases import make_checkpoint
from predict_cases import LINES, REASONS, ROWS, World, window_texts, world  # noqa: F401 - world is a fixture

from chromtransfer_plugin.attribution import AttributionStore, run
from chromtransfer_plugin.attribution.gradients import gradient_x_input
from chromtransfer_plugin.attribution.methods import attribute_codes
from chromtransfer_plugin.attribution.settings import Settings
from chromtransfer_plugin.checkpoint import load_model, save_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import decode, encode
from chromtransfer_plugin.prediction import store as partial_store


def by_hand(model: Path, texts: list[str], **options) -> np.ndarray:
    network, _ = load_model(model)
    return np.concatenate([gradient_x_input(network, encode(text)[None], **options) for text in texts])


def close(found, expected) -> None:
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(found, expected, atol=2e-5 * scale)


# --- values ------------------------------------------------------------------------------------------


def test_every_model_and_output_over_every_set(world, second, tmp_path):  # noqa: F811
    messages = []
    result = attributed(
        world,
        tmp_path / "s",
        [world.binary, world.multi],
        [f"mine={world.bed}", second],
        report=messages.append,
    )
    columns = ["K562", *(f"multi.{line}" for line in LINES)]
    assert result.columns == columns
    assert result.folder == tmp_path / "s"
    assert result.counts["mine"]["ok"] == len(WINDOWS)
    assert result.counts["second"] == {"ok": 2}
    assert f"model multi: {world.multi}" in messages
    assert any(text.startswith("device: cpu") for text in messages)
    texts = [*window_texts(world), world.text["chr1"][100:700], world.text["chr2"][5000:5600]]
    with AttributionStore(tmp_path / "s") as store:
        assert store.models == columns
        assert store.sets == ["mine", "second"]
        assert [decode(codes) for codes in store.codes()] == [text.upper() for text in texts]
        close(store.scores("K562"), by_hand(world.binary, texts))
        for target, line in enumerate(LINES):
            close(store.scores(f"multi.{line}"), by_hand(world.multi, texts, target=target))
        table = store.regions
        assert table["set"].tolist() == ["mine"] * len(WINDOWS) + ["second"] * 2
        assert list(zip(table["chrom"], table["start"], table["end"], strict=True))[:-2] == WINDOWS
        assert table["label"].tolist()[-2:] == ["K562", "other"]
        assert (store.facts["method"], store.facts["objective"]) == ("gradient-x-input", "logit")
        assert store.facts["models"][2]["output"] == "K562"
        assert store.contigs == {chrom: len(text) for chrom, text in world.text.items()}
        assert len(store.rows()) == len(WINDOWS) + 2 - 2  # chr1:100-700 is there three times
    dropped = pd.read_csv(
        tmp_path / "s.dropped.tsv", sep="\t", header=0, usecols=["line", "reason"], index_col=False
    )
    assert dict(zip(dropped["line"], dropped["reason"], strict=True)) == {
        line: f"mine: {reason}" for line, reason in REASONS.items()
    }
    (report,) = [text for text in messages if "rows without a result" in text]
    assert "  2 x mine: window reaches off the contig" in report
    assert "  line 3: mine: contig is not in the genome: chr9\t5\t600\tx" in report
    record = json.loads((tmp_path / "s.run.json").read_text())
    assert record["device"].startswith("cpu")
    assert record["sets"][0]["rows"]["ok"] == len(WINDOWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s.dropped.tsv", "s.run.json"]


def test_windows_that_are_mostly_n_are_named(world, tmp_path):  # noqa: F811
    messages = []
    attributed(world, tmp_path / "s", report=messages.append)
    # chr2:2600-3200 is two thirds N.
    (text,) = [text for text in messages if "half N" in text]
    assert text.splitlines() == [
        "windows that are more than half N, which scores 0: 1",
        "  regions chr2\t2600\t3200\tneg\t0\t-",
    ]
    with AttributionStore(tmp_path / "s") as store:
        (row,) = store.query("chr2:2600-2601")
        assert not store.scores("K562", [row])[0, :400].any()
        assert store.scores("K562", [row])[0, 400:].any()


@pytest.mark.parametrize(
    ("target", "columns"),
    [
        (None, ["K562", "multi.A549", "multi.K562", "multi.HEPG2"]),
        ("all", ["K562", "multi.A549", "multi.K562", "multi.HEPG2"]),
        ("HEPG2", ["K562", "multi.HEPG2"]),
        (2, ["K562", "multi.HEPG2"]),
        ("2", ["K562", "multi.HEPG2"]),
    ],
)
def test_targets(world, tmp_path, target, columns):  # noqa: F811
    (tmp_path / "one.bed").write_text("chr1\t100\t700\n")
    models = [world.binary, world.multi]
    result = attributed(world, tmp_path / "s", models, tmp_path / "one.bed", target=target)
    assert result.columns == columns
    with AttributionStore(tmp_path / "s") as store:
        close(store.scores("multi.HEPG2"), by_hand(world.multi, [world.text["chr1"][100:700]], target=2))


def test_settings_and_activation_reach_the_method(world, tmp_path):  # noqa: F811
    (tmp_path / "one.bed").write_text("chr1\t100\t700\n")
    options = {"method": "ism", "ism_method": "taylor", "select": "max", "objective": "probability"}
    attributed(
        world,
        tmp_path / "s",
        world.multi,
        tmp_path / "one.bed",
        settings=options,
        target="K562",
        hypothetical=True,
    )
    network, _ = load_model(world.multi)
    codes = encode(world.text["chr1"][100:700])[None]
    found = [
        attribute_codes(
            network, codes, Settings(**options), target=1, activation=activation, hypothetical=True
        )
        for activation in ("softmax", "sigmoid")
    ]
    with AttributionStore(tmp_path / "s") as store:
        close(store.scores("multi.K562"), found[0][0])
        assert np.abs(found[0][0] - found[1][0]).max() > 0.01 * np.abs(found[0][0]).max()
        close(store.hypothetical("multi.K562"), found[0][1])
        assert store.facts["settings"]["select"] == "max"
        assert store.facts["method"] == "ism"


METHODS = {
    "gradient-x-input": {},
    "integrated-gradients": {"steps": 3},
    "deep-lift-shap": {"references": 2},
    "ism": {"ism_method": "taylor"},
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method(world, tmp_path, method):  # noqa: F811
    (tmp_path / "one.bed").write_text("chr1\t100\t700\nchr2\t2600\t3200\n")
    settings = {"method": method, **METHODS[method]}
    attributed(world, tmp_path / "s", sets=tmp_path / "one.bed", settings=settings, hypothetical=True)
    codes = np.stack([encode(world.text["chr1"][100:700]), encode(world.text["chr2"][2600:3200])])
    network, _ = load_model(world.binary)
    scores, every = attribute_codes(network, codes, Settings(**settings), hypothetical=True)
    with AttributionStore(tmp_path / "s") as store:
        close(store.scores("K562"), scores)
        close(store.hypothetical("K562"), every)
        assert store.facts["method"] == method


def test_hypothetical_scores_of_several_models(world, tmp_path):  # noqa: F811
    attributed(world, tmp_path / "s", [world.binary, world.multi], hypothetical=True, target=0)
    texts = window_texts(world)
    with AttributionStore(tmp_path / "s") as store:
        for name, model in (("K562", world.binary), ("multi.A549", world.multi)):
            close(store.hypothetical(name), by_hand(model, texts, hypothetical=True))
            close(store.scores(name), by_hand(model, texts))


@pytest.mark.parametrize("width", [300, "native"])
def test_width(world, tmp_path, width):  # noqa: F811
    (tmp_path / "one.bed").write_text("chr1\t100\t450\nchr2\t4000\t4350\n")
    attributed(world, tmp_path / "s", sets=tmp_path / "one.bed", width=width)
    start, end = {300: (125, 425), "native": (100, 450)}[width]
    with AttributionStore(tmp_path / "s") as store:
        assert store.window == end - start
        assert store.regions["start"].tolist() == [start, start + 3900]
        close(store.scores("K562", [0]), by_hand(world.binary, [world.text["chr1"][start:end]]))


# --- FASTA -------------------------------------------------------------------------------------------


def test_fasta_records_are_cut_to_the_window(world, tmp_path):  # noqa: F811
    text = world.text["chr1"]
    records = {
        "whole words": text[:600], "chr1:1000-1700": text[1000:1700], "short": text[:599], "n::chr1:0-600(-)": text[:600],
        "again": "N" * 700,
    }  # fmt: skip
    (tmp_path / "x.fa").write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records.items()))
    result = attributed(world, tmp_path / "s", sets=tmp_path / "x.fa", genome=None)
    assert result.counts == {"x": {"ok": 3, "shorter than the width": 1, "window holds nothing but N": 1}}
    with AttributionStore(tmp_path / "s") as store:
        table = store.regions
        assert table["name"].tolist() == ["whole", "chr1:1000-1700", "n::chr1:0-600(-)"]
        # A record of the minus strand runs the other way, so its bases have no place.
        assert table["start"].fillna(-1).tolist() == [-1, 1050, -1]
        assert table["chrom"].isna().tolist() == [True, False, True]
        assert store.facts["genome"] is None
        close(store.scores("K562"), by_hand(world.binary, [text[:600], text[1050:1650], text[:600]]))


# --- what is refused ---------------------------------------------------------------------------------


def refused(world, tmp_path, match, **options):  # noqa: F811
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ChromTransferError, match=match):
        attributed(world, options.pop("out", tmp_path / "s"), **options)
    assert sorted(tmp_path.rglob("*")) == before


CONTENTS = {
    "": "is empty",
    "a,b,c\n": "is not a region file",
    "1\t100\t700\n": "none of its contigs is in the genome .* says `chr1`: prefix with chr",
    "chr1\t5999\t6000\nchr2\t0\t1\n": "no row can be scored: 2 x window reaches off the contig",
    "chr2\t2100\t2900\n": "no row can be scored: 1 x window holds nothing but N",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_sets_without_a_window(world, tmp_path, content):  # noqa: F811
    (tmp_path / "a.bed").write_text(content)
    refused(world, tmp_path, CONTENTS[content], sets=[world.bed, tmp_path / "a.bed"])


OPTIONS = {
    "no set": ({"sets": []}, "no regions given, expected at least one set"),
    "no model": ({"models": [""]}, "no model given"),
    "no genome": ({"genome": None}, "the sequences come from a genome: give --genome FASTA"),
    "missing": ({"sets": "nowhere.bed"}, "no such file"),
    "width": ({"width": 0}, "width is 0, expected 1 to"),
    "device": ({"device": "tpu"}, "device 'tpu' is unknown"),
    "method": ({"settings": {"method": "lime"}}, "method='lime' is not usable"),
    "setting": ({"settings": {"step": 5}}, "unknown key 'step'. Did you mean 'steps'"),
    "unused": (
        {"settings": {"references": 9}},
        "references has no use with method gradient-x-input, but with integrated-gradients, deep-lift-shap",
    ),
    "unused by ism": (
        {"settings": {"method": "ism", "steps": 9}},
        "steps has no use with method ism, but with integrated",
    ),
    "batch size": ({"settings": {"batch_size": 0}}, "batch_size=0 is not usable"),
    "strict": ({"strict": True}, r"line 3: contig is not in the genome: 'chr9"),
    "lengths": (
        {"width": "native"},
        r"one length, but .*chr1.t100.* has 600 bp and .*chr2.t4000.* has 500 bp",
    ),
    "target": ({"target": "x"}, r"--target x: K562 has no such output, but open \(numbers 0 to 0\)"),
    "target number": ({"target": 1}, "--target 1: K562 has no such output"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_are_refused(world, tmp_path, case):  # noqa: F811
    options, message = OPTIONS[case]
    refused(world, tmp_path, message, **options)


def test_targets_of_several_models(world, tmp_path):  # noqa: F811
    for target in ("x", 3, -1, True):
        models = [world.binary, world.multi]
        refused(
            world, tmp_path, "multi has no such output, but A549, K562, HEPG2", models=models, target=target
        )


def test_sets_that_do_not_go_together(world, second, tmp_path):  # noqa: F811
    (tmp_path / "x.fa").write_text(">a\n" + "ACGT" * 150 + "\n>b\n" + "ACGT" * 100 + "\n")
    (tmp_path / "link.bed").symlink_to(world.bed)
    refused(world, tmp_path, "is given twice", sets=[world.bed, tmp_path / "link.bed"])
    refused(world, tmp_path, "2 sets are called 'a'", sets=[f"a={world.bed}", f"a={second}"])
    for name in ("a/b", "..", "."):
        refused(world, tmp_path, rf"--set: the name '{name}' cannot", sets=f"{name}={world.bed}")
        refused(world, tmp_path, rf"--model: the name '{name}' cannot", models=f"{name}={world.binary}")
    refused(world, tmp_path, "names of files have at most 255", sets=f"{'a' * 256}={world.bed}")
    refused(world, tmp_path, "names of files have at most 255", models=f"{'ä' * 128}={world.binary}")
    refused(world, tmp_path, "make two stores", sets=[world.bed, tmp_path / "x.fa"])
    refused(world, tmp_path, "--genome has no use with FASTA", sets=tmp_path / "x.fa")
    refused(
        world, tmp_path, "600 bp and .*'>b' has 400 bp", sets=tmp_path / "x.fa", genome=None, width="native"
    )
    os.mkfifo(tmp_path / "fifo")
    refused(world, tmp_path, "no regular file", sets=tmp_path / "fifo")


def test_places_that_are_refused(world, tmp_path):  # noqa: F811
    (tmp_path / "file").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x.txt").touch()
    refused(world, tmp_path, "is no folder", out=tmp_path / "file")
    refused(world, tmp_path, "is no folder", out=world.bed)
    for here in (".", "..", "/"):
        refused(world, tmp_path, "expected the name of a new folder", out=Path(here))
    refused(world, tmp_path, "holds other files", out=tmp_path / "notes")
    refused(world, tmp_path, "holds other files", out=world.binary)
    refused(world, tmp_path, "there is no folder", out=tmp_path / "no" / "s")
    refused(world, tmp_path, "names of files have at most 255", out=tmp_path / ("s" * 256))
    attributed(world, tmp_path / "earlier")
    (tmp_path / "earlier" / "figures").mkdir()
    refused(world, tmp_path, "holds figures beside an earlier result", out=tmp_path / "earlier")
    shutil.copy(world.bed, tmp_path / "s.dropped.tsv")
    refused(world, tmp_path, "is an input of this run", sets=tmp_path / "s.dropped.tsv")


def test_models_of_different_windows(world, tmp_path):  # noqa: F811
    other = make_checkpoint(tmp_path / "other", window=300)
    refused(world, tmp_path, "windows of different widths", models=[world.binary, other])
    refused(world, tmp_path, "2 models are called 'K562'", models=[world.binary, f"K562={other}"])
    refused(world, tmp_path, "'base' is a column of the regions", models=f"base={other}")


def test_a_model_without_numbers_names_the_windows(world, tmp_path):  # noqa: F811
    network, card = load_model(world.binary)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save_model(network, tmp_path / "broken", card)
    with pytest.raises(ChromTransferError, match=r"'broken', windows from chr1:100-700 on: .* not finite"):
        attributed(world, tmp_path / "s", tmp_path / "broken")
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / ".s.partial").exists()


def test_a_disk_without_room(world, tmp_path, monkeypatch):  # noqa: F811
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(run.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(ChromTransferError, match=r"the results need 0.0 GB .* and 0.0 GB are free"):
            attributed(world, tmp_path / "s")
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(partial_store.os, "fsync", full)
        with pytest.raises(ChromTransferError, match=r"cannot be stored .No space left"):
            attributed(world, tmp_path / "s")
    messages = []
    attributed(world, tmp_path / "s", report=messages.append)
    assert f"resumed: 2 of {len(WINDOWS)} windows were done before" in messages


# --- the command -------------------------------------------------------------------------------------


def test_command(world, tmp_path):  # noqa: F811
    arguments = ["attribute", "--model", world.binary, "--set", f"a={world.bed}", "--genome", world.genome]
    arguments += ["--out", tmp_path / "s", "--device", "cpu", "--objective", "probability", "--hypothetical"]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 's'}: {len(WINDOWS)} windows of 600 bp, K562" in done.stderr
    with AttributionStore(tmp_path / "s") as store:
        close(store.scores("K562"), by_hand(world.binary, window_texts(world), output="probability"))
        assert store.has_hypothetical
    done = CliRunner().invoke(main, [*map(str, arguments), "--quiet"])
    assert (done.exit_code, done.output) == (0, "")
    done = CliRunner().invoke(main, [*map(str, arguments), "--batch-size", "0"])
    assert done.exit_code == 2
    assert "0 is not in the range x>=1" in done.output
