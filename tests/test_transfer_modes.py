"""Every way of fine-tuning: which tensors move, which do not, bit for bit; when, and how fast."""

from __future__ import annotations

import pytest
import torch
from transfer_cases import (
    LEVELS,
    changed,
    make,
    pretrained,
    snapshot,
    statistics,
    take_steps,
    training,
    weights,
)

from chromtransfer_plugin.defaults import FINETUNE, FROZEN, HEADS
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.transfer import (
    Phase,
    apply_phase,
    attach_adapters,
    parameter_groups,
    phase_at,
    phases,
    train_mode,
)

ALL = ("head", *LEVELS)


def run(mode: str, **changes) -> tuple[ChromTransfer, list[set[str]]]:
    """Go through all phases of a mode; the names of what changed in each."""
    model, settings = pretrained(), training(mode, **changes)
    if mode in ("lora", "ia3"):
        attach_adapters(model.trunk, mode, settings.adapter_rank, settings.adapter_alpha)
    return model, [take_steps(model, phase, settings) for phase in phases(model, settings)]


# --- bit for bit -----------------------------------------------------------------------------------------


def test_full_training_moves_everything():
    model, moved = run("full")
    assert moved == [set(model.state_dict())]


def test_full_training_with_fixed_statistics_moves_all_weights_and_the_heads_statistics():
    model, moved = run("full", trunk_bn="eval")
    assert moved == [weights(model, *ALL) | statistics(model, "head")]


@pytest.mark.parametrize("trunk_bn", ["train", "eval"])
def test_a_frozen_trunk_does_not_change_at_all(trunk_bn):
    """A peer's frozen trunk lets its batch-norm statistics drift."""
    model, moved = run("head", trunk_bn=trunk_bn)
    assert moved == [weights(model, "head") | statistics(model, "head")]


def test_head_then_full():
    model, moved = run("head_then_full")
    assert moved == [weights(model, "head") | statistics(model, "head"), set(model.state_dict())]


@pytest.mark.parametrize("trunk_bn", ["train", "eval"])
def test_gradual_unfreezing_moves_one_more_level_from_the_top_in_each_phase(trunk_bn):
    model, moved = run("gradual", trunk_bn=trunk_bn)
    assert len(moved) == 12
    for n, names in enumerate(moved):
        training_levels = LEVELS[len(LEVELS) - n :]
        moving = statistics(model, "head", *(training_levels if trunk_bn == "train" else ()))
        assert names == weights(model, "head", *training_levels) | moving, n
    assert ("trunk.last_conv.conv.weight" in moved[1], "trunk.top.bn.running_mean" in moved[1]) == (
        True,
        False,
    )


@pytest.mark.parametrize("trunk_bn", ["train", "eval"])
def test_bitfit_moves_biases_and_betas_of_the_trunk_and_no_statistics(trunk_bn):
    model, moved = run("bitfit", trunk_bn=trunk_bn)
    biases = {name for name in model.state_dict() if name.startswith("trunk.") and name.endswith(".bias")}
    assert len(biases) == 21 + 20
    assert moved == [biases | weights(model, "head") | statistics(model, "head")]


@pytest.mark.parametrize("trunk_bn", ["train", "eval"])
@pytest.mark.parametrize(("kind", "tensors"), [("lora", ("a", "b")), ("ia3", ("scale",))])
def test_adapters_move_and_the_trunk_under_them_does_not(kind, tensors, trunk_bn):
    model, moved = run(kind, trunk_bn=trunk_bn)
    own = {
        n for n in model.state_dict() if n.endswith(tuple(f".parametrizations.weight.0.{t}" for t in tensors))
    }
    assert len(own) == 21 * len(tensors)
    assert moved == [own | weights(model, "head") | statistics(model, "head")]


@pytest.mark.parametrize("cut", ["stem", "narrow.1", "expand"])
def test_a_cut_network_unfreezes_its_own_levels_only(cut):
    model, settings = pretrained(cut=cut), training("gradual")
    plan = phases(model, settings)
    kept = LEVELS[: LEVELS.index(cut) + 1]
    assert [phase.levels for phase in plan] == [kept[len(kept) - n :] for n in range(len(kept) + 1)]
    moved = take_steps(model, plan[1], settings)
    assert moved == weights(model, "head", cut) | statistics(model, "head", cut)
    assert take_steps(model, plan[-1], settings) == set(model.state_dict())


