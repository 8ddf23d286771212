"""``chromtransfer motifs``."""

from __future__ import annotations

import click

from chromtransfer_plugin.cli.discover import discover


@click.group()
def motifs() -> None:
    """Find out which motifs a model reads."""


motifs.add_command(discover)
