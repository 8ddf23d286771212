"""Work-arounds for defects of Selene 0.6.0 on current libraries, each with the fault it mends.

``tests/test_compat.py`` shows that each one is still needed; when a test there fails, delete the work-around.
"""

from __future__ import annotations


def apply() -> None:
    """Apply every work-around; harmless when repeated."""
    alias_seaborn_style()
    allow_numpy_scalars()


def alias_seaborn_style() -> None:
    """Restore matplotlib's style name ``seaborn-colorblind``.

    Selene's ``EvaluateModel.evaluate`` plots with that style after everything else is done; matplotlib 3.8
    removed the name (it is ``seaborn-v0_8-colorblind`` now), so the run ends in an OSError.
    """
    import matplotlib.style

    library = matplotlib.style.library
    if "seaborn-colorblind" not in library:
        library["seaborn-colorblind"] = library["seaborn-v0_8-colorblind"]


def allow_numpy_scalars() -> None:
    """Let torch read the checkpoints of Selene's own ``TrainModel``.

    It stores ``min_loss`` as numpy.float64, which ``torch.load`` refuses since 2.6 (``weights_only`` is the
    default), so resuming from and evaluating its checkpoints fails. These three types hold plain numbers.
    """
    import numpy as np
    import torch

    torch.serialization.add_safe_globals([np._core.multiarray.scalar, np.dtype, np.dtypes.Float64DType])  # type: ignore[attr-defined]
