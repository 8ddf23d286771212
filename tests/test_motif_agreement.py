"""Gradients against in-silico mutagenesis, motif by motif."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from motif_cases import random_motifs, site_motif
from motif_stores import make_store
from scipy.stats import pearsonr, spearmanr

from chromtransfer_plugin.attribution.store import AttributionStore
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs.agreement import agreement_by_motif
from chromtransfer_plugin.motifs.sites import find_sites

MOTIFS = {name: matrix for name, matrix in random_motifs().items() if len(matrix) < 20} | site_motif()
LOOSE = {"motifs": MOTIFS, "threshold": 2e-3, "min_hits": 35}


def extremes(gradients: AttributionStore, ism: AttributionStore) -> pd.DataFrame:
    """Largest gradient and smallest delta of each site, one by one."""
    rows = gradients.rows()
    regions = gradients.placed(rows)
    hits = find_sites(gradients, rows, MOTIFS, threshold=2e-3)
    there = ism.placed(ism.rows())
    found = []
    for hit in hits.itertuples():
        window = regions.iloc[hit.region]
        other = there.index[(there["chrom"] == window["chrom"]) & (there["start"] == window["start"])]
        if not len(other):
            continue
        bases = slice(hit.start - window["start"], hit.end - window["start"])
        x = gradients.scores("A", [rows[hit.region]])[0, bases].max()
        y = ism.scores("A", [ism.rows()[other[0]]])[0, bases].min()
        found.append((hit.motif, float(x), float(y)))
    return pd.DataFrame(found, columns=["motif", "x", "y"])


def test_correlations_are_scipys(tmp_path):
    """The stores hold different windows in different orders."""
    with (
        make_store(tmp_path / "g", keep=slice(10, None)) as gradients,
        make_store(
            tmp_path / "i", method="ism", sign=-0.2, noise=0.7, shuffle=True, keep=slice(0, 60)
        ) as ism,
    ):
        notes: list[str] = []
        table = agreement_by_motif(gradients, ism, "A", report=notes.append, **LOOSE)
        pairs = extremes(gradients, ism)
    assert list(table.columns) == ["motif", "n", "pearson", "spearman"]
    assert table["motif"].iloc[0] == "all sites"
    assert table["n"].iloc[0] == len(pairs)
    counts = pairs["motif"].value_counts()
    assert list(table["motif"].iloc[1:]) == sorted(counts.index[counts >= LOOSE["min_hits"]])
    assert (counts < LOOSE["min_hits"]).any()
    for row in table.itertuples():
        own = pairs if row.motif == "all sites" else pairs[pairs["motif"] == row.motif]
        assert row.n == len(own)
        assert row.pearson == pytest.approx(pearsonr(own["x"], own["y"]).statistic, abs=1e-9)
        assert row.spearman == pytest.approx(spearmanr(own["x"], own["y"]).statistic, abs=1e-9)
        assert row.spearman < -0.1
    assert any("windows are in both stores" in note for note in notes)


def test_exact_opposites_agree_perfectly_and_names_choose(tmp_path):
    with make_store(tmp_path / "g") as gradients, make_store(tmp_path / "i", method="ism", sign=-2) as ism:
        table = agreement_by_motif(gradients, ism, "A", names=["site"], **LOOSE)
        renamed = agreement_by_motif(gradients, ism, "A", ism_model="A", names=["site"], **LOOSE)
    assert list(table["motif"]) == ["all sites", "site"]
    np.testing.assert_allclose(table[["pearson", "spearman"]], -1, atol=1e-9)
    pd.testing.assert_frame_equal(table, renamed)


def test_scores_that_never_change_have_no_correlation(tmp_path):
    with make_store(tmp_path / "g") as gradients, make_store(tmp_path / "i", method="ism", sign=0) as ism:
        table = agreement_by_motif(gradients, ism, "A", **LOOSE)
    assert table[["pearson", "spearman"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("first", "second", "arguments", "message"),
    [
        ({}, {"method": "ism", "identity": "genome two"}, {}, "which is not the genome of .*second"),
        ({}, {}, {}, "expected first a store of gradients .* is of gradient-x-input, .* of gradient-x-input"),
        ({"method": "ism"}, {"method": "ism"}, {}, "expected first a store of gradients"),
        ({"keep": slice(0, 5)}, {"method": "ism", "keep": slice(30, 35)}, {}, "share no window"),
        ({}, {"method": "ism"}, {"model": "C"}, "has no model 'C'"),
        ({}, {"method": "ism"}, {"ism_model": "B"}, "A of .*first has other weights than B of .*second"),
        (
            {},
            {"method": "ism"},
            {"min_hits": 10**5},
            r"no motif has 100000 sites with both scores \(most: site",
        ),
        ({}, {"method": "ism"}, {"names": ["sit"]}, "'sit' is none of the 6 motifs; similar: site"),
        ({}, {"method": "ism", "placed": False}, {}, "no place in a genome"),
        ({"placed": False}, {"method": "ism"}, {}, "a FASTA of sequences"),
    ],
)
def test_stores_that_do_not_go_together(tmp_path, first, second, arguments, message):
    with (
        make_store(tmp_path / "first", **first) as gradients,
        make_store(tmp_path / "second", **second) as ism,
        pytest.raises(ChromTransferError, match=message),
    ):
        agreement_by_motif(gradients, ism, **{"model": "A", **LOOSE, **arguments})
