"""Small sets of motifs, and what plain Python says about their matches."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot_tensor

SITE = "TGACGTCATT"  # no site of its own reverse complement
LENGTHS = {"h": 26, "a": 6, "f": 14, "c": 8, "d": 9, "g": 20, "e": 12}  # h is longer than any kernel
COUNTS = [2, 2, 1, 2]  # of these, by length
SETTINGS = {"trunk": "motifs", "motifs": COUNTS, "head": [8], "head_bn": False}


def random_motifs() -> dict[str, np.ndarray]:
    """Probability matrices with a strong preference at every position, in no order."""
    rng = np.random.default_rng(7)
    return {name: rng.dirichlet([0.2] * 4, length) for name, length in LENGTHS.items()}


def site_motif(site: str = SITE) -> dict[str, np.ndarray]:
    """One motif that is nearly certain of every letter."""
    matrix = np.full((len(site), 4), 0.01)
    matrix[np.arange(len(site)), ["ACGT".index(letter) for letter in site]] = 0.97
    return {"site": matrix}


def network(seed: int = 1, **changes) -> ChromTransfer:
    """A network on the random motifs, in evaluation mode."""
    torch.manual_seed(seed)
    model = ChromTransfer(**{**SETTINGS, **changes})
    if model.architecture.motifs == tuple(COUNTS):
        model.trunk.fill(random_motifs())
    return model.eval()


def windows(n: int = 6, length: int = 60, seed: int = 0) -> np.ndarray:
    """Codes with an unknown base here and there."""
    return np.random.default_rng(seed).choice(5, (n, length), p=[0.24] * 4 + [0.04]).astype(np.uint8)


def encoded(codes: np.ndarray) -> torch.Tensor:
    return one_hot_tensor(torch.from_numpy(codes))


def log_odds(row: np.ndarray, code: int) -> float:
    """Bits of one base against a quarter, with a tenth of a pseudocount; an unknown base says nothing."""
    return math.log2((row[code] + 0.1 / 4) / 1.1 / 0.25) if code < 4 else 0.0


def matches(matrix: np.ndarray, codes: np.ndarray, width: int) -> tuple[list[float], list[float]]:
    """Bits above 3 of every placement of a kernel, on the given and on the other strand.

    The kernel overhangs by half its width at either end. The motif starts where the kernel starts; read from the
    other strand, where the kernel ends.
    """
    matrix = matrix[:width]
    other = matrix[::-1, ::-1]
    found: tuple[list[float], list[float]] = ([], [])
    for start in range(-(width // 2), len(codes) - width // 2 + 1):
        for strand, (rows, offset) in enumerate([(matrix, 0), (other, width - len(matrix))]):
            sites = [(row, start + offset + i) for i, row in enumerate(rows)]
            bits = sum(log_odds(row, codes[at]) for row, at in sites if 0 <= at < len(codes))
            found[strand].append(max(0.0, bits - 3))
    return found


def write_meme(path: Path, motifs: dict[str, np.ndarray]) -> Path:
    """Write motifs as MEME itself does, with six decimals."""
    text = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
    for name, matrix in motifs.items():
        text += f"MOTIF {name}\n\nletter-probability matrix: alength= 4 w= {len(matrix)} nsites= 20 E= 0\n"
        text += "".join("  ".join(f"{p:.6f}" for p in row) + "\n" for row in matrix) + "\n"
    path.write_text(text)
    return path
