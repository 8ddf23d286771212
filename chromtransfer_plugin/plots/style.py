"""What all figures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Styles = Sequence[tuple[str, Any]]  # colour and line style
# Okabe and Ito's palette, safe for the common colour-vision deficiencies. Line styles and letter shapes
# carry the same information a second time.
LINES: Styles = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#E69F00", (0, (5, 1, 1, 1, 1, 1))),
    ("#56B4E9", (0, (1, 1))),
)
DIFFERENCE: Styles = (("0.25", "-"),)  # of two models: no model's colour
BASES = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}
FONT = 10  # points
DPI = 150


def tidy(ax: Axes) -> None:
    """Remove the frame above and to the right, and set the size of the tick labels."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=FONT - 1)


def say(
    ax: Axes, message: str, x: float = 0.5, y: float = 0.5, ha: Literal["center", "right"] = "center"
) -> None:
    """Write into a panel, at shares of its width and height, why it is empty."""
    ax.text(x, y, message, transform=ax.transAxes, ha=ha, va="center", fontsize=FONT, color="0.35")
