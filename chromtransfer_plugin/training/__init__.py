"""The training engine: one :class:`Trainer` behind Selene, the command line and Python."""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "BEST": "trainer",
    "STATE": "trainer",
    "FitResult": "trainer",
    "Trainer": "trainer",
    "SMOKE": "fit",
    "SMOKE_WINDOWS": "fit",
    "Origin": "fit",
    "Task": "fit",
    "fit_folds": "fit",
    "make_trainer": "fit",
    "run_settings": "fit",
    "Epoch": "progress",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "l2_penalty": "evaluation",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