def test_refreezing_leaves_nothing_of_the_phase_before():
    """Momentum and gradients of the full phase must not move what is frozen again."""
    model, settings = pretrained(), training("head_then_full")
    head, full = phases(model, settings)
    assert take_steps(model, full, settings) == set(model.state_dict())
    assert model.trunk.stem.conv.conv.weight.grad is not None
    everything = torch.optim.Adam(model.parameters(), lr=0.01)  # an optimiser that still holds the trunk
    everything.step()
    apply_phase(model, head, settings)
    before = snapshot(model)
    assert not any(p.requires_grad for p in model.trunk.parameters())
    everything.step()
    assert changed(before, model) == weights(model, "head")
    assert take_steps(model, head, settings) == weights(model, "head") | statistics(model, "head")
    assert take_steps(model, full, settings) == set(model.state_dict())


def test_a_level_that_was_left_out_is_frozen_again():
    model, settings = pretrained(), training("gradual")
    plan = phases(model, settings)
    take_steps(model, plan[5], settings)
    assert take_steps(model, plan[2], settings) == (
        weights(model, "head", "top", "last_conv") | statistics(model, "head", "top")
    )


# --- how many, how fast, when ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        ("full", [651_553]),
        ("head", [99_393]),
        ("head_then_full", [99_393, 651_553]),
        # biases of 21 convolutions (1,056) and betas of 20 norms (992)
        ("bitfit", [99_393 + 2_048]),
        # rank 4: 4 * (inputs * kernel + outputs) of each convolution, by hand
        ("lora", [99_393 + 656 + 13_184 + 12_288 + 11_008 + 9_216 + 2_816 + 1_536]),
        ("ia3", [99_393 + 1_056]),
        (
            "gradual",  # convolution and trainable half of the norm of each level: spec 1.3
            [99_393]
            + [99_393 + n for n in (20_544, 61_696, 103_040, 144_384, 185_728, 350_144)]
            + [99_393 + n for n in (381_056, 411_968, 442_880, 545_568, 552_160)],
        ),
    ],
)
def test_numbers_of_trainable_parameters_of_the_papers_network(mode, counts):
    model, settings = ChromTransfer(**HEADS["finetune"].model_dump()), training(mode)
    if mode in ("lora", "ia3"):
        attach_adapters(model.trunk, mode)
    found = []
    for phase in phases(model, settings):
        apply_phase(model, phase, settings)
        groups = parameter_groups(model, phase, settings)
        found.append(sum(p.numel() for group in groups for p in group["params"]))
    assert found == counts


def test_phases_of_every_mode():
    model = make()
    both = {"head_epochs": 3, "unfreeze_every": 4}

    def plan(mode: str) -> list[Phase]:
        return phases(model, training(mode, **both))

    assert plan("full") == [Phase("full", 0, LEVELS, 0.01, "full")]
    assert plan("head") == [Phase("head", 0, (), 0.01, "head")]
    assert plan("head_then_full") == [
        Phase("head", 0, (), 0.02, "head"),
        Phase("full", 3, LEVELS, 0.01, "full"),
    ]
    gradual = plan("gradual")
    assert gradual[:4] == [
        Phase("head", 0, (), 0.02, "head"),
        Phase("last_conv", 3, ("last_conv",), 0.01, "full"),
        Phase("top..last_conv", 7, ("top", "last_conv"), 0.01, "full"),
        Phase("wide.2..last_conv", 11, ("wide.2", "top", "last_conv"), 0.01, "full"),
    ]
    assert gradual[-1] == Phase("stem..last_conv", 43, LEVELS, 0.01, "full")
    for mode in ("bitfit", "lora", "ia3"):
        assert plan(mode) == [Phase(mode, 0, LEVELS, 0.01, mode)]
    assert phases(model, FROZEN)[0].lr == 1e-3  # finetune.py
    assert phases(model, FINETUNE) == [Phase("full", 0, LEVELS, 5e-6, "full")]  # paper


