"""Recognise the published network in a graph of Keras layers, or lay that graph out for files without a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras.config import Graph, Layer
from chromtransfer_plugin.keras.hdf5 import shown
from chromtransfer_plugin.models.chromtransfer import parse_architecture

TRUNK_CONVS = 21
TRUNK_NORMS = 20
BLOCKS = 3  # identity blocks of each size
KERAS_MOMENTUM, KERAS_EPS = 0.99, 1e-3
PAPER_WIDTH = 64  # channels of the first convolution


class Unit(NamedTuple):
    """Names of the layers of one convolution or dense unit; ``norm`` is empty where there is no batch norm."""

    weights: str
    norm: str = ""


@dataclass
class Blueprint:
    """The published network as found in a graph: which layer plays which part."""

    trunk: dict[str, Unit]  # part of our network, e.g. "reduce.shortcut" -> layers
    head: list[Unit]  # hidden units, then the last dense layer
    architecture: Architecture
    activation: Literal["sigmoid", "softmax"]
    notes: list[str] = field(default_factory=list)


class _OtherError(Exception):
    """The graph is not the published one, at this layer."""


class _Walk:
    """Follows a graph from its output to its input."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.used: set[str] = set()

    def expect(self, name: str, kind: str, after: str) -> Layer:
        layer = self.graph.layers[name]
        if layer.kind != kind:
            raise _OtherError(f"at layer {shown(name)}: expected {kind} {after}, found {layer.kind}")
        self.used.add(name)
        return layer

    def skip(self, name: str, kind: str) -> str:
        """Step over a layer if it is of this kind."""
        layer = self.graph.layers[name]
        if layer.kind != kind:
            return name
        self.used.add(name)
        return layer.inputs[0]

    def activated(self, name: str, kind: str, activation: Sequence[str], after: str) -> tuple[Layer, str]:
        """Find a layer with weights whose activation is its own or a layer of its own; give both."""
        outer = self.graph.layers[name]
        if outer.kind in ("Activation", "ReLU", "Softmax"):
            self.used.add(name)
            inner = self.expect(outer.inputs[0], kind, after)
            found = (
                outer.activation
                if inner.activation == "linear"
                else f"{inner.activation}, then {outer.activation}"
            )
        else:
            inner = self.expect(name, kind, after)
            found = inner.activation
        if found not in activation:
            raise _OtherError(
                f"at layer {shown(inner.name)}: activation {found}, expected {' or '.join(activation)}"
            )
        return inner, found

    def unit(self, name: str, kind: str, part: str, norm: bool = True) -> tuple[Unit, str]:
        """Step over dense or convolution -> ReLU -> batch norm -> dropout; give the layers and what feeds them."""
        name = self.skip(name, "Dropout")
        before = self.skip(name, "BatchNormalization")
        if norm and before == name:
            self.expect(name, "BatchNormalization", f"of {part}")
        weights, _ = self.activated(before, kind, ("relu",), f"of {part}")
        return Unit(weights.name, name if before != name else ""), weights.inputs[0]

    def add(
        self, name: str, part: str, skip: Callable[[str], tuple[dict[str, Unit], str]]
    ) -> tuple[dict[str, Unit], str]:
        """Step over a residual block: two units, plus what ``skip`` makes of the block's input."""
        layer = self.expect(name, "Add", f"of {part}")
        if len(layer.inputs) != 2:
            raise _OtherError(f"at layer {shown(name)}: {len(layer.inputs)} inputs, expected 2")
        problems = []
        for main, side in (layer.inputs, layer.inputs[::-1]):
            kept = set(self.used)
            try:
                second, middle = self.unit(main, "Conv1D", f"{part}.b")
                first, start = self.unit(middle, "Conv1D", f"{part}.a")
                shortcut, source = skip(side)
                if source != start:
                    raise _OtherError(
                        f"at layer {shown(name)}: its two inputs do not come from the same layer"
                    )
                return {f"{part}.a": first, f"{part}.b": second, **shortcut}, start
            except _OtherError as error:
                self.used = kept
                problems.append(error)
        raise problems[0]

    def identity(self, name: str, part: str) -> tuple[dict[str, Unit], str]:
        return self.add(name, part, lambda side: ({}, side))

    def projected(self, name: str, part: str) -> tuple[dict[str, Unit], str]:
        def shortcut(side: str) -> tuple[dict[str, Unit], str]:
            unit, source = self.unit(side, "Conv1D", f"{part}.shortcut")
            return {f"{part}.shortcut": unit}, source

        return self.add(name, part, shortcut)

    def head(self) -> tuple[list[Unit], str, str]:
        """Step over the head; give its units, the activation and the pooled features."""
        last, activation = self.activated(self.graph.output, "Dense", ("sigmoid", "softmax"), "as the output")
        units, name = [Unit(last.name)], last.inputs[0]
        while self.graph.layers[name].kind != "GlobalAveragePooling1D":
            unit, name = self.unit(name, "Dense", "the head", norm=False)
            units.insert(0, unit)
        return units, activation, name

    def trunk(self, name: str) -> dict[str, Unit]:
        """Step over the trunk, from the pooling to the input."""
        name = self.expect(name, "GlobalAveragePooling1D", "between trunk and head").inputs[0]
        last, _ = self.activated(name, "Conv1D", ("relu",), "of last_conv")
        found = {"last_conv": Unit(last.name)}
        found["top"], name = self.unit(last.inputs[0], "Conv1D", "top")
        for i in reversed(range(BLOCKS)):
            block, name = self.identity(name, f"wide.{i}")
            found |= block
        block, name = self.projected(name, "expand")
        found |= block
        merged = self.expect(name, "Concatenate", "before expand")
        if len(merged.inputs) != BLOCKS:
            raise _OtherError(f"at layer {shown(name)}: {len(merged.inputs)} inputs, expected {BLOCKS}")
        name = merged.inputs[-1]
        for i in reversed(range(BLOCKS)):
            if name != merged.inputs[i]:
                raise _OtherError(
                    f"at layer {shown(merged.name)}: expected the outputs of the three blocks before, in order"
                )
            block, name = self.identity(name, f"narrow.{i}")
            found |= block
        block, name = self.projected(name, "reduce")
        found |= block
        found["stem"], name = self.unit(name, "Conv1D", "stem")
        self.expect(name, "InputLayer", "before stem")
        return found


