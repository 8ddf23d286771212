"""Work-arounds for defects of Kipoi 0.8.6, each with the fault it mends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError


def apply() -> None:
    """Apply every work-around that is not tied to one model; harmless when repeated.

    Kipoi imports the model and the dataloader class before it makes a writer, so calling this when those
    are imported is early enough.
    """
    restore_numpy_names()
    check_outputs()


def restore_numpy_names() -> None:
    """Give numpy back ``string_`` and ``unicode_``.

    ``kipoi.writers.HDF5BatchWriter.batch_write`` looks up both, numpy 2.0 removed them: every ``.h5`` output
    ends in an AttributeError and leaves a broken file behind.
    """
    for old, new in (("string_", np.bytes_), ("unicode_", np.str_)):
        if not hasattr(np, old):
            setattr(np, old, new)


def check_outputs() -> None:
    """Say plainly that an output cannot be written.

    ``HDF5BatchWriter`` opens its file in append mode and then fails to create the datasets a second time;
    ``ParquetFileBatchWriter`` raises FileExistsError. Both end in a traceback. ``.tsv`` is replaced. All
    three end in one for a place that cannot be written to; the last two only after the first predictions.
    """
    from kipoi import writers

    for writer, replaces in (
        (writers.HDF5BatchWriter, False),
        (writers.ParquetFileBatchWriter, False),
        (writers.TsvBatchWriter, True),
    ):
        if not hasattr(writer.__init__, "__wrapped__"):
            writer.__init__ = _checking(writer.__init__, replaces)


def _checking(init: Any, replaces: bool) -> Any:
    from functools import wraps

    @wraps(init)
    def checked(self: Any, file_path: str, *args: Any, **kwargs: Any) -> None:
        target = Path(file_path)
        if target.is_dir():
            raise ChromTransferError(f"{target}: is a folder, expected the name of a file to write.")
        if not target.parent.is_dir():
            raise ChromTransferError(f"{target}: cannot be written, there is no folder {target.parent}.")
        if target.exists() and not replaces:
            raise ChromTransferError(
                f"{target}: exists already and Kipoi cannot replace it. Delete it or choose another name."
            )
        if not os.access(target if target.exists() else target.parent, os.W_OK):
            raise ChromTransferError(
                f"{target}: cannot be written, it is not allowed. Choose another folder."
            )
        init(self, file_path, *args, **kwargs)

    return checked


def anchor_expectation(test: Any, model_folder: Path) -> None:
    """Make the path ``test.expect`` of a model absolute.

    ``kipoi.cli.main.cli_test`` opens it relative to the working directory, although every other path in
    ``model.yaml`` is relative to the model folder: without this, ``kipoi test`` only works from inside it.

    Parameters
    ----------
    test : kipoi.specs.ModelTest
        Changed in place. A remote file or an absolute path is left alone.
    model_folder : Path
    """
    if isinstance(test.expect, str):
        test.expect = str(model_folder / test.expect)
