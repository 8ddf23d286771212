"""The models that score variants: single ones, and ensembles made of several that are given separately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.prediction.names import NamedModel, check_names, choose_models, columns_of


class Predictor(NamedTuple):
    """One model, or several whose mean logits count as one.

    Attributes
    ----------
    name : str
    members : tuple of NamedModel
    columns : tuple of str
        NAME for one output, NAME.OUTPUT for several.
    """

    name: str
    members: tuple[NamedModel, ...]
    columns: tuple[str, ...]

    @property
    def activation(self) -> str:
        """``sigmoid`` or ``softmax``."""
        return self.members[0].card.activation

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it, for records."""
        return {"name": self.name, "members": [member.facts for member in self.members]}


def choose_predictors(
    models: Sequence[str | Path] = (), ensembles: Sequence[str] = (), taken: Sequence[str] = ()
) -> list[Predictor]:
    """Load models, each a predictor of its own, and ensembles.

    A folder that is named several times, as a model and as a member, gives one network.

    Parameters
    ----------
    models : sequence of str or path
        As :func:`~chromtransfer_plugin.prediction.names.choose_models` takes them.
    ensembles : sequence of str
        ``NAME=MODEL``; those with one NAME are the members of one ensemble. A folder of several models adds all of them.
    taken : sequence of str
        Column names that are used otherwise.

    Returns
    -------
    list of Predictor
        The models, then the ensembles, each in the order given.

    Raises
    ------
    ChromTransferError
        If a model is missing or unusable, a name is not unique, an ensemble has a single member or one twice, or its
        members have other outputs, activations or windows than each other.
    """
    if not models and not ensembles:
        raise ChromTransferError(
            "no model given, expected at least one: --model FOLDER, or --ensemble NAME=FOLDER twice or more."
        )
    single = choose_models(models, taken) if models else []
    predictors = [Predictor(model.name, (model,), model.columns) for model in single]
    given: dict[str, list[str]] = {}
    for text in [ensembles] if isinstance(ensembles, str) else ensembles:
        name, spec = _parts(text)
        given.setdefault(name, []).append(spec)
    check_names("ensemble", list(given))
    known = {model.folder.resolve(): model for model in single}
    for name, specs in given.items():
        predictors.append(_ensemble(name, specs, known))
    _check_unique(predictors, taken)
    for predictor in predictors:
        _check_not_constant(predictor)
    return predictors


def _parts(text: str) -> tuple[str, str]:
    """Split one ``--ensemble``."""
    name, equals, spec = text.partition("=")
    if not equals or not spec:
        raise ChromTransferError(
            f"--ensemble {text}: expected NAME=FOLDER, once for each member: --ensemble mean=fold_0 --ensemble mean=fold_1."
        )
    return name, spec


def _ensemble(name: str, specs: Sequence[str], known: dict[Path, NamedModel]) -> Predictor:
    """Load the members of one ensemble; ``known`` models are not kept twice, and new ones are added to it."""
    members: list[NamedModel] = []
    for spec in specs:
        try:
            found = choose_models(spec)
        except ChromTransferError as error:
            raise ChromTransferError(f"--ensemble {name}={spec}: {error}") from error
        members.extend(known.setdefault(model.folder.resolve(), model) for model in found)
    if len(members) < 2:
        raise ChromTransferError(
            f"--ensemble {name}: has 1 member, {members[0].folder}; expected at least two: --ensemble {name}=FOLDER for "
            f"each. A single model, also one that is an ensemble itself, is given by --model {name}={members[0].folder}."
        )
    by_weights: dict[str, NamedModel] = {}
    for member in members:
        if member.sha256 in by_weights:
            raise ChromTransferError(
                f"--ensemble {name}: {by_weights[member.sha256].folder} and {member.folder} have the same weights and "
                "would count twice. Leave one out."
            )
        by_weights[member.sha256] = member
        _check_same_question(name, members[0], member)
    return Predictor(name, tuple(members), columns_of(name, members[0].card.outputs))


def _check_same_question(name: str, first: NamedModel, member: NamedModel) -> None:
    for key in ("outputs", "activation", "window"):
        ours, theirs = getattr(first.card, key), getattr(member.card, key)
        if ours != theirs:
            raise ChromTransferError(
                f"--ensemble {name}: {key} {theirs} of {member.folder} differs from {ours} of {first.folder}. Members "
                "must answer the same question: give it another ensemble, or --model."
            )


def _check_unique(predictors: Sequence[Predictor], taken: Sequence[str]) -> None:
    """Raise if two predictors, or their columns, have one name."""
    for kind, names in (
        ("models or ensembles", [predictor.name for predictor in predictors]),
        ("columns", [*taken, *(column for predictor in predictors for column in predictor.columns)]),
    ):
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise ChromTransferError(
                f"--ensemble: {count} {kind} would be called '{name}'. Give one another name: --ensemble NAME=FOLDER."
            )


def _check_not_constant(predictor: Predictor) -> None:
    if predictor.activation == "softmax" and len(predictor.columns) == 1:
        raise ChromTransferError(
            f"{predictor.members[0].folder}: has one output that is the only one of its exclusive classes (softmax): its "
            "probability is always 1 and no variant can change it."
        )
