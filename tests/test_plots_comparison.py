"""All figures of one comparison: which files come, of what, and from hostile comparisons too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.image import imread

from chromtransfer_plugin.attribution.store import AttributionStore, Piece, write_store
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.comparison import Comparison
from chromtransfer_plugin.motifs.enrichment import enrichment, focus_motifs
from chromtransfer_plugin.plots import comparison_figures, comparison_parts, write_figures
from chromtransfer_plugin.plots.comparison_figures import (
    densities_figure,
    distances_figure,
    ecdf_figure,
    ranks_figure,
    regions_figure,
)
from chromtransfer_plugin.plots.comparison_parts import Sites, mean_scores
from chromtransfer_plugin.plots.overview import extremes, overview_figure

WINDOWS, LENGTH = 60, 200
MOTIFS = ["MA0001.1 UP", "MA0002.1 DOWN::X", "MA0003.1 same", "rare"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttributionStore]:
    rng = np.random.default_rng(0)
    starts = 1000 + 500 * np.arange(WINDOWS)
    regions = pd.DataFrame({"set": "S", "chrom": "chr1", "start": starts, "end": starts + LENGTH})
    regions = regions.assign(name=[f"r{i}" for i in range(WINDOWS)], label=1.0)
    codes = rng.integers(0, 4, (WINDOWS, LENGTH)).astype(np.uint8)
    scores = rng.normal(0, 0.1, (WINDOWS, 2, LENGTH)).astype(np.float32)
    scores[:, 0, 20:30] += 1  # UP is here, in A alone
    scores[:, :, 60:70] -= 1  # DOWN, in both
    facts = {
        "method": "gradient-x-input",
        "objective": "logit",
        "models": [{"name": "A"}, {"name": "B"}],
        "sets": [{"name": "S", "path": "s.bed"}],
        "window": LENGTH,
        "hypothetical": False,
        "genome": None,
        "settings": {},
    }
    path = tmp_path_factory.mktemp("store") / "store"
    write_store(path, facts, regions, [Piece(codes, scores, None)])
    with AttributionStore(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def comparison(store: AttributionStore) -> Comparison:
    rows = store.rows()[::-1].copy()  # region number i is not row i
    regions = store.placed(rows)
    a, b = (store.scores(name, rows) for name in "AB")
    found, rng = [], np.random.default_rng(2)
    for region in range(WINDOWS):
        for motif, at in zip(MOTIFS, (20, 60, 120, 150), strict=True):
            if motif != "rare" or region < 2:
                start = int(regions["start"][region]) + at
                ends = [float(scores[region, at : at + 10].max()) for scores in (a, b)]
                found.append((region, "chr1", start, start + 10, "+", motif, 10.0, 1e-6, *ends))
    columns = ["region", "chrom", "start", "end", "strand", "motif", "score", "p_value"]
    hits = pd.DataFrame(found, columns=[*columns, "score.A.max", "score.B.max"])
    hits["score.diff.max"] = hits["score.A.max"] - hits["score.B.max"]
    table = enrichment(hits, "score.A.max", "score.B.max", min_hits=20)
    matrices = {motif: rng.dirichlet([0.3] * 4, 10) for motif in MOTIFS}
    matrices[MOTIFS[2]] = np.full((10, 4), 0.25)  # without information
    return Comparison(store, "A", "B", rows, regions, hits, table, focus_motifs(table), matrices, "max")


def of_one_model(comparison: Comparison) -> Comparison:
    hits = comparison.hits.drop(columns=["score.B.max", "score.diff.max"])
    table = enrichment(hits, "score.A.max", min_hits=20)
    return dataclasses.replace(comparison, b=None, hits=hits, table=table)


NAMES = ["MA0002.1_DOWN_X", "MA0003.1_same", "MA0001.1_UP"]


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_six_products_are_written_whole(comparison: Comparison, tmp_path: Path, suffix: str) -> None:
    before = dict(mpl.rcParams), plt.get_fignums()
    paths = write_figures(comparison, tmp_path, suffix, focus=1)
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    motif = comparison.focus["motif"][0]
    safe = next(name for name in NAMES if name[:8] == motif[:8])
    first = ["overview", "mean_profile", "densities", "distances", "ranks", f"ecdf/{safe}", f"regions/{safe}"]
    assert names == [f"{name}.{suffix}" for name in first]
    there = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert there == sorted(paths)  # no temporary file is left
    begin = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[suffix]
    assert all(path.read_bytes().startswith(begin) for path in paths)
    if suffix == "png":
        assert all(imread(path)[..., :3].std() > 0.03 for path in paths)  # something is drawn
    assert (dict(mpl.rcParams), plt.get_fignums()) == before
    bytes_before = [path.read_bytes() for path in paths]
    write_figures(comparison, tmp_path, suffix, focus=1)
    assert [path.read_bytes() for path in paths] == bytes_before  # equal figures, equal files


def test_each_focus_motif_has_its_two_figures(comparison: Comparison, tmp_path: Path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(
        comparison_figures, "save_figure", lambda figure, path, format: drawn.append(path.stem)
    )
    write_figures(comparison, tmp_path)
    assert sorted(drawn[5:]) == sorted(NAMES * 2)
    write_figures(comparison, tmp_path, focus=0)
    assert len(drawn) == 5 + 6 + 5


def test_one_model_leaves_out_what_needs_two(comparison: Comparison, tmp_path: Path) -> None:
    one = of_one_model(comparison)
    names = [path.relative_to(tmp_path).as_posix() for path in write_figures(one, tmp_path, "png", focus=1)]
    assert [name.split("/")[0] for name in names] == [
        "mean_profile.png",
        "densities.png",
        "ranks.png",
        "ecdf",
        "regions",
    ]
    page = regions_figure(one, MOTIFS[0])
    assert page.get_suptitle() == "MA0001.1 UP: sites with the largest and the smallest score of A"
    assert len(page.axes) == 2 * (2 + 3)


def test_means_are_those_of_all_windows_in_any_block(comparison: Comparison, monkeypatch) -> None:
    expected = comparison.store.scores("A", comparison.rows).astype(float).mean(axis=0)
    for block in (1, 7, 1000):
        monkeypatch.setattr(comparison_parts, "_BLOCK", block)
        np.testing.assert_allclose(mean_scores(comparison)["A"], expected, atol=1e-12)
    assert mean_scores(comparison)["A"][20:30].mean() == pytest.approx(1, abs=0.1)


def test_background_is_that_of_the_table(comparison: Comparison) -> None:
    hits = comparison.hits
    near = hits[hits["motif"] == MOTIFS[0]][:5].assign(motif=MOTIFS[3])  # rare now overlaps five sites of UP
    near = near.assign(start=near["start"] + 9, end=near["end"] + 9)
    hits = pd.concat([hits, near], ignore_index=True).sample(frac=1, random_state=0).reset_index(drop=True)
    table = enrichment(hits, "score.A.max", "score.B.max", min_hits=1).set_index("motif")
    for motif in MOTIFS:
        inside, outside = Sites(hits).split(motif)
        assert set(hits["motif"][inside]) == {motif}
        assert motif not in set(hits["motif"][outside])
        assert (len(inside), len(outside)) == tuple(table.loc[motif, ["n", "n_background"]])
    inside, outside = Sites(hits).split("unknown")
    assert (len(inside), len(outside)) == (0, len(hits))


def test_ecdf_page_states_d_and_fdr_of_the_table(comparison: Comparison) -> None:
    page = ecdf_figure(comparison, MOTIFS[0])
    row = comparison.table.set_index("motif").loc[MOTIFS[0]]
    logo, models, difference = page.axes
    legend = [text.get_text() for text in models.get_legend().get_texts()]
    assert legend[0].startswith(f"A: UP (n = 60)\nD = {row['A.D']:.2f}, FDR ")
    assert legend[1] == f"A: other sites (n = {row['n_background']})"
    assert legend[2].startswith("B: UP (n = 60)\nD = ")
    text = difference.get_legend().get_texts()[0].get_text()
    assert text.startswith(f"Difference: UP (n = 60)\nD = {row['diff.D']:.2f}, FDR ")
    assert models.get_xlabel() == "Maximum gradient × input (logit)"
    assert difference.get_xlabel() == "Difference of maximum gradient × input (logit)"
    assert difference.get_title(loc="left") == "A − B"
    assert logo.get_ylim() == (0, 2)
    lines = models.get_lines()
    assert lines[0].get_xydata()[1:-1, 0].tolist() == sorted(
        comparison.hits.loc[comparison.hits["motif"] == MOTIFS[0], "score.A.max"]
    )


def test_regions_are_those_of_the_extreme_sites(comparison: Comparison) -> None:
    hits = comparison.hits[comparison.hits["motif"] == MOTIFS[0]]
    page = regions_figure(comparison, MOTIFS[0])
    assert len(page.axes) == 2 * (3 + 4)
    for which, first in ((hits["score.diff.max"].idxmax(), 0), (hits["score.diff.max"].idxmin(), 7)):
        hit = hits.loc[which]
        start = int(comparison.regions["start"][hit["region"]])
        track = page.axes[first]
        assert track.get_title(loc="left").startswith(f"chr1:{start:,}-{start + LENGTH:,}\n")
        assert track.get_title(loc="right") == "Gradient × input (logit)"
        (stairs,) = (patch for patch in track.patches if hasattr(patch, "get_data"))
        row = comparison.rows[hit["region"]]
        np.testing.assert_array_equal(stairs.get_data().values, comparison.store.scores("A", [row])[0])
        assert page.axes[first + 3].get_xlim() == (start + 9.5, start + 39.5)
        codes = comparison.store.codes([row])[0]
        assert [text.get_text() for text in page.axes[first + 5].texts] == ["ACGT"[i] for i in codes[10:40]]


def test_a_motif_of_one_site_has_one_region_and_one_without_says_so(comparison: Comparison) -> None:
    hits = comparison.hits
    one = dataclasses.replace(comparison, hits=hits[(hits["motif"] != "rare") | (hits["region"] == 0)])
    page = regions_figure(one, "rare")
    assert len(page.axes) == 7
    assert page.get_suptitle() == "rare: sites with the largest difference A − B"
    page = regions_figure(comparison, "unknown")
    assert page.axes[0].texts[0].get_text() == "no scored site in these windows"


def test_a_figure_per_model_and_one_of_the_difference(comparison: Comparison) -> None:
    page = ranks_figure(comparison)
    assert [ax.get_title(loc="left") for ax in page.axes] == ["A", "B", "A − B"]
    page = densities_figure(comparison)
    assert page.axes[1].get_xlabel() == "Difference of maximum gradient × input (logit)"
    assert page.axes[1].get_title(loc="left") == "A − B, site by site"
    assert page.axes[1].get_legend().get_texts()[0].get_text() == f"Difference (n = {len(comparison.hits):,})"
    names = {text.get_text() for text in distances_figure(comparison).axes[0].texts}
    assert {"UP", "DOWN::X"} <= names


def renamed(comparison: Comparison, monkeypatch) -> Comparison:
    """The same models, by names as long as people give them."""
    long = {"A": "HepG2_fine_tuned_v2", "B": "pretrained_all_lines"}
    monkeypatch.setattr(comparison.store, "models", list(long.values()))
    hits = comparison.hits.rename(columns={f"score.{name}.max": f"score.{long[name]}.max" for name in long})
    columns = {
        column: column.replace(column[0], long[column[0]], 1)
        for column in comparison.table
        if column[:2] in ("A.", "B.")
    }
    table = comparison.table.rename(columns=columns)
    return dataclasses.replace(comparison, a=long["A"], b=long["B"], hits=hits, table=table)


@pytest.mark.parametrize("long", [False, True])
def test_no_text_of_a_page_is_cut_off(comparison: Comparison, long: bool, monkeypatch) -> None:
    if long:
        comparison = renamed(comparison, monkeypatch)
    pages = [
        ecdf_figure(comparison, MOTIFS[1]),
        regions_figure(comparison, MOTIFS[1]),
        ranks_figure(comparison),
        distances_figure(comparison),
        densities_figure(comparison),
        overview_figure(comparison),
    ]
    for page in pages:
        page.canvas.draw()
        whole = page.get_tightbbox()  # inches
        assert whole.x0 >= 0
        assert whole.y0 >= 0
        assert whole.x1 <= page.get_figwidth()
        assert whole.y1 <= page.get_figheight()
        legends = [ax.get_legend().get_window_extent() for ax in page.axes if ax.get_legend()]
        others = [ax.xaxis.label.get_window_extent() for ax in page.axes if ax.get_xlabel()]
        parts = legends + others
        assert not [1 for i, a in enumerate(parts) for b in parts[:i] if a.overlaps(b)]
    for ax in pages[1].axes:
        assert ax.yaxis.label.get_window_extent().height <= 1.15 * ax.bbox.height


def hostile(comparison: Comparison) -> dict[str, Comparison]:
    missing = dict.fromkeys(("score.A.max", "score.B.max", "score.diff.max"), np.nan)
    no_rank = {f"{name}.{part}": np.nan for name in ("A", "B", "diff") for part in ("D", "fdr", "rank")}
    smallest = {
        "score.A.max": "score.A.min",
        "score.B.max": "score.B.min",
        "score.diff.max": "score.diff.min",
    }
    empty = {"hits": comparison.hits[:0], "table": comparison.table[:0]}
    return {
        "no scores": dataclasses.replace(comparison, hits=comparison.hits.assign(**missing)),
        "no ranks": dataclasses.replace(comparison, table=comparison.table.assign(sig=False, **no_rank)),
        "min": dataclasses.replace(comparison, hits=comparison.hits.rename(columns=smallest), how="min"),
        "track": dataclasses.replace(comparison, motifs={}),
        "unknown focus": dataclasses.replace(
            comparison, focus=pd.DataFrame({"motif": ["x/y", "x y"], "reason": ""})
        ),
        "no focus": dataclasses.replace(comparison, focus=comparison.focus[:0]),
        "empty": dataclasses.replace(comparison, **empty),
        "categories": dataclasses.replace(
            comparison, hits=comparison.hits.astype({"motif": "category", "chrom": "category"})
        ),
    }


@pytest.mark.parametrize(
    ("case", "files"),
    [
        ("no scores", 7),
        ("no ranks", 7),
        ("min", 7),
        ("track", 7),
        ("unknown focus", 7),
        ("no focus", 5),
        ("empty", 5),
        ("categories", 7),
    ],
)
def test_hostile_comparisons_are_drawn(
    comparison: Comparison, tmp_path: Path, case: str, files: int, recwarn: pytest.WarningsRecorder
) -> None:
    assert len(write_figures(hostile(comparison)[case], tmp_path, "svg", focus=1)) == files
    assert not [str(warning.message) for warning in recwarn]


def test_min_is_named_as_such(comparison: Comparison) -> None:
    page = densities_figure(hostile(comparison)["min"])
    assert page.axes[0].get_xlabel() == "Minimum gradient × input (logit) of a site"


def test_bad_requests_are_refused_before_anything_is_written(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(ChromTransferError, match="format='jpg': expected pdf, png or svg"):
        write_figures(comparison, tmp_path, "jpg")
    with pytest.raises(ChromTransferError, match="focus=-1"):
        write_figures(comparison, tmp_path, focus=-1)
    with pytest.raises(ChromTransferError, match="no such folder"):
        write_figures(comparison, tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_overview_has_the_profile_the_distances_the_ranks_and_three_motifs(comparison: Comparison) -> None:
    page = overview_figure(comparison)
    titles = [ax.get_title(loc="left") for ax in page.axes]
    best = comparison.table.dropna(subset="diff.rank").sort_values("diff.D", ascending=False)
    assert len(best) == 3
    assert titles[0].startswith("a")
    assert [title.split()[1] for title in titles[-3:]] == [motif.split()[1] for motif in best["motif"]]
    with pytest.raises(ChromTransferError, match="two models"):
        overview_figure(of_one_model(comparison))


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        (
            [0.7, 0.69, 0.68, -0.3, -0.2],
            ["0.7", "-0.3", "0.69"],
        ),  # a family on one side does not hide the other
        ([0.2, 0.3, -0.6, -0.7, -0.65], ["0.3", "-0.7", "-0.65"]),
        ([0.5, -0.1], ["0.5", "-0.1"]),
        ([0.5, 0.4, 0.3, 0.2], ["0.5", "0.2", "0.4"]),
        ([np.nan, 0.1], ["0.1"]),
        ([], []),
    ],
)
def test_both_ends_of_the_difference_are_in_the_overview(distances: list[float], expected: list[str]) -> None:
    rows = [*distances, 0.9]  # the last is not significant
    table = pd.DataFrame(
        {"motif": [str(d) for d in rows], "diff.D": rows, "sig": [True] * len(distances) + [False]}
    )
    assert extremes(table) == expected
