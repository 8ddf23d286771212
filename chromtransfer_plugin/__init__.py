"""ChromTransfer in PyTorch, for Selene, Kipoi, tangermeme and variant-effect pipelines.

Importing this package is cheap: every name below is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# name -> module that defines it
_EXPORTS = {
    "ChromTransferError": "errors",
    "Genome": "genome",
    "read_regions": "regions",
    "ChromTransfer": "models.chromtransfer",
    "load_model": "checkpoint",
    "save_model": "checkpoint",
    "predict_file": "prediction",
    "score_variants": "variants",
    "build_dataset": "preparation.run",
    "evaluate": "evaluation.run",
    "predict_logits": "predict",
    "probabilities": "predict",
    "gradient_x_input": "attribution",
}
# Kipoi imports the top-level package and then walks `package.module.Class` with getattr, so submodules
# must be reachable as attributes.
_SUBMODULES = {"kipoi", "selene"}

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
