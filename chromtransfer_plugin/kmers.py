"""Counting in sequences at the speed of the memory: composition, and the words of length k on both strands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

LONGEST_WORD = 31  # two bits a base in a signed 64-bit number, which -1 ("no word") must not be


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile, without Python's lock; keep the machine code on the disk where there is a place for it."""
    try:
        return numba.njit(cache=True, nogil=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder can be written to
        return numba.njit(nogil=True)(function)  # type: ignore[no-any-return]


@_compiled
def count_pairs(codes: NDArray[np.uint8], bases: NDArray[np.int32], pairs: NDArray[np.int32]) -> None:
    """Count the bases, (N, 5), and the neighbouring bases, (N, 25), of (N, L) codes; add to what is there."""
    for row in range(codes.shape[0]):
        before = codes[row, 0]
        bases[row, before] += 1
        for position in range(1, codes.shape[1]):
            code = codes[row, position]
            bases[row, code] += 1
            pairs[row, before * 5 + code] += 1
            before = code


@_compiled
def _hashed(word: np.uint64) -> np.uint64:
    """Scatter a word over all 64-bit numbers; one to one (SplitMix64's finaliser), so equal numbers are equal words."""
    x = word + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@_compiled
def _words_of(codes: NDArray[np.uint8], k: int, out: NDArray[np.uint64]) -> int:
    """Write the hashed words of one window, the lesser of either strand, into ``out``; how many there are.

    A word with an unknown base is left out.
    """
    mask = (np.uint64(1) << np.uint64(2 * k)) - np.uint64(1)
    top = np.uint64(2 * (k - 1))
    forward = backward = np.uint64(0)
    known = n = 0
    for code in codes:
        if code > 3:
            known = 0
            continue
        base = np.uint64(code)
        forward = ((forward << np.uint64(2)) | base) & mask
        backward = (backward >> np.uint64(2)) | ((np.uint64(3) - base) << top)
        known += 1
        if known >= k:
            out[n] = _hashed(min(forward, backward))
            n += 1
    return n


@_compiled
def count_words(codes: NDArray[np.uint8], k: int, bits: int, part: int, each: int) -> int:
    """Count the words of all windows whose hash begins with ``part`` in ``bits`` bits and is a multiple of ``each``."""
    buffer = np.empty(codes.shape[1], np.uint64)
    total = 0
    for row in range(codes.shape[0]):
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            total += _chosen(word, bits, part, each)
    return total


@_compiled
def _chosen(word: np.uint64, bits: int, part: int, each: int) -> bool:
    in_part = bits == 0 or (word >> np.uint64(64 - bits)) == np.uint64(part)
    return in_part and (word & np.uint64(each - 1)) == np.uint64(0)


@_compiled
def collect_words(
    codes: NDArray[np.uint8], k: int, bits: int, part: int, each: int, row_bits: int, out: NDArray[np.uint64]
) -> int:
    """Write the words that :func:`count_words` counts; with ``row_bits`` the row takes the place of as many low bits.

    Returns
    -------
    int
        How many were written.
    """
    buffer = np.empty(codes.shape[1], np.uint64)
    low = (np.uint64(1) << np.uint64(row_bits)) - np.uint64(1)
    n = 0
    for row in range(codes.shape[0]):
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            if _chosen(word, bits, part, each):
                out[n] = word if row_bits == 0 else (word & ~low) | np.uint64(row)
                n += 1
    return n


_ENTERED, _SEEN = 1, 2


@_compiled
def _slot_of(word: np.uint64, keys: NDArray[np.uint64], taken: NDArray[Any]) -> np.uint64:
    """Find the slot of a word in a table, whose number of slots is a power of two, or the free one where it would be."""
    last = np.uint64(len(keys) - 1)
    slot = word & last
    while taken[slot] and keys[slot] != word:
        slot = (slot + np.uint64(1)) & last
    return slot


@_compiled
def enter_words(
    codes: NDArray[np.uint8], k: int, bits: int, part: int, keys: NDArray[np.uint64], state: NDArray[np.uint8]
) -> None:
    """Enter the words of a part into a table, whose number of slots is a power of two and more than the words."""
    buffer = np.empty(codes.shape[1], np.uint64)
    for row in range(codes.shape[0]):
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            if _chosen(word, bits, part, 1):
                slot = _slot_of(word, keys, state)
                keys[slot], state[slot] = word, _ENTERED


@_compiled
def see_words(
    codes: NDArray[np.uint8], k: int, bits: int, part: int, keys: NDArray[np.uint64], state: NDArray[np.uint8]
) -> None:
    """Mark which entered words these windows have."""
    buffer = np.empty(codes.shape[1], np.uint64)
    for row in range(codes.shape[0]):
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            if _chosen(word, bits, part, 1):
                slot = _slot_of(word, keys, state)
                if state[slot]:
                    state[slot] = _SEEN


@_compiled
def count_seen(
    codes: NDArray[np.uint8], k: int, bits: int, part: int, keys: NDArray[np.uint64], state: NDArray[np.uint8],
    seen: NDArray[np.int32], total: NDArray[np.int32],
) -> None:  # fmt: skip
    """Add, for each of the windows that were entered, how many words of a part were seen, and how many there are."""
    buffer = np.empty(codes.shape[1], np.uint64)
    for row in range(codes.shape[0]):
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            if _chosen(word, bits, part, 1):
                slot = _slot_of(word, keys, state)
                total[row] += 1
                seen[row] += state[slot] == _SEEN


@_compiled
def summaries(
    codes: NDArray[np.uint8], k: int, least: NDArray[np.uint64], summed: NDArray[np.uint64]
) -> None:
    """Give the least hash of each window's words and their sum: the same for a window and its reverse complement."""
    buffer = np.empty(codes.shape[1], np.uint64)
    for row in range(codes.shape[0]):
        lowest = ~np.uint64(0)
        total = np.uint64(0)
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            lowest = min(lowest, word)
            total += word
        least[row] = lowest
        summed[row] = total


_SLOTS = 1 << 13  # of the table of one window's words; windows of up to 4,096 bp leave half of them free


@_compiled
def _fill_table(
    codes: NDArray[np.uint8],
    k: int,
    buffer: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    held: NDArray[np.int32],
) -> int:
    """Enter the words of one window, with how often each occurs, into an empty table; how many words."""
    held[:] = 0
    n = _words_of(codes, k, buffer)
    for word in buffer[:n]:
        slot = _slot_of(word, keys, held)
        keys[slot] = word
        held[slot] += 1
    return n


@_compiled
def _shared(
    codes: NDArray[np.uint8], k: int, buffer: NDArray[np.uint64], keys: NDArray[np.uint64], held: NDArray[np.int32],
    used: NDArray[np.int32],
) -> tuple[int, int]:  # fmt: skip
    """Count the words of a window that a table holds, each as often as both have it; and all its words."""
    n = _words_of(codes, k, buffer)
    common = 0
    for word in buffer[:n]:
        slot = _slot_of(word, keys, held)
        if held[slot] > used[slot]:
            used[slot] += 1
            common += 1
    for word in buffer[:n]:
        slot = _slot_of(word, keys, held)
        used[slot] = 0
    return common, n


@_compiled
def _root(parent: NDArray[np.int64], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@_compiled
def find_roots(parent: NDArray[np.int64]) -> None:
    """Point each row of a union-find straight at its root."""
    for row in range(len(parent)):
        parent[row] = _root(parent, row)


@_compiled
def propose_pairs(
    keys: NDArray[np.uint64],
    row_bits: int,
    all_pairs_to: int,
    parent: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> int:
    """Pair rows that have a word in common and are not joined yet.

    Parameters
    ----------
    keys : ndarray of uint64
        Sorted and different: words with the row in the low bits.
    row_bits : int
    all_pairs_to : int
        Words in more rows than this pair each row with the first and with the next four only, so that a repeat costs no
        square of its copies.
    parent : ndarray of int64
        Union-find of the rows.
    out : ndarray of uint64
        ``lesser row << 32 | greater row`` of each pair; empty to count only.

    Returns
    -------
    int
        Number of pairs.
    """
    low = (np.uint64(1) << np.uint64(row_bits)) - np.uint64(1)
    n, start = 0, 0
    for stop in range(1, len(keys) + 1):
        if stop < len(keys) and (keys[stop] & ~low) == (keys[start] & ~low):
            continue
        few = stop - start <= all_pairs_to
        for i in range(start, stop):
            one = np.int64(keys[i] & low)
            for j in range(i + 1, stop if few else min(i + 5, stop)):
                other = np.int64(keys[j] & low)
                if _root(parent, one) != _root(parent, other):
                    if len(out):
                        out[n] = (np.uint64(one) << np.uint64(32)) | np.uint64(other)
                    n += 1
            first = np.int64(keys[start] & low)
            if not few and i - start >= 5 and _root(parent, one) != _root(parent, first):
                if len(out):
                    out[n] = (np.uint64(first) << np.uint64(32)) | np.uint64(one)
                n += 1
        start = stop
    return n


@_compiled
def join_pairs(
    codes: NDArray[np.uint8], pairs: NDArray[np.uint64], k: int, share: float, parent: NDArray[np.int64]
) -> None:
    """Join the rows of each pair, sorted, whose windows share enough words."""
    buffer = np.empty(codes.shape[1], np.uint64)
    keys = np.empty(_SLOTS, np.uint64)
    held, used = np.zeros(_SLOTS, np.int32), np.zeros(_SLOTS, np.int32)
    # A window that is nearly all N shares its few words by chance.
    least = (codes.shape[1] - k + 1) / 4
    entered, n_entered = np.int64(-1), 0
    for pair in pairs:
        one, other = np.int64(pair >> np.uint64(32)), np.int64(pair & np.uint64(0xFFFFFFFF))
        if _root(parent, one) == _root(parent, other):
            continue
        if entered != one:
            n_entered = _fill_table(codes[one], k, buffer, keys, held)
            entered = one
        common, n = _shared(codes[other], k, buffer, keys, held, used)
        if common >= share * max(min(n, n_entered), least):
            a, b = _root(parent, one), _root(parent, other)
            parent[max(a, b)] = min(a, b)


_VOTERS = 16  # training windows that one word may vote for


@_compiled
def closest_rows(
    codes: NDArray[np.uint8], others: NDArray[np.uint8], keys: NDArray[np.uint64], k: int, each: int,
    row_bits: int, closest: NDArray[np.int64], shares: NDArray[np.float32],
) -> None:  # fmt: skip
    """Find for each window the one of ``others`` that shares most words, among those that share most sampled ones.

    Parameters
    ----------
    codes, others : ndarray (N, L), (M, L) uint8
    keys : ndarray of uint64
        Sorted words of ``others`` as of :func:`collect_words`.
    k, each, row_bits : int
    closest, shares : ndarray (N,)
        Written: row of ``others``, -1 if none, and the share of the window's words that it has.
    """
    buffer = np.empty(codes.shape[1], np.uint64)
    table = np.empty(_SLOTS, np.uint64)
    held, used = np.zeros(_SLOTS, np.int32), np.zeros(_SLOTS, np.int32)
    voted = np.empty(codes.shape[1] * _VOTERS, np.int64)
    low = (np.uint64(1) << np.uint64(row_bits)) - np.uint64(1)
    for row in range(codes.shape[0]):
        n_votes = 0
        for word in buffer[: _words_of(codes[row], k, buffer)]:
            if not _chosen(word, 0, 0, each):
                continue
            at = np.searchsorted(keys, word & ~low)
            for i in range(at, min(at + _VOTERS, len(keys))):
                if (keys[i] & ~low) != (word & ~low):
                    break
                voted[n_votes] = np.int64(keys[i] & low)
                n_votes += 1
        closest[row], shares[row] = -1, 0
        if n_votes == 0:
            continue
        n_words = _fill_table(codes[row], k, buffer, table, held)
        for place in _most_voted(np.sort(voted[:n_votes])):
            if place < 0:
                break
            common, _ = _shared(others[place], k, buffer, table, held, used)
            part = np.float32(common / n_words)
            if part > shares[row] or (part == shares[row] and place < closest[row]):
                closest[row], shares[row] = place, part


@_compiled
def _most_voted(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the three numbers that occur most often among sorted ones, the lesser first of equals; -1 for none."""
    best, counts = np.full(3, -1, np.int64), np.zeros(3, np.int64)
    start = 0
    for stop in range(1, len(votes) + 1):
        if stop < len(votes) and votes[stop] == votes[start]:
            continue
        count, place = stop - start, 2
        if count > counts[2]:
            while place > 0 and count > counts[place - 1]:
                best[place], counts[place] = best[place - 1], counts[place - 1]
                place -= 1
            best[place], counts[place] = votes[start], count
        start = stop
    return best
