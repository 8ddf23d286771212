"""Adapters: few learnt numbers on top of frozen kernels, which can be merged into them or taken off again.

``lora`` (LoRA for linear layers, LoCon for convolutions; Hu et al. 2021): the kernel ``W`` becomes
``W + alpha / rank * (B @ A)``, reshaped, with ``B`` zero at the start. ``ia3`` (Liu et al. 2022): every output
channel of the layer is multiplied by a learnt number, one at the start, before the non-linearity that follows.

Both are torch parametrizations of the layer's own ``weight`` (and ``bias``): the forward pass, DDP and
``torch.compile`` see an ordinary layer. While adapters are attached, the frozen kernel is called
``<layer>.parametrizations.weight.original`` in the state dict.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import parametrize

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer

KINDS = ("lora", "ia3")
Model = TypeVar("Model", bound=nn.Module)


class Adapter(nn.Module):
    """Parametrization of a kernel; its own parameters are what an adapter file holds."""

    kind: str

    def description(self) -> str:
        """Kind and hyper-parameters, for messages and for comparing."""
        return self.kind


class LowRank(Adapter):
    """``W -> W + alpha / rank * (B @ A)``.

    Parameters
    ----------
    weight : torch.Tensor (out, ...)
        The kernel to adapt; only its shape, type and device matter.
    rank : int
    alpha : float
    """

    kind = "lora"

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        n_out, n_in = weight.shape[0], weight[0].numel()
        self.rank, self.alpha = rank, alpha
        self.a = nn.Parameter(weight.new_empty(rank, n_in))
        self.b = nn.Parameter(weight.new_zeros(n_out, rank))  # so that attaching changes nothing
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """(out, ...) -> (out, ...)."""
        return weight + (self.alpha / self.rank) * (self.b @ self.a).view_as(weight)

    def description(self) -> str:
        """Kind and hyper-parameters, for messages and for comparing."""
        return f"lora, rank {self.rank}, alpha {self.alpha:g}"


class OutputScale(Adapter):
    """``W -> s * W`` with one number per output channel; the bias is scaled by :class:`_ScaledBias`."""

    kind = "ia3"

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(weight.new_ones(weight.shape[0]))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """(out, ...) -> (out, ...)."""
        return weight * self.scale.view(-1, *[1] * (weight.dim() - 1))


class _ScaledBias(nn.Module):
    """``b -> s * b`` with the scale of the kernel.

    The kernel's adapter is held in a tuple: as a submodule it would appear twice in the state dict, and
    safetensors refuses tensors that share memory.
    """

    def __init__(self, owner: OutputScale) -> None:
        super().__init__()
        self.owner = (owner,)

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        """(out,) -> (out,)."""
        return bias * self.owner[0].scale


def _layers(module: nn.Module, where: Iterable[str] | None) -> dict[str, nn.Conv1d | nn.Linear]:
    layers = {name: m for name, m in module.named_modules() if isinstance(m, nn.Conv1d | nn.Linear)}
    if where is None:
        in_trunk = isinstance(module, ChromTransfer)
        return {name: layer for name, layer in layers.items() if not in_trunk or name.startswith("trunk.")}
    wanted = [where] if isinstance(where, str) else list(where)
    for name in wanted:
        if name not in layers:
            raise ChromTransferError(
                f"adapters: '{name}' is not a convolution or dense layer of this network. "
                f"These are: {', '.join(layers)}."
            )
    return {name: layers[name] for name in wanted}


def adapters_of(module: nn.Module) -> dict[str, Adapter]:
    """Map the names of the layers that carry an adapter to their adapters, in the module's order."""
    found = {}
    for name, layer in module.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            adapter = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
            if isinstance(adapter, Adapter):
                found[name] = adapter
    return found


