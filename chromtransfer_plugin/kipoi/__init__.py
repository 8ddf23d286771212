"""Adapter to Kipoi: the classes a ``model.yaml`` names, and the export of a checkpoint to a model folder.

Importing Kipoi writes ``~/.kipoi/config.yaml``, so it happens only when one of its classes is asked for;
``export_model`` works without Kipoi.
"""

from __future__ import annotations

import importlib
from typing import Any

from chromtransfer_plugin import friendly

friendly.install()

_EXPORTS = {
    "ChromTransferModel": "model",
    "FastaDataloader": "fasta_dataloader",
    "RegionDataloader": "dataloader",
    "VariantDataloader": "variant_dataloader",
    "export_model": "export",
}

__all__ = ["ChromTransferModel", "FastaDataloader", "RegionDataloader", "VariantDataloader", "export_model"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
