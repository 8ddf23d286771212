"""Sharing through the Hugging Face Hub, against a local stand-in and with the real client package."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from http_cases import QUICK
from hub_cases import TOKEN, hub_serving

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.zoo.share import pull, push
from chromtransfer_plugin.zoo.shared import INDEX, Index, describe

# Of the client package's own calls.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

FILES = ["README.md", "card.json", "expect.h5", "model.safetensors"]
PLACE = "hf://lab/zoo"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        # The transport of large files that needs the Hub's own storage; the other one is standard Git LFS.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
        yield hub


def send(models, source, **options):
    return push(models, PLACE, source=source, patience=QUICK, **options)


def take(names, into, **options):
    return pull(names, PLACE, into=into, patience=QUICK, **options)


def models_of(hub):
    return list(json.loads(hub.files("lab/zoo")[INDEX][1])["models"])


def test_round_trip(hub, source, tmp_path):
    assert [result.error for result in send(["one", "two"], source)] == ["", ""]
    assert len(hub.repositories["lab/zoo"]) == 2  # made, then one commit with the files and the index
    files = hub.files("lab/zoo")
    assert list(files) == [
        ".gitattributes", *(f"ChromTransfer/{name}/{file}" for name in ("one", "two") for file in FILES), INDEX,
    ]  # fmt: skip
    for file in FILES:
        assert files[f"ChromTransfer/one/{file}"][1] == (source / "ChromTransfer/one" / file).read_bytes()
    assert files["ChromTransfer/one/model.safetensors"][0] == "lfs"
    hub.seen.clear()
    assert [result.error for result in take(["one", "two"], tmp_path / "mine")] == ["", ""]
    for name in ("one", "two"):
        for file in FILES:
            ours = (tmp_path / "mine/ChromTransfer" / name / file).read_bytes()
            assert ours == (source / "ChromTransfer" / name / file).read_bytes()
    # The token goes to the Hub, not to where it keeps large files.
    assert {token for _, path, token in hub.seen if not path.startswith("/objects/")} == {f"Bearer {TOKEN}"}
    assert [token for _, path, token in hub.seen if path.startswith("/objects/")] == [None] * 4


def test_the_same_again_is_no_commit(hub, source, tmp_path):
    send(["one"], source)
    commits = list(hub.repositories["lab/zoo"])
    (result,) = send(["one"], source)
    assert (result.copied, result.error) == (False, "")
    assert list(hub.repositories["lab/zoo"]) == commits


def test_more_models_are_added_by_one_commit_each(hub, source):
    send(["one"], source)
    send(["two"], source)
    assert models_of(hub) == ["ChromTransfer/one", "ChromTransfer/two"]
    assert len(hub.repositories["lab/zoo"]) == 3


def test_another_model_of_the_same_name(hub, source):
    send(["one"], source)
    shutil.rmtree(source / "ChromTransfer/one")
    shutil.copytree(source / "ChromTransfer/two", source / "ChromTransfer/one")
    assert "has another model" in send(["one"], source)[0].error
    (result,) = send(["one"], source, overwrite=True)
    assert result.error == ""
    weights = (source / "ChromTransfer/two/model.safetensors").read_bytes()
    assert hub.files("lab/zoo")["ChromTransfer/one/model.safetensors"][1] == weights
    assert len(hub.repositories["lab/zoo"]) == 3


def test_somebody_else_commits_at_the_same_moment(hub, source):
    send(["one"], source)
    facts = describe(source / "ChromTransfer/one")
    done = []

    def meddle():
        if not done:
            done.append(1)
            index = Index(models={"ChromTransfer/one": facts, "Theirs/model": facts}).text().encode()
            hub.commit("lab/zoo", {INDEX: ("regular", hub.keep(index))})

    hub.before_commit = meddle
    (result,) = send(["two"], source)
    assert result.error == ""
    assert models_of(hub) == ["ChromTransfer/one", "ChromTransfer/two", "Theirs/model"]


def test_spoilt_weights_are_refused(hub, source, tmp_path):
    send(["one"], source)
    oid = hub.repositories["lab/zoo"][list(hub.repositories["lab/zoo"])[-1]][
        "ChromTransfer/one/model.safetensors"
    ][1]
    content = hub.objects[oid]
    hub.objects[oid] = content[:-1] + bytes([content[-1] ^ 1])
    assert "refused and removed" in take(["one"], tmp_path / "mine")[0].error
    assert not (tmp_path / "mine/ChromTransfer/one").exists()


def test_without_a_login(hub, source, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ChromTransferError, match=r"the Hub did not take it.*logged in"):
        send(["one"], source)


def test_no_such_repository(hub, tmp_path):
    with pytest.raises(ChromTransferError, match=r"hf://lab/zoo: has no zoo\.json"):
        take(["one"], tmp_path / "mine")


def test_without_the_package_reading_works_and_writing_says_what_to_install(
    hub, source, tmp_path, monkeypatch
):
    send(["one"], source)
    for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ChromTransferError, match=r"pip install 'chromtransfer-plugin\[hub\]'"):
        send(["two"], source)
    assert take(["one"], tmp_path / "mine")[0].error == ""
