"""Test set and folds of the tables of a data set: a window has the same place in every table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from chromtransfer_plugin.constants import TEST_CHROMOSOMES
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome
from chromtransfer_plugin.preparation.config import Split
from chromtransfer_plugin.preparation.contigs import contig_counts
from chromtransfer_plugin.preparation.windows import INTERVAL
from chromtransfer_plugin.splits import k_folds

TRAIN, TEST = "train", "test"
NO_FOLD = -1  # of test windows


def assign_splits(
    tables: Mapping[str, pd.DataFrame], split: Split, genome: Genome, seed: int
) -> dict[str, pd.DataFrame]:
    """Add ``split`` (``train`` or ``test``) and ``fold`` (0, 1, ...; -1 for test) to each table.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        With ``chrom`` (of one category), ``start``, ``end``.
    split : Split
    genome : Genome
        Read if folds are by homology.
    seed : int

    Raises
    ------
    ChromTransferError
        If a test chromosome has no window, nothing is left to train on, or there are too few chromosomes or loci.
    """
    union = pd.concat([table[INTERVAL] for table in tables.values()]).drop_duplicates()
    order = np.lexsort((union["end"], union["start"], union["chrom"].cat.codes))
    union = union.iloc[order].reset_index(drop=True)
    test = union["chrom"].isin(split.test).to_numpy(bool)
    _check(split, union, test)
    fold = np.full(len(union), NO_FOLD, dtype=np.int8)
    training = union[~test]
    if split.by == "homology":
        width = int(union["end"].iloc[0] - union["start"].iloc[0])
        codes = genome.extract(training["chrom"].astype("str"), training["start"], width)
        fold[~test] = k_folds(training, split.folds, split.by, seed=seed, codes=codes)
    else:
        fold[~test] = k_folds(training, split.folds, split.by, seed=seed)
    union = union.assign(split=np.where(test, TEST, TRAIN), fold=fold)
    return {name: table.merge(union, on=INTERVAL, how="left") for name, table in tables.items()}


def _check(split: Split, union: pd.DataFrame, test: np.ndarray) -> None:
    present = [name for name, count in contig_counts(union).items() if count]
    absent = [name for name in split.test if name not in present]
    if absent:
        raise ChromTransferError(
            f"split.test: no window lies on {', '.join(absent)}; they lie on {', '.join(present[:30])}. "
            "Name the test chromosomes among these, or `test: []` for none."
        )
    if test.all():
        raise ChromTransferError(
            "split.test: every window is on a test chromosome, none is left to train on."
        )
    n_training = len(present) - len(set(split.test))
    if split.by == "chromosome" and n_training < split.folds:
        raise ChromTransferError(
            f"split: {split.folds} folds by chromosome need as many chromosomes beside those of the test, and there are "
            f"{n_training}. Set `split: {{by: locus}}`, or fewer `folds`."
        )


def one_class_parts(tables: Mapping[str, pd.DataFrame], positive: Mapping[str, str]) -> list[str]:
    """Say which folds and test sets hold windows of one class alone.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        With ``label`` and ``fold``.
    positive : mapping of str to str
        Label of the positives of each table.
    """
    found = []
    for name, table in tables.items():
        shares = (table["label"] == positive[name]).groupby(table["fold"]).mean()
        for fold, share in shares[shares.isin([0, 1])].items():
            where = "the test set" if fold == NO_FOLD else f"fold {fold}"
            found.append(
                f"{name}: {where} holds {'positives' if share else 'negatives'} alone, so no AUROC can be had there"
            )
    return found


def other_test_chromosomes(split: Split) -> list[str]:
    """Say what training must be told if the test chromosomes are not those that it leaves out of itself."""
    if set(split.test) == set(TEST_CHROMOSOMES):
        return []
    return [
        f"test chromosomes: {', '.join(split.test) or 'none'}; `chromtransfer train` tests on {', '.join(TEST_CHROMOSOMES)} "
        "unless `--test-chromosome` names others"
    ]


def split_counts(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, int]]:
    """Windows of each table in each fold and in the test set."""
    return {
        name: {
            TEST if fold == NO_FOLD else f"{TRAIN} fold {fold}": int(count)
            for fold, count in table["fold"].value_counts().sort_index().items()
        }
        for name, table in tables.items()
    }
