"""Finished draws on disk, so that a run that was stopped goes on: a small JSON file and the predictions of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from chromtransfer_plugin.checkpoint import sha256
from chromtransfer_plugin.efficiency.plan import Share
from chromtransfer_plugin.efficiency.record import Draw
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.json_record import read_record, write_record

DRAWS_FOLDER = "draws"


class _KeptDraw(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["chromtransfer-draw/1"] = "chromtransfer-draw/1"
    identity: dict[str, str]  # of everything the draw depends on beside fraction and number
    predictions_sha256: str
    draw: Draw


class FinishedDraw(NamedTuple):
    """A draw and the probability (N,) that its model gives each test window."""

    draw: Draw
    probability: NDArray[np.float32]


def draw_file(folder: Path, fraction: float, draw: int) -> Path:
    """Where a draw is kept; its predictions lie beside it, with the ending ``.npy``."""
    return folder / DRAWS_FOLDER / f"share_{fraction:g}_draw_{draw}.json"


def keep_draw(folder: Path, identity: dict[str, str], finished: FinishedDraw) -> None:
    """Write a draw; the JSON file comes last, so that it is there only when all is."""
    path = draw_file(folder, finished.draw.fraction, finished.draw.draw)
    predictions = path.with_suffix(".npy")
    with atomic_path(predictions) as temporary:
        np.save(temporary, finished.probability.astype(np.float32), allow_pickle=False)
    write_record(
        _KeptDraw(identity=identity, predictions_sha256=sha256(predictions), draw=finished.draw), path
    )


def read_draw(folder: Path, identity: dict[str, str], share: Share) -> FinishedDraw | None:
    """Read a draw that an earlier run of the same analysis finished; None if there is none.

    Raises
    ------
    ChromTransferError
        If the draw is of another analysis, or damaged.
    """
    path = draw_file(folder, share.fraction, share.draw)
    if not path.exists():
        return None
    try:
        kept = read_record(path, _KeptDraw, "a finished draw of `chromtransfer efficiency`")
    except ChromTransferError as error:
        raise ChromTransferError(f"{error} Delete it and run the same command again.") from error
    differing = sorted(name for name in identity if kept.identity.get(name) != identity[name])
    if differing:
        raise ChromTransferError(
            f"{folder}: holds draws of another analysis, of other: {', '.join(differing)} (see {path.name}). Name another "
            f"folder, or delete {folder / DRAWS_FOLDER}."
        )
    predictions = path.with_suffix(".npy")
    if not predictions.is_file() or sha256(predictions) != kept.predictions_sha256:
        raise ChromTransferError(
            f"{predictions}: the predictions are missing or were changed. Delete {path} and run the same command again."
        )
    return FinishedDraw(kept.draw, np.load(predictions, allow_pickle=False))
