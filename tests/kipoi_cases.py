"""Tiny models and helpers that the Kipoi tests share."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.checkpoint import Card, save_model
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.models.chromtransfer import ChromTransfer

BASES = "ACGT"
WINDOW = 600


def make_checkpoint(folder: Path, outputs=("open",), activation="sigmoid", seed=1, window=WINDOW) -> Path:
    """An untrained network whose outputs differ between sequences."""
    torch.manual_seed(seed)
    model = ChromTransfer(width=0.125, head=(16,), head_bn=False, dropout=0, n_outputs=len(outputs))
    composition = torch.distributions.Dirichlet(torch.ones(4)).sample((64,))
    X = torch.eye(4)[torch.multinomial(composition, window, replacement=True)].transpose(1, 2)
    # Statistics of real data keep float32 errors small beside the differences between sequences ...
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None
    with torch.no_grad():
        model.train()(X)
        # ... and logits of mean 0 and deviation 0.7 keep the probabilities away from 0, 1 and each other.
        logits = model.eval()(X)
        scale = 0.7 / logits.std(dim=0)
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        last.bias.copy_((last.bias - logits.mean(dim=0)) * scale)
        last.weight.mul_(scale[:, None])
    card = Card(
        architecture=model.architecture,
        outputs=list(outputs),
        activation=activation,
        window=window,
        license="CC0-1.0",
        trained_on="nothing, a test network",
        training={"lr": 0.001, "nested": {"not": "shown"}},
    )
    return save_model(model, folder, card)


def make_genome(path: Path) -> dict[str, str]:
    """Write a FASTA of two contigs of 6 kb whose composition changes every 500 bp; return their text."""
    rng = np.random.default_rng(5)
    text = {
        name: "".join(
            "".join(rng.choice(list(BASES), size=500, p=rng.dirichlet(np.ones(4)))) for _ in range(12)
        )
        for name in ("chr1", "chr2")
    }
    text["chr1"] = text["chr1"][:3_000].lower() + text["chr1"][3_000:]
    text["chr2"] = text["chr2"][:2_000] + "N" * 1_000 + text["chr2"][3_000:]
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in text.items()))
    return text


def encode_by_hand(text: str) -> np.ndarray:
    return np.array([[base == letter for letter in text.upper()] for base in BASES], dtype=np.float32)


def make_loader(intervals, fasta, **arguments):
    """A RegionDataloader without its warnings."""
    from chromtransfer_plugin.kipoi import RegionDataloader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChromTransferWarning)
        return RegionDataloader(str(intervals), str(fasta), **arguments)


def run_kipoi(home: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(Path(sys.executable).with_name("kipoi")), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd or home, env=environment, capture_output=True, text=True)


def break_weights(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def break_architecture(model: Path) -> None:
    card = json.loads((model / "card.json").read_text())
    card["architecture"]["head"] = [8]
    (model / "card.json").write_text(json.dumps(card))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "genome-cache" not in str(path)
    }
