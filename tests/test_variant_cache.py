"""The file of scored windows: what it saves, and what it survives."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scorer_cases import models, random_text, score_counted, single, snvs, write_genome

import chromtransfer_plugin
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.friendly import ChromTransferWarning
from chromtransfer_plugin.variants import cache as cache_module
from chromtransfer_plugin.variants.cache import Digests, WindowCache
from chromtransfer_plugin.variants.scorer import Scorer

COLUMNS = 3


@pytest.fixture(name="made", scope="module")
def models_of_module(tmp_path_factory):
    return models(tmp_path_factory.mktemp("models"))


@pytest.fixture(name="genome", scope="module")
def genome_of_module(tmp_path_factory):
    return write_genome(tmp_path_factory.mktemp("genome") / "g.fa", {"c": random_text(2_000)})


def rows(n: int) -> tuple[list[bytes], np.ndarray]:
    codes = np.random.default_rng(n).integers(0, 5, (n, 40), dtype=np.uint8)
    return Digests({}).of(codes), np.random.default_rng(n).normal(size=(n, COLUMNS)).astype(np.float32)


def opened(path: Path) -> WindowCache:
    return WindowCache(path, "{}", COLUMNS)


def read(path: Path) -> None:
    opened(path).find(rows(2_000)[0])


def test_a_second_run_runs_no_model_and_gives_the_same_numbers(made, genome, tmp_path):
    table, file = snvs(genome, "c", range(100, 1_900, 37)), tmp_path / "windows"
    predictors = [single(model) for model in made]
    without, _ = score_counted(predictors, genome, table)
    first, one = score_counted(predictors, genome, table, file)
    second, two = score_counted(predictors, genome, table, file)
    np.testing.assert_array_equal(first.alt, without.alt)
    for mine, theirs in zip(second, first, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    n = 4 * len(table)
    assert (one.n_windows, one.n_run, one.n_cached) == (n, n, 0)
    assert (two.n_windows, two.n_run, two.n_cached) == (n, 0, n)


def test_only_what_is_new_runs(made, genome, tmp_path):
    table, file = snvs(genome, "c", range(200, 240)), tmp_path / "windows"
    predictors = [single(model) for model in made]
    score_counted(predictors, genome, table[:25], file)
    found, scorer = score_counted(predictors, genome, table, file)
    assert (scorer.n_run, scorer.n_cached) == (4 * 15, 4 * 25)
    np.testing.assert_allclose(found.alt, score_counted(predictors, genome, table)[0].alt, rtol=0, atol=1e-6)


def test_other_models_in_the_same_file_have_their_own_numbers(made, genome, tmp_path):
    table, file = snvs(genome, "c", range(200, 210)), tmp_path / "windows"
    one, other = ([single(model)] for model in made)
    first, _ = score_counted(one, genome, table, file)
    found, scorer = score_counted(other, genome, table, file)
    assert scorer.n_cached == 0
    assert (found.ref != first.ref).all()
    np.testing.assert_array_equal(found.ref, score_counted(other, genome, table)[0].ref)
    # Their order counts, too.
    both = [*one, *other]
    score_counted(both, genome, table, file)
    turned, scorer = score_counted(both[::-1], genome, table, file)
    assert scorer.n_cached == 0
    np.testing.assert_array_equal(turned.ref[:, ::-1], score_counted(both, genome, table, file)[0].ref)
    with sqlite3.connect(file) as content:
        stated = [text for (text,) in content.execute("SELECT identity FROM models")]
    assert len(stated) == 4
    assert all(made[0].sha256 in text or made[1].sha256 in text for text in stated)


@pytest.mark.parametrize("change", ["version", "torch", "width", "device"])
def test_what_was_computed_otherwise_is_not_taken(change, made, genome, tmp_path, monkeypatch):
    table, file = snvs(genome, "c", range(200, 210)), tmp_path / "windows"
    predictors, settings = [single(made[0])], {}
    score_counted(predictors, genome, table, file)
    if change == "version":
        monkeypatch.setattr(chromtransfer_plugin, "__version__", "0")
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "0")
    elif change == "width":
        settings = {"width": 100}
    else:
        own = Scorer._identity
        monkeypatch.setattr(Scorer, "_identity", lambda self, _: own(self, torch.device("cuda")))
    _, scorer = score_counted(predictors, genome, table, file, **settings)
    assert scorer.n_cached == 0


def test_digests_tell_windows_and_models_apart():
    codes = np.random.default_rng(0).integers(0, 5, (1_000, 600), dtype=np.uint8)
    codes[-1] = codes[0]
    found = Digests({"models": 1}).of(codes)
    assert len(set(found)) == 999
    assert found[-1] == found[0]
    assert found == Digests({"models": 1}).of(codes)
    assert not {*found} & {*Digests({"models": 2}).of(codes)}


def test_what_is_stored_comes_back_bit_by_bit(tmp_path):
    digests, logits = rows(1_203)
    logits[0] = [np.float32(1e-42), -0.0, 3e38]
    cache = opened(tmp_path / "windows")
    assert cache.find(digests) == {}
    cache.add(digests[:700], logits[:700])
    cache.add(digests[600:], logits[600:])
    cache.close()
    found = opened(tmp_path / "windows").find([*digests, b"0" * 16])
    assert set(found) == set(digests)
    assert np.stack([found[digest] for digest in digests]).tobytes() == logits.tobytes()


def test_a_changed_number_is_noticed(tmp_path):
    file = tmp_path / "windows"
    digests, logits = rows(5)
    opened(file).add(digests, logits)
    with sqlite3.connect(file) as content:
        (stored,) = content.execute("SELECT logits FROM windows WHERE digest = ?", digests[2:3]).fetchone()
        changed = stored[:-1] + bytes([stored[-1] ^ 1])
        content.execute("UPDATE windows SET logits = ? WHERE digest = ?", (changed, digests[2]))
    cache = opened(file)
    assert len(cache.find(digests[:2])) == 2
    with pytest.raises(ChromTransferError, match=r"windows: is damaged\. Delete it"):
        cache.find(digests)


@pytest.mark.parametrize("content", ["text", "cut", "overwritten", "other database", "newer", "folder"])
def test_files_that_are_no_cache_are_refused_and_left_alone(content, tmp_path):
    file = tmp_path / "windows"
    if content == "folder":
        file.mkdir()
    elif content == "text":
        file.write_text("chr1\t100\t.\tA\tC\n" * 1_000)
    elif content == "other database":
        with sqlite3.connect(file) as other:
            other.execute("CREATE TABLE mine (a)")
    else:
        opened(file).add(*rows(2_000))
        data = file.read_bytes()
        if content == "newer":
            with sqlite3.connect(file) as newer:
                newer.execute("PRAGMA user_version = 99")
        elif content == "cut":
            file.write_bytes(data[: len(data) // 2])
        else:
            file.write_bytes(data[:4096] + b"\xaa" * (len(data) - 4096))
    before = None if content == "folder" else file.read_bytes()
    with pytest.raises(ChromTransferError, match=f"--cache {file}: .*(another|name of a) file"):
        read(file)
    if content in ("text", "other database", "newer"):
        assert file.read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ChromTransferError, match="there is no folder"):
        opened(tmp_path / "absent" / "windows")


def test_a_full_disk_costs_nothing_but_the_cache(tmp_path):
    file = tmp_path / "windows"
    digests, logits = rows(3_000)
    cache = opened(file)
    cache.add(digests[:100], logits[:100])
    (pages,) = cache._file.execute("PRAGMA page_count").fetchone()
    cache._file.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own way to be full
    with pytest.warns(ChromTransferWarning, match=r"nothing more is added.*full"):
        cache.add(digests, logits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.add(digests, logits)  # said once
    assert set(cache.find(digests)) == set(digests[:100])  # all or nothing
    cache.close()
    assert set(opened(file).find(digests)) == set(digests[:100])


def test_while_another_process_writes_for_long_it_is_only_read(tmp_path, monkeypatch):
    file = tmp_path / "windows"
    digests, logits = rows(10)
    opened(file).add(digests[:5], logits[:5])
    monkeypatch.setattr(cache_module, "_WAIT", 0.05)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(ChromTransferWarning, match=r"nothing more is added.*locked"):
        cache = opened(file)
    cache.add(digests, logits)
    assert set(cache.find(digests)) == set(digests[:5])
    other.close()


# As `opened` and `rows`, without the packages that the tests need beside them.
_WRITER = """
import sys
from pathlib import Path
import numpy as np
from chromtransfer_plugin.variants import cache as cache_module
from chromtransfer_plugin.variants.cache import Digests, WindowCache
from chromtransfer_plugin.variants.scorer import Scorer
cache = WindowCache(Path(sys.argv[1]), "{}", 3)
print("ready", flush=True)
for n in range(201, 100_000):
    codes = np.random.default_rng(n).integers(0, 5, (n, 40), dtype=np.uint8)
    cache.add(Digests({}).of(codes), np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32))
    print(n, flush=True)
"""


def test_killed_writers_leave_whole_blocks(tmp_path):
    """Two processes add to one file at once and are killed; what they said was stored is there, and right."""
    file = tmp_path / "windows"
    command = [sys.executable, "-c", _WRITER, str(file)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    time.sleep(0.3)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
    last = max(int(([200, *map(int, writer.communicate()[0].split())])[-1]) for writer in writers)
    assert last > 200
    cache = opened(file)
    for n in range(201, last + 1):
        digests, logits = rows(n)
        found = cache.find(digests)
        assert np.array_equal(np.stack([found[digest] for digest in digests]), logits)
    for n in (last + 1, last + 2):  # stored before it could be said, or not at all
        assert len(cache.find(rows(n)[0])) in (0, n)
    assert cache._file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
