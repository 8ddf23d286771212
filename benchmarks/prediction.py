"""Memory and speed of ``chromtransfer predict``: flat memory over the number of windows, and the cost around the model.

Memory: one process for each number of windows, peak resident memory (VmHWM, Linux). The network is narrow, so
that a million windows end in minutes. Speed: the full network on the same windows as a bare loop over batches of codes in
memory and as the whole command (reading, extracting, scoring, storing, writing), interleaved; the median of
the ratios.

    python benchmarks/prediction.py [--json FILE] [--device NAME] [--windows N ...] [--speed-windows N] [--repeats N]
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import cpu_name, peak_mib

from chromtransfer_plugin.checkpoint import Card, save_model
from chromtransfer_plugin.device import describe, evaluating, pick_device
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot_tensor
from chromtransfer_plugin.prediction import predict_file

CONTIGS = {f"chr{number}": 10_000_000 for number in range(1, 5)}
WINDOW = 600
BATCH = 256
NARROW = {"width": 1 / 16, "cut": "stem", "head": (4,), "head_bn": False}
GOAL = 0.9  # of the bare model's rate
FLAT = 1.05  # most memory of the largest run over that of the middle one


def make_genome(path: Path) -> None:
    rng = np.random.default_rng(1)
    with path.open("wb") as out:
        for name, length in CONTIGS.items():
            letters = np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length, dtype=np.uint8)]
            out.write(f">{name}\n".encode() + letters.tobytes() + b"\n")


def make_bed(path: Path, n: int) -> None:
    rng = np.random.default_rng(2)
    names = rng.choice(list(CONTIGS), n)
    starts = rng.integers(0, min(CONTIGS.values()) - WINDOW, n)
    path.write_text(
        "".join(
            f"{name}\t{start}\t{start + WINDOW}\tpeak{row}\n"
            for row, (name, start) in enumerate(zip(names, starts.tolist(), strict=True))
        )
    )


def make_model(folder: Path, **network: Any) -> ChromTransfer:
    torch.manual_seed(0)
    model = ChromTransfer(**network).eval()
    save_model(model, folder, Card(architecture=model.architecture, outputs=["open"]))
    return model


def memory(folder: Path, n: int, device: str) -> dict[str, float]:
    """Peak resident memory (MiB) and rate of one process that predicts ``n`` windows."""
    make_bed(folder / "many.bed", n)
    started = time.perf_counter()
    command = [sys.executable, __file__, "--child", str(folder), "--device", device]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds = time.perf_counter() - started
    lines = sum(1 for _ in (folder / "many.tsv").open())
    assert lines == n + 1
    return {
        "windows": n,
        "peak_mib": found["peak_mib"],
        "seconds": seconds,
        "windows_per_second": n / seconds,
    }


def child(folder: Path, device: str) -> None:
    options: dict[str, Any] = {"bed": folder / "many.bed", "genome": folder / "genome.fa", "device": device}
    predict_file(folder / "narrow", folder / "many.tsv", **options)
    print(json.dumps({"peak_mib": peak_mib()}))


def speed(folder: Path, n: int, repeats: int, device: str) -> dict[str, Any]:
    """Windows per second of the bare model and of the whole command: CPU seconds on a CPU, which others may share."""
    clock = time.process_time if pick_device(device).type == "cpu" else time.perf_counter
    model = make_model(folder / "full")
    make_bed(folder / "some.bed", n)
    genome = Genome(folder / "genome.fa")
    rows = [line.split("\t") for line in (folder / "some.bed").read_text().splitlines()]
    codes = torch.from_numpy(genome.extract([row[0] for row in rows], [int(row[1]) for row in rows], WINDOW))
    rates: dict[str, list[float]] = {"bare model": [], "predict": []}
    scores = {}
    for repeat in range(repeats + 1):
        with evaluating(model, device) as target:
            started = clock()
            parts = [torch.sigmoid(model(one_hot_tensor(batch.to(target)))) for batch in codes.split(BATCH)]
            scores["bare model"] = torch.cat(parts).cpu().numpy()[:, 0]
            rates["bare model"].append(n / (clock() - started))
        started = clock()
        predict_file(
            folder / "full", folder / "some.tsv", bed=folder / "some.bed", genome=folder / "genome.fa",
            device=device, batch_size=BATCH,
        )  # fmt: skip
        rates["predict"].append(n / (clock() - started))
        lines = (folder / "some.tsv").read_text().splitlines()[1:]
        scores["predict"] = np.array([float(line.rsplit("\t", 1)[1]) for line in lines])
        np.testing.assert_allclose(scores["predict"], scores["bare model"], atol=1e-5)
        print(f"repeat {repeat}:", {name: round(values[-1], 1) for name, values in rates.items()}, flush=True)
    # The first round warms up.
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}
    ratio = statistics.median(
        mine / bare for mine, bare in zip(rates["predict"][1:], rates["bare model"][1:], strict=True)
    )
    return {"windows": n, "repeats": repeats, "windows_per_second": medians, "ratio": ratio, "goal": GOAL}


@click.command()
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--windows", multiple=True, type=int, default=(100_000, 300_000, 1_000_000), show_default=True)
@click.option("--speed-windows", type=int, default=1_024, show_default=True)
@click.option("--repeats", type=int, default=5, show_default=True)
@click.option("--child", "folder", type=click.Path(path_type=Path), hidden=True)
def main(
    target: Path | None,
    device: str,
    windows: tuple[int, ...],
    speed_windows: int,
    repeats: int,
    folder: Path | None,
) -> None:
    """Measure and print; compare with the goals."""
    if folder is not None:
        child(folder, device)
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_genome(work / "genome.fa")
        Genome(work / "genome.fa")  # its cache is built once, outside what is measured
        make_model(work / "narrow", **NARROW)
        result: dict[str, Any] = {"speed": speed(work, speed_windows, repeats, device), "memory": []}
        for n in windows:
            result["memory"].append(memory(work, n, device))
            print(result["memory"][-1], flush=True)
    peaks = [row["peak_mib"] for row in result["memory"]]
    result["memory_ratio"] = peaks[-1] / peaks[len(peaks) // 2]
    result["met"] = {"speed": result["speed"]["ratio"] >= GOAL, "memory": result["memory_ratio"] <= FLAT}
    result["machine"] = {
        "cpu": cpu_name(),
        "device": describe(pick_device(device)),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    if target is not None:
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
