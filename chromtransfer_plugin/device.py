"""The one place that chooses a device and switches a model to evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    import torch
    from torch import nn


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA if it works, else the CPU.

    Raises
    ------
    ChromTransferError
        If CUDA is asked for and absent, or the name is unknown. Nothing falls back silently to the CPU.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ChromTransferError(f"device '{name}' is unknown: use auto, cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise ChromTransferError(f"device '{name}' is not supported: use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda":
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= n:
            raise ChromTransferError(
                f"device '{name}' was asked for but this torch ({torch.__version__}) sees {n} CUDA device(s). "
                "Run `chromtransfer doctor`, or choose the CPU: `device: cpu` in a YAML file, "
                "CHROMTRANSFER_DEVICE=cpu for Kipoi."
            )
    return device


def describe(device: torch.device) -> str:
    """One line for logs: ``cpu (2 threads)`` or the name of the card."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def available_cores() -> int:
    """Return how many CPU cores this process may use (all of them where the system cannot tell)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_of(model: nn.Module) -> torch.device:
    """Return the device that holds the model's parameters (the CPU if it has none)."""
    import torch

    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module, device: torch.device | str | None = None) -> Iterator[torch.device]:
    """Put a model in evaluation mode on a device, without gradients; restore everything on the way out.

    TF32, which torch lets cuDNN use by default, is off inside: it changes probabilities in the third decimal,
    and the same model must give the same numbers on every device.

    Parameters
    ----------
    model : nn.Module
    device : torch.device, str or None
        None keeps the model where it is.

    Yields
    ------
    torch.device
        Where the model is while the block runs.
    """
    import torch

    home = device_of(model)
    target = home if device is None else pick_device(str(device))
    modes = {module: module.training for module in model.modules()}
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        model.to(target).eval()
        with torch.inference_mode():
            yield target
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        model.to(home)
        for module, mode in modes.items():
            module.training = mode
