"""Models of many kinds, and a zoo source that holds them."""

from __future__ import annotations

import json
from pathlib import Path

from kipoi_cases import make_checkpoint
from motif_cases import network

from chromtransfer_plugin.checkpoint import Card, save_ensemble, save_model
from chromtransfer_plugin.kipoi.group import add_to_group

CLASSES = ("A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7", "negative")
# In no order; (name, keywords of make_checkpoint)
KINDS = {
    "short": {"outputs": ("open",), "seed": 3, "window": 101},
    "multiclass": {"outputs": CLASSES, "activation": "softmax", "seed": 2},
    "K562": {"outputs": ("K562",), "seed": 1},
}
NAMES = ["pretrained", "K562", "MCF7", "multiclass", "short"]  # as the group lists them

# Held-out scores as a run record holds them
SCORES = {
    "test": {"n": 1204, "positives": 321, "auroc": 0.91234, "auroc_interval": [0.89, 0.93],
             "average_precision": 0.8, "description": "chr2 and chr3", "accuracy": 0.5},
}  # fmt: skip


def edit_card(folder: Path, **training) -> Path:
    """Change the training record on a card."""
    path = folder / "card.json"
    card = json.loads(path.read_text())
    card["training"] |= training
    path.write_text(json.dumps(card))
    return folder


def make_checkpoints(folder: Path) -> dict[str, Path]:
    """A checkpoint of each kind: sizes, outputs, activations, windows, an ensemble, a trunk of motifs."""
    made = {name: make_checkpoint(folder / name, **kind) for name, kind in KINDS.items()}
    members = [make_checkpoint(folder / f"member{seed}", ("HEPG2", "K562"), seed=seed) for seed in (5, 6)]
    made["MCF7"] = save_ensemble(members, folder / "ensemble")
    model = network(dropout=0)
    card = Card(architecture=model.architecture, outputs=["open"])
    made["pretrained"] = save_model(model, folder / "motifs", card)
    return made


def make_source(folder: Path, checkpoints: dict[str, Path], names=None, **arguments) -> Path:
    """A source with a group of these checkpoints."""
    for name in names or checkpoints:
        add_to_group(checkpoints[name], name, folder, **arguments)
    return folder
