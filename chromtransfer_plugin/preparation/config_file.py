"""Reading the YAML file of ``chromtransfer dataset build``, with messages that name line and key."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.preparation.config import (
    Calls,
    DatasetConfig,
    Line,
    Negatives,
    Pretraining,
    Split,
)

_SECTIONS: dict[str, type[BaseModel]] = {
    "calls": Calls,
    "negatives": Negatives,
    "pretraining": Pretraining,
    "split": Split,
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Place = tuple[str | int, ...]


def read_config(path: str | Path) -> DatasetConfig:
    """Read the YAML file.

    ``${NAME}`` in a value becomes the environment variable. File names in the result are as written; they are
    relative to the folder of the YAML file.

    Raises
    ------
    ChromTransferError
        If it cannot be read or says something that has no meaning; the message names the line and the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ChromTransferError(f"{path}: cannot be read ({getattr(error, 'strerror', error)}).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        hint = (
            " Put values with ${...} in quotation marks." if mark and "${" in _line(text, mark.line) else ""
        )
        raise ChromTransferError(
            f"{path}{where}: is no YAML ({getattr(error, 'problem', error)}).{hint}"
        ) from None
    lines: dict[Place, int] = {}
    if not isinstance(root, yaml.MappingNode):
        raise ChromTransferError(f"{path}: expected keys such as `genome:`, `regions:` and `lines:`.")
    for place, line, repeated in _places(root, ()):
        if repeated:
            raise ChromTransferError(f"{path}, line {line}: the key '{place[-1]}' is given twice.")
        lines[place] = line

    def at(place: Place) -> str:
        while place and place not in lines:
            place = place[:-1]
        return f"{path}, line {lines[place]}" if place else str(path)

    values = _expanded(yaml.safe_load(text), (), at)
    try:
        return DatasetConfig.model_validate(values)
    except ValidationError as error:
        raise ChromTransferError(_plain(error, at)) from None


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number] if number < len(lines) else ""


def _places(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int, bool]]:
    """Place, line and whether it was there before, of everything in a YAML file."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            inner = (*place, key.value)
            yield inner, key.start_mark.line + 1, key.value in seen
            seen.add(key.value)
            yield from _places(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*place, number), value.start_mark.line + 1, False
            yield from _places(value, (*place, number))


def _expanded(value: Any, place: Place, at: Callable[[Place], str]) -> Any:
    if isinstance(value, dict):
        return {str(key): _expanded(inner, (*place, str(key)), at) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, (*place, number), at) for number, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in os.environ:
            raise ChromTransferError(f"{at(place)}: the environment variable {name} is not set.")
    return _VARIABLE.sub(lambda found: os.environ[found[1]], value)


def _plain(error: ValidationError, at: Callable[[Place], str]) -> str:
    faults = error.errors()
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    place: Place = tuple(first["loc"])
    name = ".".join(map(str, place))
    if first["type"] == "extra_forbidden":
        known = _section(place[:-1]).model_fields
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"{at(place)}: unknown key '{name}'.{hint} Known keys: {', '.join(known)}."
    if first["type"] == "missing":
        return f"{at(place)}: the key '{name}' is missing."
    message = re.sub("^Value error, ", "", first["msg"])
    message = message[:1].lower() + message[1:]
    given = "" if isinstance(first["input"], dict | list | BaseModel) else f", not {first['input']!r}"
    return f"{at(place)}: {name + ': ' if name else ''}{message}{given}."


def _section(place: Place) -> type[BaseModel]:
    """Which keys belong at a place."""
    if not place:
        return DatasetConfig
    return Line if place[0] == "lines" else _SECTIONS[str(place[0])]
