"""Kipoi groups: one template and one table for many models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from kipoi_cases import digests, make_checkpoint, make_genome, make_loader
from zoo_cases import CLASSES, NAMES, edit_card, make_checkpoints, make_source

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi import group as group_module
from chromtransfer_plugin.kipoi.group import add_to_group, register
from chromtransfer_plugin.predict import predict_logits, probabilities

KIPOI = Path(sys.executable).with_name("kipoi")
GROUP = "ChromTransfer"
GROUPS = (f"{GROUP}-veff", GROUP)  # as Kipoi sorts them; see tests/test_kipoi_variants.py for the first
HOSTILE = (
    'He said "hi": yes # no | 100 %\n\t{{ doc }} {% if x %} {# c #} \\n \\ \' `\n- a: b\n--- \n'
    "NaN \u2028 \x85 \x07 é 🧬 &amp; <b> *a !!python/object:os.system \r\n0123"
)

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return make_checkpoints(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def source(checkpoints, tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("zoo"), checkpoints)


def kipoi_model(folder: Path):
    import kipoi

    return kipoi.get_model(str(folder), source="dir")


def kipoi_source(folder: Path):
    from kipoi.sources import LocalSource

    return LocalSource(str(folder))


# --- what Kipoi makes of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_kipoi_finds_every_kind_of_model_and_gets_the_expected_probabilities(
    source, checkpoints, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = kipoi_model(source / GROUP / name)
    card = load_model(checkpoints[name]).card
    assert list(model.schema.targets.column_labels) == card.outputs
    assert model.schema.targets.shape == (len(card.outputs),)
    assert model.schema.inputs.shape == (4, card.window)
    assert model.args == {"checkpoint": name}
    assert Path(model.test.expect) == source / GROUP / name / "expect.h5"
    with h5py.File(model.test.expect) as file:
        inputs, preds = file["inputs"][:], file["preds"][:]
    assert inputs.shape == (8, 4, card.window)
    np.testing.assert_allclose(model.pipeline.predict_example(), preds, atol=1e-6)
    original = probabilities(predict_logits(load_model(checkpoints[name]).model, inputs), card.activation)
    np.testing.assert_allclose(preds, original, atol=1e-6)
    assert len(np.unique(preds.round(3))) > 8 * len(card.outputs) / 2
    if name == "multiclass":
        assert card.outputs == list(CLASSES)
        np.testing.assert_allclose(preds.sum(axis=1), 1, atol=1e-6)


def test_expected_inputs_are_what_the_dataloader_gives(source):
    example = source / GROUP / "example_files"
    files = example / "intervals.bed", example / "genome.fa"
    for name, width in (("K562", 600), ("short", 101)):
        with h5py.File(source / GROUP / name / "expect.h5") as file:
            np.testing.assert_array_equal(
                make_loader(*files, width=width).load_all()["inputs"], file["inputs"]
            )


def test_kipoi_lists_the_models_in_the_papers_order(source):
    both = kipoi_source(source).list_models()
    assert sorted(both["model"]) == sorted(f"{group}/{name}" for group in GROUPS for name in NAMES)
    listed = both[both["model"].str.startswith(f"{GROUP}/")]
    assert listed["model"].tolist() == [f"{GROUP}/{name}" for name in NAMES]
    assert listed["license"].tolist() == ["MIT", "CC0-1.0", "CC0-1.0", "CC0-1.0", "CC0-1.0"]
    descriptions = dict(zip(NAMES, listed["doc"], strict=True))
    assert descriptions["MCF7"].startswith("Mean logit of 2 ChromTransfer networks: 600 bp of DNA in, 2 prob")
    assert descriptions["short"].startswith("ChromTransfer network: 101 bp of DNA in, 1 probability out")


def test_the_official_executables_work_from_elsewhere(source, home, tmp_path):
    """`kipoi test` from a folder, `kipoi ls` and `kipoi predict` from a configured source."""
    own_home = tmp_path / "home"
    (own_home / ".kipoi").mkdir(parents=True)
    (own_home / ".kipoi" / "config.yaml").write_text(
        f"model_sources:\n  ours:\n    type: local\n    local_path: {source}\n"
    )
    environment = {**os.environ, "HOME": str(own_home), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def run(*arguments):
        command = [str(KIPOI), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    tested = run("test", source / GROUP / "multiclass", "--source=dir")
    assert tested.returncode == 0, tested.stderr
    assert "All predictions match" in tested.stdout
    assert "WARNING" not in tested.stdout
    listed = run("ls", GROUP, "--source=ours")
    both = [f"{group}/{name}" for group in GROUPS for name in NAMES]
    assert sorted(listed.stdout.split()) == sorted(both), listed.stderr
    example = source / GROUP / "example_files"
    files = {"intervals_file": str(example / "intervals.bed"), "fasta_file": str(example / "genome.fa")}
    arguments = ["--dataloader_args", json.dumps(files), "-o", "out.tsv"]
    predicted = run("predict", f"{GROUP}/short", "--source=ours", *arguments)
    assert predicted.returncode == 0, predicted.stderr
    with h5py.File(source / GROUP / "short" / "expect.h5") as file:
        table = pd.read_csv(tmp_path / "out.tsv", sep="\t")
        np.testing.assert_allclose(table["preds/0"], file["preds"][:, 0], atol=1e-6)


# --- texts that other people write -----------------------------------------------------------------------


def hostile_checkpoint(folder: Path, **card) -> Path:
    make_checkpoint(folder, outputs=("yes", "0123", "a, b", 'x"y\t#z', "{{ model }}"))
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | card))
    return folder


def test_hostile_texts_survive(tmp_path):
    texts = {"license": "no", "cite_as": "1e5", "trained_on": HOSTILE}
    checkpoint = hostile_checkpoint(tmp_path / "run", **texts)
    edit_card(checkpoint, note="NA", **{"k: #": HOSTILE})
    people = ["null", {"name": HOSTILE, "github": "~"}]
    folder = add_to_group(
        checkpoint, "A", tmp_path, doc=HOSTILE, version="0.10", authors=people, tags=["true", "1", HOSTILE]
    )
    # A second model whose cells look like numbers, or are missing, must not change how a column is read.
    add_to_group(make_checkpoint(tmp_path / "b"), "B", tmp_path, doc="0123", version="007")
    model = kipoi_model(folder)
    assert model.info.doc.startswith(f"{HOSTILE}\nChromTransfer network")
    assert (model.info.license, model.info.cite_as, model.info.trained_on) == ("no", "1e5", HOSTILE)
    assert model.info.training_procedure == f"lr: 0.001; note: NA; k: #: {HOSTILE}"
    assert (model.info.version, model.info.tags) == ("0.10", ["true", "1", HOSTILE])
    assert [(author.name, author.github) for author in model.info.authors] == [("null", None), (HOSTILE, "~")]
    assert list(model.schema.targets.column_labels) == ["yes", "0123", "a, b", 'x"y\t#z', "{{ model }}"]
    other = kipoi_model(folder.parent / "B")
    assert (other.info.doc.splitlines()[0], other.info.version) == ("0123", "007")
    both = kipoi_source(tmp_path).list_models()["model"]
    assert sorted(both) == sorted(f"{group}/{name}" for group in GROUPS for name in "AB")


@pytest.mark.parametrize("key", ["doc", "authors", "tags", "version"])
def test_presentation_of_the_wrong_kind_is_refused(checkpoint, tmp_path, key):
    text = "half a character: \ud800"
    for value in (12, [{"nobody": "x"}], [3], text if key in ("doc", "version") else [text]):
        with pytest.raises(
            ChromTransferError, match=f"training.zoo(: '{key}| holds text that is not Unicode)"
        ):
            add_to_group(checkpoint, "m", tmp_path / "zoo", **{key: value})
    assert not (tmp_path / "zoo").exists()


def test_presentation_is_kept_on_the_card(checkpoint, tmp_path):
    plain = add_to_group(checkpoint, "plain", tmp_path)
    assert load_model(plain).card == load_model(checkpoint).card
    first = add_to_group(checkpoint, "first", tmp_path, doc="Open in K562.", tags=["x"])
    assert load_model(first).card.training["zoo"] == {"doc": "Open in K562.", "tags": ["x"]}
    second = add_to_group(first, "second", tmp_path, tags=["y"], authors=["Ada"])
    told = {"doc": "Open in K562.", "authors": ["Ada"], "tags": ["y"]}
    assert load_model(second).card.training["zoo"] == told
    model = kipoi_model(second)
    assert model.info.doc.startswith("Open in K562.\n")
    assert ([author.name for author in model.info.authors], model.info.tags) == (["Ada"], ["y"])


# --- template and table ----------------------------------------------------------------------------------


def test_template_and_table_follow_from_the_folders(source, checkpoints, tmp_path):
    before = digests(source)
    assert register(source) == NAMES
    assert digests(source) == before
    for file in ("model-template.yaml", "models.tsv"):
        (source / GROUP / file).write_text("spoilt")
    assert register(source) == NAMES
    assert digests(source) == before
    again = make_source(tmp_path, checkpoints, sorted(checkpoints))  # in another order
    assert digests(again) == before
    assert not list(source.rglob(".tmp-*"))


def test_register_after_a_folder_came_or_went(source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "copy")
    shutil.rmtree(copy / GROUP / "K562")
    (copy / GROUP / "short").rename(copy / GROUP / "long.er-Name_2")
    (copy / GROUP / "notes").mkdir()
    assert register(copy) == ["pretrained", "MCF7", "multiclass", "long.er-Name_2"]
    assert kipoi_model(copy / GROUP / "long.er-Name_2").pipeline.predict_example().shape == (8, 1)
    for name in ("pretrained", "MCF7", "multiclass", "long.er-Name_2"):
        shutil.rmtree(copy / GROUP / name)
    assert register(copy) == []
    assert len(kipoi_source(copy).list_models()) == 0
    with pytest.raises(ChromTransferError, match="no group 'Other'"):
        register(copy, "Other")


def test_incomplete_folders_are_left_out_with_a_reason(source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "copy")
    (copy / GROUP / "K562" / "card.json").unlink()
    (copy / GROUP / "MCF7" / "expect.h5").write_bytes(b"no hdf5")
    (copy / GROUP / "short" / "card.json").write_text("{}")
    edit_card(copy / GROUP / "multiclass", zoo={"authors": [{"x": "y"}]})
    with pytest.warns(ChromTransferWarning) as caught:
        assert register(copy) == ["pretrained"]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 4
    for name, reason in (
        ("K562", "card.json is missing"),
        ("MCF7", "no readable HDF5 file"),
        ("short", "not a card of a ChromTransfer model"),
        ("card.json", "training.zoo: 'authors"),
    ):
        assert sum(name in message and reason in message for message in messages) == 1, (name, messages)


# --- example files ---------------------------------------------------------------------------------------


def test_a_group_keeps_its_example_windows(checkpoints, tmp_path):
    fasta = tmp_path / "genome.fa"
    text = make_genome(fasta)
    first = add_to_group(checkpoints["K562"], "K562", tmp_path, genome=fasta)
    before = digests(first.parent)
    with pytest.warns(ChromTransferWarning, match="has example windows already, which stay"):
        add_to_group(checkpoints["short"], "short", tmp_path, genome=fasta)
    after = digests(first.parent)
    same = [path for path in before if not path.endswith(".tsv")]
    assert len(same) == 7
    assert all(before[path] == after[path] for path in same)
    contig, start, _ = (
        (first.parent / "example_files" / "genome.fa").read_text()[1:].split("\n")[0].split("_")
    )
    with h5py.File(first.parent / "short" / "expect.h5") as file:
        X = file["inputs"][1:, :, :]
    records = (first.parent / "example_files" / "genome.fa").read_text().split(">")[1:]
    for record, x in zip(records[1:], X, strict=True):
        contig, start, _ = record.split("\n")[0].split("_")
        middle = int(start) + 320  # of a contig of 640 bp
        window = text[contig][middle - 50 : middle + 51].upper()
        assert "".join("NACGT"[int(i)] for i in (x * [[1], [2], [3], [4]]).sum(axis=0)) == window


def test_expectations_follow_the_example_windows_of_their_group(source, checkpoints, tmp_path):
    """As after a download to a group with other example windows."""
    other = make_source(tmp_path, {"HEPG2": checkpoints["K562"]}, seed=7)
    for name in ("MCF7", "short"):
        shutil.copytree(source / GROUP / name, other / GROUP / name)
    old = [digests(source / GROUP / name)["expect.h5"] for name in ("MCF7", "short")]
    assert register(other) == ["HEPG2", "MCF7", "short"]
    new = [digests(other / GROUP / name)["expect.h5"] for name in ("MCF7", "short")]
    assert old[0] != new[0]
    assert old[1] != new[1]
    fresh = make_source(tmp_path / "fresh", {name: checkpoints[name] for name in ("MCF7", "short")}, seed=7)
    assert new == [digests(fresh / GROUP / name)["expect.h5"] for name in ("MCF7", "short")]


def test_weights_that_do_not_reproduce_their_expectation_are_not_listed(source, checkpoints, tmp_path):
    other = make_source(tmp_path, {"HEPG2": checkpoints["K562"]}, seed=7)
    shutil.copytree(source / GROUP / "MCF7", other / GROUP / "MCF7")
    with h5py.File(other / GROUP / "MCF7" / "expect.h5", "r+") as file:
        file["preds"][3, 1] += 1e-4
    with pytest.warns(ChromTransferWarning, match="differ from the expected ones by up to 0.0001"):
        assert register(other) == ["HEPG2"]


def test_a_window_beyond_the_example_sequences_is_refused(checkpoint, tmp_path):
    long = make_checkpoint(tmp_path / "long", window=641)
    add_to_group(checkpoint, "usual", tmp_path)
    with pytest.raises(ChromTransferError, match=r"window of 641 bp does not fit .* 640 bp"):
        add_to_group(long, "long", tmp_path)
    assert not (tmp_path / GROUP / "long").exists()
    alone = add_to_group(long, "long", tmp_path, "Long")
    assert kipoi_model(alone).pipeline.predict_example().shape == (8, 1)
    shutil.rmtree(tmp_path / "Long" / "example_files")
    assert register(tmp_path, "Long") == ["long"]


# --- safety ----------------------------------------------------------------------------------------------


def test_existing_models_are_safe(checkpoints, tmp_path, monkeypatch):
    target = add_to_group(checkpoints["K562"], "m", tmp_path)
    before = digests(tmp_path)
    with pytest.raises(ChromTransferError, match="exists already"):
        add_to_group(checkpoints["short"], "m", tmp_path)
    with pytest.raises(ChromTransferError, match="differs only in upper and lower case"):
        add_to_group(checkpoints["short"], "M", tmp_path, overwrite=True)

    def fail(*_):
        raise OSError(28, "No space left on device", "expect.h5")

    with monkeypatch.context() as patch:
        patch.setattr(group_module, "write_expectation", fail)
        with pytest.raises(ChromTransferError, match="No space left on device"):
            add_to_group(checkpoints["short"], "m", tmp_path, overwrite=True)
    assert digests(tmp_path) == before
    add_to_group(target, "m", tmp_path, overwrite=True)  # onto itself
    assert digests(tmp_path) == before
    add_to_group(checkpoints["short"], "m", tmp_path, overwrite=True)
    assert load_model(target).card.window == 101
    (tmp_path / GROUP / "data").mkdir()
    (tmp_path / GROUP / "data" / "mine.txt").write_text("precious")
    with pytest.raises(ChromTransferError, match="no model and is kept"):
        add_to_group(checkpoints["short"], "data", tmp_path, overwrite=True)


@pytest.mark.parametrize(
    "name",
    ["1.5", "1e5", "NA", "nan", "null", "None", "true", "False", "inf", "example_files", "template",
     "downloaded", "a/b", "..", "12", "", "-x", "a b", "m" * 101],
)  # fmt: skip
def test_names_that_kipoi_cannot_find_again_are_refused(checkpoint, tmp_path, name):
    with pytest.raises(ChromTransferError, match=r"(model|group) name|expected|no zoo"):
        add_to_group(checkpoint, name, tmp_path)
    assert not (tmp_path / GROUP).exists()


def test_names_that_only_look_special_work(checkpoint, tmp_path):
    names = ["0x1F", "1.2.3", "1_000", "no", "off", "y", "yes"]
    for name in names:
        add_to_group(checkpoint, name, tmp_path)
    both = kipoi_source(tmp_path).list_models()["model"]
    assert sorted(both) == sorted(f"{group}/{name}" for group in GROUPS for name in names)
    for name in names:
        assert kipoi_model(tmp_path / GROUP / name).args == {"checkpoint": name}


def test_groups_that_are_none_are_refused(checkpoint, exported, tmp_path):
    with pytest.raises(ChromTransferError, match="group name"):
        add_to_group(checkpoint, "m", tmp_path, "a/b")
    copy = shutil.copytree(exported, tmp_path / "model")
    with pytest.raises(ChromTransferError, match="is a model and no group"):
        add_to_group(checkpoint, "m", tmp_path, "model")
    assert digests(copy) == digests(exported)
    with pytest.raises(ChromTransferError, match="need the genome"):
        add_to_group(checkpoint, "m", tmp_path, intervals=tmp_path / "x.bed")
    make_genome(tmp_path / "g.fa")
    with pytest.raises(ChromTransferError, match=r"x.bed: no such file"):
        add_to_group(checkpoint, "m", tmp_path, genome=tmp_path / "g.fa", intervals=tmp_path / "x.bed")
    assert not (tmp_path / GROUP).exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ChromTransferError, match="cannot create"):
        add_to_group(checkpoint, "m", tmp_path / "file")


def test_smoke_runs_are_marked(checkpoint, tmp_path):
    smoke = edit_card(shutil.copytree(checkpoint, tmp_path / "smoke"), smoke=True)
    with pytest.warns(ChromTransferWarning, match="smoke test and has learnt nothing"):
        folder = add_to_group(smoke, "m", tmp_path, doc="Open chromatin.")
    assert kipoi_model(folder).info.doc.startswith("SMOKE TEST, NOT A TRAINED MODEL. Open chromatin.\n")
    assert "\n**SMOKE TEST, NOT A TRAINED MODEL.**" in (folder / "README.md").read_text()


def test_groups_are_written_without_kipoi(checkpoint, tmp_path):
    code = (
        "import sys; from chromtransfer_plugin.kipoi.group import add_to_group; "
        f"add_to_group({str(checkpoint)!r}, 'm', {str(tmp_path)!r}); assert 'kipoi' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
