"""Negatives that are composed like the positives, so that a model cannot tell them apart by GC alone.

Targets and candidates are sorted into cells of like composition; the sample takes from each cell what its share of
the targets asks for. Only a few numbers a window are needed, never all sequences at once.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from chromtransfer_plugin.errors import ChromTransferError

How = Literal["gc", "dinucleotide"]
Features = NDArray[np.float32]

# Neighbouring bases and their reverse complements are one: AA=TT, AC=GT, AG=CT, AT, CA=TG, CC=GG, CG, GA=TC, GC, TA.
DINUCLEOTIDES = ("AA", "AC", "AG", "AT", "CA", "CC", "CG", "GA", "GC", "TA")

_GC_BIN = {"gc": 0.01, "dinucleotide": 0.02}
_STRATA = 20  # of how much a window looks like a target
_WINDOWS_A_STRATUM = 100  # fewer strata for fewer targets
_FITTED = 20_000  # windows of each kind that the regression is fitted on
_COMPARED = 200_000  # windows of which the distance of two distributions is measured
_BLOCK = 1 << 16


class MatchFacts(BaseModel):
    """What a matched sample is like.

    Attributes
    ----------
    how : str
        ``gc`` or ``dinucleotide``.
    n_targets, n_candidates, n : int
        Windows to match, to choose from, and chosen.
    from_other_cells : int
        Chosen windows that stand in for ones of another cell, because the candidates of that cell were used up.
    farthest : float
        Largest difference of GC, between the middles of two cells, that this cost.
    target_gc, candidate_gc, sample_gc : tuple of float
        Mean and standard deviation of the GC content.
    ks_before, ks_after : dict of str to float
        Kolmogorov-Smirnov distance of the targets' distribution to that of the candidates and of the sample, for
        ``GC`` and, by dinucleotide, for each dinucleotide. Of more than 200,000 windows, that many are compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    how: How
    n_targets: int
    n_candidates: int
    n: int
    from_other_cells: int
    farthest: float
    target_gc: tuple[float, float]
    candidate_gc: tuple[float, float]
    sample_gc: tuple[float, float]
    ks_before: dict[str, float]
    ks_after: dict[str, float]

    def sentence(self) -> str:
        """Say in one line what was matched and how well."""
        return (
            f"{self.n} of {self.n_candidates} candidates chosen by {self.how}: GC {self.sample_gc[0]:.3f} "
            f"(sd {self.sample_gc[1]:.3f}), positives {self.target_gc[0]:.3f} (sd {self.target_gc[1]:.3f}), all "
            f"candidates {self.candidate_gc[0]:.3f}; Kolmogorov-Smirnov distance {self.ks_before['GC']:.3f} before, "
            f"{self.ks_after['GC']:.3f} after; {self.from_other_cells} from cells beside the wanted one"
        )


class Matched(NamedTuple):
    """Rows of the candidates that were chosen, ascending (n,) int64, and what they are like."""

    rows: NDArray[np.int64]
    facts: MatchFacts


def composition(codes: NDArray[np.uint8], how: How = "gc") -> Features:
    """Measure what windows are composed of; call it block by block where there are many.

    Parameters
    ----------
    codes : ndarray (N, L) uint8
        Base codes; unknown bases (4) do not count.
    how : {"gc", "dinucleotide"}

    Returns
    -------
    ndarray (N, 1) or (N, 11) float32
        The share of G and C; by dinucleotide followed by the shares of the ten dinucleotides of either strand, in the
        order of ``DINUCLEOTIDES``. NaN where a window has no known base, or no two in a row.
    """
    from chromtransfer_plugin.kmers import count_pairs

    _check_how(how)
    codes = np.ascontiguousarray(codes)
    features = np.empty((len(codes), 1 if how == "gc" else 1 + len(DINUCLEOTIDES)), dtype=np.float32)
    for first in range(0, len(codes), _BLOCK):
        block = codes[first : first + _BLOCK]
        bases = np.zeros((len(block), 5), dtype=np.int32)
        pairs = np.zeros((len(block), 25), dtype=np.int32)
        count_pairs(block, bases, pairs)
        out = features[first : first + _BLOCK]
        with np.errstate(invalid="ignore"):
            out[:, 0] = (bases[:, 1] + bases[:, 2]) / bases[:, :4].sum(axis=1)
            if how == "dinucleotide":
                known = pairs.reshape(-1, 5, 5)[:, :4, :4]
                # [a, b] on the other strand is [3 - b, 3 - a].
                both = known + known[:, ::-1, ::-1].transpose(0, 2, 1)
                first_bases, second_bases = np.array(
                    [["ACGT".index(x) for x in two] for two in DINUCLEOTIDES]
                ).T
                palindrome = first_bases + second_bases == 3
                counts = both[:, first_bases, second_bases] / np.where(palindrome, 2, 1)
                out[:, 1:] = counts / known.sum(axis=(1, 2))[:, None]
    return features


