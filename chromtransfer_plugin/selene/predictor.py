"""Our checkpoints as Selene's evaluation and analysis take them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from chromtransfer_plugin.checkpoint import find_checkpoint, load_model, load_state
from chromtransfer_plugin.device import pick_device
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.predict import probabilities


class Predictor(torch.nn.Module):
    """The network, or the ensemble, of a checkpoint, giving what the model class of the YAML file gives.

    Parameters
    ----------
    checkpoint : str
    given : ChromTransfer
        The model of the YAML file: it must fit the checkpoint, and says whether probabilities are wanted.
    """

    from_lua = False

    def __init__(self, checkpoint: str, given: ChromTransfer) -> None:
        super().__init__()
        folder = _checkpoint(checkpoint)
        self.network, self.card = load_model(folder)
        one = self.network.networks[0] if isinstance(self.network, Ensemble) else self.network
        load_state(given, one.state_dict(), str(find_checkpoint(folder)))
        self.probabilities = bool(getattr(given, "gives_probabilities", False))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) one-hot -> (B, n_outputs) logits or probabilities."""
        logits = self.network(X)
        return probabilities(logits, self.card.activation) if self.probabilities else logits

    @contextmanager
    def selene_weights(self) -> Iterator[str]:
        """Yield a plain state-dict file, for Selene's loader.

        Selene assigns weights by position, or silently not at all; the file has them in the order of this model.
        """
        with tempfile.TemporaryDirectory() as temporary:
            path = os.path.join(temporary, "state_dict.pth")
            torch.save(self.state_dict(), path)
            yield path


def _checkpoint(path: str) -> str | Path:
    """Give the folder of a model of the zoo for its name; a path stays as it is."""
    if os.path.exists(path):
        return path
    from chromtransfer_plugin.zoo.source import find_model

    found = find_model(path)
    if found is None:
        raise ChromTransferError(
            f"{path}: no such checkpoint folder, and no model of the zoo has this name; `chromtransfer zoo list` shows "
            "them."
        )
    return found


# Arguments that Selene fills in; a user does not write them.
GIVEN_BY_SELENE = {"model", "criterion", "data_sampler", "output_dir"}


def use_cuda_of(device: str) -> bool:
    """Turn a device into Selene's flag; Selene itself always takes the current CUDA device."""
    picked = pick_device(device)
    if picked.type == "cuda" and picked.index is not None:
        torch.cuda.set_device(picked)
    return picked.type == "cuda"


def check_model(where: str, model: torch.nn.Module) -> None:
    """Refuse other networks than ours."""
    if not isinstance(model, ChromTransfer):
        raise ChromTransferError(f"{where}: expected a ChromTransfer network, got {type(model).__name__}.")
