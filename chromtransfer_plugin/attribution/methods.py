"""One entrance to all methods of attribution, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.completeness import observed
from chromtransfer_plugin.attribution.deep_lift import deep_lift_shap
from chromtransfer_plugin.attribution.gradients import gradient_x_input
from chromtransfer_plugin.attribution.integrated import integrated_gradients
from chromtransfer_plugin.attribution.mutagenesis import ism, select_differences
from chromtransfer_plugin.attribution.objective import Activation
from chromtransfer_plugin.attribution.settings import Settings
from chromtransfer_plugin.attribution.tensors import codes_of
from chromtransfer_plugin.onehot import N_CODE

if TYPE_CHECKING:
    import torch
    from torch import nn

Scores = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def attribute_codes(
    network: nn.Module,
    codes: np.ndarray | torch.Tensor,
    settings: Settings,
    *,
    target: int = 0,
    activation: Activation = "sigmoid",
    device: str | None = None,
    hypothetical: bool = False,
    progress: bool = False,
) -> Scores:
    """Score sequences by the method that the settings name.

    Parameters
    ----------
    network : nn.Module
        Maps (B, 4, L) one-hot to (B, n_outputs) logits. Left as it was.
    codes : array
        Base codes (n, L) integers (0-3 = A, C, G, T, anything else = unknown).
    settings : Settings
    target : int
        Which output.
    activation : {"sigmoid", "softmax"}
        What makes probabilities of logits, as the model's card says.
    device : str or None
        None runs where the network is; ``auto`` uses CUDA if present.
    hypothetical : bool
        Also give scores of all four bases, as TF-MoDISco wants them: above 0 for a base that would raise the output.
    progress : bool
        Show a bar with rate and ETA.

    Returns
    -------
    scores : ndarray, shape (n, L), float32
        0 at unknown bases. The scores of a sequence do not depend on the other sequences, at most by rounding.
    hypothetical : ndarray, shape (n, 4, L), float32, or None
        0 at unknown bases. At the observed base it is the score, except for ``ism``: its scores are mutant minus reference,
        below 0 for a base that matters. There it is the output with this base minus the mean of the outputs with each of
        the four bases in its place, which is above 0 for an observed base that matters.

    Raises
    ------
    ChromTransferError
        As the functions of the methods.
    """
    common: dict[str, Any] = {
        "output": settings.objective, "target": target, "activation": activation, "device": device,
        "batch_size": settings.batch_size, "progress": progress,
    }  # fmt: skip
    shuffled: dict[str, Any] = {"references": settings.references, "seed": settings.seed}
    match settings.method:
        case "gradient-x-input":
            return _by_gradient(network, codes, hypothetical, common)
        case "integrated-gradients":
            found = integrated_gradients(
                network, codes, steps=settings.steps, baseline=settings.baseline, hypothetical=hypothetical,
                **shuffled, **common,
            )  # fmt: skip
            return found.scores, found.hypothetical
        case "deep-lift-shap":
            found = deep_lift_shap(network, codes, hypothetical=hypothetical, **shuffled, **common)
            return found.scores, found.hypothetical
        case "ism":
            return _by_mutagenesis(network, codes, settings, hypothetical, common)


def _by_gradient(
    network: nn.Module, codes: np.ndarray | torch.Tensor, hypothetical: bool, common: dict[str, Any]
) -> Scores:
    import torch

    found = gradient_x_input(network, codes, hypothetical=hypothetical, **common)
    if not hypothetical:
        return found, None
    return observed(codes_of("gradient x input", codes), torch.from_numpy(found)), found


def _by_mutagenesis(
    network: nn.Module,
    codes: np.ndarray | torch.Tensor,
    settings: Settings,
    hypothetical: bool,
    common: dict[str, Any],
) -> Scores:
    found = ism(
        network, codes, select=settings.select, method=settings.ism_method, raw=hypothetical, **common
    )
    if not hypothetical:
        return found, None
    known = codes_of("ism", codes).numpy()
    every = (found - found.mean(axis=1, keepdims=True)) * (known != N_CODE)[:, None]
    return select_differences(found, known, settings.select), every
