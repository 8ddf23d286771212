"""Ensembles: the mean of the members' logits, in Python, in checkpoints, in Kipoi and in Selene."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from genome_helpers import write_fasta, write_lines
from kipoi_cases import make_checkpoint

from chromtransfer_plugin.attribution import gradient_x_input
from chromtransfer_plugin.checkpoint import (
    Card,
    load_model,
    load_network,
    read_card,
    save_ensemble,
    save_model,
)
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble
from chromtransfer_plugin.onehot import one_hot, reverse_complement_codes
from chromtransfer_plugin.predict import predict_checkpoint, predict_logits, probabilities
from chromtransfer_plugin.transfer import fine_tuning_model, transfer_trunk

LENGTH = 80
SETTINGS = {"width": 0.125, "head": [16], "head_bn": False}  # of make_checkpoint


def codes(n: int, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Three checkpoints with two outputs."""
    home = tmp_path_factory.mktemp("members")
    return [
        make_checkpoint(home / f"fold_{seed}" / "best_model", ("a", "b"), seed=seed, window=LENGTH)
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def saved(folders, tmp_path_factory) -> Path:
    return save_ensemble(folders, tmp_path_factory.mktemp("ensemble") / "best_model")


@pytest.fixture
def members(folders) -> list[ChromTransfer]:
    return [load_model(folder).model for folder in folders]


@pytest.fixture(scope="module")
def logits(folders) -> np.ndarray:
    """Of each member on 20 sequences, (3, 20, 2)."""
    return np.stack([predict_logits(load_model(folder).model, codes(20)) for folder in folders])


# --- the module ------------------------------------------------------------------------------------------


def test_logits_are_the_mean_of_the_members(members, logits):
    assert logits.std(axis=0).min() > 0.01  # the members disagree
    found = predict_logits(Ensemble(members), codes(20))
    np.testing.assert_allclose(found, logits.mean(axis=0), atol=1e-6)
    turned = predict_logits(Ensemble(members[::-1]), codes(20))
    np.testing.assert_allclose(turned, found, atol=1e-6)
    twice = Ensemble([members[0], load_model_again(members[0])])
    np.testing.assert_array_equal(predict_logits(twice, codes(20)), logits[0])


def load_model_again(model: ChromTransfer) -> ChromTransfer:
    copy = ChromTransfer(**model.architecture.model_dump())
    copy.load_state_dict(model.state_dict())
    return copy.eval()


def test_features_and_head_keep_the_contract(members):
    ensemble = Ensemble(members).eval()
    X = torch.from_numpy(one_hot(codes(5)))
    with torch.no_grad():
        z = ensemble.features(X)
        assert z.shape == (5, ensemble.n_features) == (5, 24)
        for number, member in enumerate(members):
            assert torch.equal(z[:, 8 * number : 8 * number + 8], member.features(X))
        assert torch.equal(ensemble.head(z), ensemble(X))
        moved = z.clone()
        moved[:, 8:16] = 0  # only the second member's answer changes
        change = members[1].head(torch.zeros(5, 8)) - members[1](X)
        torch.testing.assert_close(ensemble.head(moved) - ensemble(X), change / 3, atol=1e-6, rtol=0)


def test_members_that_do_not_fit(members):
    with pytest.raises(ChromTransferError, match=r"1 network\(s\) given, an ensemble has at least two"):
        Ensemble(members[:1])
    other = ChromTransfer(width=0.25, head=(16,), head_bn=False, dropout=0, n_outputs=2)
    with pytest.raises(
        ChromTransferError, match=r"member 2 has another architecture \(width 0\.25 instead of 0\.125\)"
    ):
        Ensemble([*members[:2], other])


def test_an_ensemble_is_not_transferred(members, saved, folders):
    target = ChromTransfer(width=0.125, head=(4,), head_bn=False)
    with pytest.raises(ChromTransferError, match="ensemble of 3 networks and has no single trunk"):
        transfer_trunk(Ensemble(members), target)
    with pytest.raises(ChromTransferError, match="ensemble of 3 networks"):
        fine_tuning_model(saved, target)
    with pytest.raises(ChromTransferError, match="ensemble of 3 networks"):
        _ = Ensemble(members).trunk
    with pytest.raises(ChromTransferError) as error:
        load_network(saved)
    names = ", ".join(str(folder) for folder in folders)
    assert str(error.value) == (
        f"{saved}: is an ensemble of 3 networks, here one is needed: name the checkpoint of one member: {names}."
    )
    assert torch.equal(load_network(folders[1])[0].head[1].bias, members[1].head[1].bias)


def test_deep_lift_converges(members):
    from tangermeme.deep_lift_shap import deep_lift_shap

    ensemble = Ensemble(members).eval()
    X, reference = (torch.from_numpy(one_hot(codes(3, 100, seed))) for seed in (1, 2))
    scores = deep_lift_shap(
        ensemble, X, references=reference.unsqueeze(1), target=1, device="cpu", warning_threshold=1e-4
    )
    with torch.no_grad():
        difference = (ensemble(X) - ensemble(reference))[:, 1]
    assert difference.abs().min() > 1e-3
    torch.testing.assert_close(scores.sum(dim=(1, 2)), difference, rtol=0, atol=1e-4)


def test_gradient_is_the_mean_gradient(members):
    found = gradient_x_input(Ensemble(members), codes(4), target=1)
    wanted = np.mean([gradient_x_input(member, codes(4), target=1) for member in members], axis=0)
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# --- both strands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", [False, True])
def test_both_strands_give_one_answer(members, ensemble):
    model = Ensemble(members) if ensemble else members[0]
    forward, reverse = codes(6), reverse_complement_codes(codes(6))
    one, other = predict_logits(model, forward), predict_logits(model, reverse)
    assert np.abs(one - other).max() > 0.01
    both = predict_logits(model, forward, both_strands=True)
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)
    np.testing.assert_array_equal(both, predict_logits(model, reverse, both_strands=True))
    unknown = np.full((1, LENGTH), 4, dtype=np.uint8)
    assert np.isnan(predict_logits(model, unknown, both_strands=True)).all()


