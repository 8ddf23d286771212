"""Patterns end to end: what was planted is found, counted, named and written; and what is said when it cannot be."""

from __future__ import annotations

import builtins
import gc
import json
import os
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from discover_cases import LENGTH, START, STEP, plant, write_codes

from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.motifs import read_motifs
from chromtransfer_plugin.motifs.discover import Discovery, discover_motifs, summarise, write_discovery
from chromtransfer_plugin.motifs.patterns import Pattern, discover_patterns
from chromtransfer_plugin.motifs.seqlets import find_seqlets
from chromtransfer_plugin.motifs.tomtom import MATCH_COLUMNS, match_patterns

HNF4A = "MA1494.1 HNF4A"
COLUMNS = ("pattern", "region", "chrom", "start", "end", "strand", "attribution")


def made_pattern(name: str, matrix: np.ndarray, regions: list[int], each: float = 2.0) -> Pattern:
    """A pattern with one seqlet per region, padded with flat columns."""
    flat = np.full((5, 4), 0.25)
    pwm = np.concatenate([flat, matrix, flat])
    start = START + STEP * np.array(regions) + 20
    seqlets = pd.DataFrame(
        {
            "pattern": name, "region": regions, "chrom": "chr1", "start": start, "end": start + len(pwm),
            "strand": "+", "attribution": each,
        }
    )  # fmt: skip
    return Pattern(name, pwm, (pwm - 0.25) * np.sign(each), pwm - 0.25, seqlets[list(COLUMNS)])


@pytest.fixture(scope="module")
def jaspar():
    return read_motifs("JASPAR2022")


@pytest.fixture
def found(jaspar):
    """Model a reads HNF4A in two patterns (one on the other strand) and GATA; b reads HNF4A and is lowered by it too."""
    hnf, gata = jaspar[HNF4A], jaspar["MA0035.4 GATA1"]
    patterns = {
        "a": [
            made_pattern("pos.0", hnf, [0, 0, 1, 2, 3]),
            made_pattern("pos.1", gata, [4, 5, 6]),
            made_pattern("pos.2", hnf[1:][::-1, ::-1], [7], each=4.0),
        ],
        "b": [made_pattern("pos.0", hnf, [0, 9], each=1.0), made_pattern("neg.0", hnf, [3], each=-1.0)],
    }
    seqlets = pd.DataFrame(
        {
            "region": [0], "chrom": "chr1", "start": [1003], "end": [1010], "strand": ".", "attribution": [1.5],
            "p_value": [0.001],
        }
    )  # fmt: skip
    return [
        Discovery(name, np.arange(10), seqlets, ones, match_patterns({p.name: p.pwm for p in ones}, jaspar))
        for name, ones in patterns.items()
    ]


@pytest.fixture
def empty_scores(tmp_path):
    """A store of two models and two sets, all scores 0."""
    codes, n = np.zeros((12, LENGTH), np.uint8), 12
    sets = ["a"] * 6 + ["other"] * 6
    return write_codes(
        tmp_path / "store", codes, np.zeros((n, 2, LENGTH), np.float32),
        np.zeros((n, 2, 4, LENGTH), np.float32), models=("a", "b"), sets=sets,
    )  # fmt: skip


def test_table_by_value(found):
    table = found[0].table().set_index("pattern")
    assert table.loc["pos.0", ["n_seqlets", "windows", "contribution"]].tolist() == [5, 0.4, 2.0]
    assert table["n_seqlets"].tolist() == [5, 3, 1]
    assert table["match"].tolist()[0] == HNF4A
    assert table["strand"].tolist()[0] == "+"
    assert table.loc["pos.2", "strand"] == "-"
    assert (table["q_value"] < 1e-6).all()
    assert "Rxra (q=" in table.loc["pos.0", "next"]


