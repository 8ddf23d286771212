"""How large effects are that mean nothing: scores of variants drawn from the same genome, by the same models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.variants.scorer import Scorer

KINDS = ("genome", "shuffled")


class Null(NamedTuple):
    """Sorted absolute log-odds differences (n, columns) of the drawn variants, and how they were drawn."""

    sizes: NDArray[np.float32]
    facts: dict[str, Any]

    def percentile(self, log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
        """Percent (0 to 100) of the drawn ones with a smaller absolute effect, (n, columns)."""
        raise NotImplementedError

    def p_value(self, log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1 + number of drawn ones with at least this absolute effect) / (1 + number drawn), (n, columns)."""
        raise NotImplementedError


def make_null(
    kind: str, size: int, scorer: Scorer, genome: Genome, seed: int, regions: str | Path | None = None
) -> Null:
    """Draw variants and score them; what was drawn before for the same models and genome is taken from the cache."""
    raise NotImplementedError