# --- checkpoints -----------------------------------------------------------------------------------------


def test_a_checkpoint_gives_every_bit_back(saved, members, folders, logits):
    model, card = load_model(saved)
    assert isinstance(model, Ensemble)
    assert not any(module.training for module in model.modules())
    assert len(model.state_dict()) == 3 * len(members[0].state_dict())
    for number, member in enumerate(members):
        for name, tensor in member.state_dict().items():
            assert torch.equal(model.state_dict()[f"members.{number}.{name}"], tensor)
    assert (card.members, card.format, card.outputs, card.window) == (3, 1, ["a", "b"], LENGTH)
    assert card.training == {"member_checkpoints": [str(folder) for folder in folders]}
    np.testing.assert_allclose(
        predict_checkpoint(saved, codes(20)), 1 / (1 + np.exp(-logits.mean(axis=0))), atol=1e-6
    )


def test_networks_and_checkpoints_make_the_same_ensemble(members, folders, saved, tmp_path):
    card = read_card(folders[0]).model_copy(update={"training": {"seed": 7}})
    save_ensemble([members[0], folders[1], members[2]], tmp_path / "mixed", card)
    mixed = load_model(tmp_path / "mixed")
    assert mixed.card.training == {"seed": 7, "member_checkpoints": [str(folders[1])]}
    assert (tmp_path / "mixed/model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()
    with pytest.raises(ChromTransferError, match="networks without checkpoints need a card"):
        save_ensemble(members, tmp_path / "none")


def test_a_smoke_test_among_the_members_marks_the_ensemble(members, folders, tmp_path):
    card = read_card(folders[0]).model_copy(update={"training": {"smoke": True}})
    save_model(members[0], tmp_path / "smoke", card)
    save_ensemble([folders[0], tmp_path / "smoke"], tmp_path / "all")
    assert load_model(tmp_path / "all").card.training["smoke"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": ["b", "a"]}, "outputs ['b', 'a'] differs from ['a', 'b'] of the ensemble"),
        ({"activation": "softmax"}, "activation softmax differs from sigmoid"),
        ({"window": 600}, "window 600 differs from 80"),
    ],
)
def test_members_that_answer_another_question(members, folders, tmp_path, change, message):
    save_model(members[1], tmp_path / "other", read_card(folders[1]).model_copy(update=change))
    with pytest.raises(ChromTransferError) as error:
        save_ensemble([folders[0], tmp_path / "other"], tmp_path / "all")
    assert str(tmp_path / "other") in str(error.value)
    assert message in str(error.value)
    assert not (tmp_path / "all").exists()


