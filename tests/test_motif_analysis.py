"""From a store to the table of motifs: against plain scipy and statsmodels, and laws that any analysis obeys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pybigtools
import pytest
from motif_cases import random_motifs, site_motif
from motif_stores import METHODS, make_store
from scipy.stats import ks_2samp, rankdata
from statsmodels.stats.multitest import multipletests

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs import analysis, choose_motifs, discover
from chromtransfer_plugin.motifs import sites as motif_sites
from chromtransfer_plugin.motifs.analysis import compare, write_comparison
from chromtransfer_plugin.motifs.hits import scan_hits
from chromtransfer_plugin.motifs.planted import check_planted, check_relatives, control_motifs, touching
from chromtransfer_plugin.motifs.sites import find_sites, read_sites, write_sites

MOTIFS = {name: matrix for name, matrix in random_motifs().items() if len(matrix) < 20} | site_motif()
LOOSE = {"motifs": MOTIFS, "threshold": 2e-3, "min_hits": 25, "fdr": 1e-4}


def by_hand(store: AttributionStore, a: str, b: str) -> pd.DataFrame:
    """The whole pipeline in loops: sites, their largest score, K-S, sign, BH and ranks."""
    regions = store.regions.drop_duplicates(["chrom", "start", "end"])
    rows = regions.index.to_numpy()
    regions = regions.astype({"chrom": str, "start": int, "end": int}).reset_index(drop=True)
    hits = scan_hits(regions, store.codes(rows), MOTIFS, LOOSE["threshold"])
    values: dict[str, list[float]] = {a: [], b: []}
    for hit in hits.itertuples():
        first = hit.start - regions["start"][hit.region]
        for name, found in values.items():
            found.append(
                float(store.scores(name, [rows[hit.region]])[0, first : first + hit.end - hit.start].max())
            )
    score = {name: np.array(found) for name, found in values.items()}
    score["diff"] = score[a] - score[b]
    motif = hits["motif"].astype(str).to_numpy()
    places = list(zip(hits["chrom"].astype(str), hits["start"], hits["end"], strict=True))
    lines = []
    for name in sorted(set(motif)):
        own = motif == name
        if own.sum() < LOOSE["min_hits"]:
            continue
        mine = [place for place, yes in zip(places, own, strict=True) if yes]
        near = np.array([any(c == d and s < f and t < e for d, t, f in mine) for c, s, e in places])
        line = {"motif": name}
        for part, values_of in score.items():
            test = ks_2samp(values_of[own], values_of[~near], method="asymp")
            ranks = rankdata(values_of)
            sign = -1 if ranks[own].mean() < ranks[~near].mean() else 1
            line |= {f"{part}.D": sign * test.statistic, f"{part}.pval": test.pvalue}
        lines.append(line)
    table = pd.DataFrame(lines)
    for part in score:
        table[f"{part}.fdr"] = multipletests(table[f"{part}.pval"], method="fdr_bh")[1]
    table["sig"] = (table[f"{a}.fdr"] < LOOSE["fdr"]) | (table[f"{b}.fdr"] < LOOSE["fdr"])
    for part in score:
        table.loc[table["sig"], f"{part}.rank"] = rankdata(table.loc[table["sig"], f"{part}.D"])
    return table


def test_the_whole_pipeline_is_that_of_scipy_and_statsmodels(tmp_path, monkeypatch):
    monkeypatch.setattr(motif_sites, "_BLOCK", 7)  # the scores come in several blocks
    with make_store(tmp_path / "store") as store:
        found = compare(store, "A", "B", **LOOSE)
        expected = by_hand(store, "A", "B")
    assert 2 < found.table["sig"].sum() < len(found.table)
    columns = ["motif", "A.D", "A.pval", "B.D", "B.pval", "diff.D", "diff.pval", "A.fdr", "B.fdr", "diff.fdr"]
    columns += ["sig", "A.rank", "B.rank", "diff.rank"]  # those of the original's table, in its order
    assert list(found.table.columns) == [*columns, "n", "n_background"]
    pd.testing.assert_frame_equal(found.table[columns], expected[columns], check_dtype=False, rtol=1e-9)
    strongest = found.table.set_index("motif")["A.D"].idxmax()
    assert strongest == "site"  # only model A scores it
    assert "site" in set(found.focus["motif"])
    assert found.regions.shape == (60, 3)  # a window that is in both sets counts once
    diff = found.hits["score.A.max"] - found.hits["score.B.max"]
    np.testing.assert_array_equal(found.hits["score.diff.max"], diff)


def test_swapped_models_negate_the_difference(tmp_path):
    with make_store(tmp_path / "store") as store:
        one, two = compare(store, "A", "B", **LOOSE).table, compare(store, "B", "A", **LOOSE).table
    for name in ("A", "B", "diff"):
        np.testing.assert_allclose(one[f"{name}.pval"], two[f"{name}.pval"], rtol=1e-9)
    np.testing.assert_allclose(one["diff.D"], -two["diff.D"], rtol=1e-12)
    np.testing.assert_array_equal(one["A.D"], two["A.D"])


def test_equal_models_have_no_difference(tmp_path):
    with make_store(tmp_path / "store", equal=True) as store:
        table = compare(store, "A", "B", **LOOSE).table
    assert (table["diff.D"] == 0).all()
    assert (table["diff.pval"] == 1).all()
    np.testing.assert_array_equal(table["A.D"], table["B.D"])


def test_the_order_of_the_windows_changes_nothing(tmp_path):
    with make_store(tmp_path / "one") as one, make_store(tmp_path / "two", shuffle=True) as two:
        a, b = (compare(store, "A", "B", **LOOSE) for store in (one, two))
    assert list(a.regions["start"]) != list(b.regions["start"])
    pd.testing.assert_frame_equal(a.table, b.table)


def test_one_model_and_one_set(tmp_path):
    with make_store(tmp_path / "store") as store:
        both = compare(store, "A", "B", sets="first", **LOOSE)
        alone = compare(store, "A", sets="first", **LOOSE)
    assert alone.names == ["A"]
    assert len(alone.rows) == 40
    np.testing.assert_array_equal(alone.table["A.D"], both.table["A.D"])
    assert "score.B.max" not in alone.hits
    assert set(alone.focus["reason"]) <= {"A lowest", "A highest", "A lowest; A highest"}


def test_mutagenesis_takes_the_smallest_score(tmp_path):
    with (
        make_store(tmp_path / "gradients") as gradients,
        make_store(tmp_path / "ism", method="ism", sign=-1) as ism,
    ):
        plain, negative = compare(gradients, "A", "B", **LOOSE), compare(ism, "A", "B", **LOOSE)
    assert negative.how == "min"
    assert negative.column("diff") == "score.diff.min"
    np.testing.assert_array_equal(negative.hits["score.A.min"], -plain.hits["score.A.max"])
    np.testing.assert_allclose(negative.table["A.D"], -plain.table["A.D"], rtol=1e-12)


def test_one_base_off_on_request(tmp_path):
    with make_store(tmp_path / "store") as store:
        right, off = (compare(store, "A", off_by_one=yes, **LOOSE) for yes in (False, True))
        hit = right.hits.iloc[5]
        first = hit["start"] - right.regions["start"][hit["region"]] + 1
        bases = store.scores("A", [right.rows[hit["region"]]])[0, first : first + hit["end"] - hit["start"]]
    assert off.hits["score.A.max"].iloc[5] == bases.max()
    assert off.record["off_by_one"] is True


def test_named_motifs_are_tested_against_all_others(tmp_path):
    with make_store(tmp_path / "store") as store:
        everything = compare(store, "A", "B", **LOOSE)
        some = compare(store, "A", "B", names=["SITE", "f"], **LOOSE)
    assert list(some.table["motif"]) == ["f", "site"]
    whole = everything.table.set_index("motif").loc[["f", "site"]]
    np.testing.assert_array_equal(some.table["A.D"], whole["A.D"])
    np.testing.assert_array_equal(some.table["n_background"], whole["n_background"])
    assert some.record["motifs"]["asked_for"] == ["f", "site"]


def test_names_that_people_use():
    known = ["MA0114.4 HNF4A", "MA1494.1 HNF4A", "MA0099.3 FOS::JUN", "plain"]
    assert choose_motifs(known, ["hnf4a"]) == known[:2]
    assert choose_motifs(known, ["MA1494.1", "MA0099"]) == known[1:3]
    assert choose_motifs(known, ["plain", "MA0114.4 HNF4A"]) == [known[0], "plain"]
    with pytest.raises(
        ChromTransferError, match=r"'HNF4' is none of the 4 motifs; similar: MA0114\.4 HNF4A, MA1494"
    ):
        choose_motifs(known, ["HNF4"])
    with pytest.raises(ChromTransferError, match=r"'xyz' is none of the 4 motifs\.$"):
        choose_motifs(known, ["xyz"])


def test_one_search_for_several_comparisons(tmp_path):
    with make_store(tmp_path / "store") as store:
        rows = store.rows()
        path = write_sites(find_sites(store, rows, MOTIFS, threshold=2e-3), tmp_path / "hits.parquet")
        hits = read_sites(path)
        direct = compare(store, "A", "B", **LOOSE)
        again = compare(store, "A", "B", hits=hits, **LOOSE)
        pd.testing.assert_frame_equal(direct.table, again.table)
        assert again.record == direct.record
        strict = LOOSE | {"threshold": 5e-4, "min_hits": 5}
        pd.testing.assert_frame_equal(
            compare(store, "A", hits=hits, **strict).table, compare(store, "A", **strict).table
        )
        for change, message in (
            ({"sets": "first"}, r"looked for in other windows \(60\) than these 40"),
            ({"threshold": 3e-3}, r"only sites with P <= 0\.002 were looked for, not <= 0\.003"),
            (
                {"motifs": MOTIFS | {"site": MOTIFS["site"][::-1]}},
                r"not of the motifs given now \(some have other numbers\)",
            ),
            ({"motifs": MOTIFS | {"new": MOTIFS["f"]}}, r"\('new' is not in both\)"),
            ({"track": "x.bb"}, "not of a track"),
            ({"hits": hits.iloc[::-1]}, "not in the order of their windows"),
            ({"hits": pd.DataFrame(hits.to_dict("list"))}, "does not say in which windows"),
        ):
            with pytest.raises(ChromTransferError, match=message):
                compare(store, "A", **{"hits": hits, **LOOSE, **change})
    with (
        make_store(tmp_path / "other", seed=5) as other,
        pytest.raises(ChromTransferError, match="other windows"),
    ):
        compare(other, "A", hits=hits, **LOOSE)  # the same places, but another genome


def test_a_track_in_place_of_a_scan(tmp_path):
    with make_store(tmp_path / "store") as store:
        scanned = compare(store, "A", **LOOSE)
        unique = scanned.hits.drop_duplicates(["chrom", "start", "end", "motif"]).sort_values(
            ["chrom", "start", "end"]
        )
        rows = [
            (h.chrom, h.start, h.end, f"{h.motif}\t{-100 * np.log10(h.p_value):.0f}\t{h.strand}")
            for h in unique.itertuples()
        ]
        contigs = store.facts["genome"]["contigs"]
        pybigtools.open(str(tmp_path / "x.bb"), "w").write(contigs, rows)
        options = {key: value for key, value in LOOSE.items() if key != "motifs"} | {"threshold": 2.1e-3}
        found = compare(store, "A", track=tmp_path / "x.bb", names=["site", "f"], **options)
        assert found.record["motifs"]["source"] == str(tmp_path / "x.bb")
        assert found.motifs == {}
        whole = scanned.table.set_index("motif").loc[["f", "site"], "A.D"]
        np.testing.assert_allclose(found.table["A.D"], whole)
        pybigtools.open(str(tmp_path / "y.bb"), "w").write({**contigs, "chr1": 10**6}, rows)
        with pytest.raises(ChromTransferError, match="another assembly"):
            compare(store, "A", track=tmp_path / "y.bb", **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": "C"}, "has no model 'C', but A, B"),
        ({"b": "A"}, "both 'A'"),
        ({"sets": "third"}, "has no set 'third', but first, second"),
        ({"min_hits": 10**6}, "no motif has 1000000 scored sites"),
        ({"names": ["sitte"]}, "'sitte' is none of the 6 motifs; similar: site"),
        ({"names": ["a"], "min_hits": 10**6}, "none of the chosen motifs has 1000000"),
        (
            {"motifs": {"short": MOTIFS["site"][:3]}, "threshold": 1e-5},
            "matrices: no motif is left; use a larger",
        ),
        ({"threshold": 2.0}, "expected a P-value"),
        ({"how": "mean"}, "how='mean'"),
        ({"fdr": 0.0}, "fdr=0.0"),
    ],
)
def test_bad_requests(tmp_path, arguments, message):
    with make_store(tmp_path / "store") as store, pytest.raises(ChromTransferError, match=message):
        compare(store, **{"a": "A", **LOOSE, **arguments})


def test_sequences_without_a_place(tmp_path):
    with (
        make_store(tmp_path / "store", placed=False) as store,
        pytest.raises(ChromTransferError, match="'w00' has no place in a genome"),
    ):
        compare(store, "A", **LOOSE)


def test_no_site_at_all(tmp_path):
    with (
        make_store(tmp_path / "store") as store,
        pytest.raises(ChromTransferError, match=r"no motif has a site with P <= 1e-06 in 60 windows"),
    ):
        compare(store, "A", motifs={"x": np.tile([[0.97, 0.01, 0.01, 0.01]], (30, 1))}, threshold=1e-6)


def test_the_folder_and_its_record(tmp_path):
    with make_store(tmp_path / "store") as store:
        short = {"short": MOTIFS["site"][:3], "rare": np.tile([[0.97, 0.01, 0.01, 0.01]], (12, 1))}
        notes: list[str] = []
        found = compare(store, "A", "B", **{**LOOSE, "motifs": MOTIFS | short}, report=notes.append)
        paths = write_comparison(found, tmp_path / "out", figures=None, html=False, hits_text=True)
    names = [
        "enrichment.tsv",
        "enrichment.parquet",
        "hits.parquet",
        "hits.tsv.gz",
        "focus.tsv",
        "comparison.json",
    ]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    pd.testing.assert_frame_equal(pd.read_parquet(paths[1]), found.table)
    pd.testing.assert_frame_equal(pd.read_csv(paths[0], sep="\t"), found.table, check_dtype=False, rtol=1e-12)
    assert len(pd.read_csv(paths[3], sep="\t")) == len(found.hits) == len(read_sites(paths[2]))
    record = json.loads(paths[-1].read_text())
    assert record["motifs"]["unreachable"] == ["short"]
    assert record["motifs"]["few_sites"] == {
        name: int((found.hits["motif"] == name).sum()) for name in record["motifs"]["few_sites"]
    }
    assert "rare" in record["motifs"]["few_sites"]
    assert record["motifs"]["read"] == len(MOTIFS) + 2
    assert record["motifs"]["tested"] + len(record["motifs"]["few_sites"]) == record["motifs"]["searched"]
    assert [model["weights_sha256"] for model in record["models"]] == ["a" * 64, "b" * 64]
    assert record["store"]["method"] == METHODS[0]
    assert record["windows"] == 60
    assert any("1 of 8 motifs can have no site" in note for note in notes)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    with make_store(tmp_path / "store") as store:
        found = compare(store, "A", **LOOSE)
        with pytest.raises(ChromTransferError, match="holds other files"):
            write_comparison(found, tmp_path / "out", figures=None, html=False)
        with pytest.raises(ChromTransferError, match="there is no folder"):
            write_comparison(found, tmp_path / "none" / "out", figures=None, html=False)
        with pytest.raises(ChromTransferError, match="expected pdf, png, svg or None"):
            write_comparison(found, tmp_path / "new", figures="gif", html=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    assert not (tmp_path / "new").exists()


def planted_table(**changes: float) -> pd.DataFrame:
    """Motifs a1, a2 of line X, b1 of line Y and 40 controls, as they should be; ``changes`` are of cells MOTIF_COLUMN."""
    rows = {"a1": (0.8, 0.1, 0.7), "a2": (0.5, -0.2, 0.5), "b1": (-0.2, 0.6, -0.6)}
    rows |= {f"c{n}": (0.1 - n / 200, n / 200 - 0.1, 0.05) for n in range(40)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["X.D", "Y.D", "diff.D"])
    for name in ("X", "Y"):
        table[f"{name}.fdr"] = np.where(table[f"{name}.D"].abs() > 0.3, 1e-9, 0.5)
    table["sig"] = (table[["X.fdr", "Y.fdr"]] < 1e-3).any(axis=1)
    table["n"] = 200
    for cell, value in changes.items():
        motif, column = cell.split("_")
        table.loc[motif, column.replace("D", ".D").replace("fdr", ".fdr")] = value
    return table.rename_axis("motif").reset_index()


PLANTED = {"X": ["a1", "a2"], "Y": ["b1"]}
CONTROLS = [f"c{n}" for n in range(40)]


def test_what_was_planted_is_found():
    check = check_planted(planted_table(), PLANTED, CONTROLS)
    assert check.problems == []
    assert check.motifs[["line", "motif", "X.rank", "Y.rank"]].to_numpy().tolist()[0] == ["X", "a1", 1, 2]
    assert check.controls == {"tested": 40, "significant": 0, "read": 0, "largest_D": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"a2_XD": 0.05}, "first by D of X: a1, c0"),
        ({"a2_XD": 0.25}, "a2: D in X is 0.250"),
        ({"a2_Xfdr": 0.01}, "a2: D in X is 0.500, FDR 1.0e-02"),
        ({"b1_XD": 0.4}, "b1: D in X is 0.400, not near 0"),
        ({"b1_diffD": 0.6}, "first by D of X - Y: a1, b1"),
        ({"c3_Xfdr": 1e-9}, "controls that look like motifs: c3"),
        ({f"c{n}_sig": True for n in range(3)}, "controls: 3 of 40 are significant"),
    ],
)
def test_what_is_not_as_planted_is_said(changes, problem):
    check = check_planted(planted_table(**changes), PLANTED, CONTROLS)
    assert any(text.startswith(problem) for text in check.problems), check.problems


def test_a_planted_motif_without_sites_and_no_controls():
    check = check_planted(planted_table(), {"X": ["a1", "a2"], "Y": ["b1", "b2"]}, [])
    assert "b2: too few sites" in check.problems
    assert "controls: none has enough sites" in check.problems


def test_relatives():
    p_values = pd.DataFrame(0.5, index=["a1", "a2", "b1", *CONTROLS], columns=["a1", "a2", "b1"])
    p_values.loc["a1", "a1"] = p_values.loc["b1", "b1"] = 0
    assert check_relatives(planted_table(), PLANTED, p_values) == []
    found = check_relatives(planted_table(c7_XD=0.9), PLANTED, p_values)
    assert found == ["X.D: c7 is unlike the motifs of X"]


@pytest.mark.filterwarnings("ignore:tomtom was given")  # the toy has few motifs
def test_controls_keep_the_columns_and_are_unlike_the_planted():
    planted = {"site": MOTIFS["site"]}
    made = control_motifs(planted, ["site"], random_motifs(), each=30, seed=1)
    assert 3 < len(made) < 30
    for matrix in made.values():
        assert sorted(map(tuple, matrix)) == sorted(map(tuple, MOTIFS["site"]))
    same = control_motifs(planted, ["site"], random_motifs(), each=30, seed=1)
    assert list(made) == list(same)
    np.testing.assert_array_equal(next(iter(made.values())), next(iter(same.values())))


def test_touching_planted_sites():
    sites = pd.DataFrame({"chrom": ["chr1", "chr1", "chr2"], "start": [100, 50, 10], "end": [110, 60, 20]})
    hits = pd.DataFrame(
        [("chr1", 110, 120), ("chr1", 109, 120), ("chr1", 40, 50), ("chr1", 40, 51), ("chr1", 55, 58),
         ("chr2", 0, 11), ("chr2", 20, 25), ("chr3", 10, 20), ("chr1", 70, 80)],
        columns=["chrom", "start", "end"],
    )  # fmt: skip
    assert touching(hits, sites).tolist() == [False, True, False, True, True, True, False, False, False]


def test_the_store_is_named_in_messages(tmp_path: Path):
    with make_store(tmp_path / "store") as store, pytest.raises(ChromTransferError, match=str(tmp_path)):
        compare(store, "nobody")


@pytest.mark.parametrize("fdr", [0, float("nan"), 1.5])
def test_an_impossible_fdr_is_refused_before_the_scan(tmp_path, monkeypatch, fdr):
    monkeypatch.setattr(analysis, "find_sites", lambda *_: pytest.fail("scanned"))
    with (
        make_store(tmp_path / "store") as store,
        pytest.raises(ChromTransferError, match="expected a number above 0"),
    ):
        compare(store, "A", **LOOSE | {"fdr": fdr})


@pytest.mark.parametrize("lost", ["p_value", "motifs_sha256"])
def test_a_table_of_sites_that_lost_something_is_refused(tmp_path, lost):
    with make_store(tmp_path / "store") as store:
        hits = find_sites(store, store.rows(), MOTIFS, threshold=2e-3)
    facts = {key: value for key, value in hits.attrs["sites"].items() if key != lost}
    hits = hits.drop(columns=lost, errors="ignore")
    hits.attrs["sites"] = facts
    path = write_sites(hits, tmp_path / "hits.parquet")
    with pytest.raises(ChromTransferError, match=rf"hits.parquet: has no {lost}"):
        read_sites(path)


@pytest.mark.parametrize("record", ["comparison.json", "discovery.json"])
def test_what_lies_beside_an_earlier_result_is_not_lost(tmp_path, monkeypatch, record):
    check = analysis.check_folder if record == "comparison.json" else discover.check_output
    out = tmp_path / "out"
    check(out)
    out.mkdir()
    check(out)
    (out / record).write_text("{}")
    (out / ("figures" if record == "comparison.json" else "summary.tsv")).write_text("")
    check(out)
    monkeypatch.chdir(out)
    with pytest.raises(ChromTransferError, match="name of a new folder"):
        check(Path("."))
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ChromTransferError, match=r"thesis\.txt beside an earlier result"):
        check(out)
    (out / record).unlink()
    with pytest.raises(ChromTransferError, match="holds other files"):
        check(out)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ChromTransferError, match="is no folder"):
        check(tmp_path / "link")
