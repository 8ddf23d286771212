"""Models published by one zoo and taken by another."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from http_cases import QUICK, Page, serving

from chromtransfer_plugin.checkpoint import load_model
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.kipoi.group import add_to_group, listed
from chromtransfer_plugin.zoo.remotes import safe_token
from chromtransfer_plugin.zoo.share import pull, push, summary
from chromtransfer_plugin.zoo.shared import INDEX, LIMITS, Index, SharedModel, describe, parse_index

FILES = ["README.md", "card.json", "expect.h5", "model.safetensors"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CHROMTRANSFER_ZOO_TOKEN", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(params=["folder", "http"])
def target(request, tmp_path):
    if request.param == "folder":
        yield Folder(tmp_path / "shared")
    else:
        with serving() as server:
            yield Web(server)


class Folder:
    """A shared folder, as the tests look at it and spoil it."""

    def __init__(self, path):
        self.path, self.place = path, str(path)

    def read(self, name):
        return (self.path / name).read_bytes()

    def write(self, name, content):
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)

    def names(self):
        return sorted(
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if path.is_file() and path.name != ".zoo.json.lock"
        )


class Web:
    def __init__(self, server):
        self.server, self.place = server, server.url + "/shared/"

    def read(self, name):
        return self.server.pages["/shared/" + name].content

    def write(self, name, content):
        self.server.pages["/shared/" + name] = Page(content, etag=f'"{hashlib.md5(content).hexdigest()}"')

    def names(self):
        return sorted(path.removeprefix("/shared/") for path in self.server.pages)


def send(models, target, source, **options):
    return push(models, getattr(target, "place", target), source=source, patience=QUICK, **options)


def take(names, target, into, **options):
    return pull(names, getattr(target, "place", target), into=into, patience=QUICK, **options)


def errors(results):
    return [result.error for result in results]


def only(results):
    (result,) = results
    return result


def respelt(target, name="ChromTransfer/one", **contents):
    """Put other files, and an index that agrees with them, in the place of a model's."""
    index = json.loads(target.read(INDEX))
    for file, content in contents.items():
        file = {"weights": "model.safetensors", "card": "card.json", "expect": "expect.h5"}[file]
        target.write(f"{name}/{file}", content)
        index["models"][name]["files"][file] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
    target.write(INDEX, json.dumps(index).encode())


def probabilities_of(folder):
    with h5py.File(folder / "expect.h5") as file:
        return file["preds"][:]


def test_round_trip(target, source, tmp_path):
    results = send(["one", "ChromTransfer/two"], target, source)
    assert [(result.name, result.copied, result.error) for result in results] == [
        ("ChromTransfer/one", True, ""), ("ChromTransfer/two", True, ""),
    ]  # fmt: skip
    assert target.names() == [
        *(f"ChromTransfer/{name}/{file}" for name in ("one", "two") for file in FILES), INDEX,
    ]  # fmt: skip
    index = json.loads(target.read(INDEX))
    assert list(index) == ["format", "models"]
    assert index["format"] == 1
    assert list(index["models"]) == ["ChromTransfer/one", "ChromTransfer/two"]
    for file in FILES:
        content = (source / "ChromTransfer/one" / file).read_bytes()
        assert target.read(f"ChromTransfer/one/{file}") == content
        assert index["models"]["ChromTransfer/one"]["files"][file] == {
            "sha256": hashlib.sha256(content).hexdigest(), "size": len(content),
        }  # fmt: skip

    into = tmp_path / "mine"
    results = take(["one", "two"], target, into)
    assert errors(results) == ["", ""]
    assert results[0].place == str(into / "ChromTransfer/one")
    assert sorted(path.name for path in (into / "ChromTransfer").iterdir()) == [
        "example_files", "model-template.yaml", "models.tsv", "one", "two",
    ]  # fmt: skip
    assert listed(into / "ChromTransfer") == ["one", "two"]
    for name in ("one", "two"):
        theirs, ours = source / "ChromTransfer" / name, into / "ChromTransfer" / name
        assert sorted(path.name for path in ours.iterdir()) == FILES
        for file in FILES:
            assert (ours / file).read_bytes() == (theirs / file).read_bytes()
        X = torch.eye(4)[torch.randint(4, (3, 600))].transpose(1, 2)
        with torch.no_grad():
            assert torch.equal(load_model(ours).model(X), load_model(theirs).model(X))


