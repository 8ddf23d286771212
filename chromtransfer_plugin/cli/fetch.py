"""``chromtransfer fetch``."""

from __future__ import annotations

import click


@click.group()
def fetch() -> None:
    """Download published weights, labels, genome and motifs, verified."""
