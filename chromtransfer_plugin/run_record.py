"""Record what a run used, as JSON: settings, data hashes, versions, device."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chromtransfer_plugin.files import atomic_path

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "chromtransfer-plugin",
    "torch",
    "numpy",
    "selene-sdk",
    "kipoi",
    "tangermeme",
    "pyfaidx",
    "pyranges",
)


def package_versions() -> dict[str, str]:
    """Installed versions of what matters for a result, plus Python's."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_run_record(path: Path, device: torch.device, **facts: Any) -> None:
    """Write a run record.

    Parameters
    ----------
    path : Path
    device : torch.device
        The one really used.
    **facts
        JSON-serialisable: settings, data hashes, results.
    """
    from chromtransfer_plugin.device import describe

    record = {"command": sys.argv, "versions": package_versions(), "device": describe(device), **facts}
    with atomic_path(path) as temporary:
        Path(temporary).write_text(json.dumps(record, indent=2, default=str) + "\n")
