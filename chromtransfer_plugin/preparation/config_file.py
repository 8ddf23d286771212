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

_TEXT_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")

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
        written = yaml.safe_load(text)
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
    try:
        for place, line, fault in _places(root, ()):
            if fault:
                raise ChromTransferError(f"{path}, line {line}: the key '{place[-1]}' {fault}.")
            lines[place] = line
    except RecursionError:
        raise ChromTransferError(f"{path}: holds an alias (*name) of what the alias is part of.") from None

    def at(place: Place) -> str:
        while place and place not in lines:
            place = place[:-1]
        return f"{path}, line {lines[place]}" if place else str(path)

    values = _expanded(written, (), at)
    try:
        return DatasetConfig.model_validate(values)
    except ValidationError as error:
        raise ChromTransferError(_plain(error, at)) from None


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number] if number < len(lines) else ""


def _places(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int, str]]:
    """Place, line and what is wrong with the key (mostly nothing), of everything in a YAML file."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            inner = (*place, key.value)
            yield inner, key.start_mark.line + 1, _key_fault(key, seen)
            seen.add(key.value)
            yield from _places(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*place, number), value.start_mark.line + 1, ""
            yield from _places(value, (*place, number))


def _key_fault(key: yaml.ScalarNode, seen: set[str]) -> str:
    if key.value in seen:
        return "is given twice"
    # Of another type, such as `yes` or `1.50`, it would come back spelt in another way.
    if key.tag not in _TEXT_TAGS and str(yaml.safe_load(key.value)) != key.value:
        return "is no text for YAML: put it in quotation marks"
    return ""


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
    # Pydantic adds the name of a type, such as `list[str]`, to a place that may be of several.
    place: Place = tuple(part for part in first["loc"] if "[" not in str(part))
    name = ".".join(map(str, place))
    if first["type"] == "extra_forbidden":
        known = _section(place[:-1]).model_fields
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return f"{at(place)}: unknown key '{name}'.{hint} Known keys: {', '.join(known)}."
    if first["type"] == "missing":
        return f"{at(place)}: the key '{name}' is missing."
    given = "" if isinstance(first["input"], dict | list | BaseModel) else f", not {first['input']!r}"
    if first["type"] in ("dict_type", "model_type"):
        wanted = "names of lines" if place == ("lines",) else ", ".join(_section(place).model_fields)
        message, given = "expected keys below it", f" ({wanted}){given.replace('None', 'nothing')}"
    elif first["type"] == "string_type" and isinstance(first["input"], int | float):
        message, given = "expected text", f": put {first['input']} in quotation marks"
    else:
        message = re.sub("^Value error, ", "", first["msg"])
        message = message[:1].lower() + message[1:]
    return f"{at(place)}: {name + ': ' if name else ''}{message}{given}."


def _section(place: Place) -> type[BaseModel]:
    """Which keys belong at a place."""
    if not place:
        return DatasetConfig
    return Line if place[0] == "lines" else _SECTIONS[str(place[0])]
