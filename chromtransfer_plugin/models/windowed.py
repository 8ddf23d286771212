"""What a change of one base does to the features of a residual trunk, computed only where it does anything.

A layer passes on the difference between the mutant and the reference, which is zero outside of the receptive field of
the mutated base: 25 positions after the first convolution, 202 of 600 after the last. Convolutions are linear, so the
difference of their inputs is all they need; the reference enters at each ReLU, and batch norms only scale. Outside of
the sequence, where 'same' padding keeps every layer at zero, the reference before the ReLU is minus infinity, so that
no difference survives there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from chromtransfer_plugin.models.blocks import ConvUnit, IdentityBlock, SameConv1d, ShortcutBlock
from chromtransfer_plugin.models.chromtransfer import Trunk
from chromtransfer_plugin.models.convolution import FastDropout, is_plain_conv, is_unhooked
from chromtransfer_plugin.models.spectral import SpectralKernel, add_convolutions

N_ALTERNATIVES = 3  # bases other than the reference one
_KNOWN = (
    nn.ModuleList, ConvUnit, ShortcutBlock, IdentityBlock, SameConv1d, nn.ConstantPad1d, nn.Identity, nn.ReLU,
    FastDropout, nn.AdaptiveAvgPool1d,
)  # fmt: skip


class Window(NamedTuple):
    """Differences at the positions around each mutated base; zero elsewhere.

    Attributes
    ----------
    values : torch.Tensor
        (W, 3 * n, C): for each of the three alternatives, n neighbouring mutated positions.
    low : int
        Offset of the first row from the mutated position.
    """

    values: torch.Tensor
    low: int

    @property
    def high(self) -> int:
        """Offset after the last row."""
        return self.low + len(self.values)


class Reference(NamedTuple):
    """Of one ReLU of one sequence, (margin + L + margin, C) each: ``min(x, 0)`` and ``-max(x, 0)`` of its input x."""

    floor: torch.Tensor
    negative: torch.Tensor


class Run(NamedTuple):
    """Neighbouring mutated positions ``first .. first + n`` of a sequence of ``length``, and what is known of it.

    ``state`` is what the trunk's ``reference`` returned for the sequence and ``margin``, which is at least ``n - 1``.
    """

    first: int
    n: int
    length: int
    margin: int
    state: Any

    def clip(self, low: int, high: int) -> tuple[int, int]:
        """Leave out offsets that are outside of the sequence for all positions of the run."""
        return max(low, -(self.first + self.n - 1)), min(high, self.length - self.first)

    def around(self, values: torch.Tensor, low: int, high: int) -> torch.Tensor:
        """View (W, 1, n, C) of the rows at the offsets from every position."""
        channels = values.shape[1]
        offset = (self.margin + self.first + low) * channels
        return values.as_strided(
            (high - low, 1, self.n, channels), (channels, 0, channels, 1), values.storage_offset() + offset
        )


class WindowedTrunk:
    """Changes of the pooled features of a trunk by single-base mutations.

    Parameters
    ----------
    trunk : Trunk
        In evaluation mode, for which :func:`is_windowable` holds. Its weights are read now and must not change.
    """

    def __init__(self, trunk: Trunk) -> None:
        self._trunk = trunk
        self._kernels: dict[str, SpectralKernel] = {}
        self._scales: dict[str, torch.Tensor] = {}
        self._last = trunk.level_names[-1]
        stem = trunk.stem
        self._scales["stem"] = _scale(stem.bn)
        # (25, 4, C), in the order of the output positions around a base
        self._stem = stem.conv.conv.weight.detach().permute(2, 1, 0).flip(0).contiguous()
        for name in trunk.level_names[1:]:
            level = trunk.get_submodule(name)
            before = self._scales["stem"] if name == "reduce" else None
            if isinstance(level, ShortcutBlock | IdentityBlock):
                self._add_unit(f"{name}.a", level.a, before)
                self._add_unit(f"{name}.b", level.b, self._scales[f"{name}.a"])
            if isinstance(level, ShortcutBlock):
                self._add_unit(f"{name}.shortcut", level.shortcut, before)
            elif isinstance(level, ConvUnit):
                self._add_unit(name, level, None)
            elif isinstance(level, SameConv1d):
                self._kernels[name] = SpectralKernel(level.conv.weight, self._scales["top"])

    def _add_unit(self, name: str, unit: ConvUnit, before: torch.Tensor | None) -> None:
        self._kernels[name] = SpectralKernel(unit.conv.conv.weight, before)
        self._scales[name] = _scale(unit.bn)

    def reference(self, X: torch.Tensor, margin: int) -> tuple[torch.Tensor, dict[str, Reference]]:
        """Features (1, n_features) of one sequence (1, 4, L), and what its ReLUs saw."""
        relus: dict[str, Reference] = {}

        def run(name: str, unit: ConvUnit, X: torch.Tensor) -> torch.Tensor:
            before = unit.conv(X)
            relus[name] = _reference(before, margin)
            return unit.after_conv(before)

        merged: list[torch.Tensor] = []
        for name, level in self._trunk.levels().items():
            if name == "expand":
                X = torch.cat(merged, dim=1)
            if isinstance(level, ConvUnit):
                X = run(name, level, X)
            elif isinstance(level, SameConv1d):
                before = level(X)
                relus[name] = _reference(before, margin)
                X = self._trunk.last_relu(before)
            else:
                block = cast(ShortcutBlock | IdentityBlock, level)
                main = run(f"{name}.b", block.b, run(f"{name}.a", block.a, X))
                X = main + (
                    run(f"{name}.shortcut", block.shortcut, X) if isinstance(block, ShortcutBlock) else X
                )
            if name.startswith("narrow."):
                merged.append(X)
        return self._trunk.pool(X).squeeze(-1), relus

    def changes(self, run: Run, bases: torch.Tensor) -> torch.Tensor:
        """Feature differences (3, n, n_features) of the mutants of a run.

        Parameters
        ----------
        run : Run
        bases : torch.Tensor
            (4, n) codes: the reference bases, then the three alternatives.
        """
        X = self._stem_window(run, bases)
        merged: list[Window] = []
        for name in self._trunk.level_names[1:]:
            level = self._trunk.get_submodule(name)
            if name == "expand":
                X = _concatenate(merged)
            if isinstance(level, ShortcutBlock):
                X = self._shortcut(run, name, X)
            elif isinstance(level, IdentityBlock):
                X = self._identity(run, name, X)
            else:
                (X,) = self._relu_of_convolution(run, X, name)
            if name.startswith("narrow."):
                merged.append(X)
        total = X.values.sum(0)
        if self._last in ("stem", "top"):  # whose scale is otherwise part of the next kernel
            total *= self._scales[self._last]
        return total.view(N_ALTERNATIVES, run.n, -1) / run.length

    def _stem_window(self, run: Run, bases: torch.Tensor) -> Window:
        half = len(self._stem) // 2
        low, high = run.clip(-half, half + 1)
        kernel = self._stem[low + half : high + half]
        before = kernel[:, bases[1:]] - kernel[:, bases[:1]]
        reference = run.state["stem"]
        before += run.around(reference.floor, low, high)
        return Window(_relu_difference(before, run, reference, low, high), low)

    def _relu_of_convolution(self, run: Run, X: Window, *names: str) -> list[Window]:
        """Difference of the ReLUs of convolutions of one input, yet without the scale of a batch norm."""
        kernels = [self._kernels[name] for name in names]
        full = X.low - kernels[0].left
        low, high = run.clip(full, X.high + kernels[0].right)
        references = [run.state[name] for name in names]
        befores = []
        for kernel, reference in zip(kernels, references, strict=True):
            before = X.values.new_empty(high - low, N_ALTERNATIVES, run.n, kernel.out_channels)
            befores.append(before.copy_(run.around(reference.floor, low, high)))
        add_convolutions(X.values, kernels, [before.flatten(1, 2) for before in befores], low - full)
        return [
            Window(_relu_difference(before, run, reference, low, high), low)
            for before, reference in zip(befores, references, strict=True)
        ]

    def _shortcut(self, run: Run, name: str, X: Window) -> Window:
        a, shortcut = self._relu_of_convolution(run, X, f"{name}.a", f"{name}.shortcut")
        (b,) = self._relu_of_convolution(run, a, f"{name}.b")
        b.values.mul_(self._scales[f"{name}.b"])
        inner = b.values[shortcut.low - b.low : shortcut.high - b.low]
        inner.addcmul_(shortcut.values, self._scales[f"{name}.shortcut"])
        return b

    def _identity(self, run: Run, name: str, X: Window) -> Window:
        (a,) = self._relu_of_convolution(run, X, f"{name}.a")
        (b,) = self._relu_of_convolution(run, a, f"{name}.b")
        b.values.mul_(self._scales[f"{name}.b"])
        b.values[X.low - b.low : X.high - b.low].add_(X.values)
        return b


def is_windowable(trunk: nn.Module) -> bool:
    """Whether a trunk is made of the layers that :class:`WindowedTrunk` knows, none replaced and none listened to."""
    return is_made_of(trunk, Trunk, _KNOWN)


def is_made_of(trunk: nn.Module, kind: type[nn.Module], known: tuple[type[nn.Module], ...]) -> bool:
    """Whether a trunk is exactly of one class, of layers of exactly the known ones, and nothing listens to them."""
    return (
        type(trunk) is kind
        and is_unhooked(*trunk.modules())
        and all(_is_known(layer, known) for layer in _layers(trunk))
    )


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """All modules within one, without those inside convolutions: weights may be parametrised."""
    for child in module.children():
        yield child
        if not isinstance(child, nn.Conv1d):
            yield from _layers(child)


def _is_known(module: nn.Module, known: tuple[type[nn.Module], ...]) -> bool:
    if isinstance(module, nn.Conv1d):
        return is_plain_conv(module)
    if "forward" in vars(module):
        return False
    if type(module) is nn.BatchNorm1d:
        return module.affine and module.running_var is not None
    return type(module) in known


def _scale(norm: nn.BatchNorm1d) -> torch.Tensor:
    assert norm.running_var is not None
    return (norm.weight * torch.rsqrt(norm.running_var + norm.eps)).detach()


def _reference(before: torch.Tensor, margin: int) -> Reference:
    rows = before[0].t()
    edge = rows.new_full((margin, rows.shape[1]), -torch.inf)
    rows = torch.cat([edge, rows, edge])
    return Reference(rows.clamp(max=0), -rows.clamp(min=0))


def _relu_difference(
    before: torch.Tensor, run: Run, reference: Reference, low: int, high: int
) -> torch.Tensor:
    """relu(x + d) - relu(x) = max(min(x, 0) + d, -max(x, 0)), here of ``before = min(x, 0) + d`` and in place."""
    torch.maximum(before, run.around(reference.negative, low, high), out=before)
    return before.flatten(1, 2)


def _concatenate(windows: list[Window]) -> Window:
    """Put the channels of windows side by side; the last is the widest."""
    *_, widest = windows
    rows, batch, channels = widest.values.shape
    joined = widest.values.new_zeros(rows, batch, channels * len(windows))
    for i, window in enumerate(windows):
        start = window.low - widest.low
        joined[start : start + len(window.values), :, i * channels : (i + 1) * channels] = window.values
    return Window(joined, widest.low)