def attach_adapters(
    module: nn.Module, kind: str, rank: int = 4, alpha: float = 4.0, where: Iterable[str] | None = None
) -> list[str]:
    """Put adapters on layers; the output does not change by a bit and the kernels under them are frozen.

    Parameters
    ----------
    module : nn.Module
        Changed in place. The adapters lie on the device of the kernels and start from torch's generator.
    kind : {"lora", "ia3"}
    rank : int
        Of a low-rank update; ``ia3`` has none.
    alpha : float
        A low-rank update is scaled by ``alpha / rank``.
    where : iterable of str or None
        Names of ``nn.Conv1d`` and ``nn.Linear`` layers. None: all of them, of a ChromTransfer those of its trunk.

    Returns
    -------
    list of str
        Names of the layers.

    Raises
    ------
    ChromTransferError
        On an unknown kind, rank or layer, or if a layer has an adapter already. Nothing is attached then.
    """
    if kind not in KINDS:
        raise ChromTransferError(f"adapters: kind '{kind}' is unknown: use {' or '.join(KINDS)}.")
    if kind == "lora" and (rank < 1 or not alpha > 0):
        raise ChromTransferError(
            f"adapters: rank={rank}, alpha={alpha} are not usable: both must be positive."
        )
    layers = _layers(module, where)
    taken = [name for name, layer in layers.items() if parametrize.is_parametrized(layer)]
    if taken:
        raise ChromTransferError(
            f"adapters: '{taken[0]}' carries an adapter already. Merge or detach it first."
        )
    for layer in layers.values():
        layer.requires_grad_(False)
        if kind == "lora":
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha))
            continue
        scale = OutputScale(layer.weight)
        parametrize.register_parametrization(layer, "weight", scale)
        if layer.bias is not None:
            parametrize.register_parametrization(layer, "bias", _ScaledBias(scale))
    return list(layers)


def adapter_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the adapters' own tensors: ``<layer>.a`` and ``<layer>.b``, or ``<layer>.scale``."""
    return {
        f"{layer}.{name}": tensor.detach().clone()
        for layer, adapter in adapters_of(module).items()
        for name, tensor in adapter.named_parameters()
    }


def base_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict of the network under the adapters, with its original names and tensors, not copied."""
    state = {}
    for name, tensor in module.state_dict().items():
        layer, found, rest = f".{name}".rpartition(".parametrizations.")
        if not found:
            state[name] = tensor
        elif rest.endswith(".original"):
            state[f"{layer}.{rest.removesuffix('.original')}"[1:]] = tensor
    return state


def load_adapters(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put tensors of :func:`adapter_state` into the adapters of a module, which must be of the same layout.

    Raises
    ------
    ChromTransferError
        Naming the first tensor that is missing, unknown or of another shape; nothing is changed then.
    """
    own = {
        f"{layer}.{name}": tensor
        for layer, adapter in adapters_of(module).items()
        for name, tensor in adapter.named_parameters()
    }
    problems = [f"'{name}' is missing" for name in own if name not in state]
    problems += [f"'{name}' belongs to no adapter of this network" for name in state if name not in own]
    problems += [
        f"'{name}' has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        raise ChromTransferError(f"adapters: {problems[0]}: attach adapters of the same kind and rank first.")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])


def merge_adapters(module: nn.Module) -> list[str]:
    """Work the adapters into the kernels: the same function as a plain network, with the original names.

    Returns
    -------
    list of str
        Names of the layers that were adapted.
    """
    return _remove(module, keep=True)


def detach_adapters(module: nn.Module) -> list[str]:
    """Take the adapters off again: kernels and biases are, bit for bit, those they were attached to."""
    return _remove(module, keep=False)


def _remove(module: nn.Module, keep: bool) -> list[str]:
    """Put plain parameters back.

    Not with torch's ``remove_parametrizations``: it deletes the attribute from a class that a deep copy shares, so
    that merging a copy would break the network it was copied from.
    """
    adapted = list(adapters_of(module))
    for name in adapted:
        layer = module.get_submodule(name)
        tensors = {}
        for tensor in ("weight", "bias"):
            if parametrize.is_parametrized(layer, tensor):
                tensors[tensor] = layer.parametrizations[tensor].original  # type: ignore[union-attr, index]
                if keep:
                    with torch.no_grad():
                        tensors[tensor].copy_(getattr(layer, tensor))
            else:
                tensors[tensor] = getattr(layer, tensor)
                delattr(layer, tensor)
        plain = parametrize.type_before_parametrizations(layer)
        del layer.parametrizations
        layer.__class__ = plain
        for tensor, parameter in tensors.items():  # in the order in which state dicts have them
            layer.register_parameter(tensor, parameter)
    return adapted


def merged_copy(model: Model) -> Model:
    """Return a plain copy with the adapters merged, on the same device; training of ``model`` is not disturbed.

    A model without adapters is copied as it is. No random number is drawn. ``requires_grad`` of merged kernels
    follows the frozen ones; the copy is meant for saving and predicting.
    """
    copied = copy.deepcopy(model)
    merge_adapters(copied)
    return copied
