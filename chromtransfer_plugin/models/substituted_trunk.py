"""Features of many sequences by a residual trunk, and of copies of them with another base at one place.

All copies differ at the same index, so what a layer changes lies in one range of positions that is the same for all:
25 positions after the first convolution, 202 of 600 after the last. Layer by layer, the sequences run as always, and of
the copies only this range, cut out with as much of the sequence's own values around it as the kernel reaches.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch.nn import functional

from chromtransfer_plugin.models.blocks import ConvUnit, IdentityBlock, SameConv1d, ShortcutBlock
from chromtransfer_plugin.models.chromtransfer import Trunk
from chromtransfer_plugin.models.convolution import is_fast_input, same_convolution


class Substitutions(NamedTuple):
    """Copies of some sequences of a batch, each with another base at the same index.

    Attributes
    ----------
    at : int
        0-based.
    parents : torch.Tensor
        (n,) int64 row of the sequence that each is a copy of.
    codes : torch.Tensor
        (n,) uint8 its base there, 0 to 4.
    """

    at: int
    parents: torch.Tensor
    codes: torch.Tensor

    def whole(self, codes: torch.Tensor) -> torch.Tensor:
        """Give the copies (n, L) of the sequences (B, L)."""
        copies = codes[self.parents]
        copies[:, self.at] = self.codes
        return copies


class _Map(NamedTuple):
    """A feature map of the sequences (B, C, L), and of the copies (n, C, w) the positions from ``low`` on that differ."""

    whole: torch.Tensor
    part: torch.Tensor
    low: int

    @property
    def high(self) -> int:
        return self.low + self.part.shape[2]


class SubstitutedTrunk:
    """A residual trunk for sequences and copies of them.

    Parameters
    ----------
    trunk : Trunk
        In evaluation mode, for which :func:`~chromtransfer_plugin.models.windowed.is_windowable` holds.
    """

    def __init__(self, trunk: Trunk) -> None:
        self._trunk = trunk

    def features(
        self, X: torch.Tensor, new: torch.Tensor, copies: Substitutions
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, n_features) of the sequences and (n, n_features) of the copies.

        Parameters
        ----------
        X : torch.Tensor
            (B, 4, L) one-hot.
        new : torch.Tensor
            (n, 4, 1) one-hot bases of the copies at their index.
        copies : Substitutions
        """
        parents = copies.parents
        merged: list[_Map] = []
        now = _Map(X, new, copies.at)
        for name, level in self._trunk.levels().items():
            if name == "expand":
                now = _joined(merged, parents)
            if isinstance(level, ConvUnit):
                now = _after(level, _convolved(now, parents, level.conv)[0])
            elif isinstance(level, SameConv1d):
                (before,) = _convolved(now, parents, level)
                now = _Map(
                    self._trunk.last_relu(before.whole), self._trunk.last_relu(before.part), before.low
                )
            else:
                now = _block(cast(ShortcutBlock | IdentityBlock, level), now, parents)
            if name.startswith("narrow."):
                merged.append(now)
        own = self._trunk.pool(now.whole).squeeze(-1)
        instead_of = now.whole[:, :, now.low : now.high].sum(2)
        return own, own[parents] + (now.part.sum(2) - instead_of[parents]) / now.whole.shape[2]


def _block(block: ShortcutBlock | IdentityBlock, X: _Map, parents: torch.Tensor) -> _Map:
    if isinstance(block, ShortcutBlock):
        main, side = _convolved(X, parents, block.a.conv, block.shortcut.conv)
        other = _after(block.shortcut, side)
    else:
        (main,) = _convolved(X, parents, block.a.conv)
        other = X
    (last,) = _convolved(_after(block.a, main), parents, block.b.conv)
    b = _after(block.b, last)
    return _Map(b.whole + other.whole, b.part + _around(other, parents, b.low, b.high), b.low)


def _after(unit: ConvUnit, X: _Map) -> _Map:
    return _Map(unit.after_conv(X.whole), unit.after_conv(X.part), X.low)


def _convolved(X: _Map, parents: torch.Tensor, *layers: SameConv1d) -> list[_Map]:
    """Convolutions of one input with kernels of one size."""
    convs = [layer.conv for layer in layers]
    taps, length = convs[0].kernel_size[0], X.whole.shape[2]
    before, behind = (taps - 1) // 2, taps // 2  # zeros of 'same' padding
    low, high = max(0, X.low - behind), min(length, X.high + before)
    first, last = low - before, high + behind
    patch = _around(X, parents, max(0, first), min(length, last))
    patch = functional.pad(patch, (max(0, -first), max(0, last - length)))
    if is_fast_input(X.whole):
        wholes = same_convolution(X.whole, convs, training=False)
        weight = torch.cat([conv.weight for conv in convs])
        bias = torch.cat([cast(torch.Tensor, conv.bias) for conv in convs])
        joint = torch.conv2d(_innermost(patch), _innermost(weight), bias).squeeze(2)
        parts = joint.split([conv.out_channels for conv in convs], dim=1)
    else:
        wholes = tuple(layer(X.whole) for layer in layers)
        parts = tuple(functional.conv1d(patch, conv.weight, conv.bias) for conv in convs)
    return [_Map(whole, part, low) for whole, part in zip(wholes, parts, strict=True)]


def _around(X: _Map, parents: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """(n, C, high - low) of the copies, of which positions ``X.low`` to ``X.high`` are a part."""
    # Joined in the order of memory, in which the channels are innermost.
    whole = X.whole.transpose(1, 2)
    pieces = [whole[:, low : X.low][parents], X.part.transpose(1, 2), whole[:, X.high : high][parents]]
    return torch.cat(pieces, dim=1).transpose(1, 2)


def _joined(maps: list[_Map], parents: torch.Tensor) -> _Map:
    """Put the channels of maps side by side; the last is the widest."""
    low, high = maps[-1].low, maps[-1].high
    return _Map(
        torch.cat([one.whole for one in maps], dim=1),
        torch.cat([_around(one, parents, low, high) for one in maps], dim=1),
        low,
    )


def _innermost(X: torch.Tensor) -> torch.Tensor:
    """(B, C, L) -> (B, C, 1, L), the channels innermost in memory."""
    return X.unsqueeze(2).contiguous(memory_format=torch.channels_last)
