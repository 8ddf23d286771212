"""A trunk of known motifs and k-mers in place of the residual one: what to use with few labels.

A network cannot learn hundreds of motifs from a thousand windows, but it can learn which of the known ones matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import N_CODE

WIDTHS = (8, 12, 16, 24)  # kernel sizes of the four groups of motifs; longer motifs lose their end
PSEUDOCOUNT = 0.1
THRESHOLD = 3.0  # bits: weaker matches do not count
CENTRE = 200  # bp around the middle of the window with a maximum of their own
K = 6
# Windows at once when no gradient is wanted: on a CPU the wide maps then stay in the processor's cache.
_CHUNK = {"cpu": 4, "cuda": 256}


class MotifGroup(nn.Module):
    """Motifs of similar length on both strands: score -> ReLU -> three summaries of the positions."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.n = n
        self.pad = nn.ConstantPad1d(
            width // 2, 0.0
        )  # the same on both sides, so that both strands see the same
        self.conv = nn.Conv1d(4, 2 * n, width)
        self.relu = nn.ReLU()
        # DeepLIFT has a rule for exactly this class; the kernels of the first two become as long as the input.
        self.best, self.best_centre = nn.MaxPool1d(1), nn.MaxPool1d(1)
        self.best_strand, self.best_strand_centre = nn.MaxPool1d(2), nn.MaxPool1d(2)
        nn.init.zeros_(self.conv.weight)
        nn.init.constant_(self.conv.bias, -THRESHOLD)  # type: ignore[arg-type]

    def fill(self, matrices: Sequence[np.ndarray]) -> None:
        """Set the kernels to log-odds (bits) of probability matrices (length, 4), forward and reverse strand."""
        weight = np.zeros(tuple(self.conv.weight.shape), dtype=np.float32)
        for i, matrix in enumerate(matrices):
            odds = (matrix + PSEUDOCOUNT / 4) / (1 + PSEUDOCOUNT) / 0.25
            score = np.log2(odds)[: weight.shape[2]].T
            weight[2 * i, :, : score.shape[1]] = score
            weight[2 * i + 1, :, weight.shape[2] - score.shape[1] :] = score[::-1, ::-1]
        with torch.no_grad():
            self.conv.weight.copy_(torch.from_numpy(weight))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, 3, n): best match, best match in the centre, mean match over positions and strands."""
        scores = self.relu(self.conv(self.pad(X)))
        length = scores.shape[2]
        start = max(0, (length - CENTRE) // 2)
        best = self._strongest(scores, self.best, self.best_strand)
        centre = self._strongest(
            scores[:, :, start : length - start], self.best_centre, self.best_strand_centre
        )
        mean = scores.mean(dim=2).unflatten(1, (self.n, 2)).sum(dim=2)
        return torch.stack([best, centre, mean], dim=1)

    def _strongest(self, scores: torch.Tensor, position: nn.MaxPool1d, strand: nn.MaxPool1d) -> torch.Tensor:
        if not scores.requires_grad:  # the same number, faster
            return scores.amax(dim=2).unflatten(1, (self.n, 2)).amax(dim=2)
        position.kernel_size = position.stride = scores.shape[2]
        return strand(position(scores).squeeze(-1).unflatten(1, (self.n, 2))).squeeze(-1)


class KmerCounts(nn.Module):
    """Counts of canonical k-mers; (B, 4, L) -> (B, 2080) for k = 6. No parameters."""

    kernels: torch.Tensor
    canonical: torch.Tensor

    def __init__(self, k: int = K) -> None:
        super().__init__()
        words = np.arange(4**k)
        digits = words[:, None] // 4 ** np.arange(k - 1, -1, -1) % 4
        reverse = ((3 - digits[:, ::-1]) * 4 ** np.arange(k - 1, -1, -1)).sum(axis=1)
        _, canonical = np.unique(np.minimum(words, reverse), return_inverse=True)
        self.k, self.n_features = k, int(canonical.max()) + 1
        kernels = torch.zeros(4**k, 4, k)
        kernels[torch.from_numpy(words)[:, None], torch.from_numpy(digits), torch.arange(k)[None]] = 1
        self.relu = nn.ReLU()
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("canonical", torch.from_numpy(canonical.reshape(-1)), persistent=False)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Exact for one-hot input; between one-hot inputs, as gradients see it, a piecewise linear function."""
        if X.shape[2] < self.k:
            return X.new_zeros(len(X), self.n_features)
        if not X.requires_grad and self._is_one_hot(X):
            return self._count(X)
        matches = self.relu(nn.functional.conv1d(X, self.kernels.to(X.dtype)) - (self.k - 1))
        words = matches.sum(dim=2)  # may be of another type than the matches under autocast
        return words.new_zeros(len(X), self.n_features).index_add(1, self.canonical, words)

    def _is_one_hot(self, X: torch.Tensor) -> bool:
        return bool(((X == 0) | (X == 1)).all()) and bool((X.sum(dim=1) <= 1).all())

    def _count(self, X: torch.Tensor) -> torch.Tensor:
        codes = X.argmax(dim=1).masked_fill(X.sum(dim=1) == 0, N_CODE)
        return self.of_codes(codes).to(X.dtype)

    def of_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Count the words of (B, L) whole numbers, 0 to 4, by their own numbers; (B, n_features) float32.

        4096 kernels are a slow way to look six letters up.
        """
        n = codes.shape[1] - self.k + 1
        counts = torch.zeros(len(codes), self.n_features, device=codes.device)  # bfloat16 stops at 256
        if n < 1:
            return counts
        known = codes < N_CODE
        letters = torch.where(known, codes, 0).long()
        words, whole = letters[:, :n], known[:, :n]
        for i in range(1, self.k):
            words, whole = 4 * words + letters[:, i : i + n], whole & known[:, i : i + n]
        return counts.scatter_add(1, self.canonical[words], whole.float())


class MotifTrunk(nn.Module):
    """Matches of known motifs and counts of k-mers as features; the same for a sequence and its reverse complement.

    (B, 4, L) one-hot -> (B, 3 * number of motifs + 2080): for every motif the best match, the best match in the
    central 200 bp and the mean match (bits above 3), then the counts of canonical 6-mers.

    Parameters
    ----------
    motifs : sequence of int
        Number of motifs in each group of lengths (up to 8, 12, 16, more). :meth:`fill` sets the kernels.
    """

    def __init__(self, motifs: Sequence[int]) -> None:
        super().__init__()
        self.motifs = list(motifs)
        self.bank = nn.ModuleList(MotifGroup(n, width) for n, width in zip(motifs, WIDTHS, strict=True) if n)
        self.kmers = KmerCounts()
        self.n_features = 3 * sum(motifs) + self.kmers.n_features

    def levels(self) -> dict[str, nn.Module]:
        """One level: the bank of motifs."""
        return {"bank": self.bank}

    def fill(self, matrices: Mapping[str, np.ndarray]) -> None:
        """Set the kernels from probability matrices (length, 4), sorted by length.

        Raises
        ------
        ChromTransferError
            If their numbers by length are not those the trunk was made for.
        """
        counts = list(motif_counts(matrices))
        if counts != self.motifs:
            raise ChromTransferError(
                f"motifs: the network was made for {self.motifs} motifs by length, the source has {counts}: "
                f"set `motifs: {counts}` in the network's settings."
            )
        ordered = sorted(matrices.values(), key=len)
        for group in cast(Iterable[MotifGroup], self.bank):
            group.fill(ordered[: group.n])
            ordered = ordered[group.n :]

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(B, 4, L) -> (B, n_features)."""
        if torch.is_grad_enabled():
            return self._features(X)
        return torch.cat([self._features(part) for part in X.split(_CHUNK.get(X.device.type, 256))])

    def _features(self, X: torch.Tensor) -> torch.Tensor:
        matches = [group(X) for group in self.bank]
        bank = [torch.cat(matches, dim=2).flatten(1)] if matches else []
        return torch.cat([*bank, self.kmers(X)], dim=1)


def motif_counts(matrices: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Count motifs by group of lengths: up to 8, 12, 16, and more."""
    lengths = np.array([len(matrix) for matrix in matrices.values()])
    group = np.searchsorted(WIDTHS[:-1], lengths)
    return tuple(int((group == g).sum()) for g in range(len(WIDTHS)))
