"""Which windows have sequence in common wherever they lie: segmental duplications, young repeats, families of genes.

Linear time in the number of windows, as in Linclust (doi 10.1038/s41467-018-04964-5): windows that have a word of ``k``
bases in common are proposed as a pair, a repeat's word proposes each copy a few times and not with every other copy, and
a pair is joined only if its two windows really share enough words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.errors import ChromTransferError

WORD = (
    24  # bases; a diverged old repeat (an Alu differs by a tenth) has hardly a word of this length in common
)
SHARE = 0.5

_WORDS = 24_000_000  # words that are held at once, 8 bytes each
_PAIRS = 48_000_000
_ALL_PAIRS_TO = 16  # windows with a word in common, of which each pair is looked at
_SAMPLED_AT_LEAST = 10  # words that a pair to be found has in common after sampling
LONGEST = 4_096  # bp


def homology_clusters(
    codes: NDArray[np.uint8],
    k: int = WORD,
    share: float = SHARE,
    joined: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Number the clusters of windows that share sequence, on either strand, directly or by a chain.

    Two windows are linked if they have at least ``share`` of their words in common, each word as often as both have
    it, of the words of the one with fewer. Words with an unknown base do not count.

    Parameters
    ----------
    codes : ndarray (N, L) uint8
        Base codes.
    k : int
        Length of a word, 11 to 31 bases.
    share : float
    joined : ndarray (N,) int64, optional
        Numbers of groups that are clusters anyway, such as loci: the result joins these further.

    Returns
    -------
    ndarray (N,) int64
        Numbered in the order in which the clusters appear. Which windows go together does not depend on their order.
        Of more than 24 million words, words are sampled by their hash to propose pairs; pairs are always judged by all
        words.

    Raises
    ------
    ChromTransferError
        If ``k`` or ``share`` are out of range, or the windows are shorter than ``k`` or longer than 4,096 bp.
    """
    from chromtransfer_plugin.kmers import collect_words, count_words, find_roots, join_pairs, propose_pairs

    codes = np.ascontiguousarray(codes)
    check_words("homology", codes, k, share)
    n = len(codes)
    if not n:
        return np.empty(0, dtype=np.int64)
    order = _content_order(codes, k)
    parent = _start(n, order, joined)
    shared = share * (codes.shape[1] - k + 1)
    each = sampling(n * (codes.shape[1] - k + 1), int(shared / _SAMPLED_AT_LEAST))
    row_bits = row_bits_of(n)
    in_order = codes[order]
    keys = np.empty(count_words(in_order, k, 0, 0, each), dtype=np.uint64)
    collect_words(in_order, k, 0, 0, each, row_bits, keys)
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    all_pairs_to, nothing = _ALL_PAIRS_TO, np.empty(0, dtype=np.uint64)
    while (
        n_pairs := propose_pairs(keys, row_bits, all_pairs_to, parent, nothing)
    ) > _PAIRS and all_pairs_to > 1:
        all_pairs_to //= 2
    pairs = np.empty(n_pairs, dtype=np.uint64)
    if n_pairs:
        propose_pairs(keys, row_bits, all_pairs_to, parent, pairs)
        pairs.sort()
        starts = np.flatnonzero(np.concatenate([[True], pairs[1:] != pairs[:-1]]))
        votes = np.diff(starts, append=len(pairs))
        # One word in common of all that were sampled is not half a window.
        enough = 2 if shared / each >= _SAMPLED_AT_LEAST else 1
        pairs = pairs[starts[votes >= enough]]
        join_pairs(in_order, pairs, k, share, parent)
    find_roots(parent)
    root = np.empty(n, dtype=np.int64)
    root[order] = parent
    return numbered(root)


def check_words(where: str, codes: NDArray[np.uint8], k: int, share: float) -> None:
    """Raise if windows, words or share are none that can be compared."""
    from chromtransfer_plugin.kmers import LONGEST_WORD

    if not 11 <= k <= LONGEST_WORD:
        raise ChromTransferError(f"{where}: k is {k}, expected words of 11 to {LONGEST_WORD} bases.")
    if not 0 < share <= 1:
        raise ChromTransferError(f"{where}: share is {share}, expected above 0 and at most 1.")
    if codes.ndim != 2 or not k <= codes.shape[1] <= LONGEST:
        raise ChromTransferError(
            f"{where}: the windows have shape {codes.shape}, expected (N, L) with L from k = {k} to {LONGEST} bp."
        )


def sampling(n_words: int, limit: int = 1 << 20) -> int:
    """Choose which share of the words to hold, 1 in a power of two and not more sparsely than 1 in ``limit``."""
    each = 1
    while n_words // each > _WORDS and each * 2 <= limit:
        each *= 2
    return each


def row_bits_of(n: int) -> int:
    """Bits that a row number below ``n`` takes."""
    return max(1, (n - 1).bit_length())


def numbered(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number different values 0, 1, ... in order of appearance."""
    import pandas as pd

    return pd.factorize(values)[0].astype(np.int64)


def _content_order(codes: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """Order windows by what they contain, like ones near each other, whatever order they came in."""
    from chromtransfer_plugin.kmers import summaries

    least, summed = np.empty(len(codes), dtype=np.uint64), np.empty(len(codes), dtype=np.uint64)
    summaries(codes, k, least, summed)
    return np.lexsort([summed, least])


def _start(n: int, order: NDArray[np.int64], joined: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Start a union-find over the places of ``order``."""
    if joined is None:
        return np.arange(n)
    group = np.unique(np.asarray(joined)[order], return_inverse=True)[1]
    first = np.full(int(group.max()) + 1, n, dtype=np.int64)
    np.minimum.at(first, group, np.arange(n))
    return first[group]
