"""A shared zoo: which files it may hold, and its index.

::

    TARGET/zoo.json                   names of the models, and size and SHA-256 of each of their files
    TARGET/GROUP/NAME/                model.safetensors, card.json, expect.h5, README.md

The index is written after the files, so it names only what is complete. A target may be anybody's: all that is read
from it is checked here, and nothing else is ever asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.kipoi.description import EXPECTATION, check_name
from chromtransfer_plugin.kipoi.group import check_group_names
from chromtransfer_plugin.verify import Expected, digests
from chromtransfer_plugin.zoo.card import README

INDEX = "zoo.json"
FORMAT: Literal[1] = 1
MOST_INDEX = 16_000_000  # bytes
MOST_MODELS = 1_000
# Every file of a model, with the most bytes it may have.
LIMITS = {WEIGHTS: 4_000_000_000, CARD: 16_000_000, EXPECTATION: 64_000_000, README: 4_000_000}
NEEDED = (WEIGHTS, CARD, EXPECTATION)


class SharedFile(BaseModel):
    """What one file of a model must be."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=1)]

    @property
    def expected(self) -> Expected:
        """For the download."""
        return Expected(size=self.size, sha256=self.sha256)


class SharedModel(BaseModel):
    """The files of one model."""

    model_config = ConfigDict(extra="forbid", strict=True)

    files: dict[str, SharedFile]


class Index(BaseModel):
    """The content of ``zoo.json``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1] = FORMAT
    models: dict[str, SharedModel] = Field(default_factory=dict, max_length=MOST_MODELS)

    def text(self) -> str:
        """As it is written: the models in the order of their names."""
        ordered = Index(models=dict(sorted(self.models.items())))
        return ordered.model_dump_json(indent=2) + "\n"


class Remote(Protocol):
    """A target that models are shared at.

    Attributes
    ----------
    shown : str
        Its address for messages.
    piecewise : bool
        Whether others can see the files of a model change before the index does.
    """

    shown: str
    piecewise: bool

    def read_index(self) -> tuple[Index, str | None]:
        """Give the index, empty if there is none, and the version of it that :meth:`write_index` may replace.

        The version is None if there is no index.
        """

    def fetch(self, path: str, target: Path, file: SharedFile) -> None:
        """Copy one file from here to ``target``, verified."""

    def store(self, name: str, folder: Path, model: SharedModel, replace: bool) -> None:
        """Copy the files of a model from ``folder`` to here; ``replace`` another one that no index names."""

    def write_index(self, index: Index, version: str | None) -> None:
        """Replace the index if it is still of that version; else raise ChangedError."""


def parse_index(text: str, where: str) -> Index:
    """Read an index, refusing what is not exactly one.

    Raises
    ------
    ChromTransferError
        Naming the first thing that is wrong: another format, a name or file that must not be there, no SHA-256.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ChromTransferError(
            f"{where}: no index of a shared zoo, not readable as JSON ({error})."
        ) from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ChromTransferError(
            f"{where}: format {version} is newer than {FORMAT}; update chromtransfer-plugin."
        )
    try:
        index = Index.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the index"
        raise ChromTransferError(
            f"{where}: no index of a shared zoo: {printed(key)}: {first['msg']}."
        ) from error
    for name, model in index.models.items():
        check_full_name(name, where)
        for file, facts in model.files.items():
            if file not in LIMITS:
                raise ChromTransferError(
                    f"{where}: {name} has a file '{printed(file)}', expected only {', '.join(LIMITS)}."
                )
            if facts.size > LIMITS[file]:
                raise ChromTransferError(
                    f"{where}: {name}/{file} has {facts.size:,} bytes, at most {LIMITS[file]:,} are taken."
                )
        if missing := [file for file in NEEDED if file not in model.files]:
            raise ChromTransferError(f"{where}: {name} has no {', '.join(missing)}.")
    return index


def check_full_name(name: str, where: str) -> tuple[str, str]:
    """Return group and name of a model, both fit to be the name of one folder.

    Raises
    ------
    ChromTransferError
        If they are not.
    """
    group, slash, last = name.partition("/")
    try:
        if not slash:
            raise ChromTransferError("expected GROUP/NAME.")
        check_name(group, "group name")
        check_name(last)
    except ChromTransferError as error:
        raise ChromTransferError(
            f"{where}: '{printed(name)}' is no name of a model: {printed(str(error))}"
        ) from None
    return group, last


def describe(folder: Path) -> SharedModel:
    """Measure the files of a model.

    Raises
    ------
    ChromTransferError
        If one that is needed is missing, or one cannot be read or is too large to be shared.
    """
    files: dict[str, SharedFile] = {}
    for file, most in LIMITS.items():
        path = folder / file
        if path.is_file():
            size = path.stat().st_size
            if size > most:
                raise ChromTransferError(f"{path}: {size:,} bytes, at most {most:,} can be shared.")
            try:
                files[file] = SharedFile(sha256=digests(path, ["sha256"])["sha256"], size=size)
            except OSError as error:
                raise ChromTransferError(f"{path}: cannot be read ({error.strerror}).") from error
    if missing := [file for file in NEEDED if file not in files]:
        raise ChromTransferError(f"{folder}: {', '.join(missing)} is missing, so it cannot be shared.")
    return SharedModel(files=files)


def printed(text: str, most: int = 120) -> str:
    """Make somebody else's text safe for a terminal and short."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= most else f"{plain[:most]}..."


def check_pulled_name(name: str, where: str) -> tuple[str, str]:
    """As :func:`check_full_name`, and Kipoi must be able to read the name too."""
    group, last = check_full_name(name, where)
    check_group_names(last, group)
    return group, last
