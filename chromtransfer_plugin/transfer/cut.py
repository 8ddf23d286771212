"""Transfer learning: move a trained trunk under a new head and choose what may still change."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer


class TransferReport(NamedTuple):
    """Names of the tensors that came from the source, are new, and are trainable."""

    source: str
    transferred: list[str]
    new: list[str]
    trainable: list[str]
    smoke: bool = False  # the source comes from a smoke test

    def summary(self) -> str:
        """Several lines for the log: counts, then the names."""
        frozen = len(self.transferred) + len(self.new) - len(self.trainable)
        return "\n".join(
            [
                f"transfer from {self.source}: {len(self.transferred)} tensors transferred, {len(self.new)} new, "
                f"{len(self.trainable)} trainable, {frozen} not trainable (frozen weights and statistics)",
                "  transferred: " + ", ".join(self.transferred),
                "  new: " + ", ".join(self.new),
                "  trainable: " + ", ".join(self.trainable),
            ]
        )


def transfer_trunk(source: ChromTransfer, target: ChromTransfer) -> list[str]:
    """Copy the trunk's weights and statistics, bit for bit; the target's head is left as it is.

    The cut is at global average pooling (paper), so the last convolution is transferred.

    Returns
    -------
    list of str
        Names of the tensors copied.

    Raises
    ------
    ChromTransferError
        If the trunks differ in width.
    """
    if source.architecture.width != target.architecture.width:
        raise ChromTransferError(
            f"transfer: the pre-trained trunk has width {source.architecture.width}, the new model "
            f"{target.architecture.width}. Give the new model the same `width`."
        )
    target.trunk.load_state_dict(source.trunk.state_dict())
    return [f"trunk.{name}" for name in source.trunk.state_dict()]


def set_trainable(model: ChromTransfer, trainable: str = "full") -> None:
    """Let gradients reach the whole model (``full``) or only its head (``head``)."""
    if trainable not in ("full", "head"):
        raise ChromTransferError(f"trainable='{trainable}' is unknown: use 'full' or 'head'.")
    model.trunk.requires_grad_(trainable == "full")
    model.head.requires_grad_(True)


def train_mode(model: nn.Module, trainable: str, trunk_bn: str) -> None:
    """Switch to training mode, keeping what is frozen really frozen.

    A frozen trunk runs in evaluation mode: its batch-norm statistics do not move and it has no dropout.
    ``trunk_bn="eval"`` with a trainable trunk fixes the statistics but keeps learning gamma and beta,
    without trunk dropout, as an option of the authors' example script does.
    """
    model.train()
    if isinstance(model, ChromTransfer) and (trainable == "head" or trunk_bn == "eval"):
        model.trunk.eval()


def fine_tuning_model(
    checkpoint: str | Path, target: ChromTransfer, trainable: str = "full"
) -> TransferReport:
    """Prepare ``target`` for fine-tuning from a checkpoint and report tensor by tensor what was done.

    Parameters
    ----------
    checkpoint : path
        A pre-trained model (see :func:`~chromtransfer_plugin.checkpoint.load_model`).
    target : ChromTransfer
        A freshly initialised network; changed in place.
    trainable : {"full", "head"}
    """
    source, card = load_model(checkpoint)
    transferred = transfer_trunk(source, target)
    set_trainable(target, trainable)
    names = list(target.state_dict())
    return TransferReport(
        source=str(checkpoint),
        transferred=transferred,
        new=[name for name in names if name not in set(transferred)],
        trainable=[name for name, p in target.named_parameters() if p.requires_grad],
        smoke=bool(card.training.get("smoke")),
    )
