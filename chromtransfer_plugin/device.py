"""The one place that chooses a device and switches a model to evaluation."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning

if TYPE_CHECKING:
    import torch
    from torch import nn

# Dense peaks of one card in TFLOP/s, from the makers' data sheets: bfloat16 (float32 sums), TF32, float32. The first
# name that occurs in the card's is taken.
_PEAKS = {
    "B200": (2250.0, 1100.0, 75.0),
    "H200": (989.0, 495.0, 67.0),
    "H100 PCIe": (756.0, 378.0, 51.0),
    "H100": (989.0, 495.0, 67.0),
    "A100": (312.0, 156.0, 19.5),
    "L40S": (362.0, 183.0, 91.6),
    "L4": (121.0, 60.0, 30.3),
    "RTX 6000 Ada": (364.0, 182.0, 91.1),
    "RTX A6000": (155.0, 77.4, 38.7),
    "RTX 5090": (209.5, 104.8, 104.8),
    "RTX 4090": (165.2, 82.6, 82.6),
    "RTX 3090": (71.0, 35.6, 35.6),
}


_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # there while the driver is loaded (Linux)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA if it works, else the CPU.

    Raises
    ------
    ChromTransferError
        If CUDA is asked for and absent, or the name is unknown. Nothing falls back silently to the CPU.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        _warn_of_an_idle_card()
        return torch.device("cpu")
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


@cache
def _warn_of_an_idle_card() -> None:
    """Say once that there is an NVIDIA card which torch cannot use; nobody wants to train on the CPU beside it."""
    import torch

    if not _NVIDIA_DRIVER.exists() or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    warnings.warn(
        f"this machine has an NVIDIA driver, but torch {torch.__version__} (built for {built}) sees no card: using "
        "the CPU, which is slow. Install a torch build that fits the driver (pytorch.org), or write device: cpu.",
        ChromTransferWarning,
        stacklevel=3,
    )


def describe(device: torch.device) -> str:
    """One line for logs: ``cpu (2 threads)`` or the name of the card."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def peak_flops(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """Return what a device could do at most, to compare an achieved rate with.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype
        Type of the multiplications: ``torch.bfloat16`` under autocast, else ``torch.float32``.

    Returns
    -------
    tuple of float and str
        Operations per second, and where the number comes from: a data sheet (dense, no sparsity), or, for a CPU or
        a card that is not in the table, the rate of large matrix products and convolutions, measured once in a
        fraction of a second.
    """
    import torch

    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        # Convolutions, nearly all of the work, round float32 to TF32 where cuDNN may.
        column = (
            0 if dtype in (torch.bfloat16, torch.float16) else 1 if torch.backends.cudnn.allow_tf32 else 2
        )
        for card, peaks in _PEAKS.items():
            if card in name and dtype in (torch.bfloat16, torch.float16, torch.float32):
                return peaks[column] * 1e12, f"{('bf16', 'TF32', 'fp32')[column]} peak of {card}, data sheet"
    kind = str(dtype).removeprefix("torch.")
    rate = _measured_flops(device, dtype, torch.get_num_threads())
    return rate, f"{kind} matrix products measured on {describe(device)}"


@cache
def _measured_flops(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Best of a few products of 1024 x 1024 matrices (4096 on CUDA), and on a CPU of convolutions."""
    import torch

    del threads  # the rate depends on it, so it is part of the key
    n = 4096 if device.type == "cuda" else 1024
    a = torch.ones(n, n, device=device, dtype=dtype)
    jobs: list[tuple[float, Callable[[], object]]] = [(2.0 * n**3, lambda: a @ a)]
    if device.type == "cpu":
        # oneDNN's convolutions can be faster than the library behind torch.mm.
        X = torch.ones(16, 64, 1, 604, dtype=dtype).contiguous(memory_format=torch.channels_last)
        kernel = torch.ones(64, 64, 1, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
        jobs.append((2.0 * 16 * 600 * 64 * 64 * 5, lambda: torch.conv2d(X, kernel)))
    best = 0.0
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for operations, job in jobs:
            job()
            until = time.perf_counter() + 0.1
            while time.perf_counter() < until:
                started = time.perf_counter()
                job()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                best = max(best, operations / (time.perf_counter() - started))
    return best


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
