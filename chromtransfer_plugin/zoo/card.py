"""The model card of a zoo entry: ``README.md``, generated from ``card.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from chromtransfer_plugin.checkpoint import CARD, Card
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.kipoi.description import (
    AUTHORS,
    NOT_STATED,
    SMOKE,
    TAGS,
    VERSION,
    Authors,
    is_smoke,
    technical,
)

README = "README.md"
PRESENTATION = "zoo"  # key of Card.training: what is told about a model beyond what it is and was trained on
_LONGEST = 400  # characters of one value in a table
_TRUNKS = {"motifs": "known motifs and counts of 6-mers (trunk motifs) in the place of the residual trunk"}

_Model = TypeVar("_Model", bound=BaseModel)


class Author(BaseModel):
    """Somebody who made a model, as Kipoi writes them."""

    model_config = ConfigDict(extra="forbid")

    name: str
    github: str | None = None
    email: str | None = None


class Presentation(BaseModel):
    """What Kipoi is told about a model beyond its card."""

    model_config = ConfigDict(extra="forbid")

    doc: str | None = None
    authors: list[str | Author] = list(AUTHORS)
    tags: list[str] = list(TAGS)
    version: str = VERSION

    def plain_authors(self) -> Authors:
        """Names, or mappings of what is known."""
        return [one if isinstance(one, str) else one.model_dump(exclude_none=True) for one in self.authors]

    @classmethod
    def parse(cls, values: Any) -> Presentation:
        """Check values, of a card or of a caller."""
        try:
            return _writable(cls.model_validate(values), f"training.{PRESENTATION}")
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "all of it"
            raise ChromTransferError(
                f"{CARD}: training.{PRESENTATION}: '{key}': {first['msg']}. Expected doc (text), authors (names, or "
                "mappings with name), tags (texts) and version (text)."
            ) from error


def presentation(card: Card) -> Presentation:
    """Read the presentation that a card holds, or the default one."""
    return Presentation.parse(_writable(card, "the card").training.get(PRESENTATION) or {})


def _writable(model: _Model, what: str) -> _Model:
    """Refuse text that no file can hold: half of a character, as broken input gives it."""
    try:
        model.model_dump_json()
    except PydanticSerializationError as error:
        raise ChromTransferError(f"{CARD}: {what} holds text that is not Unicode ({error}).") from error
    return model


def write_readme(folder: Path, name: str, card: Card) -> Path:
    """Write ``README.md`` to the folder of a model of that full name."""
    path = folder / README
    with atomic_path(path) as temporary:
        Path(temporary).write_text(card_text(name, card), encoding="utf-8", newline="\n")
    return path


def card_text(name: str, card: Card) -> str:
    """Write the model card of a model as Markdown; equal cards give equal text.

    Parameters
    ----------
    name : str
        Full name, ``GROUP/NAME``.
    card : Card
    """
    told = presentation(card)
    blocks = [f"# {_line(name)}"]
    if is_smoke(card):
        blocks.append(f"**{SMOKE.strip()}** It comes from a smoke test: its probabilities mean nothing.")
    blocks += [printable(told.doc)] if told.doc and told.doc.strip() else []
    blocks += [
        technical(card),
        _table(("", ""), _facts(card)),
        "## Held-out scores",
        _scores(card),
        "## Use",
        # The package has models of its own that go by the names of the published ones.
        (_USE_FROM if card.source else _USE).format(name=_line(name)),
    ]
    if card.source:
        blocks += ["## Where the weights come from", _table(("", ""), _flat(card.source))]
    blocks += ["## Limits", "\n".join(f"- {limit}" for limit in _limits(card))]
    authors = [author if isinstance(author, str) else author.name for author in told.authors]
    blocks.append(
        f"Authors: {_line(', '.join(authors))}. Version {_line(told.version)}. Generated from `{CARD}`, which has the "
        "whole record."
    )
    return "\n\n".join(blocks) + "\n"


_USE = """\
```
chromtransfer zoo install {name}
chromtransfer predict --model {name} --bed regions.bed --genome hg38.fa --out predictions.tsv
chromtransfer zoo test {name}
```"""
_USE_FROM = """\
ZOO is the folder that holds `{name}`. Without it, a model that comes with the package may go by this name.

