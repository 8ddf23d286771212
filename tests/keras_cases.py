"""Tiny Keras 2 files written with h5py alone, and the same network once more in numpy.

Nothing of the package is used here: names, order and layout are those that TensorFlow writes.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HEADS = {
    "pre-trained": {"head": (512, 128), "head_bn": True},
    "fine-tuned": {"nested": True, "head": (8, 4), "head_bn": False},
    "fine-tuned with batch norm": {"nested": True, "head": (8, 4), "head_bn": True},
    "fine-tuned, flat": {"head": (8, 4), "head_bn": False},
    "multi-class": {"head": (16, 8), "head_bn": True, "outputs": 7},
    "linear head": {"nested": True, "head": (), "head_bn": False},
}
KINDS = {
    "Conv1D": (("kernel", "bias"), ()),
    "Dense": (("kernel", "bias"), ()),
    "BatchNormalization": (("gamma", "beta"), ("moving_mean", "moving_variance")),
}
BASES = {
    "Conv1D": "conv1d", "BatchNormalization": "batch_normalization", "Dropout": "dropout", "Add": "add",
    "Concatenate": "concatenate", "GlobalAveragePooling1D": "global_average_pooling1d", "Dense": "dense",
    "InputLayer": "input", "Activation": "activation",
}  # fmt: skip


@dataclass
class Model:
    """A Keras model: its configuration and its arrays by layer, in Keras' layout."""

    config: dict[str, Any]
    values: dict[str, dict[str, np.ndarray]]
    eps: float = 1e-3

    def forward(self, X: np.ndarray) -> np.ndarray:
        """(N, L, 4) -> logits; written out layer by layer as the published network is described."""
        names = {kind: [n for n, v in self.values.items() if kind in v] for kind in ("kernel", "gamma")}
        convs = [n for n in names["kernel"] if self.values[n]["kernel"].ndim == 3]
        dense = [n for n in names["kernel"] if self.values[n]["kernel"].ndim == 2]

        def norm(i: int, Z: np.ndarray) -> np.ndarray:
            v = self.values[names["gamma"][i]]
            return v["gamma"] * (Z - v["moving_mean"]) / np.sqrt(v["moving_variance"] + self.eps) + v["beta"]

        def conv(i: int, Z: np.ndarray) -> np.ndarray:
            kernel = self.values[convs[i]]["kernel"]
            k = len(kernel)
            padded = np.pad(Z, ((0, 0), ((k - 1) // 2, k // 2), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, k, axis=1)  # (N, L, in, k)
            return np.maximum(np.einsum("nlik,kio->nlo", windows, kernel) + self.values[convs[i]]["bias"], 0)

        def unit(i: int, Z: np.ndarray) -> np.ndarray:
            return norm(i, conv(i, Z))

        Z = unit(0, X.astype(np.float64))
        Z = unit(2, unit(1, Z)) + unit(3, Z)
        first = unit(5, unit(4, Z)) + Z
        second = unit(7, unit(6, first)) + first
        third = unit(9, unit(8, second)) + second
        Z = np.concatenate([first, second, third], axis=2)
        Z = unit(11, unit(10, Z)) + unit(12, Z)
        for i in (13, 15, 17):
            Z = unit(i + 1, unit(i, Z)) + Z
        Z = conv(20, unit(19, Z)).mean(axis=1)
        for i, name in enumerate(dense[:-1]):
            Z = np.maximum(Z @ self.values[name]["kernel"] + self.values[name]["bias"], 0)
            Z = norm(20 + i, Z) if len(names["gamma"]) > 20 else Z
        return Z @ self.values[dense[-1]]["kernel"] + self.values[dense[-1]]["bias"]


@dataclass
class Writer:
    """Collects the layers of a model as Keras names them, from number ``first``."""

    first: int = 0
    own_activations: bool = False  # activations as layers of their own
    settings: dict[str, Any] = field(default_factory=dict)  # of batch norm and dropout
    counts: Counter = field(default_factory=Counter)
    layers: list[dict[str, Any]] = field(default_factory=list)

    def put(self, kind: str, *inputs: str, name: str = "", **config: Any) -> str:
        base = BASES[kind]
        number = self.counts[base] + self.first
        if not name:
            self.counts[base] += 1
            name = f"{base}_{number}" if number or kind == "InputLayer" else base
        wanted = config.get("activation")
        if wanted and self.own_activations and kind != "Activation":
            config["activation"] = "linear"
        nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
        config = {"name": name, "trainable": True, "dtype": "float32", **config}
        self.layers.append({"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes})
        if wanted and self.own_activations and kind != "Activation":
            return self.put("Activation", name, activation=wanted)
        return name

    def input(self) -> str:
        self.counts["input"] += not self.first
        return self.put("InputLayer", batch_input_shape=[None, None, 4], sparse=False)

    def conv(self, k: int, filters: int, source: str, name: str = "") -> str:
        return self.put(
            "Conv1D", source, name=name, filters=filters, kernel_size=[k], strides=[1], padding="same",
            data_format="channels_last", dilation_rate=[1], activation="relu", use_bias=True,
            kernel_regularizer={"class_name": "L1L2", "config": {"l1": 0.0, "l2": 1e-4}},
        )  # fmt: skip

    def norm(self, source: str, axis: int) -> str:
        eps, momentum = self.settings.get("epsilon", 1e-3), self.settings.get("momentum", 0.99)
        return self.put(
            "BatchNormalization", source, axis=[axis], momentum=momentum, epsilon=eps, center=True, scale=True
        )

    def drop(self, source: str) -> str:
        return self.put("Dropout", source, rate=self.settings.get("rate", 0.1), noise_shape=None, seed=None)

    def units(self, k: int, filters: int, *sources: str) -> list[str]:
        convs = [self.conv(k, filters, source) for source in sources]
        norms = [self.norm(name, 2) for name in convs]
        return [self.drop(name) for name in norms]

    def shortcut(self, k: int, filters: int, source: str) -> str:
        (main,) = self.units(k, filters, source)
        return self.put("Add", *self.units(k, filters, main, source))

    def identity(self, k: int, filters: int, source: str) -> str:
        (main,) = self.units(k, filters, source)
        (main,) = self.units(k, filters, main)
        return self.put("Add", main, source)

    def trunk(self, wide: int, narrow: int, source: str) -> str:
        (name,) = self.units(25, wide, source)
        name = self.shortcut(20, narrow, name)
        merged = [name := self.identity(15, narrow, name) for _ in range(3)]
        name = self.shortcut(10, wide, self.put("Concatenate", *merged, axis=-1))
        for _ in range(3):
            name = self.identity(5, wide, name)
        (name,) = self.units(10, wide, name)
        name = self.conv(5, wide, name, name="last_CNN_layer")
        return self.put("GlobalAveragePooling1D", name, data_format="channels_last")

    def head(self, hidden: tuple[int, ...], head_bn: bool, outputs: int, activation: str, source: str) -> str:
        for units in hidden:
            source = self.put("Dense", source, units=units, activation="relu", use_bias=True)
            source = self.drop(self.norm(source, 1) if head_bn else source)
        return self.put("Dense", source, units=outputs, activation=activation, use_bias=True)

    def model(self, name: str, first: str, last: str) -> dict[str, Any]:
        return {
            "name": name, "layers": self.layers, "input_layers": [[first, 0, 0]], "output_layers": [[last, 0, 0]],
        }  # fmt: skip


def build(
    *, nested: bool = False, head: tuple[int, ...] = (8, 4), head_bn: bool = False, outputs: int = 1, wide: int = 4,
    activation: str = "", seed: int = 3, first: int = 0, trunk_name: str = "model", **settings: Any,
) -> Model:  # fmt: skip
    """Lay out a model and draw its weights."""
    activation = activation or ("softmax" if outputs > 1 else "sigmoid")
    own = settings.pop("own_activations", False)
    outer = Writer(first, own, settings)
    start = outer.input()
    if nested:
        inner = Writer(first, own, settings)
        entry = inner.input()
        config = inner.model(trunk_name, entry, inner.trunk(wide, max(1, wide // 2), entry))
        outer.layers.append(
            {
                "class_name": "Model",
                "config": config,
                "name": trunk_name,
                "inbound_nodes": [[[start, 0, 0, {}]]],
            }
        )
        pooled = trunk_name
    else:
        pooled = outer.trunk(wide, max(1, wide // 2), start)
    config = outer.model("model_9", start, outer.head(head, head_bn, outputs, activation, pooled))
    return Model(config, draw(flat(config), seed), settings.get("epsilon", 1e-3))


def flat(config: dict[str, Any], path: str = "", trainable: bool = True) -> list[tuple[str, dict[str, Any]]]:
    """List the layers of a model and of the models in it."""
    found = []
    for layer in config["layers"]:
        if "layers" in layer["config"]:
            found += flat(layer["config"], f"{path}{layer['name']}/")
        else:
            found.append((path + layer["name"], layer))
    return found


def draw(layers: list[tuple[str, dict[str, Any]]], seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Draw weights that keep the signal's size through the network; none is zero or equal to another."""
    rng = np.random.default_rng(seed)
    values: dict[str, dict[str, np.ndarray]] = {}
    channels: dict[str, int] = {}
    for path, layer in layers:
        scope = path.rpartition("/")[0]
        sources = [
            channels.get(f"{scope}/{ref[0]}" if scope else ref[0], channels.get("last", 4))
            for node in layer["inbound_nodes"]
            for ref in node
        ]
        kind, config = layer["class_name"], layer["config"]
        cin = sum(sources) if kind == "Concatenate" else (sources or [4])[0]
        cout = config.get("filters") or config.get("units") or cin
        channels[path] = channels["last"] = cout
        if kind in ("Conv1D", "Dense"):
            shape = (*config.get("kernel_size", ()), cin, cout)
            scale = np.sqrt(2 / np.prod(shape[:-1]))
            values[path] = {"kernel": rng.normal(0, scale, shape), "bias": rng.normal(0, 0.1, cout)}
        elif kind == "BatchNormalization":
            values[path] = {
                "gamma": rng.normal(1, 0.2, cout), "beta": rng.normal(0, 0.2, cout),
                "moving_mean": rng.normal(0.5, 0.2, cout), "moving_variance": rng.uniform(0.5, 1.5, cout),
            }  # fmt: skip
    # As a file holds them.
    return {name: {k: v.astype(np.float32) for k, v in own.items()} for name, own in values.items()}


def array_order(config: dict[str, Any], layer: dict[str, Any]) -> list[tuple[str, str]]:
    """List (layer, kind) as TensorFlow writes the arrays of one layer of the outer model: what is trained first."""
    inner = "layers" in layer["config"]
    leaves = flat(layer["config"], f"{layer['name']}/") if inner else [(layer["name"], layer)]
    trained, rest = [], []
    for name, leaf in leaves:
        learned, statistics = KINDS.get(leaf["class_name"], ((), ()))
        (trained if leaf["config"].get("trainable", True) else rest).extend((name, kind) for kind in learned)
        rest.extend((name, kind) for kind in statistics)
    return trained + rest


def write(
    path: Path, model: Model, *, compiled: bool = False, weights_only: bool = False, as_bytes: bool = False,
    scopes: str = "", dtype: str = "f4", version: str = "2.2.4-tf", config: Any = None, **storage: Any,
) -> Path:  # fmt: skip
    """Write a model as Keras 2 does; ``scopes`` renames what stands before the kind in an array's name."""

    def text(value: str) -> Any:
        return np.bytes_(value.encode()) if as_bytes else value

    def texts(values: list[str]) -> Any:
        return np.array([v.encode() for v in values]) if as_bytes or not values else values

    with h5py.File(path, "w") as file:
        root = file if weights_only else file.create_group("model_weights")
        for node in {file, root}:
            node.attrs["keras_version"], node.attrs["backend"] = text(version), text("tensorflow")
        if not weights_only:
            model_config = config or {"class_name": "Model", "config": model.config}
            file.attrs["model_config"] = text(
                model_config if isinstance(model_config, str) else json.dumps(model_config)
            )
        root.attrs["layer_names"] = texts([layer["name"] for layer in model.config["layers"]])
        for layer in model.config["layers"]:
            group = root.create_group(layer["name"])
            names = []
            for i, (owner, kind) in enumerate(array_order(model.config, layer)):
                short = owner.rpartition("/")[2]
                names.append(f"{scopes.format(name=short, i=97 - i // 2) or short}/{kind}:0")
                group.create_dataset(names[-1], data=model.values[owner][kind].astype(dtype), **storage)
            group.attrs["weight_names"] = texts(names)
        if compiled:
            file.attrs["training_config"] = text('{"optimizer_config": {"class_name": "Adam"}}')
            optimizer = file.create_group("optimizer_weights")
            optimizer.attrs["weight_names"] = texts(["training/Adam/iterations:0"])
            optimizer.create_dataset("training/Adam/iterations:0", data=7)
    return path


def one_hot(n: int = 3, length: int = 70, seed: int = 8) -> np.ndarray:
    """(n, length, 4) with two unknown bases."""
    X = np.eye(4, dtype=np.float32)[np.random.default_rng(seed).integers(0, 4, (n, length))]
    X[0, [5, length - 1]] = 0
    return X
