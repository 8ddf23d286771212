"""Exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError

_STEPS = "steps"
_PREFIX = "average."


class AveragedWeights:
    """Running average of the floating parameters and buffers of a network; other buffers are copied.

    The n-th update (n = 0, 1, ...) uses the decay ``min(decay, (1 + n) / (10 + n))``: the first steps leave the
    initial weights behind quickly. What does not move keeps its value bit for bit.

    Parameters
    ----------
    model : nn.Module
        Where the average starts. Give the bare network, not its wrapper for compilation or several devices.
    decay : float
        Share of the old average that each step keeps, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._average = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after an optimiser step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = self._pairs(model)
        floating = [(average, tensor) for average, tensor in pairs if average.is_floating_point()]
        averages, tensors = ([pair[i] for pair in floating] for i in (0, 1))
        # a + w (t - a): exactly a where t equals a.
        torch._foreach_lerp_(averages, tensors, 1 - decay)
        for average, tensor in pairs:
            if not average.is_floating_point():
                average.copy_(tensor)
        self.steps += 1

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Give the network its averaged weights for a while, then its own again, bit for bit."""
        pairs = self._pairs(model)
        with torch.no_grad():
            own = [tensor.clone() for _, tensor in pairs]
            for average, tensor in pairs:
                tensor.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for saved, (_, tensor) in zip(own, pairs, strict=True):
                    tensor.copy_(saved)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Flat tensors, for safetensors: the averages themselves, not copies, and the number of steps."""
        averages = {f"{_PREFIX}{name}": tensor for name, tensor in self._average.items()}
        return {_STEPS: torch.tensor(self.steps), **averages}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a :meth:`state_dict` of the same network.

        Raises
        ------
        ChromTransferError
            If it belongs to another network.
        """
        own = self.state_dict()
        different = [k for k in own.keys() | state.keys() if k not in own or k not in state]
        different += [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
        if different:
            raise ChromTransferError(
                f"averaged weights: the saved ones are of another network; they differ in {sorted(different)[:3]}. "
                "Start the run over, or continue it with the network it began with."
            )
        for name, average in self._average.items():
            average.copy_(state[_PREFIX + name])
        self.steps = int(state[_STEPS])

    def _pairs(self, model: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Each average with the network's tensor of that name."""
        tensors = _tensors(model)
        if tensors.keys() != self._average.keys():
            different = sorted(tensors.keys() ^ self._average.keys())
            raise ChromTransferError(
                f"averaged weights: the network has changed since the average began; it differs in {different[:3]}."
            )
        return [(average, tensors[name]) for name, average in self._average.items()]


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, without gradient; each once."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}