def test_the_default_is_the_installed_zoo(source, tmp_path, cache):
    send(["one"], tmp_path / "shared", source)
    result = only(pull(["one"], tmp_path / "shared"))
    assert result.place == str(cache / "zoo/ChromTransfer/one")
    assert (cache / "zoo/ChromTransfer/one/model.safetensors").is_file()
    # And what is installed can be named without its folder.
    assert errors(push(["one"], tmp_path / "other")) == [""]


def test_what_is_there_already_is_left(target, source, tmp_path):
    send(["one"], target, source)
    take(["one"], target, tmp_path / "mine")
    if isinstance(target, Web):
        target.server.requests.clear()
    assert only(send(["one"], target, source)) == ("ChromTransfer/one", target.place.rstrip("/"), False, "")
    assert only(take(["one"], target, tmp_path / "mine")).copied is False
    if isinstance(target, Web):
        assert [(request.method, request.path) for request in target.server.requests] == [
            ("GET", "/shared/zoo.json"), ("GET", "/shared/zoo.json"),
        ]  # fmt: skip


def test_another_model_of_the_same_name(target, source, tmp_path):
    send(["one"], target, source)
    take(["one"], target, tmp_path / "mine")
    before = target.read("ChromTransfer/one/model.safetensors")
    two = source / "ChromTransfer/two"
    shutil.rmtree(source / "ChromTransfer/one")
    shutil.copytree(two, source / "ChromTransfer/one")

    assert "has another model 'ChromTransfer/one'" in only(send(["one"], target, source)).error
    assert target.read("ChromTransfer/one/model.safetensors") == before
    assert only(send(["one"], target, source, overwrite=True)).copied
    assert target.read("ChromTransfer/one/model.safetensors") == (two / "model.safetensors").read_bytes()

    mine = tmp_path / "mine/ChromTransfer/one/model.safetensors"
    assert "exists already" in only(take(["one"], target, tmp_path / "mine")).error
    assert mine.read_bytes() == before
    assert only(take(["one"], target, tmp_path / "mine", overwrite=True)).copied
    assert mine.read_bytes() == (two / "model.safetensors").read_bytes()


def test_overwriting_takes_the_model_off_the_index_first(server, source):
    send(["one", "two"], server.url, source)
    shutil.rmtree(source / "ChromTransfer/one")
    shutil.copytree(source / "ChromTransfer/two", source / "ChromTransfer/one")
    server.requests.clear()
    server.put_statuses["/ChromTransfer/one/expect.h5"] = [403]
    result = only(send(["one"], server.url, source, overwrite=True))
    assert "HTTP 403" in result.error
    assert list(json.loads(server.pages["/zoo.json"].content)["models"]) == ["ChromTransfer/two"]
    assert errors(send(["one"], server.url, source)) == [""]
    assert len(json.loads(server.pages["/zoo.json"].content)["models"]) == 2


def test_the_index_comes_last_and_files_are_read_back(server, source):
    send(["one"], server.url, source)
    methods = [(request.method, request.path.rpartition("/")[2]) for request in server.requests]
    assert methods == [
        ("GET", INDEX),
        ("PUT", "model.safetensors"), ("GET", "model.safetensors"),
        ("PUT", "card.json"), ("GET", "card.json"),
        ("PUT", "expect.h5"), ("GET", "expect.h5"),
        ("PUT", "README.md"), ("GET", "README.md"),
        ("GET", INDEX), ("PUT", INDEX),
    ]  # fmt: skip


def test_a_server_that_spoils_a_file_gets_no_index(server, source):
    original_seen = server.seen

    def seen(request):
        original_seen(request)
        if request.method == "GET" and request.path.endswith("model.safetensors"):
            server.pages[request.path].content = b"spoilt"

    server.seen = seen
    result = only(send(["one"], server.url, source))
    assert "refused and removed" in result.error
    assert "/zoo.json" not in server.pages


def test_a_broken_push_is_not_named_and_can_be_repeated(server, source, tmp_path):
    server.put_statuses["/ChromTransfer/one/expect.h5"] = [500] * 9
    results = send(["one", "two"], server.url, source)
    assert {result.name: bool(result.error) for result in results} == {
        "ChromTransfer/one": True, "ChromTransfer/two": False,
    }  # fmt: skip
    assert list(json.loads(server.pages["/zoo.json"].content)["models"]) == ["ChromTransfer/two"]
    assert "no model has the name 'one'" in only(take(["one"], server.url, tmp_path / "mine")).error
    server.put_statuses.clear()
    assert errors(send(["one"], server.url, source)) == [""]
    assert errors(take(["one"], server.url, tmp_path / "mine")) == [""]


