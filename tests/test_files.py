from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.files import atomic_folder, atomic_path, remove_leftovers


def test_the_target_appears_only_when_complete_and_nothing_else_stays(tmp_path):
    target = tmp_path / "out.tsv.gz"
    target.write_text("old")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.suffixes == [".tsv", ".gz"]
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["out.tsv.gz"]


def test_a_failure_keeps_the_old_file_and_removes_the_half(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_bad_targets_are_explained(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for target, fault in [
        (tmp_path / "absent" / "out", "does not exist.*mkdir -p"),
        (tmp_path / "file" / "out", "is not a folder"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is no regular file"),
        (tmp_path / "null", "is no regular file"),
        (Path("/dev/stdout"), "is no regular file"),
        (Path("/dev/fd/1"), "is no regular file"),
        (Path("/proc/self/fd/1"), "is no regular file"),
    ]:
        with pytest.raises(ChromTransferError, match=fault) as caught, atomic_path(target):
            pytest.fail("must not get here")
        assert str(target) in str(caught.value)


def test_an_unwritable_folder_is_explained(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with (
        pytest.raises(ChromTransferError, match=r"not writable.*Permission denied"),
        atomic_path(tmp_path / "x"),
    ):
        pytest.fail("must not get here")


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path):
    with pytest.raises(ChromTransferError, match="no room left"), atomic_path(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_folder_takes_the_place_of_what_was_there_and_nothing_else_stays(tmp_path, kind):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "here" / "out"
    target.parent.mkdir()
    if kind == "folder":
        target.mkdir()
        (target / "old").write_text("")
    elif kind == "file":
        target.write_text("old")
    else:
        target.symlink_to(tmp_path / "elsewhere")
    with atomic_folder(target) as new:
        (new / "x").write_text("new")
    assert os.listdir(target.parent) == ["out"]
    assert os.listdir(target) == ["x"]
    assert os.listdir(tmp_path / "elsewhere") == []


def test_an_old_folder_comes_back_if_it_is_stopped_between_the_renames(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    rename = Path.rename

    def stop(path, target):
        if "-new-" in path.name:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["old"]


def test_leftovers_of_a_kill(tmp_path):
    mark = ".tmp-0123456789ab"
    for name in (f"{mark}-old-out", f"{mark}-new-out", f"{mark}-new-other"):
        (tmp_path / name).mkdir()
    for name in (f"{mark}-out", f"{mark}-other"):
        (tmp_path / name).touch()
    (tmp_path / f"{mark[:-1]}c-new-out").touch()  # of a file that is called new-out
    (tmp_path / f"{mark}-old-out" / "precious").touch()
    remove_leftovers(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == [
        f"{mark}-new-other",
        f"{mark}-other",
        f"{mark[:-1]}c-new-out",
        "out",
    ]
    assert os.listdir(tmp_path / "out") == ["precious"]
