"""Bad input under ``selene_sdk``: one plain line that names the mistake, exit code 1, no traceback."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from selene_cases import SeleneServer, edited, run_selene, small_config, write_example

from chromtransfer_plugin.checkpoint import Card, save_model
from chromtransfer_plugin.models.chromtransfer import ChromTransfer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = SeleneServer(tmp_path_factory.mktemp("output"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The example, with a pre-trained and a fine-tuned checkpoint; nothing below adds to it."""
    folder = tmp_path_factory.mktemp("errors")
    write_example(folder)
    torch.manual_seed(0)
    for name, head, bn in (("pretrain", (512, 128), True), ("finetune", (1024, 32), False)):
        model = ChromTransfer(width=0.125, bn_momentum=0.3, head=head, head_bn=bn)
        card = Card(architecture=model.architecture, outputs=["open"])
        save_model(model, folder / "runs" / name / "best_model", card)
    best = folder / "runs/finetune/best_model"
    shutil.copytree(best, folder / "truncated")
    (folder / "truncated/model.safetensors").write_bytes((best / "model.safetensors").read_bytes()[:-50])
    (folder / "file").write_text("")
    (folder / "empty.bed").write_text("chr9\t1\t2\n")
    (folder / "packed.bed").write_bytes(b"\x1f\x8b\x08\xff")
    return folder


SAMPLER = "sampler: !obj:chromtransfer_plugin.selene.RegionSampler {"
TRAIN = "train_model: !obj:chromtransfer_plugin.selene.TrainModel {"
GENOME = "genome: configs/example/genome.fa"
DATA = "    regions: configs/example/pretrain.csv"
BEST = "trained_model_path: runs/finetune/best_model"

