"""Features of many sequences by a trunk of motifs, and of copies of them with another base at one place.

On a CPU, the scores of all motifs at a position are the sum of a few rows of tables, which hold the scores of all words
of four bases, unknown ones included: it takes a fifth of the time of convolutions with their four input channels. A copy
needs the scores of the positions whose match covers its base; the maxima and sums over all others are its sequence's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch.nn import functional

from chromtransfer_plugin.models.motif_trunk import CENTRE, MotifGroup, MotifTrunk
from chromtransfer_plugin.models.substituted_trunk import Substitutions
from chromtransfer_plugin.onehot import N_CODE, one_hot_tensor

_WORD = 4  # bases; the kernels of all groups are multiples of it
_LETTERS = N_CODE + 1
_SCORES = 256_000_000  # at once, where they are written out


class _Rest(NamedTuple):
    """Of a batch of sequences, (B, n) each: summaries of the positions that no copy changes, and the scores of the others.

    Attributes
    ----------
    best, centre : torch.Tensor
        Best match outside of the range that copies change, anywhere and in the centre.
    total : torch.Tensor
        Sum of the matches outside of that range.
    scores : torch.Tensor
        (B, w, 2 n) in that range, of either strand, before the ReLU.
    """

    best: torch.Tensor
    centre: torch.Tensor
    total: torch.Tensor
    scores: torch.Tensor


class SubstitutedMotifs:
    """A trunk of motifs for sequences and copies of them; used as ``SubstitutedTrunk`` is.

    Parameters
    ----------
    trunk : MotifTrunk
        In evaluation mode, for which :func:`~chromtransfer_plugin.models.windowed_motifs.are_windowable` holds. Its
        weights are read now and must not change.
    """

    def __init__(self, trunk: MotifTrunk) -> None:
        self._trunk = trunk
        self._groups = [_Group(cast(MotifGroup, group)) for group in trunk.bank]

    def features(
        self, codes: torch.Tensor, copies: Substitutions | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, n_features) of sequences (B, L) uint8 and (n, n_features) of the copies."""
        found = [group.matches(codes, copies) for group in self._groups]
        kmers = self._trunk.kmers.of_codes(codes)
        own = [torch.cat([own for own, _ in found], dim=2).flatten(1)] if found else []
        whole = torch.cat([*own, kmers], dim=1)
        if copies is None:
            return whole, whole[:0]
        of_copies = [torch.cat([copy for _, copy in found], dim=2).flatten(1)] if found else []
        counts = kmers[copies.parents] + self._kmer_changes(codes, copies)
        return whole, torch.cat([*of_copies, counts], dim=1)

    def _kmer_changes(self, codes: torch.Tensor, copies: Substitutions) -> torch.Tensor:
        """(n, 2080) differences of the counts: those of the words that cover the base."""
        reach = self._trunk.kmers.k - 1
        around = codes[:, max(0, copies.at - reach) : copies.at + reach + 1]
        after = copies._replace(at=min(copies.at, reach)).whole(around)
        counts = self._trunk.kmers.of_codes(torch.cat([around[copies.parents], after]))
        return counts[len(after) :] - counts[: len(after)]


