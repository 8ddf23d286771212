"""The record of a data set that was built: inputs, every parameter, how many regions each step left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from chromtransfer_plugin.json_record import read_record

MANIFEST = "manifest.json"


class InputFile(BaseModel):
    """A file that was read.

    Attributes
    ----------
    role : str
        What it was read for, e.g. ``regions``, ``signal of K562, replicate 1``, ``blacklist``.
    path : str
        As given.
    sha256 : str
    bytes : int
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    path: str
    sha256: str
    bytes: int


class FunnelStep(BaseModel):
    """How many regions a step left.

    Attributes
    ----------
    group : str
        ``regions``, ``calls``, the name of a line, or ``pre-training``.
    step : str
        In words, e.g. ``open in no other line``.
    count : int
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str
    step: str
    count: int


class Manifest(BaseModel):
    """What ``manifest.json`` holds.

    Attributes
    ----------
    format : str
    parameters : dict
        Every parameter, defaults included.
    inputs : list of InputFile
    funnel : list of FunnelStep
        In order.
    files : dict of str to str
        SHA-256 of each table in the folder, by its path there.
    splits : dict
        Name of a table to counts of ``{"train fold 0": n, ..., "test": n}``.
    versions : dict of str to str
    matching : dict of str to dict
        What each draw of matched negatives is like, by its purpose; see
        :class:`~chromtransfer_plugin.preparation.matching.MatchFacts`.
    remarks : list of str
        What a user should know of, such as peaks that overlap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["chromtransfer-dataset/1"] = "chromtransfer-dataset/1"
    parameters: dict[str, Any]
    inputs: list[InputFile]
    funnel: list[FunnelStep]
    files: dict[str, str]
    splits: dict[str, dict[str, int]]
    versions: dict[str, str]
    matching: dict[str, dict[str, Any]] = {}
    remarks: list[str] = []


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a data set.

    Raises
    ------
    ChromTransferError
        If the folder holds none, or one of another form.
    """
    return read_record(Path(folder) / MANIFEST, Manifest, "the manifest of `chromtransfer dataset build`")
