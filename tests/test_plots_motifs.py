"""Figures of motifs: what is drawn is read back from the axes, and no label lies on another."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.stats import gaussian_kde, ks_2samp

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.plots import (
    file_names,
    plot_density,
    plot_distances,
    plot_ecdf,
    plot_mean_profile,
    plot_motif,
    plot_ranks,
    plot_sequence,
    plot_sites,
    plot_track,
    plot_tracks,
    plot_zoom,
    score_name,
    short_names,
)
from chromtransfer_plugin.plots.distributions import density, ecdf_steps
from chromtransfer_plugin.plots.names import in_words, signed, site_score_name
from chromtransfer_plugin.plots.placing import spread


def axes(width: float = 7.0, height: float = 7.0, n: int = 1) -> list[Axes]:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return [figure.add_axes((0.1, 0.1 + 0.8 * i / n, 0.75, 0.7 / n)) for i in reversed(range(n))]


def labels(ax: Axes) -> dict[str, Text]:
    return {text.get_text(): text for text in ax.texts}


def assert_apart(texts: list[Text], within: Axes) -> None:
    within.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in texts]  # of the text alone, without its line
    assert not [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)]
    frame = within.bbox
    assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)
    assert all(frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1 for box in boxes)


def table(n: int = 200, seed: int = 0, spread_of: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, spread_of, (2, n)).clip(-1, 1)
    found = pd.DataFrame({"motif": [f"MA{i:04d}.1 TF{i}" for i in range(n)], "A.D": a, "B.D": b})
    found["diff.D"] = found["A.D"] - found["B.D"]
    found["sig"] = np.arange(n) % 5 != 0
    for name in ("A", "B", "diff"):
        found[f"{name}.rank"] = found.loc[found["sig"], f"{name}.D"].rank()
    return found


def test_names_say_what_is_shown() -> None:
    facts = {"method": "gradient-x-input", "objective": "logit"}
    assert score_name(facts) == "gradient × input (logit)"
    assert site_score_name(facts, "max") == "maximum gradient × input (logit)"
    ism = {"method": "ism", "objective": "probability"}
    assert site_score_name(ism, "min") == "minimum mutagenesis, mutant − reference (probability)"
    assert score_name({"method": "new", "objective": "logit"}) == "new (logit)"
    assert [in_words(p) for p in (0.0, 2.04e-31, 0.013, np.nan)] == [
        "< 1e-300",
        "= 2e-31",
        "= 0.013",
        "not known",
    ]
    assert [signed(x) for x in (-0.5, 0.25, np.nan)] == ["−0.50", "0.25", "not known"]


def test_short_names_stay_different() -> None:
    motifs = ["MA1537.1 NR2F1", "MA0017.2 NR2F1", "MA0114.4 HNF4A", "own motif"]
    assert list(short_names(motifs).values()) == [
        "NR2F1 (MA1537.1)",
        "NR2F1 (MA0017.2)",
        "HNF4A",
        "own motif",
    ]


def test_file_names_are_safe_and_different() -> None:
    motifs = ["MA0140.2 GATA1::TAL1", "a/b", "a b", "A_B", "../..", "", "µ", "x" * 300]
    names = file_names(motifs)
    assert list(names.values()) == [
        "MA0140.2_GATA1_TAL1",
        "a_b",
        "a_b_2",
        "A_B_3",
        "unnamed",
        "unnamed_2",
        "unnamed_3",
        "x" * 100,
    ]


def test_profile_is_centred_on_the_middle_of_the_window() -> None:
    (ax,) = axes()
    mean = np.zeros(600)
    mean[300] = 1.0  # the base at the middle of a region is number 300 of its window
    plot_mean_profile(ax, {"A": mean, "B": -mean}, "gradient × input (logit)")
    line = ax.get_lines()[2]
    assert line.get_xdata()[line.get_ydata().argmax()] == 0
    assert ax.get_xlim() == (-300, 300)
    assert ax.get_ylabel() == "Mean gradient × input (logit)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A", "B"]


def test_profile_of_no_model_is_an_empty_panel() -> None:
    (ax,) = axes()
    plot_mean_profile(ax, {})
    assert ax.get_legend() is None


def test_density_equals_a_kernel_estimate() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    at, height = density(values, -6, 12)
    quarter, three = np.percentile(values, [25, 75])
    bandwidth = 0.9 * min(values.std(), (three - quarter) / 1.34) * 400**-0.2
    exact = gaussian_kde(values, bandwidth / values.std(ddof=1))(at)
    np.testing.assert_allclose(height, exact, atol=0.01 * exact.max())
    assert np.trapezoid(height, at) == pytest.approx(1, abs=1e-3)


def test_density_of_a_million_scores_is_fast_and_skips_what_is_missing() -> None:
    (ax,) = axes()
    values = np.random.default_rng(0).normal(size=1_000_000)
    values[::2] = np.nan
    begun = time.process_time()
    plot_density(ax, {"A": values, "B": np.full(5, np.nan)}, "score")
    assert time.process_time() - begun < 2
    (line,) = ax.get_lines()
    assert line.get_ydata().max() == pytest.approx(1 / np.sqrt(2 * np.pi), rel=0.02)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A (n = 500,000)"]


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [2.0], [0.0, 0.0, 0.0]])
def test_density_of_few_or_equal_scores_is_drawn_or_explained(values: list[float]) -> None:
    (ax,) = axes()
    plot_density(ax, {"A": values})
    if np.isfinite(values).any():
        x, y = ax.get_lines()[0].get_data()
        assert x[y.argmax()] == pytest.approx(values[0], abs=0.01)
    else:
        assert "no scores" in labels(ax)


def test_ecdf_has_the_heights_of_its_definition() -> None:
    (ax,) = axes()
    inside, outside = [1.0, 2.0, 2.0, 4.0, np.nan], [0.0, 3.0]
    plot_ecdf(ax, {"A": (inside, outside)}, "HNF4A", {"A": (-0.61, 2e-31)}, "score")
    line, other = ax.get_lines()
    assert line.get_drawstyle() == "steps-post"
    assert line.get_xydata()[1:-1].tolist() == [[1.0, 0.25], [2.0, 0.75], [4.0, 1.0]]
    assert other.get_xydata()[1:-1].tolist() == [[0.0, 0.5], [3.0, 1.0]]
    assert line.get_ydata()[0] == 0
    assert line.get_ydata()[-1] == 1
    assert line.get_linewidth() > other.get_linewidth()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "A: HNF4A (n = 4)\nD = −0.61, FDR = 2e-31",
        "A: other sites (n = 2)",
    ]


def test_ecdf_of_many_scores_is_thinned_but_exact_where_drawn() -> None:
    scores = np.random.default_rng(0).normal(size=200_000)
    x, share = ecdf_steps(scores)
    assert len(x) == 1000
    assert x[0] == scores.min()
    assert x[-1] == scores.max()
    assert share[-1] == 1
    np.testing.assert_array_equal(share, np.searchsorted(np.sort(scores), x, "right") / len(scores))


def test_largest_distance_of_the_drawn_ecdfs_is_d() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(0.5, 1, 200), rng.normal(size=300)
    (x, y), (u, v) = ecdf_steps(inside), ecdf_steps(outside)
    grid = np.union1d(x, u)
    heights = [
        np.concatenate([[0], share])[np.searchsorted(at, grid, "right")] for at, share in ((x, y), (u, v))
    ]
    assert abs(heights[0] - heights[1]).max() == pytest.approx(ks_2samp(inside, outside).statistic)


def test_ecdf_without_sites_says_so() -> None:
    (ax,) = axes()
    plot_ecdf(ax, {"A": ([], [1.0, 2.0]), "B": ([np.nan], [])}, statistics={"A": (np.nan, np.nan)})
    assert "no scored site of this motif" in labels(ax)
    assert "D = not known" in ax.get_legend().get_texts()[0].get_text()


def triangles(ax: Axes) -> list[PathCollection]:
    return [c for c in ax.collections if isinstance(c, PathCollection) and c.get_array() is not None]


def test_distances_stand_at_the_values_of_the_table() -> None:
    (ax,) = axes()
    found = table()
    plot_distances(ax, found, "A", "B")
    grey, up, down = (c for c in ax.collections if isinstance(c, PathCollection))
    np.testing.assert_array_equal(grey.get_offsets(), found.loc[~found["sig"], ["A.D", "B.D"]])
    for part, drawn in ((found["diff.D"] >= 0, up), (found["diff.D"] < 0, down)):
        rows = found[found["sig"] & part]
        np.testing.assert_array_equal(drawn.get_offsets(), rows[["A.D", "B.D"]])
        np.testing.assert_array_equal(drawn.get_array(), rows["diff.D"])
        limit = found.loc[found["sig"], "diff.D"].abs().max()
        assert drawn.get_clim() == (-limit, limit)  # white is no difference
        middle = drawn.cmap(drawn.norm(0.0))[:3]
        assert max(middle) - min(middle) < 0.02
    assert up.cmap(up.norm(limit))[0] > up.cmap(up.norm(limit))[2]  # red
    assert down.cmap(down.norm(-limit))[2] > down.cmap(down.norm(-limit))[0]  # blue
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Signed K-S distance D, A", "Signed K-S distance D, B")


@pytest.mark.parametrize("spread_of", [0.3, 0.05])
def test_55_labels_are_legible(spread_of: float) -> None:
    (ax,) = axes(9, 9)
    found = table(600, spread_of=spread_of)
    wanted = found["motif"][found["sig"]][:55]
    if spread_of < 0.1:  # a few far out squeeze the others into the middle
        found.loc[599, ["A.D", "B.D"]] = 0.9
    left_out = plot_distances(ax, found, "A", "B", [*wanted, "MA9999.1 not in the table"])
    assert left_out == []
    texts = [text for name, text in labels(ax).items() if name.startswith("TF")]
    assert len(texts) == 55
    assert_apart(texts, ax)
    for text in texts:  # each at its own point
        row = found[found["motif"].str.endswith(f" {text.get_text()}")].iloc[0]
        assert tuple(text.xy) == (row["A.D"], row["B.D"])


def test_labels_without_room_are_named() -> None:
    (ax,) = axes(1.2, 1.2)
    left_out = plot_distances(ax, table(), "A", "B", table()["motif"])
    drawn = [text for name, text in labels(ax).items() if name.startswith("TF")]
    assert len(drawn) + len(left_out) == 200
    assert left_out
    assert_apart(drawn, ax)


def test_distances_without_a_significant_or_any_motif_say_so() -> None:
    for found, message in (
        (table().assign(sig=False, **{"diff.D": np.nan}), "no significant motif"),
        (table()[:0], "no motif with enough sites"),
        (table().assign(**{"A.D": np.nan}), "no motif with enough sites"),
    ):
        (ax,) = axes()
        assert plot_distances(ax, found, "A", "B", found["motif"][:0]) == []
        assert message in labels(ax)
    with pytest.raises(ChromTransferError, match=r"no column 'C\.D'"):
        plot_distances(ax, table(), "A", "C")


@pytest.mark.parametrize("shape", ["line", "flat", "steep"])
def test_ranks_label_both_ends_legibly(shape: str) -> None:
    (ax,) = axes(4.5, 5)
    at = np.linspace(-1, 1, 60)
    d = {"line": at * 0.9, "flat": at * 0.01, "steep": np.sign(at) * (0.8 + 0.01 * abs(at))}[shape]
    order = np.random.default_rng(0).permutation(60)
    found = pd.DataFrame({"motif": [f"TF{i}" for i in range(60)], "A.D": d, "A.rank": np.arange(1.0, 61)})
    found.loc[60] = ["rare", 0.99, np.nan]  # no rank: not significant
    plot_ranks(ax, found.iloc[[*order, 60]], "A")
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([np.arange(1, 61), d]))
    texts = {name: text for name, text in labels(ax).items() if name}
    assert sorted(texts) == sorted(f"TF{i}" for i in [*range(10), *range(50, 60)])
    assert_apart(list(texts.values()), ax)
    for name, text in texts.items():
        number = int(name[2:])
        assert tuple(text.xy) == (number + 1, d[number])
        box = Text.get_window_extent(text)
        under = ax.transData.transform(points)
        assert not [p for p in under if box.x0 < p[0] < box.x1 and box.y0 < p[1] < box.y1]


@pytest.mark.parametrize("n", [1, 2, 3, 15])
def test_ranks_of_few_motifs(n: int) -> None:
    (ax,) = axes(4.5, 5)
    found = pd.DataFrame({"motif": [f"TF{i}" for i in range(n)], "A.D": 0.5, "A.rank": (n + 1) / 2})  # ties
    plot_ranks(ax, found, "A")
    assert sorted(labels(ax)) == sorted(found["motif"])
    assert_apart(list(ax.texts), ax)


def test_ranks_without_a_significant_motif_say_so() -> None:
    (ax,) = axes()
    plot_ranks(ax, pd.DataFrame({"motif": ["x"], "A.D": [0.1], "A.rank": [np.nan]}), "A")
    assert "no significant motif" in labels(ax)
    with pytest.raises(ChromTransferError, match=r"no column 'B\.D'"):
        plot_ranks(ax, pd.DataFrame({"motif": ["x"], "A.D": [0.1]}), "B")


def test_spread_keeps_distance_and_order() -> None:
    assert spread(np.array([0.0, 0.0, 5.0]), 1.0, -10, 10).tolist() == [0, 1, 5]
    assert spread(np.array([9.0, 9.5]), 2.0, 0, 10).tolist() == [8, 10]
    assert spread(np.array([-5.0, 1.0]), 1.0, 0, 10).tolist() == [0, 1]


def test_a_track_has_its_scores_over_their_bases() -> None:
    (ax,) = axes()
    plot_track(ax, np.array([1.0, -2.0, np.nan]), 100, "A", highlight=(101, 103))
    (stairs,) = (patch for patch in ax.patches if hasattr(patch, "get_data"))
    assert stairs.get_data().values.tolist() == [1, -2, 0]
    assert stairs.get_data().edges.tolist() == [99.5, 100.5, 101.5, 102.5]
    assert ax.patches[-1].get_x() == 100.5
    assert ax.patches[-1].get_width() == 2


def sites() -> pd.DataFrame:
    rows = [(1000 + 3 * i, 1012 + 3 * i, f"MA{i:04d}.1 TF{i}", 1e-6 * (i + 1)) for i in range(30)]
    return pd.DataFrame([*rows, (1500, 1520, "own", 0.9)], columns=["start", "end", "motif", "p_value"])


def boxes(ax: Axes) -> list[tuple[float, float]]:
    found = [path.get_extents() for bars in ax.collections for path in bars.get_paths()]
    return sorted((box.x0, box.x1) for box in found)


def test_sites_and_their_names_never_overlap() -> None:
    (ax,) = axes(7, 4)
    assert plot_sites(ax, sites(), 990, 1590, "own") == 0
    assert_apart(list(ax.texts), ax)
    assert len(boxes(ax)) == 31
    assert (1499.5, 1519.5) in boxes(ax)
    assert labels(ax)["own"].get_weight() == "bold"
    assert labels(ax)["TF3"].get_weight() == "normal"


def test_sites_without_room_are_counted_and_the_own_one_is_kept() -> None:
    (ax,) = axes(7, 0.5)  # room for three rows
    left_out = plot_sites(ax, sites(), 990, 1590, "own")
    assert left_out > 0
    assert len(boxes(ax)) == 31 - left_out
    assert {"own", "TF0"} <= set(labels(ax))  # then the best P
    assert ax.get_ylabel() == f"+ {left_out}\nmore"
    (ax,) = axes(7, 0.25)  # and for one
    many = sites().assign(motif="own")
    plot_sites(ax, many, 990, 1110, "own", (1087, 1099))
    assert boxes(ax)[-1] == (1086.5, 1098.5)


def test_a_site_as_wide_as_the_panel_is_drawn() -> None:
    (ax,) = axes(7, 1)
    wide = pd.DataFrame({"start": [0], "end": [900], "motif": ["own"]})
    assert plot_sites(ax, wide, 100, 160, "own") == 0
    assert boxes(ax) == [(99.5, 159.5)]
    assert_apart(list(ax.texts), ax)


def test_a_region_without_sites_says_so() -> None:
    (ax,) = axes()
    assert plot_sites(ax, sites()[:0], 0, 100) == 0
    assert "no site of a motif" in labels(ax)


def test_sequence_has_each_base_at_its_position() -> None:
    (ax,) = axes()
    plot_sequence(ax, np.array([0, 1, 2, 3, 4], np.uint8), 50)
    assert [(text.get_position()[0], text.get_text()) for text in ax.texts] == list(
        zip(range(50, 55), "ACGTN", strict=True)
    )


def test_tracks_share_their_scale_and_their_positions() -> None:
    found = axes(8, 6, 3)
    tracks = {"A": np.full(600, 0.5), "B": np.full(600, -2.0)}
    plot_tracks(found, tracks, sites(), "chr2", 990, "own", (1500, 1520), "score", "title")
    assert found[0].get_ylim() == found[1].get_ylim() == (-2.125, 0.625)
    assert {ax.get_xlim() for ax in found} == {(989.5, 1589.5)}
    assert found[2].get_xlabel() == "Position on chr2 (bp, 0-based)"
    with pytest.raises(ChromTransferError, match="expected 3 axes, got 2"):
        plot_tracks(found[:2], tracks, sites(), "chr2", 990)
    with pytest.raises(ChromTransferError, match="one length"):
        plot_tracks(found, {"A": np.zeros(3), "B": np.zeros(4)}, sites(), "chr2", 990)


def letters(ax: Axes) -> dict[int, float]:
    found = [patch.get_path().get_extents() for patch in ax.patches]
    drawn = [box for box in found if box.x0 > 10]  # a shade is a unit square
    return {round((box.x0 + box.x1) / 2): box.y1 if box.y1 > 1e-9 else box.y0 for box in drawn}


def test_zoom_shows_the_site_and_ten_bases_on_each_side() -> None:
    found = axes(8, 6, 4)
    scores = np.arange(1, 601) / 600
    codes = (np.arange(600) % 4).astype(np.uint8)
    plot_zoom(found, {"A": scores, "B": -scores}, codes, sites(), "chr2", 990, (1500, 1520), "own")
    assert {ax.get_xlim() for ax in found} == {(1489.5, 1529.5)}
    assert letters(found[0])[1500] == pytest.approx(511 / 600, abs=1e-5)
    assert letters(found[1])[1500] == pytest.approx(-511 / 600, abs=1e-5)
    assert sorted(letters(found[0])) == list(range(1490, 1530))
    assert found[2].texts[10].get_text() == "ACGT"[510 % 4]
    assert "own" in labels(found[3])


def test_zoom_at_the_end_of_the_window_is_cut() -> None:
    found = axes(8, 6, 3)
    arguments = {"A": np.ones(600)}, np.zeros(600, np.uint8), sites(), "chr2", 990
    plot_zoom(found, *arguments, (992, 1000))
    assert found[0].get_xlim() == (989.5, 1009.5)
    with pytest.raises(ChromTransferError, match="site 980-1000 is not in the window 990-1590"):
        plot_zoom(found, *arguments, (980, 1000))


def test_motif_letters_are_as_tall_as_their_information() -> None:
    (ax,) = axes()
    plot_motif(ax, np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]]), "HNF4A")
    found = [patch.get_path().get_extents() for patch in ax.patches]
    heights: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for box in found:
        if box.height > 1e-9:
            heights[round((box.x0 + box.x1) / 2)].append(round(box.height, 6))
    assert heights == {1: [2.0], 2: [], 3: [0.5, 0.5]}  # 2 bits, none, and 1 bit shared by two
    assert ax.get_ylim() == (0, 2)


def test_the_likeliest_base_of_a_motif_is_on_top() -> None:
    (ax,) = axes()
    plot_motif(ax, np.array([[0.1, 0.6, 0.3, 0.0]]))
    boxes = sorted((p.get_path().get_extents() for p in ax.patches), key=lambda box: box.y0)
    information = 2 + sum(p * np.log2(p) for p in (0.1, 0.6, 0.3))
    assert [box.height for box in boxes] == pytest.approx([p * information for p in (0.1, 0.3, 0.6)])
    assert boxes[0].y0 == 0
    assert [box.y0 for box in boxes[1:]] == pytest.approx([box.y1 for box in boxes[:-1]])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((3, 4)), "probabilities"),
        (np.zeros((0, 4)), r"\(0, 4\)"),
        (np.full((4, 3), 1 / 3), r"\(4, 3\)"),
        (np.full((2, 4), np.nan), "probabilities"),
    ],
)
def test_what_is_no_motif_is_refused(matrix: np.ndarray, message: str) -> None:
    (ax,) = axes()
    with pytest.raises(ChromTransferError, match=message):
        plot_motif(ax, matrix)