""" + _USE.replace("install {name}", "install --from ZOO {name}")


class Score(NamedTuple):
    """Held-out scores of one output, or of all of them."""

    where: str  # the split, e.g. test
    output: str  # empty: all outputs
    values: dict[str, Any]


def scores(card: Card) -> list[Score]:
    """Read the held-out scores that the run record on a card holds, in its order.

    They are in ``training["scores"]``: for each split the scores, or for each output of a split.
    """
    return list(_score_rows(card, "", "", card.training.get("scores")))


def _score_rows(card: Card, where: str, output: str, values: Any) -> Iterator[Score]:
    if not isinstance(values, Mapping):
        return
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    if any(isinstance(value, int | float) for value in plain.values()):
        only = card.outputs[0] if len(card.outputs) == 1 else ""
        yield Score(where, output or only, plain)
    for key, below in values.items():
        if key in card.outputs:
            yield from _score_rows(card, where, key, below)
        else:
            yield from _score_rows(card, f"{where} {key}".strip(), output, below)


def _scores(card: Card) -> str:
    rows = scores(card)
    if not rows:
        return "None are recorded for this model."
    known = ("n", "positives", "auroc", "auroc_interval", "average_precision", "description")
    lines = []
    for row in rows:
        others = [f"{key} {_number(value)}" for key, value in row.values.items() if key not in known]
        lines.append(
            (
                row.where,
                row.output or "all",
                _number(row.values.get("n", "")),
                _number(row.values.get("positives", "")),
                _number(row.values.get("auroc", "")) + _interval(row.values.get("auroc_interval")),
                _number(row.values.get("average_precision", "")),
                "; ".join([*others, *filter(None, [str(row.values.get("description", ""))])]),
            )
        )
    return _table(
        (
            "set",
            "output",
            "windows",
            "positive",
            "AUROC (95 % interval)",
            "average precision",
            "remarks",
        ),
        lines,
    )


def _facts(card: Card) -> list[tuple[str, str]]:
    network = card.architecture
    hidden = "-".join(map(str, network.head)) or "none"
    trunk = _TRUNKS.get(network.trunk, f"{network.trunk} trunk")
    if network.trunk == "residual":
        trunk += f" of width {network.width:g}" + (
            "" if network.cut == "last_conv" else f" up to {network.cut}"
        )
    members = "" if card.members == 1 else f"; mean logit of {card.members} such networks"
    kind = "exclusive classes, softmax" if card.activation == "softmax" else "sigmoid"
    rows = [
        ("Input", f"{card.window} bp of DNA, one-hot (4, {card.window}) in the order A, C, G, T"),
        ("Outputs", f"{', '.join(card.outputs)} ({kind})"),
        ("Network", f"ChromTransfer, {trunk}, hidden layers of the head: {hidden}{members}"),
        ("Trained on", card.trained_on or NOT_STATED),
    ]
    rows += [("Windows", windows)] if (windows := window_text(card)) else []
    rows += [("Procedure", procedure)] if (procedure := _procedure(card)) else []
    return [
        *rows,
        ("Licence", card.license),
        ("Cite", card.cite_as),
        ("Written by", card.created_by),
        ("SHA-256 of the weights", f"`{card.weights_sha256}`"),
    ]


def window_text(card: Card) -> str:
    """Say on how many windows a model was trained and validated; empty if the card does not."""
    own = _windows(card.training)
    if own or card.members == 1:
        return own
    each = dict.fromkeys(filter(None, map(_windows, member_records(card))))
    return "each network: " + "; or ".join(each) if each else ""


def member_records(card: Card) -> list[Mapping[str, Any]]:
    """Give the run records of an ensemble's networks, as far as the card has them."""
    members = card.training.get("members")
    return [one for one in members if isinstance(one, Mapping)] if isinstance(members, list) else []


def _windows(record: Mapping[str, Any]) -> str:
    parts = []
    for split, verb in (("train", "trained"), ("validation", "validated")):
        n, positives = (record.get(f"{split}_{key}") for key in ("windows", "positives"))
        if isinstance(n, int):
            some = f" ({positives:,} positive)" if isinstance(positives, int) else ""
            parts.append(f"{verb} on {n:,}{some}")
    return ", ".join(parts)


def _procedure(card: Card) -> str:
    keys = ("protocol", "pretrained", "seed")
    return "; ".join(f"{key} {card.training[key]}" for key in keys if card.training.get(key) is not None)


def _limits(card: Card) -> list[str]:
    limits = [f"Trained on: {_line(card.trained_on) or NOT_STATED}"]
    if not scores(card):
        limits.append("No held-out scores are recorded: nothing here says how good it is.")
    n, positives = (card.training.get(f"train_{key}") for key in ("windows", "positives"))
    if (
        isinstance(n, int)
        and isinstance(positives, int)
        and 0 < positives <= n
        and card.activation == "sigmoid"
    ):
        limits.append(
            f"{positives / n:.0%} of its training windows are positive: where the share is another, as in a whole genome, "
            "take its probabilities as ranks."
        )
    return [
        *limits,
        f"It was made for windows of {card.window} bp; other lengths and other genomes are untested.",
        "A window without any known base (A, C, G, T) gets no probability but NaN.",
    ]


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{key}.")
        else:
            rows.append((f"{before}{key}", str(value)))
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    line = _line(text)
    return (line if len(line) <= _LONGEST else line[:_LONGEST] + " ...").replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Drop characters that steer a terminal: a card is printed, and may come from somebody else."""
    return "".join(letter for letter in text.strip() if letter.isprintable() or letter in "\n\t")


def _number(value: Any) -> str:
    return (
        f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )


def _interval(value: Any) -> str:
    if not (isinstance(value, list | tuple) and len(value) == 2):
        return ""
    return f" ({_number(value[0])} to {_number(value[1])})"
