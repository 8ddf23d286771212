"""Several models on sequences and on copies of them that differ in one base, of which only what differs is computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.models.motif_trunk import MotifTrunk
from chromtransfer_plugin.models.substituted_motifs import SubstitutedMotifs
from chromtransfer_plugin.models.substituted_trunk import SubstitutedTrunk, Substitutions
from chromtransfer_plugin.models.together import Together
from chromtransfer_plugin.models.windowed import is_windowable
from chromtransfer_plugin.models.windowed_motifs import are_windowable
from chromtransfer_plugin.onehot import one_hot_tensor

__all__ = ["Substitutions", "TogetherSubstituted"]


class TogetherSubstituted:
    """Logits of several models, those of whole forward passes up to rounding.

    A trunk that several models have in common runs once. Of a trunk that is not made of our own layers, or that a hook
    listens to, the copies are run as whole sequences.

    Parameters
    ----------
    models : sequence of ChromTransfer or Ensemble
        In evaluation mode, on one device. Their weights must not change afterwards.
    """

    def __init__(self, models: Sequence[ChromTransfer | Ensemble]) -> None:
        self._together = Together(models)
        self._trunks = {id(network): _substituted(network) for network in self._together.networks}

    def __call__(self, codes: torch.Tensor, copies: Substitutions | None = None) -> list[torch.Tensor]:
        """Give for each model its logits (B + n, n_outputs) of the sequences, then of the copies.

        Parameters
        ----------
        codes : torch.Tensor
            (B, L) uint8, 0 to 4, on the models' device.
        copies : Substitutions, optional
            On the same device.
        """
        X = one_hot_tensor(codes)

        def features(network: ChromTransfer) -> torch.Tensor:
            trunk = self._trunks[id(network)]
            if isinstance(trunk, SubstitutedMotifs):
                return torch.cat(trunk.features(codes, copies))
            if copies is None:
                return network.features(X)
            if trunk is None:
                return network.features(torch.cat([X, one_hot_tensor(copies.whole(codes))]))
            return torch.cat(trunk.features(X, one_hot_tensor(copies.codes[:, None]), copies))

        return self._together.logits(features)


def _substituted(network: ChromTransfer) -> SubstitutedTrunk | SubstitutedMotifs | None:
    trunk = network.trunk
    if type(network) is not ChromTransfer or "features" in vars(network):
        return None
    if {"forward", "positions"} & vars(trunk).keys():  # replaced on this one
        return None
    if any(parameter.dtype != torch.float32 for parameter in trunk.parameters()):
        return None
    if isinstance(trunk, MotifTrunk):
        return SubstitutedMotifs(trunk) if are_windowable(trunk) else None
    return SubstitutedTrunk(trunk) if is_windowable(trunk) else None
