"""Transfer learning: cut a trained trunk, put it under a new head, and choose what may still change."""

from chromtransfer_plugin.transfer.cut import (
    TransferReport,
    fine_tuning_model,
    set_trainable,
    train_mode,
    transfer_trunk,
)

__all__ = ["TransferReport", "fine_tuning_model", "set_trainable", "train_mode", "transfer_trunk"]
