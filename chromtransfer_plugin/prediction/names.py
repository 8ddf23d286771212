"""Which models to run: paths and names to loaded networks with unique names and columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chromtransfer_plugin.checkpoint import CARD, WEIGHTS, Card, find_checkpoint, load_model, sha256
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import require_short

if TYPE_CHECKING:
    from chromtransfer_plugin.checkpoint import Network

BEST = "best_model"
_FILES = (
    ".h5",
    ".hdf5",
    ".tar",
    ".pth",
    ".pt",
)  # of other programs; find_checkpoint says what to do with them


class NamedModel(NamedTuple):
    """A loaded model and what its results are called."""

    name: str
    folder: Path
    network: Network
    card: Card
    sha256: str  # of the weights
    columns: tuple[str, ...]  # NAME for one output, NAME.OUTPUT for several

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies the model and what it computes, for records."""
        return {
            "name": self.name,
            "weights_sha256": self.sha256,
            "outputs": self.card.outputs,
            "activation": self.card.activation,
        }


def choose_models(specs: str | Path | Sequence[str | Path], taken: Sequence[str] = ()) -> list[NamedModel]:
    """Load the models meant by ``specs``.

    Parameters
    ----------
    specs : str, path or sequence of them
        Each is a folder that :func:`~chromtransfer_plugin.checkpoint.load_model` reads, a folder of such folders
        (all models in it), the name of an installed or packaged model, or one of the first and last with ``NAME=``
        in front.
    taken : sequence of str
        Column names that are used otherwise.

    Raises
    ------
    ChromTransferError
        If a model is missing or unusable, or a name is not unique or not usable as a column.
    """
    given = [specs] if isinstance(specs, str | Path) else list(specs)
    if not given or "" in given:
        raise ChromTransferError("no model given, expected at least one: --model FOLDER.")
    for spec in given:
        require_short(Path(spec))
    found = [pair for spec in given for pair in _resolved(str(spec))]
    check_names("model", [name for name, _ in found])
    models = []
    for name, folder in found:
        network, card = load_model(folder)
        columns = columns_of(name, card.outputs)
        models.append(NamedModel(name, folder, network, card, sha256(folder / WEIGHTS), columns))
    _check_columns([column for model in models for column in model.columns], taken)
    return models


def columns_of(name: str, outputs: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of a model's outputs: NAME for one output, NAME.OUTPUT for several."""
    return (name,) if len(outputs) == 1 else tuple(f"{name}.{output}" for output in outputs)


def _resolved(spec: str) -> list[tuple[str, Path]]:
    """Give name and checkpoint folder of each model meant by one ``--model``."""
    folders = _folders(spec)
    if folders:
        return [(_name_of(folder), folder) for folder in folders]
    name, equals, rest = spec.partition("=")
    if equals:
        folders = _folders(rest)
        if len(folders) > 1:
            raise ChromTransferError(
                f"--model {spec}: {rest} holds {len(folders)} models, one name cannot serve for all. "
                f"Name one of them: {name}={folders[0]}"
            )
        return [(name, folders[0] if folders else _missing(rest))]
    return [(spec, _missing(spec))]


def _folders(spec: str) -> list[Path]:
    path = Path(spec).expanduser()
    if path.exists():
        try:
            return [find_checkpoint(path)]
        except ChromTransferError:
            # Hidden ones are what a kill left of an import.
            inside = sorted(card.parent for card in path.glob(f"[!.]*/{CARD}"))
            if inside:
                return inside
            if any((path / file).exists() for file in (CARD, WEIGHTS)):
                raise  # half a model; one of the package may go by the same name
    installed = _installed(spec)
    return [installed] if installed is not None else []


def _installed(name: str) -> Path | None:
    from chromtransfer_plugin.zoo.source import find_model

    return find_model(name)


def _missing(spec: str) -> Path:
    """Raise what is wrong with a path that is no model."""
    from chromtransfer_plugin.zoo.source import get_entry

    path = Path(spec).expanduser()
    if path.exists() or path.suffix in _FILES:
        return find_checkpoint(path)
    return get_entry(spec).folder


def _name_of(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name == BEST else folder.name


def check_names(kind: str, names: Sequence[str]) -> None:
    """Raise if what is given by the option ``--KIND`` has a name twice, or one that cannot be used in files."""
    example = f"--{kind} NAME={'FILE' if kind == 'set' else 'FOLDER'}"
    for name, count in Counter(names).items():
        if count > 1:
            raise ChromTransferError(
                f"--{kind}: {count} {kind}s are called '{name}'. Give them names: {example}."
            )
        if (
            name in ("", ".", "..")
            or name != name.strip()
            or any(not letter.isprintable() or letter == "/" for letter in name)
        ):
            raise ChromTransferError(
                f"--{kind}: the name {name!r} cannot head a column or name a file. Give another: {example}."
            )


def _check_columns(columns: list[str], taken: Sequence[str]) -> None:
    for column, count in Counter(columns).items():
        if count > 1 or column in taken:
            used = "is a column of the regions" if column in taken else f"would head {count} columns"
            raise ChromTransferError(
                f"--model: '{column}' {used}. Give the model another name: --model NAME=FOLDER."
            )
