"""What the multi-class baselines are trained on: one class for each line and one for closed windows.

The paper describes one network on the joined sets of all lines. What was really trained differs: every row whose
label was not one of the seven class names was skipped, and with it every negative of a line (``LINE_NEG``); the windows
labelled ``Negative`` are in every line's file, so each was seen once for each line. ``fixed`` gives the class
``Negative`` what it was meant to have: each line's own negatives, unless they are positive in another line; every window
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from chromtransfer_plugin.dataset import Splits, Windows
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.regions import region_ids
from chromtransfer_plugin.train import TrainingData

NEGATIVE = "Negative"


def multiclass_rows(tables: Mapping[str, pd.DataFrame], fixed: bool) -> pd.DataFrame:
    """Join the training windows of all lines into classes.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By line: ``chrom, start, end, label, y``.
    fixed : bool
        Keep each line's own negatives.

    Returns
    -------
    DataFrame
        ``chrom, start, end, label, copies``: ``label`` is a line or ``Negative``, ``copies`` how often the row counts.

    Raises
    ------
    ChromTransferError
        If a class is empty, or a window is positive in two lines.
    """
    parts = []
    for line, table in tables.items():
        positive = (table["y"] == 1).to_numpy()
        keep = positive | (table["label"] == NEGATIVE).to_numpy() | fixed
        parts.append(table[["chrom", "start", "end"]].assign(label=np.where(positive, line, NEGATIVE))[keep])
    rows = pd.concat(parts, ignore_index=True)
    ids = region_ids(rows)
    is_positive = (rows["label"] != NEGATIVE).to_numpy()
    owners = rows[is_positive].groupby(ids[is_positive])["label"].nunique()
    if (owners > 1).any():
        raise ChromTransferError(
            f"multiclass: {int((owners > 1).sum())} windows are positive in several lines, e.g. "
            f"{owners.index[owners > 1][0]}: exclusive classes cannot say that. Leave the multi-class baselines out, or "
            "take windows that are open in one line only."
        )
    rows = rows[is_positive | ~ids.isin(owners.index).to_numpy()]
    joined = rows.groupby(["chrom", "start", "end", "label"], sort=False, as_index=False).size()
    joined = joined.rename(columns={"size": "copies"}).assign(**({"copies": 1} if fixed else {}))
    if not (joined["label"] == NEGATIVE).any():
        raise ChromTransferError(
            f"multiclass: no training window is labelled '{NEGATIVE}', so this class is empty. Use multiclass-fixed, which "
            "puts each line's own negatives there."
        )
    return joined


@dataclass
class CopiedWindows(TrainingData):
    """Labelled regions of which some count several times in an epoch, as if their rows stood in the file so often.

    Attributes
    ----------
    copies : mapping of (str, int) to int
        By contig and start; 1 where absent.
    """

    copies: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def splits(self, flank: int, seed: int, ensemble: bool) -> tuple[list[Splits], str, str]:
        """As in :class:`~chromtransfer_plugin.train.TrainingData`; training and validation windows are repeated."""
        splits, report, identity = super().splits(flank, seed, ensemble)
        repeated = [
            split._replace(train=self._repeat(split.train), validation=self._repeat(split.validation))
            for split in splits
        ]
        return repeated, report, identity

    def _repeat(self, windows: Windows) -> Windows:
        places = zip(windows.table["chrom"], windows.table["start"], strict=True)
        return windows.take(np.repeat(np.arange(windows.n), [self.copies.get(place, 1) for place in places]))
