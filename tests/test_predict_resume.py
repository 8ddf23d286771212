"""A killed prediction goes on where it stopped and writes the same bytes; anything else starts anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from predict_cases import world  # noqa: F401 - a fixture

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.prediction import engine, predict_file, run
from chromtransfer_plugin.prediction.store import Partial

# Dies for good right after, or in the middle of, storing block number KILL.
SCRIPT = """
import os, signal, sys
from chromtransfer_plugin.prediction import run, predict_file, store
run.BLOCK_ROWS = 3
left, middle = int(sys.argv[5]), sys.argv[6] == "middle"
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        if middle:
            os.truncate(handle, os.fstat(handle).st_size - 5)
        os.kill(os.getpid(), signal.SIGKILL)
store.os.fsync = fsync
predict_file(sys.argv[1], sys.argv[2], bed=sys.argv[3], genome=sys.argv[4], device="cpu")
"""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(run, "BLOCK_ROWS", 3)


def predicted(world, out, **options):  # noqa: F811
    options = {"bed": world.bed, "genome": world.genome, "device": "cpu", **options}
    return predict_file(options.pop("models", world.binary), out, **options)


def scored_rows(monkeypatch) -> list[int]:
    """Rows that reach the model from here on."""
    rows: list[int] = []
    original = engine._score
    monkeypatch.setattr(
        engine,
        "_score",
        lambda models, codes, *rest: (rows.append(len(codes)), original(models, codes, *rest))[1],
    )
    return rows


@pytest.mark.parametrize(("kill", "where", "done"), [(3, "after", 6), (2, "middle", 3)])
def test_after_a_kill_the_same_command_goes_on(world, tmp_path, monkeypatch, kill, where, done):  # noqa: F811
    predicted(world, tmp_path / "whole.tsv")
    out = tmp_path / "o.tsv"
    arguments = [world.binary, out, world.bed, world.genome, kill, where]
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], env={**os.environ}, capture_output=True
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert not out.exists()
    assert (tmp_path / ".o.tsv.partial").is_dir()
    rows, messages = scored_rows(monkeypatch), []
    predicted(world, out, report=messages.append)
    assert f"resumed: {done} of 12 rows were done before" in messages
    # Rows 1-12; 3, 5, 6, 7, 10, 11 cannot be scored.
    assert sum(rows) == {3: 4, 6: 3}[done]
    assert out.read_bytes() == (tmp_path / "whole.tsv").read_bytes()
    dropped = [(tmp_path / f"{name}.dropped.tsv").read_text() for name in ("o.tsv", "whole.tsv")]
    assert dropped[0] == dropped[1]
    assert not (tmp_path / ".o.tsv.partial").exists()


def interrupted(world, out: Path, monkeypatch, blocks=2, **options) -> None:  # noqa: F811
    left = [blocks]

    def check(self, block, values):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, "_check_numbers", check)
        with pytest.raises(KeyboardInterrupt):
            predicted(world, out, **options)
    assert (out.with_name(f".{out.name}.partial")).is_dir()


CHANGES = {
    "width": {"width": 300},
    "settings": {"both_strands": True},
    "N policy": {"n_policy": "original", "width": 600},
    "models": {"models": "multi"},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_other_settings_start_anew(world, tmp_path, monkeypatch, changed):  # noqa: F811
    options = dict(CHANGES[changed])
    if "models" in options:
        options["models"] = world.folder / options["models"]
    predicted(world, tmp_path / "whole.tsv", **options)
    interrupted(world, tmp_path / "o.tsv", monkeypatch)
    messages = []
    predicted(world, tmp_path / "o.tsv", report=messages.append, **options)
    assert any("earlier run with other settings" in text and changed in text for text in messages)
    assert not any("resumed" in text for text in messages)
    assert (tmp_path / "o.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()


def test_other_input_or_genome_starts_anew(world, tmp_path, monkeypatch):  # noqa: F811
    bed, genome = tmp_path / "a.bed", tmp_path / "g.fa"
    shutil.copy(world.bed, bed)
    text = world.genome.read_text()
    genome.write_text(text)
    out = tmp_path / "o.tsv"
    for change, path, content in (
        ("input", bed, bed.read_text() + "chr1\t500\t1100\n"),
        ("genome", genome, text.replace("ACGT", "ACGA")),
    ):
        interrupted(world, out, monkeypatch, bed=bed, genome=genome)
        path.write_text(content)
        messages = []
        predicted(world, out, bed=bed, genome=genome, report=messages.append)
        assert any(f"other settings ({change})" in text for text in messages)


def test_an_interrupted_run_leaves_the_old_output(world, tmp_path, monkeypatch):  # noqa: F811
    out = tmp_path / "o.tsv"
    out.write_text("old\n")
    interrupted(world, out, monkeypatch)
    assert out.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".o.tsv.partial", "o.tsv"]


def test_a_run_that_stored_nothing_leaves_nothing(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(run._Run, "_check_numbers", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predicted(world, tmp_path / "o.tsv")
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_changes_meanwhile_is_refused(world, tmp_path, monkeypatch):  # noqa: F811
    bed = tmp_path / "a.bed"
    shutil.copy(world.bed, bed)
    original = run._Run._check_numbers

    def change(self, block, values):
        bed.write_text("chr1\t0\t600\n")
        original(self, block, values)

    monkeypatch.setattr(run._Run, "_check_numbers", change)
    with pytest.raises(ChromTransferError, match="changed while it was read"):
        predicted(world, tmp_path / "o.tsv", bed=bed)
    assert not (tmp_path / "o.tsv").exists()


def test_two_runs_to_one_output_do_not_mix(world, tmp_path):  # noqa: F811
    other = Partial(tmp_path / "o.tsv", {}, 1)
    with other.opened(), pytest.raises(ChromTransferError, match="another run is writing the same output"):
        predicted(world, tmp_path / "o.tsv")
    predicted(world, tmp_path / "o.tsv")


def test_stored_rows_come_back(tmp_path):
    store = Partial(tmp_path / "o", {"a": 1}, 2)
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    values[2] = np.nan
    with store.opened():
        assert store.rows() == 0
        with store.appending() as append:
            append(values[:3])
            append(values[3:])
        assert store.rows() == 5
        with store.reading() as take:
            np.testing.assert_array_equal(take(4), values[:4])
            np.testing.assert_array_equal(take(1), values[4:])
        os.truncate(store.folder / "numbers.f32", 39)  # as after a power cut
        assert store.rows() == 3
    assert list(tmp_path.iterdir()) == []


DIES_WRITING = """
import os, signal, sys
from chromtransfer_plugin.prediction import run, predict_file
run.EvaluationWriter.figures = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
predict_file(sys.argv[1], sys.argv[2], bed=sys.argv[3], genome=sys.argv[4], device="cpu", positive="K562")
"""


def test_what_a_kill_while_writing_left_is_removed(world, tmp_path):  # noqa: F811
    out, other = tmp_path / "o.tsv", tmp_path / ".tmp-0123456789ab-x.o.tsv"
    other.touch()
    arguments = [str(path) for path in (world.binary, out, world.bed, world.genome)]
    child = subprocess.run([sys.executable, "-c", DIES_WRITING, *arguments], capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    left = {path.name[len(".tmp-0123456789ab-") :] for path in tmp_path.glob(".tmp-*")}
    assert left == {"o.tsv", "o.tsv.dropped.tsv", "x.o.tsv"}
    predicted(world, out)
    names = {"o.tsv", "o.tsv.dropped.tsv", "o.tsv.run.json", other.name}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_dropped_rows_of_an_earlier_run_are_not_left_beside_a_new_result(world, tmp_path):  # noqa: F811
    predicted(world, tmp_path / "o.tsv")
    assert (tmp_path / "o.tsv.dropped.tsv").exists()
    (tmp_path / "good.bed").write_text("chr1\t100\t700\n")
    predicted(world, tmp_path / "o.tsv", bed=tmp_path / "good.bed")
    assert not (tmp_path / "o.tsv.dropped.tsv").exists()
