"""``chromtransfer predict``."""

from __future__ import annotations

import click


@click.command()
def predict() -> None:
    """Predict open chromatin for regions or sequences with one or many models."""
