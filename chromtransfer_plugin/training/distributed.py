"""Several processes that train one model together, as ``torchrun`` starts them (one per GPU, or on a CPU)."""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Processes(NamedTuple):
    """Which process this is among all: ``rank`` 0 is the one that writes files and logs."""

    rank: int = 0
    world: int = 1

    @property
    def main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0


def join_processes(device: str = "auto") -> Processes:
    """Join the processes that ``torchrun`` announced in the environment; alone if there are none.

    The processes talk by NCCL on CUDA and by gloo on a CPU (``device="cpu"``, or no CUDA).
    """
    if not distributed.is_available():
        return Processes()
    if not distributed.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
            return Processes()
        cuda = torch.cuda.is_available() and device != "cpu"
        distributed.init_process_group("nccl" if cuda else "gloo")
    return Processes(distributed.get_rank(), distributed.get_world_size())


def local_device(device: str, processes: Processes) -> str:
    """Give every process on a machine its own card: ``auto`` and ``cuda`` become ``cuda:LOCAL_RANK``."""
    if processes.world > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', processes.rank)}"
    return device


def share_weights(model: nn.Module, processes: Processes) -> None:
    """Copy rank 0's parameters and buffers to every process, in place."""
    if processes.world > 1:
        for tensor in model.state_dict().values():
            distributed.broadcast(tensor, src=0)


def parallel(module: nn.Module, processes: Processes) -> nn.Module:
    """Average the module's gradients over the processes; the module itself if there is only one.

    Batch norm is synchronised apart (see :mod:`~chromtransfer_plugin.training.synced_batch_norm`), so that
    buffers agree everywhere and need no broadcast.
    """
    if processes.world == 1:
        return module
    with (
        warnings.catch_warnings()
    ):  # torch renames this argument; its new name is unknown to earlier versions
        warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
        return DistributedDataParallel(module, broadcast_buffers=False)


def sum_over(tensor: torch.Tensor, processes: Processes) -> torch.Tensor:
    """Sum a tensor over the processes, in place."""
    if processes.world > 1:
        distributed.all_reduce(tensor)
    return tensor


def from_main(value: float, device: torch.device, processes: Processes) -> float:
    """Give every process rank 0's number, so that all of them decide alike."""
    if processes.world == 1:
        return value
    tensor = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.broadcast(tensor, src=0)
    return tensor.item()


def wait_for_all(device: torch.device, processes: Processes) -> None:
    """Return when every process has come here."""
    sum_over(torch.zeros((), device=device), processes).item()


def gather_bytes(tensor: torch.Tensor, device: torch.device, processes: Processes) -> torch.Tensor:
    """Stack every process's uint8 tensor of one size: (world, n) on the CPU."""
    if processes.world == 1:
        return tensor.unsqueeze(0)
    parts = [torch.empty_like(tensor, device=device) for _ in range(processes.world)]
    distributed.all_gather(parts, tensor.to(device))
    return torch.stack(parts).cpu()
