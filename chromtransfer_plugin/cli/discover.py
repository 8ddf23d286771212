"""``chromtransfer motifs discover``."""

from __future__ import annotations

import click


@click.command()
def discover() -> None:
    """Find recurring patterns in stored attributions (TF-MoDISco) and name them by known motifs (TOMTOM)."""
