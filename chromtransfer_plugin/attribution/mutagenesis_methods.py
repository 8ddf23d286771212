"""The ways to compute in-silico mutagenesis: see :func:`chromtransfer_plugin.attribution.mutagenesis.ism`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from chromtransfer_plugin.attribution.gradients import gradient_of
from chromtransfer_plugin.attribution.objective import Value
from chromtransfer_plugin.attribution.tensors import dtype_of
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import ALPHABET, one_hot_tensor

if TYPE_CHECKING:
    import torch
    from torch import nn

    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.models.ensemble import Ensemble
    from chromtransfer_plugin.models.windowed import WindowedTrunk
    from chromtransfer_plugin.models.windowed_motifs import WindowedMotifs

Method = Literal["auto", "windowed", "naive", "taylor"]

N_OTHERS = len(ALPHABET) - 1  # bases that can stand in the place of one

# Of one sequence (its row): mutated positions (n,), and the differences (n, 3) for the bases that follow the reference
# one in the cyclic order A, C, G, T.
Part = tuple[int, NDArray[np.int64], NDArray[np.float64]]


def differences_of(
    model: nn.Module,
    codes: torch.Tensor,
    sites: list[NDArray[np.int64]],
    value: Value,
    size: int,
    where: torch.device,
    method: Method,
) -> Iterator[Part]:
    """Differences of all mutants at the sites (known positions) of every sequence, in any order of sequences.

    Parameters
    ----------
    model : nn.Module
        On the device ``where``, in evaluation mode.
    codes : torch.Tensor
        (N, L) uint8 on the CPU.
    sites : list of ndarray
        For each sequence the positions to mutate, in order.
    value : callable
        Logits (B, n_outputs) to the numbers (B,) that are compared, float64.
    size : int
        Mutants, or for ``taylor`` sequences, at once.
    """
    if method == "taylor":
        return _taylor(model, codes, sites, value, size, where)
    if method == "windowed" or (method == "auto" and is_windowed(model)):
        return _windowed(model, codes, sites, value, size, where)
    return _naive(model, codes, sites, value, size, where)


def _naive(
    model: nn.Module,
    codes: torch.Tensor,
    sites: list[NDArray[np.int64]],
    value: Value,
    size: int,
    where: torch.device,
) -> Iterator[Part]:
    """Forward passes of every sequence, once, and of every mutant."""
    import torch

    dtype = dtype_of(model)
    for row, positions in enumerate(sites):
        if not len(positions):
            continue
        scores = []
        for first in range(0, 1 + N_OTHERS * len(positions), size):
            # Number 0 is the sequence itself.
            numbers = np.arange(first, min(first + size, 1 + N_OTHERS * len(positions)))
            batch = codes[row].numpy()[None].repeat(len(numbers), axis=0)
            mutants = np.flatnonzero(numbers)
            at = positions[(numbers[mutants] - 1) // N_OTHERS]
            batch[mutants, at] = (batch[mutants, at] + (numbers[mutants] - 1) % N_OTHERS + 1) % len(ALPHABET)
            scores.append(value(model(one_hot_tensor(torch.from_numpy(batch).to(where), dtype))).cpu())
        reference, mutant = np.split(torch.cat(scores).numpy(), [1])
        yield row, positions, (mutant - reference).reshape(-1, N_OTHERS)


def _windowed(
    model: nn.Module,
    codes: torch.Tensor,
    sites: list[NDArray[np.int64]],
    value: Value,
    size: int,
    where: torch.device,
) -> Iterator[Part]:
    """Mutants of neighbouring positions at once, of each layer only what they change."""
    import torch

    from chromtransfer_plugin.models.windowed import Run

    if not is_windowed(model):
        raise ChromTransferError(
            "ism: method='windowed' is for ChromTransfer networks of float32 or float64, "
            "without hooks or replaced layers, and ensembles of them. Use method='auto' or 'naive'."
        )
    # Differences of a few thousandths of a logit need more digits than a head of float32 leaves of them.
    head = copy.deepcopy(cast("ChromTransfer | Ensemble", model).head).double()
    trunks, members = _distinct_trunks(_networks(model))
    longest = max(1, size // N_OTHERS)
    dtype = dtype_of(model)
    for row, positions in enumerate(sites):
        if not len(positions):
            continue
        sequence = codes[row : row + 1].to(where)
        X = one_hot_tensor(sequence, dtype)
        references = [trunk.reference(X, longest - 1) for trunk in trunks]
        features = torch.cat([references[i][0] for i in members], dim=1).double()
        score = value(head(features))
        for part in _runs(positions, longest):
            first, n = int(part[0]), len(part)
            own = sequence[0, first : first + n].long()
            bases = torch.stack([(own + shift) % len(ALPHABET) for shift in range(N_OTHERS + 1)])
            changes = [
                trunk.changes(Run(first, n, codes.shape[1], longest - 1, state), bases)
                for trunk, (_, state) in zip(trunks, references, strict=True)
            ]
            mutants = features + torch.cat([changes[i] for i in members], dim=2).flatten(0, 1)
            yield row, part, (value(head(mutants)) - score).view(N_OTHERS, n).t().cpu().numpy()


def _taylor(
    model: nn.Module,
    codes: torch.Tensor,
    sites: list[NDArray[np.int64]],
    value: Value,
    size: int,
    where: torch.device,
) -> Iterator[Part]:
    """Gradient at the other base minus gradient at the reference base."""
    dtype = dtype_of(model)
    for first in range(0, len(codes), size):
        X = one_hot_tensor(codes[first : first + size].to(where), dtype)
        slopes = gradient_of("ism: taylor", model, value, X)[1].double().cpu().numpy()
        for row, slope in enumerate(slopes, start=first):
            at = sites[row]
            own = codes[row].numpy()[at]
            yield row, at, slope[other_bases(own), at[:, None]] - slope[own, at][:, None]


def other_bases(own: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Codes (n, 3) of the bases that follow those of the codes ``own`` (n,) in the cyclic order A, C, G, T."""
    return (own[:, None].astype(np.int64) + np.arange(1, N_OTHERS + 1)) % len(ALPHABET)


