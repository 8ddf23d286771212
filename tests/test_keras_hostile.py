"""Keras files that are damaged, of another network, or made to do harm: one clear line each, and nothing written."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from keras_cases import build, one_hot, write
from keras_edits import GROUP, KERNEL, attribute, edited, refuse, replace_dataset, set_value

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras import hdf5, read_keras
from chromtransfer_plugin.predict import predict_logits

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
    os.mkfifo(tmp_path / "pipe.h5")  # opening it would wait for a writer
    refuse(tmp_path / "pipe.h5", tmp_path, "is no regular file")


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


def test_command_prints_one_line_and_writes_nothing(tmp_path, sound):
    path = edited(sound, tmp_path, set_value("conv1d_7", "kernel", np.nan))
    result = CliRunner().invoke(main, ["import-keras", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {path}: array 'conv1d_7/conv1d_7/kernel:0'")
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()
