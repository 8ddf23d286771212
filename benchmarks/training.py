"""Training sequences per second: Selene 0.6's own TrainModel and sampler against ours, in one process.

All rows train the same ChromTransfer network with the same loss, Adam, batch size, threads and number of steps, and
then validate once on as many windows and write their checkpoints; all of it is timed. The rows are interleaved
and medians reported. Asserted before: the networks have as many parameters and, with the same weights, the same
outputs; the losses are equal; every row took its steps, each with a whole batch. Beside the ratio of the whole
("x") stand that in seconds of the CPU, for a machine that others use, too, and that of the training steps alone.

What differs, because the samplers do: Selene's IntervalsSampler draws a position inside a random region and a random
strand, looks up its targets and encodes it, window by window; ours visits every region once per epoch, in a seeded
order, from memory. Ours also adds the L2 penalty of the paper.

Rows: "torch layers" runs the network as torch's own Conv1d, BatchNorm1d and Dropout modules, as it would without
this package; "our layers" lets Selene's loop use the fast CPU layers of this network.

    python benchmarks/training.py [--json FILE] [--width W] [--batch N] [--steps N] [--repeats N] [--threads N]
"""

from __future__ import annotations

import copy
import json
import logging
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pysam
import torch
from machine import cpu_name
from selene_sdk import TrainModel as SeleneTrainModel
from selene_sdk.samplers import IntervalsSampler
from selene_sdk.sequences import Genome as SeleneGenome
from torch.optim import optimizer as optimizers

from chromtransfer_plugin.device import available_cores, peak_flops
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.models.convolution import plain_layers
from chromtransfer_plugin.models.flops import training_flops
from chromtransfer_plugin.selene import RegionSampler, TrainModel
from chromtransfer_plugin.selene.model import ChromTransfer, criterion, get_optimizer

LENGTH = 600
CONTIGS = [f"chr{number}" for number in range(1, 7)]
CONTIG_LENGTH = 2_000_000
VALIDATION = 64
REQUIRED, GOAL = 2.0, 4.0

SELENE = "Selene TrainModel + IntervalsSampler, torch layers"
SELENE_OURS = "Selene TrainModel + IntervalsSampler, our layers"
OURS = "ours, float32"
OURS_BF16 = "ours, bfloat16"
PHASES = ("data and rest", "forward", "loss and backward", "optimiser")


