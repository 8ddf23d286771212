"""What a change of one base does to the features of a trunk of motifs: only the matches that cover it change.

The best match is the maximum of the changed ones and of those before and after them, which are maxima from either end
of the sequence; the mean and the counts of k-mers move by the differences of a few positions.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import nn

from chromtransfer_plugin.models.motif_trunk import CENTRE, KmerCounts, MotifGroup, MotifTrunk
from chromtransfer_plugin.models.windowed import N_ALTERNATIVES, Run, is_made_of

_KNOWN = (nn.ModuleList, MotifGroup, KmerCounts, nn.ConstantPad1d, nn.ReLU, nn.MaxPool1d)


class Maxima(NamedTuple):
    """Maximum (length + 1, n) of each motif's matches before every position, and from every position on."""

    before: torch.Tensor
    onwards: torch.Tensor


class GroupReference(NamedTuple):
    """Scores of a group of motifs in one sequence, ``length`` positions, before the ReLU.

    Attributes
    ----------
    scores : torch.Tensor
        (margin + length + margin, 2 n), minus infinity in the margins.
    length : int
    whole, centre : Maxima
        Over all positions, and over those of the central part.
    """

    scores: torch.Tensor
    length: int
    whole: Maxima
    centre: Maxima


class MotifReference(NamedTuple):
    """Of one sequence: the groups, (4, k - 1 + L + k - 1) one-hot bases, and the features (1, n_features)."""

    groups: list[GroupReference]
    bases: torch.Tensor
    features: torch.Tensor


class WindowedMotifs:
    """Changes of the features of a trunk of motifs by single-base mutations; used as ``WindowedTrunk`` is.

    Parameters
    ----------
    trunk : MotifTrunk
        In evaluation mode, for which :func:`are_windowable` holds.
    """

    def __init__(self, trunk: MotifTrunk) -> None:
        self._trunk = trunk
        self._groups = [cast(MotifGroup, group) for group in trunk.bank]

    def reference(self, X: torch.Tensor, margin: int) -> tuple[torch.Tensor, MotifReference]:
        """Features (1, n_features) of one sequence (1, 4, L), and what mutants need of it."""
        features = self._trunk(X)
        groups = [_group_reference(group, X, margin) for group in self._groups]
        beyond = self._trunk.kmers.k - 1
        return features, MotifReference(groups, nn.functional.pad(X[0], (beyond, beyond)), features)

    def changes(self, run: Run, bases: torch.Tensor) -> torch.Tensor:
        """Feature differences (3, n, n_features) of the mutants of a run; see ``WindowedTrunk.changes``."""
        state = cast(MotifReference, run.state)
        matches = [
            _matches(group, reference, run, bases)
            for group, reference in zip(self._groups, state.groups, strict=True)
        ]
        kmers = self._kmer_changes(state, run, bases)
        if not matches:
            return kmers
        moved = torch.cat(matches, dim=3)  # (3 summaries, 3, n, motifs)
        n_matches = 3 * moved.shape[3]
        # The mean is known as a difference, the maxima as such.
        moved[:2] -= state.features[0, :n_matches].view(3, 1, 1, -1)[:2]
        return torch.cat([moved.permute(1, 2, 0, 3).flatten(2), kmers], dim=2)

    def _kmer_changes(self, state: MotifReference, run: Run, bases: torch.Tensor) -> torch.Tensor:
        kmers = self._trunk.kmers
        around = state.bases.unfold(1, 2 * kmers.k - 1, 1)[
            :, run.first : run.first + run.n
        ]  # (4, n, 2 k - 1)
        windows = around.transpose(0, 1).repeat(len(bases), 1, 1)
        windows[:, :, kmers.k - 1] = nn.functional.one_hot(bases.flatten(), 4).to(windows.dtype)
        counts = kmers(windows).view(len(bases), run.n, -1)
        return counts[1:] - counts[:1]


def are_windowable(trunk: nn.Module) -> bool:
    """Whether a trunk is one of motifs that :class:`WindowedMotifs` knows, nothing replaced and none listened to."""
    return is_made_of(trunk, MotifTrunk, _KNOWN)


def _group_reference(group: MotifGroup, X: torch.Tensor, margin: int) -> GroupReference:
    scores = group.conv(group.pad(X))[0].t()
    length = len(scores)
    best = scores.relu().unflatten(1, (group.n, 2)).amax(2)
    start = max(0, (length - CENTRE) // 2)
    middle = torch.zeros_like(best)
    middle[start : length - start] = best[start : length - start]
    # A match may begin before the sequence and end behind it.
    edge = scores.new_full((margin + group.conv.kernel_size[0], scores.shape[1]), -torch.inf)
    return GroupReference(torch.cat([edge, scores, edge]), length, _maxima(best), _maxima(middle))


def _maxima(matches: torch.Tensor) -> Maxima:
    """Of (length, n) matches of at least 0."""
    none = torch.zeros_like(matches[:1])
    before = torch.cat([none, matches]).cummax(0).values
    onwards = torch.cat([matches, none]).flip(0).cummax(0).values.flip(0)
    return Maxima(before, onwards)


def _matches(group: MotifGroup, reference: GroupReference, run: Run, bases: torch.Tensor) -> torch.Tensor:
    """(3, 3, n, motifs) of a group: best match, best in the centre, difference of the mean, of each mutant."""
    width = group.conv.kernel_size[0]
    low, high = width // 2 - width + 1, width // 2 + 1  # scores that see a base, from its position
    kernel = group.conv.weight.detach().permute(2, 1, 0).flip(0)
    own = run._replace(margin=run.margin + width).around(reference.scores, low, high)
    changed = (own + (kernel[:, bases[1:]] - kernel[:, bases[:1]])).relu_().unflatten(3, (group.n, 2))
    mean = (changed.sum((0, 4)) - own.relu().sum(0).unflatten(2, (group.n, 2)).sum(3)) / reference.length
    strongest = changed.amax(4)
    positions = torch.arange(run.first, run.first + run.n, device=bases.device)
    first, last = (positions + low).clamp(min=0), (positions + high).clamp(max=reference.length)

    def best(maxima: Maxima, matches: torch.Tensor) -> torch.Tensor:
        others = torch.maximum(maxima.before[first], maxima.onwards[last])
        return torch.maximum(others, matches.amax(0))

    start = max(0, (reference.length - CENTRE) // 2)
    at = positions + torch.arange(low, high, device=bases.device)[:, None]
    central = ((at >= start) & (at < reference.length - start))[:, None, :, None]
    found = best(reference.whole, strongest), best(reference.centre, strongest * central), mean
    assert found[0].shape[0] == N_ALTERNATIVES
    return torch.stack(found)
