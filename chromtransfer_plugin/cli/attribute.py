"""``chromtransfer attribute``."""

from __future__ import annotations

import click


@click.command()
def attribute() -> None:
    """Attribute the output of one or many models to the bases of one or many sets of regions."""
