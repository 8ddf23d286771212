"""Adapter to Selene: classes to name with ``!obj:chromtransfer_plugin.selene.NAME`` in a YAML file."""

from __future__ import annotations

from chromtransfer_plugin import friendly
from chromtransfer_plugin.selene import compat

friendly.install()
compat.apply()

from chromtransfer_plugin.selene.analysis import AnalyzeSequences, Genome  # noqa: E402
from chromtransfer_plugin.selene.evaluation import EvaluateModel  # noqa: E402
from chromtransfer_plugin.selene.sampler import RegionSampler  # noqa: E402
from chromtransfer_plugin.selene.training import TrainModel  # noqa: E402

__all__ = ["AnalyzeSequences", "EvaluateModel", "Genome", "RegionSampler", "TrainModel"]
