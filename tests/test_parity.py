"""A Keras file gives the same probabilities through Python, `chromtransfer predict` and `kipoi predict`."""

from __future__ import annotations

from pathlib import Path

import keras_cases
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from genome_helpers import real_data_folder

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.predict import predict_logits, probabilities

TOLERANCE = 1e-4


def invoke(*arguments: object) -> None:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def write_fasta(path: Path, X: np.ndarray) -> Path:
    """Write one-hot (N, L, 4) as text, an all-zero row as N."""
    letters = np.where(X.sum(axis=2) == 0, 4, X.argmax(axis=2))
    rows = ["".join("ACGTN"[code] for code in row) for row in letters]
    path.write_text("".join(f">s{i}\n{row}\n" for i, row in enumerate(rows)))
    return path


def three_ways(keras_file: Path, X: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Import the file and predict one-hot (N, 600, 4) in three ways; (N, n_outputs) each."""
    import kipoi

    invoke("import-keras", keras_file, "--out", folder / "zoo", "--name", "m", "--zoo")
    entry = folder / "zoo/ChromTransfer/m"
    fasta = write_fasta(folder / "x.fa", X)
    invoke("predict", "--model", entry, "--fasta", fasta, "--out", folder / "scores.tsv", "--device", "cpu")
    table = pd.read_csv(folder / "scores.tsv", sep="\t")
    model, card = load_model(entry)
    from chromtransfer_plugin.kipoi import FastaDataloader

    through_kipoi = kipoi.get_model(str(entry), source="dir")
    return {
        "python": probabilities(predict_logits(model, X.transpose(0, 2, 1)), card.activation),
        "predict": table.iloc[:, -len(card.outputs) :].to_numpy(),
        "kipoi": through_kipoi.predict_on_batch(FastaDataloader(fasta).load_all()["inputs"]),
    }


@pytest.mark.parametrize(("nested", "outputs"), [(True, 1), (False, 7)])
def test_a_tiny_keras_file_three_ways(home, nested, outputs, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_DEVICE", "cpu")
    model = keras_cases.build(nested=nested, head_bn=not nested, outputs=outputs)
    path = keras_cases.write(tmp_path / "model.h5", model)
    X = keras_cases.one_hot(5, 600)
    wanted = (softmax if outputs > 1 else sigmoid)(model.forward(X))
    for way, found in three_ways(path, X, tmp_path).items():
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE, err_msg=way)


@pytest.mark.real_data
def test_the_fine_tuned_fixture_gives_tensorflows_outputs_three_ways(home, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_DEVICE", "cpu")
    keras = real_data_folder() / "keras"
    expected = np.load(keras / "tfref_ft.npz")
    for way, found in three_ways(keras / "ft_keras2.h5", expected["x"], tmp_path).items():
        np.testing.assert_allclose(found, expected["y"], atol=TOLERANCE, err_msg=way)


@pytest.mark.real_data
def test_the_multiclass_fixture_agrees_three_ways(home, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_DEVICE", "cpu")
    keras = real_data_folder() / "keras"
    found = three_ways(keras / "mc_keras2.h5", np.load(keras / "tfref_ft.npz")["x"], tmp_path)
    assert found["python"].shape == (6, 7)
    np.testing.assert_allclose(found["python"].sum(axis=1), 1, atol=1e-6)
    for way in ("predict", "kipoi"):
        np.testing.assert_allclose(found[way], found["python"], atol=1e-5, err_msg=way)


@pytest.mark.gpu
def test_the_card_gives_the_processors_numbers(tmp_path):
    model = keras_cases.build(nested=True)
    invoke("import-keras", keras_cases.write(tmp_path / "model.h5", model), "--out", tmp_path / "m")
    fasta = write_fasta(tmp_path / "x.fa", keras_cases.one_hot(500, 600))
    tables = []
    for device in ("cpu", "cuda"):
        out = tmp_path / f"{device}.tsv"
        invoke("predict", "--model", tmp_path / "m", "--fasta", fasta, "--out", out, "--device", device)
        tables.append(pd.read_csv(out, sep="\t"))
    np.testing.assert_allclose(tables[1]["m"], tables[0]["m"], atol=1e-5)
