"""Every default of ``chromtransfer dataset build``, with where it comes from."""

from __future__ import annotations

from typing import Literal

THRESHOLD = 1.64  # of the z-score; paper, Methods (the upper 5 % of a normal distribution)
STRICT = True  # z > 1.64, not z >= 1.64; the paper does not say, no region lies exactly there
Z_OF_NO_SIGNAL = -10.0  # ENCODE SCREEN: regions without signal have no logarithm and get this z-score
OVER: Literal["region"] = (
    "region"  # paper, Methods: "per rDHS"; ENCODE SCREEN averages over the rDHS itself, too
)
MIN_OVERLAP = (
    75  # bp; half of ENCODE's narrowest DNase site (150 bp). Our choice: the paper calls from signal alone
)
RATIO = 3.0  # negatives for each positive; paper, Methods: 2.5 to 3.5
FROM_OTHER_LINES = 0.025  # of the negatives; the published sets have 0.014 to 0.033
UNIVERSAL = 0  # shared `Negative` regions; the published sets have 994, of unknown origin
DISTANCE = 300  # bp between a tile and any region; paper, Methods
FOLDS = 3  # paper, Methods: 3-fold cross-validation
MIN_REGIONS_OF_SILENT_CONTIG = 20  # so many regions without any signal on a contig: the file lacks its data
