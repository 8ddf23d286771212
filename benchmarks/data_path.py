"""Sequences per second from a genome file to float32 one-hot batches, on one core.

All rows deliver the same 600 bp windows in batches (the sampler draws its own, as many), one at a time as
to a training loop. The pyfaidx row and ours write into one array again and again, unless the row says "new
arrays". Times are CPU seconds of this process, the repeats of all rows interleaved, medians reported.
Before timing, the arrays of all rows are compared, the sampler's with ours at the windows that it recorded.

    python benchmarks/data_path.py [--json FILE] [--windows N] [--batch N] [--repeats N]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyfaidx
import pysam
from machine import cpu_name
from numpy.typing import NDArray
from selene_sdk.samplers import RandomPositionsSampler
from selene_sdk.sequences import Genome as SeleneGenome

from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.onehot import Layout, one_hot, reverse_complement_codes

LENGTH = 600
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
OURS_NEW = "ours, channels first, new arrays"
OURS_NAMES = "ours, channels first, contigs by name"
OURS_DRAWN = "ours, channels first, windows drawn at random"

Batches = Callable[[], Iterator[NDArray[Any]]]


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
    theirs, _ = sampler.sample(64)
    drawn = pd.DataFrame(sampler._save_datasets["train"], columns=["chrom", "start", "end", "strand", "hit"])
    codes = genome.extract(drawn["chrom"], drawn["start"], LENGTH)
    minus = (drawn["strand"] == "-").to_numpy()
    codes[minus] = reverse_complement_codes(codes[minus])
    assert 0 < minus.sum() < len(minus)
    np.testing.assert_array_equal(one_hot(codes, "channels_last"), theirs)


def sampler_batches(sampler: RandomPositionsSampler, n: int, size: int) -> Batches:
    def run() -> Iterator[NDArray[Any]]:
        for _ in range(n // size):
            yield sampler.sample(size)[0].astype(np.float32)

    return run


def selene_genome_batches(fasta: Path, windows: list[tuple[str, int]], size: int) -> Batches:
    opened = SeleneGenome(str(fasta))

    def run() -> Iterator[NDArray[Any]]:
        for first in range(0, len(windows), size):
            part = windows[first : first + size]
            rows = [opened.get_encoding_from_coords(chrom, start, start + LENGTH) for chrom, start in part]
            yield np.stack(rows).astype(np.float32, copy=False)

    return run


def pyfaidx_batches(fasta: Path, windows: list[tuple[str, int]], size: int) -> Batches:
    # As good as it gets per window: raw strings, and one 16-byte table entry per base.
    opened = pyfaidx.Fasta(str(fasta), as_raw=True)
    rows = np.zeros((256, 4), dtype=np.float32)
    for code, base in enumerate("ACGT"):
        rows[ord(base), code] = rows[ord(base.lower()), code] = 1
    packed = rows.view(np.complex128)[:, 0]
    batch = np.empty((size, LENGTH), dtype=np.complex128)

    def run() -> Iterator[NDArray[Any]]:
        for first in range(0, len(windows), size):
            for row, (chrom, start) in enumerate(windows[first : first + size]):
                text = opened[chrom][start : start + LENGTH]
                np.take(packed, np.frombuffer(text.encode(), dtype=np.uint8), out=batch[row], mode="clip")
            yield batch.view(np.float32).reshape(size, LENGTH, 4)

    return run


def our_batches(
    genome: Genome,
    chroms: NDArray[Any],
    starts: NDArray[Any],
    size: int,
    layout: Layout = "channels_first",
    reuse: bool = True,
) -> Batches:
    first_batch = one_hot(genome.extract(chroms[:size], starts[:size], LENGTH), layout)
    out = first_batch if reuse else None

    def run() -> Iterator[NDArray[Any]]:
        for first in range(0, len(starts), size):
            part = slice(first, first + size)
            yield one_hot(genome.extract(chroms[part], starts[part], LENGTH), layout, out=out)

    return run


def drawn_batches(genome: Genome, n: int, size: int) -> Batches:
    rng = np.random.default_rng(3)
    out = np.empty((size, 4, LENGTH), dtype=np.float32)

    def run() -> Iterator[NDArray[Any]]:
        for _ in range(n // size):
            index = rng.integers(0, len(CONTIGS), size)
            starts = rng.integers(0, CONTIG_LENGTH - LENGTH, size)
            yield one_hot(genome.extract(index, starts, LENGTH), out=out)

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
                for _ in run():
                    pass
                spent += time.process_time() - before
                inner += 1
            seconds[name].append(spent / inner)
    return {name: n / statistics.median(values) for name, values in seconds.items()}


def prepare(folder: Path, n: int, size: int) -> dict[str, Batches]:
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
        SELENE_GENOME: selene_genome_batches(fasta, windows, size),
        PYFAIDX: pyfaidx_batches(fasta, windows, size),
        OURS_LAST: our_batches(genome, index, starts, size, "channels_last"),
        OURS_FIRST: our_batches(genome, index, starts, size),
        OURS_NEW: our_batches(genome, index, starts, size, reuse=False),
        OURS_NAMES: our_batches(genome, names, starts, size),
    }
    expected = np.concatenate([batch.copy() for batch in same[PYFAIDX]()])
    assert expected.sum() == n * LENGTH
    for name, run in same.items():
        got = np.concatenate([batch.copy() for batch in run()])
        got = got if got.shape[-1] == 4 else got.transpose(0, 2, 1)
        assert got.dtype == np.float32, name
        np.testing.assert_array_equal(got, expected, err_msg=name)
    sampler = make_sampler(fasta, bed, record=False)
    sampler.sample(1)  # its first call sets up its tables
    return {SAMPLER: sampler_batches(sampler, n, size), **same, OURS_DRAWN: drawn_batches(genome, n, size)}


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--windows", default=1024, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=64, show_default=True, type=click.IntRange(1))
@click.option("--repeats", default=7, show_default=True, type=click.IntRange(1))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(windows: int, batch: int, repeats: int, json_path: Path | None) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    windows = max(1, windows // batch) * batch
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(prepare(Path(folder), windows, batch), windows, repeats)
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
            "batch": batch,
            "repeats": repeats,
            "required": {"x_sampler": AGAINST_SAMPLER, "x_pyfaidx": AGAINST_PYFAIDX, "met": met},
            "machine": {"python": platform.python_version(), "numpy": np.__version__, "cpu": cpu_name()},
        }
        with atomic_path(json_path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
    if not met:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
