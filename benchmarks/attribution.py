"""In-silico mutagenesis: ours against tangermeme's and captum's, on one model and the same sequences in one run.

Methods take turns, and all must give the same numbers. tangermeme's ``fast=True`` is made to use its fast path however
short the job, and is measured twice: a whole call, with the capture and check of the model that it begins with, and
without, as the difference between calls with all sequences and with one. Captum has no mutagenesis, but its
FeatureAblation does the same if the base that follows, the one after it and the third take turns as what a base is
replaced by. Gradients and what is made of them: ``attribution_rivals.py``.

    python benchmarks/attribution.py [--json FILE] [--device NAME] [--sequences N] [--repeats N] [--batch N] [--no-slow]

Some six minutes on one core; seconds of processor time on a CPU.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import cpu_name

from chromtransfer_plugin.attribution.mutagenesis import agreement, ism
from chromtransfer_plugin.device import describe, pick_device
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.onehot import one_hot

LENGTH = 600
GOAL = 3.0  # times the speed of tangermeme's fast=True
TOLERANCE = 1e-4  # of the largest score: what float32 leaves of differences between whole forward passes

Scores = Callable[[np.ndarray], np.ndarray]


def make_model() -> ChromTransfer:
    """The paper's network, untrained, with batch norm statistics of random sequences and logits of deviation 1."""
    torch.manual_seed(0)
    model = ChromTransfer()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None
    X = torch.from_numpy(one_hot(make_codes(32, seed=2)))
    with torch.no_grad():
        model.train()(X)
        logits = model.eval()(X)
        last = model.head[-1]
        last.bias.sub_(logits.mean()).div_(logits.std())
        last.weight.div_(logits.std())
    return model


def make_codes(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, LENGTH)).astype(np.uint8)