def test_a_passing_failure_of_put_is_tried_again(server, source):
    server.put_statuses["/ChromTransfer/one/card.json"] = [503]
    assert errors(send(["one"], server.url, source)) == [""]


def test_somebody_else_writes_the_index_at_the_same_moment(server, source):
    other = describe(source / "ChromTransfer/two")
    done = []

    def meddle(path):
        if path == "/zoo.json" and not done:
            done.append(1)
            content = Index(models={"Theirs/model": other}).text().encode()
            server.pages["/zoo.json"] = Page(content, etag='"theirs"')

    server.before_put = meddle
    assert errors(send(["one"], server.url, source)) == [""]
    models = json.loads(server.pages["/zoo.json"].content)["models"]
    assert list(models) == ["ChromTransfer/one", "Theirs/model"]
    puts = [request.headers for request in server.asked("/zoo.json") if request.method == "PUT"]
    assert puts[0]["If-None-Match"] == "*"
    assert puts[1]["If-Match"] == '"theirs"'


def test_an_index_that_never_rests_is_given_up(server, source):
    def meddle(path):
        if path == "/zoo.json":
            etag = f'"{len(server.requests)}"'
            server.pages["/zoo.json"] = Page(Index().text().encode(), etag=etag)

    server.before_put = meddle
    with pytest.raises(ChromTransferError, match="others keep changing"):
        send(["one"], server.url, source)


def test_many_at_once_in_one_folder(source, tmp_path):
    names = [f"m{i}" for i in range(6)]
    for name in names:
        shutil.copytree(source / "ChromTransfer/one", source / "ChromTransfer" / name)
    results = {}

    def one(name):
        results[name] = errors(send([name], tmp_path / "shared", source))

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {name: [""] for name in names}
    index = parse_index((tmp_path / "shared" / INDEX).read_text(), "here")
    assert list(index.models) == [f"ChromTransfer/{name}" for name in names]


def test_webdav_folders_are_made(server, source):
    server.folders = {"/shared"}
    assert errors(send(["one"], server.url + "/shared", source)) == [""]
    assert server.folders == {"/shared", "/shared/ChromTransfer", "/shared/ChromTransfer/one"}
    assert "/shared/ChromTransfer/one/expect.h5" in server.pages


def test_token(server, source, tmp_path, monkeypatch):
    server.token = "hush"
    with pytest.raises(ChromTransferError, match="HTTP 401"):
        send(["one"], server.url, source)
    monkeypatch.setenv("CHROMTRANSFER_ZOO_TOKEN", "hush")
    server.requests.clear()
    assert errors(send(["one"], server.url, source)) == [""]
    assert errors(take(["one"], server.url, tmp_path / "mine")) == [""]
    assert {request.headers.get("Authorization") for request in server.requests} == {"Bearer hush"}


def test_a_token_is_not_sent_in_the_clear(monkeypatch):
    monkeypatch.setenv("T", "hush")
    for url in ("https://a.example/x", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]/x"):
        assert safe_token(url, "T") == "hush"
    for url in ("http://a.example/x", "http://10.0.0.1/", "http://127.0.0.1.example/"):
        with pytest.raises(ChromTransferError, match="not sent without encryption"):
            safe_token(url, "T")
    monkeypatch.setenv("T", "two lines\r\nX-Evil: 1")
    with pytest.raises(ChromTransferError, match="is no token"):
        safe_token("https://a.example/x", "T")
    monkeypatch.delenv("T")
    assert safe_token("http://a.example/", "T") is None


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "long", "gone"])
def test_damaged_files_are_refused(target, source, tmp_path, file, damage):
    send(["one", "two"], target, source)
    path = f"ChromTransfer/one/{file}"
    content = target.read(path)
    if damage == "gone":
        (target.path / path).unlink() if isinstance(target, Folder) else target.server.pages.pop(
            "/shared/" + path
        )
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        target.write(path, {"flip": flipped, "cut": content[:-5], "long": content + b"x"}[damage])
    results = take([], target, tmp_path / "mine", every=True)
    assert [bool(error) for error in errors(results)] == [True, False]
    assert sorted(path.name for path in (tmp_path / "mine/ChromTransfer").iterdir()) == [
        "example_files", "model-template.yaml", "models.tsv", "two",
    ]  # fmt: skip


