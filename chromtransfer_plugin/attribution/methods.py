"""One entrance to all methods of attribution, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.gradients import gradient_x_input
from chromtransfer_plugin.attribution.mutagenesis import ism
from chromtransfer_plugin.attribution.objective import Activation
from chromtransfer_plugin.attribution.settings import Baseline, MethodName, Settings, parse_settings
from chromtransfer_plugin.errors import ChromTransferError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Baseline", "MethodName", "Settings", "attribute_codes", "parse_settings"]


def attribute_codes(
    network: nn.Module,
    codes: NDArray[np.integer],
    settings: Settings,
    *,
    target: int = 0,
    activation: Activation = "sigmoid",
    device: str | None = None,
    hypothetical: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Scores (n, L) of sequences by the method that the settings name, and if asked for (n, 4, L) for every base."""
    if settings.method == "gradient-x-input":
        scores = gradient_x_input(
            network, codes, output=settings.objective, target=target, device=device,
            **({} if settings.batch_size is None else {"batch_size": settings.batch_size}),
        )  # fmt: skip
        return scores, None
    if settings.method == "ism":
        scores = ism(
            network, codes, output=settings.objective, activation=activation, target=target, select=settings.select,
            batch_size=settings.batch_size, device=device, method=settings.ism_method,
        )  # fmt: skip
        return scores, None
    raise ChromTransferError(f"attribution: method '{settings.method}' is not there yet.")
