"""Where labels go: near their points, on none of each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Boxes = NDArray[np.float64]  # (n, 4): left, bottom, right, top

_ANGLES = np.deg2rad(np.arange(0, 360, 15))
_DISTANCES = (4, 8, 13, 20, 28, 38, 50, 64, 80, 100, 125, 155)  # points
_GAP = 1.0  # points between two labels
_POINT_COST, _TOUCH_COST, _CROSSING_COST, _THROUGH_COST = 16.0, 5.0, 30.0, 40.0  # in points of distance
_SWEEPS = 3
_LEADER = 7  # points; a label further away gets a line to its point


def place_labels(
    ax: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    labels: Sequence[str],
    fontsize: float,
    around: NDArray[np.floating] | None = None,
) -> list[str]:
    """Write labels beside their points so that none covers another and few cover a point.

    The labels are placed one by one, those of the outermost points first, at the best of 288 places each, and then moved
    again when all are there. Call it when the axes have their final size and limits.

    Parameters
    ----------
    ax : matplotlib Axes
    x, y : ndarray, shape (n,)
        The points, data coordinates.
    labels : sequence of str, length n
    fontsize : float
    around : ndarray, shape (m, 2), optional
        Other points that labels should not cover.

    Returns
    -------
    list of str
        Labels for which there is no room; they are not drawn.
    """
    if not len(labels):
        return []
    points = _in_points(ax, np.column_stack([x, y]))
    others = points if around is None else np.concatenate([points, _in_points(ax, around)])
    sizes = np.array([_size(ax, label, fontsize) for label in labels])
    frame = np.array([ax.bbox.x0, ax.bbox.y0, ax.bbox.x1, ax.bbox.y1]) * 72 / ax.figure.dpi
    chosen: Boxes = np.full((len(labels), 4), np.nan)
    order = np.argsort(-np.linalg.norm(points - points.mean(axis=0), axis=1), kind="stable")
    for _ in range(_SWEEPS):
        for i in order:
            chosen[i] = np.nan
            box = _best(points[i], sizes[i], frame, points, chosen, others)
            if box is not None:
                chosen[i] = box
    for i in order:
        if not np.isnan(chosen[i, 0]):
            _write(ax, (x[i], y[i]), points[i], chosen[i], labels[i], fontsize)
    return [label for label, box in zip(labels, chosen, strict=True) if np.isnan(box[0])]


def spread(wanted: NDArray[np.floating], gap: float, low: float, high: float) -> NDArray[np.float64]:
    """Move ascending numbers as little as needed to be ``gap`` apart, between ``low`` and ``high`` if they fit there."""
    placed = np.asarray(wanted, dtype=np.float64).copy()
    steps = gap * np.arange(len(placed))
    placed = np.maximum.accumulate(np.maximum(placed, low) - steps) + steps
    return np.minimum(placed, high - steps[::-1])


def _in_points(ax: Axes, data: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(ax.transData.transform(data), dtype=np.float64) * 72 / ax.figure.dpi


def _size(ax: Axes, label: str, fontsize: float) -> tuple[float, float]:
    """Width and height of a text in points."""
    text = ax.text(0, 0, label, fontsize=fontsize)
    box = text.get_window_extent()
    text.remove()
    scale = 72 / ax.figure.dpi
    return box.width * scale, box.height * scale


def _best(
    point: NDArray[np.float64],
    size: NDArray[np.float64],
    frame: NDArray[np.float64],
    points: NDArray[np.float64],
    chosen: Boxes,
    others: NDArray[np.float64],
) -> Boxes | None:
    """Return the cheapest place of one label, or None if each lies on another label or outside."""
    distance = np.repeat(np.asarray(_DISTANCES, dtype=np.float64), len(_ANGLES))
    angle = np.tile(_ANGLES, len(_DISTANCES))
    centre = (
        point
        + np.column_stack([np.cos(angle), np.sin(angle)])
        * (distance[:, None] + size / 2)  # the edge, not the centre, is that far away
    )
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    inside = (boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1)
    there = ~np.isnan(chosen[:, 0])
    free = ~_overlap(boxes, chosen[there], _GAP).any(axis=1)
    usable = np.flatnonzero(inside & free)
    if not usable.size:
        return None
    boxes, cost = boxes[usable], distance[usable]
    dots = np.concatenate([others - 2, others + 2], axis=1)
    covered = _overlap(boxes, dots, 1.0).sum(axis=1)
    near = _nearest(point, boxes)
    their_near = _nearest(points[there], chosen[there])
    crossings = _cross(near, point, their_near, points[there]).sum(axis=1)
    through = _through(near, point, chosen[there])
    touched = np.minimum(_through(near, point, dots), 3)  # in a crowd there is no free way
    cost = (
        cost
        + _POINT_COST * covered
        + _TOUCH_COST * touched
        + _CROSSING_COST * crossings
        + _THROUGH_COST * through
    )
    for their_point, their_end in zip(points[there], their_near, strict=True):
        cost = cost + _THROUGH_COST * _line_in_boxes(their_point, their_end, boxes)
    return boxes[int(cost.argmin())]


def _overlap(a: Boxes, b: Boxes, gap: float) -> NDArray[np.bool_]:
    return (
        (a[:, None, 0] < b[None, :, 2] + gap)
        & (b[None, :, 0] < a[:, None, 2] + gap)
        & (a[:, None, 1] < b[None, :, 3] + gap)
        & (b[None, :, 1] < a[:, None, 3] + gap)
    )


def _nearest(point: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Return the place of each box that is nearest to its point."""
    return np.clip(point, boxes[:, :2], boxes[:, 2:])


