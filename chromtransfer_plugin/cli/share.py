"""``chromtransfer zoo push`` and ``pull``."""

from __future__ import annotations

import click


@click.command()
def push() -> None:
    """Publish models of a zoo to a folder or server."""


@click.command()
def pull() -> None:
    """Get models from a shared zoo."""
