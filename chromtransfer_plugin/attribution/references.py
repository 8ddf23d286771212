"""Shuffled sequences to compare a sequence with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from chromtransfer_plugin.onehot import N_CODE, one_hot_tensor

if TYPE_CHECKING:
    import torch


def shuffles(codes: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Shuffle sequences so that each keeps its dinucleotides, its first and its last base (tangermeme's shuffle).

    The shuffles of a sequence depend on itself and on ``seed``, not on its place or on the other sequences. Unknown bases
    stay where they are; the known ones are shuffled as if the unknown ones were not between them.

    Parameters
    ----------
    codes : torch.Tensor, shape (N, L), uint8
    n : int
        Shuffles of each.
    seed : int
        From 0 to 2**32 - 1.

    Returns
    -------
    torch.Tensor, shape (N, n, L), uint8
    """
    import torch
    from tangermeme.ersatz import dinucleotide_shuffle

    shuffled = codes.unsqueeze(1).repeat(1, n, 1)
    for row, own in zip(shuffled, codes, strict=True):
        known = own != N_CODE
        if known.sum() < 2:
            continue
        X = one_hot_tensor(own[known][None], torch.int8)
        first = int.from_bytes(
            hashlib.blake2b(own.numpy().tobytes(), digest_size=4, key=seed.to_bytes(4)).digest()
        )
        # One at a time: asked for several, it refuses a sequence that has only one shuffle, as a repeat of A.
        seeds = [(first + k) % 2**31 for k in range(n)]
        drawn = dinucleotide_shuffle(X.repeat(n, 1, 1), n=1, random_state=seeds)[:, 0]
        row[:, known] = drawn.argmax(dim=1).to(torch.uint8)
    return shuffled
