"""Variants per second of our scorer against Selene's, Kipoi's and tangermeme's, and the memory of the command.

Speed: programs take turns on the same SNVs of a simulated genome, the same windows (forward strand) and the same models,
and must give the same probabilities of both alleles. What each one does is :data:`PROGRAMS`. Outside the clock are the
loading of the models and the index of the genome, and a first round. All run our own layers, on one thread of a CPU;
the ratios are medians over the rounds, of processor seconds on a CPU.

Memory: ``chromtransfer variants`` on ever more variants, a process for each, with a narrow network and no null.

    python benchmarks/variants.py [--json FILE] [--device NAME] [--variants N] [--repeats N] [--memory N ...]
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from machine import cpu_name, peak_mib
from prediction import NARROW, make_genome, make_model

from chromtransfer_plugin.checkpoint import Card, load_model, save_model
from chromtransfer_plugin.device import describe, pick_device
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot, one_hot_tensor
from chromtransfer_plugin.predict import probabilities
from chromtransfer_plugin.variants.effects import effects_of
from chromtransfer_plugin.variants.models import choose_predictors
from chromtransfer_plugin.variants.records import VariantSource
from chromtransfer_plugin.variants.run import score_variants
from chromtransfer_plugin.variants.scorer import Scorer, Settings
from chromtransfer_plugin.variants.windows import allele_windows

ZOO = Path(__file__).parents[1] / "model_zoo" / "ChromTransfer"
LINES = ("A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7")
WIDTH = 600
BATCH = {"cpu": 64, "cuda": 1024}  # of the others; ours: its own default, 256, but 1024 on CUDA
OWN_BATCH = {"cpu": 256, "cuda": 1024}
MIDDLE = (WIDTH - 1) // 2  # index of an SNV in its windows
TOLERANCE = 1e-5
GOAL = 5.0  # times Selene's rate
FLAT = 1.05  # most memory of the largest run over that of the middle one

# What each program does within the clock.
PROGRAMS = {
    "ours": "reads the VCF, checks REF and flags, cuts windows, computes of ALT what differs from REF, all models in one "
    "pass, and writes a TSV; no null, no cache of windows",
    "selene_sdk": "Selene's variant_effect_prediction, once for each model: reads the VCF, runs whole windows of both "
    "alleles, and writes HDF5 files of both predictions and their difference",
    "kipoi": "predict_on_batch, once for each model, on the batches of our VCF dataloader, which are whole windows of both "
    "alleles; writes nothing",
    "tangermeme": "substitution_effect, once for each model, on windows that our code read and cut, run whole with both "
    "alleles; writes nothing",
}
Run = Callable[[], tuple[np.ndarray, np.ndarray]]  # probabilities of both alleles, (n, models)


def make_vcf(path: Path, genome: Genome, n: int) -> None:
    """SNVs in order, each at a place of its own."""
    rng = np.random.default_rng(2)
    with path.open("w") as out:
        out.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for name, length in genome.contigs.items():
            share = n // len(genome.contigs)
            starts = np.sort(rng.choice(length - 2 * WIDTH, share, replace=False)) + WIDTH
            refs = genome.extract([name] * share, starts, 1)[:, 0]
            alts = (refs + rng.integers(1, 4, share)) % 4
            for start, ref, alt in zip(starts.tolist(), refs.tolist(), alts.tolist(), strict=True):
                out.write(f"{name}\t{start + 1}\t.\t{'ACGT'[ref]}\t{'ACGT'[alt]}\t.\t.\t.\n")


def ours(
    folders: list[Path], vcf: Path, genome: Genome, device: str, out: Path, stack: contextlib.ExitStack
) -> Run:
    predictors = choose_predictors(folders)
    batch = OWN_BATCH[pick_device(device).type]
    scorer = Scorer(predictors, genome, Settings(WIDTH, strands=("+",), batch_size=batch, device=device))
    stack.enter_context(scorer.ready())  # the others' models are loaded before the clock starts, too

    def run() -> tuple[np.ndarray, np.ndarray]:
        (block,) = VariantSource(vcf, genome, WIDTH).blocks()
        found = effects_of(scorer.score(block.table), predictors)
        columns = [pd.DataFrame(values).add_prefix(f"{name}.") for name, values in found._asdict().items()]
        pd.concat([block.table, *columns], axis=1).to_csv(out, sep="\t", index=False)
        return found.p_ref, found.p_alt

    return run


def selene(folders: list[Path], vcf: Path, genome: Genome, device: str, work: Path) -> Run:
    import h5py

    from chromtransfer_plugin.selene import AnalyzeSequences
    from chromtransfer_plugin.selene import Genome as SeleneGenome
    from chromtransfer_plugin.selene.model import ChromTransferProbability

    reference = SeleneGenome(str(genome.path))
    analyses = [
        AnalyzeSequences(
            ChromTransferProbability(**load_model(folder)[0].architecture.model_dump()),
            trained_model_path=str(folder), reference_sequence=reference, batch_size=BATCH[pick_device(device).type],
            device=device,
        )
        for folder in folders
    ]  # fmt: skip

    def run() -> tuple[np.ndarray, np.ndarray]:
        found = []
        for number, analysis in enumerate(analyses):
            out = work / f"selene-{number}"
            analysis.variant_effect_prediction(
                str(vcf), ["predictions", "diffs"], output_dir=str(out), output_format="hdf5"
            )
            found.append([_column(h5py, out, allele) for allele in ("ref", "alt")])
        ref, alt = np.stack(found, axis=2)
        return ref, alt

    return run


def _column(h5py: Any, folder: Path, allele: str) -> np.ndarray:
    (path,) = folder.glob(f"*{allele}_predictions.h5")
    with h5py.File(path) as content:
        return content["data"][:, 0]


def kipoi(folders: list[Path], vcf: Path, genome: Genome, device: str) -> Run:
    from chromtransfer_plugin.kipoi import VariantDataloader

    os.environ["CHROMTRANSFER_DEVICE"] = device
    import kipoi

    models = [kipoi.get_model(str(folder), source="dir") for folder in folders]
    batch = BATCH[pick_device(device).type]

    def run() -> tuple[np.ndarray, np.ndarray]:
        found = []
        for model in models:
            loader = VariantDataloader(str(vcf), str(genome.path))
            batches = loader.batch_iter(batch_size=batch, num_workers=0)
            scores = [model.predict_on_batch(one["inputs"])[:, 0] for one in batches]
            found.append(np.concatenate(scores).reshape(-1, 2))
        ref, alt = np.stack(found, axis=2).transpose(1, 0, 2)
        return ref, alt

    return run


def tangermeme(folders: list[Path], vcf: Path, genome: Genome, device: str) -> Run:
    from tangermeme.variant_effect import substitution_effect

    where = pick_device(device)
    models = [load_model(folder)[0].eval().to(where) for folder in folders]

    def run() -> tuple[np.ndarray, np.ndarray]:
        (block,) = VariantSource(vcf, genome, WIDTH).blocks()
        X = torch.from_numpy(one_hot(allele_windows(genome, block.table, "ref"), "channels_first"))
        new = block.table["new"].map("ACGT".index).to_numpy()
        changes = torch.from_numpy(np.stack([np.arange(len(new)), np.full(len(new), MIDDLE), new], axis=1))
        pairs = [
            substitution_effect(model, X, changes, batch_size=BATCH[where.type], device=str(where))
            for model in models
        ]
        ref, alt = (
            torch.cat([probabilities(pair[k]) for pair in pairs], dim=1).cpu().numpy() for k in (0, 1)
        )
        return ref, alt

    return run


def make_full(folder: Path) -> None:
    """An untrained network of full width whose probabilities differ between sequences."""
    torch.manual_seed(0)
    model = ChromTransfer(dropout=0)
    codes = torch.randint(0, 4, (64, WIDTH), dtype=torch.uint8)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # statistics of this batch alone
    with torch.no_grad():
        model.train()(one_hot_tensor(codes))
        logits = model.eval()(one_hot_tensor(codes))
        last = model.head[-1]
        assert isinstance(last, torch.nn.Linear)
        last.bias.copy_((last.bias - logits.mean()) / logits.std())
        last.weight.div_(logits.std())
    save_model(model, folder, Card(architecture=model.architecture, outputs=["open"]))


def workloads(work: Path) -> dict[str, list[Path]]:
    """Model folders, each of which Kipoi can open."""
    from chromtransfer_plugin.kipoi.export import export_model

    make_full(work / "full")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has learnt nothing
        export_model(work / "full", "full", work / "kipoi")
    return {
        "pretrained (narrow residual)": [ZOO / "pretrained"],
        "HEPG2 (motifs, 3 members)": [ZOO / "HEPG2"],
        "ChromTransfer() (full residual)": [work / "kipoi" / "full"],
        "six cell lines (motifs, one trunk)": [ZOO / line for line in LINES],
    }


def take_turns(
    runs: dict[str, Run], n: int, repeats: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Variants per second of each program in each round, and by how much its probabilities differ from ours."""
    rates: dict[str, list[float]] = {program: [] for program in runs}
    worst = dict.fromkeys(runs, 0.0)
    wanted = runs["ours"]()
    assert np.abs(wanted[1] - wanted[0]).max() > 10 * TOLERANCE, "the comparison would say nothing"
    for repeat in range(repeats + 1):
        for program, run in runs.items():
            started = clock()
            with contextlib.redirect_stdout(io.StringIO()):
                found = run()
            if repeat:  # the first one warms up
                rates[program].append(n / (clock() - started))
            differences = [np.abs(one - other).max() for one, other in zip(found, wanted, strict=True)]
            worst[program] = max(worst[program], *map(float, differences))
            assert worst[program] < TOLERANCE, (program, worst)
    return rates, worst


