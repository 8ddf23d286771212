"""Which networks have a trunk in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chromtransfer_plugin.models.chromtransfer import ChromTransfer

_SETTINGS = {"trunk", "width", "cut", "motifs", "bn_eps"}  # what features depend on beside the tensors


def trunk_groups(networks: Sequence[ChromTransfer]) -> list[int]:
    """Give for each network the number of the first one whose trunk has the same settings and equal tensors.

    In evaluation mode the features of that one are also its own. Networks of one frozen trunk, or of one bank of known
    motifs, are like that.
    """
    groups: list[int] = []
    for number, network in enumerate(networks):
        first = next((other for other in dict.fromkeys(groups) if _equal(networks[other], network)), number)
        groups.append(first)
    return groups


def _equal(a: ChromTransfer, b: ChromTransfer) -> bool:
    if a.architecture.model_dump(include=_SETTINGS) != b.architecture.model_dump(include=_SETTINGS):
        return False
    own, other = a.trunk.state_dict(), b.trunk.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)
