"""Selene's evaluation and analysis with checked weights, the device you asked for, and our treatment of N."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import selene_sdk.evaluate_model
import selene_sdk.predict.model_predict
import selene_sdk.sequences
import torch

from chromtransfer_plugin.checkpoint import find_checkpoint, load_state, make_folder, read_card, read_weights
from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.device import pick_device
from chromtransfer_plugin.errors import ChromTransferError, reject_unknown
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.selene.sampler import RegionSampler


class Genome(selene_sdk.sequences.Genome):
    """Selene's genome with unknown bases as all-zero rows, as in training; Selene writes 0.25 four times.

    Parameters
    ----------
    input_path : str
        FASTA, plain or bgzip.
    """

    def get_encoding_from_coords(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """(L, 4) one-hot; see Selene."""
        return _unknown_to_zero(super().get_encoding_from_coords(*args, **kwargs))

    def get_encoding_from_coords_check_unk(self, *args: Any, **kwargs: Any) -> tuple[np.ndarray, bool]:
        """(L, 4) one-hot, and whether it has an unknown base; see Selene."""
        encoding, unknown = super().get_encoding_from_coords_check_unk(*args, **kwargs)
        return _unknown_to_zero(encoding), unknown

    @classmethod
    def sequence_to_encoding(cls, sequence: str) -> np.ndarray:
        """Text of L letters -> (L, 4) one-hot."""
        return _unknown_to_zero(super().sequence_to_encoding(sequence))


def _unknown_to_zero(encoding: np.ndarray) -> np.ndarray:
    return np.where(encoding == 1, encoding, 0)


@contextmanager
def _selene_weights(checkpoint: str, model: ChromTransfer) -> Iterator[str]:
    """Yield a plain state-dict file of our checkpoint, for Selene's loader.

    Selene assigns weights by position, or silently not at all; here they are first loaded by name, and any
    misfit is an error.
    """
    folder = find_checkpoint(checkpoint)
    tensors = read_weights(folder, read_card(folder))
    load_state(model, tensors, str(folder))
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "state_dict.pth")
        torch.save(tensors, path)
        yield path


def _check_model(where: str, model: torch.nn.Module) -> None:
    if not isinstance(model, ChromTransfer):
        raise ChromTransferError(f"{where}: expected a ChromTransfer network, got {type(model).__name__}.")


class EvaluateModel(selene_sdk.evaluate_model.EvaluateModel):
    """Evaluate a checkpoint on the sampler's test windows; writes Selene's usual files with probabilities.

    Parameters
    ----------
    trained_model_path : str
        Our checkpoint folder (``best_model`` of a training run).
    batch_size : int
    device : {"auto", "cpu", "cuda"}

    Notes
    -----
    Use the model class ``ChromTransferProbability``, whose outputs are what the files should hold.
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
        reject_unknown("evaluate_model EvaluateModel", unknown, EvaluateModel.__init__.__annotations__)
        _check_model("evaluate_model EvaluateModel", model)
        if not trained_model_path or not output_dir:
            raise ChromTransferError("evaluate_model: `trained_model_path` and `output_dir` are required.")
        make_folder(Path(output_dir))
        del criterion  # the model returns probabilities here, so the loss is the cross-entropy of those
        loss = torch.nn.BCELoss() if data_sampler.activation == "sigmoid" else _CategoricalLoss()
        with _selene_weights(trained_model_path, model) as weights:  # type: ignore[arg-type]
            super().__init__(
                model,
                loss,
                data_sampler,
                data_sampler.features,
                weights,
                output_dir,
                batch_size=batch_size,
                use_cuda=pick_device(device).type == "cuda",
                **({"metrics": metrics} if metrics else {}),
            )


class _CategoricalLoss(torch.nn.Module):
    """Mean cross-entropy of class probabilities (B, T) against one-hot targets (B, T)."""

    def forward(self, p: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -(targets * p.clamp_min(1e-12).log()).sum(dim=1).mean()


class AnalyzeSequences(selene_sdk.predict.model_predict.AnalyzeSequences):
    """Selene's analyses (predictions, in-silico mutagenesis, variants) with one of our checkpoints.

    Parameters
    ----------
    trained_model_path : str
        Our checkpoint folder.
    sequence_length : int
        bp.
    features : list of str
        Default: the output names in the checkpoint's card.
    reference_sequence : Genome
        ``!obj:chromtransfer_plugin.selene.Genome {input_path: ...}``.
    batch_size : int
    device : {"auto", "cpu", "cuda"}

    Notes
    -----
    Selene 0.6 scores every deletion on a shifted sequence; see docs/selene.md.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        trained_model_path: str = "",
        sequence_length: int = WINDOW,
        features: list[str] | None = None,
        reference_sequence: selene_sdk.sequences.Genome | None = None,
        batch_size: int = 64,
        device: str = "auto",
        write_mem_limit: int = 1500,
        **unknown: Any,
    ) -> None:
        reject_unknown(
            "analyze_sequences AnalyzeSequences", unknown, AnalyzeSequences.__init__.__annotations__
        )
        _check_model("analyze_sequences AnalyzeSequences", model)
        if not trained_model_path or reference_sequence is None:
            raise ChromTransferError(
                "analyze_sequences: `trained_model_path` and `reference_sequence` are required."
            )
        card = read_card(find_checkpoint(trained_model_path))
        with _selene_weights(trained_model_path, model) as weights:  # type: ignore[arg-type]
            super().__init__(
                model,
                weights,
                sequence_length,
                features or card.outputs,
                batch_size=batch_size,
                use_cuda=pick_device(device).type == "cuda",
                reference_sequence=reference_sequence,
                write_mem_limit=write_mem_limit,
            )

    def get_predictions(
        self, input_path: str, output_dir: str | None = None, output_format: str = "tsv", **kwargs: Any
    ) -> Any:
        """Predict a BED or FASTA file (see Selene), creating the output folder that Selene expects to exist."""
        if not os.path.exists(input_path) and output_dir is not None:
            raise ChromTransferError(f"{input_path}: no such BED or FASTA file (`prediction: input_path`).")
        if output_dir is not None:
            make_folder(Path(output_dir))
        return super().get_predictions(input_path, output_dir, output_format, **kwargs)