def test_summary_groups_what_looks_alike(found):
    table = summarise(found)
    assert table["group"].tolist()[0] == HNF4A
    assert table["patterns"].tolist() == ["a:pos.0; b:pos.0; a:pos.2", "a:pos.1", "b:neg.0"]
    assert table["sign"].tolist() == ["pos", "pos", "neg"]
    assert table["a.n_seqlets"].tolist() == [6, 3, 0]
    assert table["b.n_seqlets"].tolist() == [2, 0, 1]
    np.testing.assert_allclose(table["a.seqlets_per_window"], [0.6, 0.3, 0])
    np.testing.assert_allclose(table["a.contribution"], [(5 * 2 + 4) / 6, 2, np.nan])
    np.testing.assert_allclose(table["b.contribution"], [1, np.nan, -1])


def test_a_pattern_without_a_match_is_said_so(jaspar):
    flat = made_pattern("pos.0", np.full((8, 4), 0.25), [1, 2])
    one = Discovery("a", np.arange(4), pd.DataFrame(), [flat], match_patterns({"pos.0": flat.pwm}, jaspar))
    row = one.table().iloc[0]
    assert row["match"] == "no match"
    assert row["consensus"] == ""
    assert pd.isna(row["q_value"])
    assert summarise([one])["group"].tolist() == ["no match"]


def test_files(tmp_path, found, empty_scores, jaspar):
    write_discovery(tmp_path, found, empty_scores, jaspar)
    table = pd.read_csv(tmp_path / "a" / "patterns.tsv", sep="\t")
    assert table["match"].tolist() == pd.read_parquet(tmp_path / "a" / "patterns.parquet")["match"].tolist()
    assert table["match"][0] == HNF4A
    written = read_motifs(tmp_path / "a" / "patterns.meme")
    assert list(written) == ["a:pos.0", "a:pos.1", "a:pos.2"]
    first, last = found[0].patterns[0].core
    np.testing.assert_allclose(written["a:pos.0"], found[0].patterns[0].pwm[first:last], atol=1e-5)
    bed = pd.read_csv(tmp_path / "a" / "pattern_seqlets.bed.gz", sep="\t", header=None)
    assert bed.iloc[0].tolist() == ["chr1", 1020, 1020 + 25, "pos.0", 2.0, "+"]
    assert pd.read_csv(tmp_path / "a" / "seqlets.bed.gz", sep="\t", header=None).iloc[0].tolist() == [
        "chr1", 1003, 1010, ".", 1.5, "."
    ]  # fmt: skip
    assert len(pd.read_csv(tmp_path / "b" / "windows.bed.gz", sep="\t", header=None)) == 10
    matches = pd.read_parquet(tmp_path / "b" / "matches.parquet")
    assert tuple(matches.columns) == MATCH_COLUMNS
    assert sorted(os.listdir(tmp_path / "a" / "logos")) == ["pos.0.png", "pos.1.png", "pos.2.png"]
    summary = pd.read_csv(tmp_path / "summary.tsv", sep="\t")
    assert summary["a.n_seqlets"].tolist() == [6, 3, 0]
    assert (tmp_path / "summary.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
def test_no_file_stays_open(tmp_path, found, empty_scores, jaspar):
    one, counts = replace(found[0], patterns=found[0].patterns[:1]), []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        gc.collect()  # files that other tests left open
        gc.disable()
        write_discovery(tmp_path / name, [one], empty_scores, jaspar)
        counts.append(len(os.listdir("/proc/self/fd")))
        gc.enable()
    assert counts[2] == counts[1]  # the first opens what it imports


def test_the_logo_shows_the_matrices_that_were_matched(found, jaspar):
    from chromtransfer_plugin.motifs.pattern_figures import pattern_figure

    one = found[0].patterns[2]  # the other strand, cut by a column
    figure = pattern_figure(one, found[0].best("pos.2"), jaspar[HNF4A])
    above, below = figure.axes[1], figure.axes[2]
    assert above.get_xlim() == below.get_xlim()
    first, last = one.core
    assert below.get_xlim()[0] <= first - 0.5
    assert below.get_xlim()[1] >= last - 0.5
    assert (
        figure.axes[0].get_title()
        == f"pos.2: 1 seqlets\n{HNF4A} (-), q = {found[0].best('pos.2').q_value:.2g}"
    )


def test_seqlets_only(tmp_path, monkeypatch):
    without_modisco(monkeypatch)
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 0.01, (20, 1, LENGTH)).astype(np.float32)
    scores[:, 0, 40:50] += 1
    write_codes(tmp_path / "store", rng.integers(0, 4, (20, LENGTH)).astype(np.uint8), scores).close()
    arguments = [
        "motifs",
        "discover",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "out"),
        "--seqlets-only",
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "m: 20 windows" in result.output
    table = pd.read_parquet(tmp_path / "out" / "m" / "seqlets.parquet")
    assert (table["attribution"] > 9).sum() == 20
    record = json.loads((tmp_path / "out" / "discovery.json").read_text())
    assert record["models"] == [
        {"name": "m", "sets": ["s"], "windows": 20, "seqlets": len(table), "patterns": 0, "named": 0}
    ]
    assert not (tmp_path / "out" / "summary.tsv").exists()
    assert CliRunner().invoke(main, arguments).exit_code == 0  # replaces its own result


