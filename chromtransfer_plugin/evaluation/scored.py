"""Probabilities of models on windows, kept so that a killed or repeated evaluation does not compute them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder
from chromtransfer_plugin.prediction.names import NamedModel, choose_models

FOLDER = "scored"  # in the folder of the evaluation
_MANY = 2_000  # windows that are worth a bar
Floats = NDArray[np.float64]


def digest_of(*parts: Any) -> str:
    """Hash arrays and JSON values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()


class ScoreStore:
    """Scores in a folder, each file called by the hash of all that it depends on: none can be out of date."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder

    def get(self, key: str, compute: Callable[[], Floats]) -> Floats:
        """Read the scores of a key, or compute and keep them; (N,) or (N, T)."""
        path = self._folder / f"{key[:32]}.npy"
        try:
            found: Floats = np.load(path, allow_pickle=False)
            return found
        except (OSError, ValueError, EOFError):
            scores = compute()
        with atomic_path(path) as temporary, temporary.open("wb") as out:
            np.save(out, scores)
        return scores


class LoadedModels:
    """Networks that were loaded once, by what the user called them."""

    def __init__(self, store: ScoreStore, device: str, width: int, progress: bool) -> None:
        self._store, self._device, self._width, self._progress = store, device, width, progress
        self._loaded: dict[str, NamedModel] = {}

    def get(self, name: str, spec: str) -> NamedModel:
        """Load the one model meant by ``spec``; ``name`` is for messages.

        Raises
        ------
        ChromTransferError
            If it is none or several, or reads windows of another width.
        """
        if spec not in self._loaded:
            found = choose_models(spec)
            if len(found) > 1:
                raise ChromTransferError(
                    f"--model {name}={spec}: holds {len(found)} models ({', '.join(m.name for m in found[:8])}); name one."
                )
            if found[0].card.window != self._width:
                raise ChromTransferError(
                    f"--model {name}={spec}: reads windows of {found[0].card.window} bp, these are {self._width} bp: "
                    f"add --width {found[0].card.window}, or leave this model out."
                )
            self._loaded[spec] = found[0]
        return self._loaded[spec]

    def scores(self, model: NamedModel, output: str, codes: NDArray[np.uint8]) -> Floats:
        """Probability (N,) of an output for windows (N, L) uint8."""
        from chromtransfer_plugin.predict import predict_logits, probabilities

        def compute() -> Floats:
            shown = self._progress and len(codes) > _MANY
            logits = predict_logits(model.network, codes, device=self._device, progress=shown)
            return np.asarray(probabilities(logits, model.card.activation), dtype=np.float64)

        table = self._store.get(digest_of(codes, model.facts), compute)
        return table[:, model.card.outputs.index(output)]


def output_for(model: NamedModel, name: str, line: str, positive: str) -> str:
    """Choose the output of a model that says whether a window is open in the line: its only one, or that of its name.

    Raises
    ------
    ChromTransferError
        If it has several and none is called like the line or the positive label.
    """
    outputs = model.card.outputs
    if len(outputs) == 1:
        return outputs[0]
    for wanted in (line, positive):
        if wanted in outputs:
            return wanted
    raise ChromTransferError(
        f"--model {name}: has {len(outputs)} outputs ({', '.join(outputs[:10])}) and none is called {line}. Evaluate it "
        "with a --line of that name, or name a model of one output."
    )
