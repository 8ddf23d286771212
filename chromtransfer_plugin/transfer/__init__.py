"""Transfer learning: cut a trained trunk, put it under a new head, and choose what may still change.

One word per module: ``cut`` (which levels come along), ``modes`` (what trains and when), ``groups`` (learning
rates, L2 and L2-SP), ``adapters`` (LoRA, IA3), ``features`` (cached features of a frozen trunk), ``report`` (what
moved).
"""

from chromtransfer_plugin.transfer.adapter_files import load_adapter_file, save_adapters
from chromtransfer_plugin.transfer.adapters import (
    adapter_state,
    adapters_of,
    attach_adapters,
    detach_adapters,
    load_adapters,
    merge_adapters,
    merged_copy,
)
from chromtransfer_plugin.transfer.cut import TransferReport, fine_tuning_model, transfer_trunk
from chromtransfer_plugin.transfer.features import FeatureStore, cached_features
from chromtransfer_plugin.transfer.groups import L2SP, parameter_groups
from chromtransfer_plugin.transfer.modes import Phase, apply_phase, phase_at, phases, train_mode
from chromtransfer_plugin.transfer.report import Moved, what_moved

__all__ = [
    "L2SP",
    "FeatureStore",
    "Moved",
    "Phase",
    "TransferReport",
    "adapter_state",
    "adapters_of",
    "apply_phase",
    "attach_adapters",
    "cached_features",
    "detach_adapters",
    "fine_tuning_model",
    "load_adapter_file",
    "load_adapters",
    "merge_adapters",
    "merged_copy",
    "parameter_groups",
    "phase_at",
    "phases",
    "save_adapters",
    "train_mode",
    "transfer_trunk",
    "what_moved",
]
