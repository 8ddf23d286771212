"""The one exception class for bad input."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click


class ChromTransferError(click.ClickException, ValueError):
    """Bad input: the message says what is wrong, where, what was expected and how to fix it.

    It is a click exception because both our command and Selene's official one are click programs:
    they print one ``Error: ...`` line and exit with 1 instead of showing a traceback.
    """

    def __str__(self) -> str:
        return self.format_message()


def reject_unknown(where: str, given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise if ``given`` has a key that is not in ``allowed``, naming the closest allowed one.

    Parameters
    ----------
    where : str
        What the keys belong to, for the message, e.g. ``"train_model"``.
    given : Mapping
        Keys as the user wrote them.
    allowed : iterable of str
        Every key that has a meaning.

    Raises
    ------
    ChromTransferError
        On the first unknown key.
    """
    names = sorted(allowed)
    for key in given:
        if key not in names:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ChromTransferError(f"{where}: unknown key '{key}'.{hint} Known keys: {', '.join(names)}.")


def keyword_names(function: Callable[..., Any], without: Iterable[str] = ()) -> set[str]:
    """Give the names of the arguments a user may set, for :func:`reject_unknown`.

    Parameters
    ----------
    function : callable
        ``self`` and ``**kwargs`` of it do not count.
    without : iterable of str
        Arguments that somebody else fills in.
    """
    catch_all = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind not in catch_all} - {"self", *without}


def require_integers(where: str, **values: Any) -> None:
    """Raise if a value is neither a whole number of at least 0 nor None."""
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ChromTransferError(f"{where}: {name}={value!r} is not usable: expected a whole number.")
