"""A page to browse the motifs and windows of one analysis, in one HTML file."""

from __future__ import annotations

from chromtransfer_plugin.report.page import write_report

__all__ = ["write_report"]
