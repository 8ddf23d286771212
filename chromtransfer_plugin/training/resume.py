"""Save and restore an unfinished training run, bit for bit, without pickles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path

Parts = dict[str, dict[str, torch.Tensor]]


class RunState(NamedTuple):
    """An unfinished run: groups of tensors by name, and JSON-serialisable notes."""

    parts: Parts
    notes: dict[str, Any]


def save_state(path: Path, state: RunState, identity: dict[str, str]) -> None:
    """Write a run's state to one safetensors file, replacing the one before only when complete.

    Parameters
    ----------
    state : RunState
        Group names must not contain a slash.
    identity : dict
        Which run this is; :func:`load_state` refuses a file of another run.

    Raises
    ------
    ChromTransferError
        If it cannot be written; the state saved before is then still there.
    """
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().contiguous().clone()
        for part, group in state.parts.items()
        for name, tensor in group.items()
    }
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"notes": json.dumps(state.notes), **identity})
    except (SafetensorError, OSError) as error:
        raise ChromTransferError(
            f"{path}: the state of the run could not be saved ({error}). What was saved before is intact: "
            "make room, then give the same command again to go on from there."
        ) from error


def load_state(path: Path, identity: dict[str, str]) -> RunState | None:
    """Read what :func:`save_state` wrote; None if there is nothing to resume.

    Raises
    ------
    ChromTransferError
        If the file is damaged, or belongs to another run (other settings, data or seed).
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ChromTransferError(
            f"{path}: cannot resume, the file is damaged ({error}). Delete it to start over."
        ) from error
    different = [key for key, value in identity.items() if metadata.get(key) != value]
    if different:
        raise ChromTransferError(
            f"{path}: an unfinished run with other {', '.join(different)} is in this folder. "
            "Choose another output folder, or delete this file to start over."
        )
    parts: Parts = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    return RunState(parts, json.loads(metadata["notes"]))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Flatten an optimiser's moments and counters."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` took; the parameter groups stay as they are."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