def spoil_card(source, **changes):
    card = json.loads((source / "ChromTransfer/one/card.json").read_text())
    for key, value in changes.items():
        card[key] = {**card[key], **value} if isinstance(value, dict) else value
    return json.dumps(card).encode()


def spoilt_expectation(tmp_path, spoil):
    path = tmp_path / "spoilt.h5"
    with h5py.File(path, "w") as file:
        spoil(file)
    return path.read_bytes()


def external_link(file):
    file["inputs"] = h5py.ExternalLink("/etc/hostname", "/x")
    file["preds"] = np.zeros((1, 1), dtype=np.float32)


def soft_link(file):
    file["real"] = np.zeros((1, 4, 600), dtype=np.float32)
    file["inputs"] = h5py.SoftLink("/real")
    file["preds"] = np.zeros((1, 1), dtype=np.float32)


def external_storage(file):
    external = [("/etc/hostname", 0, 4 * 4 * 600)]
    file.create_dataset("inputs", (1, 4, 600), dtype="f4", external=external)
    file["preds"] = np.zeros((1, 1), dtype=np.float32)


def huge_claim(file):
    file.create_dataset("inputs", (10**9, 4, 600), dtype="f4", chunks=(1, 4, 600))
    file.create_dataset("preds", (10**9, 1), dtype="f4", chunks=(1, 1))


def other_numbers(file):
    file["inputs"] = np.zeros((1, 4, 600), dtype=np.float32)
    file["preds"] = np.full((1, 1), 0.999, dtype=np.float32)


@pytest.mark.parametrize("spoil", [external_link, soft_link, external_storage, huge_claim, other_numbers])
def test_made_up_expectations_are_refused(source, tmp_path, spoil):
    target = Folder(tmp_path / "shared")
    send(["one"], target, source)
    respelt(target, expect=spoilt_expectation(tmp_path, spoil))
    error = only(take(["one"], target, tmp_path / "mine")).error
    wanted = {
        external_link: "no readable HDF5 file",
        soft_link: "'inputs' is kept elsewhere",
        external_storage: "'inputs' is kept elsewhere",
        huge_claim: "'inputs' holds",
        other_numbers: "differ from the expected ones",
    }[spoil]
    assert wanted in error
    assert ".tmp-" not in error
    assert not (tmp_path / "mine/ChromTransfer/one").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"head": [65_536, 65_536]}}, "numbers, model.safetensors holds"),
        ({"members": 1000}, "belong to another architecture"),
        ({"window": 10**12}, "windows of 600 bp, the model is for 1000000000000"),
        ({"weights_sha256": "0" * 64}, "belongs to other weights"),
        ({"weights_sha256": ""}, "SHA-256 unknown"),
        ({"outputs": ["a", "b"]}, "names in 'outputs'"),
        ({"format": 99}, "newer"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_made_up_cards_are_refused(source, tmp_path, changes, message):
    target = Folder(tmp_path / "shared")
    send(["one"], target, source)
    respelt(target, card=spoil_card(source, **changes))
    assert message in only(take(["one"], target, tmp_path / "mine")).error
    assert not (tmp_path / "mine/ChromTransfer/one").exists()


def test_a_card_that_nests_without_end(source, tmp_path):
    target = Folder(tmp_path / "shared")
    send(["one"], target, source)
    respelt(target, card=b'{"training": ' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"}")
    assert only(take(["one"], target, tmp_path / "mine")).error


def test_a_pickle_in_place_of_weights_is_never_opened(source, tmp_path):
    target = Folder(tmp_path / "shared")
    send(["one"], target, source)

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "pwned",))

    torch.save(Evil(), tmp_path / "evil")
    weights = (tmp_path / "evil").read_bytes()
    weights += bytes(max(0, 3_000_000 - len(weights)))
    card = spoil_card(source, weights_sha256=hashlib.sha256(weights).hexdigest())
    respelt(target, weights=weights, card=card)
    assert "not a complete safetensors file" in only(take(["one"], target, tmp_path / "mine")).error
    assert not (tmp_path / "pwned").exists()


