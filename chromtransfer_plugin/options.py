"""Parse ``KEY=VALUE`` options of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from chromtransfer_plugin.errors import ChromTransferError


def key_values(option: str, given: Sequence[str], parse: bool = True) -> dict[str, Any]:
    """Turn ``KEY=VALUE`` texts into a dictionary.

    Parameters
    ----------
    option : str
        Name of the option, for the message.
    given : sequence of str
    parse : bool
        Read values as YAML does (numbers, ``[1024, 32]``, ``true``, ``null``); otherwise they stay text.

    Raises
    ------
    ChromTransferError
        On a text without ``=``, an unreadable value, or a key given twice.
    """
    values: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ChromTransferError(f"{option} {text}: expected KEY=VALUE.")
        if key in values:
            raise ChromTransferError(f"{option} {text}: {key} was given twice.")
        values[key] = _value(option, text, value) if parse else value
    return values


def _value(option: str, text: str, value: str) -> Any:
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ChromTransferError(f"{option} {text}: the value is not readable as YAML.") from error
    try:  # YAML 1.1 takes 1e-4 for text
        return float(parsed) if isinstance(parsed, str) else parsed
    except ValueError:
        return parsed
