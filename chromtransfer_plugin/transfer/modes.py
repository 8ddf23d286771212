"""What may change while training, and when: phases of epochs, and the switches that keep the rest really still.

====================  =====================================================  =========================
``trainable``         what trains                                            learning rate
====================  =====================================================  =========================
``full``              everything (paper)                                     ``lr``
``head``              the head                                               ``lr``
``head_then_full``    the head for ``head_epochs``, then everything          ``head_lr``, then ``lr``
``gradual``           the head for ``head_epochs``, then one more level      ``head_lr``, then ``lr``
                      from the top every ``unfreeze_every`` epochs
``bitfit``            biases and batch-norm betas of the trunk, the head     ``lr``
``lora``, ``ia3``     adapters of the trunk's convolutions, the head         ``lr``
====================  =====================================================  =========================

The head always trains. What does not train does not move at all, batch-norm statistics included, and has no
dropout. In ``bitfit``, ``lora`` and ``ia3`` the kernels stay, hence the trunk's statistics stay as well, whatever
``trunk_bn`` says: an adapter plus its base is then exactly the model that was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chromtransfer_plugin.defaults import Training
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.transfer.adapters import KINDS, adapters_of


class Phase(NamedTuple):
    """Consecutive epochs in which the same tensors train at the same learning rate."""

    name: str
    start: int  # first epoch, 0-based
    levels: tuple[str, ...]  # trunk levels that train, input to output
    lr: float
    kind: str  # what of these levels trains: "full", "bitfit", "lora" or "ia3"; "head": nothing

    def summary(self) -> str:
        """One line for the log; epochs are counted from 1 there."""
        what = {
            "full": "all of",
            "bitfit": "biases and batch-norm betas of",
            "lora": "low-rank adapters of",
            "ia3": "output scales of",
        }
        levels = f"{what[self.kind]} {span(self.levels)}, and " if self.levels else ""
        return f"{self.name} from epoch {self.start + 1} at learning rate {self.lr:g}: {levels}the head"


def span(levels: Sequence[str]) -> str:
    """Name a run of levels by its ends: ``stem..head``."""
    return levels[0] if len(levels) == 1 else f"{levels[0]}..{levels[-1]}"


def phases(model: ChromTransfer, settings: Training) -> list[Phase]:
    """List what trains from which epoch on, for any ``settings.trainable``; the first phase starts at epoch 0."""
    mode, levels = settings.trainable, tuple(model.levels())
    if mode == "head":
        return [Phase("head", 0, (), settings.lr, "head")]
    if mode not in ("head_then_full", "gradual"):
        return [Phase(mode, 0, levels, settings.lr, mode)]
    first = Phase("head", 0, (), settings.head_lr, "head")
    if mode == "head_then_full":
        return [first, Phase("full", settings.head_epochs, levels, settings.lr, "full")]
    steps = [
        Phase(
            span(levels[-n:]),
            settings.head_epochs + settings.unfreeze_every * (n - 1),
            levels[-n:],
            settings.lr,
            "full",
        )
        for n in range(1, len(levels) + 1)
    ]
    return [first, *steps]


def phase_at(plan: Sequence[Phase], epoch: int) -> Phase:
    """Return the phase that an epoch (0-based) belongs to."""
    if epoch < 0:
        raise ChromTransferError(f"there is no epoch {epoch}: epochs are counted from 0.")
    return [phase for phase in plan if phase.start <= epoch][-1]


def apply_phase(model: ChromTransfer, phase: Phase, settings: Training) -> None:
    """Let gradients reach what trains in a phase and nothing else; whatever an earlier phase left is undone.

    Gradients of what no longer trains are dropped: an optimiser that still held these parameters would move them.

    Raises
    ------
    ChromTransferError
        If the trunk does not carry exactly the adapters that the phase and the settings need.
    """
    _check_adapters(model, phase, settings)
    set_gradients(model, phase)


def set_gradients(model: ChromTransfer, phase: Phase) -> None:
    """Set ``requires_grad`` of every parameter as :func:`apply_phase` does, whatever adapters there are."""
    model.requires_grad_(False)
    for name, level in model.levels().items():
        if name not in phase.levels:
            continue
        for path, parameter in level.named_parameters():
            # Biases of convolutions and betas of norms; those under an adapter are called "...original".
            is_bias = path.rsplit(".", 1)[-1] == "bias"
            parameter.requires_grad_(phase.kind == "full" or (phase.kind == "bitfit" and is_bias))
    if phase.kind in KINDS:
        for adapter in adapters_of(model.trunk).values():
            adapter.requires_grad_(True)
    model.head.requires_grad_(True)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.grad = None


def _check_adapters(model: ChromTransfer, phase: Phase, settings: Training) -> None:
    present = sorted({adapter.description() for adapter in adapters_of(model.trunk).values()})
    if phase.kind not in KINDS:
        if present:
            raise ChromTransferError(
                f"phase '{phase.name}': the trunk carries adapters ({', '.join(present)}). "
                "Merge them (merge_adapters) or take them off (detach_adapters) first."
            )
        return
    rank, alpha = settings.adapter_rank, settings.adapter_alpha
    wanted = f"lora, rank {rank}, alpha {alpha:g}" if phase.kind == "lora" else "ia3"
    if present != [wanted]:
        raise ChromTransferError(
            f"phase '{phase.name}': the trunk carries {'; '.join(present) or 'no'} adapters, the settings ask for "
            f"{wanted}. Call attach_adapters(model.trunk, '{phase.kind}', {rank}, {alpha:g}) first, on a trunk without."
        )


def train_mode(model: ChromTransfer, phase: Phase, settings: Training) -> None:
    """Switch to training mode, keeping what is frozen really frozen.

    A frozen level runs in evaluation mode: its batch-norm statistics do not move and it has no dropout. So does
    the whole trunk under ``bitfit``, ``lora`` and ``ia3``. ``trunk_bn="eval"`` keeps the statistics of levels that
    train, too, while their gammas and betas learn, without trunk dropout, as an option of the authors' example
    script does.
    """
    model.train()
    model.trunk.eval()
    if phase.kind == "full" and settings.trunk_bn == "train":
        if set(phase.levels) == set(model.levels()):
            model.trunk.train()
        for name in phase.levels:
            model.levels()[name].train()
