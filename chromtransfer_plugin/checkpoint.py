"""Checkpoints: a folder with ``model.safetensors`` and ``card.json``; loading never unpickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import chromtransfer_plugin
from chromtransfer_plugin.constants import CITATION, WINDOW
from chromtransfer_plugin.defaults import Architecture
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path, make_folder

if TYPE_CHECKING:
    import torch
    from torch import nn

    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.models.ensemble import Ensemble

Network: TypeAlias = "ChromTransfer | Ensemble"  # text: importing this module must not import torch

WEIGHTS = "model.safetensors"
CARD = "card.json"
FORMAT = 1
_SMALL = 10_000_000  # numbers; a network of so many is no burden
MEMBERS = "member_checkpoints"  # key of an ensemble's Card.training


class Card(BaseModel):
    """What a checkpoint is: everything needed to rebuild and to cite the model."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    network: Literal["ChromTransfer"] = "ChromTransfer"
    architecture: Architecture  # of each member
    members: int = Field(default=1, ge=1, le=1_000)  # networks whose logits are averaged
    outputs: list[str]  # one name per logit
    activation: Literal["sigmoid", "softmax"] = "sigmoid"  # turns logits into probabilities
    window: int = WINDOW
    weights_sha256: str = ""
    created_by: str = ""
    license: str = "MIT"
    cite_as: str = CITATION
    trained_on: str = ""
    source: dict[str, Any] = Field(default_factory=dict)  # of imported weights: file, SHA-256, variant
    training: dict[str, Any] = Field(default_factory=dict)  # hyper-parameters, data hashes, scores

    @model_validator(mode="after")
    def _one_name_per_logit(self) -> Card:
        if len(self.outputs) != self.architecture.n_outputs:
            raise ValueError(
                f"{len(self.outputs)} names in 'outputs' for n_outputs={self.architecture.n_outputs}"
            )
        return self


class LoadedModel(NamedTuple):
    """A network, or an ensemble of several, in evaluation mode and its card."""

    model: Network
    card: Card


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def save_model(model: Network, folder: str | Path, card: Card) -> Path:
    """Write a checkpoint folder.

    The card, which holds the weights' SHA-256, is renamed into place last: a folder left by a kill in between
    has no card, or one that does not fit its weights, and is refused by :func:`load_model`.

    Parameters
    ----------
    model : ChromTransfer or Ensemble
        Its tensors are stored from the CPU as they are (float32).
    folder : path
        Created if needed.
    card : Card
        ``weights_sha256``, ``architecture``, ``members`` and ``created_by`` are filled in here.
    """
    from safetensors.torch import save

    from chromtransfer_plugin.models.ensemble import Ensemble

    folder = Path(folder)
    make_folder(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors))  # save_file would leave a file that only its owner may read
    card = card.model_copy(
        update={
            "architecture": model.architecture,
            "members": len(model.members) if isinstance(model, Ensemble) else 1,
            "weights_sha256": sha256(folder / WEIGHTS),
            "created_by": f"chromtransfer-plugin {chromtransfer_plugin.__version__}",
        }
    )
    with atomic_path(folder / CARD) as temporary:
        Path(temporary).write_text(card.model_dump_json(indent=2) + "\n")
    return folder


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint folder meant by ``path``: itself, its parent, or a training run's best model."""
    path = Path(path)
    if path.suffix in (".tar", ".pth", ".pt"):
        raise ChromTransferError(
            f"{path}: this is a pickle-based checkpoint, which is never loaded here. "
            "Our training writes the same weights to the folder `best_model` beside it: name that one."
        )
    if path.suffix in (".h5", ".hdf5"):
        raise ChromTransferError(
            f"{path}: this is a Keras file, not a checkpoint folder. Convert it once: "
            f"chromtransfer import-keras {path} --out FOLDER"
        )
    for candidate in (path.parent,) if path.name in (WEIGHTS, CARD) else (path, path / "best_model"):
        if (candidate / CARD).is_file():
            return candidate
    if not path.exists():
        raise ChromTransferError(f"{path}: no such checkpoint folder.")
    raise ChromTransferError(
        f"{path}: not a checkpoint: expected a folder with {WEIGHTS} and {CARD}, or a training run's output folder "
        "with `best_model` in it."
    )


