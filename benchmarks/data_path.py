"""Sequences per second from a genome file to float32 one-hot batches, on one core.

All rows deliver the same 600 bp windows in batches of 64 (the sampler draws its own, as many). Times are
CPU seconds of this process, the repeats of all rows interleaved, medians reported. Before timing, the
arrays of all rows are compared, also the sampler's against ours at the windows that it recorded.

    python benchmarks/data_path.py [--json FILE] [--windows N] [--repeats N]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyfaidx
import pysam
from numpy.typing import NDArray
from selene_sdk.samplers import RandomPositionsSampler
from selene_sdk.sequences import Genome as SeleneGenome

from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import Layout, one_hot, reverse_complement_codes

LENGTH = 600
BATCH = 64
CONTIGS = [f"chr{number}" for number in range(1, 7)]
CONTIG_LENGTH = 2_000_000
FEATURES = ["A", "B", "C"]
PEAKS = 2_000
AGAINST_SAMPLER = 40
AGAINST_PYFAIDX = 5

SAMPLER = "Selene RandomPositionsSampler (with 3 targets)"
SELENE_GENOME = "Selene Genome.get_encoding_from_coords"
PYFAIDX = "pyfaidx per window + lookup table"
OURS_LAST = "ours, channels last"
OURS_FIRST = "ours, channels first"
OURS_NAMES = "ours, channels first, contigs by name"
OURS_DRAWN = "ours, channels first, windows drawn at random"

Batches = Callable[[], list[NDArray[Any]]]


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """Write a genome without N (Selene encodes N as 0.25) and a tabix-indexed BED of 3 features."""
    rng = np.random.default_rng(1)
    fasta, bed = folder / "genome.fa", folder / "peaks.bed"
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    with fasta.open("w") as out:
        for name in CONTIGS:
            bases = letters[rng.integers(0, 4, (CONTIG_LENGTH // 100, 100))]
            out.write(f">{name}\n" + "\n".join(row.tobytes().decode() for row in bases) + "\n")
    start = rng.integers(0, CONTIG_LENGTH - LENGTH, len(FEATURES) * PEAKS)
    table = pd.DataFrame({"chrom": rng.choice(CONTIGS, len(start)), "start": start, "end": start + LENGTH})
    table["name"] = np.repeat(FEATURES, PEAKS)
    table.sort_values(["chrom", "start"]).to_csv(bed, sep="\t", header=False, index=False)
    return fasta, Path(pysam.tabix_index(str(bed), preset="bed", force=True))


def make_sampler(fasta: Path, bed: Path, record: bool) -> RandomPositionsSampler:
    return RandomPositionsSampler(
        SeleneGenome(str(fasta)),
        str(bed),
        FEATURES,
        seed=1,
        validation_holdout=["chr5"],
        test_holdout=["chr6"],
        sequence_length=LENGTH,
        center_bin_to_predict=200,
        feature_thresholds=0.5,
        save_datasets=["train"] if record else [],
    )


def check_sampler(fasta: Path, bed: Path, genome: Genome) -> None:
    """Assert that our arrays equal the sampler's at the windows it drew, on both strands."""
    sampler = make_sampler(fasta, bed, record=True)
    theirs, _ = sampler.sample(BATCH)
    drawn = pd.DataFrame(sampler._save_datasets["train"], columns=["chrom", "start", "end", "strand", "hit"])
    codes = genome.extract(drawn["chrom"], drawn["start"], LENGTH)
    minus = (drawn["strand"] == "-").to_numpy()
    codes[minus] = reverse_complement_codes(codes[minus])
    assert 0 < minus.sum() < BATCH
    np.testing.assert_array_equal(one_hot(codes, "channels_last"), theirs)


def pyfaidx_batches(fasta: Path, windows: list[tuple[str, int]]) -> Batches:
    # As good as it gets per window: raw strings, and one 16-byte table entry per base.
    opened = pyfaidx.Fasta(str(fasta), as_raw=True)
    rows = np.zeros((256, 4), dtype=np.float32)
    for code, base in enumerate("ACGT"):
        rows[ord(base), code] = rows[ord(base.lower()), code] = 1
    packed = rows.view(np.complex128)[:, 0]

    def run() -> list[NDArray[Any]]:
        batches = []
        for first in range(0, len(windows), BATCH):
            batch = np.empty((len(windows[first : first + BATCH]), LENGTH), dtype=np.complex128)
            for row, (chrom, start) in enumerate(windows[first : first + BATCH]):
                text = opened[chrom][start : start + LENGTH]
                np.take(packed, np.frombuffer(text.encode(), dtype=np.uint8), out=batch[row], mode="clip")
            batches.append(batch.view(np.float32).reshape(-1, LENGTH, 4))
        return batches

    return run


