"""The simulated genome before motifs are planted: windows, base composition, repeats, runs of N."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chromtransfer_plugin.constants import WINDOW

Codes: TypeAlias = NDArray[np.uint8]

# Share of the windows per contig; chr2 and chr3 are the test chromosomes of the paper, and get 30 % here so
# that the small line sets still give a usable test estimate.
CONTIG_SHARES: Mapping[str, float] = {
    "chr1": 0.22,
    "chr2": 0.16,
    "chr3": 0.14,
    "chr4": 0.18,
    "chr5": 0.16,
    "chr6": 0.14,
}

_SEGMENT = 2_000  # bp of constant expected GC
_MEAN_GC, _SD_GC = 0.43, 0.05
_N_EDGE, _N_GAP = 1_000, 1_500  # bp of N at both contig ends, and of the gap in its middle
_FLANK_MIN, _FLANK_MAX = 100, 500  # bp between two windows


def lay_out(n_windows: int, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[str, int]]:
    """Windows (columns chrom, start, end), and where the run of N in the middle of each contig starts."""
    per_contig = np.diff(np.rint(np.cumsum([0.0, *CONTIG_SHARES.values()]) * n_windows).astype(int))
    frames, gaps = [], {}
    for contig, n in zip(CONTIG_SHARES, per_contig, strict=True):
        steps = WINDOW + rng.integers(_FLANK_MIN, _FLANK_MAX + 1, size=n)
        start = _N_EDGE + _FLANK_MAX + np.cumsum(steps) - WINDOW
        middle = n // 2
        gaps[contig] = int(start[middle]) if n else _N_EDGE
        start[middle:] += _N_GAP + _FLANK_MIN
        frames.append(pd.DataFrame({"chrom": contig, "start": start, "end": start + WINDOW}))
    return pd.concat(frames, ignore_index=True), gaps


def background(
    windows: pd.DataFrame, gaps: Mapping[str, int], rng: np.random.Generator
) -> tuple[dict[str, Codes], dict[str, NDArray[np.bool_]]]:
    """Sequence without motifs and the soft mask of every contig."""
    genome, masked = {}, {}
    ends = windows.groupby("chrom")["end"].max()
    family = _markov(np.array([0.55]), 300, rng)[0]  # one ancestral element, pasted with mutations
    for contig in CONTIG_SHARES:
        length = int(ends.get(contig, 0)) + _FLANK_MAX + _N_EDGE
        n_segments = -(-length // _SEGMENT)
        noise = rng.normal(size=n_segments)
        # A moving average makes neighbouring segments alike, as isochores are.
        smooth = np.convolve(noise, np.ones(8) / np.sqrt(8), mode="same")
        gc = np.clip(_MEAN_GC + _SD_GC * smooth, 0.3, 0.62)
        codes = _markov(gc, _SEGMENT, rng).ravel()[:length]
        mask = _paste_repeats(codes, family, rng)
        for run in (slice(0, _N_EDGE), slice(gaps[contig], gaps[contig] + _N_GAP), slice(-_N_EDGE, None)):
            codes[run] = 4
            mask[run] = False
        genome[contig], masked[contig] = codes, mask
    return genome, masked


def _markov(gc: NDArray[np.float64], length: int, rng: np.random.Generator) -> Codes:
    """One first-order Markov chain of ``length`` bases per value of ``gc``; shape (len(gc), length)."""
    ratio = np.ones((4, 4))  # observed over expected dinucleotides, strand-symmetric as in vertebrates
    ratio[1, 2] = 0.25  # CpG
    ratio[1, 0] = ratio[3, 2] = 1.25  # CpA and TpG, what CpG decays to
    ratio[0, 0] = ratio[3, 3] = 1.15  # ApA and TpT
    base = np.stack([1 - gc, gc, gc, 1 - gc], axis=1) / 2
    transition = base[:, None, :] * ratio
    cumulative = np.cumsum(transition / transition.sum(axis=2, keepdims=True), axis=2)[:, :, :3]
    rows = np.arange(len(gc))
    codes = np.empty((len(gc), length), dtype=np.uint8)
    codes[:, 0] = rng.integers(0, 4, size=len(gc))
    for i in range(1, length):
        draw = rng.random(len(gc))
        codes[:, i] = (draw[:, None] > cumulative[rows, codes[:, i - 1]]).sum(axis=1)
    return codes


def _paste_repeats(codes: Codes, family: Codes, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Paste diverged copies of one element and microsatellites in place; return what to soft-mask."""
    mask = np.zeros(len(codes), dtype=bool)
    for start in rng.integers(0, max(1, len(codes) - 400), size=len(codes) // 3_000):
        if rng.random() < 0.7:
            copy = family[: int(rng.integers(80, len(family) + 1))].copy()
            mutated = rng.random(len(copy)) < 0.15
            copy[mutated] = rng.integers(0, 4, size=int(mutated.sum()))
            if rng.random() < 0.5:
                copy = 3 - copy[::-1]
        else:
            copy = np.resize(rng.integers(0, 4, size=int(rng.integers(1, 5))), int(rng.integers(20, 60)))
        codes[start : start + len(copy)] = copy
        mask[start : start + len(copy)] = True
    return mask
