"""Read a Keras model configuration (JSON) into a flat list of layers. Nothing in it is ever executed.

Only the layers that the published network consists of are known, and only with the settings that its PyTorch twin has;
everything else is refused by name, above all Lambda layers, which hold marshalled Python code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras.hdf5 import shown

MODELS = ("Model", "Functional", "Sequential")
ACTIVATIONS = ("linear", "relu", "sigmoid", "softmax")
LAYERS = (
    "InputLayer", "Conv1D", "BatchNormalization", "Dropout", "Add", "Concatenate", "Dense", "GlobalAveragePooling1D",
    "Activation", "ReLU", "Softmax",
)  # fmt: skip
# Names that TensorFlow 1.13 and later wrote for a while.
OTHER_NAMES = {"BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization"}
NOT_EXECUTED = "Nothing stored in a file is executed here, so models with own code cannot be imported."
MOST_JSON = 1 << 22  # characters; the published configuration has 60,000
MOST_LEVELS = 40  # of lists and objects; the published one has 9
MOST_LAYERS = 500  # the published networks have 79
MOST_NESTED = 4  # models within models


@dataclass(frozen=True)
class Layer:
    """One layer with what matters of its settings."""

    name: str  # unique; "model_1/conv1d" within a nested model
    kind: str  # one of LAYERS
    inputs: tuple[str, ...]  # names of layers
    group: str  # the layer of the outermost model that it belongs to
    trainable: bool = True
    activation: str = "linear"
    size: int = 0  # filters or units
    kernel: int = 0
    rate: float = 0.0  # of dropout
    eps: float = 0.0  # of batch norm
    momentum: float = 0.0

    @property
    def has_weights(self) -> bool:
        """Whether arrays of it are stored."""
        return self.kind in ("Conv1D", "Dense", "BatchNormalization")


@dataclass
class Graph:
    """The layers of a model, inputs before what uses them, nested models dissolved."""

    layers: dict[str, Layer] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)  # layers of the outermost model, in its order
    output: str = ""

    def add(self, layer: Layer) -> str:
        """Append a layer and return its name."""
        if layer.name in self.layers:
            raise ChromTransferError(f"layer {shown(layer.name)} exists twice.")
        if len(self.layers) == MOST_LAYERS:
            raise ChromTransferError(f"more than {MOST_LAYERS} layers; the published networks have 79.")
        self.layers[layer.name] = layer
        return layer.name

    def channels(self) -> dict[str, int]:
        """Give the number of channels that each layer puts out."""
        found: dict[str, int] = {}
        for name, layer in self.layers.items():
            incoming = [found[source] for source in layer.inputs]
            if layer.kind == "Concatenate":
                found[name] = sum(incoming)
            else:
                found[name] = layer.size or incoming[0]
        return found


def parse_json(text: str) -> dict[str, Any]:
    """Read JSON text that must be an object, whatever somebody put into it.

    Raises
    ------
    ChromTransferError
        If it is too large, too deep, or not JSON.
    """
    if len(text) > MOST_JSON:
        raise ChromTransferError(
            f"the configuration has {len(text):,} characters, at most {MOST_JSON:,} are read."
        )
    try:
        found = json.loads(text)
    except RecursionError:
        raise ChromTransferError("the configuration is nested too deeply.") from None
    except ValueError as error:
        raise ChromTransferError(f"the configuration is not JSON ({error}).") from error
    if not isinstance(found, dict):
        raise ChromTransferError("the configuration is not a JSON object.")
    level: list[Any] = [found]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise ChromTransferError("the configuration is nested too deeply.")
    return found


def read_graph(config: Mapping[str, Any]) -> Graph:
    """Read a Keras model: ``{class_name, config}``, or ``{name, layers, input_layers, output_layers}`` without wrapper.

    Raises
    ------
    ChromTransferError
        On a layer or setting that the network of the paper does not have, naming it.
    """
    graph = Graph()
    graph.output = _Model(
        graph, config if "class_name" in config else {"class_name": "Model", "config": config}
    ).read()
    return graph


class _Model:
    """One model, possibly within another one, whose layers are added to a graph."""

    def __init__(
        self, graph: Graph, model: Mapping[str, Any], source: str = "", path: str = "", group: str = "",
        trainable: bool = True, depth: int = 0,
    ) -> None:  # fmt: skip
        if depth > MOST_NESTED:
            raise ChromTransferError(f"models nested more than {MOST_NESTED} deep.")
        self.graph, self.source, self.path, self.group, self.depth = graph, source, path, group, depth
        kind = model.get("class_name")
        if kind not in MODELS:
            raise ChromTransferError(
                f"a Keras model is one of {', '.join(MODELS)}, not {_named(kind)}. {NOT_EXECUTED}"
            )
        self.sequential = kind == "Sequential"
        config = model.get("config")
        # Sequential models of the first Keras 2 versions are a plain list.
        self.config: Mapping[str, Any] = (
            {"layers": config} if isinstance(config, list) else _object(config, "config")
        )
        self.trainable = trainable and self.config.get("trainable") is not False
        self.names: dict[str, str] = {}  # name in this model -> name in the graph

    def read(self) -> str:
        """Add all layers; return the name of the output in the graph."""
        last = ""
        for entry in _list(self.config.get("layers"), "layers"):
            last = self.layer(_object(entry, "layer"), last)
        if self.sequential:
            if not last:
                raise ChromTransferError("a Sequential model without layers.")
            return self.names[last]
        self.single("input_layers")
        return self.single("output_layers")

    def single(self, key: str) -> str:
        """Resolve the only input or output of the model."""
        ends = _list(self.config.get(key), key)
        if len(ends) == 3 and isinstance(ends[0], str):
            ends = [ends]  # some versions leave out the outer list
        if len(ends) != 1:
            raise ChromTransferError(f"{len(ends)} {key}, the published network has one.")
        return self.resolve(ends[0], key)

    def resolve(self, reference: Any, where: str) -> str:
        name = reference[0] if isinstance(reference, list) and reference else None
        if not isinstance(name, str) or name not in self.names:
            raise ChromTransferError(f"{where} refers to {_named(name)}, which is no layer before it.")
        return self.names[name]

    def layer(self, entry: Mapping[str, Any], last: str) -> str:
        kind, config = entry.get("class_name"), entry.get("config")
        name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
        if not isinstance(name, str) or not name or name in self.names:
            raise ChromTransferError(f"a layer is called {_named(name)}: not a name, or used twice.")
        where = f"layer {shown(name)}"
        kind = OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind
        if entry.get("registered_name") or not isinstance(kind, str) or kind not in LAYERS + MODELS:
            raise ChromTransferError(
                f"{where}: {_named(kind)} is not a layer of the published network, which has only "
                f"{', '.join(LAYERS)}. {NOT_EXECUTED}"
            )
        full = f"{self.path}{name}"
        group = self.group or name
        if not self.depth:
            self.graph.groups.append(name)
        inputs = self.inputs(entry, where, last) if kind != "InputLayer" else ()
        if kind in MODELS:
            if len(inputs) != 1:
                raise ChromTransferError(f"{where}: a nested model with {len(inputs)} inputs, expected one.")
            inner = _Model(self.graph, entry, inputs[0], f"{full}/", group, self.trainable, self.depth + 1)
            self.names[name] = inner.read()
        elif kind == "InputLayer" and self.source:
            self.names[name] = self.source
        else:
            settings = _Settings(where, kind, _object(config, where)).read()
            trainable = self.trainable and _object(config, where).get("trainable") is not False
            layer = Layer(full, kind, inputs, group, trainable, **settings)
            self.names[name] = self.graph.add(layer)
        return name

    def inputs(self, entry: Mapping[str, Any], where: str, last: str) -> tuple[str, ...]:
        if self.sequential:
            if last:
                return (self.names[last],)
            return (
                self.source
                or self.graph.add(Layer(f"{self.path}input", "InputLayer", (), self.group, size=4)),
            )
        nodes = _list(entry.get("inbound_nodes"), f"{where}: inbound_nodes")
        if len(nodes) == 1 and isinstance(nodes[0], dict):
            raise ChromTransferError(
                f"{where}: written by Keras 3; only files of Keras 2 (TensorFlow 1.x to 2.15) are read."
            )
        if len(nodes) != 1:
            raise ChromTransferError(f"{where} is used {len(nodes)} times, expected once.")
        found = []
        for reference in _list(nodes[0], f"{where}: inbound_nodes"):
            # The fourth entry holds arguments of the call: training=False only matters while training.
            extra = reference[3] if isinstance(reference, list) and len(reference) > 3 else {}
            if not isinstance(extra, dict) or set(extra) - {"training"}:
                raise ChromTransferError(f"{where} is called with arguments that are not known here.")
            found.append(self.resolve(reference, where))
        if not found or (len(found) > 1) != (entry.get("class_name") in ("Add", "Concatenate")):
            raise ChromTransferError(f"{where} has {len(found)} inputs.")
        return tuple(found)


class _Settings:
    """Checks the settings of one layer and gives those that a :class:`Layer` keeps."""

    def __init__(self, where: str, kind: str, config: Mapping[str, Any]) -> None:
        self.where, self.kind, self.config = where, kind, config

    def read(self) -> dict[str, Any]:
        """Give the settings as arguments of :class:`Layer`."""
        reader = getattr(self, f"read_{self.kind.lower()}", None)
        return reader() if reader else {}

    def read_inputlayer(self) -> dict[str, Any]:
        shape = self.config.get("batch_input_shape", self.config.get("batch_shape"))
        if not isinstance(shape, list) or len(shape) != 3 or shape[2] != 4:
            raise ChromTransferError(
                f"{self.where}: input shape {_named(shape)}, expected [null, length or null, 4]."
            )
        return {"size": 4}

    def read_conv1d(self) -> dict[str, Any]:
        self.require(padding=("same",), use_bias=(True,))
        self.allow(strides=(1, [1]), dilation_rate=(1, [1]), groups=(1,), data_format=("channels_last",))
        kernel = self.config.get("kernel_size")
        kernel = kernel[0] if isinstance(kernel, list) and len(kernel) == 1 else kernel
        return {
            "size": self.count("filters"),
            "kernel": self.whole("kernel_size", kernel),
            **self.activation(),
        }

    def read_dense(self) -> dict[str, Any]:
        self.require(use_bias=(True,))
        return {"size": self.count("units"), **self.activation()}

    def read_batchnormalization(self) -> dict[str, Any]:
        # The last axis: 2 after a convolution, 1 after a dense layer. A wrong one would not fit the stored shapes.
        self.allow(center=(True,), scale=(True,), axis=(-1, 1, 2, [1], [2], [-1]), renorm=(False,))
        return {"eps": self.number("epsilon", 1e-3), "momentum": self.number("momentum", 0.99)}

    def read_dropout(self) -> dict[str, Any]:
        self.allow(noise_shape=(None,))
        return {"rate": self.number("rate", None)}

    def read_concatenate(self) -> dict[str, Any]:
        self.allow(axis=(-1, 2))
        return {}

    def read_globalaveragepooling1d(self) -> dict[str, Any]:
        self.allow(data_format=("channels_last",), keepdims=(False,))
        return {}

    def read_activation(self) -> dict[str, Any]:
        return self.activation()

    def read_relu(self) -> dict[str, Any]:
        self.allow(max_value=(None,), negative_slope=(0, [0.0]), threshold=(0, [0.0]))
        return {"activation": "relu"}

    def read_softmax(self) -> dict[str, Any]:
        self.allow(axis=(-1, 1))
        return {"activation": "softmax"}

    def activation(self) -> dict[str, str]:
        given = self.config.get("activation") or "linear"
        if not isinstance(given, str) or given not in ACTIVATIONS:
            raise ChromTransferError(
                f"{self.where}: activation {_named(given)} is not one of {', '.join(ACTIVATIONS)}. {NOT_EXECUTED}"
            )
        return {"activation": given}

    def require(self, **allowed: Sequence[Any]) -> None:
        for key in allowed:
            if key not in self.config:
                raise ChromTransferError(f"{self.where}: the setting '{key}' is missing.")
        self.allow(**allowed)

    def allow(self, **allowed: Sequence[Any]) -> None:
        for key, values in allowed.items():
            if key in self.config and self.config[key] not in values:
                raise ChromTransferError(
                    f"{self.where}: {key}={_named(self.config[key])}, the published network has {values[0]!r}."
                )

    def count(self, key: str) -> int:
        return self.whole(key, self.config.get(key))

    def whole(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_536:
            raise ChromTransferError(
                f"{self.where}: {key}={_named(value)}, expected a whole number of at least 1."
            )
        return value

    def number(self, key: str, default: float | None) -> float:
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ChromTransferError(f"{self.where}: {key}={_named(value)}, expected a number from 0 to 1.")
        return float(value)


def _named(value: Any) -> str:
    return shown(value) if isinstance(value, str) else shown(repr(value))[1:-1]


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ChromTransferError(f"{where}: expected an object {{...}}, found {_named(value)}.")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ChromTransferError(f"{where}: expected a list, found {_named(value)}.")
    return value


def leaves(graph: Graph, group: str) -> Iterator[Layer]:
    """Yield the layers with weights that belong to a layer of the outermost model."""
    return (layer for layer in graph.layers.values() if layer.group == group and layer.has_weights)