def make_inputs(folder: Path, windows: int) -> None:
    """Write a genome, labelled regions for our sampler, and the same as intervals and tabix BED for Selene's."""
    rng = np.random.default_rng(1)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    with (folder / "genome.fa").open("w") as out:
        for name in CONTIGS:
            bases = letters[rng.integers(0, 4, (CONTIG_LENGTH // 100, 100))]
            out.write(f">{name}\n" + "\n".join(row.tobytes().decode() for row in bases) + "\n")
    # On a grid of twice the window, so that no region of one label touches one of the other.
    places = rng.permutation(len(CONTIGS) * (CONTIG_LENGTH // (2 * LENGTH) - 1))[:windows]
    start = places // len(CONTIGS) * 2 * LENGTH + LENGTH
    table = pd.DataFrame({"chrom": np.array(CONTIGS)[places % len(CONTIGS)], "start": start})
    table["end"] = table["start"] + LENGTH
    table["label"] = np.where(rng.random(windows) < 0.5, "open", "closed")
    table = table.sort_values(["chrom", "start"])
    parts = {
        "regions": table,
        "intervals": table[["chrom", "start", "end"]],
        "targets": table[table["label"] == "open"],
    }
    for name, part in parts.items():
        part.to_csv(folder / f"{name}.bed", sep="\t", header=False, index=False)
    pysam.tabix_index(str(folder / "targets.bed"), preset="bed", force=True)


class Stopwatch:
    """Says where the time of training steps goes, and checks that they are the steps that were asked for.

    One row at a time: listens to every optimiser in the process, and to calls of the network in training mode.
    """

    def __init__(self, model: torch.nn.Module, batch: int) -> None:
        self.batch, self.steps = batch, 0
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()
        self._handles = [
            model.register_forward_pre_hook(self._before_forward),
            model.register_forward_hook(lambda module, *_: self._lap("forward", module.training)),
            optimizers.register_optimizer_step_pre_hook(lambda *_: self._lap("loss and backward")),
            optimizers.register_optimizer_step_post_hook(self._after_step),
        ]

    def _lap(self, phase: str, training: bool = True) -> None:
        now = time.perf_counter()
        if training:
            self.seconds[phase] += now - self._last
        self._last = now

    def _before_forward(self, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._lap("data and rest", model.training)
        if model.training:
            assert inputs[0].shape == (self.batch, 4, LENGTH), inputs[0].shape

    def _after_step(self, *_: Any) -> None:
        self._lap("optimiser")
        self.steps += 1

    def stop(self) -> dict[str, float]:
        """Give the milliseconds of a step by phase."""
        for handle in self._handles:
            handle.remove()
        return {phase: 1e3 * self.seconds[phase] / self.steps for phase in PHASES}


class Bench:
    """Makes trainers for the rows from the same files and starting weights."""

    def __init__(self, folder: Path, width: float, batch: int, steps: int, threads: int) -> None:
        self.folder, self.batch, self.steps, self.threads = folder, batch, steps, threads
        torch.manual_seed(0)
        self.model = ChromTransfer(width=width)
        self.regions = RegionSampler(
            str(folder / "genome.fa"),
            str(folder / "regions.bed"),
            positive="open",
            test_chromosomes=["chr6"],
            fold_by="locus",
        )
        train, validation = (self.regions.sets[name] for name in ("train", "validation"))
        self.regions.sets["train"] = train.take(np.arange(batch * steps))
        self.regions.sets["validation"] = validation.take(np.arange(VALIDATION))
        assert train.n >= batch * steps
        assert validation.n >= VALIDATION

    def selene(self, steps: int) -> SeleneTrainModel:
        """Selene's own trainer."""
        sampler = IntervalsSampler(
            SeleneGenome(str(self.folder / "genome.fa")),
            str(self.folder / "targets.bed.gz"),
            ["open"],
            str(self.folder / "intervals.bed"),
            sample_negative=True,
            validation_holdout=["chr5"],
            test_holdout=["chr6"],
            sequence_length=LENGTH,
            save_datasets=[],
        )
        return SeleneTrainModel(
            copy.deepcopy(self.model), sampler, criterion(), *get_optimizer(1e-3), self.batch, steps,
            report_stats_every_n_steps=max(1, steps - 1), output_dir=tempfile.mkdtemp(dir=self.folder),
            n_validation_samples=VALIDATION, n_test_samples=1, cpu_n_threads=self.threads,
            use_scheduler=False, logging_verbosity=0,
        )  # fmt: skip

    def ours(self, steps: int, bf16: bool) -> TrainModel:
        """Our trainer."""
        return TrainModel(
            copy.deepcopy(self.model), self.regions, criterion(), *get_optimizer(1e-3),
            output_dir=tempfile.mkdtemp(dir=self.folder), batch_size=self.batch, max_steps=steps, max_epochs=1,
            bf16=bf16, device="cpu", cpu_n_threads=self.threads, logging_verbosity=0,
        )  # fmt: skip

    def rows(self) -> dict[str, Callable[[int], Any]]:
        """Give the maker of each row's trainer for a number of steps."""
        return {
            SELENE: self.selene,
            SELENE_OURS: self.selene,
            OURS: lambda steps: self.ours(steps, bf16=False),
            OURS_BF16: lambda steps: self.ours(steps, bf16=True),
        }

    def check(self) -> None:
        """Assert that the rows do the same work."""
        theirs, ours = self.selene(1), self.ours(1, bf16=False)
        n = [sum(p.numel() for p in trainer.model.parameters()) for trainer in (theirs, ours)]
        assert n[0] == n[1], n
        X = torch.eye(4)[torch.randint(0, 4, (8, LENGTH))].transpose(1, 2)
        logits, targets = torch.randn(8, 1), torch.rand(8, 1).round()
        assert torch.equal(theirs.criterion(logits, targets), ours.criterion(logits, targets))
        with torch.no_grad():
            fast = ours.model.eval()(X)
            with plain_layers():
                torch.testing.assert_close(fast, theirs.model.eval()(X), rtol=1e-4, atol=1e-5)
        for data in (theirs.sampler.sample(256)[1], self.regions.sets["train"].targets):
            assert 0.3 < np.mean(data) < 0.7

    def run(self, row: str, make: Callable[[int], Any], steps: int) -> tuple[float, float, dict[str, float]]:
        """Train and give the seconds, those of the CPU, and the milliseconds of a step by phase."""
        with plain_layers() if row == SELENE else nullcontext():
            trainer = make(steps)
            watch = Stopwatch(trainer.model, self.batch)
            wall, cpu = time.perf_counter(), time.process_time()
            trainer.train_and_validate()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            phases = watch.stop()
        assert watch.steps == steps, (row, watch.steps)
        return *spent, phases


def measure(bench: Bench, repeats: int) -> dict[str, dict[str, Any]]:
    """Give medians of each row."""
    rows = bench.rows()
    for row, make in rows.items():
        bench.run(row, make, 2)  # first calls set up oneDNN's kernels and measure the machine's peak
    found: dict[str, list[tuple[float, float, dict[str, float]]]] = {row: [] for row in rows}
    for _ in range(repeats):
        for row, make in rows.items():
            found[row].append(bench.run(row, make, bench.steps))
    n = bench.batch * bench.steps
    return {
        row: {
            "sequences_per_second": n / statistics.median(wall for wall, _, _ in runs),
            "sequences_per_cpu_second": n / statistics.median(cpu for _, cpu, _ in runs),
            "milliseconds_per_step": {
                phase: statistics.median(phases[phase] for _, _, phases in runs) for phase in PHASES
            },
        }
        for row, runs in found.items()
    }


def report(rows: dict[str, dict[str, Any]], bench: Bench) -> None:
    flops = training_flops(bench.model, LENGTH)
    peak, source = peak_flops(torch.device("cpu"), torch.float32)
    print(f"{'row':52s} {'seq/s':>8s} {'x':>6s} {'CPU x':>6s} {'steps x':>7s} {'GFLOP/s':>8s}  ms per step")
    base = rows[SELENE]
    base_step = sum(base["milliseconds_per_step"].values())
    for name, row in rows.items():
        rate = row["sequences_per_second"]
        ratio = rate / base["sequences_per_second"]
        cpu = row["sequences_per_cpu_second"] / base["sequences_per_cpu_second"]
        spent = ", ".join(f"{phase} {ms:.0f}" for phase, ms in row["milliseconds_per_step"].items())
        step = base_step / sum(row["milliseconds_per_step"].values())
        done = rate * flops / 1e9
        print(f"{name:52s} {rate:8.1f} {ratio:6.2f} {cpu:6.2f} {step:7.2f} {done:8.1f}  {spent}")
    print(f"peak {peak / 1e9:.0f} GFLOP/s ({source})")


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--width", default=1.0, show_default=True, type=float, help="Of the network; 1 is the paper's.")
@click.option("--batch", default=128, show_default=True, type=click.IntRange(2))
@click.option("--steps", default=6, show_default=True, type=click.IntRange(2))
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=0, type=click.IntRange(0), help="Default: all cores of this process.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(width: float, batch: int, steps: int, repeats: int, threads: int, json_path: Path | None) -> None:
    threads = threads or available_cores()
    torch.set_num_threads(threads)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, min(9_000, 3 * batch * steps + 40 * VALIDATION))
        bench = Bench(folder, width, batch, steps, threads)
        bench.check()
        rows = measure(bench, repeats)
    report(rows, bench)
    reached = {
        row: rows[row]["sequences_per_second"] / rows[SELENE]["sequences_per_second"]
        for row in (OURS, OURS_BF16)
    }
    met = {row: ratio >= REQUIRED for row, ratio in reached.items()}
    print(f"required {REQUIRED:g} x Selene with torch layers, goal {GOAL:g} x:")
    for row, ratio in reached.items():
        print(f"  {row}: {ratio:.2f} x, {'met' if met[row] else 'NOT met'}")
    if json_path:
        record = {
            "rows": rows,
            "against_selene": reached,
            "width": width,
            "batch": batch,
            "steps": steps,
            "repeats": repeats,
            "threads": threads,
            "required": {"x_selene": REQUIRED, "goal": GOAL, "met": met},
            "machine": {"python": platform.python_version(), "torch": torch.__version__, "cpu": cpu_name()},
        }
        with atomic_path(json_path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
    if not any(met.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
