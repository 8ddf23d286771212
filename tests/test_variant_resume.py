"""A killed `chromtransfer variants` goes on where it stopped and writes the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_variant_run import score
from variant_cases import scored_alleles, world, write_cases  # noqa: F401 - world is a fixture

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import remove_leftovers
from chromtransfer_plugin.prediction.store import Partial
from chromtransfer_plugin.variants import outputs, run

OUTPUTS = ("o.vcf.gz", "o.tsv", "o.parquet")
FILES = (*OUTPUTS, "o.vcf.gz.tbi", "o.vcf.gz.dropped.tsv")

# Dies for good after, or in the middle of, storing piece number KILL, or in the middle of writing.
SCRIPT = """
import os, signal, sys
from chromtransfer_plugin.prediction import store
from chromtransfer_plugin.variants import outputs, run
run.BLOCK_RECORDS, run.SCORED_ROWS = 4, 3
vcf, genome, model, folder, kill, where = sys.argv[1:]
left = int(kill)
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        if where == "middle":
            os.truncate(handle, os.fstat(handle).st_size - 5)
        die()
if where == "write":
    original = outputs.TsvWriter.write
    def write(self, results):
        global left
        left -= 1
        original(self, results)
        if left == 0:
            die()
    outputs.TsvWriter.write = write
elif where == "index":
    outputs._make_index = die
elif where == "record":
    run._Run._record = die
else:
    store.os.fsync = fsync
run.score_variants(
    vcf, [folder + "/" + name for name in ("o.vcf.gz", "o.tsv", "o.parquet")], genome=genome, models=model, null="none",
    device="cpu", batch_size=16,
)
"""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(run, "BLOCK_RECORDS", 4)
    monkeypatch.setattr(run, "SCORED_ROWS", 3)


@pytest.fixture(scope="module")
def unsorted(world) -> Path:  # noqa: F811
    """The same records in another order."""
    return write_cases(world.folder / "unsorted.vcf", world.cases[::-1])


def scored(world, folder: Path, vcf: Path, **options):  # noqa: F811
    options = {"models": world.models[0], "vcf": vcf, **options}
    return score(world, [folder / name for name in OUTPUTS], **options)


def rows_that_reach_the_models(monkeypatch) -> list[int]:
    rows: list[int] = []
    original = run.Scorer.score
    monkeypatch.setattr(
        run.Scorer, "score", lambda self, table: (rows.append(len(table)), original(self, table))[1]
    )
    return rows


@pytest.mark.parametrize(
    ("kill", "where", "done"),  # stored are pieces of 3, 1, 3, 1, 3, 3 and 1 alleles, then some more
    [(6, "after", 11), (5, "middle", 8), (2, "write", 19), (1, "index", 19), (1, "record", 19)],
)
def test_after_a_kill_the_same_command_goes_on(world, unsorted, tmp_path, monkeypatch, kill, where, done):  # noqa: F811
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    folder.mkdir()
    scored(world, whole, unsorted)
    arguments = [unsorted, world.genome, world.models[0], folder, kill, where]
    environment = {**os.environ, "CHROMTRANSFER_CACHE": str(world.folder / "cache")}
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], env=environment, capture_output=True
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert (folder / ".o.vcf.gz.partial").is_dir()
    if where != "record":
        assert not any((folder / name).exists() for name in FILES)
    rows, messages = rows_that_reach_the_models(monkeypatch), []
    scored(world, folder, unsorted, report=messages.append)
    assert f"resumed: {done} of 19 alleles were done before" in messages
    statuses = [status for case in world.cases[::-1] for status in case.statuses]
    assert sum(rows) == statuses[done:].count("scored")
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "o.vcf.gz.run.json"])


def interrupted(world, folder: Path, vcf: Path, monkeypatch, pieces=2, **options) -> None:  # noqa: F811
    left = [pieces]
    original = run._Run._numbers

    def numbers(self, table):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return original(self, table)

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, "_numbers", numbers)
        with pytest.raises(KeyboardInterrupt):
            scored(world, folder, vcf, **options)
    assert (folder / ".o.vcf.gz.partial").is_dir()


CHANGES = {
    "window": {"width": 300},
    "strand": {"strand": "forward"},
    "shifts": {"shifts": [20]},
    "edges": {"edges": "skip"},
    "swap": {"swap": True},
    "models": {"models": "multi"},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_other_settings_start_anew(world, tmp_path, monkeypatch, changed):  # noqa: F811
    options = dict(CHANGES[changed])
    if "models" in options:
        options["models"] = world.models[1]
    (tmp_path / "whole").mkdir()
    scored(world, tmp_path / "whole", world.vcf, **options)
    interrupted(world, tmp_path, world.vcf, monkeypatch)
    messages = []
    scored(world, tmp_path, world.vcf, report=messages.append, **options)
    assert any("earlier run with other settings" in text and changed in text for text in messages)
    assert not any("resumed" in text for text in messages)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_another_input_or_genome_starts_anew(world, tmp_path, monkeypatch):  # noqa: F811
    vcf, genome = tmp_path / "a.vcf", tmp_path / "g.fa"
    shutil.copy(world.vcf, vcf)
    shutil.copy(world.genome, genome)
    last = world.genome.read_text().rstrip("\n")
    other = {"A": "C"}.get(last[-1].upper(), "A")
    for change, path, content in (
        ("input", vcf, vcf.read_text() + world.cases[0].line + "\n"),
        ("genome", genome, last[:-1] + other + "\n"),
    ):
        interrupted(world, tmp_path, vcf, monkeypatch, genome=genome)
        path.write_text(content)
        messages = []
        scored(world, tmp_path, vcf, genome=genome, report=messages.append)
        assert any(f"other settings ({change})" in text for text in messages)


def test_an_interrupted_run_leaves_the_old_outputs(world, tmp_path, monkeypatch):  # noqa: F811
    for name in OUTPUTS:
        (tmp_path / name).write_text("old\n")
    interrupted(world, tmp_path, world.vcf, monkeypatch)
    assert [(tmp_path / name).read_text() for name in OUTPUTS] == ["old\n"] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".o.vcf.gz.partial", *OUTPUTS])


def test_a_run_that_stored_nothing_leaves_nothing(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(run._Run, "_numbers", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        scored(world, tmp_path, world.vcf)
    assert list(tmp_path.iterdir()) == []


def test_two_runs_to_one_output_do_not_mix(world, tmp_path):  # noqa: F811
    other = Partial(tmp_path / "o.vcf.gz", {}, 3)
    with other.opened(), pytest.raises(ValueError, match="another run is writing the same output"):
        scored(world, tmp_path, world.vcf)
    assert scored(world, tmp_path, world.vcf).counts["scored"] == len(scored_alleles(world))


def test_a_run_that_writes_one_of_the_same_files_may_clear_it_away(world, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(outputs.TsvWriter, "finish", lambda self: remove_leftovers(self.paths[0]))
    with pytest.raises(ChromTransferError, match=r"o\.tsv: not written, .* Is another run writing it, too\?"):
        scored(world, tmp_path, world.vcf)
