"""Variants of a VCF: read, checked against the genome, scored, and written back with their scores.

Coordinates are 0-based and half-open, except for ``pos``, which is 1-based as in the VCF.
"""

from __future__ import annotations

import importlib
from typing import Any

from chromtransfer_plugin.variants.reader import VariantReport, Variants, read_variants
from chromtransfer_plugin.variants.records import Block, VariantSource
from chromtransfer_plugin.variants.windows import Allele, Strand, allele_windows, window_starts

# name -> module that defines it; loaded on first use, since a dataloader needs no models
_EXPORTS = {"VariantRun": "run", "score_variants": "run"}

__all__ = [
    "Allele",
    "Block",
    "Strand",
    "VariantReport",
    "VariantSource",
    "Variants",
    "allele_windows",
    "read_variants",
    "window_starts",
    *sorted(_EXPORTS),
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
