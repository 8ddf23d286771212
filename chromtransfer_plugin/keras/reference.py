"""A second, plain implementation of the network in numpy, to check an import with.

It reads the graph as Keras describes it and the arrays as Keras stores them (channels last), so it shares neither the
mapping of the tensors nor the code of the PyTorch network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chromtransfer_plugin.keras.config import Graph, Layer


def forward(graph: Graph, values: Mapping[tuple[str, str], np.ndarray], X: np.ndarray) -> np.ndarray:
    """Run a Keras graph for prediction.

    Parameters
    ----------
    graph : Graph
    values : mapping
        (layer, kind) -> array in Keras' layout, e.g. the (k, in, out) kernel of a convolution.
    X : numpy.ndarray (N, L, 4)
        One-hot sequences, channels last.

    Returns
    -------
    numpy.ndarray (N, n_outputs) float64
        Logits: what goes into the last sigmoid or softmax.
    """
    results: dict[str, np.ndarray] = {}
    for layer in graph.layers.values():
        own = {kind: value.astype(np.float64) for (name, kind), value in values.items() if name == layer.name}
        inputs = [results[name] for name in layer.inputs] or [X.astype(np.float64)]
        Z = _apply(layer, inputs, own)
        results[layer.name] = np.maximum(Z, 0) if layer.activation == "relu" else Z
    return results[graph.output]


def _apply(layer: Layer, inputs: list[np.ndarray], own: dict[str, np.ndarray]) -> np.ndarray:
    Z = inputs[0]
    if layer.kind == "Conv1D":
        return _convolve(Z, own["kernel"]) + own["bias"]
    if layer.kind == "Dense":
        return Z @ own["kernel"] + own["bias"]
    if layer.kind == "BatchNormalization":
        return (Z - own["moving_mean"]) / np.sqrt(own["moving_variance"] + layer.eps) * own["gamma"] + own[
            "beta"
        ]
    if layer.kind == "Add":
        return sum(inputs[1:], Z)
    if layer.kind == "Concatenate":
        return np.concatenate(inputs, axis=-1)
    if layer.kind == "GlobalAveragePooling1D":
        return Z.mean(axis=1)
    return Z  # input, dropout, activation


def _convolve(Z: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(N, L, in) with a (k, in, out) kernel -> (N, L, out); an even kernel has one zero more to the right."""
    k, length = len(kernel), Z.shape[1]
    padded = np.pad(Z, ((0, 0), ((k - 1) // 2, k // 2), (0, 0)))
    return sum((padded[:, i : i + length] @ kernel[i] for i in range(k)), np.zeros(()))
