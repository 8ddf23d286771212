"""Attribution by gradients: ours against tangermeme's and captum's; cost and memory against the number of sequences.

Programs take turns on one model and the same sequences, and must give the same numbers. Captum is optional.

    python benchmarks/attribution_rivals.py [--json FILE] [--device NAME] [--sequences N] [--repeats N]

Some two minutes on one core; seconds of processor time on a CPU.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from attribution import make_codes, make_model
from machine import cpu_name

from chromtransfer_plugin.attribution import Settings, attribute_codes
from chromtransfer_plugin.attribution.references import shuffles
from chromtransfer_plugin.device import describe, pick_device
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.onehot import one_hot

STEPS, REFERENCES, BATCH = 20, 10, 8
TOLERANCE = 1e-4  # of the largest score
GROWTH = (8, 16, 32, 64)  # numbers of sequences whose cost and memory are compared

Run = Callable[[], np.ndarray]

# Started afresh: a child begins with its parent's peak of memory, so its parent must be small.
_PEAK = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from attribution import make_codes, make_model
from chromtransfer_plugin.attribution import gradient_x_input
gradient_x_input(make_model(), make_codes(int(sys.argv[2]), seed=1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def ours(model: torch.nn.Module, codes: np.ndarray, device: str, **settings: Any) -> Run:
    return lambda: attribute_codes(model, codes, Settings(**settings), device=device)[0]


def tangermeme_runs(model: torch.nn.Module, codes: np.ndarray, where: str) -> dict[str, Run]:
    from tangermeme.deep_lift_shap import deep_lift_shap
    from tangermeme.saliency import saliency

    X = torch.from_numpy(one_hot(codes)).to(torch.int8)
    others = shuffles(torch.from_numpy(codes), REFERENCES, seed=1).flatten(0, 1).numpy()
    references = torch.from_numpy(one_hot(others)).to(torch.int8).unflatten(0, (len(codes), REFERENCES))
    common = {"batch_size": BATCH, "device": where}
    return {
        "gradient-x-input": lambda: (
            saliency(model, X, gradient_correction=False, **common).sum(dim=1).numpy()
        ),
        "deep-lift-shap": lambda: (
            deep_lift_shap(model, X, references=references, **common).sum(dim=1).numpy()
        ),
    }


def captum_runs(model: torch.nn.Module, codes: np.ndarray, where: str) -> dict[str, Run]:
    from captum.attr import InputXGradient, IntegratedGradients

    X = torch.from_numpy(one_hot(codes)).to(where)
    parts = X.split(BATCH)

    def gradient() -> np.ndarray:
        method = InputXGradient(model)
        found = [method.attribute(part.clone().requires_grad_(), target=0) for part in parts]
        return torch.cat(found).detach().sum(dim=1).cpu().numpy()

    def integrated() -> np.ndarray:
        found = IntegratedGradients(model).attribute(
            X, target=0, n_steps=STEPS + 1, method="riemann_trapezoid", internal_batch_size=BATCH
        )
        # Its points divide the way into STEPS parts, but each has the weight 1 / (STEPS + 1).
        return found.detach().sum(dim=1).cpu().numpy() * (STEPS + 1) / STEPS

    return {"gradient-x-input": gradient, "integrated-gradients": integrated}


def compare(device: str, n: int, repeats: int) -> dict[str, Any]:
    """Seconds for a sequence, and how many times as long the others take."""
    where = pick_device(device)
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    model, codes = make_model().to(where).eval(), make_codes(n, seed=1)
    runs: dict[str, dict[str, Run]] = {
        "ours": {
            method: ours(
                model, codes, device, method=method, steps=STEPS, references=REFERENCES, batch_size=BATCH
            )
            for method in ("gradient-x-input", "integrated-gradients", "deep-lift-shap")
        },
        "tangermeme": tangermeme_runs(model, codes, str(where)),
    }
    if find_spec("captum"):
        runs["captum"] = captum_runs(model, codes, str(where))
    else:
        print("captum is not installed: its rows are left out (pip install captum)")
    result: dict[str, Any] = {}
    for method, mine in runs["ours"].items():
        programs = {name: by_method[method] for name, by_method in runs.items() if method in by_method}
        wanted = mine()  # warms up
        worst = {}
        for name, run in programs.items():
            worst[name] = float(np.abs(run() - wanted).max() / np.abs(wanted).max())
            assert worst[name] < TOLERANCE, (method, name, worst)
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(repeats):
            for name, run in programs.items():
                started = clock()
                run()
                seconds[name].append((clock() - started) / n)
        result[method] = {
            name: {
                "seconds_per_sequence": statistics.median(values),
                "times_ours": statistics.median(
                    theirs / own for theirs, own in zip(values, seconds["ours"], strict=True)
                ),
                "largest_difference": worst[name],
            }
            for name, values in seconds.items()
        }
        for name, row in result[method].items():
            print(
                f"{method:22} {name:10} {row['seconds_per_sequence'] * 1e3:9.1f} ms per sequence, "
                f"{row['times_ours']:.2f} times ours, differs by {row['largest_difference']:.0e} of the largest score",
                flush=True,
            )
    return result


def growth(device: str) -> list[dict[str, float]]:
    """Seconds for a sequence and peak memory (MB, of a process of its own) for ever more sequences."""
    where = pick_device(device)
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    model = make_model()
    rows = []
    ours(model, make_codes(BATCH, seed=1), device, method="gradient-x-input")()
    for n in GROWTH:
        run = ours(model, make_codes(n, seed=1), device, method="gradient-x-input")
        started = clock()
        run()
        rows.append({"sequences": n, "seconds_per_sequence": (clock() - started) / n, "peak_mb": peak(n)})
        print(
            f"gradient-x-input of {n:3} sequences: {rows[-1]['seconds_per_sequence'] * 1e3:.1f} ms per sequence, "
            f"peak {rows[-1]['peak_mb']:.0f} MB (on the CPU)",
            flush=True,
        )
    return rows


def peak(n: int) -> float:
    """Peak memory in MB of a fresh process that scores ``n`` sequences; a small process starts it."""
    arguments = [sys.executable, "-c", _PEAK, str(Path(__file__).parent), str(n)]
    starter = f"import subprocess; subprocess.run({arguments!r}, check=True)"
    done = subprocess.run([sys.executable, "-c", starter], check=True, capture_output=True, text=True)
    return float(done.stdout)


@click.command()
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the figures to this file.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--sequences",
    type=click.IntRange(BATCH),  # ours always fills a batch up
    default=BATCH,
    show_default=True,
)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
def main(target: Path | None, device: str, sequences: int, repeats: int) -> None:
    """Measure and print."""
    result: dict[str, Any] = {
        "comparison": compare(device, sequences, repeats),
        "growth": growth(device),
        "settings": {
            "sequences": sequences, "steps": STEPS, "references": REFERENCES, "batch": BATCH, "repeats": repeats,
        },
        "machine": {
            "cpu": cpu_name(), "device": describe(pick_device(device)), "torch": torch.__version__,
            **{name: version(name) for name in ("tangermeme", "captum") if find_spec(name)},
        },
    }  # fmt: skip
    if target is not None:
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