def compare(work: Path, genome: Genome, device: str, n: int, repeats: int) -> dict[str, Any]:
    """Variants per second of each program, and how many times as fast as each ours is."""
    clock = time.process_time if pick_device(device).type == "cpu" else time.perf_counter
    vcf = work / "some.vcf"
    make_vcf(vcf, genome, n)
    rivals: dict[str, Callable[..., Run]] = {
        "selene_sdk": partial(selene, work=work),
        "kipoi": kipoi,
        "tangermeme": tangermeme,
    }
    for package in [package for package in rivals if find_spec(package) is None]:
        print(f"{package} is not installed: its rows are left out")
        del rivals[package]
    for program in ("ours", *rivals):
        print(f"{program}: {PROGRAMS[program]}")
    result: dict[str, Any] = {}
    for name, folders in workloads(work).items():
        with contextlib.ExitStack() as stack:
            runs = {"ours": ours(folders, vcf, genome, device, work / "ours.tsv", stack)}
            for package, make in rivals.items():
                runs[package] = make(folders, vcf, genome, device)
            rates, worst = take_turns(runs, n, repeats, clock)
        result[name] = {
            program: {
                "variants_per_second": statistics.median(values),
                "ours_is_times_as_fast": statistics.median(
                    mine / theirs for mine, theirs in zip(rates["ours"], values, strict=True)
                ),
                "largest_difference": worst[program],
            }
            for program, values in rates.items()
        }
        for program, row in result[name].items():
            print(
                f"{name:36} {program:11} {row['variants_per_second']:8.0f} variants/s, ours is "
                f"{row['ours_is_times_as_fast']:.2f} times as fast, differs by {row['largest_difference']:.0e}",
                flush=True,
            )
    return result


