"""What the tests of genomes and regions share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

LETTERS = "ACGTacgtNnRYKMSWBDHV"


def write_fasta(path: Path, contigs: dict[str, str], width: int = 60, end: str = "\n") -> Path:
    with path.open("w", newline="") as out:
        for name, sequence in contigs.items():
            out.write(f">{name} some words > and more{end}")
            out.writelines(sequence[i : i + width] + end for i in range(0, len(sequence), width))
    return path


def random_contigs(seed: int = 0) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    lengths = {"chr1": 5_000, "chr2": 601, "chrUn_x": 600, "tiny": 7, "chr3": 180_001}
    contigs = {name: "".join(rng.choice(list(LETTERS), n)) for name, n in lengths.items()}
    # The run of N leaves a hole of whole blocks in the cache file.
    contigs["chr3"] = contigs["chr3"][:500] + "N" * 179_000 + contigs["chr3"][179_500:]
    return contigs


def write_lines(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(line + "\n" for line in lines))
    return path


def real_data_folder() -> Path:
    folder = Path(os.environ.get("CHROMTRANSFER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CHROMTRANSFER_DATA")
    return folder
