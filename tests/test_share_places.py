"""Places to share models at: what lies there already, and what cannot be one."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
from http_cases import QUICK, serving
from kipoi_cases import make_checkpoint

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.kipoi.group import add_to_group
from chromtransfer_plugin.web import check_url
from chromtransfer_plugin.zoo.check import check_models
from chromtransfer_plugin.zoo.share import pull, push
from chromtransfer_plugin.zoo.shared import INDEX, describe, parse_index
from chromtransfer_plugin.zoo.source import ZooSource, existing_source, get_entry

NAME = "ChromTransfer/one"


@pytest.fixture(scope="module")
def source(home, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    add_to_group(make_checkpoint(folder / ".one"), "one", folder)
    shutil.rmtree(folder / ".one")
    return folder


def send(source, place, **options) -> str:
    (result,) = push(["one"], place, source=source, patience=QUICK, **options)
    return result.error


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_holds_other_things_is_kept(source, tmp_path, overwrite):
    mine = tmp_path / "shared" / NAME / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    assert "thesis.txt" in send(source, tmp_path / "shared", overwrite=overwrite)
    assert mine.read_text() == "years of work"
    assert not (tmp_path / "shared" / INDEX).exists()


def test_a_file_or_a_link_of_that_name_is_kept(source, tmp_path):
    group = tmp_path / "shared/ChromTransfer"
    group.mkdir(parents=True)
    (group / "one").write_text("a file")
    assert "is no folder" in send(source, tmp_path / "shared", overwrite=True)
    assert (group / "one").read_text() == "a file"
    (group / "one").unlink()
    (tmp_path / "elsewhere").mkdir()
    (group / "one").symlink_to(tmp_path / "elsewhere")
    assert "is no folder" in send(source, tmp_path / "shared", overwrite=True)
    assert (group / "one").is_symlink()
    assert [path.name for path in group.iterdir()] == ["one"]


def test_a_model_that_no_index_names_is_replaced_only_when_told(source, tmp_path):
    there = tmp_path / "shared" / NAME
    shutil.copytree(source / NAME, there)  # as a push that was killed before it wrote the index leaves it
    assert send(source, tmp_path / "shared") == ""
    (tmp_path / "shared" / INDEX).unlink()
    (there / "card.json").write_text("another model's")
    assert "though zoo.json does not name it" in send(source, tmp_path / "shared")
    assert (there / "card.json").read_text() == "another model's"
    assert send(source, tmp_path / "shared", overwrite=True) == ""
    assert (there / "card.json").read_bytes() == (source / NAME / "card.json").read_bytes()


def test_no_place_is_not_the_working_directory(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (lambda: send(source, ""), lambda: pull(["one"], " ", into="mine")):
        with pytest.raises(ChromTransferError, match="is empty"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:port/x", "http://host:99999", "http:///x", "ftp://a/b"]
)
def test_addresses_that_cannot_be_read_are_refused(url):
    with pytest.raises(ChromTransferError, match="expected a URL like"):
        check_url(url)


@pytest.mark.parametrize("path", ["zoo.json", f"{NAME}/card.json"])
def test_a_redirect_to_an_address_that_cannot_be_read(source, tmp_path, path):
    with serving() as server:
        assert send(source, server.url + "/z") == ""
        server.pages[f"/z/{path}"].redirect = "http://[::1"
        try:
            (result,) = pull(["one"], server.url + "/z", into=tmp_path, patience=QUICK)
            message = result.error
        except ChromTransferError as error:
            message = str(error)
    assert "only http and https are followed" in message
    assert not (tmp_path / NAME).exists()


def shared_with_card(source, tmp_path, text: str) -> Path:
    """Share a model whose card was changed, with an index that agrees."""
    shutil.copytree(source / NAME, tmp_path / "shared" / NAME)
    (tmp_path / "shared" / NAME / "card.json").write_text(text)
    facts = describe(tmp_path / "shared" / NAME).model_dump()
    (tmp_path / "shared" / INDEX).write_text(json.dumps({"format": 1, "models": {NAME: facts}}))
    return tmp_path / "shared"


def test_a_card_that_no_table_can_hold_is_refused_before_the_model_appears(source, tmp_path):
    card = json.loads((source / NAME / "card.json").read_text())
    shared = shared_with_card(source, tmp_path, json.dumps(card | {"trained_on": "\ud800"}))
    (result,) = pull(["one"], shared, into=tmp_path / "mine")
    assert "not Unicode" in result.error
    assert not (tmp_path / "mine" / NAME).exists()


def test_numbers_of_thousands_of_digits_are_no_json_here(source, tmp_path):
    digits = '{"format": ' + "9" * 5000 + "}"
    with pytest.raises(ChromTransferError, match="not readable as JSON"):
        parse_index(digits, "here")
    (result,) = pull(["one"], shared_with_card(source, tmp_path, digits), into=tmp_path / "mine")
    assert "cannot be read as JSON" in result.error
    assert not (tmp_path / "mine" / NAME).exists()


def test_a_group_named_as_the_examples_would_not_be_found(source, tmp_path):
    with pytest.raises(ChromTransferError, match="group name 'example_files'"):
        add_to_group(source / NAME, "one", tmp_path, "example_files")
    assert not ZooSource(tmp_path).entries()


def test_a_folder_whose_name_kipoi_cannot_read_is_not_to_be_rebuilt_for_ever(source, tmp_path):
    copy = Path(shutil.copytree(source, tmp_path / "source"))
    (copy / NAME).rename(copy / "ChromTransfer/Zellé")
    (test,) = check_models(source=copy, with_kipoi=False)
    assert test.outcome["listed"] == "FAILED"
    assert "model name 'Zellé'" in test.remarks[0]
    assert "--rebuild" not in test.remarks[0]


def test_what_cannot_be_a_path_is_a_name_that_is_not_there(source):
    long = "x" * 5000
    for call in (
        lambda: get_entry(long, source), lambda: get_entry("a\0b", source), lambda: existing_source(long),
    ):  # fmt: skip
        with pytest.raises(ChromTransferError, match="there is no"):
            call()
    with pytest.raises(ChromTransferError, match="cannot be read"):
        send(source, long)


@pytest.mark.parametrize("file", ["card.json", "model.safetensors", "expect.h5", "README.md"])
def test_a_file_that_may_not_be_read_is_one_clear_error(source, tmp_path, monkeypatch, file):
    assert send(source, tmp_path / "shared") == ""
    plain = Path.open

    def refuse(path, *arguments, **options):
        if path.name == file and (options.get("mode") or [*arguments, "r"][0]).startswith("r"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return plain(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, who may read all
    assert "Permission denied" in send(source, tmp_path / "other")
    (result,) = pull(["one"], tmp_path / "shared", into=tmp_path / "mine")
    assert f"{NAME}/{file}: cannot be read (Permission denied)" in result.error
    assert not list(tmp_path.glob("*/ChromTransfer/.tmp*"))
