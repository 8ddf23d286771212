"""Which stored array is which tensor: the ordinal rule, with every shape checked before anything is read.

Arrays are told apart by their place alone. The scope in an array's name often differs from its layer (layer ``conv1d``
holds ``conv1d_20/kernel:0``), and sorting by name would put ``conv1d_10`` before ``conv1d_2``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras.config import Graph, Layer, leaves
from chromtransfer_plugin.keras.hdf5 import KerasFile, StoredArray, shown
from chromtransfer_plugin.keras.topology import TRUNK_CONVS, TRUNK_NORMS, Blueprint, Unit, published_graph

LEARNED = {"Conv1D": ("kernel", "bias"), "Dense": ("kernel", "bias"), "BatchNormalization": ("gamma", "beta")}
STATISTICS = ("moving_mean", "moving_variance")
MOST_OF_ONE_LAYER = 4  # arrays; a group with more of them is a nested model
NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}

Slot = tuple[str, str]  # layer and kind of array, e.g. ("model_1/conv1d", "kernel")
Places = dict[Slot, StoredArray]
Values = dict[Slot, np.ndarray]  # in Keras' layout


class MappedArray(NamedTuple):
    """One line of the mapping table."""

    keras: str
    keras_shape: tuple[int, ...]
    ours: str
    our_shape: tuple[int, ...]


def graph_without_config(file: KerasFile) -> Graph:
    """Lay out the published network for a file that holds weights alone, from the shapes in it.

    Raises
    ------
    ChromTransferError
        If the numbers of convolutions, batch norms and dense layers are not the published ones.
    """
    arrays = [array for group in file.groups.values() for array in group]
    shapes = [array.shape for array in arrays if array.kind == "kernel"]
    convs = [shape for shape in shapes if len(shape) == 3]
    dense = [shape for shape in shapes if len(shape) == 2]
    norms = sum(array.kind == "gamma" for array in arrays)
    hidden = len(dense) - 1
    if len(convs) != TRUNK_CONVS or hidden < 0 or norms not in (TRUNK_NORMS, TRUNK_NORMS + hidden):
        raise ChromTransferError(
            f"not the published ChromTransfer network: {len(convs)} convolutions, {norms} batch norms and {len(dense)} "
            f"dense layers; expected {TRUNK_CONVS}, then {TRUNK_NORMS} (or one more for each hidden layer), then at least 1."
        )
    nested = any(len(group) > MOST_OF_ONE_LAYER for group in file.groups.values())
    sizes = [shape[1] for shape in dense]
    head_bn = hidden > 0 and norms > TRUNK_NORMS
    graph = published_graph(convs[0][2], convs[1][2], sizes[:-1], head_bn, sizes[-1], nested)
    kernels = [layer.kernel for layer in graph.layers.values() if layer.kind == "Conv1D"]
    if kernels != (found := [shape[0] for shape in convs]):
        raise ChromTransferError(
            f"the convolutions in the file have the kernel sizes {found}, expected {kernels}. Where a part of the trunk "
            "was frozen, the order of the arrays can only be told from a file of the whole model, with its configuration."
        )
    return graph


def place(file: KerasFile, graph: Graph) -> Places:
    """Assign every stored array to a layer of the graph, by order, and check its kind and shape.

    Raises
    ------
    ChromTransferError
        If the file holds other arrays than the graph needs.
    """
    if file.config is not None:
        _same_layers(file, graph)
    stored = [(name, arrays) for name, arrays in file.groups.items() if arrays]
    needed = [(name, own) for name in graph.groups if (own := list(leaves(graph, name)))]
    if len(stored) != len(needed):
        raise ChromTransferError(
            f"{len(stored)} layers with stored weights, expected {len(needed)} for this network."
        )
    shapes = expected_shapes(graph)
    places: Places = {}
    for (name, arrays), (_, own) in zip(stored, needed, strict=True):
        found = [array.kind for array in arrays]
        slots = next((slots for slots in _orders(own) if [kind for _, kind in slots] == found), None)
        if slots is None:
            raise ChromTransferError(
                f"layer {shown(name)} holds {len(found)} arrays ({_short(found)}), expected "
                f"{sum(1 for _ in _layer_order(own))}: kernel and bias of each convolution or dense layer, gamma, beta, "
                "moving_mean and moving_variance of each batch norm, in the order of Keras 2."
            )
        for slot, array in zip(slots, arrays, strict=True):
            if array.shape != shapes[slot]:
                raise ChromTransferError(
                    f"array {shown(array.name)} has shape {array.shape}, expected {shapes[slot]} ({slot[1]} of {slot[0]})."
                )
            places[slot] = array
    return places


def _same_layers(file: KerasFile, graph: Graph) -> None:
    """Refuse a file whose weights and configuration list different layers, or in a different order."""
    inputs = {layer.name for layer in graph.layers.values() if layer.kind == "InputLayer"}
    listed, described = (
        [name for name in names if name not in inputs] for names in (file.groups, graph.groups)
    )
    for i, (ours, theirs) in enumerate(zip(listed, described, strict=False)):
        if ours != theirs:
            raise ChromTransferError(
                f"layer {i + 1} is {shown(ours)} in 'layer_names' and {shown(theirs)} in 'model_config': the order of the "
                "layers tells the arrays apart, so the file is damaged."
            )
    if len(listed) != len(described):
        raise ChromTransferError(
            f"{len(listed)} layers in 'layer_names', {len(described)} in 'model_config'."
        )


def _orders(layers: list[Layer]) -> Iterator[list[Slot]]:
    """Yield the orders in which Keras writes the arrays of one layer, or of the layers of a nested model.

    First what is trained, layer by layer, then what is not: the moving statistics, and all of a frozen layer. Versions
    differ in whether a nested model that is frozen as a whole freezes its layers.
    """
    by_layer = list(_layer_order(layers))
    frozen = {layer.name for layer in layers if not layer.trainable}
    learned = [slot for slot in by_layer if slot[1] not in STATISTICS]
    trained = [slot for slot in learned if slot[0] not in frozen]
    for first in (trained, [], learned):
        yield first + [slot for slot in by_layer if slot not in set(first)]


def _layer_order(layers: list[Layer]) -> Iterator[Slot]:
    for layer in layers:
        statistics = STATISTICS if layer.kind == "BatchNormalization" else ()
        for kind in LEARNED[layer.kind] + statistics:
            yield layer.name, kind


def _short(kinds: list[str]) -> str:
    return shown(", ".join(kinds[:8]) + (", ..." if len(kinds) > 8 else ""))[1:-1] or "none"


def expected_shapes(graph: Graph) -> dict[Slot, tuple[int, ...]]:
    """Give the shape, in Keras' layout, of every array that a graph needs."""
    channels = graph.channels()
    shapes: dict[Slot, tuple[int, ...]] = {}
    for layer in graph.layers.values():
        if not layer.has_weights:
            continue
        cin, cout = channels[layer.inputs[0]], channels[layer.name]
        kernel = {"Conv1D": (layer.kernel, cin, cout), "Dense": (cin, cout)}.get(layer.kind, (cout,))
        for slot in _layer_order([layer]):
            shapes[slot] = kernel if slot[1] == "kernel" else (cout,)
    return shapes


