"""One-line error messages when somebody else's executable runs our classes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import click

from chromtransfer_plugin.errors import ChromTransferError


class ChromTransferWarning(UserWarning):
    """Something in the input that changes the output and that the user should know about."""


def install(executables: Iterable[str] = ("kipoi", "selene_sdk")) -> None:
    """Print our errors and warnings as one plain line if the running program is one of ``executables``.

    Kipoi lets every exception end in a traceback. Here a :class:`ChromTransferError` is printed as
    ``Error: message`` (the exit status stays 1) and a :class:`ChromTransferWarning` as ``Warning: message``,
    both on stderr. Any other exception keeps its traceback, and in any other program, such as a notebook,
    nothing is changed. Calling this again has no effect.

    Parameters
    ----------
    executables : iterable of str
        Names of console scripts, or of packages run as ``python -m NAME``.
    """
    if _program() not in set(executables) or getattr(sys.excepthook, "__module__", "") == __name__:
        return
    usual_hook, usual_format = sys.excepthook, warnings.formatwarning

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ChromTransferError):
            click.echo(f"Error: {error.format_message()}", err=True)
        else:
            usual_hook(kind, error, trace)

    def format_warning(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, ChromTransferWarning):
            return f"Warning: {message}\n"
        return usual_format(message, category, filename, lineno, line)

    sys.excepthook = hook
    warnings.formatwarning = format_warning


def _program() -> str:
    """Name of the running executable; of the package for ``python -m package``."""
    path = Path(sys.argv[0] if sys.argv else "")
    return path.parent.name if path.name == "__main__.py" else path.stem
