"""What `chromtransfer zoo list` shows."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chromtransfer_plugin.zoo.card import member_records, printable, scores
from chromtransfer_plugin.zoo.source import ZooEntry, existing_source, search_path, verify

_MOST_OUTPUTS = 3  # named in the table
_LICENCE = 24  # characters of it in the table


def overview(source: str | Path | None = None) -> list[dict[str, Any]]:
    """Describe every model of a source, or of all sources that names are looked up in.

    Parameters
    ----------
    source : path, optional

    Returns
    -------
    list of dict
        ``source``, ``name``, ``folder``, ``bytes`` and ``problem`` (empty: none, and the weights fit their SHA-256);
        of a model whose card can be read also ``outputs`` (list), ``activation``, ``network``, ``members``,
        ``windows`` (trained on; of the first network if only the records of an ensemble's networks say so; None if not
        recorded), ``auroc`` (mean over the outputs of the first split; None) and
        ``license``.

    Raises
    ------
    ChromTransferError
        If ``source`` is none.
    """
    sources = search_path() if source is None else [existing_source(source)]
    return [_describe(place.path, entry) for place in sources for entry in place.entries()]


def _describe(source: Path, entry: ZooEntry) -> dict[str, Any]:
    row: dict[str, Any] = {
        "source": str(source),
        "name": entry.name,
        "folder": str(entry.folder),
        "bytes": entry.size,
        "problem": verify(entry),
    }
    card = entry.card
    if card is None:
        return row
    counts = [record.get("train_windows") for record in (card.training, *member_records(card))]
    return row | {
        "outputs": list(card.outputs),
        "activation": card.activation,
        "network": card.architecture.trunk,
        "members": card.members,
        "windows": next((n for n in counts if isinstance(n, int)), None),
        "auroc": _mean_auroc(entry),
        "license": card.license,
    }


def _mean_auroc(entry: ZooEntry) -> float | None:
    rows = scores(entry.card) if entry.card is not None else []
    values = [row.values.get("auroc") for row in rows if row.where == rows[0].where]
    numbers = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) / len(numbers) if numbers else None


def overview_text(rows: Sequence[dict[str, Any]]) -> str:
    """Write an :func:`overview` as one table for each source."""
    if not rows:
        return "no models; `chromtransfer zoo install` and `zoo pull` get some, `zoo add` makes one"
    blocks = []
    for source in dict.fromkeys(row["source"] for row in rows):
        here = [row for row in rows if row["source"] == source]
        head = ("model", "outputs", "network", "windows", "AUROC", "licence", "MB")
        blocks.append(f"{source}\n" + aligned([head, *map(_line, here)]))
        blocks += [f"  DAMAGED {row['name']}: {row['problem']}" for row in here if row["problem"]]
    return printable("\n".join(blocks))


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    size = f"{row['bytes'] / 1e6:.1f}"
    if "outputs" not in row:
        return row["name"], "damaged", "", "", "", "", size
    outputs, members = row["outputs"], row["members"]
    more = f", ... ({len(outputs)})" if len(outputs) > _MOST_OUTPUTS else ""
    return (
        row["name"] + (" (damaged)" if row["problem"] else ""),
        ", ".join(outputs[:_MOST_OUTPUTS]) + more,
        row["network"] + (f" x {members}" if members > 1 else ""),
        "" if row["windows"] is None else f"{row['windows']:,}",
        "" if row["auroc"] is None else f"{row['auroc']:.3f}",
        textwrap.shorten(row["license"], _LICENCE, placeholder=" ..."),
        size,
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Write rows of texts, each put on one line, as columns of equal width."""
    rows = [[" ".join(text.split()) for text in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    return "\n".join(f"  {line}" for line in lines)
