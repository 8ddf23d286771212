"""``chromtransfer motifs``."""

from __future__ import annotations

import click


@click.group()
def motifs() -> None:
    """Find out which motifs a model reads."""
