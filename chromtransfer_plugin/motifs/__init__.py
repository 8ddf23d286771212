"""Motifs: matrices, their sites in windows, and which of them a model reads."""

from __future__ import annotations

from chromtransfer_plugin.motifs.matrices import Matrices, choose_motifs, read_motifs

__all__ = ["Matrices", "choose_motifs", "read_motifs"]
