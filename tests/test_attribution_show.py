"""Tables and logos of stores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from attribution_cases import (  # noqa: F401 - made and unplaced are fixtures
    MODELS,
    PLACES,
    WINDOW,
    brute_force,
    facts,
    made,
    make_store,
    once,
    piece,
    regions,
    unplaced,
)
from click.testing import CliRunner

from chromtransfer_plugin.attribution import figures
from chromtransfer_plugin.attribution.figures import plot_store
from chromtransfer_plugin.attribution.show import list_store, show_region
from chromtransfer_plugin.attribution.store import write_store
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import decode

# --- show and list -----------------------------------------------------------------------------------


def test_the_table_of_a_region(made, tmp_path):  # noqa: F811
    folder, whole = made
    n = show_region(folder, "chr2:118-121", out=tmp_path / "o.tsv")
    table = pd.read_csv(tmp_path / "o.tsv", sep="\t")
    assert list(table) == ["set", "window", "chrom", "start", "end", "base", "K562", "HEPG2"]
    expected = []
    for row in (0, 1, 3, 6):  # row 2 is row 0 again
        name, chrom, start = PLACES[row]
        for at in range(118, 121):
            if start <= at < start + WINDOW:
                base = "ACGTN"[whole.codes[row, at - start]]
                scores = whole.scores[row, :, at - start].tolist()
                expected.append([name, f"{chrom}:{start}-{start + WINDOW}", chrom, at, at + 1, base, *scores])
    assert n == len(expected) == 3 + 2 + 2 + 3
    assert table.iloc[:, :6].to_numpy().tolist() == [row[:6] for row in expected]
    np.testing.assert_array_equal(
        table[["K562", "HEPG2"]].astype(np.float32), np.array([row[6:] for row in expected], np.float32)
    )


def test_the_table_of_one_model_and_set_is_printed(made):  # noqa: F811
    arguments = ["attributions", "show", str(made[0]), "chr2:118-119", "--model", "HEPG2", "--set", "b"]
    done = CliRunner().invoke(main, [*arguments, "--model", "HEPG2"])
    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert head == "set\twindow\tchrom\tstart\tend\tbase\tHEPG2"
    assert row.startswith("b\tchr2:115-135\tchr2\t118\t119\t")
    assert np.float32(row.split("\t")[-1]) == made[1].scores[6, 1, 3]


def test_sequences_without_a_place_are_shown_by_name(unplaced, tmp_path):  # noqa: F811
    folder, whole = unplaced
    assert show_region(folder, "w2", models=["K562"], out=tmp_path / "o.tsv.gz") == WINDOW
    table = pd.read_csv(tmp_path / "o.tsv.gz", sep="\t", keep_default_na=False)
    assert table["start"].tolist() == list(range(WINDOW))
    assert set(table["chrom"]) == {""}
    assert "".join(table["base"]) == decode(whole.codes[2])
    np.testing.assert_array_equal(table["K562"].astype(np.float32), whole.scores[2, 0])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("chr2:400-500", "no window over chr2:400-500. Its 5 windows on chr2 lie between 100 and 320"),
        ("chr7:1-9", "no window over chr7:1-9. It has windows on chr2, chr1, chr10"),
        ("chr2", "expected chrom:start-end"),
        ("chr2:9-3", "expected chrom:start-end"),
        ("chr2:1,000-2,000", "expected chrom:start-end"),
    ],
)
def test_regions_that_are_not_there(made, tmp_path, what, message):  # noqa: F811
    with pytest.raises(ChromTransferError, match=message):
        show_region(made[0], what, out=tmp_path / "o.tsv")
    with pytest.raises(ChromTransferError, match=message):
        plot_store(made[0], what, out=tmp_path / "o.png")
    assert list(tmp_path.iterdir()) == []


def test_list(made, unplaced, tmp_path):  # noqa: F811
    text = list_store(made[0])
    assert "8 windows of 20 bp" in text
    assert "gradient-x-input of the logit" in text
    assert "all bases   kept" in text
    assert "5 windows of a.bed" in text
    assert "genome.fa" in text
    assert "sequences of FASTA files" in list_store(unplaced[0])
    sets = [{"name": name} for name in "abc"]  # as another program may write them
    make_store(tmp_path / "s", PLACES, models=[{"name": name} for name in MODELS], sets=sets)
    assert "  c                    0 windows of ?" in list_store(tmp_path / "s")
    done = CliRunner().invoke(main, ["attributions", "list", str(made[0].parent)])
    assert done.exit_code == 1
    assert "is no attribution store" in done.output


# --- logos -------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """The panels of each figure."""
    panels = []
    original = figures.draw_logos
    monkeypatch.setattr(
        figures, "draw_logos", lambda given, method: (panels.append(given), original(given, method))[1]
    )
    return panels


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_region_is_drawn_with_the_mean_of_its_windows(made, tmp_path, drawn, suffix):  # noqa: F811
    folder, whole = made
    out = tmp_path / f"o.{suffix}"
    assert plot_store(folder, "chr2:90-125", out=out, models=["HEPG2", "K562"], sets=["a"]) == [out]
    magic = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert out.read_bytes().startswith(magic)
    (panels,) = drawn
    assert [panel.title for panel in panels] == ["HEPG2, chr2:90-125", "K562, chr2:90-125"]
    for panel, number in zip(panels, (1, 0), strict=True):
        means = brute_force(whole.scores[:, number], once("a"))["chr2"][90:125]
        np.testing.assert_allclose(panel.scores, np.nan_to_num(means), atol=1e-6)
        assert panel.codes[:10].tolist() == [4] * 10  # no window, no letter
        assert panel.codes[10:19].tolist() == whole.codes[1, :9].tolist()
        assert panel.start == 90


def test_the_first_windows_are_drawn_one_by_one(made, tmp_path, drawn):  # noqa: F811
    folder, whole = made
    arguments = [
        "attributions",
        "plot",
        str(folder),
        "--top",
        "2",
        "--out-folder",
        str(tmp_path / "o"),
        "--set",
        "b",
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["chr10_0-20.png", "chr2_115-135.png"]
    assert [[panel.start for panel in panels] for panels in drawn] == [[0, 0], [115, 115]]
    np.testing.assert_array_equal(drawn[1][1].scores, whole.scores[6, 1])


def test_sequences_without_a_place_are_drawn(unplaced, tmp_path, drawn):  # noqa: F811
    folder, whole = unplaced
    plot_store(folder, "w0", out=tmp_path / "o.svg", models=["K562"])
    np.testing.assert_array_equal(drawn[0][0].scores, whole.scores[0, 0])
    files = plot_store(folder, top=9, out_folder=tmp_path / "o", models=["K562"])
    assert [path.name for path in files] == ["w0.png", "w1.png", "w2.png"]


def test_different_sequences_of_one_place_are_not_averaged(tmp_path, drawn):
    # Sequences are random, so the first two differ; the third stands alone.
    make_store(tmp_path / "s", [("a", "chr1", 5), ("b", "chr1", 15), ("a", "chr1", 100)], genome=None)
    with pytest.raises(ChromTransferError, match=r"chr1:10-20: 2 sequences of .* are there, and they differ"):
        plot_store(tmp_path / "s", "chr1:10-20", out=tmp_path / "o.svg")
    for options in (
        {"region": "chr1:10-20", "sets": ["b"]},
        {"region": "chr1:5-15"},
        {"region": "chr1:90-130"},
    ):
        plot_store(tmp_path / "s", out=tmp_path / "o.svg", **options)
    table = regions([("a", None, None), ("b", None, None)]).assign(name="same")
    write_store(tmp_path / "t", facts(genome=None), table, [piece(2)])
    with pytest.raises(ChromTransferError, match=r"same: 2 sequences of .* are there, and they differ"):
        plot_store(tmp_path / "t", "same", out=tmp_path / "o.svg")
    plot_store(tmp_path / "t", "same", out=tmp_path / "o.svg", sets=["b"], models=["HEPG2"])
    np.testing.assert_array_equal(drawn[-1][0].scores, piece(2).scores[1, 1])


def test_windows_of_one_name_do_not_overwrite_each_other(tmp_path):
    names = figures._file_names(tmp_path, ["a b", "a/b", "c", "a_b.2", "a b"])
    assert [path.name for path in names] == ["a_b.png", "a_b.2.png", "c.png", "a_b.2.2.png", "a_b.3.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a region"),
        ({"region": "chr2:90-95"}, "a region is written to --out"),
        ({"region": "chr2:90-95", "out": "o.png", "top": 1}, "either a region"),
        ({"top": 1}, "--top N to --out-folder"),
        ({"top": 0, "out_folder": "o"}, "at least 1"),
        ({"region": "chr2:110-115", "out": "o.txt"}, "ends in .png, .pdf, .svg"),
        ({"region": "chr2:0-2001", "out": "o.png"}, "2,001 bp are too many"),
        ({"region": "chr2:110-115", "out": "o.png", "models": ["x"]}, "has no model 'x'"),
        ({"region": "chr2:110-115", "out": "no/o.png"}, "does not exist"),
    ],
)
def test_figures_that_are_refused(made, tmp_path, monkeypatch, options, message):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChromTransferError, match=message):
        plot_store(made[0], **options)
    assert list(tmp_path.iterdir()) == []