def without_modisco(monkeypatch) -> None:
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.startswith("modiscolite"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_without_modisco_the_message_says_how_to_install_it(tmp_path, empty_scores, monkeypatch):
    without_modisco(monkeypatch)
    with pytest.raises(ChromTransferError, match=r"pip install 'chromtransfer-plugin\[modisco\]'"):
        discover_patterns(empty_scores, "a")
    with pytest.raises(ChromTransferError, match="--seqlets-only"):
        discover_motifs(empty_scores.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_without_hypothetical_scores(tmp_path):
    zeros = np.zeros((3, 1, LENGTH), np.float32)
    with write_codes(tmp_path / "store", np.zeros((3, LENGTH), np.uint8), zeros) as store:
        with pytest.raises(ChromTransferError, match="chromtransfer attribute --hypothetical"):
            discover_patterns(store, "m")
        with pytest.raises(ChromTransferError, match="chromtransfer attribute --hypothetical"):
            discover_motifs(store.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ["x"]}, "has no model 'x', but a, b"),
        ({"sets": ["x"]}, "has no set 'x', but a, other"),
        ({"own_sets": True}, "the model 'b' has no set of its name"),
        ({"own_sets": True, "sets": ["a"]}, "not both"),
        ({"motifs": "none.meme"}, "none.meme: no such motif file"),
        ({"motifs": "JASPAR1900"}, "no release 'JASPAR1900'"),
        ({"window": 30}, "window=30: expected 80 to 300 bp"),
        ({"max_seqlets": 100}, "max_seqlets=100"),
        ({}, "nothing to cluster"),
    ],
)
def test_unusable_arguments_leave_nothing(tmp_path, empty_scores, options, message):
    with pytest.raises(ChromTransferError, match=message):
        discover_motifs(empty_scores.path, tmp_path / "out", **options)
    assert sorted(os.listdir(tmp_path)) == ["store"]


def test_an_empty_motif_file(tmp_path, empty_scores):
    (tmp_path / "empty.meme").write_text("MEME version 4\n")
    with pytest.raises(ChromTransferError, match="holds no motif"):
        discover_motifs(empty_scores.path, tmp_path / "out", motifs=tmp_path / "empty.meme")