def read_card(folder: Path) -> Card:
    """Read and check ``card.json``."""
    path = folder / CARD
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ChromTransferError(f"{path}: cannot be read as JSON ({error}).") from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise ChromTransferError(
            f"{path}: checkpoint format {version} is newer than {FORMAT}; update chromtransfer-plugin."
        )
    try:
        return Card.model_validate(raw)
    except RecursionError as error:
        raise ChromTransferError(f"{path}: is nested too deeply.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the card"
        raise ChromTransferError(
            f"{path}: not a card of a ChromTransfer model: '{key}': {first['msg']}."
        ) from error


def read_weights(folder: Path, card: Card) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, checked against the card's SHA-256."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        raise ChromTransferError(f"{path}: the weights are missing beside the card.")
    if card.weights_sha256 and sha256(path) != card.weights_sha256:
        raise ChromTransferError(
            f"{path}: SHA-256 differs from the one in {CARD}: the file is truncated or was changed. "
            "Copy the checkpoint folder again."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ChromTransferError(f"{path}: not a complete safetensors file ({error}).") from error


def load_state(model: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Load tensors by name, refusing any missing, unexpected or differently shaped one.

    Raises
    ------
    ChromTransferError
        Naming the first tensors that do not fit.
    """
    own = model.state_dict()
    problems = [f"'{name}' is missing" for name in own if name not in tensors]
    problems += [f"'{name}' is not part of this network" for name in tensors if name not in own]
    problems += [
        f"'{name}' has shape {tuple(tensors[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise ChromTransferError(
            f"{source}: the weights belong to another architecture: {'; '.join(problems[:3])}{more}."
        )
    model.load_state_dict(tensors)


def build_network(card: Card) -> Network:
    """Return a network as the card describes it, with random weights."""
    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.models.ensemble import Ensemble

    members = [ChromTransfer(**card.architecture.model_dump()) for _ in range(card.members)]
    return members[0] if card.members == 1 else Ensemble(members)


def load_model(path: str | Path) -> LoadedModel:
    """Load a checkpoint on the CPU, in evaluation mode.

    Parameters
    ----------
    path : path
        A checkpoint folder, a file in it, a training run's output folder, or an exported Kipoi model folder.

    Raises
    ------
    ChromTransferError
        If it is missing, truncated, altered, or of another architecture.
    """
    folder = find_checkpoint(path)
    card = read_card(folder)
    tensors = read_weights(folder, card)
    _check_size(folder, card, tensors)
    model = build_network(card)
    load_state(model, tensors, str(folder))
    return LoadedModel(model.eval(), card)


def _check_size(folder: Path, card: Card, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse a card that describes more than the weights hold, before memory is asked for it."""
    import torch

    with torch.device("meta"):  # shapes only
        member = build_network(card.model_copy(update={"members": 1}))
    needed = card.members * sum(tensor.numel() for tensor in member.state_dict().values())
    held = sum(tensor.numel() for tensor in tensors.values())
    if needed > 2 * held + _SMALL:  # what differs less is told tensor by tensor, by load_state
        raise ChromTransferError(
            f"{folder}: the weights belong to another architecture: {CARD} describes {needed:,} numbers, {WEIGHTS} "
            f"holds {held:,}."
        )


def load_network(path: str | Path) -> tuple[ChromTransfer, Card]:
    """Load a checkpoint that must be of one network, e.g. to transfer from it.

    Raises
    ------
    ChromTransferError
        As :func:`load_model`; also if it is an ensemble, whose members' checkpoints are then named.
    """
    from chromtransfer_plugin.models.ensemble import Ensemble

    model, card = load_model(path)
    if isinstance(model, Ensemble):
        names = card.training.get(MEMBERS, [])
        raise ChromTransferError(
            f"{path}: is an ensemble of {card.members} networks, here one is needed: name the checkpoint of one "
            f"member{': ' if names else ''}{', '.join(names)}."
        )
    return model, card


def save_ensemble(
    members: Sequence[str | Path | ChromTransfer], folder: str | Path, card: Card | None = None
) -> Path:
    """Write several networks as one checkpoint, whose logits are the mean of theirs.

    Parameters
    ----------
    members : sequence of path or ChromTransfer
        At least two checkpoints (see :func:`load_model`) or networks of one architecture.
    folder : path
        Created if needed.
    card : Card, optional
        Default: that of the first checkpoint without its ``training``. The checkpoints' paths are added to ``training``
        as ``member_checkpoints``, and ``smoke`` if one comes from a smoke test.

    Raises
    ------
    ChromTransferError
        If the members differ in architecture, outputs, activation or window, one is itself an ensemble, or all are
        networks and there is no card.
    """
    from chromtransfer_plugin.models.chromtransfer import ChromTransfer
    from chromtransfer_plugin.models.ensemble import Ensemble

    networks: list[ChromTransfer] = []
    cards: dict[str, Card] = {}
    for member in members:
        if isinstance(member, ChromTransfer):
            networks.append(member)
        else:
            network, cards[str(member)] = load_network(member)
            networks.append(network)
    ensemble = Ensemble(networks)
    if card is None:
        if not cards:
            raise ChromTransferError("save_ensemble: networks without checkpoints need a card.")
        card = next(iter(cards.values())).model_copy(update={"training": {}})
    for name, other in cards.items():
        _check_same_answers(name, other, card)
    facts: dict[str, Any] = {MEMBERS: list(cards)} if cards else {}
    if any(other.training.get("smoke") is True for other in cards.values()):
        facts["smoke"] = True
    return save_model(ensemble, folder, card.model_copy(update={"training": {**card.training, **facts}}))


def _check_same_answers(name: str, card: Card, ensemble: Card) -> None:
    for key in ("outputs", "activation", "window"):
        ours, theirs = getattr(ensemble, key), getattr(card, key)
        if ours != theirs:
            raise ChromTransferError(
                f"{name}: {key} {theirs} differs from {ours} of the ensemble: members must answer the same question."
            )


def select_outputs(loaded: LoadedModel, outputs: Sequence[str]) -> LoadedModel:
    """Make a model of some outputs of a model that has several, e.g. one cell line of six trained together.

    Its logits are those of the whole model to rounding.

    Parameters
    ----------
    loaded : LoadedModel
        With independent outputs (sigmoid).
    outputs : sequence of str
        Names from ``card.outputs``; the new model has them in this order.

    Raises
    ------
    ChromTransferError
        If a name is unknown or given twice, or the outputs are exclusive classes, whose probabilities depend on all.
    """
    model, card = loaded
    unknown = [name for name in outputs if name not in card.outputs]
    if unknown or not outputs or len(set(outputs)) < len(outputs):
        raise ChromTransferError(
            f"outputs {list(outputs)}: expected one or more different ones of {', '.join(card.outputs)}."
        )
    if card.activation != "sigmoid":
        raise ChromTransferError("the outputs are exclusive classes (softmax): none can be taken out alone.")
    rows = [card.outputs.index(name) for name in outputs]
    architecture = card.architecture.model_copy(update={"n_outputs": len(rows)})
    smaller = Card.model_validate(
        {**card.model_dump(), "architecture": architecture, "outputs": list(outputs), "weights_sha256": ""}
    )
    network = build_network(smaller)
    member = network if smaller.members == 1 else cast("Ensemble", network).members[0]
    last = f".head.{len(cast('ChromTransfer', member).head) - 1}"  # this layer has a row for each output
    tensors = {
        name: tensor[rows] if f".{name}".rpartition(".")[0].endswith(last) else tensor
        for name, tensor in model.state_dict().items()
    }
    load_state(network, tensors, "select_outputs")
    return LoadedModel(network.eval(), smaller)
