"""From a Keras file to a network and its card: read, recognise, convert, check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chromtransfer_plugin.checkpoint import Card, load_state
from chromtransfer_plugin.constants import SEED
from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.keras.config import MOST_JSON, Graph, parse_json, read_graph
from chromtransfer_plugin.keras.hdf5 import MOST_VALUES, naming, open_keras
from chromtransfer_plugin.keras.layers import (
    MOST_OF_ONE_LAYER,
    MappedArray,
    Values,
    expected_shapes,
    graph_without_config,
    mapping_table,
    place,
    read_values,
    tensor_names,
    to_torch,
)
from chromtransfer_plugin.keras.origin import card_of, file_facts, guess_name, output_names, variant_of
from chromtransfer_plugin.keras.reference import forward
from chromtransfer_plugin.keras.topology import Blueprint, match

if TYPE_CHECKING:
    from chromtransfer_plugin.models.chromtransfer import ChromTransfer

TOLERANCE = 1e-4  # of logits, relative to the largest one if that is above 1
CHECK_LENGTH = 60  # bp
UNTRAINED = "nothing: random weights, built from a Keras configuration"


@dataclass(frozen=True)
class Imported:
    """A network read from Keras, in evaluation mode, with its card; nothing is written yet."""

    path: Path
    name: str | None  # zoo name, if it can be told
    model: ChromTransfer
    card: Card
    table: list[MappedArray]  # empty if built from a configuration
    notes: list[str]

    def summary(self) -> str:
        """Give what was found, in a few lines."""
        source, card = self.card.source, self.card
        head = "-".join(str(n) for n in (*card.architecture.head, card.architecture.n_outputs))
        lines = [f"{self.path}"]
        lines.append(f"  variant   {source['variant']} ({source['layout']})")
        if self.table:
            published = source.get("published", "not one of the published files")
            lines.append(f"  file      {source['bytes']:,} bytes, SHA-256 {source['sha256']}")
            lines.append(f"  origin    {published}; Keras {source['keras_version']}; licence: {card.license}")
        lines.append(
            f"  network   {sum(p.numel() for p in self.model.parameters()):,} trained parameters, width "
            f"{card.architecture.width:g}, head {head} {'with' if card.architecture.head_bn else 'without'} batch norm"
        )
        lines.append(f"  outputs   {', '.join(card.outputs)} ({card.activation})")
        lines.append(
            f"  checked   torch and numpy agree: logits differ by {source['logit_difference']:.1e} at most"
        )
        lines += [f"  note      {note}" for note in self.notes]
        return "\n".join(lines)

    def table_text(self) -> str:
        """Give the mapping of the arrays as aligned columns."""
        rows: list[tuple[str, ...]] = [("Keras array", "shape", "tensor", "shape")]
        rows += [(m.keras, str(m.keras_shape), m.ours, str(m.our_shape)) for m in self.table]
        rows = [(text if text.isprintable() else ascii(text), *rest) for text, *rest in rows]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join(
            "  ".join(f"{x:{w}}" for x, w in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def read_keras(
    path: str | Path,
    *,
    name: str | None = None,
    outputs: Sequence[str] | None = None,
    license: str | None = None,
) -> Imported:
    """Read a Keras 2 HDF5 file of the published network into PyTorch.

    Parameters
    ----------
    path : path
        Pre-trained, fine-tuned or multi-class; a whole model or weights alone.
    name : str, optional
        What the model is called, e.g. ``K562``; told from the file if it is a published one, or from its name.
    outputs : sequence of str, optional
        Names of the outputs; default: the name of a fine-tuned model, ``open``, or the published classes.
    license : str, optional
        Of the weights; default: GPL-3.0-only for the published files, otherwise unknown.

    Raises
    ------
    ChromTransferError
        If the file is unreadable or unsafe, or its network is not the published one, with the first difference.
    """
    path = Path(path)
    with open_keras(path) as file:
        graph = read_graph(parse_json(file.config)) if file.config is not None else graph_without_config(file)
        blueprint = match(graph)
        places = place(file, graph)
        values = read_values(places)
        nested = any(len(arrays) > MOST_OF_ONE_LAYER for arrays in file.groups.values())
        facts = file_facts(path)
        name = name or guess_name(path, facts.get("published"))
        names = tensor_names(blueprint)
        model = _network(blueprint, {names[slot]: value for slot, value in values.items()})
        source = {
            **facts,
            "variant": variant_of(blueprint, nested),
            "layout": _layout(nested, file.config is None),
            "keras_version": file.keras_version,
            "logit_difference": check(model, graph, values),
        }
        card = card_of(blueprint, source, name, outputs, license)
        return Imported(path, name, model, card, mapping_table(places, names), blueprint.notes)


def _layout(nested: bool, weights_only: bool) -> str:
    return ("trunk as a nested model" if nested else "flat") + (", weights alone" if weights_only else "")


def architecture_from_config(config: Mapping[str, Any] | str) -> Architecture:
    """Give the architecture that a Keras model configuration describes.

    Parameters
    ----------
    config : mapping or str
        As Keras writes it, JSON text or parsed: ``{class_name, config}``, or the inner part alone with the keys
        ``name``, ``layers``, ``input_layers`` and ``output_layers``.

    Raises
    ------
    ChromTransferError
        If it is not the published network: another layer, setting or connection, which is named.
    """
    return _described(config)[1].architecture


def _described(config: Mapping[str, Any] | str) -> tuple[Graph, Blueprint]:
    graph = read_graph(parse_json(config) if isinstance(config, str) else config)
    blueprint = match(graph)
    size = sum(int(np.prod(shape, dtype=np.int64)) for shape in expected_shapes(graph).values())
    if size > MOST_VALUES:
        raise ChromTransferError(f"{size:,} weights are more than are built here ({MOST_VALUES:,}).")
    return graph, blueprint


def read_config(
    path: str | Path,
    *,
    name: str | None = None,
    outputs: Sequence[str] | None = None,
    license: str | None = None,
    seed: int = SEED,
) -> Imported:
    """Build an untrained network from a Keras configuration file (JSON).

    Parameters
    ----------
    path : path
        See :func:`architecture_from_config`.
    name, outputs, license
        As :func:`read_keras`; the default licence is that of this package's models.
    seed : int
        Of the random weights; the state of torch's generator is left as it was.

    Raises
    ------
    ChromTransferError
        If it cannot be read, or is not the published network.
    """
    import torch

    path = Path(path)
    with naming(path):
        try:
            with path.open(encoding="utf-8-sig") as handle:
                text = handle.read(MOST_JSON + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise ChromTransferError(f"cannot be read as JSON ({error}).") from error
        graph, blueprint = _described(text)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _network(blueprint)
        state = model.state_dict()
        values = {slot: to_torch(state[ours].numpy()) for slot, ours in tensor_names(blueprint).items()}
        source = {
            "file": path.name,
            "variant": variant_of(blueprint, nested=False),
            "layout": "configuration alone, random weights",
            "seed": seed,
            "logit_difference": check(model, graph, values),
        }
        card = Card(
            architecture=blueprint.architecture,
            outputs=output_names(blueprint, name, outputs),
            activation=blueprint.activation,
            trained_on=UNTRAINED,
            source=source,
        )
        if license:
            card = card.model_copy(update={"license": license})
        return Imported(path, name, model, card, [], [*blueprint.notes, "untrained: the weights are random"])


def _network(blueprint: Blueprint, values: Mapping[str, np.ndarray] | None = None) -> ChromTransfer:
    """Build the network, with arrays in Keras' layout as its weights."""
    import torch

    from chromtransfer_plugin.models.chromtransfer import ChromTransfer

    model = ChromTransfer(**blueprint.architecture.model_dump()).eval()
    if values is not None:
        counters = {key: t for key, t in model.state_dict().items() if key.endswith("num_batches_tracked")}
        tensors = {key: torch.from_numpy(to_torch(value)) for key, value in values.items()}
        load_state(model, tensors | counters, "the stored arrays")
    return model


def check(model: ChromTransfer, graph: Graph, values: Values) -> float:
    """Compare the network with an independent one in numpy, on random sequence with an unknown base.

    Returns
    -------
    float
        Largest difference of a logit, relative to the largest logit if that is above 1.

    Raises
    ------
    ChromTransferError
        If it is above 1e-4, or a logit is not finite.
    """
    import torch

    codes = np.random.default_rng(SEED).integers(0, 4, (2, CHECK_LENGTH))
    X = np.eye(4, dtype=np.float32)[codes]
    X[0, CHECK_LENGTH // 3] = 0
    expected = forward(graph, values, X)
    with torch.inference_mode():
        found = model(torch.from_numpy(X.transpose(0, 2, 1).copy())).numpy()
    difference = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
    if not difference <= TOLERANCE:  # also NaN
        raise ChromTransferError(
            f"the converted network differs from the Keras one by {difference:.2g} in its logits (allowed: {TOLERANCE:g}); "
            "nothing is written. The weights are damaged, or this is a bug: please report it."
        )
    return float(f"{difference:.2g}")
