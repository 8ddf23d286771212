"""Sequences per second of the network on one device, from base codes that live there, and a check against the CPU.

    python benchmarks/throughput.py [--device cuda] [--out FOLDER] [--budget SECONDS] [--quick]

Writes ``gpu.json`` (after every reading, so that an interrupted run keeps what it has) and ``gpu.md``. Every reading
stands alone: one that fails (out of memory, no compiler) is reported with its reason, and the others go on. Needs
torch, numpy, click and pydantic only.
"""

from __future__ import annotations

import copy
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn
from torch.nn import functional

from chromtransfer_plugin.defaults import HEADS, PRETRAIN
from chromtransfer_plugin.device import describe, peak_flops, pick_device
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.flops import forward_flops, training_flops
from chromtransfer_plugin.onehot import one_hot_tensor

LENGTH = 600
RESIDENT = 65_536  # windows on the device
FLOORS = {"inference": (100_000, 300_000), "training": (30_000, 100_000)}  # floor and goal on an H200
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Reading:
    """What one reading is: a task, a type, how the network is run, and a batch size."""

    def __init__(self, task: str, dtype: str, mode: str, batch: int) -> None:
        self.task, self.dtype, self.mode, self.batch = task, dtype, mode, batch

    def record(self) -> dict[str, Any]:
        """Give the fields that name the reading."""
        return {"task": self.task, "type": self.dtype, "mode": self.mode, "batch": self.batch}


def readings(quick: bool) -> list[Reading]:
    """List the readings, the most telling ones first, as a run may be cut short."""
    if quick:
        return [
            Reading(task, dtype, "eager", 8) for task in ("training", "inference", "codes") for dtype in TYPES
        ]
    plan = [Reading("codes", "float32", "eager", 4096)]
    plan += [
        Reading(task, dtype, "eager", batch)
        for batch in (1024, 256, 4096)
        for task in ("training", "inference")
        for dtype in ("bfloat16", "float32")
    ]
    plan += [
        Reading(task, dtype, mode, batch)
        for dtype in ("bfloat16", "float32")
        for batch in (1024, 4096)
        for task in ("training", "inference")
        for mode in ("compile", "compile max-autotune")
        if not (dtype == "float32" and mode.endswith("autotune"))
    ]
    return plan


class Data:
    """Windows as base codes and targets, on the device."""

    def __init__(self, device: torch.device, windows: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.codes = torch.randint(0, 4, (windows, LENGTH), generator=generator, dtype=torch.uint8).to(device)
        self.targets = torch.randint(0, 2, (windows, 1), generator=generator).float().to(device)

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw windows, one-hot encoded on the device."""
        rows = torch.randint(0, len(self.codes), (size,), device=self.codes.device)
        return one_hot_tensor(self.codes[rows]), self.targets[rows]


def network(width: float) -> ChromTransfer:
    """Make the pre-training network with fixed weights."""
    torch.manual_seed(0)
    return ChromTransfer(**HEADS["pretrain"].model_dump(), width=width)


def make_step(reading: Reading, data: Data, width: float) -> Callable[[], Any]:
    """Give a function that takes one step of a reading."""
    device = data.codes.device
    if reading.task == "codes":
        return lambda: data.batch(reading.batch)
    model = network(width).to(device)
    training = reading.task == "training"
    model.train(training)
    run: Callable[..., torch.Tensor] = model
    if reading.mode.startswith("compile"):
        torch._dynamo.reset()
        tuned = "max-autotune" if reading.mode.endswith("autotune") else None
        run = torch.compile(model, dynamic=False, mode=tuned)
    bf16 = torch.autocast(device.type, torch.bfloat16, enabled=reading.dtype == "bfloat16")
    if not training:

        def predict() -> None:
            with torch.inference_mode(), bf16:
                run(data.batch(reading.batch)[0])

        return predict
    fused = device.type == "cuda"
    optimizer = torch.optim.Adam(model.parameters(), lr=PRETRAIN.lr, eps=PRETRAIN.adam_eps, fused=fused)

    def train() -> None:
        X, y = data.batch(reading.batch)
        optimizer.zero_grad(set_to_none=True)
        with bf16:
            logits = run(X)
        functional.binary_cross_entropy_with_logits(logits.float(), y).backward()
        optimizer.step()

    return train


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(reading: Reading, data: Data, width: float, seconds: float) -> dict[str, Any]:
    """Give the median rate of five stretches of steps, after warming up."""
    device = data.codes.device
    step = make_step(reading, data, width)
    started = time.perf_counter()
    for _ in range(3):
        step()
    wait(device)
    setup = time.perf_counter() - started
    started = time.perf_counter()
    step()
    wait(device)
    steps = max(1, round(seconds / 5 / (time.perf_counter() - started)))
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        wait(device)
        rates.append(steps * reading.batch / (time.perf_counter() - started))
    rate = statistics.median(rates)
    found: dict[str, Any] = {"sequences_per_second": rate, "spread": (max(rates) - min(rates)) / rate}
    found["seconds_to_first_steps"] = setup
    if reading.task != "codes":
        model = network(width)
        flops = (training_flops if reading.task == "training" else forward_flops)(model, LENGTH)
        peak, source = peak_flops(device, TYPES[reading.dtype])
        found |= {"tflops": rate * flops / 1e12, "of_peak": rate * flops / peak, "peak": source}
    if device.type == "cuda":
        found["memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
    return found


def compare_with_cpu(device: torch.device, width: float) -> dict[str, Any]:
    """Largest differences of the device's logits and gradients from the CPU's, in float32 without TF32."""
    X = one_hot_tensor(torch.randint(0, 5, (16, LENGTH), generator=torch.Generator().manual_seed(2)).byte())
    y = torch.arange(16).remainder(2).float().unsqueeze(1)

    def run(where: torch.device, training: bool, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        model = copy.deepcopy(reference).to(where, dtype).train(training)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # masks differ between devices
        logits = model(X.to(where, dtype))
        functional.binary_cross_entropy_with_logits(logits, y.to(where, dtype)).backward()
        gradient = torch.cat(
            [p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]
        )
        return logits.detach().double().cpu(), gradient

    reference = network(width)
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        found: dict[str, Any] = {}
        for name, training in (("evaluation", False), ("training", True)):
            exact = run(torch.device("cpu"), training, torch.float64)
            for place in (torch.device("cpu"), device):
                logits, gradient = run(place, training, torch.float32)
                found[f"{name} on {place.type}"] = {
                    "logits": (logits - exact[0]).abs().max().item(),
                    "gradient": ((gradient - exact[1]).norm() / exact[1].norm()).item(),
                }
        found["equal"] = all(
            entry["logits"] < 1e-3 and entry["gradient"] < 1e-2 for entry in list(found.values())
        )
        return found
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


def attempt(job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run one part; a failure is a result, too."""
    try:
        return job()
    except Exception as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0:1]}"}


