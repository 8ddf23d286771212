"""What the tests of ``chromtransfer attribute`` share."""

from __future__ import annotations

from pathlib import Path

import pytest
from predict_cases import ROWS, World, world  # noqa: F401 - world is a fixture

from chromtransfer_plugin.attribution import run
from chromtransfer_plugin.attribution.run import attribute_file

WINDOWS = [window for _, window in ROWS if window]
FILES = ("store.json", "regions.parquet", "attributions.h5")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(run, "_SAVED", {"cpu": (2, 2)})


@pytest.fixture(scope="module")
def second(world) -> Path:  # noqa: F811
    """Another set: one window of the first and a new one, as CSV."""
    path = world.folder / "second.csv"
    path.write_text("chr1:100-700,K562\nchr2:5000-5600,other\n")
    return path


def attributed(world: World, out: Path, models=None, sets=None, **options):  # noqa: F811
    options = {"genome": world.genome, "device": "cpu", **options}
    return attribute_file(models or world.binary, world.bed if sets is None else sets, out, **options)