def test_an_ensemble_of_ensembles_is_refused(saved, folders, tmp_path):
    with pytest.raises(ChromTransferError, match="is an ensemble of 3 networks, here one is needed"):
        save_ensemble([folders[0], saved], tmp_path / "all")


@pytest.mark.parametrize(
    ("members", "message"),
    [(2, "'members.2.trunk"), (4, "'members.3.trunk"), (1, "'trunk.stem.conv.conv.weight' is missing")],
)
def test_a_card_with_another_number_of_members(saved, tmp_path, members, message):
    (tmp_path / "model.safetensors").symlink_to(saved / "model.safetensors")
    card = json.loads((saved / "card.json").read_text()) | {"members": members}
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ChromTransferError, match="belong to another architecture") as error:
        load_model(tmp_path)
    assert message in str(error.value)


def test_a_card_from_before_there_were_ensembles(folders, members, tmp_path):
    (tmp_path / "model.safetensors").symlink_to(folders[0] / "model.safetensors")
    card = json.loads((folders[0] / "card.json").read_text())
    del card["members"]
    (tmp_path / "card.json").write_text(json.dumps(card))
    model = load_model(tmp_path).model
    assert isinstance(model, ChromTransfer)
    assert torch.equal(model.head[1].bias, members[0].head[1].bias)


# --- Kipoi -----------------------------------------------------------------------------------------------


def test_kipoi_model_gives_the_mean_of_the_members(home, folders, saved, tmp_path):
    from chromtransfer_plugin.kipoi import ChromTransferModel
    from chromtransfer_plugin.kipoi.export import export_model

    folder = export_model(saved, "mean", tmp_path)
    with h5py.File(folder / "expect.h5") as file:
        X, preds = file["inputs"][:], file["preds"][:]
    wanted = probabilities(np.mean([predict_logits(load_model(f).model, X) for f in folders], axis=0))
    np.testing.assert_allclose(preds, wanted, atol=1e-6)
    np.testing.assert_allclose(ChromTransferModel(folder).predict_on_batch(X), wanted, atol=1e-6)
    text = (folder / "model.yaml").read_text()
    assert "Mean logit of 3 ChromTransfer networks: 80 bp of DNA in, 2 probabilities out" in " ".join(
        text.split()
    )


# --- Selene ----------------------------------------------------------------------------------------------


@pytest.fixture
def genome(tmp_path) -> dict[str, str]:
    contigs = {f"chr{i}": "".join("ACGT"[code] for code in codes(1, 4_000, i)[0]) for i in (1, 2, 3, 4)}
    write_fasta(tmp_path / "g.fa", contigs)
    return contigs


def given(**settings):
    from chromtransfer_plugin.selene.model import ChromTransferProbability

    return ChromTransferProbability(**{**SETTINGS, "n_outputs": 2, "dropout": 0, **settings})


def test_selene_analysis_gives_the_mean_of_the_members(saved, logits, genome, tmp_path):
    from chromtransfer_plugin.selene import AnalyzeSequences, Genome

    analysis = AnalyzeSequences(
        given(), str(saved), LENGTH, reference_sequence=Genome(str(tmp_path / "g.fa")), device="cpu"
    )
    assert list(analysis.features) == ["a", "b"]
    wanted = probabilities(logits.mean(axis=0))  # two independent outputs: not a softmax
    for sequence, row in zip(codes(3), wanted, strict=False):
        text = "".join("ACGT"[code] for code in sequence)
        np.testing.assert_allclose(analysis.get_predictions(text)[0], row, atol=1e-6)


def test_selene_names_class_args_that_do_not_fit_the_members(saved, genome, tmp_path):
    from chromtransfer_plugin.selene import AnalyzeSequences, Genome

    with pytest.raises(ChromTransferError, match=r"'head.0.linear.weight' has shape \(16, 8\), expected"):
        AnalyzeSequences(
            given(head=[4]), str(saved), LENGTH, reference_sequence=Genome(str(tmp_path / "g.fa"))
        )


