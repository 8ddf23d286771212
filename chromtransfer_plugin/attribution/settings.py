"""Every setting of an attribution with its default, stated once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chromtransfer_plugin.attribution.mutagenesis import Select
from chromtransfer_plugin.attribution.mutagenesis_methods import Method
from chromtransfer_plugin.attribution.objective import Objective
from chromtransfer_plugin.errors import ChromTransferError, reject_unknown

MethodName = Literal["gradient-x-input", "integrated-gradients", "deep-lift-shap", "ism"]
Baseline = Literal["zero", "shuffled"]

# What changes the scores of one method and not of the others.
METHOD_SETTINGS: dict[str, tuple[str, ...]] = {
    "gradient-x-input": (),
    "integrated-gradients": ("steps", "baseline", "references", "seed"),
    "deep-lift-shap": ("references", "seed"),
    "ism": ("select", "ism_method"),
}

_Positive = Annotated[int, Field(strict=True, ge=1)]


class Settings(BaseModel):
    """What to compute, for :func:`~chromtransfer_plugin.attribution.methods.attribute_codes`.

    Each method reads the settings that concern it and no others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: MethodName = "gradient-x-input"
    objective: Objective = "logit"  # the paper used probability
    select: Select = "largest"  # ism: which of the three differences stands for a base
    ism_method: Method = "auto"
    steps: _Positive = (
        50  # integrated-gradients: intervals between baseline and sequence, as in the paper's option
    )
    baseline: Baseline = "zero"  # integrated-gradients: where the path begins
    references: _Positive = 20  # shuffles of each sequence: deep-lift-shap, and baseline: shuffled
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 1  # of the shuffles
    batch_size: _Positive | None = None  # sequences, or for ism mutants, at once; None fits method and device


def parse_settings(**values: Any) -> Settings:
    """Make settings of what a user wrote.

    Raises
    ------
    ChromTransferError
        Naming the first setting that is unknown or not usable, and what was expected.
    """
    reject_unknown("attribution", values, Settings.model_fields)
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        raise ChromTransferError(
            f"attribution: {name}={first['input']!r} is not usable: {first['msg']}."
        ) from error


def reject_unused(settings: Settings, given: Iterable[str]) -> None:
    """Raise if a user gave a setting that the method does not read, and so may wait for what it would do."""
    read = METHOD_SETTINGS[settings.method]
    for name in given:
        methods = [method for method, names in METHOD_SETTINGS.items() if name in names]
        if methods and name not in read:
            raise ChromTransferError(
                f"attribution: {name} has no use with method {settings.method}, but with {', '.join(methods)}."
            )
