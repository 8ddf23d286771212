"""Arithmetic of a network: what a progress bar divides by time to tell how busy the machine is."""

from __future__ import annotations

import torch
from torch import nn

from chromtransfer_plugin.device import device_of, evaluating

TRUNK = "trunk."  # names of the modules that a frozen trunk holds


def flops_by_layer(model: nn.Module, length: int) -> dict[str, int]:
    """Floating-point operations of each convolution and dense layer in one forward pass of one sequence.

    Parameters
    ----------
    model : nn.Module
        Takes (B, 4, length). It is run once on a sequence of unknown bases; its mode and state are kept.
    length : int
        In bases.

    Returns
    -------
    dict of str to int
        Name of the layer in the model -> operations; a multiplication and an addition are two. What lies between
        these layers (norms, sums, ReLUs) is left out, as is usual: it is 1 % of the work.
    """
    counted: dict[str, int] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Linear):

            def count(
                _layer: nn.Module,
                _inputs: tuple,
                output: torch.Tensor,
                name: str = name,
                per_output: int = module.weight[0].numel(),
            ) -> None:
                counted[name] = counted.get(name, 0) + 2 * per_output * output.numel()

            handles.append(module.register_forward_hook(count))
    try:
        with evaluating(model):
            model(torch.zeros(1, 4, length, device=device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    return counted


def forward_flops(model: nn.Module, length: int) -> int:
    """Operations of one forward pass of one sequence: 0.659e9 for the paper's network and 600 bp."""
    return sum(flops_by_layer(model, length).values())


def training_flops(model: nn.Module, length: int, trunk_frozen: bool = False) -> int:
    """Operations of one training step, per sequence.

    A layer that trains costs three forward passes: one forward, one for the gradient of its input, one for that of
    its weights. A frozen trunk is only run forward.
    """
    layers = flops_by_layer(model, length)
    return sum(
        flops * (1 if trunk_frozen and name.startswith(TRUNK) else 3) for name, flops in layers.items()
    )