def memory(folder: Path, genome: Genome, n: int, device: str) -> dict[str, float]:
    """Peak resident memory (MiB) and rate of one process that scores ``n`` variants."""
    make_vcf(folder / "many.vcf", genome, n)
    started = time.perf_counter()
    command = [sys.executable, __file__, "--child", str(folder), "--device", device]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds = time.perf_counter() - started
    assert found["scored"] == n
    return {
        "variants": n,
        "peak_mib": found["peak_mib"],
        "seconds": seconds,
        "variants_per_second": n / seconds,
    }


def child(folder: Path, device: str) -> None:
    done = score_variants(
        folder / "many.vcf", folder / "many.vcf.gz", genome=folder / "genome.fa", models=folder / "narrow",
        strand="forward", null="none", device=device,
    )  # fmt: skip
    print(json.dumps({"peak_mib": peak_mib(), "scored": done.counts["scored"]}))


@click.command()
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--variants", "n", type=click.IntRange(4, 4096), default=512, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--memory", "sizes", multiple=True, type=int, default=(10_000, 100_000, 1_000_000), show_default=True
)
@click.option("--no-memory", is_flag=True, help="Speed only.")
@click.option("--no-speed", is_flag=True, help="Memory only.")
@click.option("--child", "folder", type=click.Path(path_type=Path), hidden=True)
def main(
    target: Path | None,
    device: str,
    n: int,
    repeats: int,
    sizes: tuple[int, ...],
    no_memory: bool,
    no_speed: bool,
    folder: Path | None,
) -> None:
    """Measure and print; compare with the goals."""
    if folder is not None:
        child(folder, device)
        return
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_genome(work / "genome.fa")
        genome = Genome(work / "genome.fa")  # its cache is built once, outside what is measured
        if not no_speed:
            torch.set_num_threads(1)
            result["programs"] = PROGRAMS
            result["speed"] = compare(work, genome, device, n - n % len(genome.contigs), repeats)
            result["at_least_5_times_selene"] = {
                workload: rows["selene_sdk"]["ours_is_times_as_fast"] >= GOAL
                for workload, rows in result["speed"].items()
                if "selene_sdk" in rows
            }
        if not no_memory:
            make_model(work / "narrow", **NARROW)
            result["memory"] = []
            for size in sizes:
                result["memory"].append(memory(work, genome, size, device))
                print(result["memory"][-1], flush=True)
            peaks = [row["peak_mib"] for row in result["memory"]]
            result["memory_ratio"] = peaks[-1] / peaks[len(peaks) // 2]
            result["memory_is_flat"] = result["memory_ratio"] <= FLAT
    result["machine"] = {
        "cpu": cpu_name(), "device": describe(pick_device(device)), "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("selene_sdk", "kipoi", "tangermeme") if find_spec(name)},
    }  # fmt: skip
    print(json.dumps(result, indent=2))
    if target is not None:
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
