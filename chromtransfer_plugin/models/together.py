"""Several models on the same batch: a trunk that they have in common runs once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.models.trunk_groups import trunk_groups


class Together:
    """Logits of several models; trunks that are equal, tensor by tensor, share their features.

    Models of one frozen trunk, or of one bank of known motifs, differ in their heads only, which cost next to nothing.

    Parameters
    ----------
    models : sequence of ChromTransfer or Ensemble
        In evaluation mode, on one device. Their weights must not change afterwards.
    """

    def __init__(self, models: Sequence[ChromTransfer | Ensemble]) -> None:
        self._models = list(models)
        members = [model.networks if isinstance(model, Ensemble) else [model] for model in self._models]
        self._networks = [network for networks in members for network in networks]
        groups = iter(trunk_groups(self._networks))
        self._trunks = [[next(groups) for _ in networks] for networks in members]

    @property
    def n_trunks(self) -> int:
        """Number of different trunks, each of which runs once for a batch."""
        return len(self.networks)

    @property
    def networks(self) -> list[ChromTransfer]:
        """One network of each different trunk."""
        return [self._networks[trunk] for trunk in sorted({t for trunks in self._trunks for t in trunks})]

    def __call__(self, X: torch.Tensor) -> list[torch.Tensor]:
        """(B, 4, L) one-hot -> for each model its (B, n_outputs) logits."""
        return self.logits(lambda network: network.features(X))

    def logits(self, features_of: Callable[[ChromTransfer], torch.Tensor]) -> list[torch.Tensor]:
        """Give each model's (B, n_outputs) logits from features that are asked for once for each of ``networks``."""
        features: dict[int, torch.Tensor] = {}
        logits = []
        for model, trunks in zip(self._models, self._trunks, strict=True):
            for trunk in trunks:
                if trunk not in features:
                    features[trunk] = features_of(self._networks[trunk])
            logits.append(model.head(torch.cat([features[trunk] for trunk in trunks], dim=1)))
        return logits
