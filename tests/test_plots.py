"""Figures: what is drawn is read back from the axes; nothing overlaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots import LogoPanel, demo_figure, plot_logo, plot_roc


@pytest.fixture
def figure() -> Figure:
    figure = Figure(figsize=(10, 3))
    FigureCanvasAgg(figure)
    return figure


def test_roc_passes_through_the_hand_computed_points(figure: Figure) -> None:
    ax = figure.add_subplot()
    plot_roc(ax, {"model": ([0, 1, 0, 1], [0.1, 0.4, 0.6, 0.9]), "constant": ([0, 1], [0.5, 0.5])}, "HepG2")
    curve = ax.get_lines()[1].get_xydata().tolist()
    assert [point for point in [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]] if point not in curve] == []
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["model: 0.750", "constant: 0.500"]
    assert ax.get_title() == "HepG2"
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.get_lines()[1:]}
    assert len(styles) == 2


def test_roc_of_one_class_is_refused(figure: Figure) -> None:
    with pytest.raises(ChromTransferError, match="'alone': needs examples of both"):
        plot_roc(figure.add_subplot(), {"alone": ([1, 1], [0.2, 0.3])})


def test_logo_letters_stand_at_their_position_with_their_height(figure: Figure) -> None:
    ax = figure.add_subplot()
    codes = np.array([2, 4, 0, 3], dtype=np.uint8)  # G N A T
    plot_logo(ax, codes, np.array([0.5, 0.7, -0.25, 0.1]), start=1000)
    boxes = [patch.get_path().get_extents() for patch in ax.patches]
    letters = {round((box.x0 + box.x1) / 2): (box.y0, box.y1) for box in boxes if box.height > 1e-9}
    assert sorted(letters) == [1000, 1002, 1003]  # the N has no letter
    assert letters[1000] == pytest.approx((0.0, 0.5), abs=1e-6)
    assert letters[1002] == pytest.approx((-0.25, 0.0), abs=1e-6)
    assert letters[1003] == pytest.approx((0.0, 0.1), abs=1e-6)
    assert ax.get_xlim() == (999.5, 1003.5)


def test_negative_letters_are_darker_and_paler(figure: Figure) -> None:
    ax = figure.add_subplot()
    plot_logo(ax, np.zeros(2, np.uint8), np.array([1.0, -1.0]))
    up, down = sorted(ax.patches, key=lambda letter: -letter.get_path().get_extents().y1)
    assert up.get_alpha() == 1
    assert down.get_alpha() == pytest.approx(0.7)
    np.testing.assert_allclose(down.get_facecolor()[:3], 0.6 * np.array(up.get_facecolor()[:3]))


def test_logo_takes_codes_and_one_hot_alike(figure: Figure) -> None:
    codes, scores = np.array([0, 1, 2, 3, 4], dtype=np.uint8), np.linspace(-1, 1, 5)
    one_hot = np.stack([codes == base for base in range(4)]).astype(np.float32)
    extents = []
    for i, sequence in enumerate((codes, one_hot)):
        ax = figure.add_subplot(1, 2, i + 1)
        plot_logo(ax, sequence, scores)
        extents.append([patch.get_path().get_extents().bounds for patch in ax.patches])
    np.testing.assert_allclose(extents[0], extents[1])
    assert len(extents[0]) > 0


def test_wrong_shapes_are_named(figure: Figure) -> None:
    with pytest.raises(ChromTransferError, match=r"got \(5,\) and \(4,\)"):
        plot_logo(figure.add_subplot(), np.zeros(5, np.uint8), np.zeros(4))


def test_highlights_cover_their_half_open_range_and_labels_never_overlap(figure: Figure) -> None:
    ax = figure.add_subplot()
    rng = np.random.default_rng(0)
    sites = [
        (3, 8, "TAL1::TCF3 (+)"),
        (8, 13, "TAL1::TCF3 (-)"),
        (13, 18, "HNF4A (+)"),
        (74, 80, "FOXA1 (-)"),
    ]
    plot_logo(ax, rng.integers(0, 4, 80).astype(np.uint8), rng.random(80), 0, sites)
    spans = sorted(p.get_x() for p in ax.patches if hasattr(p, "get_x"))
    assert spans == [2.5, 7.5, 12.5, 73.5]
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 for box in boxes)
    top_of_letters = ax.transData.transform((0, 1.0))[1]
    assert min(box.y0 for box in boxes) >= top_of_letters


def test_zoom_centres_on_the_attribution_and_clips_highlights() -> None:
    scores = np.zeros(600)
    scores[300:310] = -1.0
    codes = (np.arange(600) % 4).astype(np.uint8)
    sites = [(5300, 5310, "in"), (5338, 5348, "cut"), (5343, 5400, "stub"), (5400, 5410, "out")]
    panel = LogoPanel("x", codes, scores, 5000, sites).zoom(80)
    assert panel.start == 5265
    assert (panel.codes == codes[panel.start - 5000 : panel.start - 4920]).all()
    assert np.abs(panel.scores).sum() == 10
    end = panel.start + 80
    assert panel.highlights == [(5300, 5310, "in"), (5338, end, "cut"), (5343, end, "")]


def test_zoom_of_a_short_window_keeps_it() -> None:
    panel = LogoPanel("x", np.zeros(20, np.uint8), np.ones(20), 7, [(0, 10, "a")])
    assert panel.zoom(80).start == 7
    assert len(panel.zoom(80).scores) == 20
    assert panel.zoom(80).highlights == [(7, 10, "")]


def test_demo_figure_is_written_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 50)
    curves = {"fine-tuned": (y, rng.random(50) + y), "from scratch": (y, rng.random(50))}
    logo = LogoPanel("chr2", rng.integers(0, 4, 600).astype(np.uint8), rng.random(600), 1_000, [])
    path, open_before = tmp_path / "demo.png", plt.get_fignums()
    demo_figure(path, {"HepG2": curves, "K562": curves}, [logo, logo], dpi=40)
    image = imread(path)
    assert image.shape[:2] == (round(40 * (4.2 + 2 * 2.3)), 40 * 11)
    assert image[..., :3].std() > 0.05  # something is drawn
    assert [p.name for p in tmp_path.iterdir()] == ["demo.png"]
    assert plt.get_fignums() == open_before  # nothing is left in pyplot's global state


def test_demo_figure_needs_panels(tmp_path: Path) -> None:
    with pytest.raises(ChromTransferError, match="got 0 and 0"):
        demo_figure(tmp_path / "x.png", {}, [])