def _cross(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    other_start: NDArray[np.float64],
    other_end: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether the lines from ``start[i]`` to ``end`` cross those from ``other_start[j]`` to ``other_end[j]``."""

    def side(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
        return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
            c[..., 0] - a[..., 0]
        )

    p, q, r, s = start[:, None], end[None, None], other_start[None], other_end[None]
    apart = np.maximum(side(p, q, r) * side(p, q, s), side(r, s, p) * side(r, s, q))
    return apart < 0


_ALONG = np.linspace(0.05, 0.95, 10)[:, None]


def _through(start: NDArray[np.float64], end: NDArray[np.float64], boxes: Boxes) -> NDArray[np.int64]:
    """How many boxes each line from ``start[i]`` to ``end`` passes."""
    places = start[:, None] + (end - start)[:, None] * _ALONG  # (n, steps, 2)
    flat = places.reshape(-1, 2)
    within = _overlap(np.concatenate([flat, flat], axis=1), boxes, 0.5)
    return within.reshape(len(start), len(_ALONG), -1).any(axis=1).sum(axis=1)


def _line_in_boxes(start: NDArray[np.float64], end: NDArray[np.float64], boxes: Boxes) -> NDArray[np.bool_]:
    places = start + (end - start) * _ALONG
    return np.asarray(np.any(_overlap(boxes, np.concatenate([places, places], axis=1), 0.5), axis=1))


def _write(
    ax: Axes,
    xy: tuple[float, float],
    point: NDArray[np.float64],
    box: Boxes,
    label: str,
    fontsize: float,
) -> None:
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    near = np.clip(point, box[:2], box[2:])
    far = float(np.linalg.norm(point - near)) > _LEADER
    where = (near - box[:2]) / size
    line = {
        "arrowstyle": "-",
        "patchA": None,  # else the line ends 4 points before the label
        "linewidth": 0.5,
        "color": "0.45",
        "shrinkA": 0,
        "shrinkB": 2,
        "relpos": tuple(where),
    }
    ax.annotate(
        label,
        xy,
        xytext=tuple(centre - point),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=fontsize,
        arrowprops=line if far else None,
        zorder=5,
    )
