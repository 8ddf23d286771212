"""Run the official executables of Selene and Kipoi, as a user would type them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from chromtransfer_plugin.errors import ChromTransferError


def run(program: str, *arguments: str, cwd: Path, log: Path | None = None, **environment: str) -> None:
    """Run an executable of this Python environment and stop if it fails.

    Parameters
    ----------
    program : str
        ``selene_sdk``, ``kipoi`` ...
    *arguments : str
    cwd : Path
        Folder to run in; relative paths in a YAML file refer to it.
    log : Path, optional
        File that receives the output; progress bars (stderr) still go to the terminal.
    **environment : str
        Added to the environment, for ``${NAME}`` in a YAML file.

    Raises
    ------
    ChromTransferError
        If the program is missing or exits non-zero; names the command and the log.
    """
    executable = Path(sys.executable).with_name(program)
    if not executable.exists():
        raise ChromTransferError(
            f"`{program}` is not installed beside {sys.executable}; see README, Install."
        )
    settings = " ".join(f"{key}={value}" for key, value in environment.items())
    shown = " ".join([program, *arguments])
    click.secho(f"$ {settings + ' ' if settings else ''}{shown}", bold=True)
    with open(log or os.devnull, "w") as output:
        done = subprocess.run(
            [str(executable), *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=output,
            check=False,
        )
    if done.returncode != 0:
        hint = f" Its output is in {log}." if log else ""
        raise ChromTransferError(f"`{shown}` failed with exit code {done.returncode} (run in {cwd}).{hint}")