def test_a_folder_of_something_else_is_not_replaced(tmp_path, empty_scores):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(ChromTransferError, match="holds other files"):
        discover_motifs(empty_scores.path, tmp_path / "out", seqlets_only=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_models_whose_folders_would_have_one_name(tmp_path):
    """Also where capitals do not count, as on the disks of macOS and Windows."""
    names = ["a/b", "a_b", "A b", ".."]
    scores = np.random.default_rng(1).normal(size=(40, 4, LENGTH)).astype(np.float32)
    codes = np.zeros((40, LENGTH), np.uint8)
    with write_codes(tmp_path / "store", codes, scores[:, : len(names)], models=names) as store:
        discover_motifs(store.path, tmp_path / "out", seqlets_only=True)
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders == ["A_b_3", "a_b", "a_b_2", "unnamed"]


def test_too_few_windows(tmp_path, jaspar):
    planted = plant(tmp_path / "store", jaspar[HNF4A], n=8)
    with (
        planted.store as store,
        pytest.raises(ChromTransferError, match="8 windows: too few seqlets to cluster"),
    ):
        discover_patterns(store, "m")


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "method"), [(1, "deep-lift-shap"), (-1, "gradient-x-input"), (1, "ism")])
def test_a_planted_motif_is_discovered(tmp_path, jaspar, sign, method):
    matrix = jaspar[HNF4A]
    planted = plant(tmp_path / "store", matrix, sign=sign, method=method)
    with planted.store as store:
        patterns = discover_patterns(store, "m", hdf5=tmp_path / "modisco.h5")
        again = discover_patterns(store, "m")
        seqlets = find_seqlets(store, "m")
    assert [one.name for one in patterns] == ["pos.0" if sign > 0 else "neg.0"]
    one = patterns[0]
    pd.testing.assert_frame_equal(one.seqlets, again[0].seqlets)
    np.testing.assert_array_equal(one.cwm, again[0].cwm)
    assert (np.sign(one.seqlets["attribution"]) == sign).all()

    match = match_patterns({one.name: one.pwm}, jaspar, n_best=1).iloc[0]
    assert match["motif"] == HNF4A
    assert match["named"]
    reverse = match["strand"] == "-"
    motif = matrix[::-1, ::-1] if reverse else matrix
    first = int(match["offset"])
    part = one.pwm[first : first + len(matrix)]
    assert np.corrcoef(part.ravel(), motif.ravel())[0, 1] > 0.98

    # each seqlet says where the site lies: to the base and on its strand
    seqlet = one.seqlets.drop_duplicates("region").set_index("region")
    width, length = len(one.pwm), len(matrix)
    plus = (seqlet["strand"] == "+").to_numpy()
    start = seqlet["start"].to_numpy() + np.where(plus, first, width - first - length)
    site = START + STEP * seqlet.index.to_numpy() + planted.at[seqlet.index]
    right = (start == site) & ((plus == reverse) == planted.minus[seqlet.index])
    assert len(seqlet) >= 0.9 * len(planted.at)
    assert right.mean() >= 0.95

    ends = START + STEP * seqlets["region"].to_numpy() + planted.at[seqlets["region"]] + length
    on_site = (seqlets["end"].to_numpy() > ends - length) & (seqlets["start"].to_numpy() < ends)
    on_site &= np.sign(seqlets["attribution"].to_numpy()) == sign
    assert seqlets["region"][on_site].nunique() >= 0.95 * len(planted.at)
    with h5py.File(tmp_path / "modisco.h5") as file:
        name = "pos_patterns" if sign > 0 else "neg_patterns"
        assert int(file[name]["pattern_0"]["seqlets"]["n_seqlets"][0]) == len(one.seqlets)


@pytest.mark.slow
def test_command(tmp_path, jaspar):
    plant(tmp_path / "store", jaspar[HNF4A]).store.close()
    result = CliRunner().invoke(
        main,
        ["motifs", "discover", str(tmp_path / "store"), "--window", "280", "--out", str(tmp_path / "out")],
    )
    assert result.exit_code == 0, result.output
    assert "1 patterns" in result.output
    assert pd.read_csv(tmp_path / "out" / "m" / "patterns.tsv", sep="\t")["match"].tolist() == [HNF4A]
    assert json.loads((tmp_path / "out" / "discovery.json").read_text())["models"][0]["named"] == 1
    assert (tmp_path / "out" / "m" / "modisco.h5").is_file()
    # the central window moves the places by nothing
    places = pd.read_parquet(tmp_path / "out" / "m" / "pattern_seqlets.parquet")
    inside = places["start"] - (START + STEP * places["region"])
    assert inside.min() >= 10
    assert (inside + 50).max() <= 290
