"""The models that score variants: single ones, and ensembles made of several that are given separately."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chromtransfer_plugin.prediction.names import NamedModel


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

    Parameters
    ----------
    models : sequence of str or path
        As :func:`~chromtransfer_plugin.prediction.names.choose_models` takes them.
    ensembles : sequence of str
        ``NAME=MODEL``; those with one NAME are the members of one ensemble. A folder of several models adds all of them.
    taken : sequence of str
        Column names that are used otherwise.

    Raises
    ------
    ChromTransferError
        If a model is missing or unusable, a name is not unique, an ensemble has a single member, or its members have
        other outputs, activations or windows than each other.
    """
    raise NotImplementedError
