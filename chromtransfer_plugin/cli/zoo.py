"""``chromtransfer zoo``."""

from __future__ import annotations

import click

from chromtransfer_plugin.cli.share import pull, push


@click.group()
def zoo() -> None:
    """List, install, test and share models."""


zoo.add_command(push)
zoo.add_command(pull)
