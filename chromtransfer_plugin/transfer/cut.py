"""Move a trained trunk, or its lower levels, under a new head."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, get_args

from chromtransfer_plugin.checkpoint import load_network
from chromtransfer_plugin.defaults import FINETUNE, Training
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import LEVELS, ChromTransfer
from chromtransfer_plugin.transfer.modes import phases, set_gradients


class TransferReport(NamedTuple):
    """Names of the tensors that came from the source, are new, and are trainable when training starts."""

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
                f"{len(self.trainable)} trainable at the start, {frozen} not (frozen weights and statistics)",
                "  transferred: " + ", ".join(self.transferred),
                "  new: " + ", ".join(self.new),
                "  trainable: " + ", ".join(self.trainable),
            ]
        )


def transfer_trunk(source: ChromTransfer, target: ChromTransfer, upto: str | None = None) -> list[str]:
    """Copy the trunk's weights and statistics, bit for bit, up to a level; the rest of the target is left as it is.

    Parameters
    ----------
    source, target : ChromTransfer
        The target is changed in place.
    upto : str or None
        Last level that is copied, one of :data:`~chromtransfer_plugin.models.chromtransfer.LEVELS`; the target's
        levels above it start anew. None: all of the target's levels. The paper cuts at global average pooling
        (``last_conv``), so the last convolution is transferred.

    Returns
    -------
    list of str
        Names of the tensors copied.

    Raises
    ------
    ChromTransferError
        If the trunks differ in width, the level is unknown, or one of the two networks ends below it.
    """
    if "motifs" in (source.architecture.trunk, target.architecture.trunk):
        return _transfer_motifs(source, target, upto)
    if source.architecture.width != target.architecture.width:
        raise ChromTransferError(
            f"transfer: the pre-trained trunk has width {source.architecture.width}, the new model "
            f"{target.architecture.width}. Give the new model the same `width`."
        )
    given, wanted = source.levels(), target.levels()
    last = upto or target.architecture.cut
    if last not in LEVELS:
        raise ChromTransferError(f"transfer: level '{last}' is unknown: use one of {', '.join(LEVELS)}.")
    if last not in given:
        raise ChromTransferError(
            f"transfer: the pre-trained trunk ends after '{source.architecture.cut}', it has no '{last}'. "
            f"Transfer up to '{source.architecture.cut}' (upto), or give the new model `cut: {source.architecture.cut}`."
        )
    if last not in wanted:
        raise ChromTransferError(
            f"transfer: the new model ends after '{target.architecture.cut}' (cut), it has no '{last}' (upto)."
        )
    copied = []
    for level in LEVELS[: LEVELS.index(last) + 1]:
        state = given[level].state_dict()
        wanted[level].load_state_dict(state)
        copied += [f"trunk.{level}.{name}" for name in state]
    return copied


def _transfer_motifs(source: ChromTransfer, target: ChromTransfer, upto: str | None) -> list[str]:
    own, other = target.architecture, source.architecture
    if (own.trunk, own.motifs) != (other.trunk, other.motifs) or upto is not None:
        raise ChromTransferError(
            f"transfer: the pre-trained trunk is '{other.trunk}' with motifs {list(other.motifs)}, the new one "
            f"'{own.trunk}' with {list(own.motifs)}, upto {upto}. A trunk of motifs is transferred whole, to its like."
        )
    target.trunk.load_state_dict(source.trunk.state_dict())
    return [f"trunk.{name}" for name in source.trunk.state_dict()]


def fine_tuning_model(
    checkpoint: str | Path, target: ChromTransfer, trainable: str = "full", upto: str | None = None
) -> TransferReport:
    """Prepare ``target`` for fine-tuning from a checkpoint and report tensor by tensor what was done.

    Parameters
    ----------
    checkpoint : path
        A pre-trained model (see :func:`~chromtransfer_plugin.checkpoint.load_network`).
    target : ChromTransfer
        A freshly initialised network; changed in place. Gradients reach what trains in the first phase of the
        mode; adapters are not attached yet.
    trainable : str
        A mode of :mod:`~chromtransfer_plugin.transfer.modes`.
    upto : str or None
        See :func:`transfer_trunk`.
    """
    modes = get_args(Training.model_fields["trainable"].annotation)
    if trainable not in modes:
        raise ChromTransferError(f"trainable='{trainable}' is unknown: use one of {', '.join(modes)}.")
    source, card = load_network(checkpoint)
    transferred = transfer_trunk(source, target, upto)
    first = phases(target, FINETUNE.model_copy(update={"trainable": trainable}))[0]
    set_gradients(target, first)
    copied = set(transferred)
    return TransferReport(
        source=str(checkpoint),
        transferred=transferred,
        new=[name for name in target.state_dict() if name not in copied],
        trainable=[name for name, p in target.named_parameters() if p.requires_grad],
        smoke=bool(card.training.get("smoke")),
    )
