"""``chromtransfer attributions``: what is in an attribution store."""

from __future__ import annotations

import click


@click.group()
def attributions() -> None:
    """Show, draw and export stored attributions."""
