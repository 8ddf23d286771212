"""The enrichment of motifs against a plain loop over scipy and statsmodels, and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from motif_cases import random_motifs, site_motif
from scipy.stats import ks_2samp, rankdata
from statsmodels.stats.multitest import multipletests

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.enrichment import enrichment, focus_motifs, join_scores, write_table
from chromtransfer_plugin.motifs.hits import scan_hits, score_hits
from chromtransfer_plugin.onehot import encode

A, B = "score.HEPG2.max", "score.Pretrained.max"


def crowd(seed: int = 0, n: int = 700, ties: bool = False, missing: float = 0.1) -> pd.DataFrame:
    """Hits of 12 motifs in a crowd: two contigs, many overlaps, widths 5 to 14, ties and missing scores."""
    rng = np.random.default_rng(seed)
    motif = rng.choice(12, n, p=np.r_[np.full(10, 0.097), 0.02, 0.01])
    start = rng.integers(0, 6000, n)
    scores = rng.normal(size=(n, 2)) + 0.4 * (motif[:, None] - [6, 3]) * (motif[:, None] % 3 == 0)
    if ties:
        scores = np.round(scores)
    scores[rng.random((n, 2)) < missing] = np.nan
    table = pd.DataFrame(
        {
            "region": rng.integers(0, 20, n),
            "chrom": rng.choice(["chr1", "chr2"], n),
            "start": start,
            "end": start + 5 + motif % 10,
            "motif": [f"m{number:02}" for number in motif],
            A: scores[:, 0],
            B: scores[:, 1],
        }
    )
    return table.drop_duplicates(["region", "chrom", "start", "motif"], ignore_index=True)


def by_loops(hits: pd.DataFrame, min_hits: int, fdr: float) -> pd.DataFrame:
    """The definition, hit by hit."""
    values = {"HEPG2": hits[A], "Pretrained": hits[B], "diff": hits[A] - hits[B]}
    ranks = {
        name: pd.Series(rankdata(v.dropna()), index=v.dropna().index).reindex(v.index)
        for name, v in values.items()
    }
    places = list(zip(hits["chrom"], hits["start"], hits["end"], strict=True))
    rows = []
    for motif, own in hits.groupby("motif"):
        if max(own[A].notna().sum(), own[B].notna().sum()) < min_hits:
            continue
        its = [places[number] for number in own.index]
        near = np.array([any(c == o[0] and s < o[2] and o[1] < e for o in its) for c, s, e in places])
        row = {"motif": motif, "n": len(own), "n_background": int((~near).sum())}
        for name, v in values.items():
            foreground, background = v[own.index].dropna(), v[~near].dropna()
            row[f"{name}.D"] = row[f"{name}.pval"] = np.nan
            if len(foreground) and len(background):
                test = ks_2samp(foreground, background, method="asymp")
                lower = ranks[name][foreground.index].mean() < ranks[name][background.index].mean()
                row[f"{name}.D"] = -test.statistic if lower else test.statistic
                row[f"{name}.pval"] = test.pvalue
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in values:
        known = table[f"{name}.pval"].notna()
        table[f"{name}.fdr"] = np.nan
        table.loc[known, f"{name}.fdr"] = multipletests(table.loc[known, f"{name}.pval"], method="fdr_bh")[1]
    table["sig"] = (table["HEPG2.fdr"] < fdr) | (table["Pretrained.fdr"] < fdr)
    for name in values:
        table[f"{name}.rank"] = np.nan
        table.loc[table["sig"], f"{name}.rank"] = rankdata(table.loc[table["sig"], f"{name}.D"])
    return table


@pytest.mark.parametrize(("ties", "missing"), [(False, 0.0), (False, 0.3), (True, 0.1)])
def test_equals_the_definition(ties, missing):
    hits = crowd(3 + ties, ties=ties, missing=missing)
    found = enrichment(hits, A, B, min_hits=20, fdr=0.02)
    expected = by_loops(hits, 20, 0.02)
    assert list(found) == [
        "motif", "HEPG2.D", "HEPG2.pval", "Pretrained.D", "Pretrained.pval", "diff.D", "diff.pval",
        "HEPG2.fdr", "Pretrained.fdr", "diff.fdr", "sig", "HEPG2.rank", "Pretrained.rank", "diff.rank",
        "n", "n_background",
    ]  # fmt: skip
    assert len(found) == 10  # not m10 and m11, which are too few
    assert 0 < found["sig"].sum() < 10
    assert (found["HEPG2.D"] < 0).any()
    assert (found["HEPG2.D"] > 0).any()
    pd.testing.assert_frame_equal(found, expected[list(found)], check_dtype=False, rtol=1e-12)


def test_the_order_of_rows_and_the_kind_of_columns_change_nothing():
    hits = crowd(1, ties=True)
    found = enrichment(hits, A, B, min_hits=20)
    other = hits.sample(frac=1, random_state=0)
    other[["chrom", "motif"]] = other[["chrom", "motif"]].astype("category")
    pd.testing.assert_frame_equal(found, enrichment(other, A, B, min_hits=20))


def test_a_growing_transform_of_the_scores_changes_nothing():
    hits = crowd(2)
    found = enrichment(hits, A, min_hits=20)
    bent = enrichment(hits.assign(**{A: np.exp(hits[A])}), A, min_hits=20)
    pd.testing.assert_frame_equal(found, bent)
    turned = enrichment(hits.assign(**{A: -hits[A]}), A, min_hits=20)
    np.testing.assert_allclose(turned["HEPG2.D"], -found["HEPG2.D"], rtol=1e-12)
    assert list(found) == [
        "motif",
        "HEPG2.D",
        "HEPG2.pval",
        "HEPG2.fdr",
        "sig",
        "HEPG2.rank",
        "n",
        "n_background",
    ]


def sites(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "start", "end", "motif", A])


def test_overlaps_by_hand():
    hits = sites(
        ("chr1", 100, 110, "x", 1.0),
        ("chr1", 105, 120, "x", 2.0),
        ("chr1", 106, 108, "x", 1.5),  # within its own
        ("chr1", 90, 100, "y", 3.0),  # touches x, shares no base
        ("chr1", 91, 101, "y", 100.0),  # shares one
        ("chr1", 119, 125, "y", 100.0),  # shares one
        ("chr1", 120, 125, "y", 4.0),
        ("chr1", 50, 500, "z", 100.0),  # holds all of x
        ("chr2", 100, 110, "y", 5.0),  # another contig
        ("chr1", 107, 108, "z", 100.0),  # inside
        ("chr1", 600, 601, "x", 9.0),
        ("chr1", 599, 602, "z", 100.0),
    )
    row = enrichment(hits, A, min_hits=3).set_index("motif").loc["x"]
    assert (row["n"], row["n_background"]) == (4, 3)
    test = ks_2samp(
        [1, 1.5, 2, 9], [3, 4, 5], method="asymp"
    )  # D = 3/4, ranks 1, 2, 3 and 7 against 4, 5 and 6
    assert row["HEPG2.D"] == pytest.approx(-test.statistic)
    assert row["HEPG2.pval"] == pytest.approx(test.pvalue)


@pytest.mark.parametrize(("scores", "sign"), [((1, 2, 9), -1), ((1, 8, 9), 1), ((1, 4, 7), 1)])
def test_sign(scores, sign):
    """The mean rank decides, not the mean (4 in the first case, as the others'); of equal ranks D is positive."""
    start = np.arange(0, 60, 10)
    hits = pd.DataFrame(
        {"chrom": "c", "start": start, "end": start + 5, "motif": list("xxxyyy"), A: [*scores, 3, 4, 5]}
    )
    assert np.sign(enrichment(hits, A, min_hits=3).set_index("motif").loc["x", "HEPG2.D"]) == sign


def test_a_motif_without_a_background_is_left_out_of_the_adjustment():
    rng = np.random.default_rng(0)
    start = np.arange(0, 6000, 30)
    motif = np.where(np.arange(200) % 2, "left", "right")
    hits = pd.DataFrame(
        {"chrom": "c", "start": start, "end": start + 9, "motif": motif, A: rng.normal(size=200)}
    )
    over = hits.assign(motif="over", **{A: rng.normal(size=200)})
    table = enrichment(pd.concat([hits, over]), A, min_hits=50).set_index("motif")
    assert table.loc["over", "n_background"] == 0
    assert table.loc["over", ["HEPG2.D", "HEPG2.pval", "HEPG2.fdr", "HEPG2.rank"]].isna().all()
    assert not table.loc["over", "sig"]
    pairs = table.loc[["left", "right"]]
    np.testing.assert_allclose(pairs["HEPG2.fdr"], multipletests(pairs["HEPG2.pval"], method="fdr_bh")[1])


def test_models_without_a_site_in_common_have_no_difference():
    hits = crowd(5, missing=0)
    half = np.arange(len(hits)) % 2 == 0
    table = enrichment(hits.assign(**{A: hits[A].where(half), B: hits[B].where(~half)}), A, B, min_hits=20)
    assert table[["diff.D", "diff.pval", "diff.fdr", "diff.rank"]].isna().all().all()
    assert table[["HEPG2.D", "Pretrained.D"]].notna().all().all()


def test_the_number_of_sites_counts_in_either_model():
    hits = crowd(6, missing=0).query("motif != 'm11'")
    few = hits["motif"] == "m10"
    n = int(few.sum())
    assert "m10" in set(enrichment(hits.assign(**{A: hits[A].mask(few)}), A, B, min_hits=n)["motif"])
    one_less = hits.index[few][0]
    hits.loc[one_less, [A, B]] = np.nan
    assert "m10" not in set(enrichment(hits, A, B, min_hits=n)["motif"])
    assert "m10" in set(enrichment(hits, A, B, min_hits=n - 1)["motif"])


def test_a_planted_difference_comes_first_and_a_control_does_not():
    rng = np.random.default_rng(0)
    n = 9000
    start = rng.integers(0, 400_000, n)
    motif = rng.integers(0, 30, n)
    hits = pd.DataFrame(
        {"chrom": "c", "start": start, "end": start + 10, "motif": [f"m{m:02}" for m in motif]}
    )
    hits[A], hits[B] = rng.normal(size=(2, n))
    hits.loc[motif == 7, A] += 1.0
    hits.loc[motif == 8, B] -= 1.0
    table = enrichment(hits, A, B).set_index("motif")
    assert table.index[table["sig"]].tolist() == ["m07", "m08"]
    assert table["HEPG2.D"].idxmax() == "m07"
    assert table["Pretrained.D"].idxmin() == "m08"
    assert table["HEPG2.D"]["m07"] > 0.3
    assert table["Pretrained.D"]["m08"] < -0.3
    assert table.loc[["m07", "m08"], "diff.D"].min() > 0.2
    assert table["HEPG2.rank"]["m07"] == 2
    assert table["HEPG2.rank"]["m08"] == 1
    assert table["HEPG2.rank"].count() == 2
    others = table.drop(["m07", "m08"])
    assert (others[["HEPG2.fdr", "Pretrained.fdr", "diff.fdr"]] > 0.001).all().all()


def test_from_sequence_to_table():
    """As in docs/motifs.md: a model that sees one motif, a model that sees nothing."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (300, 60), dtype=np.uint8)
    scores = {name: rng.normal(size=(300, 60)).astype(np.float32) for name in ("HEPG2", "Pretrained")}
    motifs = {
        **site_motif("TGACTCAGCA"),
        "other": site_motif("GGTACAAAGT")["site"],
        "third": random_motifs()["f"],
    }
    for row, word in enumerate(("TGACTCAGCA", "GGTACAAAGT", "AAACCCGGGT") * 100):
        at = rng.integers(0, 50)
        codes[row, at : at + 10] = encode(word)
        if word.startswith("TGA"):
            scores["HEPG2"][row, at : at + 10] += 2
    starts = 5000 + 100 * np.arange(300)
    regions = pd.DataFrame({"chrom": "chr1", "start": starts, "end": starts + 60})
    hits = scan_hits(regions, codes, motifs)
    for name, values in scores.items():
        hits = score_hits(hits, regions, values, name)
    table = enrichment(hits, "score.HEPG2.max", "score.Pretrained.max", min_hits=90).set_index("motif")
    assert table["n"].to_dict() == {"other": 100, "site": 100}
    assert table["HEPG2.D"]["site"] > 0.5 > -0.5 > table["HEPG2.D"]["other"]
    assert table["diff.D"]["site"] > 0.5
    assert abs(table["Pretrained.D"]["site"]) < 0.25
    assert table["sig"].all()
    assert focus_motifs(table.reset_index())["motif"].tolist() == ["other", "site"]


def test_joined_tables_hold_the_sites_of_either():
    place = {"region": [0, 0, 1], "chrom": "chr1", "start": [5, 9, 5], "end": [12, 14, 12]}
    a = pd.DataFrame({**place, "strand": ["+", "-", "+"], "motif": ["x", "y", "x"], A: [1.0, 2, 3]})
    b = a.rename(columns={A: B}).assign(region=[0, 0, 2], strand="-")
    for column in ("chrom", "motif", "strand"):
        a[column] = a[column].astype("category")
    joined = join_scores(a, b).astype({"chrom": "str", "motif": "str"})
    assert joined[["region", "chrom", "start", "end", "motif", "strand"]].to_numpy().tolist() == [
        [0, "chr1", 5, 12, "x", "+"],
        [0, "chr1", 9, 14, "y", "-"],
        [1, "chr1", 5, 12, "x", "+"],
        [2, "chr1", 5, 12, "x", "-"],
    ]
    np.testing.assert_array_equal(joined[A], [1, 2, 3, np.nan])
    np.testing.assert_array_equal(joined[B], [1, 2, np.nan, 3])
    with pytest.raises(ChromTransferError, match="both tables have the column"):
        join_scores(a, a)
    with pytest.raises(ChromTransferError, match="second table has the site x at chr1:5-12 twice"):
        join_scores(a, pd.concat([b, b]))


def test_focus():
    """Signs differ for m01 and m03 to m05; m11 is not significant."""
    numbers = np.arange(12)
    table = pd.DataFrame(
        {
            "motif": [f"m{n:02}" for n in numbers],
            "a.D": (numbers - 5.5) / 10,
            "b.D": np.r_[-0.1, 0.3, -0.2, np.linspace(0.01, 0.09, 9)],
            "diff.D": (numbers * 7 % 12 - 5.5) / 20,
            "sig": numbers != 11,
            "a.rank": numbers,
            "b.rank": numbers,
            "diff.rank": numbers,
        }
    )
    found = focus_motifs(table, lowest=1, highest=2, difference=1)
    assert list(found.itertuples(index=False, name=None)) == [
        ("m00", "a lowest; diff lowest"),
        ("m10", "a highest; b highest"),
        ("m09", "a highest"),
        ("m02", "b lowest"),
        ("m01", "b highest; a lowest, opposite in the other model; b highest, opposite in the other model"),
        (
            "m05",
            "diff highest; a highest, opposite in the other model; b highest, opposite in the other model",
        ),
        ("m04", "a highest, opposite in the other model"),
        ("m03", "b lowest, opposite in the other model"),
    ]
    one = table[["motif", "a.D", "a.rank", "sig"]]
    chosen = focus_motifs(one, lowest=1, highest=2)
    assert list(chosen.itertuples(index=False, name=None)) == [
        ("m00", "a lowest"),
        ("m10", "a highest"),
        ("m09", "a highest"),
    ]
    with pytest.raises(ChromTransferError, match="expected the enrichment of one model or of two"):
        focus_motifs(table[["motif", "a.D", "a.rank", "b.D", "b.rank", "sig"]])


def test_tables_on_disk(tmp_path):
    table = enrichment(crowd(7), A, B, min_hits=20, fdr=0.02)
    tsv, parquet = write_table(table, tmp_path / "motifs.v1")
    assert (tsv.name, parquet.name) == ("motifs.v1.tsv", "motifs.v1.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), table)
    pd.testing.assert_frame_equal(pd.read_csv(tsv, sep="\t"), table, rtol=1e-12)
    assert "\tNA\t" in tsv.read_text()
    assert write_table(table, tmp_path / "x.tsv")[1] == tmp_path / "x.parquet"
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(ChromTransferError, match="does not exist"):
        write_table(table, tmp_path / "none" / "x")


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"a": "score.K562.max"}, "no column 'score.K562.max'"),
        ({}, {"b": A}, "expected 2 different ones"),
        ({}, {"names": ["x", "diff"]}, "expected 2 different ones, not 'diff'"),
        ({}, {"fdr": 0}, "fdr=0"),
        ({}, {"min_hits": 1000}, r"no motif has 1000 scored sites \(most: m0\d, \d+\)"),
        ({A: np.inf}, {}, "holds an infinite score"),
        ({A: "high"}, {}, "is not of numbers"),
        ({"end": 0}, {}, "is no interval"),
        ({"motif": None}, {}, "a chrom or motif is missing"),
        ({A: np.nan, B: np.nan}, {}, "no motif has 20 scored sites"),
    ],
)
def test_bad_tables(change, arguments, message):
    with pytest.raises(ChromTransferError, match=message):
        enrichment(crowd().assign(**change), **({"a": A, "b": B, "min_hits": 20} | arguments))


def test_an_empty_table():
    with pytest.raises(ChromTransferError, match="the table is empty"):
        enrichment(crowd()[:0], A, B)
