"""Kipoi: the real ``kipoi`` executable, and its model and dataloader classes in Python."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from kipoi_cases import (
    WINDOW,
    break_architecture,
    break_weights,
    encode_by_hand,
    make_checkpoint,
    make_genome,
    make_loader,
    run_kipoi,
)

from chromtransfer_plugin import friendly
from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError

MODEL_ZOO = Path(__file__).parents[1] / "model_zoo"
DOCS = Path(__file__).parents[1] / "docs" / "kipoi.md"

pytestmark = pytest.mark.usefixtures("home")


# --- fixtures ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    return path, make_genome(path)


@pytest.fixture(scope="module")
def fasta(genome) -> Path:
    return genome[0]


@pytest.fixture(scope="module")
def contigs(genome) -> dict[str, str]:
    return genome[1]


# (line, window): by hand, the 600 bp around (start + end) // 2; None for a row that cannot be used
REGIONS = [
    ("chr1\t1000\t1600\tfirst\t0\t+", (1000, 1600)),
    ("chr2\t2400\t2600\tgap\t0\t-", (2200, 2800)),  # N only
    ("chr1\t5300\t5500\tends_at_contig_end\t0\t.", (5100, 5700)),
    ("chr2\t5900\t6000\toff_contig\t0\t.", None),
    ("chr2\t1700\t1900", (1500, 2100)),  # reaches 100 bp into the gap
    ("chr9\t1700\t1900\tunknown_contig", None),
    ("chr1\tten\t1900\tno_number", None),
    ("chr1\t300\t301\tshort\t0\t.", (0, 600)),
    ("chr1\t1000\t1600\tfirst_again\t0\t+", (1000, 1600)),
]


@pytest.fixture(scope="module")
def intervals(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("intervals") / "regions.bed.gz"
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line, _ in REGIONS).encode()))
    return path


def expected_windows() -> list[tuple[int, str, int, int]]:
    """(line, contig, start, end) of the rows of REGIONS that can be used."""
    return [
        (number, line.split("\t")[0], *window)
        for number, (line, window) in enumerate(REGIONS, start=1)
        if window is not None
    ]


def expected_predictions(checkpoint: Path, contigs: dict[str, str]) -> np.ndarray:
    """Straight through torch, one window at a time; NaN for the gap."""
    model = load_model(checkpoint).model
    values = []
    for _, contig, start, end in expected_windows():
        X = torch.from_numpy(encode_by_hand(contigs[contig][start:end]))[None]
        with torch.no_grad():
            values.append(torch.sigmoid(model(X))[0, 0].item() if X.any() else np.nan)
    return np.array(values)


def predict_arguments(model: Path, intervals: Path, fasta: Path) -> list[str]:
    files = {"intervals_file": str(intervals), "fasta_file": str(fasta)}
    return ["predict", str(model), "--source=dir", "--dataloader_args", json.dumps(files)]


# --- the executable ------------------------------------------------------------------------------------


def test_kipoi_test_passes_from_anywhere_and_checks_the_expectation(exported, home):
    result = run_kipoi(home, "test", "tiny", "--source=dir", cwd=exported.parent)
    assert result.returncode == 0, result.stderr
    assert "All predictions match" in result.stdout
    assert "not compatible" not in result.stdout
    assert "WARNING" not in result.stdout


def test_kipoi_test_fails_for_one_wrong_expected_value(exported, home, tmp_path):
    altered = shutil.copytree(exported, tmp_path / "altered")
    with h5py.File(altered / "expect.h5", "r+") as file:
        file["preds"][5, 0] += 1e-4
    result = run_kipoi(home, "test", altered, "--source=dir")
    assert result.returncode == 1
    assert "don't match the expected predictions" in result.stdout


@pytest.fixture(scope="module")
def outputs(exported, intervals, fasta, home, tmp_path_factory) -> tuple[Path, str]:
    """Folder with out.tsv, out.h5 and out.parquet of a run with workers and small batches; its stderr."""
    folder = tmp_path_factory.mktemp("outputs")
    files = [folder / f"out.{suffix}" for suffix in ("tsv", "h5", "parquet")]
    arguments = [*predict_arguments(exported, intervals, fasta), "--keep_metadata", "-n", "2"]
    result = run_kipoi(home, *arguments, "--batch_size", "2", "-o", *files)
    assert result.returncode == 0, result.stderr
    return folder, result.stderr


def read_output(path: Path) -> pd.DataFrame:
    if path.suffix == ".tsv":
        return pd.read_csv(path, sep="\t")
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    from kipoi.readers import HDF5Reader

    flat = {key.lstrip("/"): values for key, values in HDF5Reader.load(path, unflatten=False).items()}
    flat["preds/0"] = flat.pop("preds")[:, 0]
    return pd.DataFrame(flat)


@pytest.mark.parametrize("suffix", ["tsv", "h5", "parquet"])
def test_predict_writes_the_numbers_of_plain_torch(outputs, checkpoint, contigs, suffix):
    table = read_output(outputs[0] / f"out.{suffix}")
    wanted = expected_predictions(checkpoint, contigs)
    assert np.nanmax(wanted) - np.nanmin(wanted) > 0.1  # else the comparison says little
    np.testing.assert_allclose(table["preds/0"], wanted, rtol=0, atol=1e-6, equal_nan=True)
    assert list(np.flatnonzero(table["preds/0"].isna())) == [1]
    windows = table[[f"metadata/ranges/{key}" for key in ("chr", "start", "end")]]
    lines = table["metadata/source_line"]
    assert [
        (int(line), *row) for line, row in zip(lines, windows.itertuples(index=False), strict=True)
    ] == expected_windows()
    ids = ["first", "gap", "ends_at_contig_end", "chr2:1500-2100", "short", "first_again"]
    assert list(table["metadata/ranges/id"]) == ids
    assert list(table["metadata/ranges/strand"]) == ["+", "-", "*", "*", "*", "+"]


def test_predict_lists_dropped_rows_and_windows_without_bases(outputs):
    stderr = outputs[1]
    for wanted in (
        "9 rows read, 6 kept",
        "line 4: window reaches off the contig: chr2\t5900\t6000\toff_contig",
        "line 6: contig is not in the genome: chr9\t1700\t1900",
        "line 7: start or end is not a whole number: chr1\tten",
        "predicted as NaN for want of any known base: 1\n  chr2:2200-2800\n",
    ):
        assert wanted in stderr
    assert stderr.count("\nWarning: ") == 2
    assert "Traceback" not in stderr


def test_existing_h5_output_is_refused_and_kept(outputs, exported, intervals, fasta, home):
    existing = outputs[0] / "out.h5"
    before = existing.read_bytes()
    result = run_kipoi(home, *predict_arguments(exported, intervals, fasta), "-o", existing)
    assert result.returncode == 1
    assert f"Error: {existing}: exists already" in result.stderr
    assert "Traceback" not in result.stderr
    assert existing.read_bytes() == before


def test_tsv_output_that_cannot_be_written_is_one_error_line(exported, intervals, fasta, home, tmp_path):
    (tmp_path / "folder.tsv").mkdir()
    result = run_kipoi(home, *predict_arguments(exported, intervals, fasta), "-o", tmp_path / "folder.tsv")
    assert result.returncode == 1
    assert f"Error: {tmp_path / 'folder.tsv'}: is a folder" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["TsvBatchWriter", "HDF5BatchWriter", "ParquetFileBatchWriter"])
def test_every_writer_checks_its_place_first(name, tmp_path, monkeypatch):
    from kipoi import writers

    from chromtransfer_plugin.kipoi import compat

    compat.apply()
    writer = getattr(writers, name)
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder.out").mkdir()
    for place, fault in (
        ("folder.out", "is a folder"),
        ("file/below.out", "there is no folder"),
        ("absent/below.out", "there is no folder"),
    ):
        with pytest.raises(ChromTransferError, match=f"{tmp_path / place}: .*{fault}"):
            writer(file_path=str(tmp_path / place))
    if name == "TsvBatchWriter":
        writer(str(tmp_path / "file"))  # is replaced
    else:
        with pytest.raises(ChromTransferError, match="exists already"):
            writer(str(tmp_path / "file"))
    monkeypatch.setattr(compat.os, "access", lambda *_: False)
    with pytest.raises(ChromTransferError, match="not allowed"):
        writer(str(tmp_path / "new.out"))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing FASTA", "nowhere.fa"),
        ("contig naming", "prefix with chr"),
        ("nothing left", "no usable row is left"),
        ("truncated weights", "is truncated or was changed"),
        ("architecture", "the weights belong to another architecture"),
    ],
)
def test_bad_input_ends_in_one_error_line_and_no_output(
    case, message, exported, intervals, fasta, home, tmp_path
):
    model = exported
    if case in ("truncated weights", "architecture"):
        model = shutil.copytree(exported, tmp_path / "model")
        {"truncated weights": break_weights, "architecture": break_architecture}[case](model)
    elif case == "missing FASTA":
        fasta = tmp_path / "nowhere.fa"
    else:
        rows = {"contig naming": "1\t1000\t1600\n", "nothing left": "chr1\t0\t10\nchr1\t5990\t6000\n"}
        intervals = tmp_path / "regions.bed"
        intervals.write_text(rows[case])
    files = [tmp_path / "out.tsv", tmp_path / "out.h5"]
    result = run_kipoi(home, *predict_arguments(model, intervals, fasta), "-o", *files)
    assert result.returncode == 1
    assert "\nError: " in result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not any(file.exists() for file in files)


def test_model_zoo_is_a_kipoi_source(tmp_path):
    """The configuration shown in docs/kipoi.md lists the models of this repository, and they pass."""
    (tmp_path / ".kipoi").mkdir()
    shown = re.search(r"```yaml\n(model_sources:\n.*?)```", DOCS.read_text(), flags=re.DOTALL)
    text = shown[1].replace("/path/to/chromtransfer-plugin/model_zoo", str(MODEL_ZOO))
    assert str(MODEL_ZOO) in text
    (tmp_path / ".kipoi" / "config.yaml").write_text(text)
    listed = run_kipoi(tmp_path, "ls", "--source=chromtransfer")
    groups = ["ChromTransfer/", "(8)", "ChromTransfer-veff/", "(8)"]
    assert listed.stdout.split() == [*groups, "chromtransfer-demo"]
    result = run_kipoi(tmp_path, "test", "ChromTransfer/pretrained", "--source=chromtransfer")
    assert result.returncode == 0, result.stderr
    assert "All predictions match" in result.stdout


def test_model_zoo_is_small():
    sizes = [path.stat().st_size for path in MODEL_ZOO.rglob("*") if "genome-cache" not in str(path)]
    assert sum(sizes) < 25_000_000


# --- dataloader and model as Python objects ------------------------------------------------------------


def test_windows_by_hand(tmp_path):
    fasta, bed = tmp_path / "g.fa", tmp_path / "r.bed"
    fasta.write_text(">c\nACGTNactgRAC\n")
    bed.write_text("c\t3\t5\tx\nc\t8\t11\n")
    loader = make_loader(bed, fasta, width=4)
    letters = ["GTNa", "tgRA"]  # c:2-6 around 4 and c:7-11 around 9
    batch = loader.batch(slice(None))
    np.testing.assert_array_equal(batch["inputs"], [encode_by_hand(text) for text in letters])
    assert batch["inputs"].dtype == np.float32
    assert list(batch["metadata"]["ranges"].id) == ["x", "c:7-11"]
    assert [str(loader[1]["metadata"]["ranges"][key]) for key in ("chr", "start", "end")] == ["c", "7", "11"]


def test_batches_do_not_depend_on_size_workers_or_pickling(intervals, fasta):
    loader = make_loader(intervals, fasta)
    whole = loader.load_all(batch_size=100)
    assert len(loader) == len(whole["inputs"]) == 6
    for copy, options in (
        (loader, {"batch_size": 1}),
        (loader, {"batch_size": 4, "num_workers": 2}),
        (pickle.loads(pickle.dumps(loader)), {"batch_size": 5}),
    ):
        other = copy.load_all(**options)
        np.testing.assert_array_equal(other["inputs"], whole["inputs"])
        np.testing.assert_array_equal(other["metadata"]["ranges"]["id"], whole["metadata"]["ranges"]["id"])
    for i in (0, 5, -1):
        np.testing.assert_array_equal(loader[i]["inputs"], whole["inputs"][i])
    with pytest.raises(IndexError):
        loader[6]
    assert sum(len(batch["inputs"]) for batch in loader.batch_iter(batch_size=4, drop_last=True)) == 4
    shuffled = np.concatenate([b["metadata"]["source_line"] for b in loader.batch_iter(4, shuffle=True)])
    assert sorted(shuffled) == [1, 2, 3, 5, 8, 9]


def test_narrowpeak_is_cut_around_its_summit_and_csv_needs_no_label(contigs, fasta, tmp_path):
    peak = tmp_path / "p.narrowPeak"
    peak.write_text("chr1\t1000\t2000\tp\t0\t.\t5.0\t-1\t-1\t120\n")
    csv = tmp_path / "r.csv"
    csv.write_text("chr1:820-1420\n")
    wanted = encode_by_hand(contigs["chr1"][820:1420])
    for path in (peak, csv):
        np.testing.assert_array_equal(make_loader(path, fasta)[0]["inputs"], wanted)


def test_long_lists_are_cut(fasta, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t1000\t1600\n" + "chr1\t0\t1\n" * 30)
    from chromtransfer_plugin.kipoi import RegionDataloader

    with pytest.warns(friendly.ChromTransferWarning, match=r"line 21: (.|\n)*\.\.\. and 10 more"):
        RegionDataloader(bed, fasta)


def test_description_names_the_arguments_of_the_loader():
    from kipoi_utils import getargs

    from chromtransfer_plugin.kipoi import RegionDataloader

    assert set(RegionDataloader.args) == set(getargs(RegionDataloader))
    optional = {name for name, argument in RegionDataloader.args.items() if argument.optional}
    assert optional == {"width", "label_column", "positive", "classes", "target_columns"}


def test_wrong_arguments_are_named(intervals, fasta):
    from chromtransfer_plugin.kipoi import RegionDataloader

    for width in ("600", True, 0, -600, 600.0):
        with pytest.raises(ChromTransferError, match=f"'width' is {width!r}, expected a whole number"):
            RegionDataloader(intervals, fasta, width=width)
    for size in (0, -1):
        with pytest.raises(ChromTransferError, match=f"batch_size is {size}, expected at least 1"):
            next(iter(make_loader(intervals, fasta).batch_iter(batch_size=size)))
    with pytest.raises(ChromTransferError, match="'fasta_file' is missing"):
        RegionDataloader(intervals)
    with pytest.raises(ChromTransferError, match="'intervals_file' is 3"):
        RegionDataloader(3, fasta)


def test_model_gives_softmax_over_classes_and_warns_of_another_length(tmp_path):
    from chromtransfer_plugin.kipoi import ChromTransferModel

    folder = make_checkpoint(tmp_path / "m", outputs=("A549", "K562", "MCF7"), activation="softmax")
    model = ChromTransferModel(folder, device="cpu")
    X = np.zeros((2, 4, WINDOW), dtype=np.float32)
    X[0, 2] = 1
    preds = model.predict_on_batch(X)
    with torch.no_grad():
        logits = load_model(folder).model(torch.from_numpy(X[:1])).numpy()[0]
    np.testing.assert_allclose(preds[0], np.exp(logits) / np.exp(logits).sum(), atol=1e-6)
    assert np.isnan(preds[1]).all()
    with pytest.warns(friendly.ChromTransferWarning, match="600 bp and is given 50 bp"):
        model.predict_on_batch(X[:, :, :50])


def test_device_can_be_chosen_by_variable(checkpoint, monkeypatch):
    from chromtransfer_plugin.kipoi import ChromTransferModel

    monkeypatch.setenv("CHROMTRANSFER_DEVICE", "abacus")
    with pytest.raises(ChromTransferError, match="abacus"):
        ChromTransferModel(checkpoint)
    ChromTransferModel(checkpoint, device="cpu")


@pytest.mark.gpu
def test_gpu_is_used_and_agrees_with_cpu(checkpoint):
    from chromtransfer_plugin.kipoi import ChromTransferModel

    X = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (8, WINDOW))].transpose(0, 2, 1)
    model = ChromTransferModel(checkpoint)
    assert next(model.model.parameters()).is_cuda
    cpu = ChromTransferModel(checkpoint, device="cpu").predict_on_batch(X)
    np.testing.assert_allclose(model.predict_on_batch(X), cpu, atol=1e-5)


# --- work-arounds -------------------------------------------------------------------


def test_work_arounds_are_still_needed(tmp_path, monkeypatch):
    """When one of these fails, Kipoi or numpy has changed: delete the work-around in kipoi/compat.py."""
    from kipoi.writers import HDF5BatchWriter

    from chromtransfer_plugin.kipoi import ChromTransferModel  # noqa: F401  (applies the work-arounds)

    batch = {"preds": np.zeros((1, 1), dtype=np.float32)}
    HDF5BatchWriter.dump(str(tmp_path / "a.h5"), batch)
    unchecked = HDF5BatchWriter.__new__(HDF5BatchWriter)
    HDF5BatchWriter.__init__.__wrapped__(unchecked, str(tmp_path / "a.h5"))
    with pytest.raises(ValueError, match="name already exists"):
        unchecked.batch_write(batch)
    unchecked.f.close()
    monkeypatch.delattr(np, "string_")
    with pytest.raises(AttributeError, match="string_"):
        HDF5BatchWriter.dump(str(tmp_path / "b.h5"), batch)
