"""Checkpoints: exact, self-describing, refused when anything is wrong, and never unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from chromtransfer_plugin import __version__
from chromtransfer_plugin.checkpoint import (
    Card,
    LoadedModel,
    load_model,
    load_state,
    save_model,
    select_outputs,
    sha256,
)
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.models.chromtransfer import ChromTransfer
from chromtransfer_plugin.models.ensemble import Ensemble


def make_model(**settings) -> ChromTransfer:
    torch.manual_seed(3)
    model = ChromTransfer(**{"width": 0.125, "head": (8,), "head_bn": True, **settings})
    for tensor in model.state_dict().values():  # values that a lossy format would change
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape) * 1e-3 + 1 / 3)
    model.head[0].bn.num_batches_tracked.fill_(2**40 + 1)
    return model


def make_card(model: ChromTransfer, **facts) -> Card:
    return Card(**{"architecture": model.architecture, "outputs": ["open"], "trained_on": "nothing", **facts})


@pytest.fixture
def saved(tmp_path) -> Path:
    model = make_model()
    return save_model(model, tmp_path / "run" / "best_model", make_card(model, training={"lr": 0.001}))


def edit_card(folder: Path, **changes) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | changes))


def assert_same_tensors(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert list(a.state_dict()) == list(b.state_dict())
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name
        assert tensor.dtype == b.state_dict()[name].dtype


def test_loading_gives_every_bit_back_without_unpickling(saved, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a checkpoint was unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    model, card = load_model(saved)
    assert_same_tensors(model, make_model())
    assert not model.training
    assert card.model_dump() == {
        "format": 1,
        "network": "ChromTransfer",
        "architecture": {
            "head": (8,),
            "head_bn": True,
            "n_outputs": 1,
            "width": 0.125,
            "cut": "last_conv",
            "trunk": "residual",
            "motifs": (322, 364, 148, 45),
            "head_init": "glorot",
            "feature_norm": False,
            "feature_dropout": 0.0,
            "dropout": 0.1,
            "bn_momentum": 0.01,
            "bn_eps": 0.001,
        },
        "members": 1,
        "outputs": ["open"],
        "activation": "sigmoid",
        "window": 600,
        "weights_sha256": sha256(saved / "model.safetensors"),
        "created_by": f"chromtransfer-plugin {__version__}",
        "license": "MIT",
        "cite_as": "https://doi.org/10.1093/nargab/lqad026",
        "trained_on": "nothing",
        "source": {},
        "training": {"lr": 0.001},
    }


def test_saving_again_replaces_the_checkpoint_and_leaves_nothing_else(saved):
    other = make_model(head=(4, 4))
    save_model(other, saved, make_card(other))
    assert_same_tensors(load_model(saved).model, other)
    assert sorted(path.name for path in saved.iterdir()) == ["card.json", "model.safetensors"]


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    again = save_model(make_model(), tmp_path / "again", make_card(make_model(), training={"lr": 0.001}))
    for name in ("card.json", "model.safetensors"):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


@pytest.mark.parametrize("inside", ["", "card.json", "model.safetensors"])
def test_a_checkpoint_can_be_named_by_a_file_in_it_or_by_its_run(saved, inside):
    assert_same_tensors(load_model(saved / inside).model, make_model())
    assert_same_tensors(load_model(str(saved.parent)).model, make_model())


def load_error(path: str | Path) -> str:
    with pytest.raises(ChromTransferError) as error:
        load_model(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_missing_paths(saved, tmp_path):
    assert "no such checkpoint folder" in load_error(tmp_path / "nowhere")
    assert "no such checkpoint folder" in load_error(saved / "typo")
    (tmp_path / "empty").mkdir()
    assert "expected a folder with model.safetensors and card.json" in load_error(tmp_path / "empty")
    (saved / "notes.txt").write_text("x")
    assert "not a checkpoint" in load_error(saved / "notes.txt")


def test_missing_card_or_weights(saved):
    (saved / "card.json").rename(saved / "card.txt")
    assert "not a checkpoint" in load_error(saved)
    (saved / "card.txt").rename(saved / "card.json")
    (saved / "model.safetensors").unlink()
    assert "the weights are missing beside the card" in load_error(saved)


@pytest.mark.parametrize("name", ["best_model.pth.tar", "model.pt", "model.pth"])
def test_pickle_files_are_never_loaded(tmp_path, name):
    torch.save({}, tmp_path / name)
    assert "pickle-based checkpoint, which is never loaded" in load_error(tmp_path / name)
    assert "`best_model`" in load_error(tmp_path / name)


def test_keras_files_are_named_as_such(tmp_path):
    assert "this is a Keras file" in load_error(tmp_path / "HepG2.h5")


def test_truncated_weights(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "SHA-256 differs from the one in card.json" in load_error(saved)
    edit_card(saved, weights_sha256=sha256(path))
    assert "not a complete safetensors file" in load_error(saved)


def test_one_altered_bit_in_the_weights(saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    assert "is truncated or was changed" in load_error(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": [9]}, "'head.0.linear.weight' has shape (8, 8), expected (9, 8)"),
        ({"head": []}, "'head.0.weight' is missing"),
        ({"head": [8, 8]}, "'head.1.linear.weight' is missing"),
        ({"head_bn": False}, "'head.0.bn.bias' is not part of this network"),
        ({"width": 0.25}, "'trunk.stem.conv.conv.weight' has shape (8, 4, 25), expected (16, 4, 25)"),
    ],
)
def test_card_of_another_architecture(saved, changes, message):
    architecture = json.loads((saved / "card.json").read_text())["architecture"]
    edit_card(saved, architecture=architecture | changes)
    error = load_error(saved)
    assert "the weights belong to another architecture" in error
    assert message in error


def test_a_refused_state_changes_nothing():
    model, tensors = make_model(), dict(make_model().state_dict())
    tensors["head.1.weight"] = torch.zeros(2, 8)
    tensors["trunk.last_conv.conv.bias"] = torch.zeros(8)
    with pytest.raises(
        ChromTransferError, match=r"file: .*'head.1.weight' has shape \(2, 8\), expected \(1, 8\)"
    ):
        load_state(model, tensors, "file")
    assert_same_tensors(model, make_model())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "'colour': Extra inputs are not permitted"),
        ({"format": 2}, "checkpoint format 2 is newer than 1; update chromtransfer-plugin"),
        ({"format": "new"}, "'format': Input should be a valid integer"),
        ({"network": "Basset"}, "'network': Input should be 'ChromTransfer'"),
        ({"activation": "tanh"}, "'activation'"),
        ({"architecture": {"width": -1}}, "'architecture.width': Input should be greater than 0"),
        ({"architecture": {"depth": 3}}, "'architecture.depth'"),
        ({"members": 0}, "'members': Input should be greater than or equal to 1"),
        ({"members": 10**9}, "'members': Input should be less than or equal to 1000"),
        ({"outputs": ["a", "b"]}, "2 names in 'outputs' for n_outputs=1"),
    ],
)
def test_bad_cards(saved, changes, message):
    edit_card(saved, **changes)
    assert message in load_error(saved)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"", b"[1]", b"3"])
def test_a_card_that_is_not_one(saved, content):
    (saved / "card.json").write_bytes(content)
    assert str(saved / "card.json") in load_error(saved / "card.json")


def test_unwritable_folder(tmp_path):
    """A path below a file cannot be written even by the administrator."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ChromTransferError, match="cannot create this output folder"):
        save_model(make_model(), tmp_path / "file" / "model", make_card(make_model()))


