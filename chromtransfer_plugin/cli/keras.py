"""``chromtransfer import-keras``."""

from __future__ import annotations

import click


@click.command("import-keras")
def import_keras() -> None:
    """Turn published Keras files into checkpoints."""
