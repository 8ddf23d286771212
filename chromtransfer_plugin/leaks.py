"""Which test windows a model may have seen in training: overlaps, and sequence shared with training windows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.homology import SHARE, WORD, check_words, row_bits_of, sampling

RECORD, TABLE = "leaks.json", "leaks.tsv"

_SLOTS = 1 << 25  # of the table of test words that are held at once, 9 bytes each
_WORST = 20
_BARE = re.compile("[0-9]+|X|Y|M|MT")


class LeakReport(BaseModel):
    """How much of the test windows is known from training.

    Attributes
    ----------
    n_train, n_test : int
        Windows.
    k : int
        Length of the words that are compared, on both strands; 0 if only places were.
    share : float
        A test window leaks if at least this share of its words is in the training windows.
    n_identical, n_overlapping, n_leaking : int
        Test windows that are training windows, that overlap one, and that share at least ``share``.
    shares : list of float
        Quantiles 0, .05, ... 1 of the share over the test windows; empty if only places were compared.
    worst : list of tuple
        The windows that share most, ``(chrom:start-end, share, the training window that shares most)``; at most 20.
    n_leaking_one : int
        Test windows that share at least ``share`` of their words with a single training window. The other leaking
        ones are patchworks, mostly repeats.
    n_leaking_elsewhere : int
        Leaking test windows that overlap no training window: only their sequence tells.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_train: int
    n_test: int
    k: int
    share: float
    n_identical: int
    n_overlapping: int
    n_leaking: int
    shares: list[float]
    worst: list[tuple[str, float, str]]
    n_leaking_one: int = 0
    n_leaking_elsewhere: int = 0

    @property
    def leaks(self) -> bool:
        """Whether a test window overlaps a training window or leaks by its sequence."""
        return bool(self.n_overlapping or self.n_leaking)

    def verdict(self) -> str:
        """Say in one line whether the test windows are new to a model."""
        sequence = (
            f"{self.n_leaking} share {self.share:.0%} or more of their {self.k}-base words with training "
            f"({self.n_leaking_one} with one training window)"
            if self.k
            else "sequences were not compared (give a genome)"
        )
        if self.n_identical:
            start = f"LEAK: {self.n_identical} of {self.n_test} test windows are training windows"
        elif self.leaks:
            start = f"LEAK: of {self.n_test} test windows none is a training window"
        else:
            start = f"no leak: of {self.n_test} test windows none is a training window"
        return f"{start}, {self.n_overlapping} overlap one, {sequence}."


def find_leaks(
    train: pd.DataFrame,
    test: pd.DataFrame,
    train_codes: NDArray[np.uint8] | None,
    test_codes: NDArray[np.uint8] | None,
    *,
    k: int = WORD,
    share: float = SHARE,
) -> tuple[LeakReport, pd.DataFrame]:
    """Compare test windows with training windows.

    Every word of every window is compared; only to propose the training window that shares most, words are sampled
    where there are more than 24 million.

    Parameters
    ----------
    train, test : DataFrame
        ``chrom, start, end``.
    train_codes, test_codes : ndarray (N, L) uint8 or None
        Base codes of the windows in the same order; None compares places only.
    k : int
    share : float

    Returns
    -------
    LeakReport, DataFrame
        The report, and one row per test window: ``chrom, start, end, identical, overlapping, share, closest,
        closest_share``: the share of its words in any training window, the training window that shares most, and the
        share in that one, each word as often as both have it. Both shares are NaN if only places were compared; then
        ``closest`` is the training window with the largest overlap.

    Raises
    ------
    ChromTransferError
        If there are no windows on a side, one side says ``chr1`` and the other ``1``, codes are given for one side only
        or not for each row, or ``k`` or ``share`` are out of range.
    """
    _check(train, test, train_codes, test_codes)
    train_order = np.lexsort(
        [train["end"].to_numpy(), train["start"].to_numpy(), pd.factorize(train["chrom"], sort=True)[0]]
    )
    names = _names(train)
    table = test[["chrom", "start", "end"]].reset_index(drop=True)
    places = pd.MultiIndex.from_frame(train[["chrom", "start", "end"]])
    table["identical"] = pd.MultiIndex.from_frame(table[["chrom", "start", "end"]]).isin(places)
    overlapped = _largest_overlap(train.iloc[train_order], table)
    table["overlapping"] = overlapped >= 0
    if train_codes is None or test_codes is None:
        closest = np.where(overlapped >= 0, train_order[np.maximum(overlapped, 0)], -1)
        table["share"], closest_share, k = np.nan, np.full(len(table), np.nan, dtype=np.float32), 0
    else:
        for codes in (train_codes, test_codes):
            check_words("leaks", codes, k, share)
        train_codes, test_codes = np.ascontiguousarray(train_codes), np.ascontiguousarray(test_codes)
        table["share"] = _share_known(train_codes, test_codes, k)
        closest, closest_share = _closest(train_codes, train_order, test_codes, k)
    table["closest"] = pd.Series(np.where(closest >= 0, names[np.maximum(closest, 0)], "."), dtype="str")
    table["closest_share"] = closest_share
    return _report(len(train), table, k, share), table


def write_leaks(report: LeakReport, table: pd.DataFrame, folder: Path) -> None:
    """Write ``leaks.json`` and ``leaks.tsv`` into an existing folder."""
    from chromtransfer_plugin.files import atomic_path
    from chromtransfer_plugin.json_record import write_record

    write_record(report, folder / RECORD)
    with atomic_path(folder / TABLE) as temporary:
        words = {name: table[name].map({True: "yes", False: "no"}) for name in ("identical", "overlapping")}
        table.assign(**words).to_csv(temporary, sep="\t", index=False, float_format="%.4f", na_rep="NA")


