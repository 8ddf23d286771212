"""Selene's evaluation and analysis with checked weights, the device you asked for, and our treatment of N."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import selene_sdk.evaluate_model
import selene_sdk.predict.model_predict
import selene_sdk.sequences
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from chromtransfer_plugin.checkpoint import find_checkpoint, load_model, load_state
from chromtransfer_plugin.constants import WINDOW
from chromtransfer_plugin.device import pick_device
from chromtransfer_plugin.errors import ChromTransferError, keyword_names, reject_unknown
from chromtransfer_plugin.files import make_folder
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.metrics import known_only
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.predict import probabilities
from chromtransfer_plugin.selene.sampler import RegionSampler, check_outputs


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


class _Predictor(torch.nn.Module):
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
        self.network, self.card = load_model(checkpoint)
        one = self.network.networks[0] if isinstance(self.network, Ensemble) else self.network
        load_state(given, one.state_dict(), str(find_checkpoint(checkpoint)))
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


# Arguments that Selene fills in; a user does not write them.
_GIVEN_BY_SELENE = {"model", "criterion", "data_sampler", "output_dir"}


def _use_cuda(device: str) -> bool:
    """Turn a device into Selene's flag; Selene itself always takes the current CUDA device."""
    picked = pick_device(device)
    if picked.type == "cuda" and picked.index is not None:
        torch.cuda.set_device(picked)
    return picked.type == "cuda"


def _check_model(where: str, model: torch.nn.Module) -> None:
    if not isinstance(model, ChromTransfer):
        raise ChromTransferError(f"{where}: expected a ChromTransfer network, got {type(model).__name__}.")


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
        reject_unknown(where, unknown, keyword_names(EvaluateModel, _GIVEN_BY_SELENE))
        _check_model(where, model)
        if not getattr(model, "gives_probabilities", False):
            raise ChromTransferError(
                f"{where}: the files should hold probabilities: use `class: ChromTransferProbability` in `model`."
            )
        if not isinstance(data_sampler, RegionSampler):
            raise ChromTransferError(f"{where}: evaluates on a chromtransfer_plugin.selene.RegionSampler.")
        check_outputs(where, model, data_sampler)  # type: ignore[arg-type]
        if not trained_model_path or not output_dir:
            raise ChromTransferError(f"{where}: `trained_model_path` and `output_dir` are required.")
        predictor = _Predictor(trained_model_path, model)  # type: ignore[arg-type]
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
                use_cuda=_use_cuda(device),
                metrics={name: known_only(metric) for name, metric in chosen.items()},
            )


def _check_outputs(where: str, predictor: _Predictor, sampler: RegionSampler) -> None:
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


class AnalyzeSequences(selene_sdk.predict.model_predict.AnalyzeSequences):
    """Selene's analyses (predictions, in-silico mutagenesis, variants) with one of our checkpoints.

    Parameters
    ----------
    trained_model_path : str
        Our checkpoint folder; of an ensemble, the model's ``class_args`` are those of one member.
    sequence_length : int
        bp.
    features : list of str
        Default: the output names in the checkpoint's card.
    reference_sequence : Genome
        ``!obj:chromtransfer_plugin.selene.Genome {input_path: ...}``.
    batch_size : int
    device : {"auto", "cpu", "cuda", "cuda:N"}

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
        reference_sequence: Genome | None = None,
        batch_size: int = 64,
        device: str = "auto",
        write_mem_limit: int = 1500,
        **unknown: Any,
    ) -> None:
        where = "analyze_sequences AnalyzeSequences"
        reject_unknown(where, unknown, keyword_names(AnalyzeSequences, _GIVEN_BY_SELENE))
        _check_model(where, model)
        if not trained_model_path or reference_sequence is None:
            raise ChromTransferError(f"{where}: `trained_model_path` and `reference_sequence` are required.")
        if not isinstance(reference_sequence, Genome):
            raise ChromTransferError(
                f"{where}: `reference_sequence` must be a chromtransfer_plugin.selene.Genome: other genomes encode "
                "unknown bases differently than in training."
            )
        predictor = _Predictor(trained_model_path, model)  # type: ignore[arg-type]
        with predictor.selene_weights() as weights:
            super().__init__(
                predictor,
                weights,
                sequence_length,
                features or predictor.card.outputs,
                batch_size=batch_size,
                use_cuda=_use_cuda(device),
                reference_sequence=reference_sequence,
                write_mem_limit=write_mem_limit,
            )

    def get_predictions(
        self,
        input_path: str = "",
        output_dir: str | None = None,
        output_format: str = "tsv",
        strand_index: int | None = None,
        **unknown: Any,
    ) -> Any:
        """Predict a BED or FASTA file, or the sequence itself if there is no ``output_dir`` (see Selene).

        Creates the output folder, which Selene expects to exist.
        """
        reject_unknown("prediction", unknown, keyword_names(self.get_predictions))
        if output_format not in ("tsv", "hdf5"):
            raise ChromTransferError(
                f"prediction: output_format '{output_format}' is unknown: use tsv or hdf5."
            )
        if output_dir is not None:
            if not os.path.isfile(input_path):
                raise ChromTransferError(
                    f"{input_path}: no such BED or FASTA file (`prediction: input_path`)."
                )
            make_folder(Path(output_dir))
        return super().get_predictions(input_path, output_dir, output_format, strand_index)

    def _get_sequences_from_bed_file(self, input_path: str, *args: Any, **kwargs: Any) -> tuple[list, list]:
        """Read a BED file as Selene does, but say what it leaves out."""
        try:
            sequences, labels = super()._get_sequences_from_bed_file(input_path, *args, **kwargs)
        except UnicodeDecodeError as error:
            raise ChromTransferError(
                f"{input_path}: not text; Selene reads plain BED files: unpack it."
            ) from error
        with open(input_path) as lines:
            dropped = sum(1 for _ in lines) - len(labels)
        if not labels:
            raise ChromTransferError(
                f"{input_path}: none of its {dropped} lines is a window (chrom, start, end separated by tabs) on "
                f"{self.reference_sequence.input_path}."
            )
        if dropped:
            warnings.warn(
                f"{input_path}: {dropped} lines are not windows of the genome and are left out; see the .NA file.",
                ChromTransferWarning,
                stacklevel=2,
            )
        return sequences, labels
