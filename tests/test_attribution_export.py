"""Stores as text, bigWig, bedGraph and NumPy files, read back and compared by value."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from attribution_cases import (  # noqa: F401 - made and unplaced are fixtures
    CONTIGS,
    MODELS,
    PLACES,
    WINDOW,
    brute_force,
    made,
    make_store,
    once,
    unplaced,
)

from chromtransfer_plugin.attribution import AttributionStore, tracks
from chromtransfer_plugin.attribution.export import export_store
from chromtransfer_plugin.attribution.figures import plot_store
from chromtransfer_plugin.attribution.show import show_region
from chromtransfer_plugin.attribution.text import read_attributions, write_attributions
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_path
from chromtransfer_plugin.onehot import decode, one_hot
from chromtransfer_plugin.prediction.bigwig import write_bigwig

# --- text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [5, 9])
def test_text(made, tmp_path, decimals):  # noqa: F811
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


def test_text_of_sequences_without_a_place_has_their_names(unplaced, tmp_path):  # noqa: F811
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
def test_bigwig_and_bedgraph_hold_the_mean_over_windows(made, tmp_path, monkeypatch, step):  # noqa: F811
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


def test_npz_for_modisco(made, tmp_path):  # noqa: F811
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
def test_tracks_of_sequences_without_a_genome_are_refused(unplaced, tmp_path, format):  # noqa: F811
    with pytest.raises(ChromTransferError, match="sequences without a genome"):
        export_store(unplaced[0], format, tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_nothing_is_written_into_a_store(tmp_path):
    store = tmp_path / "s"
    make_store(store, PLACES)
    (tmp_path / "link").symlink_to(store)
    before = {path: path.read_bytes() for path in store.iterdir()}
    for inside in (store, tmp_path / "link"):
        with pytest.raises(ChromTransferError, match="is inside the store"):
            show_region(store, "chr2:110-115", out=inside / "store.json")
        with pytest.raises(ChromTransferError, match="is inside the store"):
            plot_store(store, "chr2:110-115", out=inside / "logo.png")
        with pytest.raises(ChromTransferError, match="is inside the store"):
            plot_store(store, top=1, out_folder=inside)
    assert {path: path.read_bytes() for path in store.iterdir()} == before


def test_a_bigwig_that_is_stopped_does_not_appear(tmp_path):
    """Its library carries on after an error in what it reads from."""

    def intervals():
        for at in range(500_000):
            if at == 400_000:
                raise KeyboardInterrupt
            yield "chr1", at, at + 1, float(at % 7)

    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.bw") as temporary:
        write_bigwig(temporary, tmp_path / "a.bw", {"chr1": 1_000_000}, intervals())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(made, tmp_path):  # noqa: F811
    (tmp_path / "file").touch()
    with pytest.raises(ChromTransferError, match="cannot create this output folder"):
        export_store(made[0], "text", tmp_path / "file" / "o")
