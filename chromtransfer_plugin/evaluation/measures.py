"""Every metric of one model with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.evaluation.draws import Draws
from chromtransfer_plugin.evaluation.record import Measure


def measure_all(
    y: NDArray[np.int64], p: NDArray[np.float64], draws: Draws | None, level: float = 0.95
) -> dict[str, Measure]:
    """Compute the metrics of :data:`~chromtransfer_plugin.evaluation.record.METRICS`, in that order.

    Parameters
    ----------
    y, p : ndarray (N,)
        0/1 labels and probabilities.
    draws : Draws or None
        None gives no intervals.
    level : float

    Returns
    -------
    dict of str to Measure
        ``value`` is that of :func:`~chromtransfer_plugin.metrics.binary_metrics`. The best threshold is chosen once, on
        all windows, and kept in every resample. Metrics without a value (one class only) have None.
    """
    raise NotImplementedError
