"""Small pieces of HTML. Whatever comes from a file goes through :func:`escape`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from chromtransfer_plugin.evaluation.record import Measure
from chromtransfer_plugin.evaluation_report.rules import Level

UNKNOWN = "–"
# A sign beside the word, because colour alone does not reach everybody.
_BADGES: dict[Level, tuple[str, str]] = {
    "usable": ("usable", "✓"),
    "usable for ranking": ("ranking", "≈"),
    "weak": ("weak", "△"),
    "broken": ("broken", "✕"),
    "cannot tell": ("unknown", "?"),
}


def escape(text: object) -> str:
    """Escape text for markup and attributes; lone surrogates and control characters become ``�``."""
    kept = "".join(
        c if c in "\n\t" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000) else "�" for c in str(text)
    )
    return html.escape(kept)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a true minus sign; a dash if it is not known."""
    return UNKNOWN if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """Write a difference, with its sign."""
    return UNKNOWN if value is None else f"{value:+.{digits}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Write a P-value or q shortly."""
    return UNKNOWN if value is None else "< 1e-300" if value < 1e-300 else f"{value:.2g}"


def measure(one: Measure, digits: int = 3, sign: bool = False) -> str:
    """Write a value and, smaller, its interval."""
    write = signed if sign else number
    if one.value is None or one.low is None or one.high is None:
        return write(one.value, digits)
    return f'{write(one.value, digits)} <span class="interval">[{write(one.low, digits)}, {write(one.high, digits)}]</span>'


def badge(level: Level) -> str:
    """Write a level with its sign."""
    kind, sign = _BADGES[level]
    return f'<span class="badge {kind}"><span aria-hidden="true">{sign}</span> {level}</span>'


def plain_badge(word: str) -> str:
    """Write a word in the form of a badge that judges nothing."""
    return f'<span class="badge unknown">{escape(word)}</span>'


def level_class(level: Level) -> str:
    """Return the CSS class of a level."""
    return _BADGES[level][0]


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text: Sequence[int] = (),
    stack: bool = True,
    kind: str = "",
) -> str:
    """Make a table that scrolls inside its own box.

    Parameters
    ----------
    caption : str
        Text.
    heads : sequence of str
        Text of the columns' heads; the first names the rows.
    rows : iterable of sequence of str
        Markup of the cells.
    text : sequence of int
        Columns that hold no numbers.
    stack : bool
        On narrow screens, one below another instead of side by side.
    kind : str
        Another CSS class of the box.

    Returns
    -------
    str
        Markup; a sentence if there is no row.
    """
    body = []
    for row in rows:
        cells = [f'<th scope="row">{row[0]}</th>']
        for i, cell in enumerate(row[1:], start=1):
            align = "" if i in text else ' class="number"'
            cells.append(f'<td{align} data-label="{escape(heads[i])}"><span>{cell}</span></td>')
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    if not body:
        return f'<p class="note">{escape(caption)}: none.</p>\n'
    head = "".join(
        f'<th scope="col"{"" if i == 0 or i in text else " class=number"}>{escape(name)}</th>'
        for i, name in enumerate(heads)
    )
    kinds = " ".join(["scroll", *(["stack"] if stack else []), *([kind] if kind else [])])
    return (
        f'<div class="{kinds}" tabindex="0" role="region" aria-label="{escape(caption)}"><table>\n'
        f"<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(body)}</tbody></table></div>\n"
    )


def details(summary: str, body: str, *, opened: bool = False, name: str = "") -> str:
    """Fold something away: ``summary`` and ``body`` are markup, ``name`` an anchor."""
    anchor = f' id="{escape(name)}"' if name else ""
    return f"<details{anchor}{' open' if opened else ''}><summary>{summary}</summary>\n{body}</details>\n"


def note(text: str) -> str:
    """Write a small paragraph; what stands between backticks becomes code."""
    marked = re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))
    return f'<p class="note">{marked}</p>\n'
