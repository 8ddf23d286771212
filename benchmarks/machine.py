"""What the figures of a benchmark were measured on."""

from __future__ import annotations

from pathlib import Path


def cpu_name() -> str:
    """Return the processor's model name on Linux, else ``unknown``."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, on Linux.

    Not getrusage's ru_maxrss: Linux hands that of the parent at the fork on through exec.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024