def test_nothing_else_is_ever_taken_or_sent(source, tmp_path, server):
    (source / "ChromTransfer/one/notes.txt").write_text("mine")
    (source / "ChromTransfer/one/model.yaml").write_text("mine")
    shutil.move(source / "ChromTransfer/one/model.yaml", source / "ChromTransfer/one/old.yaml")
    send(["one"], server.url, source)
    assert sorted(path.rpartition("/")[2] for path in server.pages) == [*FILES, INDEX]
    for path in (
        "ChromTransfer/one/model.yaml",
        "ChromTransfer/model-template.yaml",
        "ChromTransfer/models.tsv",
    ):
        server.add("/" + path, b"defined_as: os.system")
    server.requests.clear()
    take(["one"], server.url, tmp_path / "mine")
    assert sorted(request.path.rpartition("/")[2] for request in server.requests) == [*FILES, INDEX]
    assert b"os.system" not in (tmp_path / "mine/ChromTransfer/model-template.yaml").read_bytes()


GOOD = {"sha256": "0" * 64, "size": 10}
THREE = {"model.safetensors": GOOD, "card.json": GOOD, "expect.h5": GOOD}


def index_of(name="ChromTransfer/x", files=None, **top):
    return json.dumps({"format": 1, "models": {name: {"files": files or THREE}}, **top})


@pytest.mark.parametrize(
    "name",
    ["../x/y", "..", "a/..", "../../etc", "/etc/x", "a/b/c", "a\\b/c", "a/.hidden", ".a/b", "a", "", "a/", "a/b\n",
     "a/b c", "C:/x", "a/" + "b" * 101, "a/\x1b[2J", "a/1", "ä/x"],
)  # fmt: skip
def test_names_that_are_no_folder_of_ours(name):
    with pytest.raises(ChromTransferError, match="is no name of a model") as caught:
        parse_index(index_of(name), "here")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable as JSON"),
        ("<html>", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ("[]", "no index"),
        ('{"models": 3}', "models"),
        (index_of(format=2), "newer than 1"),
        (index_of(format=0), "format"),
        (index_of(format="1"), "format"),
        (index_of(extra=1), "extra"),
        (index_of(files={**THREE, "model.yaml": GOOD}), "has a file 'model.yaml'"),
        (index_of(files={**THREE, "../../x": GOOD}), "has a file '../../x'"),
        (index_of(files={"card.json": GOOD, "expect.h5": GOOD}), "has no model.safetensors"),
        (index_of(files={**THREE, "card.json": {"size": 3}}), "sha256"),
        (index_of(files={**THREE, "card.json": {"sha256": "zz" * 32, "size": 3}}), "sha256"),
        (index_of(files={**THREE, "card.json": {"sha256": "0" * 64 + "\n", "size": 3}}), "sha256"),
        (index_of(files={**THREE, "card.json": {"sha256": "0" * 64, "size": -1}}), "size"),
        (index_of(files={**THREE, "card.json": {"sha256": "0" * 64, "size": 1e3}}), "size"),
        (index_of(files={**THREE, "card.json": {"sha256": "0" * 64, "size": 10**12}}), "at most 16,000,000"),
        (json.dumps({"format": 1, "models": {f"a/m{i}": {"files": THREE} for i in range(1001)}}), "models"),
    ],
)  # fmt: skip
def test_indexes_that_are_none(text, message):
    with pytest.raises(ChromTransferError, match=message):
        parse_index(text, "here")
    assert parse_index(index_of(), "here").models["ChromTransfer/x"].files["card.json"].size == 10


def test_names_that_kipoi_cannot_read_are_not_pulled(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / INDEX).write_text(index_of("ChromTransfer/True"))
    assert "Kipoi would read it as" in only(take(["True"], tmp_path / "shared", tmp_path / "mine")).error


def test_a_size_that_lies_stops_the_download(server, source, tmp_path):
    send(["one"], server.url, source)
    index = json.loads(server.pages["/zoo.json"].content)
    index["models"]["ChromTransfer/one"]["files"]["model.safetensors"]["size"] = 10
    server.pages["/zoo.json"].content = json.dumps(index).encode()
    assert "more than 10 bytes" in only(take(["one"], server.url, tmp_path / "mine")).error


