"""One HTML file with style, script and data inside."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from typing import Any

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.report.data import page_data

TOP = 200  # windows
_SCRIPTS = ("core.js", "motif_table.js", "motif_detail.js", "region_list.js", "region_tracks.js", "start.js")


def write_report(
    comparison: Comparison,
    path: str | Path,
    *,
    top: int = TOP,
    title: str | None = None,
) -> Path:
    """Write a page to browse the motifs and windows of an analysis.

    The page is one file that loads nothing: it can be mailed, and opened from a disk without a network. The same input
    gives the same bytes.

    Parameters
    ----------
    comparison : Comparison
        Of one model or of two.
    path : str or path
        The HTML file.
    top : int
        How many windows are chosen by their attribution (two models: by the sum of |A - B| over the bases; one: of |A|).
        Up to 600 windows with the motifs' extreme sites are added. A window takes about 5 kB.
    title : str, optional
        Title of the page.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ChromTransferError
        If ``top`` is not a whole number above 0, or the file cannot be written.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ChromTransferError(
            f"report: top={top!r} windows: expected a whole number above 0, for example {TOP}."
        )
    if title is None:
        models = comparison.a if comparison.b is None else f"{comparison.a} and {comparison.b}"
        title = f"Motifs read by {models}"
    page = render(page_data(comparison, top, title))
    target = Path(path)
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def render(data: Mapping[str, Any]) -> str:
    """Put data (see :func:`~chromtransfer_plugin.report.data.page_data`) into the page."""
    style = page_part("page.css")
    script = '"use strict";\n' + "\n".join(page_part(name) for name in _SCRIPTS)
    return Template(page_part("page.html")).substitute(
        title=html.escape(data["title"]),
        style=style,
        style_hash=policy_hash(style),
        script=script,
        script_hash=policy_hash(script),
        data=embedded_json(data),
    )


def embedded_json(data: Mapping[str, Any]) -> str:
    """JSON that no name in the data can end or turn into markup: ``<``, ``>`` and ``&`` are escaped by number."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_part(name: str) -> str:
    """Read a file of this package that becomes part of a page: markup, style or script."""
    return package_files("chromtransfer_plugin.report").joinpath(name).read_text(encoding="utf-8").strip()


def policy_hash(text: str) -> str:
    """How a content security policy names the one style and the one script it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