def selene_genome_batches(fasta: Path, windows: list[tuple[str, int]]) -> Batches:
    opened = SeleneGenome(str(fasta))

    def run() -> list[NDArray[Any]]:
        return [
            np.stack(
                [opened.get_encoding_from_coords(chrom, start, start + LENGTH) for chrom, start in part]
            ).astype(np.float32, copy=False)
            for part in (windows[first : first + BATCH] for first in range(0, len(windows), BATCH))
        ]

    return run


def our_batches(genome: Genome, chroms: NDArray[Any], starts: NDArray[Any], layout: Layout) -> Batches:
    def run() -> list[NDArray[Any]]:
        return [
            one_hot(
                genome.extract(chroms[first : first + BATCH], starts[first : first + BATCH], LENGTH), layout
            )
            for first in range(0, len(starts), BATCH)
        ]

    return run


def drawn_batches(genome: Genome, n: int) -> Batches:
    rng = np.random.default_rng(3)

    def run() -> list[NDArray[Any]]:
        batches = []
        for _ in range(n // BATCH):
            index = rng.integers(0, len(CONTIGS), BATCH)
            starts = rng.integers(0, CONTIG_LENGTH - LENGTH, BATCH)
            batches.append(one_hot(genome.extract(index, starts, LENGTH)))
        return batches

    return run


def measure(rows: dict[str, Batches], n: int, repeats: int) -> dict[str, float]:
    """Give the median sequences per second of each row."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, run in rows.items():
            # A fast row is repeated within one reading until the clock's grain does not matter.
            inner, spent = 0, 0.0
            while spent < 0.05:
                before = time.process_time()
                run()
                spent += time.process_time() - before
                inner += 1
            seconds[name].append(spent / inner)
    return {name: n / statistics.median(values) for name, values in seconds.items()}


def prepare(folder: Path, n: int) -> dict[str, Batches]:
    """Set up all rows and assert that they give the same arrays."""
    fasta, bed = make_inputs(folder)
    genome = Genome(fasta, folder / "cache")
    check_sampler(fasta, bed, genome)
    rng = np.random.default_rng(2)
    names = rng.choice(CONTIGS, n)
    starts = rng.integers(0, CONTIG_LENGTH - LENGTH, n)
    windows = list(zip(names.tolist(), starts.tolist(), strict=True))
    index = genome.contig_index(names)
    same = {
        SELENE_GENOME: selene_genome_batches(fasta, windows),
        PYFAIDX: pyfaidx_batches(fasta, windows),
        OURS_LAST: our_batches(genome, index, starts, "channels_last"),
        OURS_FIRST: our_batches(genome, index, starts, "channels_first"),
        OURS_NAMES: our_batches(genome, names, starts, "channels_first"),
    }
    expected = np.concatenate(same[PYFAIDX]())
    assert expected.dtype == np.float32
    assert expected.sum() == n * LENGTH
    for name, run in same.items():
        got = np.concatenate(run())
        got = got if got.shape[-1] == 4 else got.transpose(0, 2, 1)
        assert got.dtype == np.float32, name
        np.testing.assert_array_equal(got, expected, err_msg=name)
    sampler = make_sampler(fasta, bed, record=False)
    sampler.sample(1)  # its first call sets up its tables
    return {
        SAMPLER: lambda: [sampler.sample(BATCH)[0].astype(np.float32) for _ in range(n // BATCH)],
        **same,
        OURS_DRAWN: drawn_batches(genome, n),
    }


@click.command(help=__doc__.split("\n\n")[0])
@click.option(
    "--windows", default=1024, show_default=True, type=click.IntRange(BATCH), help="600 bp windows."
)
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(1))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(windows: int, repeats: int, json_path: Path | None) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    windows -= windows % BATCH
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(prepare(Path(folder), windows), windows, repeats)
    print(f"{'row':48s} {'seq/s':>11s} {'x sampler':>10s} {'x pyfaidx':>10s}")
    for name, rate in rates.items():
        print(f"{name:48s} {rate:11,.0f} {rate / rates[SAMPLER]:10.1f} {rate / rates[PYFAIDX]:10.1f}")
    slowest = min(rates[name] for name in (OURS_LAST, OURS_FIRST))
    met = slowest >= AGAINST_SAMPLER * rates[SAMPLER] and slowest >= AGAINST_PYFAIDX * rates[PYFAIDX]
    verdict = "met" if met else "NOT met"
    print(f"required: {AGAINST_SAMPLER} x sampler and {AGAINST_PYFAIDX} x pyfaidx: {verdict}")
    if json_path:
        record = {
            "sequences_per_second": rates,
            "windows": windows,
            "length": LENGTH,
            "batch": BATCH,
            "repeats": repeats,
            "required": {"x_sampler": AGAINST_SAMPLER, "x_pyfaidx": AGAINST_PYFAIDX, "met": met},
            "machine": {"python": platform.python_version(), "numpy": np.__version__, "cpu": cpu_name()},
        }
        with atomic_path(json_path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
    if not met:
        raise SystemExit(1)


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