def test_unknown_and_ambiguous_names(source, tmp_path):
    add_to_group(source / "ChromTransfer/one", "one", source, "Other")
    shared = tmp_path / "shared"
    send(["ChromTransfer/one", "Other/one", "two"], shared, source)
    results = take(["K562", "one", "ChromTransfer/one"], shared, tmp_path / "mine")
    assert (
        "no model has the name 'K562'. Available: ChromTransfer/one, ChromTransfer/two, Other/one."
        in results[0].error
    )
    assert (
        "2 models have the name 'one'. Available of this name: ChromTransfer/one, Other/one."
        in results[1].error
    )
    assert results[2].error == ""


def test_places_that_share_nothing(source, tmp_path, server):
    for place in (source, tmp_path / "nowhere", server.url + "/nowhere"):
        with pytest.raises(ChromTransferError, match=r"has no zoo\.json"):
            take(["one"], place, tmp_path / "mine")
    for place in (
        "file:///tmp",
        "ftp://a/b",
        "https://",
        "http://a/?x=1",
        "hf://x",
        "hf://../x",
        "hf://a/b/c",
    ):
        with pytest.raises(ChromTransferError, match="expected"):
            take(["one"], place, tmp_path / "mine")
        with pytest.raises(ChromTransferError, match="expected"):
            send(["one"], place, source)


def test_a_zoo_source_is_no_place_to_share_at(source, tmp_path):
    other = Path(shutil.copytree(source, tmp_path / "other"))
    shutil.rmtree(other / "ChromTransfer/one")
    result = only(send(["one"], other, source))
    assert "chromtransfer zoo add" in result.error
    assert not (other / INDEX).exists()


def test_models_that_cannot_be_pushed(source, tmp_path, checkpoint, exported):
    (source / "ChromTransfer/one/model.safetensors").write_bytes(b"damaged")
    results = send(["one", "none", checkpoint, exported, "two"], tmp_path / "shared", source)
    failed = {result.name: result.error for result in results if result.error}
    assert "damaged, not published" in failed["one"]
    assert "there is no model 'none'" in failed["none"]
    assert "zoo add" in failed[str(checkpoint)]
    assert "is in no group" in failed[str(exported)]
    assert summary(results) == (
        f"5 model(s): 1 copied, 0 there already, 4 failed: one, none, {checkpoint}, {exported}"
    )
    assert list(json.loads((tmp_path / "shared" / INDEX).read_text())["models"]) == ["ChromTransfer/two"]


def test_a_file_that_is_too_large_is_not_shared(source, monkeypatch, tmp_path):
    monkeypatch.setitem(LIMITS, "expect.h5", 100)
    assert "at most 100 can be shared" in only(send(["one"], tmp_path / "shared", source)).error


def test_the_index_is_in_order():
    model = SharedModel.model_validate({"files": THREE})
    text = Index(models={"b/x": model, "a/y": model}).text()
    assert list(json.loads(text)["models"]) == ["a/y", "b/x"]
    assert parse_index(text, "here").text() == text


def test_the_commands(source, tmp_path, cache):
    run = CliRunner().invoke
    shared = str(tmp_path / "shared")
    sent = run(
        main,
        ["zoo", "push", "one", str(source / "ChromTransfer/two"), "--to", shared, "--source", str(source)],
    )
    assert sent.exit_code == 0, sent.output
    assert sent.stdout.splitlines() == [
        f"ChromTransfer/one: {shared}/ChromTransfer/one",
        f"ChromTransfer/two: {shared}/ChromTransfer/two",
        "2 model(s): 2 copied, 0 there already, 0 failed.",
    ]
    got = run(main, ["zoo", "pull", "one", "nobody", "--from", shared])
    assert got.exit_code == 1
    assert got.stdout.splitlines()[0] == f"ChromTransfer/one: {cache / 'zoo/ChromTransfer/one'}"
    assert got.stderr.splitlines()[-1] == "2 model(s): 1 copied, 0 there already, 1 failed: nobody"
    got = run(main, ["zoo", "pull", "--all", "--from", shared])
    assert got.exit_code == 0
    assert got.stdout.splitlines()[0].endswith("(the same was there already)")
    assert got.stdout.splitlines()[-1] == "2 model(s): 1 copied, 1 there already, 0 failed."
    assert run(main, ["zoo", "pull", "--from", shared]).exit_code == 2
    assert run(main, ["zoo", "pull", "one", "--all", "--from", shared]).exit_code == 2
