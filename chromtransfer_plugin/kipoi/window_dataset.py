"""What the dataloader classes share: batches cut at once, arguments checked, and what was left out listed."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from kipoi.data import Dataset
from kipoi.metadata import GenomicRanges
from kipoi.specs import DataLoaderDescription
from kipoi_utils.external.torch.data import DataLoader
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.kipoi import compat

compat.apply()

WIDEST = 1_000_000_000  # bp; longer than any window, and sums of such numbers fit 64 bits
_MOST_LISTED = 20  # rows or windows named in one warning


class WindowDataset(Dataset):
    """Windows of one length in a fixed order; a subclass sets ``_n`` and gives them in batches."""

    _n: int

    @classmethod
    def describe(
        cls,
        doc: str,
        args: Mapping[str, Mapping[str, Any]],
        metadata: Mapping[str, Mapping[str, str]],
        targets: Mapping[str, str] | None = None,
    ) -> None:
        """Attach what Kipoi shows and checks, as its decorator ``kipoi_dataloader`` does with a YAML docstring.

        Parameters
        ----------
        doc : str
        args : mapping
            One entry for each argument of ``__init__``. None may have a ``default``: Kipoi 0.8.6 takes numbers
            there for file names.
        metadata : mapping
            One entry for each field that a batch has.
        targets : mapping, optional
            Of a dataset that may have targets.
        """
        description = {
            "type": "Dataset",
            "defined_as": f"chromtransfer_plugin.kipoi.{cls.__name__}",
            "info": {
                "authors": [{"name": "The chromtransfer-plugin authors"}],
                "doc": doc,
                "license": "MIT",
            },
            "args": args,
            "output_schema": {
                "inputs": {
                    "shape": "(4, None)",
                    "special_type": "DNASeq",
                    "doc": "One-hot sequence, channels first in the order A, C, G, T; an unknown base is an all-zero "
                    "column",
                    "associated_metadata": ", ".join(metadata),
                },
                **({"targets": targets} if targets else {}),
                "metadata": metadata,
            },
        }
        cls._add_description_factory(DataLoaderDescription.from_config(description))

    @abstractmethod
    def batch(self, rows: slice | NDArray[np.int64]) -> dict[str, Any]:
        """Give several windows at once: ``inputs`` float32 (n, 4, width), ``metadata`` and perhaps ``targets``."""

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _first(self.batch(np.array([range(self._n)[index]])))

    def _batch_iterable(
        self,
        batch_size: int = 32,
        shuffle: bool = False,
        num_workers: int = 0,
        drop_last: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Let Kipoi's loader (and its workers) fetch whole batches instead of collating single windows."""
        if batch_size < 1:
            raise ChromTransferError(f"batch_size is {batch_size}, expected at least 1 (--batch_size 256).")
        if shuffle:
            return super()._batch_iterable(batch_size, shuffle, num_workers, drop_last, **kwargs)
        batches = _Batches(self, batch_size, drop_last)
        return DataLoader(batches, batch_size=1, num_workers=num_workers, collate_fn=itemgetter(0), **kwargs)


class _Batches:
    """The windows of a dataset seen as a sequence of batches."""

    def __init__(self, dataset: WindowDataset, batch_size: int, drop_last: bool) -> None:
        self._dataset, self._batch_size = dataset, batch_size
        self._n = len(dataset) // batch_size if drop_last else -(-len(dataset) // batch_size)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._dataset.batch(slice(index * self._batch_size, (index + 1) * self._batch_size))


def _first(values: Any) -> Any:
    """Give the first item of a batch."""
    if isinstance(values, Mapping):
        first = {key: _first(value) for key, value in values.items()}
        return GenomicRanges(**first) if isinstance(values, GenomicRanges) else first
    return values[0]


def text_array(values: Any) -> NDArray[np.str_]:
    """Give texts as numpy strings: Kipoi's HDF5 writer takes objects for arrays of variable length.

    Only for a batch at a time: every item takes the room of the longest.
    """
    return np.array(list(values), dtype=str)


def absolute_path(argument: str, path: Any, example: str) -> str:
    """Give an absolute path: Kipoi changes the working directory only while it constructs a dataloader."""
    usable = isinstance(path, str | os.PathLike) and "\0" not in os.fspath(path) and os.fspath(path) != ""
    if not usable:
        raise ChromTransferError(
            f"dataloader argument '{argument}' is {'missing' if path is None else repr(path)}, expected a file. "
            f"Example: --dataloader_args '{example}'."
        )
    return os.path.abspath(os.path.expanduser(path))


def check_width(width: Any) -> None:
    """Refuse what is no window length."""
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= WIDEST:
        raise ChromTransferError(
            f"dataloader argument 'width' is {width!r}, expected a whole number of base pairs from 1 to {WIDEST:,}."
        )


def warn_dropped(summary: str, items: list[str]) -> None:
    """Name what is left out, if anything, below the counts."""
    if items:
        warnings.warn(f"{summary}\n{_listed(items)}", ChromTransferWarning, stacklevel=3)


def warn_unknown(names: list[str], path: str) -> None:
    """Name the windows, if any, without a single known base."""
    if names:
        warnings.warn(
            f"{path}: predicted as NaN for want of any known base: {len(names)}\n{_listed(names)}",
            ChromTransferWarning,
            stacklevel=3,
        )


def _listed(items: list[str]) -> str:
    more = [f"... and {len(items) - _MOST_LISTED} more"] if len(items) > _MOST_LISTED else []
    return "\n".join(f"  {item}" for item in items[:_MOST_LISTED] + more)