def match(graph: Graph) -> Blueprint:
    """Find the published network in a graph, or say where it differs.

    Raises
    ------
    ChromTransferError
        Naming the first layer, seen from the output, that is not as published.
    """
    walk = _Walk(graph)
    try:
        head, activation, features = walk.head()
        trunk = walk.trunk(features)
        if unused := [name for name in graph.layers if name not in walk.used]:
            raise _OtherError(f"at layer {shown(unused[0])}: not part of it")
        architecture, notes = _architecture(graph, trunk, head)
    except _OtherError as error:
        raise ChromTransferError(
            f"not the published ChromTransfer network: {error}. Only that network can be imported."
        ) from None
    if activation == "softmax" and architecture.n_outputs == 1:
        raise ChromTransferError("a softmax over one output is always 1: not a model.")
    return Blueprint(trunk, head, architecture, "softmax" if activation == "softmax" else "sigmoid", notes)


def _architecture(graph: Graph, trunk: dict[str, Unit], head: list[Unit]) -> tuple[Architecture, list[str]]:
    """Give our description of a graph of the right shape, after a check of all sizes."""
    layers = graph.layers
    parts = Counter(unit.weights for unit in (*trunk.values(), *head))
    if shared := [name for name, n in parts.items() if n > 1]:
        raise _OtherError(f"at layer {shown(shared[0])}: plays two parts of it")
    wide, narrow = layers[trunk["stem"].weights].size, layers[trunk["reduce.a"].weights].size
    for part, unit in trunk.items():
        layer, (kernel, size) = layers[unit.weights], _conv(part, wide, narrow)
        if (layer.kernel, layer.size) != (kernel, size):
            raise _OtherError(
                f"at layer {shown(layer.name)}: kernel size {layer.kernel} and {layer.size} filters, "
                f"expected {kernel} and {size}"
            )
    normed = {bool(unit.norm) for unit in head[:-1]}
    if len(normed) > 1:
        raise _OtherError("some hidden layers of its head have batch norm and some do not")
    norms = [layer for layer in layers.values() if layer.kind == "BatchNormalization"]
    if len({layer.eps for layer in norms}) > 1:
        raise _OtherError("its batch norms differ in epsilon")
    notes: list[str] = []
    momentum = _usual("momentum of batch norm", [layer.momentum for layer in norms], notes)
    rate = _usual(
        "rate of dropout", [layer.rate for layer in layers.values() if layer.kind == "Dropout"], notes
    )
    architecture = parse_architecture(
        {
            "head": tuple(layers[unit.weights].size for unit in head[:-1]),
            "head_bn": normed == {True},
            "n_outputs": layers[head[-1].weights].size,
            "width": wide / PAPER_WIDTH,
            "dropout": rate,
            "bn_momentum": round(1 - momentum, 9),
            "bn_eps": norms[0].eps,
        }
    )
    if narrow != max(1, round(PAPER_WIDTH / 2 * architecture.width)):
        raise _OtherError(f"{wide} channels at the stem and {narrow} after it, expected half as many")
    return architecture, notes


