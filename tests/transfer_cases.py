"""Small networks for the tests of transfer learning, and what changed in them."""

from __future__ import annotations

import torch

from chromtransfer_plugin.defaults import FINETUNE, Training
from chromtransfer_plugin.losses import BinaryLoss
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.transfer import Phase, apply_phase, parameter_groups, train_mode

LEVELS = (
    *("stem", "reduce", "narrow.0", "narrow.1", "narrow.2", "expand"),
    *("wide.0", "wide.1", "wide.2", "top", "last_conv"),
)


def make(head=(16, 8), head_bn=True, seed=1, width=0.125, **settings) -> ChromTransfer:
    torch.manual_seed(seed)
    return ChromTransfer(width=width, head=head, head_bn=head_bn, **settings)


def pretrained(seed=5, **settings) -> ChromTransfer:
    """A network whose statistics, biases, gammas and betas are not those of a new one."""
    model = make(seed=seed, **settings)
    model.train()(torch.randn(4, 4, 50))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def training(trainable: str = "full", **changes) -> Training:
    """The paper's fine-tuning, but at learning rates at which three steps move every tensor that may move."""
    return FINETUNE.model_copy(update={"trainable": trainable, "lr": 0.01, "head_lr": 0.02, **changes})


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: torch.nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def take_steps(model: ChromTransfer, phase: Phase, settings: Training, steps: int = 3) -> set[str]:
    """Enter a phase, train some steps with a fresh Adam, and name the tensors that changed."""
    apply_phase(model, phase, settings)
    optimizer = torch.optim.Adam(parameter_groups(model, phase, settings))
    before = snapshot(model)
    for step in range(steps):
        train_mode(model, phase, settings)
        torch.manual_seed(step)
        loss = BinaryLoss()(model(torch.randn(8, 4, 60)), torch.randint(0, 2, (8, 1)).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return changed(before, model)


def weights(model: ChromTransfer, *parts: str) -> set[str]:
    """Names of the parameters of ``head`` or of trunk levels."""
    return {name for name, _ in model.named_parameters() if name.startswith(_prefixes(parts))}


def statistics(model: ChromTransfer, *parts: str) -> set[str]:
    """Names of the batch-norm statistics of ``head`` or of trunk levels."""
    return {name for name, _ in model.named_buffers() if name.startswith(_prefixes(parts))}


def _prefixes(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("head." if part == "head" else f"trunk.{part}." for part in parts)
