"""One-line error messages when somebody else's executable runs our classes."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import click

from chromtransfer_plugin.errors import ChromTransferError

# The modules of Selene that read a YAML file and call what it names.
_SELENE_YAML = ("selene_sdk/utils/config.py", "selene_sdk/utils/config_utils.py")


class ChromTransferWarning(UserWarning):
    """Something in the input that changes the output and that the user should know about."""


def install(executables: Iterable[str] = ("kipoi", "selene_sdk")) -> None:
    """Print our errors and warnings as one plain line if the running program is one of ``executables``.

    Kipoi lets every exception end in a traceback. Here a :class:`ChromTransferError` is printed as
    ``Error: message`` (the exit status stays 1) and a :class:`ChromTransferWarning` as ``Warning: message``,
    both on stderr. So are the mistakes in a YAML file that Selene reports as bare exceptions. Any other
    exception keeps its traceback, and in any other program, such as a notebook, nothing is changed.
    Calling this again has no effect.

    Parameters
    ----------
    executables : iterable of str
        Names of console scripts, or of packages run as ``python -m NAME``.
    """
    if _program() not in set(executables) or getattr(sys.excepthook, "__module__", "") == __name__:
        return
    usual_hook, usual_format = sys.excepthook, warnings.formatwarning

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        plain = (
            error.format_message() if isinstance(error, ChromTransferError) else _yaml_mistake(error, trace)
        )
        if plain is not None:
            click.echo(f"Error: {plain}", err=True)
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


def _yaml_mistake(error: BaseException, trace: TracebackType | None) -> str | None:
    """Say what is wrong with a YAML file if Selene itself, while it worked through one, raised ``error``."""
    frames = traceback.extract_tb(trace)
    in_selene = ["/".join(Path(frame.filename).parts[-3:]).startswith(_SELENE_YAML) for frame in frames]
    if not any(in_selene):
        return None
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, KeyError) and frames[-1].name == "__getitem__" and frames[-2].name == "_preprocess":
        return f"the environment variable {error} is named in the YAML file but not set."
    if not in_selene[-1]:
        return None
    return f"the YAML file lacks the key {error}." if isinstance(error, KeyError) else f"YAML file: {error}"


def _program() -> str:
    """Name of the running executable; of the package for ``python -m package``."""
    path = Path(sys.argv[0] if sys.argv else "")
    return path.parent.name if path.name == "__main__.py" else path.stem
