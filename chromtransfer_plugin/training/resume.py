"""Save and restore an unfinished training run, bit for bit, without pickles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path


def save_state_file(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[dict],
    identity: dict[str, str],
) -> None:
    """Write model, optimiser, random generators and history to one safetensors file.

    Parameters
    ----------
    history : list of dict
        One entry per finished epoch; JSON-serialisable.
    identity : dict
        Which run this is; :func:`load_state_file` refuses a file of another run.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"history": json.dumps(history), **identity})


def load_state_file(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, str]
) -> list[dict[str, Any]]:
    """Restore what :func:`save_state_file` wrote; return the history, empty if there is nothing to resume.

    Raises
    ------
    ChromTransferError
        If the file is damaged, or belongs to another run (other settings, data or seed).
    """
    if not path.exists():
        return []
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
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    _restore_optimizer(optimizer, {k: v for k, v in tensors.items() if k.startswith("optimizer.")})
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return json.loads(metadata["history"])


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        _, index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
