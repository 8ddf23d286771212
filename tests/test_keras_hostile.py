"""Keras files that are damaged, of another network, or made to do harm: one clear line each, and nothing written."""

from __future__ import annotations

import copy
import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from keras_cases import build, one_hot, write

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras import architecture_from_config, hdf5, import_keras, read_keras
from chromtransfer_plugin.predict import predict_logits

NORM = "model_weights/batch_normalization_4"
KERNEL = "conv1d_4/kernel:0"
GROUP = "model_weights/conv1d_4"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("keras") / "sound.h5", build(wide=2))


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("keras") / "bare.h5", build(wide=2), weights_only=True)


def refuse(path: Path, tmp_path: Path, message: str) -> None:
    """The command fails with one line that matches, in reasonable time, and leaves nothing behind."""
    before = time.perf_counter()
    with pytest.raises(ChromTransferError, match=message) as caught:
        import_keras(path, tmp_path / "out")
    assert time.perf_counter() - before < 5
    text = caught.value.format_message()
    assert text.startswith(str(path))
    assert len(text) < 900
    assert text.isprintable()
    assert not (tmp_path / "out").exists()


def edited(source: Path, tmp_path: Path, edit: Callable[[h5py.File], Any]) -> Path:
    path = tmp_path / "edited.h5"
    shutil.copyfile(source, path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


# What is no Keras 2 file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2800000\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "zip archive, as Keras 3 writes"),
        (b"<!DOCTYPE html><html>404</html>", "not an HDF5 file"),
        (b"\x80\x04\x95cposix\nsystem\n", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "truncated or damaged"),
    ],
)
def test_other_content(tmp_path, content, message):
    (tmp_path / "some.h5").write_bytes(content)
    refuse(tmp_path / "some.h5", tmp_path, message)


def test_missing_file_and_folder(tmp_path):
    refuse(tmp_path / "some.h5", tmp_path, "No such file")
    (tmp_path / "folder.h5").mkdir()
    refuse(tmp_path / "folder.h5", tmp_path, "no model found")
    with pytest.raises(ChromTransferError, match="is a folder"):
        read_keras(tmp_path / "folder.h5")


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_truncated(tmp_path, sound, share):
    content = sound.read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: int(len(content) * share)])
    refuse(tmp_path / "cut.h5", tmp_path, "truncated or damaged")


def test_other_hdf5_and_keras_3_weights(tmp_path):
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["layers/conv1d/vars/0"] = np.zeros((25, 4, 2), np.float32)
    refuse(tmp_path / "some.h5", tmp_path, "not of a Keras 2 model")


def test_random_damage_never_ends_in_another_exception(tmp_path, sound):
    content, rng, path = sound.read_bytes(), np.random.default_rng(11), tmp_path / "bits.h5"
    starts = [
        content.find(text) for text in (b"OHDR", b"TREE", b"SNOD", b"GCOL", b"layer_names") if text in content
    ]
    messages = []
    for i in range(120):
        damaged = np.frombuffer(content, np.uint8).copy()
        around = 100 + starts[i % len(starts)] if i % 2 else len(content) // 2
        places = rng.integers(max(0, around - 100), min(around + 5_000, len(content)), 5)
        damaged[places] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        try:
            read_keras(path)
        except ChromTransferError as error:
            messages.append(error.format_message())
    assert len(messages) > 20
    assert all(text.isprintable() for text in messages)


# Structures made to do harm ---------------------------------------------------------------------------------------


