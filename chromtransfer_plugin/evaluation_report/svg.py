"""Matplotlib figures as SVG inside a page whose policy allows no style attributes."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import TYPE_CHECKING

from chromtransfer_plugin.evaluation_report.markup import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (3.6, 3.5)  # inches; at 10 points, text is readable where a panel is as wide as a phone
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_KEPT = {  # style properties that are attributes of the same name and the same meaning
    "fill", "fill-opacity", "opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-dashoffset", "stroke-linecap", "stroke-linejoin", "font-size", "font-weight", "font-style", "text-anchor",
}  # fmt: skip


def panel(draw: Callable[[Axes], None], name: str, described: str, size: tuple[float, float] = PANEL) -> str:
    """Draw one panel.

    Parameters
    ----------
    draw : callable
        Draws on the axes that it is given.
    name : str
        Its own on the page: what it refers to inside has names made from it, so equal figures have equal bytes.
    described : str
        What the figure shows, for readers who do not see it.
    size : (float, float)
        Width and height in inches.

    Returns
    -------
    str
        An ``<svg>`` element that is as wide as there is room.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Text stays text, and a dollar sign in a name is no formula.
    settings = {"svg.hashsalt": name, "svg.fonttype": "none", "text.parse_math": False, "path.simplify": True}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        stream = io.StringIO()
        with (
            warnings.catch_warnings()
        ):  # text stays text, so what this machine's fonts lack is for the reader's to draw
            warnings.filterwarnings("ignore", message="Glyph")
            canvas.print_svg(stream, metadata={"Date": None})
    return _inline(stream.getvalue(), described)


def _inline(document: str, described: str) -> str:
    root = ElementTree.fromstring(document)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    text = ElementTree.tostring(root, encoding="unicode")
    referred = set(re.findall(r"#([A-Za-z0-9_]+)", " ".join(re.findall(r'(?:href|clip-path)="[^"]*"', text))))
    for element in root.iter():
        _plain(element, referred)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "role": "img",
            "aria-label": described,
            "stroke-linejoin": "round",
        }
    )
    return ElementTree.tostring(root, encoding="unicode")


def _plain(element: ElementTree.Element, referred: set[str]) -> None:
    """Drop name spaces, names that nothing refers to and digits that cannot be seen; make style properties attributes."""
    element.tag = element.tag.rpartition("}")[2]
    if _HREF in element.attrib:
        element.attrib["href"] = element.attrib.pop(_HREF)
    if element.attrib.get("id") not in referred:
        element.attrib.pop("id", None)
    for part in element.attrib.pop("style", "").split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if key in _KEPT and (key, value) != ("stroke-dashoffset", "0"):
            element.attrib[key] = value
    for key in ("d", "x", "y", "transform"):
        if key in element.attrib:
            value = " ".join(element.attrib[key].split())
            element.attrib[key] = _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", value)
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if element.text is not None and not element.text.strip():
        element.text = None
    element.tail = None


def figure(picture: str, caption: str) -> str:
    """Put a caption (text) below a picture (markup)."""
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>\n"