def matched_sample(
    targets: Features,
    candidates: Features,
    n: int,
    how: How = "gc",
    seed: int = 0,
    keys: NDArray[np.int64] | None = None,
) -> Matched:
    """Choose candidates without replacement that are composed like the targets.

    By ``gc``, cells are bins of GC content, 0.01 wide. By ``dinucleotide`` they are bins of 0.02, divided by how much a
    window looks like a target in a logistic regression on all dinucleotides. Where a cell has too few candidates, the
    nearest cells that have more than they need stand in, and the facts count how often.

    Parameters
    ----------
    targets : ndarray (T, C) float32
        :func:`composition` of the windows to match, e.g. the positives.
    candidates : ndarray (N, C) float32
        :func:`composition` of the windows to choose from.
    n : int
        How many to choose; more than there are targets is fine.
    how : {"gc", "dinucleotide"}
        As given to :func:`composition`.
    seed : int
        Same windows and seed, same choice.
    keys : ndarray (N,) int64, optional
        A number of each candidate of its own, such as its place in the genome. The choice is then the same windows
        whatever the order of the candidates. Without it, the row number.

    Returns
    -------
    Matched

    Raises
    ------
    ChromTransferError
        If there are fewer candidates than ``n``, no targets, or windows without a known base.
    """
    _check(targets, candidates, n, how)
    kind_of_target, kind_of_candidate = _cells(targets, candidates, how)
    n_cells = int(max(kind_of_target.max(), kind_of_candidate.max())) + 1
    wanted = _shares(np.bincount(kind_of_target, minlength=n_cells), n)
    held = np.bincount(kind_of_candidate, minlength=n_cells)
    centres = _centres(targets, kind_of_target, candidates, kind_of_candidate, n_cells)
    taken, moved, farthest = _fill(wanted, held, centres, targets.std(axis=0))
    numbers = np.arange(len(candidates)) if keys is None else np.asarray(keys)
    order = np.lexsort([_scattered(numbers, seed), kind_of_candidate])
    place = np.arange(len(order)) - np.repeat(np.cumsum(held) - held, held)
    rows = np.sort(order[place < np.repeat(taken, held)])
    names = ("GC", *(DINUCLEOTIDES if how == "dinucleotide" else ()))
    sample = candidates[rows]
    return Matched(
        rows,
        MatchFacts(
            how=how,
            n_targets=len(targets),
            n_candidates=len(candidates),
            n=n,
            from_other_cells=moved,
            farthest=farthest,
            target_gc=_mean_sd(targets),
            candidate_gc=_mean_sd(candidates),
            sample_gc=_mean_sd(sample),
            ks_before=_distances(names, targets, candidates),
            ks_after=_distances(names, targets, sample),
        ),
    )


def _check_how(how: str) -> None:
    if how not in _GC_BIN:
        raise ChromTransferError(f"matching: how is '{how}', expected 'gc' or 'dinucleotide'.")


def _check(targets: Features, candidates: Features, n: int, how: How) -> None:
    _check_how(how)
    columns = 1 if how == "gc" else 1 + len(DINUCLEOTIDES)
    for name, features in (("target", targets), ("candidate", candidates)):
        if features.ndim != 2 or features.shape[1] != columns:
            raise ChromTransferError(
                f"matching: the {name}s have shape {features.shape}, expected (N, {columns}) as given by "
                f"composition(codes, '{how}')."
            )
        unknown = int(np.isnan(features).any(axis=1).sum())
        if unknown:
            raise ChromTransferError(
                f"matching: {unknown} {name} windows have no known bases, so no composition. Remove them first."
            )
    if not len(targets):
        raise ChromTransferError("matching: there is no target window whose composition could be matched.")
    if n < 1:
        raise ChromTransferError(f"matching: {n} windows are wanted, expected 1 or more.")
    if n > len(candidates):
        raise ChromTransferError(
            f"matching: {n} windows are wanted and there are {len(candidates)} candidates. "
            "Ask for a smaller ratio, or give more candidates."
        )


