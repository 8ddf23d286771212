"""Keras files of other networks, or whose weights do not fit: the first difference is named, and nothing is written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from keras_cases import build, write
from keras_edits import NORM, attribute, edited, refuse, replace_dataset, set_value

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras import architecture_from_config

# Weights of another network ---------------------------------------------------------------------------------------


def shuffled(file: h5py.File) -> None:
    names = list(file["model_weights"].attrs["layer_names"])
    attribute("model_weights", "layer_names", sorted(names))(file)


def swapped(a: str, b: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        names = [{a: b, b: a}.get(name, name) for name in file["model_weights"].attrs["layer_names"]]
        attribute("model_weights", "layer_names", names)(file)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_value("conv1d_7", "kernel", np.nan), "1 of 15 values are not finite"),
        (set_value("dense", "bias", np.inf), r"dense/bias:0.*1 of 8 values are not finite"),
        (set_value("batch_normalization_9", "moving_variance", -0.5), "a variance below 0"),
        (replace_dataset(data=np.full((15, 1, 1), 1e300)), "15 of 15 values are not finite"),
        (
            replace_dataset(data=np.ones((1, 1, 15), np.float32)),
            r"has shape \(1, 1, 15\), expected \(15, 1, 1\)",
        ),
        (
            replace_dataset(data=np.ones((14, 1, 1), np.float32)),
            r"has shape \(14, 1, 1\), expected \(15, 1, 1\)",
        ),
        (replace_dataset(data=np.ones((15, 1), np.float32)), r"has shape \(15, 1\), expected \(15, 1, 1\)"),
        (shuffled, "tells the arrays apart"),
        (
            swapped("conv1d_5", "conv1d_6"),
            "layer 17 is 'conv1d_6' in 'layer_names' and 'conv1d_5' in 'model_config'",
        ),
        (
            attribute("model_weights", "layer_names", ["conv1d"]),
            "1 layers in 'layer_names', 76 in 'model_config'",
        ),
        (attribute(NORM, "weight_names", np.array([], "S1")), "24 layers"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, sound, edit, message):
    if message == "24 layers":
        message = "layers with stored weights, expected"
    refuse(edited(sound, tmp_path, edit), tmp_path, message)


@pytest.mark.parametrize(
    ("order", "message"),
    [((1, 0, 2, 3), "beta, gamma, moving"), ((0, 1), "holds 2 arrays"), ((0, 1, 2, 3, 3), "holds 5 arrays")],
)
def test_arrays_of_a_batch_norm_in_another_order(tmp_path, sound, order, message):
    def edit(file: h5py.File) -> None:
        names = list(file[NORM].attrs["weight_names"])
        attribute(NORM, "weight_names", [names[i] for i in order])(file)

    refuse(edited(sound, tmp_path, edit), tmp_path, message)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (shuffled, "the convolutions in the file have the kernel sizes"),
        (
            lambda names: [n for n in names if n != "batch_normalization_3"],
            "21 convolutions, 19 batch norms and 3 dense",
        ),
        (lambda names: [n for n in names if n != "conv1d_3"], "20 convolutions, 20 batch norms"),
        (lambda names: [n for n in names if "dense" not in n], "20 batch norms and 0 dense"),
        (lambda names: [*names, "extra"], "22 convolutions"),
        (
            lambda names: ["dense" if n == "dense_1" else "dense_1" if n == "dense" else n for n in names],
            "has shape",
        ),
    ],
)
def test_weights_alone_that_do_not_fit(tmp_path, bare, edit, message):
    def change(file: h5py.File) -> None:
        names = list(file.attrs["layer_names"])
        file["extra"] = file["conv1d"]
        attribute("/", "layer_names", sorted(names) if edit is shuffled else edit(names))(file)

    refuse(edited(bare, tmp_path, change), tmp_path, message)


# Configurations of another network --------------------------------------------------------------------------------

LAMBDA = {"function": ["4wEAAAAAAAAAAAAAAAEAAABDAAAA", None, None], "function_type": "lambda"}


def layer(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in config["layers"] if entry["name"] == name)


def setting(name: str, /, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: layer(config, name)["config"].update(values)


def entry(name: str, /, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: layer(config, name).update(values)


def feed(name: str, *sources: str) -> Callable[[dict[str, Any]], None]:
    return entry(name, inbound_nodes=[[[source, 0, 0, {}] for source in sources]])


def bypass(name: str) -> Callable[[dict[str, Any]], None]:
    """Connect what uses a layer to its first input, as if it were not there, and remove it."""

    def edit(config: dict[str, Any]) -> None:
        source = layer(config, name)["inbound_nodes"][0][0]
        config["layers"].remove(layer(config, name))
        for other in config["layers"]:
            for node in other["inbound_nodes"]:
                node[:] = [source if reference[0] == name else reference for reference in node]

    return edit


def extra(kind: str, after: str, before: str, **settings: Any) -> Callable[[dict[str, Any]], None]:
    def edit(config: dict[str, Any]) -> None:
        at = config["layers"].index(layer(config, before))
        nodes = [[[after, 0, 0, {}]]]
        new = {
            "class_name": kind,
            "name": "new",
            "config": {"name": "new", **settings},
            "inbound_nodes": nodes,
        }
        config["layers"].insert(at, new)
        feed(before, "new")(config)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            extra("Lambda", "dropout", "conv1d_1", **LAMBDA),
            "'Lambda' is not a layer.*Nothing stored in a file is executed",
        ),
        (extra("Attention", "dropout", "conv1d_1"), "'Attention' is not a layer of the published network"),
        (extra("Custom>Mine", "dropout", "conv1d_1"), "'Custom>Mine' is not a layer"),
        (
            extra("Dropout", "dropout", "conv1d_1", rate=0.1),
            "do not come from the same layer|expected BatchNorm",
        ),
        (extra("Flatten", "global_average_pooling1d", "dense"), "'Flatten' is not a layer"),
        (entry("conv1d_3", registered_name="mine>Conv1D"), "'Conv1D' is not a layer.*executed"),
        (entry("conv1d_3", class_name=["Conv1D"]), "is not a layer of the published network"),
        (
            setting("conv1d_3", activation={"class_name": "function", "config": "f"}),
            "is not one of linear, relu",
        ),
        (setting("conv1d_3", activation="swish"), "activation 'swish' is not one of"),
        (setting("conv1d_3", activation="linear"), "activation linear, expected relu"),
        (setting("conv1d_3", padding="valid"), "padding='valid', the published network has 'same'"),
        (setting("conv1d_3", strides=[2]), r"strides=\[2\], the published network has 1"),
        (setting("conv1d_3", dilation_rate=[2]), "dilation_rate"),
        (setting("conv1d_3", groups=2), "groups=2"),
        (setting("conv1d_3", data_format="channels_first"), "channels_first"),
        (setting("conv1d_3", use_bias=False), "use_bias=False"),
        (setting("conv1d_3", kernel_size=[19]), "kernel size 19 and 1 filters, expected 20 and 1"),
        (setting("conv1d_3", kernel_size=[3, 3]), "kernel_size"),
        (setting("conv1d_3", filters=2), "2 filters, expected 20 and 1"),
        (setting("conv1d_3", filters=10**30), "expected a whole number"),
        (setting("conv1d_3", filters="64"), "expected a whole number"),
        (setting("conv1d_3", filters=True), "expected a whole number"),
        (setting("conv1d", filters=3), "kernel size 5 and 2 filters|expected"),
        (setting("batch_normalization_3", epsilon=0.01), "differ in epsilon"),
        (setting("batch_normalization_3", epsilon="x"), "expected a number from 0 to 1"),
        (setting("batch_normalization_3", axis=[0]), r"axis=\[0\]"),
        (setting("batch_normalization_3", scale=False), "scale=False"),
        (setting("dropout", rate=float("nan")), "expected a number from 0 to 1"),
        (setting("input_1", batch_input_shape=[None, 101, 5]), r"input shape \[None, 101, 5\], expected"),
        (setting("dense_2", activation="linear"), "activation linear, expected sigmoid or softmax"),
        (setting("dense_2", activation="softmax"), "a softmax over one output is always 1"),
        (bypass("add_2"), "not the published ChromTransfer network: at layer"),
        (bypass("batch_normalization_2"), "expected BatchNormalization of reduce.b, found Conv1D"),
        (bypass("concatenate"), "expected Concatenate before expand, found Add"),
        (
            bypass("global_average_pooling1d"),
            "at layer 'last_CNN_layer': expected Dense of the head, found Conv1D",
        ),
        (bypass("conv1d"), "not the published ChromTransfer network"),
        (
            feed("add", "dropout_2", "dropout"),
            "expected BatchNorm|do not come from the same layer|expected Add",
        ),
        (feed("add_1", "dropout_5", "dropout"), "its two inputs do not come from the same layer"),
        (feed("concatenate", "add_1", "add_3", "add_2"), "expected the outputs of the three blocks"),
        (feed("concatenate", "add_1", "add_2"), "2 inputs, expected 3"),
        (feed("concatenate", "add_3"), "has 1 inputs"),
        (feed("conv1d_1", "dropout", "dropout"), "'conv1d_1' has 2 inputs"),
        (feed("conv1d_1", "conv1d_9"), "refers to 'conv1d_9', which is no layer before it"),
        (feed("conv1d_1", "conv1d_1"), "which is no layer before it"),
        (entry("conv1d_1", inbound_nodes=[]), "is used 0 times"),
        (entry("conv1d_1", inbound_nodes=[[["dropout", 0, 0, {}]]] * 2), "is used 2 times"),
        (entry("conv1d_1", inbound_nodes=[[["dropout", 0, 0, {"mask": "x"}]]]), "called with arguments"),
        (entry("conv1d_1", inbound_nodes=[{"args": [], "kwargs": {}}]), "written by Keras 3"),
        (entry("conv1d_1", inbound_nodes="dropout"), "expected a list"),
        (entry("conv1d_1", config=None), r"expected an object \{...\}, found None"),
        (entry("conv1d_1", name="conv1d"), "not a name, or used twice"),
        (lambda config: config.update(output_layers=[["dense_2", 0, 0], ["dense", 0, 0]]), "2 output_layers"),
        (lambda config: config.update(output_layers=[["conv1d", 0, 0]]), "expected Dense as the output"),
        (lambda config: config.update(layers={}), "layers: expected a list"),
        (lambda config: config.update(layers=config["layers"] * 8), "used twice"),
        (lambda config: config.clear(), "layers: expected a list, found None"),
    ],
)
def test_other_networks(tmp_path, edit, message):
    model = build(wide=2)
    config = copy.deepcopy(model.config)
    edit(config)
    refuse(
        write(tmp_path / "some.h5", model, config={"class_name": "Model", "config": config}),
        tmp_path,
        message,
    )
    with pytest.raises(ChromTransferError, match=message):
        architecture_from_config(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    refuse(tmp_path / "config.json", tmp_path, message)


def test_layer_beside_the_network(tmp_path):
    model = build(wide=2)
    source = layer(model.config, "dense")
    aside = {**source, "name": "aside", "config": {**source["config"], "name": "aside"}}
    model.config["layers"].append(aside)
    model.values["aside"] = model.values["dense"]
    refuse(write(tmp_path / "some.h5", model), tmp_path, "at layer 'aside': not part of it")


def test_convolution_that_is_its_own_shortcut(tmp_path):
    model = build(wide=2)
    feed("add", "dropout_2", "dropout_1")(model.config)
    for name in ("conv1d_3", "batch_normalization_3", "dropout_3"):
        bypass(name)(model.config)
    refuse(write(tmp_path / "some.h5", model), tmp_path, "at layer 'conv1d_1': plays two parts of it")


def test_head_with_batch_norm_in_one_layer_only(tmp_path):
    model = build(wide=2, head_bn=True)
    bypass("batch_normalization_21")(model.config)
    refuse(write(tmp_path / "some.h5", model), tmp_path, "some hidden layers of its head have batch norm")


def nested_models(depth: int) -> dict[str, Any]:
    model: dict[str, Any] = {"class_name": "Sequential", "name": "x", "config": {"layers": []}}
    for _ in range(depth):
        model = {"class_name": "Sequential", "name": "x", "config": {"layers": [model]}}
    return model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 500 + "1" + "}" * 500, "nested too deeply"),
        ('{"config": ' + "[" * 100 + "]" * 100 + "}", "nested too deeply"),
        ("{" + " " * (1 << 22) + "}", "at most 4,194,304 are read|texts of together up to"),
        ('{"class_name": "Model"', "is not JSON"),
        ('{"n": ' + "9" * 100_000 + "}", "is not JSON"),
        ("", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "layers: expected a list"),
        ('{"class_name": "Lambda", "config": {}}', "'Lambda'.* Nothing stored in a file is executed"),
        ('{"class_name": "Model", "config": 5}', "expected an object"),
        ('{"class_name": "Sequential", "config": []}', "a Sequential model without layers"),
        (json.dumps(nested_models(3)), "a Sequential model without layers"),
        (json.dumps(nested_models(9)), "models nested more than 4 deep"),
    ],
    ids=range(14),
)
def test_texts_that_are_no_configuration(tmp_path, sound, text, message):
    refuse(write(tmp_path / "some.h5", build(wide=2), config=text or " "), tmp_path, message)
    (tmp_path / "config.json").write_text(text)
    refuse(tmp_path / "config.json", tmp_path, message)


def test_configuration_that_asks_for_too_much_memory():
    model = build(wide=2, head=(8, 8))
    for name in ("dense", "dense_1"):
        setting(name, units=60_000)(model.config)
    with pytest.raises(ChromTransferError, match=r"3,600,\d+,\d+ weights are more than are built here"):
        architecture_from_config(model.config)


def test_too_many_layers():
    layers = [{"class_name": "Dropout", "name": f"d{i}", "config": {"rate": 0}} for i in range(600)]
    with pytest.raises(ChromTransferError, match="more than 500 layers"):
        architecture_from_config({"class_name": "Sequential", "config": {"layers": layers}})


def test_wrong_conversion_would_be_noticed(tmp_path, sound, monkeypatch):
    """The check in numpy is no formality: two tensors of equal shape that change places are found."""
    from chromtransfer_plugin.keras import importer, layers

    def confused(blueprint: Any) -> dict[Any, str]:
        trunk = {**blueprint.trunk, "reduce.a": blueprint.trunk["reduce.shortcut"]}
        trunk["reduce.shortcut"] = blueprint.trunk["reduce.a"]
        blueprint.trunk = trunk
        return layers.tensor_names(blueprint)

    monkeypatch.setattr(importer, "tensor_names", confused)
    refuse(sound, tmp_path, "differs from the Keras one by")