def test_a_failed_save_keeps_the_old_checkpoint(saved, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        write(path, b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ChromTransferError, match="no room left"):
        save_model(make_model(head=(4,)), saved, make_card(make_model()))
    monkeypatch.undo()
    assert_same_tensors(load_model(saved).model, make_model())
    assert sorted(path.name for path in saved.iterdir()) == ["card.json", "model.safetensors"]


@pytest.mark.parametrize("members", [1, 2])
def test_some_outputs_of_a_model_give_its_logits(members):
    networks = [make_model(n_outputs=3) for _ in range(members)]
    for k, network in enumerate(networks):
        torch.manual_seed(k)
        torch.nn.init.normal_(network.head[-1].weight)
        torch.nn.init.normal_(network.head[-1].bias)
    model = (networks[0] if members == 1 else Ensemble(networks)).eval()
    card = make_card(networks[0], outputs=["a", "b", "c"], members=members)
    X = torch.rand(4, 4, 50)
    part = select_outputs(LoadedModel(model, card), ["c", "a"])
    assert part.card.outputs == ["c", "a"]
    torch.testing.assert_close(part.model(X), model(X)[:, [2, 0]], rtol=0, atol=1e-6)
    turned = select_outputs(LoadedModel(model, card), ["c", "b", "a"])
    torch.testing.assert_close(turned.model(X), model(X)[:, [2, 1, 0]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("outputs", [[], ["d"], ["a", "a"]])
def test_outputs_that_cannot_be_selected_are_named(outputs):
    model = make_model(n_outputs=3)
    with pytest.raises(ChromTransferError, match="a, b, c"):
        select_outputs(LoadedModel(model, make_card(model, outputs=["a", "b", "c"])), outputs)
    exclusive = make_card(model, outputs=["a", "b", "c"], activation="softmax")
    with pytest.raises(ChromTransferError, match="softmax"):
        select_outputs(LoadedModel(model, exclusive), ["a"])


def test_a_card_larger_than_its_weights_is_refused_before_any_memory_is_asked_for(saved):
    card = json.loads((saved / "card.json").read_text())
    edit_card(saved, architecture=card["architecture"] | {"head": [65_536] * 20})  # 340 GB
    with pytest.raises(ChromTransferError, match=r"describes [0-9,]+ numbers, model.safetensors holds"):
        load_model(saved)


def test_others_may_read_the_weights_as_the_umask_says(saved):
    assert (saved / "model.safetensors").stat().st_mode == (saved / "card.json").stat().st_mode


def test_a_deeply_nested_card_is_refused(saved):
    (saved / "card.json").write_text('{"training": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ChromTransferError, match="cannot be read as JSON"):
        load_model(saved)
