"""``chromtransfer efficiency``."""

from __future__ import annotations

import click


@click.command()
def efficiency() -> None:
    """Be written."""
