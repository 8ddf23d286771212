"""The command import-keras: folders, zoo entries, options, report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from keras_cases import HEADS, build, one_hot, write

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras import import_keras
from chromtransfer_plugin.predict import predict_checkpoint, probabilities


@pytest.fixture
def repository(tmp_path) -> Path:
    """A part of the published repository's layout, as an unpacked archive."""
    top = tmp_path / "archive"
    root = top / "anderssonlab-ChromTransfer-52167ab"
    files = {
        "models/tensorflow1/rDHS/K562/model_compiled.h5": build(**HEADS["fine-tuned"], seed=1),
        "models/tensorflow1/rDHS/Caco2/model_compiled.h5": build(**HEADS["fine-tuned"], seed=2),
        "models/tl_model_tf2/model_compiled.h5": build(**HEADS["pre-trained"], seed=3),
        "models/tl_model_tf2/model_nocompiled.h5": build(**HEADS["pre-trained"], seed=4),
        "multiclass-baseline/train/model.multitask.h5": build(**HEADS["multi-class"], seed=5),
        "gradient-attributions/models/K562.h5": build(**HEADS["fine-tuned"], seed=1),
        "gradient-attributions/models/HepG2.h5": build(**HEADS["fine-tuned"], seed=6),
    }
    for path, model in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write(root / path, model)
    copy = root / "gradient-attributions/models/K562.h5"
    copy.write_bytes((root / "models/tensorflow1/rDHS/K562/model_compiled.h5").read_bytes())
    return top


def test_folder_becomes_a_zoo(repository, tmp_path):
    report = import_keras(repository, tmp_path / "zoo")
    group = tmp_path / "zoo" / "ChromTransfer"
    models = sorted(path.parent.name for path in group.glob("*/card.json"))
    assert models == ["Caco2", "HEPG2", "K562", "multiclass", "pretrained"]
    X = one_hot().transpose(0, 2, 1).copy()
    for name, seed, variant in (
        ("K562", 1, "fine-tuned"),
        ("HEPG2", 6, "fine-tuned"),
        ("pretrained", 3, "pre-trained"),
    ):
        expected = build(**HEADS[variant], seed=seed).forward(one_hot())
        np.testing.assert_allclose(
            predict_checkpoint(group / name, X), 1 / (1 + np.exp(-expected)), atol=1e-5
        )
    expected = probabilities(build(**HEADS["multi-class"], seed=5).forward(one_hot()), "softmax")
    np.testing.assert_allclose(predict_checkpoint(group / "multiclass", X), expected, atol=1e-5)
    assert load_model(group / "Caco2").card.outputs == ["Caco2"]
    assert load_model(group / "pretrained").card.outputs == ["open"]
    copies = (
        "left aside: gradient-attributions/models/K562.h5: the same bytes as models/tensorflow1/rDHS/K562"
    )
    assert copies in report
    assert (
        "left aside: models/tl_model_tf2/model_nocompiled.h5: another file of pretrained; taken is" in report
    )
    missing = [line.split()[1] for line in report.splitlines() if line.startswith("missing:")]
    assert missing == ["A549", "GM12878", "HCT116", "MCF7"]
    with pytest.raises(ChromTransferError, match="holds a model already"):
        import_keras(repository, tmp_path / "zoo")


def test_one_bad_file_in_a_folder_writes_nothing(repository, tmp_path):
    bad = next(repository.rglob("multiclass-baseline/train/*.h5"))
    bad.write_bytes(bad.read_bytes()[:-2000])
    with pytest.raises(ChromTransferError, match="multitask"):
        import_keras(repository, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_zoo_entry_of_a_single_file_needs_a_name(tmp_path):
    path = write(tmp_path / "some.h5", build(wide=2))
    with pytest.raises(ChromTransferError, match="--name"):
        import_keras(path, tmp_path / "zoo", zoo=True)
    import_keras(path, tmp_path / "zoo", zoo=True, name="mine")
    assert load_model(tmp_path / "zoo" / "ChromTransfer" / "mine").card.outputs == ["mine"]


def test_command(tmp_path):
    path = write(tmp_path / "some.h5", build(wide=2, outputs=3))
    arguments = ["import-keras", str(path), "--out", str(tmp_path / "out"), "--outputs", "a, b,c"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "outputs   a, b, c (softmax)" in result.output
    assert "trunk.last_conv.conv.weight" in result.output
    assert load_model(tmp_path / "out").card.outputs == ["a", "b", "c"]
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert again.output.startswith("Error: ")
    assert len(again.output.splitlines()) == 1


def test_folder_without_zoo_gives_checkpoints(repository, tmp_path):
    import_keras(repository, tmp_path / "out", zoo=False)
    assert not list((tmp_path / "out").rglob("models.tsv"))
    files = sorted(
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    names = ("Caco2", "HEPG2", "K562", "multiclass", "pretrained")
    assert files == [
        f"ChromTransfer/{name}/{file}" for name in names for file in ("card.json", "model.safetensors")
    ]
    for option in ({"name": "x"}, {"outputs": ["x"]}):
        with pytest.raises(ChromTransferError, match="is a folder of models"):
            import_keras(repository, tmp_path / "other", **option)


def test_report_shows_the_table_when_asked(tmp_path):
    path = write(tmp_path / "some.h5", build(wide=2))
    arguments = ["import-keras", str(path), "--overwrite", "--out", str(tmp_path / "out")]
    assert "kernel:0" not in CliRunner().invoke(main, [*arguments, "--no-table"]).output
    assert CliRunner().invoke(main, [*arguments, "--table"]).output.count("kernel:0") == 24


def test_names_cannot_act_on_the_terminal(tmp_path):
    model = build(nested=True, wide=2, trunk_name="a\x1b[2Jb")
    path = write(tmp_path / "some.h5", model)
    output = CliRunner().invoke(main, ["import-keras", str(path), "--out", str(tmp_path / "out")]).output
    assert "\x1b" not in output
    assert r"a\x1b[2Jb/conv1d/kernel:0" in output


def test_documented_options_exist():
    text = (Path(__file__).parents[1] / "docs" / "keras.md").read_text()
    known = {
        name
        for option in main.commands["import-keras"].params
        for name in (*option.opts, *option.secondary_opts)
    }
    documented = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--source", "--pretrained"}
    assert documented == known - {"path"}


def test_a_tilde_that_the_shell_left_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "K562.h5", build(**HEADS["fine-tuned"], seed=1))
    import_keras("~/K562.h5", "~/model")
    assert load_model(tmp_path / "model").card.outputs == ["K562"]
    assert not (tmp_path / "~").exists()
