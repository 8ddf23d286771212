"""Check an installation: versions, device, and that each framework really works with our network."""

from __future__ import annotations

from collections.abc import Callable

import click

from chromtransfer_plugin.device import describe, pick_device
from chromtransfer_plugin.run_record import package_versions


def run_checks() -> bool:
    """Print versions, the device and one line per framework; return whether everything works."""
    for name, version in package_versions().items():
        click.echo(f"{name:22} {version}")
    click.echo(f"{'device':22} {describe(pick_device('auto'))}")
    checks: list[tuple[str, Callable[[], str]]] = [
        ("network", check_network),
        ("Selene", check_selene),
        ("Kipoi", check_kipoi),
        ("tangermeme", check_tangermeme),
    ]
    results = [_run(name, check) for name, check in checks]  # every check runs, also after a failure
    return all(results)


def _run(name: str, check: Callable[[], str]) -> bool:
    try:
        click.echo(f"{name:22} works: {check()}")
        return True
    except Exception as error:  # a broken installation can fail in any way; the check reports it and goes on
        click.echo(f"{name:22} FAILS: {type(error).__name__}: {error}")
        return False


def check_network() -> str:
    """Run one window through a full-size network on the device in use."""
    import torch

    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.predict import predict_logits

    codes = torch.randint(0, 4, (2, 600), dtype=torch.uint8)
    logits = predict_logits(ChromTransfer(), codes, device="auto")
    return f"600 bp -> {logits.shape[1]} logit"


def check_selene() -> str:
    """Load one of our YAML files with Selene's own loader."""
    from selene_sdk.utils import load_path

    import chromtransfer_plugin.selene  # noqa: F401
    from chromtransfer_plugin.configs_folder import configs_folder

    loaded = load_path(str(configs_folder() / "chromtransfer" / "pretrain.yml"), instantiate=False)
    return f"a YAML file with the operations {loaded['ops']} loads"


def check_kipoi() -> str:
    """Import Kipoi's base class through our adapter."""
    import kipoi

    from chromtransfer_plugin.kipoi import ChromTransferModel

    if not issubclass(ChromTransferModel, kipoi.model.BaseModel):
        raise TypeError("the adapter is not a Kipoi model")
    return "the adapter is a Kipoi model"


def check_tangermeme() -> str:
    """Attribute one window with a small network."""
    import numpy as np

    from chromtransfer_plugin.attribution import gradient_x_input
    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.onehot import one_hot

    X = one_hot(np.random.default_rng(0).integers(0, 4, (1, 600)).astype(np.uint8))
    scores = gradient_x_input(ChromTransfer(width=0.125).eval(), X)
    if not np.isfinite(scores).all():
        raise ValueError("gradient x input is not finite")
    return f"gradient x input of {scores.shape[1]} bases"
