"""Work-arounds for defects of Kipoi 0.8.6, each with the fault it mends."""

from __future__ import annotations

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
    refuse_existing_outputs()


def restore_numpy_names() -> None:
    """Give numpy back ``string_`` and ``unicode_``.

    ``kipoi.writers.HDF5BatchWriter.batch_write`` looks up both, numpy 2.0 removed them: every ``.h5`` output
    ends in an AttributeError and leaves a broken file behind.
    """
    for old, new in (("string_", np.bytes_), ("unicode_", np.str_)):
        if not hasattr(np, old):
            setattr(np, old, new)


def refuse_existing_outputs() -> None:
    """Say plainly that an ``.h5`` or ``.parquet`` output exists already.

    ``HDF5BatchWriter`` opens its file in append mode and then fails to create the datasets a second time;
    ``ParquetFileBatchWriter`` raises FileExistsError. Both end in a traceback. ``.tsv`` is replaced.
    """
    from kipoi import writers

    for writer in (writers.HDF5BatchWriter, writers.ParquetFileBatchWriter):
        if not hasattr(writer.__init__, "__wrapped__"):
            writer.__init__ = _refusing(writer.__init__)


def _refusing(init: Any) -> Any:
    from functools import wraps

    @wraps(init)
    def checked(self: Any, file_path: str, *args: Any, **kwargs: Any) -> None:
        if Path(file_path).exists():
            raise ChromTransferError(
                f"{file_path}: exists already and Kipoi cannot replace it. Delete it or choose another name."
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
