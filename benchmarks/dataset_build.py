"""Time and memory of ``chromtransfer dataset build`` over a whole human-size input that is SIMULATED.

2.2 million regions of 150 to 350 bp on the chromosomes of hg38, three lines with a genome-wide bigWig each, a blacklist
and gaps; with ``--fasta`` also a genome of 3.1 billion random bases whose GC content changes along it, so that sequences
are read and negatives and tiles are matched by GC. The command runs as a process of its own; its memory is the largest
resident set that Linux saw. The limits are 6 GB and 10 minutes.

    python benchmarks/dataset_build.py [--folder DIR] [--json FILE] [--regions N] [--intervals N] [--fasta] [--cores 0,1]

The results file keeps the run with and the run without a genome. To try it in seconds, on a genome 1000 times smaller:

    python benchmarks/dataset_build.py --shrink 1000 --regions 2200 --intervals 10000 --fasta
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import yaml
from machine import cpu_name
from numpy.typing import NDArray

from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.genome import Genome

# https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips/hg38.chrom.sizes
SIZES = {
    "chr1": 248956422, "chr2": 242193529, "chr3": 198295559, "chr4": 190214555, "chr5": 181538259, "chr6": 170805979,
    "chr7": 159345973, "chr8": 145138636, "chr9": 138394717, "chr10": 133797422, "chr11": 135086622,
    "chr12": 133275309, "chr13": 114364328, "chr14": 107043718, "chr15": 101991189, "chr16": 90338345,
    "chr17": 83257441, "chr18": 80373285, "chr19": 58617616, "chr20": 64444167, "chr21": 46709983, "chr22": 50818468,
    "chrX": 156040895, "chrY": 57227415,
}  # fmt: skip
TOTAL = sum(SIZES.values())
LINES = ("A", "B", "C")
OPEN_SHARE = 0.06  # of the regions, in each line
GAP = 3_000_000  # bp in the middle of each chromosome
LINE_BASES = 60_000  # of a line of the FASTA
SEED = 0
LIMIT_MIB, LIMIT_SECONDS = 6_000, 600


Sizes = dict[str, int]


def share_of_hg38(sizes: Sizes) -> float:
    return sum(sizes.values()) / TOTAL


def simulate_regions(n: int, sizes: Sizes) -> pd.DataFrame:
    """Regions that do not overlap, at random distances; in proportion to the chromosomes' lengths."""
    rng = np.random.default_rng(SEED)
    parts = []
    for chrom, size in sizes.items():
        count = round(n * size / sum(sizes.values()))
        width = rng.integers(150, 351, count)
        distance = rng.exponential(1.0, count)
        distance = (distance * (0.99 * size - width.sum()) / distance.sum()).astype(np.int64)
        start = np.cumsum(distance + width) - width
        parts.append(pd.DataFrame({"chrom": chrom, "start": start, "end": start + width}))
    return pd.concat(parts, ignore_index=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    text = table.to_csv(sep="\t", header=False, index=False)
    if path.exists() and path.read_text() != text:
        raise SystemExit(f"{path} is there from a run of another size. Name another --folder.")
    path.write_text(text)


def gaps(sizes: Sizes) -> pd.DataFrame:
    length = round(GAP * share_of_hg38(sizes))
    rows = [(chrom, size // 2, size // 2 + length) for chrom, size in sizes.items()]
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


def blacklist(sizes: Sizes, n: int = 636) -> pd.DataFrame:
    """As many stretches as hg38's blacklist has, of about its 227 million bases."""
    rng = np.random.default_rng(SEED + 1)
    chrom = rng.choice(list(sizes), n, p=np.array(list(sizes.values())) / sum(sizes.values()))
    start = (rng.random(n) * [sizes[name] * 0.95 for name in chrom]).astype(np.int64)
    length = np.ceil(rng.integers(1_000, 700_000, n) * share_of_hg38(sizes)).astype(np.int64)
    return pd.DataFrame({"chrom": chrom, "start": start, "end": start + length})


def intervals(
    regions: pd.DataFrame, n: int, line: int, sizes: Sizes
) -> Iterator[tuple[str, int, int, float]]:
    """Signal at every base of the genome: steps at random places and at the regions' ends, higher in open regions."""
    rng = np.random.default_rng([SEED, line])
    for chrom, size in sizes.items():
        here = regions[regions["chrom"] == chrom]
        edges = np.concatenate(
            [
                here["start"],
                here["end"],
                rng.integers(1, size, round(n * size / sum(sizes.values()))),
                [0, size],
            ]
        )
        edges = np.unique(edges)
        middles = (edges[1:] + edges[:-1]) // 2
        region = np.searchsorted(here["start"].to_numpy(), middles, side="right") - 1
        inside = (region >= 0) & (middles < here["end"].to_numpy()[region])
        height = np.where(rng.random(len(here)) < OPEN_SHARE, 40.0, 1.0) * rng.lognormal(0, 0.5, len(here))
        value = np.where(inside, height[region], 0.2) * rng.lognormal(0, 0.3, len(middles))
        yield from zip(
            [chrom] * len(middles), edges[:-1].tolist(), edges[1:].tolist(), value.tolist(), strict=True
        )


def write_bigwig(path: Path, values: Iterator[tuple[str, int, int, float]], sizes: Sizes) -> None:
    import pybigtools

    with atomic_path(path) as temporary:
        pybigtools.open(str(temporary), "w").write(sizes, values)


def write_fasta(path: Path, sizes: Sizes) -> None:
    """Random bases, the share of G and C drawn anew for each line of 60 kb; N in the gaps."""
    rng = np.random.default_rng(SEED + 2)
    holes = gaps(sizes).set_index("chrom")
    with atomic_path(path) as temporary, temporary.open("wb") as out:
        for chrom, size in sizes.items():
            out.write(f">{chrom}\n".encode())
            for start in range(0, size, LINE_BASES):
                n = min(LINE_BASES, size - start)
                strong = int(128 * np.clip(rng.normal(0.42, 0.08), 0.25, 0.7))
                letters = np.repeat(
                    np.frombuffer(b"CGAT", np.uint8), [strong, strong, 128 - strong, 128 - strong]
                )
                bases: NDArray[np.uint8] = letters[np.frombuffer(rng.bytes(n), np.uint8)]
                hole = holes.loc[chrom]
                bases[max(0, hole["start"] - start) : max(0, hole["end"] - start)] = ord("N")
                out.write(bases.tobytes() + b"\n")


def prepare(folder: Path, n_regions: int, n_intervals: int, fasta: bool, sizes: Sizes) -> Path:
    """Write all inputs that are not there yet, and the configuration."""
    regions = simulate_regions(n_regions, sizes)
    write_table(regions, folder / "regions.bed")
    write_table(blacklist(sizes), folder / "blacklist.bed")
    write_table(gaps(sizes), folder / "gaps.bed")
    write_table(pd.DataFrame(list(sizes.items())), folder / "chrom.sizes")
    for number, line in enumerate(LINES):
        if not (folder / f"{line}.bw").exists():
            click.echo(f"writing the signal of line {line}", err=True)
            write_bigwig(folder / f"{line}.bw", intervals(regions, n_intervals, number, sizes), sizes)
    match = "gc" if fasta else "none"
    config: dict[str, Any] = {
        "regions": "regions.bed",
        "lines": {line: {"signal": f"{line}.bw"} for line in LINES},
        "negatives": {"match": match},
        "pretraining": {"blacklist": "blacklist.bed", "gaps": "gaps.bed", "match": match},
    }
    if fasta:
        if not (folder / "genome.fa").exists():
            click.echo("writing the genome", err=True)
            write_fasta(folder / "genome.fa", sizes)
        config["genome"] = "genome.fa"
    else:
        config["contigs"] = "chrom.sizes"
    path = folder / f"build_{match}.yml"
    path.write_text(yaml.safe_dump(config))
    return path


_CHILD = """
import sys
from pathlib import Path
from chromtransfer_plugin.cli import main
main(sys.argv[2:], standalone_mode=False)
sys.path.insert(0, sys.argv[1])
from machine import peak_mib
print("peak", peak_mib())
"""


def measure(config: Path, cores: list[int]) -> dict[str, Any]:
    """Run the command in a process of its own on these cores."""
    out = config.parent / "built"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(len(cores)),
        "CHROMTRANSFER_CACHE": str(config.parent / "cache"),
    }
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    arguments = [str(Path(__file__).parent), "dataset", "build", str(config), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments], env=environment, capture_output=True, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    click.echo(done.stderr, err=True)
    manifest = json.loads((out / "manifest.json").read_text())
    return {
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(sum(after[:2]) - sum(before[:2]), 1),
        "peak_mib": round(float(done.stdout.split("peak")[-1])),
        "windows": {name: sum(parts.values()) for name, parts in manifest["splits"].items()},
        "out_mib": round(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20),
    }


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Keep the inputs here [default: a temporary folder]."
)
@click.option("--json", "record", type=click.Path(path_type=Path), help="Write the results here.")
@click.option("--regions", "n_regions", default=2_200_000, show_default=True)
@click.option(
    "--intervals", "n_intervals", default=10_000_000, show_default=True, help="Random steps in each bigWig."
)
@click.option("--fasta", is_flag=True, help="With a genome: also sequences, and matching by GC.")
@click.option(
    "--shrink",
    type=click.IntRange(1, 1_000),
    default=1,
    show_default=True,
    help="Chromosomes so many times shorter than hg38's, to try the benchmark.",
)
@click.option("--cores", default="0,1", show_default=True, help="Cores that the command may use.")
def main(
    folder: Path | None,
    record: Path | None,
    n_regions: int,
    n_intervals: int,
    fasta: bool,
    shrink: int,
    cores: str,
) -> None:
    sizes = {chrom: size // shrink for chrom, size in SIZES.items()}
    chosen = [int(core) for core in cores.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        config = prepare(place, n_regions, n_intervals, fasta, sizes)
        if fasta:
            start = time.perf_counter()
            Genome(place / "genome.fa", cache_dir=place / "cache")
            click.echo(f"the genome's cache: {time.perf_counter() - start:.0f} s", err=True)
        load = [round(x, 1) for x in os.getloadavg()]
        run = {
            **measure(config, chosen),
            "regions": n_regions,
            "genome_bases": sum(sizes.values()),
            "bigwig_intervals": n_intervals + 2 * n_regions,  # random steps, and the ends of the regions
            "bigwig_mib": [(place / f"{line}.bw").stat().st_size >> 20 for line in LINES],
            "cores": len(chosen),
            "load_before": load,
            "load_when_done": [round(x, 1) for x in os.getloadavg()],
        }
    run["within_limits"] = run["peak_mib"] < LIMIT_MIB and run["wall_seconds"] < LIMIT_SECONDS
    click.echo(json.dumps(run, indent=1))
    if record is not None:
        write_results(record, "with_genome" if fasta else "without_genome", run)
    if not run["within_limits"]:
        raise SystemExit("over the limits")


def write_results(path: Path, name: str, run: dict[str, Any]) -> None:
    """Add a run to the results, beside the one of the other kind."""
    runs = json.loads(path.read_text())["runs"] if path.exists() else {}
    results = {
        "runs": {**runs, name: run},
        "limits": {"mib": LIMIT_MIB, "seconds": LIMIT_SECONDS},
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "pandas", "pybigtools", "pyranges")},
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
