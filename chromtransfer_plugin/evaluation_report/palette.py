"""One colour and line style for each model over the whole page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from chromtransfer_plugin.plots.style import LINES

Style: TypeAlias = tuple[str, Any]
Palette: TypeAlias = Mapping[str, Style]

# Two more dark colours that Okabe and Ito's six are told apart from; after eight models colours come again.
_STYLES: tuple[Style, ...] = (*LINES, ("#000000", "-"), ("#7A4B9E", (0, (7, 2))))
_DASHES = ("-", "--", "-.", ":")
_NAMED = {"-": "", "--": "7 3", "-.": "8 3 2 3", ":": "2 3"}


def make_palette(models: Iterable[str]) -> dict[str, Style]:
    """Give each model its style, in the order of their first appearance."""
    palette: dict[str, Style] = {}
    for model in models:
        if model not in palette:
            turn, at = divmod(len(palette), len(_STYLES))
            color, line = _STYLES[at]
            palette[model] = (color, line if turn == 0 else _DASHES[(at + turn) % len(_DASHES)])
    return palette


def swatch(style: Style) -> str:
    """Draw a short piece of a model's line, for keys."""
    color, line = style
    dashes = _NAMED[line] if isinstance(line, str) else " ".join(f"{2 * part:g}" for part in line[1])
    pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        '<svg class="swatch" viewBox="0 0 30 10" aria-hidden="true">'
        f'<line x1="1" y1="5" x2="29" y2="5" stroke="{color}" stroke-width="3"{pattern}/></svg>'
    )
