"""Which windows train, validate and test: by chromosome, locus or homology, never by random neighbours.

Windows of one locus overlap (in the paper's sets up to 40 % of consecutive ones do), so a random
split puts the same bases on both sides; so do copies elsewhere in the genome, unless they stay together. Every
function here gives the same answer for a row whatever the order of the rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import TEST_CHROMOSOMES
from chromtransfer_plugin.errors import ChromTransferError

DEFAULT_GAP = 10_000

By = Literal["chromosome", "locus", "homology"]
Codes = NDArray[np.uint8]

_GROUPS = {"chromosome": "chromosomes", "locus": "loci", "homology": "clusters of loci with like sequence"}


def by_chromosome(
    table: pd.DataFrame,
    test: Sequence[str] | None = TEST_CHROMOSOMES,
    validation: Sequence[str] | None = None,
) -> NDArray[np.str_]:
    """Name the split of each row from its chromosome.

    Parameters
    ----------
    table : DataFrame
        With column chrom; n rows.
    test, validation : sequence of str or None
        Chromosomes of each split, the rest trains. The paper tests on chr2 and chr3.

    Returns
    -------
    ndarray of str, shape (n,)
        "train", "validation" or "test".

    Raises
    ------
    ChromTransferError
        If a chromosome is in both lists, or a split asked for gets no row.
    """
    chosen = {"test": _names(test), "validation": _names(validation)}
    both = sorted(set(chosen["test"]) & set(chosen["validation"]))
    if both:
        raise ChromTransferError(
            f"by_chromosome: {', '.join(both)} is both test and validation. Give each to one split."
        )
    split = np.full(len(table), "train", dtype="<U10")
    for name, chromosomes in chosen.items():
        split[table["chrom"].isin(chromosomes).to_numpy(dtype=bool)] = name
    for name in ["train", *(name for name, chromosomes in chosen.items() if chromosomes)]:
        if not (split == name).any():
            wanted = ", ".join(chosen.get(name, [])) or "any other than test and validation"
            raise ChromTransferError(
                f"by_chromosome: the {name} split is empty, no region lies on {wanted}. "
                f"The regions lie on {_present(table)}. Choose among these."
            )
    return split


def _names(chromosomes: Sequence[str] | None) -> list[str]:
    if chromosomes is None:
        return []
    return [chromosomes] if isinstance(chromosomes, str) else list(chromosomes)


def _present(table: pd.DataFrame) -> str:
    names = sorted(table["chrom"].unique())
    return ", ".join(names[:30]) + (", ..." if len(names) > 30 else "") if names else "no chromosome at all"


def loci(table: pd.DataFrame, gap: int = DEFAULT_GAP) -> NDArray[np.int64]:
    """Number the loci: windows that overlap or lie at most ``gap`` bp apart, directly or by a chain.

    Parameters
    ----------
    table : DataFrame
        With columns chrom, start, end; n rows in any order.
    gap : int
        Largest number of bases between two windows of one locus.

    Returns
    -------
    ndarray of int64, shape (n,)
        0 for the first locus in order of chromosome name and position, and so on.

    Raises
    ------
    ChromTransferError
        If ``gap`` is negative.
    """
    if gap < 0:
        raise ChromTransferError(f"loci: gap is {gap} bp, expected 0 or more.")
    start = table["start"].to_numpy(dtype=np.int64)
    end = table["end"].to_numpy(dtype=np.int64)
    chrom = pd.factorize(table["chrom"], sort=True)[0].astype(np.int64)
    if not len(table):
        return np.empty(0, dtype=np.int64)
    # Laying the chromosomes end to end, further apart than any gap, makes one running maximum enough.
    span = int(end.max()) + gap + 1
    start, end = start + chrom * span, end + chrom * span
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(end[order])
    new = np.concatenate([[False], start[order][1:] > reach[:-1] + gap])
    number = np.empty(len(table), dtype=np.int64)
    number[order] = np.cumsum(new)
    return number


def homology_groups(table: pd.DataFrame, codes: Codes, gap: int = DEFAULT_GAP) -> NDArray[np.int64]:
    """Number the groups of loci that have sequence in common, directly or by a chain.

    Parameters
    ----------
    table : DataFrame
        With columns chrom, start, end; n rows in any order.
    codes : ndarray (n, L) uint8
        Base codes of the windows.
    gap : int
        Of the loci, see ``loci``. See :func:`~chromtransfer_plugin.homology.homology_clusters` for what is in common.

    Returns
    -------
    ndarray of int64, shape (n,)
        0 for the group of the first locus, and so on.
    """
    from chromtransfer_plugin.homology import homology_clusters

    locus = loci(table, gap)
    cluster = homology_clusters(codes, joined=locus)
    first = np.full(int(cluster.max(initial=-1)) + 1, len(table), dtype=np.int64)
    np.minimum.at(first, cluster, locus)
    return np.unique(first[cluster], return_inverse=True)[1].astype(np.int64)


def _groups(table: pd.DataFrame, by: By, gap: int, codes: Codes | None) -> NDArray[np.int64]:
    if by == "chromosome":
        return pd.factorize(table["chrom"], sort=True)[0].astype(np.int64)
    if by == "locus":
        return loci(table, gap)
    if by == "homology":
        if codes is None:
            raise ChromTransferError(
                "splits: by='homology' compares sequences: give codes, the base codes of the windows."
            )
        if len(codes) != len(table):
            raise ChromTransferError(f"splits: {len(table)} windows have {len(codes)} sequences.")
        return homology_groups(table, codes, gap)
    raise ChromTransferError(f"splits: by is '{by}', expected 'chromosome', 'locus' or 'homology'.")


def k_folds(
    table: pd.DataFrame,
    k: int = 3,
    by: By = "chromosome",
    gap: int = DEFAULT_GAP,
    seed: int = 0,
    codes: Codes | None = None,
) -> NDArray[np.int64]:
    """Assign each row to one of ``k`` folds of about equal size.

    Groups go, the largest first, to the fold that is smallest so far. ``seed`` orders loci, or clusters, of equal
    size; chromosomes of equal size go by name.

    Parameters
    ----------
    table : DataFrame
        With columns chrom, start, end; n rows.
    k : int
        Number of folds, 2 or more. The paper uses 3.
    by : {"chromosome", "locus", "homology"}
        What must not be divided; by homology, loci that have sequence in common (``homology_groups``).
    gap : int
        For loci, see ``loci``.
    seed : int
    codes : ndarray (n, L) uint8, optional
        Base codes of the windows, for homology.

    Returns
    -------
    ndarray of int64, shape (n,)
        Fold 0 to k - 1 of each row.

    Raises
    ------
    ChromTransferError
        If ``k`` is below 2, a fold would be empty, or codes are missing.
    """
    if k < 2:
        raise ChromTransferError(f"k_folds: k is {k}, expected 2 or more.")
    group = _groups(table, by, gap, codes)
    sizes = np.bincount(group)
    if len(sizes) < k:
        raise ChromTransferError(
            f"k_folds: fold {len(sizes)} would be empty, {k} folds need at least {k} "
            f"{_GROUPS[by]} and there are {len(sizes)} ({_present(table)}). "
            f"Use fewer folds{' or fold by locus (YAML: `fold_by: locus`)' if by == 'chromosome' else ''}."
        )
    order = (
        np.random.default_rng(seed).permutation(len(sizes)) if by != "chromosome" else np.arange(len(sizes))
    )
    return _greedy(sizes, order, k)[group]


def _greedy(sizes: NDArray[Any], order: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Give each group, the largest first and equals in ``order``, to the fold with the fewest rows."""
    fold = np.empty(len(sizes), dtype=np.int64)
    filled = [(0, number) for number in range(k)]
    for group in order[np.argsort(-sizes[order], kind="stable")].tolist():
        rows, number = filled[0]
        fold[group] = number
        heapq.heapreplace(filled, (rows + int(sizes[group]), number))
    return fold


