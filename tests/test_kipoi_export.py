"""Export of a checkpoint to a Kipoi model folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from kipoi_cases import (
    WINDOW,
    break_architecture,
    break_weights,
    digests,
    make_checkpoint,
    make_genome,
    make_loader,
)

from chromtransfer_plugin.checkpoint import CARD, load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi import export as export_module
from chromtransfer_plugin.kipoi.example import FLANK, N_RUN
from chromtransfer_plugin.kipoi.export import export_model

pytestmark = pytest.mark.usefixtures("home")


def test_export_is_a_checkpoint_and_reproducible(checkpoint, exported, tmp_path):
    source, copy = load_model(checkpoint), load_model(exported)
    assert copy.card == source.card
    for name, tensor in source.model.state_dict().items():
        assert torch.equal(tensor, copy.model.state_dict()[name])
    assert digests(export_model(checkpoint, "tiny", tmp_path)) == digests(exported)


def test_description_tells_what_the_card_says(exported):
    from kipoi.specs import ModelDescription

    description = ModelDescription.load(str(exported / "model.yaml"))
    info = description.info
    assert (info.license, info.trained_on) == ("CC0-1.0", "nothing, a test network")
    assert info.cite_as == "https://doi.org/10.1093/nargab/lqad026"
    assert info.training_procedure == "lr: 0.001"
    assert description.schema.inputs.shape == (4, 600)
    assert description.schema.targets.shape == (1,)
    assert list(description.schema.targets.column_labels) == ["open"]
    pins = dict(pin.split("==") for pin in description.dependencies.pip)
    assert pins["torch"] == torch.__version__.split("+")[0]
    assert {"chromtransfer-plugin", "kipoi", "numpy"} < set(pins)
    assert any(pin.startswith("python=3.") for pin in description.dependencies.conda)


def test_expected_inputs_are_what_the_dataloader_gives(exported, checkpoint):
    example = exported / "example_files"
    loaded = make_loader(example / "intervals.bed", example / "genome.fa").load_all()
    with h5py.File(exported / "expect.h5") as file:
        inputs, preds = file["inputs"][:], file["preds"][:]
    np.testing.assert_array_equal(loaded["inputs"], inputs)
    assert (inputs.sum(axis=(1, 2)) == [WINDOW - N_RUN] + [WINDOW] * 7).all()
    assert len(np.unique(preds.round(3))) == 8
    with torch.no_grad():
        wanted = torch.sigmoid(load_model(checkpoint).model(torch.from_numpy(inputs))).numpy()
    np.testing.assert_allclose(preds, wanted, atol=1e-6)
    text = (example / "genome.fa").read_text()
    sequence = "".join(line for line in text.splitlines() if not line.startswith(">"))
    assert set(sequence) == set("acgtnACGTN")
    assert len(text) < 8_000


def test_example_is_cut_from_the_genome(checkpoint, tmp_path):
    fasta, intervals = tmp_path / "genome.fa", tmp_path / "regions.bed"
    contigs = make_genome(fasta)
    intervals.write_text("chr1\t1000\t1600\nchr2\t3500\t3600\nchr1\t1000\t1600\nchr1\t5000\t5001\n")
    chosen = export_model(checkpoint, "chosen", tmp_path, genome=fasta, intervals=intervals)
    drawn = export_model(checkpoint, "drawn", tmp_path, genome=fasta)
    for folder, n in ((chosen, 3), (drawn, 8)):  # one interval is there twice
        records = (folder / "example_files" / "genome.fa").read_text().split(">")[1:]
        assert len(records) == n
        for record in records:
            name, _, text = record.partition("\n")
            contig, start, end = name.split("_")
            text = text.replace("\n", "").upper()
            wanted = contigs[contig][int(start) : int(end)].upper()
            assert len(text) == len(wanted) == WINDOW + 2 * FLANK
            assert all(a in (b, "N") for a, b in zip(text, wanted, strict=True))
    with pytest.raises(ChromTransferError, match="need the genome"):
        export_model(checkpoint, "x", tmp_path, intervals=intervals)


def test_another_window_length_reaches_the_dataloader(tmp_path):
    import kipoi

    folder = export_model(make_checkpoint(tmp_path / "m", window=101), "short", tmp_path)
    model = kipoi.get_model(str(folder), source="dir")
    preds = model.pipeline.predict_example()
    with h5py.File(folder / "expect.h5") as file:
        assert file["inputs"].shape == (8, 4, 101)
        np.testing.assert_allclose(preds, file["preds"][:], atol=1e-6)


def test_existing_folders_are_safe(checkpoint, tmp_path, monkeypatch):
    target = export_model(checkpoint, "m", tmp_path)
    (target / "note.txt").write_text("mine")
    with pytest.raises(ChromTransferError, match="exists already"):
        export_model(checkpoint, "m", tmp_path)
    before = digests(target)

    def fail(*_):
        raise OSError(28, "No space left on device", "expect.h5")

    with monkeypatch.context() as patch:
        patch.setattr(export_module, "write_expectation", fail)
        with pytest.raises(ChromTransferError, match="No space left on device"):
            export_model(checkpoint, "m", tmp_path, overwrite=True)
    assert digests(target) == before
    export_model(checkpoint, "m", tmp_path, overwrite=True)
    assert not (target / "note.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.txt").write_text("mine")
    with pytest.raises(ChromTransferError, match="no exported model and is kept"):
        export_model(checkpoint, "data", tmp_path, overwrite=True)
    (tmp_path / "empty").mkdir()
    assert load_model(export_model(checkpoint, "empty", tmp_path)).card.outputs == ["open"]


def test_export_says_what_is_wrong(checkpoint, exported, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ChromTransferError, match="cannot create this output folder"):
        export_model(checkpoint, "m", tmp_path / "file" / "below")
    with pytest.raises(ChromTransferError, match="no such checkpoint"):
        export_model(tmp_path / "absent", "m", tmp_path)
    for name in ("12", "a/b", "", "..", "-o", "modèle", "m" * 101):
        with pytest.raises(ChromTransferError, match="model name"):
            export_model(checkpoint, name, tmp_path)
    for damage, message in ((break_weights, "truncated"), (break_architecture, "another architecture")):
        broken = shutil.copytree(exported, tmp_path / damage.__name__)
        damage(broken)
        with pytest.raises(ChromTransferError, match=message):
            export_model(broken, "m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_longest_name_is_written(checkpoint, tmp_path):
    assert export_model(checkpoint, "m" * 100, tmp_path).is_dir()


def test_smoke_runs_are_marked(checkpoint, exported, tmp_path):
    smoke = shutil.copytree(checkpoint, tmp_path / "smoke")
    card = json.loads((smoke / CARD).read_text())
    card["training"]["smoke"] = True
    (smoke / CARD).write_text(json.dumps(card))
    with pytest.warns(ChromTransferWarning, match="smoke test"):
        folder = export_model(smoke, "m", tmp_path, doc="Open chromatin.")
    docs = [yaml.safe_load((f / "model.yaml").read_text())["info"]["doc"] for f in (folder, exported)]
    assert docs[0].startswith("SMOKE TEST, NOT A TRAINED MODEL. Open chromatin.\n")
    assert "SMOKE" not in docs[1]
    command = [
        Path(sys.executable).with_name("chromtransfer"),
        "export",
        smoke,
        "--name",
        "n",
        "--out",
        tmp_path,
    ]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stderr.startswith(f"Warning: {smoke}: comes from a smoke test")


def test_export_does_not_import_kipoi(checkpoint, tmp_path):
    code = (
        "import sys; from chromtransfer_plugin.kipoi import export_model; "
        f"export_model({str(checkpoint)!r}, 'm', {str(tmp_path)!r}); assert 'kipoi' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
