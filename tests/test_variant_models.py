"""Which models score variants: names, columns, and ensembles that are put together for one run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kipoi_cases import make_checkpoint

from chromtransfer_plugin.checkpoint import save_ensemble
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.variants.models import choose_predictors

LINES = ("A549", "K562")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed in range(3):
        make_checkpoint(folder / f"run_{seed}" / "best_model", seed=seed)
    for seed in range(2):
        make_checkpoint(folder / "folds" / f"fold_{seed}", LINES, seed=seed)
    make_checkpoint(folder / "classes", LINES, "softmax", seed=5)
    make_checkpoint(folder / "short", window=400)
    make_checkpoint(folder / "constant", activation="softmax")
    save_ensemble([folder / "run_0", folder / "run_1"], folder / "saved")
    shutil.copytree(folder / "run_0", folder / "copy")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path))


def test_models_then_ensembles(folder):
    predictors = choose_predictors(
        [f"liver={folder / 'run_2'}", folder / "folds"],
        [f"mean={folder / 'run_0'}", f"both={folder / 'folds'}", f"mean={folder / 'run_1'}"],
    )
    assert [(p.name, p.columns) for p in predictors] == [
        ("liver", ("liver",)),
        ("fold_0", ("fold_0.A549", "fold_0.K562")),
        ("fold_1", ("fold_1.A549", "fold_1.K562")),
        ("mean", ("mean",)),
        ("both", ("both.A549", "both.K562")),
    ]
    assert [[member.name for member in p.members] for p in predictors] == [
        ["liver"],
        ["fold_0"],
        ["fold_1"],
        ["run_0", "run_1"],
        ["fold_0", "fold_1"],
    ]
    assert predictors[0].facts == {"name": "liver", "members": [predictors[0].members[0].facts]}
    assert len(predictors[3].facts["members"]) == 2
    assert predictors[4].activation == "sigmoid"


def test_a_folder_named_twice_gives_one_network(folder):
    one, mean, other = choose_predictors(
        [f"x={folder / 'run_0'}"],
        [
            f"mean={folder / 'run_0' / 'best_model'}",
            f"mean={folder / 'run_1'}",
            f"other={folder / 'run_1'}",
            f"other={folder / 'run_2'}",
        ],
    )
    assert mean.members[0].network is one.members[0].network
    assert mean.members[1].network is other.members[0].network
    assert mean.members[0].network is not mean.members[1].network


def test_members_may_be_called_the_same(folder, tmp_path):
    for number in (0, 1):
        shutil.copytree(folder / "folds" / f"fold_{number}", tmp_path / str(number) / "fold")
    (mean,) = choose_predictors(
        ensembles=[f"mean={tmp_path / '0' / 'fold'}", f"mean={tmp_path / '1' / 'fold'}"]
    )
    assert [member.name for member in mean.members] == ["fold", "fold"]


@pytest.mark.parametrize(
    ("models", "ensembles", "taken", "message"),
    [
        ([], [], [], r"no model given, expected at least one: --model FOLDER, or --ensemble"),
        ([], ["run_0"], [], r"--ensemble .*run_0: expected NAME=FOLDER"),
        ([], ["x="], [], r"--ensemble x=: expected NAME=FOLDER"),
        (
            [],
            ["a/b=run_0", "a/b=run_1"],
            [],
            r"--ensemble: the name 'a/b' cannot head a column.*: --ensemble NAME=FOLDER\.",
        ),
        ([], ["x=run_0"], [], r"--ensemble x: has 1 member, .*at least two.*--model x="),
        ([], ["x=saved"], [], r"--ensemble x: has 1 member, .*is an ensemble itself.*--model x="),
        ([], ["x=run_0", "x=nowhere"], [], r"--ensemble x=.*nowhere: .*nowhere"),
        (
            [],
            ["x=run_0", "x=run_1", "x=run_0"],
            [],
            r"--ensemble x: .*run_0.* and .*run_0.* have the same weights",
        ),
        ([], ["x=run_0", "x=copy"], [], r"--ensemble x: .*run_0.* and .*copy.* have the same weights"),
        ([], ["x=run_0", "x=short"], [], r"--ensemble x: window 400 of .*short differs from 600 of .*run_0"),
        (
            [],
            ["x=folds", "x=classes"],
            [],
            r"--ensemble x: activation softmax of .*classes differs from sigmoid",
        ),
        ([], ["x=run_0", "x=folds"], [], r"--ensemble x: outputs .*A549.* differs from \['open'\]"),
        (["x=run_0"], ["x=run_0", "x=run_1"], [], r"2 models or ensembles would be called 'x'"),
        (["x.A549=run_0"], ["x=folds"], [], r"2 columns would be called 'x.A549'"),
        ([], ["pos=run_0", "pos=run_1"], ["pos"], r"2 columns would be called 'pos'"),
        (["pos=run_0"], [], ["pos"], r"'pos' is a column"),
        (["constant"], [], [], r"constant: has one output that is the only one"),
    ],
)
def test_refusals(folder, models, ensembles, taken, message):
    def full(text: str) -> str:
        name, equals, rest = text.rpartition("=")
        return f"{name}{equals}{folder / rest if rest else ''}"

    with pytest.raises(ChromTransferError, match=message):
        choose_predictors([full(text) for text in models], [full(text) for text in ensembles], taken)
