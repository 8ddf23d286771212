"""Parameter groups for the optimiser: learning rate by depth, L2 on the right kernels; and L2-SP."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from chromtransfer_plugin.defaults import Training
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import HEAD, ChromTransfer, level_of
from chromtransfer_plugin.transfer.modes import Phase, span


def parameter_groups(model: ChromTransfer, phase: Phase, settings: Training) -> list[dict]:
    """Group what trains in a phase, each parameter exactly once, for a coupled optimiser such as Adam.

    Keras' ``l2 * sum(w**2)`` is a weight decay of ``2 * l2``, on the kernels that the model's ``l2_kernels`` names
    and that train. Parameters with the same learning rate and decay share a group, because every group costs
    the optimiser a round of kernel launches. Call :func:`~chromtransfer_plugin.transfer.modes.apply_phase` first.

    Returns
    -------
    list of dict
        ``params``; ``name``, the level, or the range of levels such as ``stem..head``; ``lr``, which is
        ``phase.lr * layer_decay**depth`` (depth 0: the head, 1: the topmost level, ...); ``weight_decay``.
        Fastest first, so that the first group's learning rate is ``phase.lr``.
    """
    order = [*model.levels(), HEAD]
    depth = {level: i for i, level in enumerate(reversed(order))}
    decayed = {id(kernel) for kernel in model.l2_kernels()}
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        level = level_of(name)
        lr = phase.lr * settings.layer_decay ** depth[level]
        weight_decay = 2 * settings.l2 if id(parameter) in decayed else 0.0
        group = groups.setdefault(
            (lr, weight_decay), {"params": [], "levels": set(), "lr": lr, "weight_decay": weight_decay}
        )
        group["params"].append(parameter)
        group["levels"].add(level)
    for group in groups.values():
        members = sorted(group.pop("levels"), key=order.index)
        group["name"] = span(members)
    return [groups[key] for key in sorted(groups, reverse=True)]


class L2SP(nn.Module):
    """Penalty on the way from the pre-trained weights: ``strength * sum((w - w0)**2)`` (Li et al. 2018).

    The anchor ``w0`` is a copy made now, kept as buffers: a resumed run loads it back with ``load_state_dict``.
    Under adapters ``w`` is the adapted kernel, so that the adapter's effect is what is penalised.

    Parameters
    ----------
    model : ChromTransfer
        Holds the pre-trained weights at this moment.
    names : iterable of str
        Transferred tensors, as :func:`~chromtransfer_plugin.transfer.cut.transfer_trunk` returns them;
        batch-norm statistics among them are left out, as they have no gradient.
    strength : float

    Raises
    ------
    ChromTransferError
        If no weight of the model is among the names.
    """

    def __init__(self, model: ChromTransfer, names: Iterable[str], strength: float) -> None:
        super().__init__()
        self.strength = strength
        self._model = (model,)  # in a tuple: as a submodule its weights would be part of the state
        weights, wanted = dict(model.named_parameters()), list(names)
        self.names = [name for name in wanted if name in weights]
        if not self.names:
            raise ChromTransferError(
                "l2_sp: no pre-trained weight to stay close to: give a pre-trained model."
            )
        for name in self.names:
            self.register_buffer(_buffer(name), weights[name].detach().clone())

    def penalty(self) -> torch.Tensor:
        """Return the penalty, (), of the anchored weights that train; 0 if none does."""
        terms = []
        for name in self.names:
            layer, _, tensor = name.rpartition(".")
            weight = getattr(self._model[0].get_submodule(layer), tensor)
            if not weight.requires_grad:
                continue
            anchor = self.get_buffer(_buffer(name))
            if anchor.device != weight.device:
                self.to(weight.device)
                anchor = self.get_buffer(_buffer(name))
            terms.append((weight - anchor).flatten())
        if not terms:
            return self.get_buffer(_buffer(self.names[0])).new_zeros(())
        return self.strength * torch.cat(terms).pow(2).sum()


def _buffer(name: str) -> str:
    """Name a buffer after a tensor; torch allows no dots in it."""
    return name.replace(".", "/")