def _cells(targets: Features, candidates: Features, how: How) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the cell of each target and of each candidate."""
    # A whole number of bases over a whole number of bases: half a bin's thousandth keeps 0.29 out of the bin below.
    width = _GC_BIN[how]
    cells = [
        np.floor(x[:, 0].astype(np.float64) / width + 1e-3).astype(np.int64) for x in (targets, candidates)
    ]
    if how == "gc":
        return cells[0], cells[1]
    strata = _strata(targets, candidates)
    return cells[0] * _STRATA + strata[0], cells[1] * _STRATA + strata[1]


def _strata(targets: Features, candidates: Features) -> list[NDArray[np.int64]]:
    """Number the stratum of how much a window looks like a target, by a logistic regression on its composition.

    Windows of equal propensity are equally composed on average, in all dinucleotides at once (Rosenbaum and Rubin,
    doi 10.1093/biomet/70.1.41). Strata hold equal numbers
    of targets.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # Sorted, so that the regression depends on which windows there are and not on their order.
    fitted = [x[np.lexsort(x.T)][:: -(-len(x) // _FITTED)].astype(np.float64) for x in (targets, candidates)]
    kind = np.repeat([1, 0], [len(x) for x in fitted])
    model = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    with threadpool_limits(1):  # sums of several threads come in any order, and round differently
        model.fit(np.concatenate(fitted), kind)
        propensity = [
            np.concatenate([model.decision_function(x[i : i + _BLOCK]) for i in range(0, len(x), _BLOCK)])
            for x in (targets, candidates)
        ]
    n_strata = min(_STRATA, max(1, len(targets) // _WINDOWS_A_STRATUM))
    edges = np.quantile(propensity[0], np.arange(1, n_strata) / n_strata)
    return [np.searchsorted(edges, x, side="right").astype(np.int64) for x in propensity]


def _shares(counts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Divide ``n`` in proportion to counts, in whole numbers, the largest remainders up."""
    exact = counts * (n / counts.sum())
    whole = np.floor(exact).astype(np.int64)
    up = np.argsort(whole - exact, kind="stable")[: n - int(whole.sum())]
    whole[up] += 1
    return whole


def _centres(
    targets: Features,
    kind_of_target: NDArray[np.int64],
    candidates: Features,
    kind_of_candidate: NDArray[np.int64],
    n_cells: int,
) -> NDArray[np.float64]:
    """Mean composition of the windows of each cell: of its targets, else of its candidates; (cells, C)."""
    means = []
    for features, kind in ((targets, kind_of_target), (candidates, kind_of_candidate)):
        sums = np.stack([np.bincount(kind, column, n_cells) for column in features.T], axis=1)
        with np.errstate(invalid="ignore"):
            means.append(sums / np.bincount(kind, minlength=n_cells)[:, None])
    return np.where(np.isnan(means[0]), means[1], means[0])


def _fill(
    wanted: NDArray[np.int64], held: NDArray[np.int64], centres: NDArray[np.float64], spread: Features
) -> tuple[NDArray[np.int64], int, float]:
    """Take what is wanted of each cell; what a cell lacks comes from the nearest ones with some to spare."""
    taken = np.minimum(wanted, held)
    short, spare = wanted - taken, held - taken
    receivers, givers = np.flatnonzero(short), np.flatnonzero(spare)
    if not len(receivers):
        return taken, 0, 0.0
    scaled = centres / np.maximum(spread, 1e-6)
    apart = ((scaled[receivers, None] - scaled[None, givers]) ** 2).sum(axis=2)
    farthest, moved, missing = 0.0, 0, int(short.sum())
    for pair in np.argsort(apart, axis=None, kind="stable").tolist():
        if moved == missing:
            break
        receiver, giver = receivers[pair // len(givers)], givers[pair % len(givers)]
        count = min(short[receiver], spare[giver])
        if count:
            short[receiver] -= count
            spare[giver] -= count
            taken[giver] += count
            moved += int(count)
            farthest = max(farthest, float(abs(centres[receiver, 0] - centres[giver, 0])))
    return taken, moved, farthest


def _scattered(numbers: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Hash numbers (SplitMix64's finaliser): a random order that does not depend on the rows' order."""
    with np.errstate(over="ignore"):
        x = numbers.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _mean_sd(features: Features) -> tuple[float, float]:
    gc = features[:, 0].astype(np.float64)
    return round(float(gc.mean()), 6), round(float(gc.std()), 6)


def _distances(names: tuple[str, ...], one: Features, two: Features) -> dict[str, float]:
    """Kolmogorov-Smirnov distance of each column."""
    from scipy.stats import ks_2samp

    one, two = (x[:: -(-len(x) // _COMPARED)] for x in (one, two))
    return {
        name: round(float(ks_2samp(one[:, i], two[:, i], method="asymp").statistic), 6)
        for i, name in enumerate(names)
    }
