"""The HTML page without a browser: what is embedded, and that nothing can break out of it."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from motif_cases import random_motifs, site_motif
from motif_stores import make_store
from report_cases import HOSTILE, LENGTH, MATRIX, SET, WINDOWS, make_comparison
from scipy.stats import ks_2samp

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.analysis import compare
from chromtransfer_plugin.onehot import decode
from chromtransfer_plugin.report import write_report
from chromtransfer_plugin.report.sites import QUANTILES, SiteTable
from chromtransfer_plugin.report.windows import quantise, window_totals


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))


def embedded(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def unpacked(region: dict, model: int) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(region["scores"][model]), "<i2").astype(float)
    return np.where(levels == -32768, np.nan, levels * region["steps"][model])


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return make_comparison(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory) -> Path:
    return write_report(comparison, tmp_path_factory.mktemp("page") / "report.html", top=10)


def test_motifs_are_those_of_the_table(comparison, page: Path) -> None:
    data = embedded(page)
    assert data["names"] == ["A&B", "second", "diff"]
    assert [motif["name"] for motif in data["motifs"]] == comparison.table["motif"].tolist()
    for motif, (_, row) in zip(data["motifs"], comparison.table.iterrows(), strict=True):
        for at, name in enumerate(data["names"]):
            assert motif["D"][at] == pytest.approx(row[f"{name}.D"], rel=1e-4)
            assert motif["p"][at] == pytest.approx(row[f"{name}.pval"], rel=5e-3)
            assert motif["fdr"][at] == pytest.approx(row[f"{name}.fdr"], rel=5e-3)
            rank = row[f"{name}.rank"]
            assert motif["rank"][at] == (None if np.isnan(rank) else rank)
        assert (motif["n"], motif["background"]) == (row["n"], row["n_background"])
        assert motif["sig"] == row["sig"]
        np.testing.assert_array_equal(np.reshape(motif["matrix"], (-1, 4)), MATRIX)
    by_name = {motif["name"]: motif for motif in data["motifs"]}
    assert by_name["high"]["focus"] == "A&B highest"
    assert by_name["low"]["focus"] == ""
    assert by_name["high"]["D"][0] > 0.7
    assert by_name["low"]["D"][0] < -0.7
    assert data["untested"] == ["rare"]


def test_quantiles_are_those_of_the_sites_and_of_the_background(comparison) -> None:
    hits = comparison.hits
    for motif in comparison.table["motif"]:
        for (own, background), name in zip(
            SiteTable(comparison).of(motif).quantiles, comparison.names, strict=True
        ):
            scores = hits[comparison.column(name)].to_numpy()
            is_own = (hits["motif"] == motif).to_numpy()
            for found, values in ((own, scores[is_own]), (background, scores[~is_own])):
                values = np.sort(values[~np.isnan(values)])
                wanted = values[np.round(QUANTILES * (len(values) - 1)).astype(int)]
                np.testing.assert_allclose(found, wanted, rtol=5e-3)


def test_background_leaves_out_overlapping_sites(comparison) -> None:
    """A site of another motif is moved onto one of "high": it counts no longer."""
    hits = comparison.hits.copy()
    high = hits.index[hits["motif"] == "high"][3]
    best = hits.loc[hits["motif"] == "plain", "score.A&B.max"].idxmax()
    hits.loc[best, "score.A&B.max"] = 99.0
    moved = dataclasses.replace(comparison, hits=hits)
    assert SiteTable(moved).of("high").quantiles[0][1][-1] == 99.0
    hits.loc[best, ["start", "end"]] = hits.loc[high, ["start", "end"]] + 9
    assert SiteTable(moved).of("high").quantiles[0][1][-1] < 5


def test_distance_of_the_curves_is_nearly_d(comparison) -> None:
    row = comparison.table.set_index("motif").loc["high"]
    own, background = SiteTable(comparison).of("high").quantiles[0]
    assert ks_2samp(own, background).statistic == pytest.approx(row["A&B.D"], abs=0.05)


def test_extreme_sites_lead_to_their_windows(comparison, page: Path) -> None:
    data = embedded(page)
    hits = comparison.hits
    for motif in data["motifs"]:
        own = hits[hits["motif"] == motif["name"]].dropna(subset=["score.diff.max"])
        order = own.sort_values("score.diff.max")
        for key, wanted in (("highest", order[::-1]), ("lowest", order)):
            assert len(motif[key]) == 5
            for site, (_, row) in zip(motif[key], wanted.iterrows(), strict=False):
                chrom, start, end, strand, window, a, b, diff = site
                assert (chrom, start, end, strand) == ("chr1", row["start"], row["end"], row["strand"])
                scores = row[["score.A&B.max", "score.second.max", "score.diff.max"]].tolist()
                assert [a, b, diff] == pytest.approx(scores, rel=5e-3)
                region = data["regions"][window]
                assert region["start"] <= start < end <= region["end"]


def test_a_place_in_two_windows_is_listed_once(comparison) -> None:
    again = comparison.hits.assign(region=comparison.hits["region"] + 1)
    hits = type(again)(np.repeat(comparison.hits.to_numpy(), 2, axis=0), columns=comparison.hits.columns)
    hits = hits.astype(comparison.hits.dtypes)
    sites = SiteTable(dataclasses.replace(comparison, hits=hits)).of("high")
    assert not sites.highest.duplicated(["chrom", "start", "end"]).any()
    assert len(sites.highest) == 5


def test_windows_are_the_top_ones_with_their_scores_and_sites(comparison, page: Path) -> None:
    data = embedded(page)
    a, b = (comparison.store.scores(name).astype(float) for name in ("A&B", "second"))
    wanted = np.nansum(abs(a - b), axis=1)
    order = np.argsort(-wanted, kind="stable")
    assert [region["start"] for region in data["regions"][:10]] == (1000 + 1000 * order[:10]).tolist()
    assert (data["top"], data["of"]) == (10, WINDOWS)
    assert len({region["start"] for region in data["regions"]}) == len(data["regions"]) > 10
    codes = comparison.store.codes()
    for region in data["regions"]:
        window = region["start"] // 1000 - 1
        assert region["place"] == order.tolist().index(window) + 1
        assert region["sequence"] == decode(codes[window])
        assert region["set"] == SET
        totals = [np.nansum(abs(a[window])), np.nansum(abs(b[window])), wanted[window]]
        assert region["totals"] == pytest.approx(totals, rel=5e-3)
        for model, scores in enumerate((a[window], b[window])):
            found = unpacked(region, model)
            assert (np.isnan(found) == np.isnan(scores)).all()
            assert np.nanmax(abs(found - scores)) <= region["steps"][model] * 0.5001
            assert region["steps"][model] == pytest.approx(np.nanmax(abs(scores)) / 32767)
        names = [motif["name"] for motif in data["motifs"]] + data["untested"]
        own = comparison.hits[comparison.hits["region"] == window].sort_values("start")
        signs = own["strand"].map({"+": 1, "-": -1})
        sites = np.reshape(region["sites"], (-1, 4)).tolist()
        assert [names[site[0]] for site in sites] == own["motif"].tolist()
        assert [site[1] for site in sites] == (own["start"] - region["start"]).tolist()
        assert [site[2] for site in sites] == (own["end"] - region["start"]).tolist()
        assert [site[3] for site in sites] == signs.tolist()


def test_totals_do_not_depend_on_the_blocks(comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = window_totals(comparison)
    monkeypatch.setattr("chromtransfer_plugin.report.windows._BLOCK", 7)
    np.testing.assert_array_equal(window_totals(comparison), whole)


def test_only_the_chosen_windows_are_read_besides_the_ranking(
    comparison, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The largest number of windows held at once is a block or what the page shows."""
    read: list[int] = []
    scores = comparison.store.scores
    monkeypatch.setattr("chromtransfer_plugin.report.windows._BLOCK", 8)
    monkeypatch.setattr("chromtransfer_plugin.report.data.MOST_LINKED", 4)
    monkeypatch.setattr(
        comparison.store, "scores", lambda model, rows: (read.append(len(rows)), scores(model, rows))[1]
    )
    data = embedded(write_report(comparison, tmp_path / "page.html", top=3))
    assert len(data["regions"]) == 7
    assert read == [8] * 10 + [7, 7]


