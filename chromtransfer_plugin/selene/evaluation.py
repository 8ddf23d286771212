"""Selene's evaluation with checked weights and the device you asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import selene_sdk.evaluate_model
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from chromtransfer_plugin.errors import ChromTransferError, keyword_names, reject_unknown
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.metrics import known_only
from chromtransfer_plugin.selene.predictor import GIVEN_BY_SELENE, Predictor, check_model, use_cuda_of
from chromtransfer_plugin.selene.sampler import RegionSampler, check_outputs


class EvaluateModel(selene_sdk.evaluate_model.EvaluateModel):
    """Evaluate a checkpoint, of one network or an ensemble, on the sampler's test windows.

    Writes Selene's usual files with probabilities.

    Parameters
    ----------
    trained_model_path : str
        Our checkpoint folder (``best_model`` of a training run).
    batch_size : int
    device : {"auto", "cpu", "cuda", "cuda:N"}

    Notes
    -----
    Use the model class ``ChromTransferProbability``, whose outputs are what the files should hold. For an ensemble its
    ``class_args`` are those of one member.

    With several tasks, unknown targets (NaN in ``test_targets.npz``) count neither in the loss nor in the metrics;
    Selene's figures leave such tasks out.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        criterion: torch.nn.Module,
        data_sampler: RegionSampler,
        trained_model_path: str = "",
        output_dir: str = "",
        batch_size: int = 64,
        device: str = "auto",
        metrics: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        where = "evaluate_model EvaluateModel"
        reject_unknown(where, unknown, keyword_names(EvaluateModel, GIVEN_BY_SELENE))
        check_model(where, model)
        if not getattr(model, "gives_probabilities", False):
            raise ChromTransferError(
                f"{where}: the files should hold probabilities: use `class: ChromTransferProbability` in `model`."
            )
        if not isinstance(data_sampler, RegionSampler):
            raise ChromTransferError(f"{where}: evaluates on a chromtransfer_plugin.selene.RegionSampler.")
        check_outputs(where, model, data_sampler)  # type: ignore[arg-type]
        if not trained_model_path or not output_dir:
            raise ChromTransferError(f"{where}: `trained_model_path` and `output_dir` are required.")
        predictor = Predictor(trained_model_path, model)  # type: ignore[arg-type]
        _check_outputs(where, predictor, data_sampler)
        make_folder(Path(output_dir))
        del criterion  # the model returns probabilities here, so the loss is the cross-entropy of those
        loss = _BinaryLoss() if data_sampler.activation == "sigmoid" else _CategoricalLoss()
        chosen = metrics or {"roc_auc": roc_auc_score, "average_precision": average_precision_score}
        with predictor.selene_weights() as weights:
            super().__init__(
                predictor,
                loss,
                data_sampler,
                data_sampler.features,
                weights,
                output_dir,
                batch_size=batch_size,
                use_cuda=use_cuda_of(device),
                metrics={name: known_only(metric) for name, metric in chosen.items()},
            )


def _check_outputs(where: str, predictor: Predictor, sampler: RegionSampler) -> None:
    """Refuse other outputs than the checkpoint's; the name of a single one is free."""
    card = predictor.card
    several = len(sampler.features) > 1
    if several and (card.outputs != sampler.features or card.activation != sampler.activation):
        key = "classes" if sampler.activation == "softmax" else "tasks"
        kind = "classes" if card.activation == "softmax" else "tasks"
        raise ChromTransferError(
            f"{where}: the checkpoint's {kind} are {card.outputs}, the sampler's {sampler.features}: list "
            f"`{key}` in the checkpoint's order."
        )


class _BinaryLoss(torch.nn.Module):
    """Cross-entropy of probabilities (B, T) against 0/1/NaN targets: mean over windows of the mean over known outputs."""

    def forward(self, p: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        known = ~torch.isnan(targets)
        each = torch.nn.functional.binary_cross_entropy(p, torch.where(known, targets, 0.0), reduction="none")
        return (torch.where(known, each, 0.0).sum(dim=1) / known.sum(dim=1)).mean()


class _CategoricalLoss(torch.nn.Module):
    """Mean cross-entropy of class probabilities (B, T) against one-hot targets (B, T)."""

    def forward(self, p: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -(targets * p.clamp_min(1e-12).log()).sum(dim=1).mean()
