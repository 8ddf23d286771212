"""One self-contained HTML page on evaluations, training runs, data sets and data efficiency; the verdict first."""

from __future__ import annotations

from chromtransfer_plugin.evaluation_report.page import Report, write_report, write_verdicts
from chromtransfer_plugin.evaluation_report.verdict import Verdict, judge

__all__ = ["Report", "Verdict", "judge", "write_report", "write_verdicts"]