def _middles(sizes: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """Lay the groups in random order on [0, 1), each as long as its share; give their middles."""
    order = np.random.default_rng(seed).permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    middle = np.empty(len(sizes), dtype=np.float64)
    middle[order] = (ends - sizes[order] / 2) / ends[-1]
    return middle


def validation_mask(
    table: pd.DataFrame,
    fraction: float = 0.1,
    by: By = "locus",
    gap: int = DEFAULT_GAP,
    seed: int = 0,
    codes: Codes | None = None,
) -> NDArray[np.bool_]:
    """Choose whole groups (loci, chromosomes, clusters) at random that hold about ``fraction`` of the rows.

    Parameters
    ----------
    table : DataFrame
        With columns chrom, start, end; n rows.
    fraction : float
        Share of the rows to validate on, between 0 and 1.
    by, gap, seed, codes
        As for ``k_folds``; here the seed also chooses the chromosomes.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for validation.

    Raises
    ------
    ChromTransferError
        If ``fraction`` is not between 0 and 1, or one side would be empty.
    """
    if not 0 < fraction < 1:
        raise ChromTransferError(f"validation_mask: fraction is {fraction}, expected between 0 and 1.")
    group = _groups(table, by, gap, codes)
    sizes = np.bincount(group)
    chosen = _middles(sizes, seed) < fraction if len(sizes) else np.empty(0, dtype=bool)
    if len(sizes) > 1 and not chosen.any():
        # Every group is larger than the share asked for: the smallest one comes closest.
        chosen[int(np.argmin(sizes))] = True
    mask = chosen[group]
    if not mask.any() or mask.all():
        side = "validation" if not mask.any() else "train"
        raise ChromTransferError(
            f"validation_mask: the {side} split would be empty, the {len(table)} regions form "
            f"{len(sizes)} {_GROUPS[by]}. "
            + ("Use by='locus'." if by == "chromosome" else f"Use a smaller gap than {gap} bp.")
        )
    return mask
