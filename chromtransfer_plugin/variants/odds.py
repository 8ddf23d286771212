"""Log-odds of an output from the logits of a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def log_odds(logits: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Natural log of p / (1 - p) of every output.

    Parameters
    ----------
    logits : ndarray of float32, shape (n, n_outputs)
        Of one model.
    activation : {"sigmoid", "softmax"}
        Of a sigmoid output they are the logits themselves; of exclusive classes the logit minus the log of the summed
        exponentials of all others.

    Returns
    -------
    ndarray of float32, shape (n, n_outputs)
    """
    if activation != "softmax":
        return logits
    z = logits.astype(np.float64)
    others = np.stack(
        [np.logaddexp.reduce(np.delete(z, k, axis=1), axis=1) for k in range(z.shape[1])], axis=1
    )
    return (z - others).astype(np.float32)