def test_selene_evaluates_an_ensemble_of_several_tasks(saved, genome, tmp_path):
    """Test targets have gaps; loss and scores are those of the known ones, by scikit-learn."""
    from sklearn.metrics import log_loss, roc_auc_score

    from chromtransfer_plugin.selene import EvaluateModel, RegionSampler

    rng = np.random.default_rng(1)
    files = {}
    for task, keep in (("a", range(0, 40)), ("b", range(15, 48))):
        rows = [
            f"{contig}:{82 * i}-{82 * i + LENGTH},{task if rng.random() < 0.5 else 'no'}"
            for contig in genome
            for i in keep
        ]
        files[task] = str(write_lines(tmp_path, f"{task}.csv", *rows))
    sampler = RegionSampler(
        str(tmp_path / "g.fa"), tasks=files, width=LENGTH, test_chromosomes=["chr2", "chr3"], folds=2
    )
    evaluation = EvaluateModel(
        given(), torch.nn.BCELoss(), sampler, str(saved), str(tmp_path / "out"), batch_size=7, device="cpu"
    )
    scores = evaluation.evaluate()
    y, p = (np.load(tmp_path / f"out/test_{name}.npz")["data"] for name in ("targets", "predictions"))
    np.testing.assert_array_equal(y, sampler.windows("test").targets)
    np.testing.assert_allclose(p, predict_checkpoint(saved, sampler.windows("test").codes), atol=1e-6)
    assert np.isnan(y).sum(axis=0).tolist() == [16, 30]
    losses = np.full(y.shape, np.nan)
    for column, task in enumerate("ab"):
        known = ~np.isnan(y[:, column])
        auroc = roc_auc_score(y[known, column], p[known, column])
        assert scores[task]["roc_auc"] == pytest.approx(auroc, abs=1e-9)
        losses[known, column] = [
            log_loss([t], [q], labels=[0, 1])
            for t, q in zip(y[known, column], p[known, column].astype(float), strict=True)
        ]
    loss = evaluation.criterion(torch.from_numpy(p), torch.from_numpy(y)).item()
    assert loss == pytest.approx(np.nanmean(losses, axis=1).mean(), rel=1e-5)


def test_selene_refuses_other_tasks_than_the_checkpoints(saved, genome, tmp_path):
    from chromtransfer_plugin.selene import EvaluateModel, RegionSampler

    rows = [f"{contig}:{82 * i}-{82 * i + LENGTH},{'ab'[i % 2]}" for contig in genome for i in range(9)]
    path = str(write_lines(tmp_path, "ab.csv", *rows))
    arguments = {"width": LENGTH, "test_chromosomes": ["chr2"]}
    for targets, message in (
        ({"tasks": {"b": path, "a": path}}, r"list `tasks` in the checkpoint's order"),
        ({"regions": path, "classes": ["a", "b"]}, r"the checkpoint's tasks are \['a', 'b'\]"),
    ):
        sampler = RegionSampler(str(tmp_path / "g.fa"), **targets, **arguments)
        with pytest.raises(ChromTransferError, match=message):
            EvaluateModel(given(), None, sampler, str(saved), str(tmp_path / "out"), device="cpu")
    assert not (tmp_path / "out").exists()


def test_a_card_can_be_made_by_hand(members, tmp_path):
    """The number of members is filled in, whatever the card says."""
    card = Card(architecture=members[0].architecture, outputs=["a", "b"], members=9)
    assert load_model(save_model(Ensemble(members[:2]), tmp_path / "m", card)).card.members == 2
    assert load_model(save_model(members[0], tmp_path / "n", card)).card.members == 1


def test_members_with_one_trunk_of_motifs_run_it_once():
    settings = {"trunk": "motifs", "motifs": (2, 0, 0, 0), "head": (4,), "head_bn": False, "dropout": 0}
    torch.manual_seed(0)
    first, second = ChromTransfer(**settings).eval(), ChromTransfer(**settings).eval()
    calls = []
    for member in (first, second):
        member.trunk.register_forward_hook(lambda *_: calls.append(1))
    ensemble = Ensemble([first, second]).eval()
    X = torch.eye(4)[torch.randint(0, 4, (3, 60))].transpose(1, 2)
    wanted = (first(X) + second(X)) / 2
    calls.clear()
    torch.testing.assert_close(ensemble(X), wanted)
    assert len(calls) == 1
    with torch.no_grad():
        second.trunk.bank[0].conv.weight += 1
    wanted = (first(X) + second(X)) / 2
    calls.clear()
    torch.testing.assert_close(ensemble(X), wanted)
    assert len(calls) == 2
