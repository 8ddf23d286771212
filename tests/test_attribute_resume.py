"""``chromtransfer attribute`` after a kill, beside another run, and over an earlier store."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
from attribute_cases import FILES, WINDOWS, attributed, second, small_pieces  # noqa: F401 - some are fixtures
from predict_cases import world  # noqa: F401 - a fixture

from chromtransfer_plugin.attribution import run
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.prediction.store import Partial

# Dies for good right after, or in the middle of, storing piece number KILL.
SCRIPT = """
import os, signal, sys
from chromtransfer_plugin.attribution import run
from chromtransfer_plugin.prediction import store
run._SAVED["cpu"] = (2, 2)
left, middle = int(sys.argv[1]), sys.argv[2] == "middle"
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        if middle:
            os.truncate(handle, os.fstat(handle).st_size - 5)
        os.kill(os.getpid(), signal.SIGKILL)
store.os.fsync = fsync
binary, multi, bed, second, genome, out = sys.argv[3:]
run.attribute_file([binary, multi], [bed, second], out, genome=genome, device="cpu", hypothetical=True, target="K562")
"""


def scored_windows(monkeypatch) -> list[int]:
    """Windows that reach a model from here on."""
    windows: list[int] = []
    original = run.attribute_codes
    monkeypatch.setattr(
        run,
        "attribute_codes",
        lambda *given, **named: (windows.append(len(given[1])), original(*given, **named))[1],
    )
    return windows


@pytest.mark.parametrize(("kill", "where", "done"), [(3, "after", 4), (4, "middle", 6)])
def test_after_a_kill_the_same_command_goes_on(world, second, tmp_path, monkeypatch, kill, where, done):  # noqa: F811
    sets, models, options = (
        [world.bed, second],
        [world.binary, world.multi],
        {"hypothetical": True, "target": "K562"},
    )
    attributed(world, tmp_path / "whole", models, sets, **options)
    out = tmp_path / "s"
    arguments = [kill, where, world.binary, world.multi, world.bed, second, world.genome, out]
    child = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert not out.exists()
    assert (tmp_path / ".s.partial").is_dir()
    windows, messages = scored_windows(monkeypatch), []
    attributed(world, out, models, sets, report=messages.append, **options)
    total = len(WINDOWS) + 2
    assert f"resumed: {done} of {total} windows were done before" in messages
    assert sum(windows) == 2 * (total - done)
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / ".s.partial").exists()


def interrupted(world, out, monkeypatch, pieces=1, **options) -> None:  # noqa: F811
    left = [pieces]
    original = run.attribute_codes

    def stop(*given, **named):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(run, "attribute_codes", stop)
        with pytest.raises(KeyboardInterrupt):
            attributed(world, out, **options)
    assert out.with_name(f".{out.name}.partial").is_dir() == (pieces > 0)


CHANGES = {
    "settings": {"settings": {"objective": "probability"}},
    "windows": {"width": 300},
    "models": {"models": "other"},
    "hypothetical": {"hypothetical": True},
    "sets": {"sets": "x=regions.bed"},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_other_settings_start_anew(world, tmp_path, monkeypatch, changed):  # noqa: F811
    options = dict(CHANGES[changed])
    if changed == "models":
        options["models"] = f"other={world.binary}"
    if changed == "sets":
        options["sets"] = f"x={world.bed}"
    attributed(world, tmp_path / "whole", **options)
    interrupted(world, tmp_path / "s", monkeypatch)
    messages = []
    attributed(world, tmp_path / "s", report=messages.append, **options)
    assert any(f"other settings ({changed})" in text for text in messages)
    for name in FILES:
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_interrupted_run_leaves_the_old_store(world, tmp_path, monkeypatch):  # noqa: F811
    attributed(world, tmp_path / "s")
    before = {name: (tmp_path / "s" / name).read_bytes() for name in FILES}
    interrupted(world, tmp_path / "s", monkeypatch, settings={"objective": "probability"})
    assert {name: (tmp_path / "s" / name).read_bytes() for name in FILES} == before
    interrupted(world, tmp_path / "t", monkeypatch, pieces=0)


def test_two_runs_to_one_store_do_not_mix(world, second, tmp_path):  # noqa: F811
    attributed(world, tmp_path / "s")
    listed = (tmp_path / "s.dropped.tsv").read_text()
    (tmp_path / "far.bed").write_text("chr1\t0\t600\nchr77\t0\t600\n")
    for other in (world.bed, second, tmp_path / "far.bed"):
        with (
            Partial(tmp_path / "s", {}, 1).opened(),
            pytest.raises(ChromTransferError, match="another run is writing the same output"),
        ):
            attributed(world, tmp_path / "s", sets=other)
        assert (tmp_path / "s.dropped.tsv").read_text() == listed
    attributed(world, tmp_path / "s")


def test_a_set_that_changes_meanwhile_is_refused(world, tmp_path, monkeypatch):  # noqa: F811
    bed = tmp_path / "a.bed"
    shutil.copy(world.bed, bed)
    original = run.attribute_codes

    def change(*given, **named):
        bed.write_text("chr1\t0\t600\n")
        return original(*given, **named)

    monkeypatch.setattr(run, "attribute_codes", change)
    with pytest.raises(ChromTransferError, match="changed while it was read"):
        attributed(world, tmp_path / "s", sets=bed)
    assert not (tmp_path / "s").exists()


def test_the_dropped_rows_of_an_earlier_run_go(world, second, tmp_path):  # noqa: F811
    attributed(world, tmp_path / "s")
    assert (tmp_path / "s.dropped.tsv").exists()
    attributed(world, tmp_path / "s", sets=second)
    assert not (tmp_path / "s.dropped.tsv").exists()


def test_the_same_file_with_other_windows_starts_anew(world, tmp_path, monkeypatch):  # noqa: F811
    peaks = tmp_path / "a.narrowPeak"
    rows = [(start, summit) for start in (100, 1_000, 3_000, 4_000) for summit in (40, 500)]
    peaks.write_text(
        "".join(f"chr1\t{start}\t{start + 600}\t.\t0\t.\t1\t-1\t-1\t{summit}\n" for start, summit in rows)
    )
    # Of the same length, but not around the summits.
    options = {"sets": peaks, "width": "native"}
    attributed(world, tmp_path / "whole", **options)
    interrupted(world, tmp_path / "s", monkeypatch, pieces=2, sets=peaks)
    messages = []
    attributed(world, tmp_path / "s", report=messages.append, **options)
    assert any("other settings (windows)" in text for text in messages)
    for name in FILES:
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_kills_left_of_the_writing_goes(world, tmp_path):  # noqa: F811
    attributed(world, tmp_path / "s")
    for kind in ("new", "old"):
        left = tmp_path / f".tmp-0123456789ab-{kind}-s"
        left.mkdir()
        (left / "attributions.h5").touch()
    other = tmp_path / ".tmp-0123456789ab-new-t"
    other.mkdir()
    attributed(world, tmp_path / "s")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        other.name,
        "s",
        "s.dropped.tsv",
        "s.run.json",
    ]
