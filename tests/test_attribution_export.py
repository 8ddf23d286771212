"""Stores as text, bigWig, bedGraph and NumPy files, tables and logos, read back and compared by value."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from attribution_cases import CONTIGS, MODELS, WINDOW, make_store
from click.testing import CliRunner

from chromtransfer_plugin.attribution import AttributionStore, figures, tracks
from chromtransfer_plugin.attribution.export import export_store
from chromtransfer_plugin.attribution.figures import plot_store
from chromtransfer_plugin.attribution.show import list_store, show_region
from chromtransfer_plugin.attribution.text import read_attributions, write_attributions
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import decode, one_hot

# Not sorted; rows 0, 1 and 3 overlap, row 2 is row 0 again.
PLACES = [
    ("a", "chr2", 110),
    ("a", "chr2", 100),
    ("a", "chr2", 110),
    ("a", "chr2", 119),
    ("a", "chr1", 980),
    ("b", "chr10", 0),
    ("b", "chr2", 115),
    ("b", "chr2", 300),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "s"
    whole = make_store(folder, PLACES, hypothetical=True)
    return folder, whole


@pytest.fixture(scope="module")
def unplaced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "s"
    return folder, make_store(folder, [("a", None, None), ("b", "chr1", 5), ("b", None, None)], genome=None)


def once(name: str) -> list[int]:
    """Rows of a set, each place once."""
    return [row for row, place in enumerate(PLACES) if place[0] == name and place not in PLACES[:row]]


def brute_force(scores, rows) -> dict[str, np.ndarray]:
    """Mean score of every base, NaN where there is no window."""
    found = {}
    for name, length in CONTIGS.items():
        total, count = np.zeros(length), np.zeros(length)
        for row in rows:
            _, chrom, start = PLACES[row]
            if chrom == name:
                total[start : start + WINDOW] += scores[row]
                count[start : start + WINDOW] += 1
        found[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


# --- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [5, 9])
def test_text(made, tmp_path, decimals):
    folder, whole = made
    files = export_store(folder, "text", tmp_path / "o", decimals=decimals)
    names = [f"{model}/{name}.grad-x-input.gz" for model in MODELS for name in "ab"]
    assert [str(path.relative_to(tmp_path / "o")) for path in files] == names
    lines = gzip.decompress(files[0].read_bytes()).decode().split("\n")
    assert lines[0] == ">chr2:110-130"
    assert lines[1] == decode(whole.codes[0])
    assert lines[2] == " ".join(f"{value + 0.0:.{decimals}f}" for value in whole.scores[0, 0].astype(float))
    assert len(lines) == 5 * 3 + 1  # a window that is there twice is written twice
    found = read_attributions(files[3])  # HEPG2 over b
    assert found.headers == ["chr10:0-20", "chr2:115-135", "chr2:300-320"]
    np.testing.assert_array_equal(found.codes, whole.codes[5:])
    np.testing.assert_allclose(found.scores, whole.scores[5:, 1], atol=0.51 * 10.0**-decimals)
    assert found.scores.dtype == np.float32


def test_text_of_sequences_without_a_place_has_their_names(unplaced, tmp_path):
    folder, whole = unplaced
    files = export_store(folder, "text", tmp_path, models=["HEPG2"], sets=["b"])
    found = read_attributions(files[0])
    assert found.headers == ["w1", "w2"]
    np.testing.assert_allclose(found.scores, whole.scores[1:, 1], atol=1e-5)


def test_text_names_the_method(tmp_path):
    make_store(tmp_path / "s", PLACES, method="ism")
    files = export_store(tmp_path / "s", "text", tmp_path / "o", models=["K562"])
    assert [path.name for path in files] == ["a.ism.gz", "b.ism.gz"]


def test_text_of_the_original_is_read(tmp_path):
    text = ">chr1:5-9 some words\nACGN\n0.10000 -0.20000 0.00000 -0.00000\n>x\nacgt\n1 2 3 4\n"
    (tmp_path / "plain").write_text(text)
    (tmp_path / "x.grad-x-input.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("plain", "x.grad-x-input.gz"):
        found = read_attributions(tmp_path / name)
        assert found.headers == ["chr1:5-9 some words", "x"]
        assert found.codes.tolist() == [[0, 1, 2, 4], [0, 1, 2, 3]]
        np.testing.assert_array_equal(found.scores, np.array([[0.1, -0.2, 0, 0], [1, 2, 3, 4]], np.float32))


def test_what_is_written_alone_is_read_back(tmp_path):
    table = pd.DataFrame({"chrom": ["chr1"], "start": [3], "end": [6]})
    codes, scores = np.array([[0, 4, 3]], np.uint8), np.array([[0.123456, 0, -7]], np.float32)
    write_attributions(tmp_path / "x.gz", table, codes, scores, decimals=3)
    found = read_attributions(tmp_path / "x.gz")
    assert found.headers == ["chr1:3-6"]
    np.testing.assert_array_equal(found.scores, np.array([[0.123, 0, -7]], np.float32))


WRONG_TEXT = {
    "": "is empty",
    "chr1\t5\t6\n": "line 1: expected a header that begins with >",
    ">a\nAC-T\n1 2 3 4\n": "line 2: expected a sequence of A, C, G, T and N",
    ">a\n\n1\n": "line 2: expected a sequence",
    ">a\nACGT\n1 2 3\n": "line 3: expected 4 numbers",
    ">a\nACGT\n1 2 3 x\n": "line 3: expected 4 numbers",
    ">a\nACGT\n1 2 3 nan\n": "line 3: expected 4 numbers",
    ">a\nACGT\n1 2 3 4\n>b\nACG\n1 2 3\n": "line 5: expected a sequence of 4 bases, as the first one",
    ">a\nACGT\n1 2 3 4\nACGT\n": "line 4: expected a header",
    ">a\nACGT\n1 2 3 4\n>b\nACGT\n": "ends within a window, after line 5",
}


@pytest.mark.parametrize("text", WRONG_TEXT)
def test_files_that_are_no_attributions(tmp_path, text):
    (tmp_path / "x").write_text(text)
    with pytest.raises(ChromTransferError, match=WRONG_TEXT[text]):
        read_attributions(tmp_path / "x")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ChromTransferError, match="no such file"):
        read_attributions(tmp_path / "x")
    (tmp_path / "x.gz").write_bytes(gzip.compress(b">a\nACGT\n1 2 3 4\n" * 9)[:-9])
    with pytest.raises(ChromTransferError, match="compressed data is damaged"):
        read_attributions(tmp_path / "x.gz")


# --- tracks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 256])
def test_bigwig_and_bedgraph_hold_the_mean_over_windows(made, tmp_path, monkeypatch, step):
    import pybigtools

    monkeypatch.setattr(tracks, "_READ", step)
    folder, whole = made
    big = export_store(folder, "bigwig", tmp_path)
    bed = export_store(folder, "bedgraph", tmp_path, compress=step == 1)
    assert [path.name for path in big] == ["K562.a.bw", "K562.b.bw", "HEPG2.a.bw", "HEPG2.b.bw"]
    assert bed[0].name == ("K562.a.bedGraph.gz" if step == 1 else "K562.a.bedGraph")
    pairs = [(number, name) for number in range(2) for name in "ab"]
    for (number, name), wig, graph in zip(pairs, big, bed, strict=True):
        expected = brute_force(whole.scores[:, number], once(name))
        table = pd.read_csv(graph, sep="\t", header=None, names=["chrom", "start", "end", "value"])
        order = table["chrom"].map(list(CONTIGS).index) * 10_000 + table["start"]
        assert order.is_monotonic_increasing
        assert order.is_unique
        assert (table["end"] == table["start"] + 1).all()
        with pybigtools.open(str(wig)) as opened:
            used = {chrom for chrom, means in expected.items() if not np.isnan(means).all()}
            assert opened.chroms() == {
                chrom: CONTIGS[chrom] for chrom in used
            }  # of the others it says nothing
            for chrom, means in expected.items():
                if chrom not in used:
                    assert chrom not in set(table["chrom"])
                    continue
                np.testing.assert_allclose(
                    opened.values(chrom, 0, len(means), fillna=None), means, atol=1e-6, err_msg=chrom
                )
                part = table[table["chrom"] == chrom]
                assert part["start"].tolist() == np.flatnonzero(~np.isnan(means)).tolist()
                np.testing.assert_allclose(part["value"], means[part["start"]], atol=1e-6)


def test_means_of_many_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(tracks, "_READ", 7)
    starts = np.random.default_rng(3).integers(0, 400, 200)
    places = [("a", "chr1", int(start)) for start in starts]
    whole = make_store(tmp_path / "s", places)
    total, count = np.zeros(1000), np.zeros(1000)
    for start, scores in zip(starts, whole.scores[:, 1], strict=True):
        total[start : start + WINDOW] += scores
        count[start : start + WINDOW] += 1
    with AttributionStore(tmp_path / "s") as store:
        rows = store.rows(each_place_once=False)
        parts = [part for _, part in tracks.base_means(store, rows, ["K562", "HEPG2"])]
    positions = np.concatenate([part.positions for part in parts])
    np.testing.assert_array_equal(positions, np.flatnonzero(count))
    scores = np.concatenate([part.scores for part in parts])
    np.testing.assert_allclose(scores[:, 1], (total / np.maximum(count, 1))[positions], atol=1e-6)
    assert max(len(part.positions) for part in parts) <= 7 * WINDOW + WINDOW


# --- npz ---------------------------------------------------------------------------------------------


def test_npz_for_modisco(made, tmp_path):
    folder, whole = made
    files = export_store(folder, "npz", tmp_path, models=["HEPG2"])
    names = [
        "HEPG2.a.ohe.npz",
        "HEPG2.a.hyp.npz",
        "HEPG2.b.ohe.npz",
        "HEPG2.b.hyp.npz",
        "a.rows.tsv",
        "b.rows.tsv",
    ]
    assert [path.name for path in files] == names
    ohe, hyp = (np.load(path)["arr_0"] for path in files[2:4])
    np.testing.assert_array_equal(ohe, one_hot(whole.codes[5:]))
    np.testing.assert_array_equal(hyp, whole.hypothetical[5:, 1])
    assert (ohe.dtype, hyp.dtype) == (np.int8, np.float32)
    rows = pd.read_csv(files[5], sep="\t")
    assert rows["row"].tolist() == [5, 6, 7]
    assert rows["start"].tolist() == [0, 115, 300]
    again = [path.read_bytes() for path in files]
    export_store(folder, "npz", tmp_path, models=["HEPG2"])
    assert [path.read_bytes() for path in files] == again


# --- what is refused ---------------------------------------------------------------------------------


REFUSED = {
    "model": ({"models": ["x"]}, "has no model 'x', but K562, HEPG2"),
    "set": ({"sets": ["x"]}, "has no set 'x', but a, b"),
    "format": ({"format": "wig"}, "format is 'wig', expected one of text, bigwig, bedgraph, npz"),
    "decimals": ({"decimals": -1}, "decimals is -1"),
    "inside": ({"out": "s/o"}, "is inside the store"),
    "the store": ({"out": "s"}, "is inside the store"),
    "a file": ({"out": "s/store.json"}, "is inside the store"),
    "hypothetical": ({"format": "npz"}, "chromtransfer attribute --hypothetical"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_exports_that_are_refused_write_nothing(tmp_path, case):
    make_store(tmp_path / "s", PLACES)
    before = sorted(tmp_path.rglob("*"))
    changes, message = REFUSED[case]
    options = {"format": "text", "out": "o", **changes}
    with pytest.raises(ChromTransferError, match=message):
        export_store(tmp_path / "s", options.pop("format"), tmp_path / options.pop("out"), **options)
    left = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert [path for path in left if path.is_file()] == []


@pytest.mark.parametrize("format", ["bigwig", "bedgraph"])
def test_tracks_of_sequences_without_a_genome_are_refused(unplaced, tmp_path, format):
    with pytest.raises(ChromTransferError, match="sequences without a genome"):
        export_store(unplaced[0], format, tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_folder_that_cannot_be_made(made, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ChromTransferError, match="cannot create this output folder"):
        export_store(made[0], "text", tmp_path / "file" / "o")


# --- show and list -----------------------------------------------------------------------------------


def test_the_table_of_a_region(made, tmp_path):
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


def test_the_table_of_one_model_and_set_is_printed(made):
    arguments = ["attributions", "show", str(made[0]), "chr2:118-119", "--model", "HEPG2", "--set", "b"]
    done = CliRunner().invoke(main, [*arguments, "--model", "HEPG2"])
    assert done.exit_code == 0, done.output
    head, row = done.stdout.splitlines()
    assert head == "set\twindow\tchrom\tstart\tend\tbase\tHEPG2"
    assert row.startswith("b\tchr2:115-135\tchr2\t118\t119\t")
    assert np.float32(row.split("\t")[-1]) == made[1].scores[6, 1, 3]


def test_sequences_without_a_place_are_shown_by_name(unplaced, tmp_path):
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
def test_regions_that_are_not_there(made, tmp_path, what, message):
    with pytest.raises(ChromTransferError, match=message):
        show_region(made[0], what, out=tmp_path / "o.tsv")
    with pytest.raises(ChromTransferError, match=message):
        plot_store(made[0], what, out=tmp_path / "o.png")
    assert list(tmp_path.iterdir()) == []


def test_list(made, unplaced, tmp_path):
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
def test_a_region_is_drawn_with_the_mean_of_its_windows(made, tmp_path, drawn, suffix):
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


def test_the_first_windows_are_drawn_one_by_one(made, tmp_path, drawn):
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


def test_sequences_without_a_place_are_drawn(unplaced, tmp_path, drawn):
    folder, whole = unplaced
    plot_store(folder, "w0", out=tmp_path / "o.svg", models=["K562"])
    np.testing.assert_array_equal(drawn[0][0].scores, whole.scores[0, 0])
    files = plot_store(folder, top=9, out_folder=tmp_path / "o", models=["K562"])
    assert [path.name for path in files] == ["w0.png", "w1.png", "w2.png"]


def test_windows_of_one_name_do_not_overwrite_each_other(tmp_path):
    names = figures._file_names(tmp_path, ["a b", "a/b", "c"])
    assert [path.name for path in names] == ["a_b.png", "a_b.2.png", "c.png"]


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
def test_figures_that_are_refused(made, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChromTransferError, match=message):
        plot_store(made[0], **options)
    assert list(tmp_path.iterdir()) == []