def test_windows_of_focus_motifs_come_before_others(
    comparison, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ "plain" is the least of all by |D|, but in focus."""
    monkeypatch.setattr("chromtransfer_plugin.report.data.MOST_LINKED", 4)
    for motif in ("plain", "low"):
        focus = comparison.focus.assign(motif=motif)
        data = embedded(
            write_report(dataclasses.replace(comparison, focus=focus), tmp_path / "page.html", top=1)
        )
        own = next(one for one in data["motifs"] if one["name"] == motif)
        starts = [site[1] // 1000 * 1000 for site in own["highest"] if site[4] != 0][:4]
        assert [region["start"] for region in data["regions"][1:]] == starts


def test_scores_of_zero_and_missing_ones_are_packed() -> None:
    step, text = quantise(np.zeros(3, np.float32))
    assert (step, base64.b64decode(text)) == (1.0, bytes(6))
    step, text = quantise(np.full(2, np.nan, np.float32))
    assert np.frombuffer(base64.b64decode(text), "<i2").tolist() == [-32768, -32768]


def test_names_cannot_become_markup(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "owned" in text
    assert "<script>document.title" not in text
    assert SET not in text
    tags = _Tags()
    tags.feed(text)
    assert [tag for tag, _ in tags.tags].count("script") == 2
    assert "b" not in [tag for tag, _ in tags.tags]
    assert "<title>Motifs read by A&amp;B and second</title>" in text
    raw = re.search(r'id="data">(.*?)</script>', text, re.S)[1]
    assert not set(raw) & set("<>&")
    assert HOSTILE in [motif["name"] for motif in embedded(page)["motifs"]]


def test_title_is_escaped(comparison, tmp_path: Path) -> None:
    text = write_report(
        comparison, tmp_path / "p.html", top=1, title="</title><script>1</script> $data"
    ).read_text()
    assert "<h1>&lt;/title&gt;&lt;script&gt;1&lt;/script&gt; $data</h1>" in text


def test_same_input_gives_the_same_bytes(comparison, page: Path, tmp_path: Path) -> None:
    other = write_report(comparison, tmp_path / "again.html", top=10)
    assert other.read_bytes() == page.read_bytes()


def test_nothing_is_loaded(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    for tag, attributes in tags.tags:
        assert tag not in ("link", "img", "iframe", "object", "base")
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    assert set(re.findall(r"https?://[^\s\"'`$/]+", text)) == {"http://www.w3.org", "https://genome.ucsc.edu"}
    assert not re.search(
        r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon|innerHTML", text
    )
    policy = next(a["content"] for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_place_of_this_machine_is_told(page: Path) -> None:
    data = embedded(page)
    assert dict(data["facts"])["Genome"] == "hg38.fa"
    assert "/somewhere" not in page.read_text()
    assert data["assembly"] == "hg38"


def test_facts_say_what_was_done(comparison, tmp_path: Path) -> None:
    record = {
        "threshold": 1e-5, "min_hits": 20, "fdr": 0.01, "off_by_one": True,
        "motifs": {"source": "/my/own.meme", "few_sites": {"rare": 1}, "unreachable": ["x", "y"]},
    }  # fmt: skip
    recorded = dataclasses.replace(comparison, record=record)
    data = embedded(write_report(recorded, tmp_path / "page.html", top=1))
    assert data["limit"] == 0.01
    assert dict(data["facts"]) == {
        "Models": "A = A&B, B = second",
        "Attribution": "gradient-x-input of the logit",
        "Windows": f"40 windows of 600 bp (40 of {SET})",
        "Genome": "hg38.fa",
        "Motifs from": "own.meme",
        "Sites": "157 sites of 5 motifs, P ≤ 1e-05; motifs that cannot reach this P: 2",
        "Score of a site": "the largest attribution of its bases, "
        "read one base to the right of the site as the original does",
        "Tested": "4 motifs with at least 20 sites; too few sites: 1",
        "Significant": f"{int(comparison.table['sig'].sum())} motifs",
    }


def test_a_window_of_two_sets_counts_for_the_first(tmp_path: Path) -> None:
    with make_store(
        tmp_path / "store"
    ) as store:  # ten of the 30 windows of the second set are in the first, too
        comparison = compare(store, "A", motifs=site_motif() | random_motifs(), threshold=2e-3, min_hits=5)
        data = embedded(write_report(comparison, tmp_path / "page.html", top=1))
    assert dict(data["facts"])["Windows"] == "60 windows of 200 bp (40 of first, 20 more of second)"


def test_one_model_mutagenesis_and_a_track(tmp_path: Path) -> None:
    comparison = make_comparison(tmp_path, two=False, how="min", matrices=False)
    data = embedded(write_report(comparison, tmp_path / "page.html", top=5))
    assert data["names"] == ["A&B"]
    assert data["how"] == "min"
    assert all(motif["matrix"] is None and len(motif["D"]) == 1 for motif in data["motifs"])
    assert all(len(region["scores"]) == len(region["totals"]) == 1 for region in data["regions"])
    scores = np.nansum(abs(comparison.store.scores("A&B").astype(float)), axis=1)
    assert data["regions"][0]["start"] == 1000 + 1000 * scores.argmax()
    low = next(motif for motif in data["motifs"] if motif["name"] == "low")
    own = comparison.hits.loc[comparison.hits["motif"] == "low", "score.A&B.min"]
    assert low["lowest"][0][5:] == pytest.approx([own.min()], rel=5e-3)


def test_size_of_a_window(comparison, tmp_path: Path) -> None:
    few, many = (
        write_report(comparison, tmp_path / f"{top}.html", top=top).stat().st_size for top in (1, WINDOWS)
    )
    shown = [len(embedded(tmp_path / f"{top}.html")["regions"]) for top in (1, WINDOWS)]
    assert (many - few) / (shown[1] - shown[0]) < 8 * LENGTH


@pytest.mark.parametrize("top", [0, -3, 2.5, True])
def test_a_wrong_number_of_windows_is_refused(comparison, tmp_path: Path, top) -> None:
    with pytest.raises(ChromTransferError, match=r"top=.*a whole number above 0"):
        write_report(comparison, tmp_path / "page.html", top=top)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(comparison, tmp_path: Path) -> None:
    with pytest.raises(ChromTransferError, match="does not exist"):
        write_report(comparison, tmp_path / "no" / "page.html", top=1)
