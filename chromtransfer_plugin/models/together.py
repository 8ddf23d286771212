"""Several models on the same batch: a trunk that they have in common runs once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble


class Together:
    """Logits of several models; trunks that are equal, tensor by tensor, share their features.

    Models of one frozen trunk, or of one bank of known motifs, differ in their heads only, which cost next to nothing.

    Parameters
    ----------
    models : sequence of ChromTransfer or Ensemble
        In evaluation mode. Their weights must not change afterwards.
    """

    def __init__(self, models: Sequence[ChromTransfer | Ensemble]) -> None:
        self._models = list(models)
        self._networks = [
            model.networks if isinstance(model, Ensemble) else [model] for model in self._models
        ]
        self._trunks = [[_identity(network) for network in networks] for networks in self._networks]

    @property
    def n_trunks(self) -> int:
        """Number of different trunks, each of which runs once for a batch."""
        return len({trunk for trunks in self._trunks for trunk in trunks})

    def __call__(self, X: torch.Tensor) -> list[torch.Tensor]:
        """(B, 4, L) one-hot -> for each model its (B, n_outputs) logits."""
        features: dict[str, torch.Tensor] = {}
        logits = []
        for model, networks, trunks in zip(self._models, self._networks, self._trunks, strict=True):
            for network, trunk in zip(networks, trunks, strict=True):
                if trunk not in features:
                    features[trunk] = network.features(X)
            logits.append(model.head(torch.cat([features[trunk] for trunk in trunks], dim=1)))
        return logits


def _identity(network: ChromTransfer) -> str:
    """Hash all that the features of a network in evaluation mode depend on."""
    shape = network.architecture.model_dump(include={"trunk", "width", "cut", "motifs", "bn_eps"})
    digest = hashlib.sha256(repr(sorted(shape.items())).encode())
    for name, tensor in network.trunk.state_dict().items():
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
