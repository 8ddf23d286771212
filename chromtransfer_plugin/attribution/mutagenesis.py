"""In-silico mutagenesis: what every other base at every position would do to the output of a model.

Exact and fast for our networks, which are computed only where a mutation changes them
(:mod:`chromtransfer_plugin.models.windowed` and :mod:`~chromtransfer_plugin.models.windowed_motifs`); by one forward
pass for each mutant for any other model; or to first order from one gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.mutagenesis_methods import (
    N_OTHERS,
    Method,
    differences_of,
    other_bases,
)
from chromtransfer_plugin.attribution.objective import Activation, Objective, objective_of, require_one_of
from chromtransfer_plugin.attribution.tensors import codes_of
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError, require_integers
from chromtransfer_plugin.onehot import ALPHABET, N_CODE

if TYPE_CHECKING:
    import torch
    from torch import nn

Select = Literal["largest", "min", "max", "mean"]

# Mutants at once by default: on a CPU, what is computed of them should stay in the processor's cache.
_BATCH = {"cpu": 48, "cuda": 1536}


class Agreement(NamedTuple):
    """How well an approximation follows the exact scores. See :func:`agreement`.

    Attributes
    ----------
    n : int
        Scores that were compared.
    pearson, spearman : float
        Correlations; NaN where one side is constant.
    """

    n: int
    pearson: float
    spearman: float


def ism(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    *,
    output: Objective = "logit",
    activation: Activation = "sigmoid",
    target: int = 0,
    select: Select = "largest",
    raw: bool = False,
    start: int | None = None,
    end: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    progress: bool = False,
    method: Method = "auto",
) -> NDArray[np.float32]:
    """Difference of one model output, mutant minus reference, for the other three bases at every position.

    A base that matters gives negative differences. Unknown bases (N) are not mutated and score 0.

    Parameters
    ----------
    model : nn.Module
        Maps (B, 4, L) one-hot to (B, n_outputs) logits. It runs in evaluation mode; the training mode of every
        module, the device and parameter gradients are as before afterwards.
    sequences : array
        Base codes (N, L) integers (0-3 = A, C, G, T, anything else = unknown) or one-hot (N, 4, L).
    output : {"logit", "probability"}
        The paper used ``probability``, whose differences vanish where the model is certain. They are taken in
        float64, so that they do not vanish before the logits' do.
    activation : {"sigmoid", "softmax"}
        What makes probabilities of logits, as the model's card says; ``softmax`` for exclusive classes.
    target : int
        Which output.
    select : {"largest", "min", "max", "mean"}
        What represents the three differences of a base: the one of the largest absolute value with its sign (of
        equals the first in the order A, C, G, T), the smallest, the largest, or the mean.
    raw : bool
        Return all differences instead, 0 for the reference base; ``select`` has no effect then.
    start, end : int, optional
        Mutate only the positions ``start <= i < end`` (0-based).
    batch_size : int, optional
        Mutants at once; changes speed and memory only. With ``taylor``, sequences at once.
    device : str or None
        None runs where the model is; ``auto`` uses CUDA if present.
    progress : bool
        Show a bar with rate and ETA.
    method : {"auto", "windowed", "naive", "taylor"}
        ``windowed``: exact; computes only what a mutation changes, position by position. For ChromTransfer networks
        of float32 or float64, with either trunk, and ensembles of them.
        ``naive``: exact; one forward pass for every mutant and one for every sequence. For any model.
        ``auto``: ``windowed`` where it can be used, ``naive`` for other models.
        ``taylor``: one backward pass, the difference of the gradients of the two bases: exact for a linear model.

    Returns
    -------
    ndarray, float32
        (N, end - start), or with ``raw`` (N, 4, end - start).

    Raises
    ------
    ChromTransferError
        If the sequences are neither codes nor one-hot, an option is unknown, the model lacks the output, the range is
        not in the sequences, ``windowed`` cannot be used, or the scores are not finite.
    """
    from tqdm import tqdm

    require_one_of("ism", "select", select, Select)
    require_one_of("ism", "method", method, Method)
    objective = objective_of("ism", output, activation, target)
    codes = codes_of("ism", sequences)
    first, last = _range(start, end, codes.shape[1])
    if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
        raise ChromTransferError(f"ism: batch_size={batch_size!r} is not usable: expected a number above 0.")
    sites = [np.flatnonzero(row != N_CODE) + first for row in codes[:, first:last].numpy()]
    shape = (len(codes), len(ALPHABET), last - first) if raw else (len(codes), last - first)
    scores = np.zeros(shape, dtype=np.float32)
    total = N_OTHERS * sum(map(len, sites))
    with (
        evaluating(model, device) as where,
        tqdm(total=total, unit="mutant", desc="ism", disable=not progress) as bar,
    ):
        size = batch_size or _BATCH[where.type]
        for row, positions, differences in differences_of(
            model, codes, sites, objective, size, where, method
        ):
            if not np.isfinite(differences).all():
                raise ChromTransferError(
                    f"ism: the scores of sequence {row} (counted from 0) are not finite; the model itself is broken."
                )
            own = codes[row].numpy()[positions]
            if raw:
                scores[row, :, positions - first] = _by_base(differences, own)
            else:
                scores[row, positions - first] = _selected(differences, own, select)
            bar.update(differences.size)
    return scores


def select_differences(
    raw: NDArray[np.float32], codes: NDArray[np.uint8], select: Select
) -> NDArray[np.float32]:
    """Let one number stand for the three differences of each base.

    Parameters
    ----------
    raw : ndarray, shape (N, 4, L)
        From :func:`ism` with ``raw``, over whole sequences.
    codes : ndarray, shape (N, L)
        The same sequences, unknown bases as 4.
    select : {"largest", "min", "max", "mean"}
        As for :func:`ism`.

    Returns
    -------
    ndarray, shape (N, L), float32
    """
    require_one_of("ism", "select", select, Select)
    scores = np.zeros(codes.shape, dtype=np.float32)
    for row, own in enumerate(codes):
        at = np.flatnonzero(own != N_CODE)
        differences = raw[row][other_bases(own[at]), at[:, None]].astype(np.float64)
        scores[row, at] = _selected(differences, own[at], select)
    return scores


def agreement(exact: NDArray[np.floating], approximate: NDArray[np.floating]) -> Agreement:
    """Correlate approximate with exact scores, over all bases of all sequences.

    Parameters
    ----------
    exact, approximate : ndarray
        Scores of one shape, as from :func:`ism`. Where both are exactly 0, as at unknown bases and in raw scores at
        the reference base, nothing is compared.

    Raises
    ------
    ChromTransferError
        If the shapes differ or fewer than two scores can be compared.
    """
    from scipy.stats import pearsonr, spearmanr

    if exact.shape != approximate.shape:
        raise ChromTransferError(
            f"agreement: expected scores of one shape, got {exact.shape} and {approximate.shape}."
        )
    used = (exact != 0) | (approximate != 0)
    x, y = exact[used].astype(np.float64), approximate[used].astype(np.float64)
    if len(x) < 2:
        raise ChromTransferError(
            f"agreement: {len(x)} score(s) differ from 0, at least two are needed to correlate."
        )
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(len(x), float("nan"), float("nan"))
    return Agreement(len(x), float(pearsonr(x, y).statistic), float(spearmanr(x, y).statistic))


def _range(start: int | None, end: int | None, length: int) -> tuple[int, int]:
    require_integers("ism", start=start, end=end)
    first, last = 0 if start is None else start, length if end is None else end
    if not first < last <= length:
        raise ChromTransferError(
            f"ism: start={first} and end={last} are no range of the sequences: expected "
            f"0 <= start < end <= {length}."
        )
    return first, last


def _by_base(differences: NDArray[np.float64], own: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 3) differences of bases with the codes ``own`` -> (n, 4), in the order A, C, G, T."""
    by_base = np.zeros((len(own), len(ALPHABET)))
    np.put_along_axis(by_base, other_bases(own), differences, axis=1)
    return by_base


def _selected(
    differences: NDArray[np.float64], own: NDArray[np.uint8], select: Select
) -> NDArray[np.float64]:
    """(n, 3) differences -> one (n,) per base."""
    if select == "largest":
        by_base = _by_base(differences, own)
        return by_base[np.arange(len(own)), np.abs(by_base).argmax(axis=1)]
    reduce: dict[str, Any] = {"min": np.min, "max": np.max, "mean": np.mean}
    return np.asarray(reduce[select](differences, axis=1))
