"""Exponential moving average of a network's weights."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from chromtransfer_plugin.errors import ChromTransferError

_STEPS = "steps"
_PREFIX = "average."

# Where a module keeps a tensor: one of its dictionaries, and the key. Unlike the tensor itself it stays valid
# when the network moves to another device.
_Place = tuple[dict[str, Any], str]


class AveragedWeights:
    """Running average of the floating parameters and buffers of a network; other buffers are copied.

    The n-th update (n = 0, 1, ...) uses the decay ``min(decay, (1 + n) / (10 + n))``: the first steps leave the
    initial weights behind quickly. What does not move keeps its value bit for bit.

    Parameters
    ----------
    model : nn.Module
        Where the average starts. Give the bare network, not its wrapper for compilation or several devices,
        and give it where it will be trained: the average stays on this device.
    decay : float
        Share of the old average that each step keeps, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._average = {name: box[key].detach().clone() for name, (box, key) in _places(model).items()}
        self._bind(model)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after an optimiser step."""
        if self._model() is not model or not all(key in box for box, key in self._places):
            self._bind(model)
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        floating: tuple[list, list] = [], []
        counters: tuple[list, list] = [], []
        for average, (box, key) in zip(self._average.values(), self._places, strict=True):
            ours, theirs = floating if average.is_floating_point() else counters
            ours.append(average)
            theirs.append(box[key])
        # a + w (t - a): exactly a where t equals a.
        torch._foreach_lerp_(*floating, 1 - decay)
        if counters[0]:
            torch._foreach_copy_(*counters)
        self.steps += 1

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Give the network its averaged weights for a while, then its own again, bit for bit."""
        self._bind(model)
        places = self._places
        own = [box[key].detach().clone() for box, key in places]
        _copy((box[key] for box, key in places), self._average.values())
        try:
            yield
        finally:
            _copy((box[key] for box, key in places), own)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Flat tensors, for safetensors: the averages themselves, not copies, and the number of steps."""
        averages = {f"{_PREFIX}{name}": tensor for name, tensor in self._average.items()}
        return {_STEPS: torch.tensor(self.steps), **averages}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a :meth:`state_dict` of the same network.

        Raises
        ------
        ChromTransferError
            If it belongs to another network.
        """
        own = self.state_dict()
        different = own.keys() ^ state.keys()
        different |= {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape}
        if different:
            raise ChromTransferError(
                f"averaged weights: the saved ones are of another network; they differ in {sorted(different)[:3]}. "
                "Start the run over, or continue it with the network it began with."
            )
        _copy(self._average.values(), [state[_PREFIX + name] for name in self._average])
        self.steps = int(state[_STEPS])

    def _bind(self, model: nn.Module) -> None:
        """Find the network's tensors; going through its layers takes as long as averaging them, so not in each step."""
        places = _places(model)
        if places.keys() != self._average.keys():
            different = sorted(places.keys() ^ self._average.keys())
            raise ChromTransferError(
                f"averaged weights: the network has changed since the average began; it differs in {different[:3]}."
            )
        self._model = weakref.ref(model)
        self._places = [places[name] for name in self._average]


def _places(model: nn.Module) -> dict[str, _Place]:
    """Places of the parameters and buffers by name; a shared tensor once."""
    places: dict[str, _Place] = {}
    seen = set()
    for prefix, module in model.named_modules():
        for box in (module._parameters, module._buffers):
            for key, tensor in box.items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    places[f"{prefix}.{key}" if prefix else key] = (box, key)
    return places


@torch.no_grad()
def _copy(targets: Iterable[torch.Tensor], sources: Iterable[torch.Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
