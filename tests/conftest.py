"""Settings of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read by torch when it is imported, also in the processes that tests start. The networks of the tests are so small
# that several threads mostly wait for each other, by a factor of ten where the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # its parallel loops set torch's number of threads too


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder for the configuration file that importing Kipoi writes."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("CHROMTRANSFER_DEVICE", raising=False)
        yield folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    from kipoi_cases import make_checkpoint

    return make_checkpoint(tmp_path_factory.mktemp("run") / "best_model")


@pytest.fixture(scope="module")
def exported(home, checkpoint, tmp_path_factory) -> Path:
    from chromtransfer_plugin.kipoi.export import export_model

    return export_model(checkpoint, "tiny", tmp_path_factory.mktemp("zoo"))