def test_phases_are_told_in_one_line_each():
    told = [phase.summary() for phase in phases(make(), training("gradual", lr=5e-6, head_epochs=2))]
    assert told[0] == "head from epoch 1 at learning rate 0.02: the head"
    assert (
        told[2] == "top..last_conv from epoch 5 at learning rate 5e-06: all of top..last_conv, and the head"
    )
    lora = phases(make(), training("lora"))[0].summary()
    assert (
        lora == "lora from epoch 1 at learning rate 0.01: low-rank adapters of stem..last_conv, and the head"
    )


def test_phase_at_every_epoch():
    plan = phases(make(), training("gradual", head_epochs=2, unfreeze_every=3))
    names = ["head"] * 2 + ["last_conv"] * 3 + ["top..last_conv"] * 3 + ["wide.2..last_conv"]
    assert [phase_at(plan, epoch).name for epoch in range(9)] == names
    assert phase_at(plan, 10_000) == plan[-1]
    with pytest.raises(ChromTransferError, match="no epoch -1"):
        phase_at(plan, -1)


def test_the_second_phase_learns_at_its_own_rate():
    """A peer keeps the learning rate of the first phase; here a step of SGD is exactly lr * gradient in each."""
    model, settings = make(head=(), dropout=0).double(), training("head_then_full", l2=0.0)
    for phase, lr in zip(phases(model, settings), (0.02, 0.01), strict=True):
        apply_phase(model, phase, settings)
        optimizer = torch.optim.SGD(parameter_groups(model, phase, settings))
        train_mode(model, phase, settings)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        model(torch.randn(4, 4, 30).double()).sum().backward()
        optimizer.step()
        moved = {name: p for name, p in model.named_parameters() if p.requires_grad}
        assert len(moved) == (2 if lr == 0.02 else 2 + 21 * 2 + 20 * 2)
        for name, parameter in moved.items():
            torch.testing.assert_close(
                parameter.detach(), before[name] - lr * parameter.grad, rtol=0, atol=1e-12
            )


# --- dropout ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "index", "trunk_bn", "noisy"),
    [
        ("full", 0, "train", LEVELS[:-1]),
        ("full", 0, "eval", ()),
        ("head", 0, "train", ()),
        ("gradual", 3, "train", ("wide.2", "top")),
        ("gradual", 3, "eval", ()),
        ("bitfit", 0, "train", ()),
        ("lora", 0, "train", ()),
        ("ia3", 0, "train", ()),
    ],
)
def test_dropout_is_on_exactly_where_a_level_trains_its_kernels(mode, index, trunk_bn, noisy):
    model, settings = pretrained(dropout=0.5), training(mode, trunk_bn=trunk_bn)
    if mode in ("lora", "ia3"):
        attach_adapters(model.trunk, mode)
    phase = phases(model, settings)[index]
    apply_phase(model, phase, settings)
    model.eval()
    train_mode(model, phase, settings)
    X = {level: torch.randn(4, conv_in(module), 60) for level, module in model.levels().items()}
    random = {
        name for name, level in model.levels().items() if not torch.equal(level(X[name]), level(X[name]))
    }
    assert random == set(noisy)
    z = torch.randn(4, 8)
    assert not torch.equal(model.head(z), model.head(z))


def conv_in(level: torch.nn.Module) -> int:
    return next(m for m in level.modules() if isinstance(m, torch.nn.Conv1d)).in_channels


# --- mistakes --------------------------------------------------------------------------------------------


def test_adapters_must_fit_the_phase():
    model, settings = make(), training("lora", adapter_rank=2, adapter_alpha=8.0)
    phase = phases(model, settings)[0]
    with pytest.raises(
        ChromTransferError, match=r"carries no adapters.*attach_adapters\(model.trunk, 'lora', 2, 8\)"
    ):
        apply_phase(model, phase, settings)
    attach_adapters(model.trunk, "lora", 4, 8.0)
    with pytest.raises(
        ChromTransferError, match=r"carries lora, rank 4, alpha 8 adapters, .* lora, rank 2, alpha 8"
    ):
        apply_phase(model, phase, settings)
    full = phases(model, training("full"))[0]
    with pytest.raises(ChromTransferError, match=r"carries adapters \(lora, rank 4, alpha 8\).*Merge them"):
        apply_phase(model, full, training("full"))
