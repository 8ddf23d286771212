"""Batch norm over the global batch of several processes, on any device.

torch's own SyncBatchNorm works on CUDA only, so that runs on several processes could not be checked without GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes. Each process's output depends on every input: so do the gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        del ctx
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return _Sum.forward(ctx, *gradients)


@torch.compiler.disable  # the exchange stays outside compiled graphs
def _sum(x: torch.Tensor) -> torch.Tensor:
    return _Sum.apply(x)


class SyncedBatchNorm1d(nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` whose training statistics are those of all processes' batches together.

    Shares may be of different size. Outputs, gradients and running statistics are those of one process with
    the whole batch, to rounding. Every process must run the same layers in the same order.
    """

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, C) or (B, C, L) -> same shape."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(X)
        self._check_input_dim(X)
        dims = [d for d in range(X.dim()) if d != 1]
        shape = [1, -1] + [1] * (X.dim() - 2)
        x = X.float() if X.dtype in (torch.bfloat16, torch.float16) else X
        count = x.new_tensor([x.numel() // x.shape[1]])
        total = _sum(torch.cat([x.sum(dims), count]))
        mean, n = total[:-1] / total[-1], total[-1].detach()
        # The mean first, then squares around it: the mean of squares minus the squared mean loses digits.
        centred = x - mean.view(shape)
        var = _sum(centred.square().sum(dims)) / n
        self._track(mean.detach(), var.detach() * n / (n - 1))
        y = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(X.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, var: torch.Tensor) -> None:
        """Move the running statistics as torch does; ``var`` is the unbiased one."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), momentum)


def synchronise_batch_norm(model: nn.Module) -> None:
    """Make every BatchNorm1d of a network use the statistics of all processes, in place.

    Parameters, buffers, names and hooks stay the same objects, so optimisers and averages made before remain valid.

    Raises
    ------
    ChromTransferError
        If the network has batch norm of another kind, which would silently use each process's own statistics.
    """
    for name, module in model.named_modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = SyncedBatchNorm1d
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(
            module, SyncedBatchNorm1d
        ):
            raise ChromTransferError(
                f"training on several processes: layer '{name}' is a {type(module).__name__}; only BatchNorm1d can "
                "use the statistics of the whole batch. Train on one process."
            )


def restore_batch_norm(model: nn.Module) -> None:
    """Undo :func:`synchronise_batch_norm`."""
    for module in model.modules():
        if type(module) is SyncedBatchNorm1d:
            module.__class__ = nn.BatchNorm1d  # type: ignore[assignment]
