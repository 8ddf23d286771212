"""A tiny genome with regions, signal and peaks, as ENCODE's files are, for the tests of `dataset build`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import yaml
from genome_helpers import write_fasta, write_lines

SIZES = {"chr1": 90_000, "chr2": 60_000, "chr3": 45_000, "chr4": 45_000}
LINES = ("A", "B", "C")
STEP = 1_500  # bp from one region to the next


def write_bigwig(path: Path, rows: list[tuple[str, int, int, float]], sizes: dict[str, int] = SIZES) -> Path:
    import pybigtools

    pybigtools.open(str(path), "w").write(sizes, sorted(rows))
    return path


def make_regions() -> pd.DataFrame:
    """Regions of 200 bp on the grid of STEP, each with the lines it is to be open in ('' for most)."""
    rng = np.random.default_rng(12)
    rows = [
        (chrom, start, start + 200)
        for chrom, size in SIZES.items()
        for start in range(3_000, size - 3_000, STEP)
    ]
    table = pd.DataFrame(rows, columns=["chrom", "start", "end"])
    kind = rng.choice(["", "A", "B", "C", "AB"], size=len(table), p=[0.7, 0.08, 0.08, 0.08, 0.06])
    return table.assign(open_in=kind, name=[f"rdhs{i}" for i in range(len(table))])


def signal_rows(regions: pd.DataFrame, line: str, seed: int) -> list[tuple[str, int, int, float]]:
    """Steps of 50 bp in the middle 400 bp of each region; tall where it is open, 1 % without any signal."""
    rng = np.random.default_rng(seed)
    rows = []
    for region in regions.itertuples():
        height = 100.0 if line in region.open_in else 1.0
        if not region.open_in and rng.random() < 0.01:
            continue
        for start in range(region.start - 100, region.end + 100, 50):
            value = float(np.float32(height * rng.uniform(0.7, 1.3)))
            rows.append((region.chrom, start, start + 50, value))
    return rows


def write_inputs(folder: Path) -> pd.DataFrame:
    """Write genome.fa, chrom.sizes, rdhs.bed, A.1.bw ... C.2.bw, A.bed ... C.bed and blacklist.bed; return the regions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    contigs = {name: "".join(rng.choice(list("ACGT"), size)) for name, size in SIZES.items()}
    contigs["chr4"] = contigs["chr4"][:30_000] + "N" * 1_200 + contigs["chr4"][31_200:]
    write_fasta(folder / "genome.fa", contigs)
    write_lines(folder, "chrom.sizes", *(f"{name}\t{size}" for name, size in SIZES.items()))
    regions = make_regions()
    regions = regions[(regions["chrom"] != "chr4") | ~regions["start"].between(29_000, 32_000)]
    regions = regions.reset_index(drop=True)
    columns = regions[["chrom", "start", "end", "name"]]
    write_lines(folder, "rdhs.bed", *("\t".join(map(str, row)) for row in columns.itertuples(index=False)))
    for number, line in enumerate(LINES):
        for replicate in (1, 2):
            rows = signal_rows(regions, line, 10 * number + replicate)
            write_bigwig(folder / f"{line}.{replicate}.bw", rows)
        peaks = regions[regions["open_in"].str.contains(line)]
        write_lines(folder, f"{line}.bed", *(f"{r.chrom}\t{r.start}\t{r.end}" for r in peaks.itertuples()))
    write_lines(folder, "blacklist.bed", "chr1\t0\t1000", "chrUn\t0\t50")
    return regions


def config_of(**changes: Any) -> dict[str, Any]:
    """A configuration for the inputs; a change to None removes a key."""
    config: dict[str, Any] = {
        "genome": "genome.fa",
        "regions": ["rdhs.bed"],
        "lines": {line: {"signal": [f"{line}.1.bw", f"{line}.2.bw"]} for line in LINES},
        "pretraining": {"blacklist": "blacklist.bed"},
        "split": {"test": ["chr2"], "folds": 3},
    }
    config.update(changes)
    return {key: value for key, value in config.items() if value is not None}


def peak_lines(**more: Any) -> dict[str, Any]:
    return {line: {"peaks": f"{line}.bed"} for line in LINES} | more


def write_config(folder: Path, text: str | None = None, **changes: Any) -> Path:
    path = folder / "dataset.yml"
    path.write_text(text if text is not None else yaml.safe_dump(config_of(**changes), sort_keys=False))
    return path


def build(folder: Path, name: str = "out", figure: bool = False, **changes: Any):
    """Build; the figure, which takes longer than all the rest, is drawn on demand alone."""
    from chromtransfer_plugin.plots import dataset_qc
    from chromtransfer_plugin.preparation.run import build_dataset

    with ExitStack() as stack:
        if not figure:
            instead = lambda path, *_: path.write_bytes(b"no figure")  # noqa: E731
            stack.enter_context(mock.patch.object(dataset_qc, "dataset_figure", instead))
        return build_dataset(write_config(folder, **changes), folder / name)


def funnel(manifest, group: str) -> dict[str, int]:
    return {step.step: step.count for step in manifest.funnel if step.group == group}


def refusal(folder: Path, **changes: Any) -> str:
    """The message of a build that must fail, having written nothing."""
    import pytest

    from chromtransfer_plugin.errors import ChromTransferError

    before = sorted(path.name for path in folder.iterdir())
    write_config(folder, **changes)
    with pytest.raises(ChromTransferError) as caught:
        build(folder, **changes)
    after = {path.name for path in folder.iterdir()} - set(before) - {"dataset.yml"}
    assert not after, after
    return str(caught.value)


def table(folder: Path, name: str = "") -> pd.DataFrame:
    return pd.read_parquet(folder / name / "regions.parquet")
