"""The model class of exported Kipoi model folders."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from kipoi.model import BaseModel
from numpy.typing import NDArray

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.device import pick_device
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi import compat
from chromtransfer_plugin.predict import predict_logits, probabilities

compat.apply()

DEVICE_VARIABLE = "CHROMTRANSFER_DEVICE"


class ChromTransferModel(BaseModel):
    """A checkpoint as a Kipoi model that returns probabilities.

    Parameters
    ----------
    checkpoint : path
        Checkpoint folder. The exported ``model.yaml`` says ``.``: Kipoi makes the model folder the working
        directory while it constructs a model.
    device : str, optional
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. By default the environment variable
        ``CHROMTRANSFER_DEVICE`` (Kipoi's command line has no option for it), else ``auto``.
    unknown_is_quarter : bool
        Sequences are encoded by kipoiseq, which writes an unknown base as 0.25 four times and a lower-case one as
        zeros, so as if it were unknown: warn of those.

    Attributes
    ----------
    model : ChromTransfer or Ensemble
        The network or networks, in evaluation mode, on the device.
    card : Card

    Raises
    ------
    ChromTransferError
        If the checkpoint is missing, truncated, altered or of another architecture, or the device is absent.
    """

    # `kipoi test` warns unless a dependency contains this text; "torch" finds pip's and conda's name.
    MODEL_PACKAGE = "torch"

    def __init__(
        self, checkpoint: str | Path, device: str | None = None, unknown_is_quarter: bool = False
    ) -> None:
        self._warns_of_zeros = unknown_is_quarter
        self._folder = Path.cwd()
        self._test: Any = None
        target = pick_device(device or os.environ.get(DEVICE_VARIABLE) or "auto")
        self.model, self.card = load_model(Path(checkpoint).resolve())
        self.model.to(target)

    @property
    def test(self) -> Any:
        """Section ``test`` of ``model.yaml``, which Kipoi attaches after construction."""
        return self._test

    @test.setter
    def test(self, test: Any) -> None:
        compat.anchor_expectation(test, self._folder)
        self._test = test

    def predict_on_batch(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities of a batch.

        Parameters
        ----------
        x : ndarray, shape (B, 4, L)
            One-hot, channels first in the order A, C, G, T; an unknown base is an all-zero column, or one of 0.25, as
            kipoiseq writes it.

        Returns
        -------
        ndarray of float32, shape (B, n_outputs)
            In the order of ``card.outputs``. NaN where a window has no known base at all.
        """
        if x.shape[-1] != self.card.window:
            warnings.warn(
                f"the model was trained on windows of {self.card.window} bp and is given {x.shape[-1]} bp. "
                f"The probabilities may be meaningless; set the dataloader's width to {self.card.window}.",
                ChromTransferWarning,
                stacklevel=2,
            )
        if self._warns_of_zeros and not x.any(axis=1).all():
            warnings.warn(
                "some bases are all-zero columns and count as unknown: kipoiseq makes them of lower-case (soft-masked) "
                "letters. Use an upper-case genome.",
                ChromTransferWarning,
                stacklevel=2,
            )
        x = np.where((x == 0.25).all(axis=1, keepdims=True), 0, x)
        return probabilities(predict_logits(self.model, x), self.card.activation)