def is_windowed(model: nn.Module) -> bool:
    """Whether ``method="auto"`` computes only what a mutation changes, rather than whole forward passes."""
    import torch

    from chromtransfer_plugin.models.convolution import is_unhooked
    from chromtransfer_plugin.models.windowed import is_windowable
    from chromtransfer_plugin.models.windowed_motifs import are_windowable

    networks = _networks(model)
    return bool(networks) and is_unhooked(model, *networks) and all(
        (is_windowable(network.trunk) or are_windowable(network.trunk))
        and next(network.parameters()).dtype in (torch.float32, torch.float64)
        for network in networks
    )  # fmt: skip


def _networks(model: nn.Module) -> list[ChromTransfer]:
    """The networks of a ChromTransfer model or ensemble; none for another model."""
    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.models.ensemble import Ensemble

    if type(model) is Ensemble:
        return model.networks
    return [model] if type(model) is ChromTransfer else []


def _distinct_trunks(networks: list[ChromTransfer]) -> tuple[list[WindowedTrunk | WindowedMotifs], list[int]]:
    """Trunks that differ, and for each network the number of its own: members that share one need it once."""
    from chromtransfer_plugin.models.motif_trunk import MotifTrunk
    from chromtransfer_plugin.models.trunk_groups import trunk_groups
    from chromtransfer_plugin.models.windowed import WindowedTrunk
    from chromtransfer_plugin.models.windowed_motifs import WindowedMotifs

    groups = trunk_groups(networks)
    distinct = sorted(set(groups))
    trunks = [networks[number].trunk for number in distinct]
    windowed = [WindowedMotifs(t) if isinstance(t, MotifTrunk) else WindowedTrunk(t) for t in trunks]
    return windowed, [distinct.index(group) for group in groups]


def _runs(positions: NDArray[np.int64], longest: int) -> Iterator[NDArray[np.int64]]:
    """Cut sorted positions into runs of neighbours."""
    for run in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
        for first in range(0, len(run), longest):
            yield run[first : first + longest]
