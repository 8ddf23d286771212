"""What the figures of a benchmark were measured on."""

from __future__ import annotations

from pathlib import Path


def cpu_name() -> str:
    """Return the processor's model name on Linux, else ``unknown``."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