def _check(
    train: pd.DataFrame,
    test: pd.DataFrame,
    train_codes: NDArray[np.uint8] | None,
    test_codes: NDArray[np.uint8] | None,
) -> None:
    for name, table, codes in (("training", train, train_codes), ("test", test, test_codes)):
        if not len(table):
            raise ChromTransferError(f"leaks: there are no {name} windows.")
        if (train_codes is None) != (test_codes is None):
            raise ChromTransferError("leaks: give the sequences of both sides, or of neither.")
        if codes is not None and len(codes) != len(table):
            raise ChromTransferError(f"leaks: {len(table)} {name} windows have {len(codes)} sequences.")
    _require_one_naming(list(train["chrom"].unique()), list(test["chrom"].unique()))


def _require_one_naming(train: Sequence[str], test: Sequence[str]) -> None:
    """Raise if one side says `chr1` and the other `1`: then nothing would overlap."""
    for prefixed, bare in ((train, test), (test, train)):
        if all(name.startswith("chr") for name in prefixed) and all(map(_BARE.fullmatch, bare)):
            raise ChromTransferError(
                f"leaks: the contigs are called {prefixed[0]} on one side and {bare[0]} on the other, training or test. "
                "Give both the names of one genome, e.g. `sed 's/^/chr/'`."
            )


def _names(table: pd.DataFrame) -> NDArray[np.object_]:
    from chromtransfer_plugin.regions import region_ids

    return region_ids(table).to_numpy(dtype=object)


def _largest_overlap(train: pd.DataFrame, test: pd.DataFrame) -> NDArray[np.int64]:
    """Find the place in ``train``, sorted, of the window that overlaps each test window most; -1 if none does."""
    import pyranges

    names = {"chrom": "Chromosome", "start": "Start", "end": "End"}
    best = np.full(len(test), -1, dtype=np.int64)
    tests, trains = (
        pyranges.PyRanges(
            one[list(names)]
            .rename(columns=names)
            .astype({"Chromosome": "str"})
            .assign(row=np.arange(len(one))),
            int64=True,
        )
        for one in (test, train)
    )
    both = tests.join(trains, report_overlap=True, suffix="_train")
    if len(both):
        found = both.df.sort_values(["row", "Overlap", "row_train"], ascending=[True, False, True])
        found = found.drop_duplicates("row")
        best[found["row"]] = found["row_train"]
    return best


def _share_known(
    train_codes: NDArray[np.uint8], test_codes: NDArray[np.uint8], k: int
) -> NDArray[np.float32]:
    """Share of each test window's words in any training window, part by part of all words to bound the memory."""
    from chromtransfer_plugin.kmers import count_seen, enter_words, see_words

    n_words = len(test_codes) * (test_codes.shape[1] - k + 1)
    bits = max(0, (2 * n_words // _SLOTS).bit_length())
    # Twice the words of a part at most: a repeat's words are many but few different ones.
    slots = 1 << (2 * (n_words >> bits) + 16).bit_length()
    seen, total = np.zeros((2, len(test_codes)), dtype=np.int32)
    for part in range(1 << bits):
        keys, state = np.empty(slots, dtype=np.uint64), np.zeros(slots, dtype=np.uint8)
        enter_words(test_codes, k, bits, part, keys, state)
        see_words(train_codes, k, bits, part, keys, state)
        count_seen(test_codes, k, bits, part, keys, state, seen, total)
    return (seen / np.maximum(total, 1)).astype(np.float32)


def _closest(
    train_codes: NDArray[np.uint8], train_order: NDArray[np.int64], test_codes: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row of the training window that shares most words with each test window, -1 if none does, and the share."""
    from chromtransfer_plugin.kmers import closest_rows, collect_words, count_words

    each = sampling(train_codes.shape[0] * (train_codes.shape[1] - k + 1), limit=16)
    row_bits = row_bits_of(len(train_codes))
    in_order = train_codes[train_order]
    keys = np.empty(count_words(in_order, k, 0, 0, each), dtype=np.uint64)
    collect_words(in_order, k, 0, 0, each, row_bits, keys)
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    closest = np.empty(len(test_codes), dtype=np.int64)
    shares = np.empty(len(test_codes), dtype=np.float32)
    closest_rows(test_codes, in_order, keys, k, each, row_bits, closest, shares)
    return np.where(closest >= 0, train_order[np.maximum(closest, 0)], -1), shares


def _report(n_train: int, table: pd.DataFrame, k: int, share: float) -> LeakReport:
    shares = table["share"].to_numpy(dtype=np.float64)
    leaking = shares >= share if k else np.zeros(len(table), dtype=bool)
    order = np.lexsort([table["start"].to_numpy(), pd.factorize(table["chrom"], sort=True)[0], -shares])
    shown = order[(shares[order] > 0)][:_WORST] if k else order[:0]
    names = _names(table.iloc[shown])
    return LeakReport(
        n_train=n_train,
        n_test=len(table),
        k=k,
        share=share,
        n_identical=int(table["identical"].sum()),
        n_overlapping=int(table["overlapping"].sum()),
        n_leaking=int(leaking.sum()),
        shares=[round(float(x), 6) for x in np.quantile(shares, np.arange(21) / 20)] if k else [],
        worst=[
            (name, round(float(shares[row]), 6), str(table["closest"].iloc[row]))
            for name, row in zip(names, shown, strict=True)
        ],
        n_leaking_one=int((table["closest_share"] >= share).sum()) if k else 0,
        n_leaking_elsewhere=int((leaking & ~table["overlapping"].to_numpy()).sum()),
    )
