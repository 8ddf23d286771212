"""One phase of a run: what trains, on what inputs, with which optimiser; and its training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from chromtransfer_plugin.dataset import Windows
from chromtransfer_plugin.defaults import Engine, Training
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.training.distributed import Processes, parallel
from chromtransfer_plugin.training.evaluation import Evaluation, evaluate, evaluate_features
from chromtransfer_plugin.training.resident import Batch, ResidentFeatures, ResidentWindows
from chromtransfer_plugin.transfer import L2SP, FeatureStore, Phase, apply_phase, parameter_groups

MakeOptimizer = Callable[[list[dict]], torch.optim.Optimizer]


class Objective(NamedTuple):
    """What is minimised: a mean over windows, and perhaps the pull of L2-SP."""

    criterion: nn.Module
    anchor: L2SP | None


class PhaseRun:
    """Sets a model up for one phase, with a fresh optimiser, and takes its steps.

    While the whole trunk is frozen and windows are not augmented, its features are computed once and the head
    alone is run on them.
    """

    def __init__(
        self,
        model: ChromTransfer,
        phase: Phase,
        settings: Training,
        engine: Engine,
        make_optimizer: MakeOptimizer,
        processes: Processes,
    ) -> None:
        self.model, self.phase, self.settings, self.engine = model, phase, settings, engine
        self.processes = processes
        apply_phase(model, phase, settings)
        self.optimizer = make_optimizer(parameter_groups(model, phase, settings))
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.device = next(model.parameters()).device
        self.batches: ResidentWindows | ResidentFeatures
        self.validation_features: torch.Tensor | None = None

    @property
    def frozen_trunk(self) -> bool:
        """Whether the trunk's features stay the same throughout the phase."""
        augmented = self.settings.reverse_complement or self.settings.shift
        return self.engine.cache_features and self.phase.kind == "head" and not augmented

    def load(
        self, resident: ResidentWindows, train: Windows, validation: Windows, store: FeatureStore
    ) -> None:
        """Choose the inputs of the steps: the resident windows, or features computed here."""
        trained: nn.Module = self.model
        self.batches = resident
        if self.frozen_trunk:
            features = store.features(self.model, train.centre().codes, self.device, progress=True)
            self.batches, trained = ResidentFeatures(features, train), self.model.head
            self.validation_features = store.features(self.model, validation.codes, self.device)
        if self.engine.compile:
            trained = torch.compile(trained)  # type: ignore[assignment]
        self.trained = parallel(trained, self.processes)

    def describe(self) -> str:
        """Say what trains at which learning rate."""
        groups = self.optimizer.param_groups
        sizes = [sum(p.numel() for p in group["params"]) for group in groups]
        parts = [f"{g['name']} {n} at {g['lr']:g}" for g, n in zip(groups, sizes, strict=True)]
        cached = ", on features of the frozen trunk computed once" if self.frozen_trunk else ""
        return f"phase '{self.phase.name}': {sum(sizes)} parameters train ({', '.join(parts)}){cached}"

    def step(self, batch: Batch, global_size: int, factor: float, objective: Objective) -> torch.Tensor:
        """Take one optimiser step at ``factor`` times the phase's learning rates.

        Parameters
        ----------
        batch : Batch
            This process's share of a global batch of ``global_size`` windows.

        Returns
        -------
        torch.Tensor, scalar float64
            The loss summed over the share's windows.
        """
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * factor
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.engine.bf16):
            logits = self.trained(batch.inputs)
        loss = objective.criterion(logits.float(), batch.targets)
        n = len(batch.targets)
        # Gradients are averaged over processes; this makes them those of the mean over the global batch.
        total = loss * (n * self.processes.world / global_size)
        if objective.anchor is not None:
            total = total + objective.anchor.penalty()
        total.backward()
        if self.settings.clip_norm is not None:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.settings.clip_norm)
        self._decay(factor)
        self.optimizer.step()
        return loss.detach().double() * n

    @torch.no_grad()
    def _decay(self, factor: float) -> None:
        """Shrink the head's kernels as AdamW does: by the learning rate, not through the moments."""
        if self.settings.weight_decay:
            kernels = [layer.weight for layer in self.model.head.modules() if isinstance(layer, nn.Linear)]
            torch._foreach_mul_(kernels, 1 - self.phase.lr * factor * self.settings.weight_decay)

    def evaluate(self, validation: Windows, criterion: nn.Module) -> Evaluation:
        """Loss and logits of the validation windows."""
        if self.validation_features is None:
            return evaluate(self.model, validation, criterion)
        targets = torch.from_numpy(validation.targets).to(self.device)
        return evaluate_features(self.model.head, self.validation_features, targets, criterion)
