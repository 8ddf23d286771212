"""Import of Keras files: the values, every layout, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from genome_helpers import real_data_folder
from keras_cases import HEADS, Model, build, one_hot, write

from chromtransfer_plugin import published
from chromtransfer_plugin.checkpoint import load_model, sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras import architecture_from_config, import_keras, read_config, read_keras
from chromtransfer_plugin.keras.origin import CLASSES, guess_name
from chromtransfer_plugin.predict import predict_checkpoint, predict_logits, probabilities


def logits(path: Path, X: np.ndarray, **arguments) -> np.ndarray:
    return predict_logits(read_keras(path, **arguments).model, X.transpose(0, 2, 1).copy())


def assert_same_network(path: Path, model: Model) -> None:
    X = one_hot()
    expected = model.forward(X)
    assert np.ptp(expected) > 0.01  # else any network would do
    np.testing.assert_allclose(logits(path, X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", HEADS)
def test_every_variant_gives_the_logits_of_the_keras_network(tmp_path, variant):
    model = build(**HEADS[variant])
    path = write(tmp_path / "some.h5", model)
    assert_same_network(path, model)
    found = read_keras(path)
    expected = variant if variant in ("pre-trained", "multi-class") else "fine-tuned"
    assert found.card.source["variant"] == expected
    assert found.card.activation == ("softmax" if variant == "multi-class" else "sigmoid")
    assert found.card.outputs == (list(CLASSES) if variant == "multi-class" else ["open"])
    assert found.card.architecture.head == HEADS[variant]["head"]
    assert found.card.architecture.head_bn == HEADS[variant]["head_bn"]
    assert found.card.architecture.width == 4 / 64
    assert found.card.source["logit_difference"] < 1e-5


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize(
    "options",
    [
        {"weights_only": True},
        {"compiled": True},
        {"as_bytes": True},
        {"scopes": "conv1d_{i}"},  # scopes count down: neither their numbers nor their order mean anything
        {"scopes": "deep/er/{name}_{i}"},
        {"dtype": "f8"},
        {"dtype": ">f4"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"as_bytes": True, "weights_only": True, "scopes": "batch_normalization_{i}"},
    ],
    ids=lambda options: "+".join(f"{key}={value}" for key, value in options.items()),
)
def test_every_way_to_store_it_gives_the_same_logits(tmp_path, nested, options):
    model = build(nested=nested, head=(8, 4), head_bn=True, wide=2)
    assert_same_network(write(tmp_path / "some.h5", model, **options), model)


@pytest.mark.parametrize(
    "settings",
    [
        {"first": 1},  # stand-alone Keras numbers layers from 1
        {"first": 1, "nested": True, "trunk_name": "model_1"},
        {"nested": True, "trunk_name": "modèle α"},
        {"own_activations": True},
        {"own_activations": True, "nested": True},
        {"wide": 1},
        {"wide": 6, "head": (5,)},
        {"outputs": 3, "activation": "sigmoid"},
        {"epsilon": 0.1, "head_bn": True, "wide": 4},
    ],
    ids=str,
)
def test_every_naming_and_size_gives_the_same_logits(tmp_path, settings):
    model = build(**{"wide": 2, **settings})
    assert_same_network(write(tmp_path / "some.h5", model), model)


def test_float16_weights_are_read_as_they_are(tmp_path):
    model = build(wide=2)
    for own in model.values.values():
        for kind in own:
            own[kind] = own[kind].astype(np.float16).astype(np.float32)
    assert_same_network(write(tmp_path / "some.h5", model, dtype="f2"), model)


def test_class_names_of_tensorflow_1(tmp_path):
    model = build(wide=2, head_bn=True)
    for layer in model.config["layers"]:
        layer["class_name"] = layer["class_name"].replace("BatchNormalization", "BatchNormalizationV1")
    architecture = architecture_from_config(model.config)
    assert architecture.head_bn
    assert architecture.width == 2 / 64


def set_trainable(model: Model, trainable, trunk: bool = True) -> None:
    trunk_layer = next(layer for layer in model.config["layers"] if "layers" in layer["config"])
    trunk_layer["config"]["trainable"] = trunk
    for i, layer in enumerate(trunk_layer["config"]["layers"]):
        layer["config"]["trainable"] = trainable(i)


@pytest.mark.parametrize("layers_too", [True, False])
def test_frozen_trunk_is_read_in_the_order_keras_writes_it(tmp_path, layers_too):
    model = build(nested=True, wide=2)
    set_trainable(model, lambda i: not layers_too, trunk=False)
    assert_same_network(write(tmp_path / "frozen.h5", model), model)
    assert_same_network(write(tmp_path / "weights.h5", model, weights_only=True), model)


@pytest.mark.parametrize(
    ("trainable", "message"),
    [
        (lambda i: i > 60, "only be told from a file of the whole model"),
        (lambda i: i < 30, "holds 122 arrays"),
    ],
)
def test_partly_frozen_trunk_needs_the_configuration(tmp_path, trainable, message):
    model = build(nested=True, wide=4)
    set_trainable(model, trainable)
    assert_same_network(write(tmp_path / "partly.h5", model), model)
    with pytest.raises(ChromTransferError, match=message):
        read_keras(write(tmp_path / "weights.h5", model, weights_only=True))


def test_sequential_model_around_a_nested_trunk(tmp_path):
    model = build(nested=True, wide=2)
    layers = model.config["layers"]
    model.config["layers"] = layers[1:]  # Keras lists no input layer of a Sequential model
    for config in (layers[1:], {"name": "sequential", "layers": layers}):
        sequential = {"class_name": "Sequential", "config": config}
        assert_same_network(write(tmp_path / "some.h5", model, config=sequential), model)


def test_model_within_a_model_within_a_model(tmp_path):
    model = build(nested=True, wide=2)
    trunk = model.config["layers"][1]
    wrapper = {
        "name": "outer", "layers": [
            {"class_name": "InputLayer", "name": "in", "config": {"batch_input_shape": [None, 600, 4]}, "inbound_nodes": []},
            {**trunk, "inbound_nodes": [[["in", 0, 0, {}]]]},
        ],
        "input_layers": [["in", 0, 0]], "output_layers": [[trunk["name"], 1, 0]],
    }  # fmt: skip
    model.values = {f"model/{k}" if k.startswith("model/") else k: v for k, v in model.values.items()}
    model.config["layers"][1] = {**trunk, "class_name": "Functional", "config": wrapper}
    assert_same_network(write(tmp_path / "some.h5", model), model)


def test_training_settings_are_kept(tmp_path):
    model = build(wide=2, head_bn=True, epsilon=0.002, momentum=0.9, rate=0.25)
    architecture = read_keras(write(tmp_path / "some.h5", model)).card.architecture
    assert (architecture.bn_eps, architecture.bn_momentum, architecture.dropout) == (0.002, 0.1, 0.25)


def test_different_dropout_rates_are_noted_and_the_trunks_is_taken(tmp_path):
    model = build(wide=2)
    dropouts = [layer for layer in model.config["layers"] if layer["class_name"] == "Dropout"]
    dropouts[-1]["config"]["rate"] = 0.5
    found = read_keras(write(tmp_path / "some.h5", model))
    assert found.card.architecture.dropout == 0.1
    assert found.notes == ["several values of the rate of dropout (0.1 in 21 layers, 0.5 in 1 layers)"]


def test_shortcut_listed_before_the_main_branch_is_told_apart_by_the_graph(tmp_path):
    # Both orders occur in Keras, depending on the order of the arguments of add.
    model = build(wide=2)
    names = [layer["name"] for layer in model.config["layers"]]
    main, side = names.index("conv1d_2"), names.index("conv1d_3")
    layers = model.config["layers"]
    layers[main], layers[side] = layers[side], layers[main]
    assert_same_network(write(tmp_path / "some.h5", model), model)


def test_checkpoint_predicts_and_says_where_it_is_from(tmp_path):
    model = build(**HEADS["fine-tuned"])
    path = write(tmp_path / "K562.h5", model)
    report = import_keras(path, tmp_path / "out")
    loaded, card = load_model(tmp_path / "out")
    X = one_hot().transpose(0, 2, 1).copy()
    expected = 1 / (1 + np.exp(-model.forward(one_hot())))
    np.testing.assert_allclose(predict_checkpoint(tmp_path / "out", X), expected, atol=1e-6)
    assert not loaded.training
    assert card.outputs == ["K562"]
    assert card.license == "unknown; published ChromTransfer weights are GPL-3.0-only"
    assert card.source["file"] == "K562.h5"
    assert card.source["sha256"] == sha256(path)
    assert "published" not in card.source
    assert card.source["keras_version"] == "2.2.4-tf"
    assert card.cite_as == "https://doi.org/10.1093/nargab/lqad026"
    assert "variant   fine-tuned (trunk as a nested model)" in report
    table = [line.split("  ") for line in report.splitlines() if "kernel:0" in line]
    assert len(table) == 24
    shown = [text.strip() for text in table[3] if text.strip()]
    assert shown == [
        "model/conv1d_3/kernel:0",
        "(20, 4, 2)",
        "trunk.reduce.shortcut.conv.conv.weight",
        "(2, 4, 20)",
    ]
    with pytest.raises(ChromTransferError, match="holds a model already"):
        import_keras(path, tmp_path / "out")
    import_keras(path, tmp_path / "out", overwrite=True, license="MIT", outputs=["mine"])
    assert load_model(tmp_path / "out").card.license == "MIT"
    assert load_model(tmp_path / "out").card.outputs == ["mine"]


def test_git_blob_id_is_gits(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert (
        published.git_blob_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"
    )  # git hash-object


def test_published_file_is_recognised_by_its_bytes(tmp_path, monkeypatch):
    path = write(tmp_path / "renamed.h5", build(**HEADS["fine-tuned"]))
    origin = "models/tensorflow1/rDHS/MCF7/model_compiled.h5"
    monkeypatch.setitem(published.BLOB_IDS, origin, published.git_blob_id(path))
    found = read_keras(path)
    assert (found.name, found.card.outputs, found.card.license) == ("MCF7", ["MCF7"], "GPL-3.0-only")
    assert found.card.source["published"] == origin
    assert found.card.source["commit"] == "52167ab1da41331660f03fdcb977e0ce4e1b57eb"
    assert "fine-tuned on MCF7" in found.card.trained_on
    with pytest.raises(ChromTransferError, match=r"under GPL-3\.0-only: its licence cannot be 'MIT'"):
        read_keras(path, license="MIT")


def test_published_tables_fit_together():
    assert len(published.MODEL_FILES) == 11
    assert len(published.REGION_FILES) == 12
    assert all(published.model_name(path) for path in published.MODEL_FILES)
    assert {published.model_name(path) for path in published.MODEL_FILES} == set(published.MODEL_PATHS)
    assert len(set(published.BLOB_IDS.values())) == 23
    assert published.published_path("d0cbdaf9688c603ed757517886b42ef0f7720b51") == (
        "models/tensorflow1/rDHS/HEPG2/model_compiled.h5"
    )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("rDHS/K562/model_compiled.h5", "K562"),
        ("HepG2.h5", "HEPG2"),
        ("my_hct-116 model.h5", "HCT116"),
        ("models/Pre-Trained.h5", "pretrained"),
        ("tl_model_tf1/model_nocompiled.h5", "pretrained"),
        ("train/model.multitask.Jan-5-2023.h5", "multiclass"),
        ("K562_or_MCF7.h5", None),
        ("AK562B.h5", None),
        ("model.h5", None),
    ],
)
def test_names_are_told_from_file_and_folder(tmp_path, path, name):
    assert guess_name(tmp_path / path, None) == name


def test_output_names_must_fit(tmp_path):
    path = write(tmp_path / "some.h5", build(wide=2, outputs=3))
    assert read_keras(path).card.outputs == ["output_1", "output_2", "output_3"]
    assert read_keras(path, outputs=["x", "y", "z"]).card.outputs == ["x", "y", "z"]
    for wrong in (["x"], ["x", "y", "y"], ["x", "y", " "]):
        with pytest.raises(ChromTransferError, match="3 outputs, but"):
            read_keras(path, outputs=wrong)


@pytest.mark.parametrize("variant", HEADS)
def test_architecture_from_configuration(tmp_path, variant):
    model = build(**HEADS[variant])
    expected = read_keras(write(tmp_path / "some.h5", model)).card.architecture
    bare, wrapped = model.config, {"class_name": "Functional", "config": model.config}
    for config in (bare, wrapped, json.dumps(bare), json.dumps(wrapped)):
        assert architecture_from_config(config) == expected


def test_configuration_file_gives_an_untrained_network(tmp_path):
    path = tmp_path / "config.JSON"
    # With a byte order mark, as some editors write.
    path.write_text(json.dumps(build(**HEADS["multi-class"]).config), encoding="utf-8-sig")
    state = torch.get_rng_state()
    first, again, other = read_config(path), read_config(path), read_config(path, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    X = one_hot().transpose(0, 2, 1).copy()
    same, different = (predict_logits(found.model, X) for found in (again, other))
    np.testing.assert_array_equal(predict_logits(first.model, X), same)
    assert np.abs(same - different).max() > 0.01
    report = import_keras(path, tmp_path / "out", name="mine")
    assert "random weights" in report
    card = load_model(tmp_path / "out").card
    assert card.trained_on.startswith("nothing: random weights")
    assert card.outputs == list(CLASSES)


@pytest.mark.real_data
def test_tensorflows_own_outputs_are_reproduced():
    folder = real_data_folder() / "keras"
    reference = np.load(folder / "tfref_ft.npz")
    found = read_keras(folder / "ft_keras2.h5")
    p = probabilities(predict_logits(found.model, reference["x"].transpose(0, 2, 1).copy()))
    np.testing.assert_allclose(p, reference["y"], atol=1e-4)
    assert sum(tensor.numel() for tensor in found.model.parameters()) == 651_553
    assert found.card.source["variant"] == "fine-tuned"
    classes = read_keras(folder / "mc_keras2.h5")
    assert (classes.card.activation, classes.card.outputs) == ("softmax", list(CLASSES))
    assert sum(tensor.numel() for tensor in classes.model.parameters()) == 653_287
