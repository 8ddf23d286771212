"""Motifs: matrices, their sites in windows, and which of them a model reads."""

from __future__ import annotations

from chromtransfer_plugin.motifs.matrices import Matrices, read_motifs

__all__ = ["Matrices", "read_motifs"]