def tangermeme_scores(model: ChromTransfer, device: str, fast: bool, batch: int) -> Scores:
    """Raw differences (N, 4, L) of tangermeme; its fast path or an error."""
    module: Any = importlib.import_module("tangermeme.saturation_mutagenesis")
    module._FAST_MIN_SECONDS = 0.0

    def scores(codes: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("error", module.TangermemeWarning)
            found = module.saturation_mutagenesis(
                model, torch.from_numpy(one_hot(codes)), raw_outputs=True, fast=fast, batch_size=batch,
                device=str(pick_device(device)),
            )  # fmt: skip
        return (found.y_hat - found.y0[:, None, None])[..., 0].numpy()

    return scores


def captum_scores(model: ChromTransfer, device: str, batch: int) -> Scores:
    """Raw differences (N, 4, L) of captum's ablation of every position, for three baselines."""
    method = importlib.import_module("captum.attr").FeatureAblation(model)
    where = pick_device(device)
    positions = torch.arange(LENGTH, device=where).expand(1, 4, LENGTH)

    def scores(codes: np.ndarray) -> np.ndarray:
        X = torch.from_numpy(one_hot(codes)).to(where)
        raw = torch.zeros_like(X)
        with torch.inference_mode():
            for row, own in enumerate(X.split(1)):
                for shift in (1, 2, 3):
                    other = own.roll(shift, dims=1)
                    lost = method.attribute(
                        own, other, target=0, feature_mask=positions, perturbations_per_eval=batch
                    )
                    raw[row] -= lost[0] * other[0]  # it gives the loss of a position in all four channels
        return raw.cpu().numpy()

    return scores


def measure(
    model: ChromTransfer, device: str, n: int, repeats: int, batch: int, slow: bool
) -> dict[str, Any]:
    """CPU seconds on a CPU, which others may share; seconds on other devices."""
    clock = time.process_time if pick_device(device).type == "cpu" else time.perf_counter

    def ours(method: Any) -> Scores:
        return lambda codes: ism(model, codes, raw=True, method=method, device=device)

    methods = {
        "windowed": ours("windowed"),
        "tangermeme fast": tangermeme_scores(model, device, True, batch),
        "taylor": ours("taylor"),
    }
    if slow:
        methods |= {"naive": ours("naive"), "tangermeme slow": tangermeme_scores(model, device, False, batch)}
        if importlib.util.find_spec("captum"):
            methods["captum"] = captum_scores(model.to(pick_device(device)), device, batch)
        else:
            print("captum is not installed: its row is left out (pip install captum)")
    codes = make_codes(n, seed=1)
    seconds: dict[str, list[float]] = {name: [] for name in [*methods, "tangermeme fast, captured"]}
    worst: dict[str, float] = {}
    for name, method in methods.items():  # warms up
        if name not in ("naive", "tangermeme slow", "captum"):
            method(codes[:1])
    scores: dict[str, np.ndarray] = {}
    for repeat in range(repeats):
        for name, method in methods.items():
            started = clock()
            scores[name] = method(codes)
            seconds[name].append((clock() - started) / n)
        started = clock()
        methods["tangermeme fast"](codes[:1])
        first = clock() - started
        seconds["tangermeme fast, captured"].append((seconds["tangermeme fast"][-1] * n - first) / (n - 1))
        exact = scores["windowed"]
        for name in methods:
            if name != "taylor":
                worst[name] = max(worst.get(name, 0.0), float(np.abs(scores[name] - exact).max()))
                assert worst[name] < TOLERANCE * np.abs(exact).max(), (name, worst)
        print(
            f"repeat {repeat}:", {name: round(values[-1], 2) for name, values in seconds.items()}, flush=True
        )
    ratios = {
        name: statistics.median(
            theirs / mine for theirs, mine in zip(values, seconds["windowed"], strict=True)
        )
        for name, values in seconds.items()
    }
    return {
        "sequences": n,
        "seconds_per_sequence": {name: statistics.median(values) for name, values in seconds.items()},
        "windowed_is_faster_by": ratios,
        "largest_difference": worst,
        "largest_score": float(np.abs(exact).max()),
        "standard_deviation_of_scores": float(exact[exact != 0].std()),
        "taylor_agreement": agreement(exact, scores["taylor"])._asdict(),
        "goal": GOAL,
        "met": ratios["tangermeme fast, captured"] >= GOAL,
    }


def measure_motifs(device: str) -> dict[str, Any]:
    """Seconds for one sequence by a network of as many motifs as JASPAR's, here random ones."""
    clock = time.process_time if pick_device(device).type == "cpu" else time.perf_counter
    torch.manual_seed(0)
    model = ChromTransfer(trunk="motifs", head=(), head_bn=False).eval()
    for group in model.trunk.bank:
        torch.nn.init.normal_(group.conv.weight, std=1.5)
    codes = make_codes(2, seed=1)
    seconds, scores = {}, {}
    for method in ("windowed", "naive"):
        ism(model, codes[:1], end=60, method=method, device=device)  # warms up
        started = clock()
        scores[method] = ism(model, codes[1:], raw=True, method=method, device=device)
        seconds[method] = clock() - started
    worst = float(np.abs(scores["windowed"] - scores["naive"]).max())
    assert worst < TOLERANCE * np.abs(scores["naive"]).max(), worst
    return {"seconds_per_sequence": seconds, "largest_difference": worst}


@click.command()
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--sequences", type=click.IntRange(2), default=2, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=2, show_default=True)
@click.option("--batch", type=int, default=64, show_default=True, help="Of tangermeme.")
@click.option(
    "--slow/--no-slow", default=True, help="Also the methods that take a forward pass for each mutant."
)
def main(target: Path | None, device: str, sequences: int, repeats: int, batch: int, slow: bool) -> None:
    """Measure and print; compare with the goal."""
    result = measure(make_model(), device, sequences, repeats, batch, slow)
    if slow:
        result["motifs"] = measure_motifs(device)
    result["machine"] = {
        "cpu": cpu_name(),
        "device": describe(pick_device(device)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "tangermeme": version("tangermeme"),
    }
    print(json.dumps(result, indent=2))
    if target is not None:
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
