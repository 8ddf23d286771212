"""Several networks as one model: the mean of their logits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.trunk_groups import trunk_groups


class MeanHead(nn.Module):
    """Mean of the logits of several heads, each on its own slice of the features.

    (B, n_heads * n_features) -> (B, n_outputs).
    """

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, n_heads * n_features) -> (B, n_outputs) logits."""
        slices = z.chunk(len(self.heads), dim=1)
        return torch.stack([head(part) for head, part in zip(self.heads, slices, strict=True)]).mean(dim=0)


class Ensemble(nn.Module):
    """Networks of one architecture that answer together: logits are the mean of the members' logits.

    Parameters
    ----------
    members : sequence of ChromTransfer
        At least two; kept, not copied. The tensors of the first are named ``members.0...``.

    Attributes
    ----------
    members : nn.ModuleList
    architecture : Architecture
        Of each member.
    n_features : int
        Of all members together.

    Raises
    ------
    ChromTransferError
        If there are fewer than two members or their architectures differ.

    Notes
    -----
    As for one network, ``model(X) == model.head(model.features(X))``, and every module is used once in a forward
    pass, as DeepLIFT needs it. It is made for inference: to train or transfer, take one member.
    """

    from_lua = False  # tells Selene that this is a native model

    def __init__(self, members: Sequence[ChromTransfer]) -> None:
        super().__init__()
        if len(members) < 2:
            raise ChromTransferError(
                f"ensemble: {len(members)} network(s) given, an ensemble has at least two."
            )
        self.architecture: Architecture = members[0].architecture
        for number, member in enumerate(members):
            if member.architecture != self.architecture:
                raise ChromTransferError(
                    f"ensemble: member {number} has another architecture ({_difference(self.architecture, member)}); "
                    "all members must have the same."
                )
        self.members = nn.ModuleList(members)
        self.n_features = sum(member.trunk.n_features for member in members)

    @property
    def networks(self) -> list[ChromTransfer]:
        """The members as a list."""
        return [member for member in self.members if isinstance(member, ChromTransfer)]

    @property
    def head(self) -> MeanHead:
        """The members' heads as one; its modules are theirs."""
        return MeanHead(member.head for member in self.networks)

    @property
    def trunk(self) -> nn.Module:
        """Refuse with a :class:`ChromTransferError`: which member's trunk should it be?"""
        raise self._no_trunk()

    def levels(self) -> dict[str, nn.Module]:
        """Refuse with a :class:`ChromTransferError`, as ``trunk`` does."""
        raise self._no_trunk()

    def _no_trunk(self) -> ChromTransferError:
        return ChromTransferError(
            f"this model is an ensemble of {len(self.members)} networks and has no single trunk to transfer or train. "
            "Name the checkpoint of one member, such as `fold_0` in the folder of the run that trained it."
        )

    def features(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_features): the members' features, one after the other.

        Members that share a trunk of known motifs, as those of one run do, need it once.
        """
        networks = self.networks
        shared = self.architecture.trunk == "motifs" and not networks[0].trunk.training
        if shared and not any(trunk_groups(networks)):
            return networks[0].features(X).repeat(1, len(networks))
        return torch.cat([member.features(X) for member in networks], dim=1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_outputs) logits."""
        return self.head(self.features(X))


def _difference(architecture: Architecture, member: ChromTransfer) -> str:
    ours, theirs = architecture.model_dump(), member.architecture.model_dump()
    return ", ".join(
        f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if ours[key] != theirs[key]
    )