class _Group:
    """A group of motifs of similar length."""

    def __init__(self, group: MotifGroup) -> None:
        self._n, (self._taps,) = group.n, group.conv.kernel_size
        # (taps, 5, 2 n); an unknown base scores 0
        self._kernel = functional.pad(group.conv.weight.detach().permute(2, 1, 0), (0, 0, 0, 1))
        # What another base (second) in place of one (first) changes at the positions that see it, from left to right.
        letters = self._kernel.flip(0).transpose(0, 1)
        self._steps = letters[None] - letters[:, None]
        self._bias = cast(torch.Tensor, group.conv.bias).detach()
        self._conv = group.conv
        tables = self._word_tables() if self._kernel.device.type == "cpu" else None
        # What is not finite must show in the logits; the tables' maxima would pass it over.
        self._tables = tables if tables is not None and bool(tables.isfinite().all()) else None

    def _word_tables(self) -> torch.Tensor:
        """(taps / 4 * 625, 2 n): for each four neighbouring taps, the scores of every word of four letters."""
        tables = []
        for first in range(0, self._taps, _WORD):
            table = self._kernel.new_zeros(1, self._kernel.shape[2])
            for letters in self._kernel[first : first + _WORD]:
                table = (table[:, None] + letters).flatten(0, 1)
            tables.append(table)
        tables[0] += self._bias
        return torch.cat(tables)

    def matches(self, codes: torch.Tensor, copies: Substitutions | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Summaries (B, 3, n) as ``MotifGroup`` gives them, and (copies, 3, n) of the copies."""
        half = self._taps // 2
        padded = functional.pad(codes, (half, half), value=N_CODE)
        length = padded.shape[1] - self._taps + 1
        start = max(0, (length - CENTRE) // 2)
        low, high = (0, 0) if copies is None else (copies.at + half - self._taps + 1, copies.at + half + 1)
        low, high = max(0, low), min(length, high)
        rest = self._rest(padded, start, low, high)
        own = self._summaries(rest, rest.scores, start, low, length)
        if copies is None:
            return own, own[:0]
        old = codes[copies.parents, copies.at].long()
        first = low - (copies.at + half - self._taps + 1)
        scores = self._steps[:, :, first : first + high - low][old, copies.codes.long()]
        rest = _Rest(*(field[copies.parents] for field in rest))
        return own, self._summaries(rest, scores.add_(rest.scores), start, low, length)

    def _rest(self, padded: torch.Tensor, start: int, low: int, high: int) -> _Rest:
        if self._tables is not None:
            from chromtransfer_plugin.models.motif_tables import summarise

            best, centre, total, kept = summarise(self._words(padded), self._tables, start, low, high)
        else:
            length = padded.shape[1] - self._taps + 1
            at_once = max(1, _SCORES // (length * self._kernel.shape[2]))
            parts = [self._convolved(part, start, low, high) for part in padded.split(at_once)]
            best, centre, total, kept = (torch.cat(field) for field in zip(*parts, strict=True))
        return _Rest(
            self._strands(best).amax(2), self._strands(centre).amax(2), self._strands(total).sum(2), kept
        )

    def _words(self, padded: torch.Tensor) -> torch.Tensor:
        """(B, length, taps / 4) int32: rows of the tables for the words that each position sees."""
        letters = padded.to(torch.int32)
        n_words, length = padded.shape[1] - _WORD + 1, padded.shape[1] - self._taps + 1
        words = letters[:, :n_words]
        for i in range(1, _WORD):
            words = words * _LETTERS + letters[:, i : i + n_words]
        return torch.stack(
            [
                words[:, _WORD * j : _WORD * j + length] + j * _LETTERS**_WORD
                for j in range(self._taps // _WORD)
            ],
            dim=2,
        )

    def _convolved(
        self, padded: torch.Tensor, start: int, low: int, high: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Do what the tables do by a convolution; see :func:`~chromtransfer_plugin.models.motif_tables.summarise`."""
        X = one_hot_tensor(padded)
        scores = functional.conv1d(X, self._conv.weight, self._conv.bias).transpose(1, 2)
        kept, length = scores[:, low:high].clone(), scores.shape[1]
        scores = scores.relu()
        best = centre = scores.new_zeros(len(scores), scores.shape[2])
        total = scores.sum(1) - scores[:, low:high].sum(1)
        for first, last in pairwise(sorted({0, start, low, high, length - start, length})):
            if low <= first < high:
                continue
            most = scores[:, first:last].amax(1)
            best = torch.maximum(best, most)
            if start <= first < length - start:
                centre = torch.maximum(centre, most)
        return best, centre, total, kept

    def _summaries(
        self, rest: _Rest, scores: torch.Tensor, start: int, low: int, length: int
    ) -> torch.Tensor:
        """(B, 3, n) from the rest and the scores (B, w, 2 n) of the positions from ``low`` on."""
        scores = scores.relu()
        if not scores.shape[1]:
            return torch.stack([rest.best, rest.centre, rest.total / length], dim=1)
        high = low + scores.shape[1]
        first, last = max(low, start), min(high, length - start)
        best = torch.maximum(rest.best, self._strands(scores.amax(1)).amax(2))
        centre = rest.centre
        if first < last:
            inside = scores[:, first - low : last - low].amax(1)
            centre = torch.maximum(centre, self._strands(inside).amax(2))
        mean = (rest.total + self._strands(scores.sum(1)).sum(2)) / length
        return torch.stack([best, centre, mean], dim=1)

    def _strands(self, values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(1, (self._n, 2))
