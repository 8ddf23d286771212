"""Streaming prediction: any number of regions or sequences, several models in one pass."""

from __future__ import annotations

from chromtransfer_plugin.prediction.run import Prediction, predict_file

__all__ = ["Prediction", "predict_file"]
