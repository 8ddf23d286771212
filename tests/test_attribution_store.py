"""A store gives back what was written, finds windows by place, and says what is wrong with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from attribution_cases import CONTIGS, WINDOW, facts, make_store, piece, regions

from chromtransfer_plugin.attribution import AttributionStore, arrays
from chromtransfer_plugin.attribution.store import Piece, write_store
from chromtransfer_plugin.errors import ChromTransferError

# Rows 0 and 4 are one place in two sets, rows 1 and 2 one place in one.
PLACES = [
    ("a", "chr1", 100),
    ("a", "chr1", 115),
    ("a", "chr1", 115),
    ("a", "chr2", 100),
    ("b", "chr1", 100),
    ("b", "chr10", 280),
    ("b", "chr1", 300),
]


@pytest.fixture
def small(tmp_path):
    whole = make_store(tmp_path / "s", PLACES, hypothetical=True)
    with AttributionStore(tmp_path / "s") as store:
        yield store, whole


def test_numbers_come_back(small):
    store, whole = small
    assert (len(store), store.models, store.sets, store.window) == (7, ["K562", "HEPG2"], ["a", "b"], WINDOW)
    np.testing.assert_array_equal(store.codes(), whole.codes)
    for number, model in enumerate(store.models):
        np.testing.assert_array_equal(store.scores(model), whole.scores[:, number])
        np.testing.assert_array_equal(store.hypothetical(model), whole.hypothetical[:, number])
    assert store.scores("K562").dtype == np.float32
    assert store.regions["chrom"].tolist() == [chrom for _, chrom, _ in PLACES]
    assert store.regions["end"].tolist() == [start + WINDOW for *_, start in PLACES]


@pytest.mark.parametrize(
    "rows",
    [
        [3], [6, 0, 3, 3, 0], np.array([], dtype=int), slice(1, 6, 2), slice(5, 1, -1), [2, 3, 4],
        np.array([True, False, False, True, False, False, True]),
    ],
)  # fmt: skip
def test_any_choice_of_rows(small, rows):
    store, whole = small
    wanted = np.asarray(rows, dtype=int) if isinstance(rows, list) else rows
    np.testing.assert_array_equal(store.scores("HEPG2", rows), whole.scores[wanted, 1])
    np.testing.assert_array_equal(store.hypothetical("K562", rows), whole.hypothetical[wanted, 0])


@pytest.mark.parametrize("rows", [[7], [-1], [0, 99]])
def test_rows_that_are_not_there(small, rows):
    with pytest.raises(ChromTransferError, match=r"has no row (7|-1|99), but 0 to 6"):
        small[0].scores("K562", rows)


def test_rows_of_many_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_CHUNK_BASES", 4 * WINDOW)
    whole = make_store(tmp_path / "s", [("a", "chr1", start) for start in range(150)])
    with AttributionStore(tmp_path / "s") as store, h5py.File(tmp_path / "s" / "attributions.h5") as file:
        assert file["codes"].chunks == (4, WINDOW)
        rng = np.random.default_rng(1)
        for rows in (rng.permutation(150)[:60], np.arange(0, 150, 17), np.arange(31, 47), np.arange(150)):
            np.testing.assert_array_equal(store.scores("K562", rows), whole.scores[rows, 0])


def test_long_windows_are_stored_in_small_chunks(tmp_path):
    table = regions([("a", "chr1", 0)]).assign(end=100_000)
    codes = np.zeros((1, 100_000), dtype=np.uint8)
    write_store(
        tmp_path / "s",
        facts(window=100_000),
        table,
        [Piece(codes, np.zeros((1, 2, 100_000), np.float32), None)],
    )
    with AttributionStore(tmp_path / "s") as store:
        assert store.codes([0]).shape == (1, 100_000)


def test_a_place_is_given_once(small):
    store, _ = small
    assert store.rows().tolist() == [0, 1, 3, 5, 6]
    assert store.rows("b").tolist() == [4, 5, 6]
    assert store.rows(["b", "a"]).tolist() == [0, 1, 3, 5, 6]
    assert store.rows("a", each_place_once=False).tolist() == [0, 1, 2, 3]
    assert store.rows([]).tolist() == []
    with pytest.raises(ChromTransferError, match="has no set 'c', but a, b"):
        store.rows("c")


def test_sequences_of_a_fasta_may_share_a_place(tmp_path):
    make_store(tmp_path / "s", [("a", "chr1", 100), ("a", "chr1", 100), ("b", None, None)], genome=None)
    with AttributionStore(tmp_path / "s") as store:
        assert store.rows().tolist() == [0, 1, 2]
        assert store.query("chr1:100-101").tolist() == [0, 1]
        assert store.window_names(np.array([2])) == ["w2"]
        with pytest.raises(ChromTransferError, match="'w2' has no place in a genome"):
            store.placed(store.rows())
        with pytest.raises(ChromTransferError, match="sequences without a genome"):
            _ = store.contigs


@pytest.mark.parametrize(
    ("region", "rows"),
    [
        ("chr1:0-100", []), ("chr1:0-101", [0]), ("chr1:119-120", [0, 1]), ("chr1:120-121", [1]),
        ("chr1:135-300", []), ("chr1:0-1000", [0, 1, 6]), ("chr10:299-300", [5]), ("chr3:0-1000", []),
    ],
)  # fmt: skip
def test_windows_that_share_a_base_are_found(small, region, rows):
    assert small[0].query(region).tolist() == rows


def test_query_of_one_set_and_wrong_text(small):
    assert small[0].query("chr1:100-101", "b").tolist() == [4]
    with pytest.raises(ChromTransferError, match="expected chrom:start-end"):
        small[0].query("chr1")


def test_places_names_and_genome(small):
    store, _ = small
    table = store.placed(np.array([5, 0]))
    assert table.to_dict("list") == {"chrom": ["chr10", "chr1"], "start": [280, 100], "end": [300, 120]}
    assert store.window_names(np.array([5, 0])) == ["chr10:280-300", "chr1:100-120"]
    assert store.contigs == CONTIGS
    store.require_same_genome("g1", "other")
    with pytest.raises(ChromTransferError, match=r"computed on genome.fa, which is not the genome of other"):
        store.require_same_genome("g2", "other")
    with pytest.raises(ChromTransferError, match="has no model 'x', but K562, HEPG2"):
        store.scores("x")


def test_hypothetical_scores_that_were_not_kept(tmp_path):
    make_store(tmp_path / "s", PLACES)
    with (
        AttributionStore(tmp_path / "s") as store,
        pytest.raises(ChromTransferError, match="chromtransfer attribute --hypothetical"),
    ):
        store.hypothetical("K562")


# --- damaged, foreign and half stores -----------------------------------------------------------------


def change_facts(folder, **changes):
    path = folder / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_regions(folder, **changes):
    path = folder / "regions.parquet"
    pd.read_parquet(path).assign(**changes).to_parquet(path)


def store_alike(folder, name, **changes):
    """Put in a file of a store of the same shapes."""
    make_store(folder.parent / "other", PLACES, **changes)
    shutil.copy(folder.parent / "other" / name, folder / name)


def turn_regions(folder):
    path = folder / "regions.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)


def replace_by_group(folder):
    with h5py.File(folder / "attributions.h5", "a") as file:
        del file["scores/1"]
        file.create_group("scores/1")


def cut_file(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_store(folder, name):
    make_store(folder.parent / "other", PLACES[:3])
    shutil.copy(folder.parent / "other" / name, folder / name)


DAMAGES = {
    "no facts": (lambda s: (s / "store.json").unlink(), "is no attribution store"),
    "no regions": (lambda s: (s / "regions.parquet").unlink(), "no complete attribution store"),
    "no arrays": (lambda s: (s / "attributions.h5").unlink(), "no complete attribution store"),
    "half regions": (lambda s: cut_file(s, "regions.parquet"), "no complete attribution store"),
    "half arrays": (lambda s: cut_file(s, "attributions.h5"), "no complete attribution store"),
    "half facts": (lambda s: cut_file(s, "store.json"), "store.json: is not readable"),
    "list": (lambda s: (s / "store.json").write_text("[1]"), "store.json: is not readable"),
    "format": (lambda s: change_facts(s, format=2), "is of format 2, this version reads 1"),
    "no models": (lambda s: change_facts(s, models=[]), "store.json: is not readable"),
    "model twice": (lambda s: change_facts(s, models=[{"name": "K562"}] * 2), "store.json: is not readable"),
    "models text": (lambda s: change_facts(s, models="K562"), "store.json: is not readable"),
    "window": (lambda s: change_facts(s, window=21), "windows of other lengths than 21"),
    "window 0": (lambda s: change_facts(s, window=0), "store.json: is not readable"),
    "genome": (lambda s: change_facts(s, genome={"path": "g"}), "store.json: is not readable"),
    "more models": (
        lambda s: change_facts(s, models=[{"name": name} for name in "abc"]),
        r"'scores/2' has the shape None, expected \(7, 20\)",
    ),
    "hypothetical": (lambda s: change_facts(s, hypothetical=True), "'hypothetical/0' has the shape None"),
    "sets": (lambda s: change_facts(s, sets=[{"name": "a"}]), "has the set 'b', which store.json does not"),
    "group": (replace_by_group, "'scores/1' has the shape None"),
    "columns": (
        lambda s: pd.DataFrame({"chrom": ["chr1"]}).to_parquet(s / "regions.parquet"),
        "no column end, label, name, set, start",
    ),
    "ends": (lambda s: change_regions(s, end=1_000), "windows of other lengths than 20"),
    "regions of another": (lambda s: other_store(s, "regions.parquet"), r"'codes' has the shape \(7, 20\)"),
    "arrays of one alike": (
        lambda s: store_alike(s, "attributions.h5", objective="probability"),
        "h5: was written for another store",
    ),
    "facts of one alike": (
        lambda s: store_alike(s, "store.json", objective="probability"),
        "h5: was written for another store",
    ),
    "regions turned": (turn_regions, "parquet: is not the table that store.json names"),
    "length of a contig": (
        lambda s: change_facts(s, genome={"path": "g", "identity": "g", "contigs": {"chr1": "9"}}),
        "length of contig chr1: '9'",
    ),
    "facts of bytes": (lambda s: (s / "store.json").write_bytes(b"\xb8" * 900), r"not readable \(no text\)"),
    "arrays of another": (lambda s: other_store(s, "attributions.h5"), r"'codes' has the shape \(3, 20\)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_stores_are_refused(tmp_path, damage):
    make_store(tmp_path / "s", PLACES)
    AttributionStore(tmp_path / "s").close()
    do, message = DAMAGES[damage]
    do(tmp_path / "s")
    with pytest.raises(ChromTransferError, match=message):
        AttributionStore(tmp_path / "s")


def test_a_store_may_be_moved(tmp_path):
    whole = make_store(tmp_path / "s", PLACES)
    (tmp_path / "s").rename(tmp_path / "t")
    with AttributionStore(tmp_path / "t") as store:
        np.testing.assert_array_equal(store.scores("HEPG2"), whole.scores[:, 1])
    with pytest.raises(ChromTransferError, match="names of files have at most 255"):
        AttributionStore(tmp_path / ("s" * 256))


def test_damaged_numbers_are_refused_when_they_are_read(tmp_path):
    whole = make_store(tmp_path / "s", PLACES)
    path = tmp_path / "s" / "attributions.h5"
    with h5py.File(path) as file:
        place = file["scores/0"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[place.byte_offset : place.byte_offset + place.size] = b"\xff" * place.size
    path.write_bytes(data)
    with AttributionStore(tmp_path / "s") as store:
        np.testing.assert_array_equal(store.scores("HEPG2"), whole.scores[:, 1])
        with pytest.raises(ChromTransferError, match="no complete attribution store"):
            store.scores("K562")


# --- writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 8])
def test_a_wrong_number_of_windows_leaves_the_old_store(tmp_path, n):
    make_store(tmp_path / "s", PLACES[:2])
    with pytest.raises(ChromTransferError, match=r"more than the 7 windows|5 of the 7 windows"):
        write_store(tmp_path / "s", facts(), regions(PLACES), [piece(n)])
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    with AttributionStore(tmp_path / "s") as store:
        assert len(store) == 2


def test_places_where_no_store_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name, message in (
        ("file", "is no folder"), ("full", "holds other files"), ("link", "is no folder"), ("no/s", "there is no folder"),
    ):  # fmt: skip
        with pytest.raises(ChromTransferError, match=message):
            make_store(tmp_path / name, PLACES)
    (tmp_path / "empty").mkdir()
    make_store(tmp_path / "empty", PLACES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full", "link"]


FULL = """
import resource, signal, sys
from pathlib import Path
from attribution_cases import make_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
make_store(Path(sys.argv[1]), [("a", "chr1", start) for start in range(int(sys.argv[2]))])
"""


# It is full when the file is closed, or long before.
@pytest.mark.parametrize(("windows", "room"), [(900, 20_000), (20_000, 1_000_000)])
def test_a_full_disk_leaves_nothing(tmp_path, windows, room):
    arguments = [sys.executable, "-c", FULL, str(tmp_path / "s"), str(windows), str(room)]
    child = subprocess.run(arguments, cwd=__file__.rpartition("/")[0], capture_output=True, text=True)
    assert child.returncode == 1
    assert "ChromTransferError" in child.stderr
    assert "cannot be written (File too large" in child.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        make_store(tmp_path / name, PLACES, hypothetical=True)
    for name in ("store.json", "regions.parquet", "attributions.h5"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