def read_values(places: Places) -> Values:
    """Read all arrays; float32, in Keras' layout.

    Raises
    ------
    ChromTransferError
        On a value that is not finite, or a negative variance.
    """
    values = {slot: array.read() for slot, array in places.items()}
    for slot, array in places.items():
        if slot[1] == "moving_variance" and values[slot].min() < 0:
            raise ChromTransferError(f"array {shown(array.name)}: a variance below 0. The file is damaged.")
    return values


def tensor_names(blueprint: Blueprint) -> dict[Slot, str]:
    """Give the name in our network of every array."""
    names: dict[Slot, str] = {}

    def unit(layers: Unit, weights: str, norm: str) -> None:
        for kind in LEARNED["Dense"]:
            names[layers.weights, kind] = f"{weights}.{NAMES[kind]}"
        for kind in (*LEARNED["BatchNormalization"], *STATISTICS) if layers.norm else ():
            names[layers.norm, kind] = f"{norm}.{NAMES[kind]}"

    for part, layers in blueprint.trunk.items():
        inner = "conv" if part == "last_conv" else "conv.conv"
        unit(layers, f"trunk.{part}.{inner}", f"trunk.{part}.bn")
    for i, layers in enumerate(blueprint.head):
        last = i == len(blueprint.head) - 1
        unit(layers, f"head.{i}" if last else f"head.{i}.linear", f"head.{i}.bn")
    return names


def to_torch(value: np.ndarray) -> np.ndarray:
    """Turn an array from Keras' layout into torch's: the axes of a kernel in reverse, vectors as they are.

    (k, in, out) -> (out, in, k) and (in, out) -> (out, in); both frameworks cross-correlate, so nothing is flipped.
    """
    return np.ascontiguousarray(value.T)


def mapping_table(places: Mapping[Slot, StoredArray], names: Mapping[Slot, str]) -> list[MappedArray]:
    """Give one line for each array, in the file's order."""
    return [
        MappedArray(array.name, array.shape, names[slot], tuple(reversed(array.shape)))
        for slot, array in places.items()
    ]
