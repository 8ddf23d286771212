"""DeepLIFT/SHAP: how the differences from shuffled sequences pass through the layers, by tangermeme."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chromtransfer_plugin.attribution.completeness import (
    Collector,
    Explanation,
    completeness_of,
    observed,
    same_output,
)
from chromtransfer_plugin.attribution.gradients import gradient_of
from chromtransfer_plugin.attribution.objective import Activation, Objective, objective_of
from chromtransfer_plugin.attribution.references import shuffles
from chromtransfer_plugin.attribution.settings import Settings, parse_settings
from chromtransfer_plugin.attribution.tensors import (
    codes_of,
    dtype_of,
    groups_of,
    inputs_at_once,
    require_finite,
)
from chromtransfer_plugin.device import evaluating
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import one_hot_tensor

if TYPE_CHECKING:
    import torch
    from torch import nn

CONVERGENCE = 1e-4  # of the difference that is explained: what may be left over, for every sequence
_NOTHING = 1e-30  # scores of float32 end here, as those of a probability that is as good as certain

Rule = Callable[..., tuple[Any, ...]]

_WHAT = "DeepLIFT/SHAP"
_DEFAULT = Settings()


def deep_lift_shap(
    model: nn.Module,
    sequences: np.ndarray | torch.Tensor,
    output: Objective = _DEFAULT.objective,
    target: int = 0,
    *,
    activation: Activation = "sigmoid",
    references: int = _DEFAULT.references,
    seed: int = _DEFAULT.seed,
    rules: Mapping[type[nn.Module], Rule] | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    hypothetical: bool = False,
    progress: bool = False,
) -> Explanation:
    """Contribution of every base to the difference of the output from that for dinucleotide shuffles (mean over them).

    The scores of a sequence add up to the difference: what is left over is below :data:`CONVERGENCE` of it, or the function
    raises. Sequences for which ``float32`` is too coarse for that are computed again in ``float64``. A base that is N stays
    where it is in the shuffles and scores 0.

    Parameters
    ----------
    model : nn.Module
        Maps (B, 4, L) one-hot to (B, n_outputs) logits. Its non-linear operations must be modules of ``torch.nn`` for which
        tangermeme has rules, as those of our networks are, or of ``rules``. Evaluated in inference mode; left as it was.
    sequences, output, target, activation, device, progress
        As in :func:`~chromtransfer_plugin.attribution.gradients.gradient_x_input`.
    references, seed : int
        Number and seed of the shuffles. Those of a sequence depend on it and on the seed only.
    rules : mapping, optional
        More rules by the class of the module: tangermeme's ``additional_nonlinear_ops``.
    batch_size : int, optional
        Pairs of a sequence and a shuffle in one backward pass; changes speed and memory, and scores by rounding.
    hypothetical : bool
        Also give what every base would contribute with the same multipliers, as TF-MoDISco wants it; 0 at unknown bases.

    Returns
    -------
    Explanation

    Raises
    ------
    ChromTransferError
        As ``gradient_x_input``, if a number is not usable, or if the scores of a sequence do not add up.
    """
    import torch
    from tqdm import tqdm

    parse_settings(objective=output, references=references, seed=seed)
    codes = codes_of(_WHAT, sequences)
    value = objective_of(_WHAT, output, activation, target)
    collector = Collector(_WHAT, codes, hypothetical)
    with (
        evaluating(model, device) as where,
        torch.inference_mode(False),
        tqdm(total=len(codes), unit="sequence", desc=_WHAT, disable=not progress) as bar,
    ):
        size = inputs_at_once(_WHAT, batch_size, where)
        if len(codes):  # says clearly that there is no gradient
            gradient_of(_WHAT, model, value, one_hot_tensor(codes[:1].to(where), dtype_of(model)))
        explain = partial(_explain, value, rules, size, where)
        exact: nn.Module | None = None
        for part in groups_of(codes, size, references, where):
            others = shuffles(part, references, seed)
            found = explain(model, part, others)
            for row in _left_over(part, found):
                exact = copy.deepcopy(model).double() if exact is None else exact
                again = explain(exact, part[row : row + 1], others[row : row + 1])
                for old, new in zip(found, again, strict=True):
                    old[row] = new[0]
            _require_convergence(model, part, found, collector.n)
            collector.add(*found)
            bar.update(len(part))
    return collector.explanation()


# Of n sequences: scores of all bases (n, 4, L), output (n,), and output for the shuffles (n, references); all float64.
_Found = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


def _explain(
    value: nn.Module,
    rules: Mapping[type[nn.Module], Rule] | None,
    size: int,
    where: torch.device,
    model: nn.Module,
    codes: torch.Tensor,
    others: torch.Tensor,
) -> _Found:
    """Explain sequences (n, L) by their differences from others (n, references, L)."""
    import torch
    from tangermeme.deep_lift_shap import deep_lift_shap as tangermeme_deep_lift_shap

    from chromtransfer_plugin.attribution.value import Recorder

    recorder = Recorder(model, value).eval()
    with warnings.catch_warnings():
        # It warns of unknown bases, and of scores that do not add up by another measure than ours.
        warnings.simplefilter("ignore")
        try:
            every = tangermeme_deep_lift_shap(
                recorder,
                one_hot_tensor(codes, torch.int8),
                references=one_hot_tensor(others.flatten(0, 1), torch.int8).unflatten(0, others.shape[:2]),
                batch_size=size,
                hypothetical=True,
                additional_nonlinear_ops=dict(rules or {}),
                only_warn=True,
                device=where,
            )
        except KeyError as error:  # a subclass of a class that has a rule
            raise ChromTransferError(
                f"{_WHAT}: there is no rule for {error} in the model ({type(model).__name__}): give one with rules=, or "
                "use a module of torch.nn itself. The methods integrated-gradients and ism need no rules."
            ) from error
    values = torch.cat([torch.stack(part.chunk(2)) for part in recorder.values], dim=1).cpu()
    own, other = values.unflatten(1, others.shape[:2])
    value_of_sequence = own.mean(dim=1)  # the same numbers, up to rounding
    return every.double(), value_of_sequence, same_output(codes, others, value_of_sequence, other)


def _left_over(codes: torch.Tensor, found: _Found) -> list[int]:
    """Sequences whose scores do not add up, or are not numbers."""
    sums = completeness_of(observed(codes, found[0]), *found[1:])
    good = (sums.relative < CONVERGENCE) | (np.abs(sums.delta) < _NOTHING)
    return [int(row) for row in np.flatnonzero(~good)]


def _require_convergence(model: nn.Module, codes: torch.Tensor, found: _Found, first: int) -> None:
    scores = observed(codes, found[0])
    require_finite(_WHAT, scores, first)
    for row in _left_over(codes, found):
        sums = completeness_of(scores, *found[1:])
        raise ChromTransferError(
            f"{_WHAT}: the scores of sequence {first + row} (counted from 0) by the model ({type(model).__name__}) add "
            f"up to {sums.total[row]:.6g}, but its output differs from that for its shuffles by {sums.difference[row]:.6g} "
            f"(mean): {sums.relative[row]:.1g} of the difference is left over, also in float64, {CONVERGENCE:g} is allowed. "
            "A non-linear operation of the model has no rule: make it a module of torch.nn (nn.ReLU, not "
            "torch.relu), or give one with rules=. The methods integrated-gradients and ism need no rules."
        )