def replace_dataset(**arguments: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[GROUP][KERNEL]
        file[GROUP].create_dataset(KERNEL, **arguments)

    return edit


def replace_link(link: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[GROUP][KERNEL]
        file[GROUP][KERNEL] = link

    return edit


def link_of_group(link: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file.move(GROUP, "elsewhere")
        file[GROUP] = link

    return edit


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((15, 1, 1), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (15, 1, 1))
    del file[GROUP][KERNEL]
    file[GROUP].create_virtual_dataset(KERNEL, layout)


def claims(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Callable[[h5py.File], None]:
    return replace_dataset(
        shape=shape, dtype="f4", chunks=chunks, compression="gzip", maxshape=(None,) * len(shape)
    )


def one_chunk(file: h5py.File) -> None:
    claims((15, 1, 1), (15, 2**14, 2**10))(file)
    file[GROUP][KERNEL].id.write_direct_chunk((0, 0, 0), b"x\x9c\x03\x00\x00\x00\x00\x01")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (claims((10**6, 10**3, 10**3), (100, 100, 10)), r"claims the shape \(1000000, 1000, 1000\)"),
        (claims((2**62, 1, 1), (100, 1, 1)), "claims the shape"),
        (one_chunk, "is stored in pieces of"),
        (replace_dataset(shape=(15, 1, 1), dtype="f4"), "has no values in the file"),
        (replace_dataset(shape=(15, 0, 1), dtype="f4"), "has the shape"),
        (replace_dataset(data=np.float32(1)), "has the shape"),
        (replace_dataset(data=h5py.Empty("f4")), "has the shape"),
        (replace_dataset(data=np.zeros((1, 1, 1, 1), np.float32)), "has the shape"),
        (replace_dataset(data=np.ones((15, 1, 1), np.int32)), "not floating-point"),
        (replace_dataset(data=np.ones((15, 1, 1), bool)), "not floating-point"),
        (replace_dataset(data=np.ones((15, 1, 1), np.complex64)), "not floating-point"),
        (
            replace_dataset(data=np.array([b"cposix\nsystem"] * 15, object), dtype=h5py.string_dtype()),
            "not floating",
        ),
        (replace_dataset(shape=(15,), dtype=h5py.vlen_dtype(np.float32)), "not floating-point"),
        (replace_dataset(shape=(15,), dtype=h5py.ref_dtype), "not floating-point"),
        (replace_dataset(data=np.ones((15, 1, 1), np.float32), compression="lzf"), "HDF5 filter 32000"),
        (
            replace_dataset(shape=(15, 1, 1), dtype="f4", external=[("/etc/passwd", 0, 60)]),
            "keeps its values in another file",
        ),
        (virtual, "keeps its values in another file"),
        (
            replace_link(h5py.SoftLink("/model_weights/conv1d_5/conv1d_5/kernel:0")),
            "links are never followed",
        ),
        (replace_link(h5py.ExternalLink("other.h5", "/x")), "links are never followed"),
        (link_of_group(h5py.SoftLink("/elsewhere")), "links are never followed"),
        (link_of_group(h5py.ExternalLink("/dev/zero", "/")), "links are never followed"),
        (lambda file: file.move(GROUP, "elsewhere"), "'conv1d_4' is listed but missing"),
    ],
)
def test_datasets_and_links(tmp_path, sound, bare, edit, message):
    refuse(edited(sound, tmp_path, edit), tmp_path, message)


def test_root_group_behind_a_link(tmp_path, sound):
    def edit(file: h5py.File) -> None:
        file.move("model_weights", "elsewhere")
        file["model_weights"] = h5py.SoftLink("/elsewhere")

    refuse(edited(sound, tmp_path, edit), tmp_path, "links are never followed")


def attribute(where: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[where].attrs[name]
        file[where].attrs[name] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (attribute("model_weights", "layer_names", ["conv1d"] * 3000), "3,000 texts of together up to"),
        (attribute("model_weights", "layer_names", np.arange(9)), "is not text"),
        (attribute("model_weights", "layer_names", ["conv1d", "conv1d"]), "names a layer twice"),
        (attribute("model_weights", "layer_names", h5py.Empty("S5")), "0 layers"),
        (attribute("model_weights", "layer_names", np.array([b"conv1d\xff"])), "truncated or damaged"),
        (attribute("model_weights", "layer_names", ["conv1d/conv1d"]), "listed but missing"),
        (attribute("model_weights", "layer_names", ["."]), "listed but missing"),
        (
            attribute("model_weights", "layer_names", ["no\x1b[31msuch"]),
            r"'no\\x1b\[31msuch' is listed but missing",
        ),
        (attribute(GROUP, "weight_names", ["conv1d_4/kernel:0"]), "holds 1 arrays"),
        (attribute(GROUP, "weight_names", ["conv1d_4"]), "is a group, expected an array"),
        (attribute(GROUP, "weight_names", [f"{KERNEL}/x", "b"]), "leads through an array"),
        (attribute(GROUP, "weight_names", ["/".join("abcdefghij")]), "more than 8 groups deep"),
        (attribute(GROUP, "weight_names", ["../conv1d_5/x"]), "listed but missing"),
        (attribute(GROUP, "weight_names", ["x" * 60_000]), "listed but missing"),
        (attribute("/", "model_config", h5py.Empty("S5")), "whole model"),
        (attribute("/", "model_config", np.arange(3)), "is not text"),
    ],
)
def test_attributes(tmp_path, sound, edit, message):
    if message == "whole model":  # no configuration at all is a file of weights
        read_keras(edited(sound, tmp_path, edit))
    else:
        refuse(edited(sound, tmp_path, edit), tmp_path, message)


def test_large_attribute_is_refused_by_its_size(tmp_path, sound, monkeypatch):
    monkeypatch.setattr(hdf5, "MOST_TEXT", 1 << 16)
    path = tmp_path / "large.h5"
    with h5py.File(path, "w", libver="latest") as file:  # attributes of any size
        file.attrs.create("layer_names", np.full(100, b""), dtype="S1000")
    refuse(path, tmp_path, "up to 100,000 bytes")


def test_many_texts_that_are_one_large_text(tmp_path):
    """A small file whose attribute asks for 1,500 times the same megabytes."""
    path = tmp_path / "bomb.h5"
    big = 1_234_567
    with h5py.File(path, "w") as file:
        file.attrs["big"] = "y" * big
        file.attrs["layer_names"] = [f"name{i:04}" for i in range(1_500)]
    content = bytearray(path.read_bytes())
    at = content.find(struct.pack("<I", big))
    reference = bytes(content[at : at + 16])  # length, address of the collection, number in it
    first, eight = 0, struct.pack("<I", 8)
    while (
        content[first + 4 : first + 12] != content[first + 20 : first + 28]
        or content[first + 16 : first + 20] != eight
    ):
        first = content.index(eight, first + 1)
    for i in range(1_500):
        content[first + 16 * i : first + 16 * i + 16] = reference
    path.write_bytes(content)
    assert len(content) < 2 * big
    with h5py.File(path) as file:  # the trap works
        names = h5py.h5a.open(file.id, b"layer_names")
        assert names.shape == (1_500,)
        assert names.get_storage_size() == 24_000
    refuse(path, tmp_path, "1,500 texts of together up to")


def test_loops_of_groups_do_no_harm(tmp_path):
    model = build(wide=2)

    def edit(file: h5py.File) -> None:
        file["model_weights/conv1d/loop"] = file["model_weights/conv1d"]
        file["model_weights/conv1d/root"] = file["/"]
        names = ["loop/loop/conv1d/kernel:0", "root/model_weights/conv1d/conv1d/bias:0"]
        attribute("model_weights/conv1d", "weight_names", names)(file)

    path = edited(write(tmp_path / "some.h5", model), tmp_path, edit)
    found = predict_logits(read_keras(path).model, one_hot().transpose(0, 2, 1).copy())
    np.testing.assert_allclose(found, model.forward(one_hot()), atol=1e-5)


# Weights of another network ---------------------------------------------------------------------------------------


def set_value(group: str, array: str, value: float) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        dataset = file[f"model_weights/{group}/{group}/{array}:0"]
        dataset[(-1,) * dataset.ndim] = value

    return edit


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


def test_command_prints_one_line_and_writes_nothing(tmp_path, sound):
    path = edited(sound, tmp_path, set_value("conv1d_7", "kernel", np.nan))
    result = CliRunner().invoke(main, ["import-keras", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {path}: array 'conv1d_7/conv1d_7/kernel:0'")
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()
