"""Integrated gradients: the gradient along the way from a baseline to the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chromtransfer_plugin.attribution.completeness import Collector, Explanation, same_output
from chromtransfer_plugin.attribution.gradients import gradient_of
from chromtransfer_plugin.attribution.objective import Activation, Objective, Value, objective_of
from chromtransfer_plugin.attribution.references import shuffles
from chromtransfer_plugin.attribution.settings import Baseline, Settings, parse_settings
from chromtransfer_plugin.attribution.tensors import codes_of, dtype_of, groups_of, inputs_at_once
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.onehot import N_CODE, one_hot_tensor

if TYPE_CHECKING:
    import torch
    from torch import nn

_WHAT = "integrated gradients"
_DEFAULT = Settings()


def integrated_gradients(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    output: Objective = _DEFAULT.objective,
    target: int = 0,
    *,
    activation: Activation = "sigmoid",
    steps: int = _DEFAULT.steps,
    baseline: Baseline = _DEFAULT.baseline,
    references: int = _DEFAULT.references,
    seed: int = _DEFAULT.seed,
    batch_size: int | None = None,
    device: str | None = None,
    hypothetical: bool = False,
    progress: bool = False,
) -> Explanation:
    """Mean gradient between a baseline and the sequence, times the difference of the two, per base.

    The mean is the integral along the straight line by the trapezoid rule, as in the paper's option: ``steps`` intervals,
    so ``steps + 1`` gradients. A base that is N scores 0.

    Parameters
    ----------
    model, sequences, output, target, activation, device, progress
        As in :func:`~chromtransfer_plugin.attribution.gradients.gradient_x_input`.
    steps : int
        More follow a bent path more closely: see ``completeness`` of the result.
    baseline : {"zero", "shuffled"}
        ``zero``: no base anywhere. ``shuffled``: the mean of the scores for dinucleotide shuffles of the sequence; each
        costs as much as the zero baseline.
    references, seed : int
        Number and seed of the shuffles. Those of a sequence depend on it and on the seed only.
    batch_size : int, optional
        Points of paths in one backward pass; changes speed and memory, and scores by rounding.
    hypothetical : bool
        Also give the score that every base would have with the same mean gradient; 0 at unknown bases.

    Returns
    -------
    Explanation
        Its ``completeness`` says how well the scores add up to the difference of the output from the baseline.

    Raises
    ------
    ChromTransferError
        As ``gradient_x_input``, or if a number is not usable.
    """
    import torch
    from tqdm import tqdm

    parse_settings(objective=output, steps=steps, baseline=baseline, references=references, seed=seed)
    codes = codes_of(_WHAT, sequences)
    value = objective_of(_WHAT, output, activation, target)
    collector = Collector(_WHAT, codes, hypothetical)
    with (
        evaluating(model, device) as where,
        torch.inference_mode(False),
        tqdm(total=len(codes), unit="sequence", desc=_WHAT, disable=not progress) as bar,
    ):
        size = inputs_at_once(_WHAT, batch_size, where)
        n_paths = references if baseline == "shuffled" else 1
        for part in groups_of(codes, size, n_paths * (steps + 1), where):
            others = (
                shuffles(part, n_paths, seed)
                if baseline == "shuffled"
                else torch.full_like(part, N_CODE)[:, None]
            )
            slopes, values = _paths(model, value, part, others, steps, size, where)
            start = one_hot_tensor(others, slopes.dtype)
            # The change of a base from the baseline, for the base that is there and for those that are not.
            scores = (slopes - (slopes * start).sum(dim=2, keepdim=True)).mean(dim=1)
            value_of_sequence = values[:, 0, -1]
            collector.add(
                scores, value_of_sequence, same_output(part, others, value_of_sequence, values[:, :, 0])
            )
            bar.update(len(part))
    return collector.explanation()


def _paths(
    model: nn.Module,
    value: Value,
    codes: torch.Tensor,
    starts: torch.Tensor,
    steps: int,
    size: int,
    where: torch.device,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean gradients (n, R, 4, L) along the ways from starts (n, R, L) to codes (n, L), and values (n, R, steps + 1)."""
    import torch

    dtype = dtype_of(model)
    start = one_hot_tensor(starts.to(where), dtype).flatten(0, 1)
    change = one_hot_tensor(codes.to(where), dtype).repeat_interleave(starts.shape[1], dim=0) - start
    weights = torch.full((steps + 1,), 1 / steps, dtype=torch.float64, device=where)
    weights[[0, -1]] /= 2
    slopes = torch.zeros(start.shape, dtype=torch.float64, device=where)
    values = []
    for points in torch.arange(len(start) * (steps + 1), device=where).split(size):
        path, step = points // (steps + 1), points % (steps + 1)
        X = start[path] + (step.to(dtype) / steps)[:, None, None] * change[path]
        found, gradient = gradient_of(_WHAT, model, value, X)
        slopes.index_add_(0, path, gradient.double() * weights[step][:, None, None])
        values.append(found)
    shape = starts.shape[:2]
    return slopes.unflatten(0, shape).cpu(), torch.cat(values).reshape(*shape, steps + 1).cpu()
