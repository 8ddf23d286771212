"""The ChromTransfer network: a 600 bp residual trunk and an exchangeable dense head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import nn

from chromtransfer_plugin.defaults import Architecture, Level
from chromtransfer_plugin.errors import ChromTransferError, reject_unknown
from chromtransfer_plugin.models.blocks import ConvUnit, DenseHead, IdentityBlock, SameConv1d, ShortcutBlock
from chromtransfer_plugin.models.motif_trunk import MotifTrunk


def parse_architecture(settings: dict[str, Any]) -> Architecture:
    """Check the arguments of a network, naming the wrong one and what it should be."""
    reject_unknown("ChromTransfer network", settings, Architecture.model_fields)
    try:
        return Architecture(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ChromTransferError(
            f"ChromTransfer network: {name}={first['input']!r} is not usable: {first['msg']}."
        ) from error


LEVELS: tuple[Level, ...] = get_args(Level)  # of the trunk, input to output; each names its module in Trunk
BANK = "bank"  # the only level of a trunk of motifs
HEAD = "head"


def level_of(name: str) -> str:
    """Name the level that a tensor of a network belongs to: one of :data:`LEVELS`, ``bank`` or ``head``.

    Parameters
    ----------
    name : str
        As in ``model.state_dict()``, e.g. ``trunk.narrow.0.a.bn.weight`` -> ``narrow.0``.
    """
    for level in (*LEVELS, BANK):
        if name.startswith(f"trunk.{level}."):
            return level
    if name.startswith(f"{HEAD}."):
        return HEAD
    raise ChromTransferError(f"'{name}' is not the name of a tensor of a ChromTransfer network.")


class Trunk(nn.Module):
    """Everything up to and including global average pooling; 554,144 parameters at width 1.

    (B, 4, L) one-hot -> (B, 64 * width) features, for any L >= 1. All layers keep the length; the receptive
    field of one position is 202 bp.

    Parameters
    ----------
    width, dropout, momentum, eps : float
        See :class:`~chromtransfer_plugin.defaults.Architecture`.
    cut : str
        One of :data:`LEVELS`: the trunk ends with the output of this level; what the paper has above it, up to
        the pooling, does not exist. Cut inside ``narrow.*``, the features are the output of that one block, not
        the concatenation. There are half as many features after ``reduce`` and ``narrow.*``.
    """

    def __init__(
        self,
        width: float = 1.0,
        dropout: float = 0.1,
        momentum: float = 0.01,
        eps: float = 1e-3,
        cut: Level = "last_conv",
    ):
        super().__init__()
        wide, narrow = max(1, round(64 * width)), max(1, round(32 * width))
        common = {"dropout": dropout, "momentum": momentum, "eps": eps}
        self.level_names = LEVELS[: LEVELS.index(cut) + 1]
        self.n_features = narrow if cut == "reduce" or cut.startswith("narrow.") else wide
        self.stem = ConvUnit(4, wide, 25, **common)
        if "reduce" in self.level_names:
            self.reduce = ShortcutBlock(wide, narrow, 20, **common)
        if n := self._blocks("narrow."):
            self.narrow = nn.ModuleList(IdentityBlock(narrow, 15, **common) for _ in range(n))
        if "expand" in self.level_names:
            self.expand = ShortcutBlock(3 * narrow, wide, 10, **common)
        if n := self._blocks("wide."):
            self.wide = nn.ModuleList(IdentityBlock(wide, 5, **common) for _ in range(n))
        if "top" in self.level_names:
            self.top = ConvUnit(wide, wide, 10, **common)
        if "last_conv" in self.level_names:
            self.last_conv = SameConv1d(wide, wide, 5)  # no batch norm, dropout or L2
            self.last_relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool1d(1)

    def _blocks(self, prefix: str) -> int:
        return sum(name.startswith(prefix) for name in self.level_names)

    def levels(self) -> dict[str, nn.Module]:
        """Map the level names, input to output, to the modules that own their parameters."""
        return {name: self.get_submodule(name) for name in self.level_names}

    def positions(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, n_features, L): the last feature map, before pooling."""
        merged: list[torch.Tensor] = []
        for name, level in self.levels().items():
            X = level(torch.cat(merged, dim=1) if name == "expand" else X)
            if name.startswith("narrow."):
                merged.append(X)
        return self.last_relu(X) if "last_conv" in self.level_names else X

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, n_features)."""
        return self.pool(self.positions(X)).squeeze(-1)


class ChromTransfer(nn.Module):
    """Trunk plus head; returns logits.

    Parameters
    ----------
    **settings
        Fields of :class:`~chromtransfer_plugin.defaults.Architecture`: ``head`` (hidden sizes), ``head_bn``,
        ``n_outputs``, ``width``, ``cut``, ``dropout``, ``trunk``, ...

    Raises
    ------
    ChromTransferError
        On an unknown or impossible setting, or an input that is not (B, 4, L) with L >= 1.

    Notes
    -----
    The public contract is ``model(X) == model.head(model.features(X))``. Sequences are (B, 4, L) float,
    channel order A, C, G, T, an unknown base is an all-zero column. The output is (B, n_outputs) logits:
    apply a sigmoid (or, with several exclusive classes, a softmax) for probabilities.
    """

    from_lua = False  # tells Selene that this is a native model

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.architecture = parse_architecture(settings)
        arch = self.architecture
        self.trunk: Trunk | MotifTrunk = (
            MotifTrunk(arch.motifs)
            if arch.trunk == "motifs"
            else Trunk(arch.width, arch.dropout, arch.bn_momentum, arch.bn_eps, arch.cut)
        )
        self.head = DenseHead(
            self.trunk.n_features,
            arch.head,
            arch.n_outputs,
            arch.head_bn,
            arch.dropout,
            arch.bn_momentum,
            arch.bn_eps,
            arch.feature_norm,
            arch.feature_dropout,
            arch.head_init,
        )

    def features(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_features) pooled features: of the whole trunk as in the paper, or up to ``cut``."""
        if X.dim() != 3 or X.shape[1] != 4 or X.shape[2] < 1:
            raise ChromTransferError(
                f"ChromTransfer network: expected one-hot input of shape (batch, 4, length >= 1), got {tuple(X.shape)}."
            )
        return self.trunk(X)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_outputs) logits."""
        return self.head(self.features(X))

    def levels(self) -> dict[str, nn.Module]:
        """Map the names of the trunk's levels, input to output, to the modules that own their parameters."""
        return self.trunk.levels()

    def l2_kernels(self) -> Iterator[torch.Tensor]:
        """Yield the kernels under L2: the trunk convolutions that are followed by batch norm (20 of 21).

        Under an adapter (:mod:`chromtransfer_plugin.transfer.adapters`) that is the kernel it adapts, which is
        frozen, not the adapted one.
        """
        for module in self.trunk.modules():
            if isinstance(module, ConvUnit):
                own = module.conv.conv.named_parameters()
                yield next(p for name, p in own if name in ("weight", "parametrizations.weight.original"))
