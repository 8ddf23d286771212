"""Fast stride-1 convolutions and dropout on a CPU: the numbers of the torch layers, in less time.

On a CPU, torch hands a ``Conv1d`` to oneDNN with the channels first, which costs it reorders, falls back to slow
kernels for the gradient of an even kernel's input and for the gradient of 15 or more taps, and draws dropout masks
one number at a time. Here a sequence stays in memory as (B, L, C), a shape in which every layer of the trunk runs
near the machine's matrix rate, while its tensor is still (B, C, L) for everybody else: only the strides differ, so
the first layer converts and the others find what they need.

The choice between these functions and the plain layers is made in :mod:`~chromtransfer_plugin.models.blocks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.module import _has_any_global_hook

# oneDNN's fast kernel for the gradient of the weights ends here: longer kernels are cut into parts.
_MAX_TAPS = 14
_RANDOM_BITS = 15
_MASK_TYPES = {torch.float32: torch.int32, torch.bfloat16: torch.int16}

_enabled = True


@contextmanager
def plain_layers() -> Iterator[None]:
    """Run the layers of the network as torch's own modules inside: the reference of tests and benchmarks."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def is_fast_input(X: torch.Tensor) -> bool:
    """Whether a tensor is one that these functions speed up; on CUDA the plain layers are the fast ones."""
    return bool(
        _enabled
        and not torch.compiler.is_compiling()
        and type(X) in (torch.Tensor, nn.Parameter)
        and X.device.type == "cpu"
        and X.dtype in _MASK_TYPES
        and (not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") in _MASK_TYPES)
        and X.numel() > 0
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def is_unhooked(*modules: nn.Module) -> bool:
    """Whether nothing listens to the calls of these modules, so that they need not be called."""
    if _has_any_global_hook():
        return False
    return not any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
        for m in modules
    )


def is_plain_conv(conv: nn.Module) -> bool:
    """Whether a module computes what a ``Conv1d`` of stride 1 does, from its ``weight`` and ``bias``.

    Parametrised weights (adapters) are welcome; a module put in the place of the convolution, or one whose
    ``forward`` was replaced, is not.
    """
    return (
        isinstance(conv, nn.Conv1d)
        and type(conv).forward is nn.Conv1d.forward
        and "forward" not in vars(conv)
        and conv.groups == conv.stride[0] == conv.dilation[0] == 1
        and conv.bias is not None
        and is_unhooked(conv)
    )


def same_convolution(X: torch.Tensor, convs: list[nn.Conv1d], training: bool) -> tuple[torch.Tensor, ...]:
    """Convolve one input with the kernels of several layers at once, keeping the length as ``SameConv1d`` does.

    Parameters
    ----------
    X : torch.Tensor
        (B, C, L) float32 or bfloat16, any strides.
    convs : list of nn.Conv1d
        Layers with biases and one kernel size.
    training : bool
        Use the gradients written here, which are faster than torch's but can be taken only once.

    Returns
    -------
    tuple of torch.Tensor
        (B, out_channels, L) for each layer, the channels innermost in memory; in autocast's type where that is on.
    """
    weight = torch.cat([conv.weight for conv in convs]) if len(convs) > 1 else convs[0].weight
    biases = [conv.bias for conv in convs if conv.bias is not None]
    bias = torch.cat(biases) if len(biases) > 1 else biases[0]
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        X, weight, bias = X.to(dtype), weight.to(dtype), bias.to(dtype)
    channels = [conv.out_channels for conv in convs]
    if training:
        return _SameConvolution.apply(X, weight, bias, channels)
    left, right = (weight.shape[2] - 1) // 2, weight.shape[2] // 2
    Y = _convolve(_channels_innermost(X.unsqueeze(2)), weight.unsqueeze(2), bias, left, right)
    return Y.squeeze(2).split(channels, dim=1)


class _SameConvolution(torch.autograd.Function):
    """See :func:`same_convolution`; the gradients are convolutions of the fast kind, too."""

    @staticmethod
    def forward(
        ctx: Any, X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, channels: list[int]
    ) -> tuple[torch.Tensor, ...]:
        rows = _channels_innermost(X.unsqueeze(2))
        kernel = weight.unsqueeze(2)
        left, right = (weight.shape[2] - 1) // 2, weight.shape[2] // 2
        ctx.save_for_backward(rows, kernel)
        ctx.channels = channels
        return _convolve(rows, kernel, bias, left, right).squeeze(2).split(channels, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, kernel = ctx.saved_tensors
        # Joined in the order of memory: torch.cat along the channels would bring them to the front.
        dY = gradients[0]
        if len(gradients) > 1:
            dY = torch.cat([part.transpose(1, 2) for part in gradients], dim=2).transpose(1, 2)
        dY = _channels_innermost(dY.unsqueeze(2))
        left, right = (kernel.shape[3] - 1) // 2, kernel.shape[3] // 2
        dX = dW = db = None
        if ctx.needs_input_grad[0]:
            # The kernel mirrored, so the padding is mirrored, too.
            flipped = kernel.flip(3).transpose(0, 1)
            dX = _convolve(dY, flipped, None, right, left).squeeze(2)
        if ctx.needs_input_grad[1]:
            dW = _kernel_gradient(rows, dY, kernel, left).squeeze(2)
        if ctx.needs_input_grad[2]:
            db = dY.sum((0, 2, 3))
        return dX, dW, db, None


def _channels_innermost(X: torch.Tensor) -> torch.Tensor:
    """(B, C, 1, L), with the strides of a (B, 1, L, C) array."""
    return X.contiguous(memory_format=torch.channels_last)


def _pad(X: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """Add zeros to both ends of the last axis of (B, C, 1, L), or cut where a number is negative."""
    return _channels_innermost(functional.pad(X, (left, right)))


def _convolve(
    X: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None, left: int, right: int
) -> torch.Tensor:
    # A padding that is longer on one side is made equal, and the number too many at that end dropped.
    Y = torch.conv2d(X, _channels_innermost(kernel), bias, padding=(0, max(left, right)))
    return Y if left == right else Y.narrow(3, int(left < right), X.shape[3])


def _kernel_gradient(X: torch.Tensor, dY: torch.Tensor, kernel: torch.Tensor, left: int) -> torch.Tensor:
    """Gradient of the kernel (O, C, 1, k): of a part of its taps at a time, over the inputs that they meet."""
    taps = kernel.shape[3]
    n = -(-taps // _MAX_TAPS) if X.shape[3] >= taps else 1
    edges = [taps * i // n for i in range(n + 1)]
    parts = []
    for first, end in pairwise(edges):
        seen = _pad(X, left - first, end - 1 - left)
        part = _channels_innermost(kernel[..., first:end])
        # padding, dilation and so on of a plain convolution; the mask asks for the weights' gradient only
        none = [0, 0]
        parts.append(
            torch.ops.aten.convolution_backward(
                dY, seen, part, None, [1, 1], none, [1, 1], False, none, 1, [False, True, False]
            )[1]
        )
    return torch.cat(parts, dim=3) if n > 1 else parts[0]


def is_plain_norm(norm: nn.Module, X: torch.Tensor) -> bool:
    """Whether :func:`batch_norm` may take a layer's place: a torch ``BatchNorm1d`` that nothing listens to."""
    return (
        type(norm) is nn.BatchNorm1d
        and norm.affine
        and norm.running_mean is not None
        and is_unhooked(norm)
        and is_fast_input(X)
        and X.dim() == 3
        and X.transpose(1, 2).is_contiguous()
        and X.shape[0] * X.shape[2] > 1  # torch refuses to train on one value per channel
    )


def batch_norm(norm: nn.BatchNorm1d, X: torch.Tensor) -> torch.Tensor:
    """Batch norm of (B, C, L) with the channels innermost in memory, which stay there.

    ``nn.BatchNorm1d`` would copy them to the front, and torch's own kernel for this order adds up a channel number
    by number in float32: over 128 sequences of 600 bp its results are off by 0.002. The running statistics move
    as torch's do.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    rows = X.transpose(1, 2)
    if norm.training:
        Y, mean, variance = _BatchNorm.apply(rows, norm.weight, norm.bias, norm.eps)
        n = X.shape[0] * X.shape[2]
        with torch.no_grad():
            momentum = norm.momentum if norm.momentum is not None else 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
                if norm.momentum is None:
                    momentum = 1 / float(norm.num_batches_tracked)
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(variance * (n / (n - 1)), momentum)
    elif X.dtype == torch.float32:
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        Y = torch.addcmul(norm.bias - norm.running_mean * scale, rows, scale)
    else:
        # The statistics stay float32.
        flat = rows.flatten(0, 1)
        Y = functional.batch_norm(
            flat, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        ).view(rows.shape)
    return Y.transpose(1, 2)


class _BatchNorm(torch.autograd.Function):
    """(B, L, C), weight, bias, eps -> normalised (B, L, C) and the mean and variance (C,) of the batch.

    torch's kernels for this order are fast. They are kept exact by sums over B alone, as if each of the L * C numbers
    of a sequence had a channel of its own, which are then put together.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, ...]:
        batch, length, channels = rows.shape
        unused = torch.zeros(length * channels)  # float32 here makes the sums float32 for bfloat16 input, too
        means, variances = torch.batch_norm_update_stats(rows.view(batch, -1), unused, unused.clone(), 0.0)
        means, variances = means.view(length, channels), variances.view(length, channels)
        mean = means.mean(0)
        variance = (variances + (means - mean).square_()).mean(0)
        ctx.save_for_backward(rows, mean, torch.rsqrt(variance + eps), weight)
        ctx.mark_non_differentiable(mean, variance)
        Y = torch.native_batch_norm(rows.view(-1, channels), weight, bias, mean, variance, False, 0.0, eps)[0]
        return Y.view(rows.shape), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dY: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, mean, inverse, weight = ctx.saved_tensors
        batch, length, channels = rows.shape
        dY = dY.contiguous()
        sums = torch.ops.aten.native_batch_norm_backward(
            dY.view(batch, -1), rows.view(batch, -1), None, None, None, mean.repeat(length),
            inverse.repeat(length), True, 0.0, [False, True, True],
        )  # fmt: skip
        d_weight, d_bias = (total.view(length, channels).sum(0) for total in sums[1:])
        # scale * (dY - mean of dY - normalised * mean of dY * normalised), as three products
        scale = weight * inverse
        slope = -scale * inverse * d_weight / (batch * length)
        shift = -scale * d_bias / (batch * length) - mean * slope
        shift, slope, scale = (x.to(rows.dtype) for x in (shift, slope, scale))
        return torch.addcmul(shift, rows, slope).addcmul_(dY, scale), d_weight, d_bias, None


class FastDropout(nn.Dropout):
    """``nn.Dropout`` whose masks on a CPU come from 15 random bits per number.

    torch's global generator seeds every mask, so ``torch.manual_seed`` decides them, but they are other masks than
    those of ``nn.Dropout``. The share of kept numbers is a multiple of 2**-15, and kept numbers are divided
    by exactly this share. Elsewhere, and for other types than float32 and bfloat16, it is ``nn.Dropout``.
    """

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Zero a share ``p`` of the numbers when training and scale the others; any shape."""
        if not self.training or self.p == 0 or self.inplace or not is_fast_input(X) or not _is_dense(X):
            return super().forward(X)
        return _Dropout.apply(X, self.p)


class _Dropout(torch.autograd.Function):
    """See :class:`FastDropout`."""

    @staticmethod
    def forward(ctx: Any, X: torch.Tensor, p: float) -> torch.Tensor:
        kept = min(max(1, round((1 - p) * 2**_RANDOM_BITS)), 2**_RANDOM_BITS - 1)
        n = X.numel()
        # A numpy generator, seeded by torch's, draws twice as fast as torch's own.
        seed = int(torch.randint(2**63 - 1, ()))
        raw = np.random.SFC64(seed).random_raw(-(-n // 4))
        bits = torch.from_numpy(raw.view(np.int16))[:n]
        # All ones where the draw is below `kept`, else zero: the sign of the difference, smeared.
        bits.bitwise_and_(2**_RANDOM_BITS - 1).sub_(kept).bitwise_right_shift_(_RANDOM_BITS)
        mask = bits.as_strided(X.shape, X.stride())
        ctx.save_for_backward(mask)
        ctx.scale = 2**_RANDOM_BITS / kept
        return _masked(X, mask, ctx.scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (mask,) = ctx.saved_tensors
        return _masked(gradient, mask, ctx.scale), None


def _is_dense(X: torch.Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense(X)


def _masked(X: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    """Numbers as bits, and the mask: zero or unchanged; then scaled."""
    bits = _MASK_TYPES[X.dtype]
    return torch.bitwise_and(X.view(bits), mask.to(bits)).view(X.dtype).mul_(scale)
