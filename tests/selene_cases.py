"""What the Selene tests share: a small folder to run in, and two ways to run the ``selene_sdk`` executable."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

SELENE = Path(sys.executable).with_name("selene_sdk")
CONFIGS = Path(__file__).parents[1] / "configs"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}

# A process that has imported the slow libraries, but nothing of ours, and runs an executable in a fork of itself
# for every line it reads: half a second instead of six for each of many error messages.
_SERVER = """
import json, os, runpy, sys
import matplotlib.style, pandas, pyarrow.compute, pydantic, safetensors.torch, sklearn.metrics, torch._dynamo
import selene_sdk.cli, selene_sdk.predict, selene_sdk.train_model
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    os.chdir(job["cwd"])
    os.environ.update(job["environment"])
    for number, path in enumerate([os.devnull, job["out"], job["err"]]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.argv = job["command"]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # as the interpreter does with what nobody catches
        code = 1
    sys.stdout.flush()
    os._exit(code or 0)  # tearing down all those modules would take longer than the rest
os._exit(0)
"""


class Done(NamedTuple):
    """How an executable ended."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """Check that it failed with one plain line as its last words; return that line."""
        last = self.err.strip().splitlines()[-1]
        assert self.code == 1, self.err
        assert last.startswith("Error: "), self.err
        assert "Traceback" not in self.err + self.out, self.err
        return last


def run_selene(config: Path | str, cwd: Path, **environment: str) -> Done:
    """Run ``selene_sdk config`` in a process of its own."""
    done = subprocess.run(
        [SELENE, str(config)],
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class SeleneServer:
    """Runs the ``selene_sdk`` executable many times; see ``_SERVER``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
            text=True,
        )

    def run(self, config: Path | str, cwd: Path, **environment: str) -> Done:
        self.count += 1
        out, err = (self.folder / f"{self.count}.{name}" for name in ("out", "err"))
        job = {
            "command": [str(SELENE), str(config)],
            "cwd": str(cwd),
            "environment": environment,
            "out": str(out),
            "err": str(err),
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return Done(code, out.read_text(), err.read_text())

    def close(self) -> None:
        self.process.communicate()


def write_example(folder: Path, windows: int = 20) -> None:
    """Write a stand-in for ``configs/example``: six contigs of 15 kb with ``windows`` windows of 600 bp on each.

    Open windows are rich in G and C. A test window has unknown bases, and half of each contig is lower case.
    """
    rng = np.random.default_rng(0)
    example = folder / "configs" / "example"
    example.mkdir(parents=True)
    contigs, rows = {}, []
    for contig in (f"chr{i}" for i in range(1, 7)):
        text = rng.choice(list("ACGT"), 15_000)
        for i in range(windows):
            start = 300 + 700 * i
            label = int(rng.integers(0, 2))
            p = [0.15, 0.35, 0.35, 0.15] if label else [0.3, 0.2, 0.2, 0.3]
            text[start : start + 600] = rng.choice(list("ACGT"), 600, p=p)
            rows.append((f"{contig}:{start}-{start + 600}", label))
        contigs[contig] = "".join(text[:7_000]) + "".join(text[7_000:]).lower()
    contigs["chr2"] = contigs["chr2"][:1_100] + "N" * 50 + contigs["chr2"][1_150:]
    (example / "genome.fa").write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    for name, (yes, no) in {"pretrain": ("open", "closed"), "HEPG2": ("HEPG2", "HEPG2_NEG")}.items():
        lines = (f"{place},{yes if label else no}\n" for place, label in rows)
        (example / f"{name}.csv").write_text("".join(lines))
    bed = [f"chr2\t{start}\t{start + 600}\tw{start}\n" for start in (300, 1_000, 1_700)]
    (example / "regions.bed").write_text("".join(bed) + "chr3\t7005\t7010\tshort\nchr3\t20\t40\toff\n")


def small_config(name: str, **changes: str) -> str:
    """Text of a YAML file of ``configs/chromtransfer``, cut down to a narrow network and two epochs."""
    text = (CONFIGS / "chromtransfer" / f"{name}.yml").read_text()
    text = text.replace("genome.fa.gz", "genome.fa").replace(
        "class_args: {", "class_args: {width: 0.125, bn_momentum: 0.3, "
    )
    text = text.replace("lr: 0.000005", "lr: 0.002")  # two epochs are to change something
    text = text.replace("device: auto,", "device: auto, cpu_n_threads: 1,")
    text = re.sub(r"max_epochs: \d+", "max_epochs: 2", text)
    text = re.sub(r"batch_size: \d+", "batch_size: 16", text)
    return edited(text, changes)


def edited(text: str, changes: dict[str, str]) -> str:
    """Replace each key of ``changes``, which must occur, by its value."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
