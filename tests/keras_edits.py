"""Edits of Keras files, and the check that a bad one is refused properly."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras import import_keras

NORM = "model_weights/batch_normalization_4"
KERNEL = "conv1d_4/kernel:0"
GROUP = "model_weights/conv1d_4"


def refuse(path: Path, tmp_path: Path, message: str) -> None:
    """The command fails with one line that matches, in reasonable time, and leaves nothing behind."""
    before = time.perf_counter()
    with pytest.raises(ChromTransferError, match=message) as caught:
        import_keras(path, tmp_path / "out")
    assert time.perf_counter() - before < 5
    text = caught.value.format_message()
    assert text.startswith(str(path))
    assert len(text) < 900
    assert text.isprintable()
    assert not (tmp_path / "out").exists()


def edited(source: Path, tmp_path: Path, edit: Callable[[h5py.File], Any]) -> Path:
    path = tmp_path / "edited.h5"
    shutil.copyfile(source, path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replace_dataset(**arguments: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[GROUP][KERNEL]
        file[GROUP].create_dataset(KERNEL, **arguments)

    return edit


def attribute(where: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[where].attrs[name]
        file[where].attrs[name] = value

    return edit


def set_value(group: str, array: str, value: float) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        dataset = file[f"model_weights/{group}/{group}/{array}:0"]
        dataset[(-1,) * dataset.ndim] = value

    return edit
