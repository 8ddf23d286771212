"""Variants of a VCF: read, checked against the genome, scored, and written back with their scores.

Coordinates are 0-based and half-open, except for ``pos``, which is 1-based as in the VCF.
"""

from __future__ import annotations

from chromtransfer_plugin.variants.reader import VariantReport, Variants, read_variants
from chromtransfer_plugin.variants.windows import Allele, Strand, allele_windows, window_starts

__all__ = [
    "Allele",
    "Strand",
    "VariantReport",
    "Variants",
    "allele_windows",
    "read_variants",
    "window_starts",
]