# (YAML file, what is changed in it, what the message must hold)
CASES = {
    "key of the trainer": (
        "pretrain",
        {"protocol: pretrain": "protocol: pretrain, batchsize: 3"},
        "train_model TrainModel: unknown key 'batchsize'. Did you mean 'batch_size'?",
    ),
    "lr of the trainer": ("pretrain", {"device: auto": "device: auto, lr: 0.1"}, "unknown key 'lr'"),
    "key of the sampler": (
        "pretrain",
        {"fold: 0": "fold: 0, test_chromosome: chr2"},
        "sampler RegionSampler: unknown key 'test_chromosome'. Did you mean 'test_chromosomes'?",
    ),
    "key of the network": ("pretrain", {"width: ": "widht: "}, "unknown key 'widht'. Did you mean 'width'?"),
    "key of the evaluation": ("evaluate", {"device: auto": "gpu: 1"}, "EvaluateModel: unknown key 'gpu'"),
    "key of the analysis": (
        "predict",
        {"sequence_length": "sequence_lenght"},
        "unknown key 'sequence_lenght'. Did you mean 'sequence_length'?",
    ),
    "key of the prediction": (
        "predict",
        {"output_format": "format"},
        "prediction: unknown key 'format'. Did you mean 'output_format'?",
    ),
    "no genome": ("pretrain", {GENOME + ",": ""}, "the keys `genome` and `regions` are required"),
    "no label": ("pretrain", {"positive: open,": ""}, "give `positive` (binary task) or `classes`"),
    "genome file": ("pretrain", {GENOME: "genome: nowhere.fa"}, "nowhere.fa"),
    "region file": ("pretrain", {"pretrain.csv": "nowhere.csv"}, "configs/example/nowhere.csv: no such file"),
    "label": (
        "pretrain",
        {"positive: open": "positive: opened"},
        "configs/example/pretrain.csv: no region has the label 'opened'. Labels and counts: ",
    ),
    "test chromosomes": ("pretrain", {"[chr2, chr3]": "[2, 3]"}, "no window lies on the test chromosomes"),
    "fold": ("pretrain", {"fold: 0": "fold: 3"}, "fold=3 does not exist: with folds=3 use 0 to 2"),
    "fold as text": ("pretrain", {"fold: 0": "fold: first"}, "fold='first' is not usable"),
    "too many folds": ("pretrain", {"folds: 3": "folds: 9"}, "9 folds need at least 9 chromosomes"),
    "mode": (
        "evaluate",
        {"folds: 3": "mode: testing"},
        "mode 'testing' is unknown: use train, validate, test",
    ),
    "protocol": (
        "pretrain",
        {"protocol: pretrain": "protocol: pretraining"},
        "protocol 'pretraining' is unknown: use pretrain, finetune, scratch, frozen",
    ),
    "value": ("pretrain", {"batch_size: 16": "batch_size: 0"}, "train_model: batch_size=0 is not usable"),
    "steps": ("pretrain", {"device: auto": "max_steps: all"}, "train_model: max_steps='all' is not usable"),
    "device": ("pretrain", {"device: auto": "device: gpu"}, "device 'gpu' is unknown: use auto, cpu, cuda"),
    "no CUDA": ("pretrain", {"device: auto": "device: cuda"}, "'cuda' was asked for but this torch"),
    "outputs": ("pretrain", {"head_bn: True": "n_outputs: 2"}, "n_outputs=2 but the regions define 1 target"),
    "one class": ("pretrain", {"positive: open": "classes: open"}, "`classes` needs at least two labels"),
    "probabilities": (
        "pretrain",
        {"class: ChromTransfer,": "class: ChromTransferProbability,"},
        "training needs logits: use `class: ChromTransfer`",
    ),
    "logits": (
        "evaluate",
        {"class: ChromTransferProbability": "class: ChromTransfer"},
        "use `class: ChromTransferProbability`",
    ),
    "pretrained": (
        "finetune",
        {"runs/pretrain/best_model": "runs/nowhere"},
        "runs/nowhere: no such checkpoint folder",
    ),
    "pretrained pickle": (
        "finetune",
        {"runs/pretrain/best_model": "runs/pretrain/best_model.pth.tar"},
        "pickle-based checkpoint, which is never loaded",
    ),
    "width": ("finetune", {"width: 0.125": "width: 0.25"}, "trunk has width 0.125, the new model 0.25"),
    "architecture": (
        "evaluate",
        {BEST: "trained_model_path: runs/pretrain/best_model"},
        "runs/pretrain/best_model: the weights belong to another architecture: 'head.0.",
    ),
    "truncated": (
        "predict",
        {BEST: "trained_model_path: truncated"},
        "truncated/model.safetensors: SHA-256 differs",
    ),
    "genome": (
        "predict",
        {"configs/example/genome.fa": "nowhere.fa"},
        "nowhere.fa: no such file, expected a genome FASTA",
    ),
    "name": (
        "predict",
        {BEST: "trained_model_path: ChromTransfer/HEPG3"},
        "ChromTransfer/HEPG3: no such checkpoint folder, and no model of the zoo has this name",
    ),
    "input": ("predict", {"regions.bed": "nowhere.bed"}, "nowhere.bed: no such BED or FASTA file"),
    "no window": (
        "predict",
        {"configs/example/regions.bed": "empty.bed"},
        "empty.bed: none of its 1 lines is a",
    ),
    "packed BED": ("predict", {"configs/example/regions.bed": "packed.bed"}, "packed.bed: not text"),
    "format": ("predict", {"output_format: tsv": "output_format: csv"}, "output_format 'csv' is unknown"),
    "genome class": (
        "predict",
        {"!obj:chromtransfer_plugin.selene.Genome": "!obj:selene_sdk.sequences.Genome"},
        "`reference_sequence` must be a chromtransfer_plugin.selene.Genome",
    ),
    # mistakes that Selene itself meets first
    "output folder": (
        "pretrain",
        {"output_dir: runs/pretrain": "output_dir: file/run"},
        "file/run: Not a directory",
    ),
    "output folder of predictions": (
        "predict",
        {"output_dir: runs/predict": "output_dir: file/run"},
        "file/run: cannot create this output folder",
    ),
    "scientific number": ("pretrain", {"lr: 0.001": "lr: 1e-3"}, "must be specified as a float but was 1e-3"),
    "class": (
        "pretrain",
        {"class: ChromTransfer,": "class: ChromTransfr,"},
        "has no attribute 'ChromTransfr'",
    ),
    "variable": (
        "pretrain",
        {"positive: open": 'positive: "${LINE}"'},
        "environment variable 'LINE' is named",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_says_what_is_wrong(case, server, folder, tmp_path):
    name, changes, message = CASES[case]
    path = tmp_path / "config.yml"
    text = edited(small_config(name), changes)
    # Every case trains into a folder of its own, unless the folder is its subject.
    path.write_text(text.replace(f"output_dir: runs/{name}\n", f"output_dir: {tmp_path}\n"))
    done = server.run(path, folder)
    assert message in done.error()
    assert not list(tmp_path.glob("*.pth.tar"))
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("section", ["model", "sampler", "train_model"])
def test_a_missing_section_is_named(section, server, folder, tmp_path):
    text = re.sub(rf"^{section}: .*?^}}\n", "", small_config("pretrain"), flags=re.M | re.S)
    assert f"\n{section}:" not in text
    (tmp_path / "config.yml").write_text(text.replace("output_dir: runs/pretrain", f"output_dir: {tmp_path}"))
    done = server.run(tmp_path / "config.yml", folder)
    assert done.error() == f"Error: the YAML file lacks the key '{section}'."


def test_the_executable_itself(folder, tmp_path):
    """The server above forks; this is the whole road."""
    path = tmp_path / "config.yml"
    path.write_text(small_config("pretrain", **{"protocol: pretrain": "protocol: pretrain, patienze: 3"}))
    assert "unknown key 'patienze'. Did you mean 'patience'?" in run_selene(path, folder).error()


def test_a_mistake_of_ours_keeps_its_traceback(server, folder, tmp_path):
    """Only mistakes in a YAML file become one line; anything unexpected must stay visible in full."""
    (tmp_path / "broken.py").write_text(
        "import chromtransfer_plugin.selene\n"
        "class Broken:\n    def __init__(self, **settings):\n        raise KeyError('inner')\n"
    )
    path = tmp_path / "config.yml"
    path.write_text(
        small_config(
            "pretrain",
            **{
                "path: !import chromtransfer_plugin.selene.model.__file__": f"path: {tmp_path}/broken.py",
                "class: ChromTransfer,": "class: Broken,",
            },
        )
    )
    done = server.run(path, folder)
    assert done.code == 1
    assert "Traceback" in done.err
    assert done.err.strip().endswith("KeyError: 'inner'")
