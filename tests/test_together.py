"""Models run together give what each gives alone, and a trunk in common runs once."""

from __future__ import annotations

import copy

import pytest
import torch
from motif_cases import COUNTS

from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.models.together import Together


def network(seed: int, **settings) -> ChromTransfer:
    torch.manual_seed(seed)
    model = ChromTransfer(**{"width": 1 / 16, "head": (6,), "head_bn": False, **settings}).eval()
    for tensor in model.buffers():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return model


def same_trunk(model: ChromTransfer, seed: int, **settings) -> ChromTransfer:
    other = network(seed, **settings)
    other.trunk = copy.deepcopy(model.trunk)
    return other


@pytest.fixture(name="X")
def one_hot() -> torch.Tensor:
    return torch.eye(4)[torch.randint(0, 4, (5, 80), generator=torch.Generator().manual_seed(2))].transpose(
        1, 2
    )


def runs(models, X) -> list[int]:
    """Count how often each network's trunk runs, by a hook on it."""
    counts = []
    for i, net in enumerate(n for m in models for n in (m.networks if isinstance(m, Ensemble) else [m])):
        counts.append(0)

        def count(*_, i=i):
            counts[i] += 1

        net.trunk.register_forward_hook(count)
    Together(models)(X)
    return counts


def models() -> list[ChromTransfer | Ensemble]:
    a = network(1)
    b = same_trunk(a, 2, n_outputs=3)
    other = network(3)
    pair = Ensemble([same_trunk(a, 4), network(5)]).eval()
    return [a, b, other, pair]


def test_logits_are_those_of_each_model_alone(X):
    together = models()
    with torch.inference_mode():
        for model, logits in zip(together, Together(together)(X), strict=True):
            assert torch.equal(logits, model(X))


def test_a_common_trunk_runs_once(X):
    with torch.inference_mode():
        assert runs(models(), X) == [1, 0, 1, 0, 1]
    assert Together(models()).n_trunks == 3


def test_the_last_bit_tells_trunks_apart(X):
    a = network(1)
    for name in a.trunk.state_dict():
        b = same_trunk(a, 2)
        tensor = b.trunk.state_dict()[name]
        if tensor.is_floating_point():
            flat = tensor.view(-1)
            flat[-1] = torch.nextafter(flat[-1], torch.tensor(torch.inf))
            assert Together([a, b]).n_trunks == 2, name


def test_trunks_of_equal_tensors_but_other_epsilon_differ():
    a = network(1)
    b = network(2, bn_eps=1e-2)
    b.trunk.load_state_dict(a.trunk.state_dict())
    assert Together([a, b]).n_trunks == 2


def test_a_bank_of_motifs_runs_once_for_ensembles_of_several_lines(X):
    made = [network(seed, trunk="motifs", motifs=COUNTS) for seed in range(4)]
    with torch.no_grad():
        for group in made[0].trunk.bank:
            group.conv.weight.normal_()
    for model in made[1:]:
        model.trunk = copy.deepcopy(made[0].trunk)
    lines = [Ensemble(made[:2]).eval(), Ensemble(made[2:]).eval()]
    with torch.inference_mode():
        for model, logits in zip(lines, Together(lines)(X), strict=True):
            torch.testing.assert_close(logits, model(X))
        assert runs(lines, X) == [1, 0, 0, 0]