def table(record: dict[str, Any]) -> str:
    """Write the record as Markdown."""
    lines = [f"# {record['device']}", "", f"torch {record['torch']}, Python {record['python']}", ""]
    lines += ["| task | type | mode | batch | sequences/s | TFLOP/s | of peak | GiB |", "|" + "---|" * 8]
    for row in record["readings"]:
        name = f"| {row['task']} | {row['type']} | {row['mode']} | {row['batch']} |"
        if "failed" in row:
            lines.append(f"{name} {row['failed'].replace('|', '/')[:120]} | | | |")
            continue
        done, share = row.get("tflops", 0.0), row.get("of_peak", 0.0)
        memory = row.get("memory_gib", 0.0)
        lines.append(f"{name} {row['sequences_per_second']:,.0f} | {done:.2f} | {share:.1%} | {memory:.1f} |")
    lines += ["", f"Against the CPU in float64: `{json.dumps(record['against_cpu'])}`", ""]
    for task, (floor, goal) in FLOORS.items():
        rates = [row.get("sequences_per_second", 0) for row in record["readings"] if row["task"] == task]
        best = max(rates, default=0)
        lines.append(f"Best {task}: {best:,.0f} sequences/s (on an H200: floor {floor:,}, goal {goal:,})")
    return "\n".join(lines) + "\n"


def write(record: dict[str, Any], out: Path) -> None:
    (out / "gpu.json").write_text(json.dumps(record, indent=2) + "\n")
    (out / "gpu.md").write_text(table(record))


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--device", "name", default="auto", show_default=True)
@click.option("--out", default="out", show_default=True, type=click.Path(path_type=Path))
@click.option("--budget", default=480.0, show_default=True, help="Start no reading after so many seconds.")
@click.option("--seconds", default=1.0, show_default=True, help="Length of a reading.")
@click.option("--width", default=1.0, show_default=True, help="Of the network; 1 is the paper's.")
@click.option("--quick", is_flag=True, help="A few small readings of a narrow network, to try the program.")
def main(name: str, out: Path, budget: float, seconds: float, width: float, quick: bool) -> None:
    started = time.perf_counter()
    device = pick_device(name)
    out.mkdir(parents=True, exist_ok=True)
    if quick:
        width, seconds = min(width, 0.125), min(seconds, 0.05)
    record: dict[str, Any] = {
        "device": describe(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "width": width,
        "length": LENGTH,
        "against_cpu": attempt(lambda: compare_with_cpu(device, width)),
        "readings": [],
    }
    print(f"against the CPU: {record['against_cpu']}", flush=True)
    data = Data(device, 256 if quick else RESIDENT)
    for reading in readings(quick):
        if time.perf_counter() - started > budget:
            result: dict[str, Any] = {"failed": f"not started: the budget of {budget:g} s was used up"}
        else:
            result = attempt(lambda reading=reading: measure(reading, data, width, seconds))  # type: ignore[misc]
        record["readings"].append(reading.record() | result)
        print(record["readings"][-1], flush=True)
        write(record, out)
    print(table(record))
    if not record["against_cpu"].get("equal"):
        sys.exit("the device and the CPU disagree")


if __name__ == "__main__":
    main()