def _usual(what: str, values: list[float], notes: list[str]) -> float:
    """Give the most frequent value: it matters only when the model is trained further."""
    counts = Counter(values)
    if len(counts) > 1:
        notes.append(
            f"several values of the {what} ({', '.join(f'{v:g} in {n} layers' for v, n in counts.items())})"
        )
    return counts.most_common(1)[0][0] if counts else 0.0


def _conv(part: str, wide: int, narrow: int) -> tuple[int, int]:
    """Kernel size and filters of one convolution of the trunk (paper, Methods; kernel sizes as in the released models)."""
    kernel, filters = {
        "stem": (25, wide),
        "reduce": (20, narrow),
        "narrow": (15, narrow),
        "expand": (10, wide),
        "wide": (5, wide),
        "top": (10, wide),
        "last_conv": (5, wide),
    }[part.partition(".")[0]]
    return kernel, filters


def published_graph(
    wide: int, narrow: int, head: Sequence[int], head_bn: bool, n_outputs: int, nested: bool
) -> Graph:
    """Lay out the published network, layers in the order in which Keras stores them.

    In the blocks with a projected shortcut, Keras puts the convolutions of main branch and shortcut before the batch norms
    of both.

    Parameters
    ----------
    wide, narrow : int
        Filters of the stem and of the convolutions after it.
    head : sequence of int
        Hidden sizes.
    head_bn : bool
    n_outputs : int
        One means a sigmoid, more a softmax.
    nested : bool
        The trunk is one layer of the outer model, as in fine-tuned files.
    """
    graph = Graph()

    def put(kind: str, name: str, *inputs: str, **settings: float | str) -> str:
        in_trunk = nested and not name.startswith("head")
        group = "trunk" if in_trunk else name
        if group not in graph.groups:
            graph.groups.append(group)
        layer = Layer(name, kind, inputs, group, eps=KERAS_EPS, momentum=KERAS_MOMENTUM, rate=0.1)
        return graph.add(replace(layer, **settings))  # type: ignore[arg-type]

    def conv(part: str, source: str) -> str:
        kernel, filters = _conv(part, wide, narrow)
        return put("Conv1D", part, source, kernel=kernel, size=filters, activation="relu")

    def finish(*convs: str) -> Iterator[str]:
        norms = [put("BatchNormalization", f"{name}.bn", name) for name in convs]
        return iter(
            [put("Dropout", f"{name}.dropout", norm) for name, norm in zip(convs, norms, strict=True)]
        )

    def unit(part: str, source: str) -> str:
        return next(finish(conv(part, source)))

    def identity(part: str, source: str) -> str:
        return put("Add", part, unit(f"{part}.b", unit(f"{part}.a", source)), source)

    def projected(part: str, source: str) -> str:
        first = unit(f"{part}.a", source)
        return put("Add", part, *finish(conv(f"{part}.b", first), conv(f"{part}.shortcut", source)))

    name = projected("reduce", unit("stem", put("InputLayer", "input", size=4)))
    merged = [name := identity(f"narrow.{i}", name) for i in range(BLOCKS)]
    name = projected("expand", put("Concatenate", "merged", *merged))
    for i in range(BLOCKS):
        name = identity(f"wide.{i}", name)
    name = put("GlobalAveragePooling1D", "pool", conv("last_conv", unit("top", name)))
    for i, size in enumerate(head):
        name = put("Dense", f"head.{i}", name, size=size, activation="relu")
        name = put("BatchNormalization", f"{name}.bn", name) if head_bn else name
        name = put("Dropout", f"head.{i}.dropout", name)
    activation = "softmax" if n_outputs > 1 else "sigmoid"
    graph.output = put("Dense", "head.last", name, size=n_outputs, activation=activation)
    return graph
