"""``chromtransfer dataset``."""

from __future__ import annotations

import click


@click.group()
def dataset() -> None:
    """Build data sets from ENCODE files, split them, and look for leaks between training and test."""
