"""What can be fetched, from a local stand-in for the publishers' servers."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import urllib.parse

import numpy as np
import pytest
from click.testing import CliRunner
from http_cases import QUICK, serving

from chromtransfer_plugin import fetch as fetch_module
from chromtransfer_plugin import published
from chromtransfer_plugin.cli import main
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.fetch import SERVERS, fetch, summary
from chromtransfer_plugin.motifs import read_motifs

FASTA = b">chr1\n" + b"ACGTNacgtn" * 6_000 + b"\n>chr2\n" + b"GATTACA" * 9_000 + b"\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 7340032\n"


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


@pytest.fixture
def repository(server, monkeypatch):
    """The published repository with other content, and the blob ids to match."""
    contents = {path: f"content of {path}".encode() * 50 for path in published.BLOB_IDS}
    for table in ("MODEL_FILES", "REGION_FILES"):
        monkeypatch.setattr(
            published, table, {path: blob_id(contents[path]) for path in getattr(published, table)}
        )
    for path, content in contents.items():
        server.add("/repo/" + urllib.parse.quote(path), content)
    return contents


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def get(what, url, **options):
    return fetch(what, url=url, patience=QUICK, **options)


def test_the_publishers_addresses():
    raw = "https://raw.githubusercontent.com/anderssonlab/ChromTransfer/52167ab1da41331660f03fdcb977e0ce4e1b57eb"
    assert SERVERS["published"] == SERVERS["labels"] == raw
    assert SERVERS["hg38"] + "/" + fetch_module.HG38_PACKED == (
        "https://hgdownload.soe.ucsc.edu/goldenPath/hg38/bigZips/hg38.fa.gz"
    )
    assert all(address.startswith("https://") for address in SERVERS.values())


def test_published_models_keep_their_paths(server, repository, cache):
    results = get("published", server.url + "/repo/")
    models = {path: content for path, content in repository.items() if path.endswith(".h5")}
    assert len(models) == 11
    assert files(cache / "published") == models
    assert {result.name for result in results} == {
        "pretrained", "A549", "GM12878", "HCT116", "HEPG2", "K562", "MCF7", "multiclass",
    }  # fmt: skip
    assert all(result.downloaded and not result.error for result in results)
    assert results[0].verified_by == f"git blob id {blob_id(models[next(iter(models))])}"
    assert summary(results) == "11 file(s): 11 downloaded, 0 already there, 0 failed."
    server.requests.clear()
    again = get("published", server.url + "/repo")
    assert server.requests == []
    assert summary(again) == "11 file(s): 0 downloaded, 11 already there, 0 failed."


def test_labels_are_laid_out_as_training_reads_them(server, repository, cache):
    results = get("labels", server.url + "/repo", only=["K562", "MCF7"])
    assert sorted(files(cache / "labels")) == [
        "test/K562.csv", "test/MCF7.csv", "train/K562.csv", "train/MCF7.csv",
    ]  # fmt: skip
    assert (cache / "labels/train/K562.csv").read_bytes() == repository[
        "multiclass-baseline/data/raw/train/K562.csv"
    ]
    assert len(results) == 4


def test_one_failure_does_not_stop_the_others(server, repository, cache):
    path = "models/tensorflow1/rDHS/K562/model_compiled.h5"
    server.pages["/repo/" + path].content = b"something else"
    del server.pages["/repo/models/tensorflow1/rDHS/A549/model_compiled.h5"]
    run = CliRunner().invoke(main, ["fetch", "published", "--url", server.url + "/repo"])
    assert run.exit_code == 1
    assert run.stderr.strip().splitlines()[-1] == (
        "11 file(s): 9 downloaded, 0 already there, 2 failed: A549/model_compiled.h5, K562/model_compiled.h5"
    )
    assert "A549: FAILED: " in run.stderr
    assert "HTTP 404" in run.stderr
    assert f"expected {published.MODEL_FILES[path]}" in run.stderr
    assert "FAILED" not in run.stdout
    assert len(files(cache / "published")) == 9
    server.pages["/repo/" + path].content = repository[path]
    run = CliRunner().invoke(
        main, ["fetch", "published", "--url", server.url + "/repo", "--only", "K562", "--only", "multiclass"]
    )
    assert run.exit_code == 0
    assert run.stdout.splitlines()[-1] == "2 file(s): 1 downloaded, 1 already there, 0 failed."
    assert f"K562: {cache / 'published' / path} (downloaded; git blob id" in run.stdout


def test_offline_verifies_what_is_there(server, repository, cache):
    get("published", server.url + "/repo", only=["K562", "MCF7"])
    server.requests.clear()
    (cache / "published/models/tensorflow1/rDHS/MCF7/model_compiled.h5").write_bytes(b"damaged")
    results = {result.name: result for result in get("published", server.url + "/repo", offline=True)}
    assert server.requests == []
    assert results["K562"].error == ""
    assert "is not the expected file (git blob id" in results["MCF7"].error
    assert "is not there, and with --offline" in results["A549"].error


def test_damage_in_the_cache_is_repaired_but_a_users_file_is_kept(server, repository, cache, tmp_path):
    name = "test/K562.csv"
    for folder in (cache / "labels", tmp_path / "mine"):
        (folder / "test").mkdir(parents=True)
        (folder / name).write_bytes(b"damaged")
    assert not any(result.error for result in get("labels", server.url + "/repo", only=["K562"]))
    results = get("labels", server.url + "/repo", only=["K562"], out=tmp_path / "mine")
    assert [bool(result.error) for result in results] == [True, False]
    assert "It is kept" in results[0].error
    assert (cache / "labels" / name).read_bytes() == repository["multiclass-baseline/data/raw/test/K562.csv"]
    assert (tmp_path / "mine" / name).read_bytes() == b"damaged"


def test_a_folder_as_mirror(repository, cache, tmp_path, server):
    for path, content in repository.items():
        (tmp_path / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / path).write_bytes(content)
    (tmp_path / "clone/multiclass-baseline/data/raw/test/K562.csv").write_bytes(b"other")
    results = get("labels", str(tmp_path / "clone"))
    assert summary(results) == "12 file(s): 11 downloaded, 0 already there, 1 failed: test/K562.csv"
    assert server.requests == []
    assert len(files(cache / "labels")) == 11


def test_a_verified_pointer_is_named(server, monkeypatch, cache):
    path = "models/tensorflow1/rDHS/K562/model_compiled.h5"
    monkeypatch.setattr(published, "MODEL_FILES", {path: blob_id(POINTER)})
    server.add("/" + path, POINTER)
    (result,) = get("published", server.url)
    assert "keeps this file in Git LFS" in result.error
    assert "ab" * 32 in result.error
    assert files(cache) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "hg19"}, "'hg19' is not known"),
        ({"what": "published", "only": ["K526"]}, "there is no 'K526': use .*K562"),
        ({"what": "published", "url": "file:///tmp"}, "expected a URL like"),
        ({"what": "published", "url": "no/such/folder"}, "neither a URL .* nor an existing folder"),
        ({"what": "published", "url": ""}, "--url is empty: neither a URL .* nor an existing folder"),
        ({"what": "published", "sha256": "a" * 64}, "for hg38 or jaspar"),
        ({"what": "hg38", "only": ["chr1"]}, "nothing to choose"),
        ({"what": "hg38", "sha256": "abc"}, "expected 64 hexadecimal digits"),
    ],
)
def test_unusable_arguments(arguments, message):
    with pytest.raises(ChromTransferError, match=message):
        fetch(**arguments)


@pytest.fixture
def genome(server):
    packed = gzip.compress(FASTA)
    server.add("/hg38.fa.gz", packed)
    server.add(
        "/md5sum.txt",
        b"0" * 32 + b"  hg38.2bit\n" + hashlib.md5(packed).hexdigest().encode() + b"  hg38.fa.gz\n"
        + b"1" * 32 + b"  hg38.fa.gz.old\n",
    )  # fmt: skip
    return packed


def test_hg38_is_checked_by_the_publishers_list_and_unpacked(server, genome, cache):
    (result,) = get("hg38", server.url)
    assert result.path == cache / "hg38" / "hg38.fa"
    assert sorted(files(cache)) == ["hg38/hg38.fa", "hg38/hg38.fa.verified.json"]
    assert result.path.read_bytes() == FASTA
    record = json.loads((cache / "hg38/hg38.fa.verified.json").read_text())
    md5, sha256 = hashlib.md5(genome).hexdigest(), hashlib.sha256(genome).hexdigest()
    assert record.pop("date").startswith("20")
    assert record == {
        "url": server.url + "/hg38.fa.gz",
        "verified_by": f"MD5 {md5} in {server.url}/md5sum.txt",
        "size": len(FASTA),
        "sha256": hashlib.sha256(FASTA).hexdigest(),
        "download": {"file": "hg38.fa.gz", "size": len(genome), "sha256": sha256, "md5": md5},
    }
    assert f"--sha256 {sha256}" in result.verified_by


def test_the_fetched_genome_is_one_we_read(server, genome, cache):
    from chromtransfer_plugin.genome import Genome

    (result,) = get("hg38", server.url)
    assert Genome(result.path).contigs == {"chr1": 60_000, "chr2": 63_000}


def test_hg38_later_runs_verify_against_the_record(server, genome, cache):
    get("hg38", server.url)
    server.requests.clear()
    for offline in (False, True):
        (result,) = get("hg38", server.url, offline=offline)
        assert (result.error, result.downloaded) == ("", False)
    assert server.requests == []
    fasta = cache / "hg38/hg38.fa"
    fasta.write_bytes(FASTA[:-2] + b"T\n")
    (result,) = get("hg38", server.url, offline=True)
    assert "is not the expected file" in result.error
    (result,) = get("hg38", server.url)
    assert result.downloaded
    assert fasta.read_bytes() == FASTA


def test_hg38_with_a_pin_needs_no_list(server, genome, cache):
    del server.pages["/md5sum.txt"]
    (result,) = get("hg38", server.url)
    assert "there is no list of checksums" in result.error
    assert [request.path for request in server.requests] == ["/md5sum.txt"]
    pin = hashlib.sha256(genome).hexdigest()
    (result,) = get("hg38", server.url, sha256=pin.upper())
    assert result.downloaded
    (result,) = get("hg38", server.url, sha256="0" * 64)
    assert f"SHA-256 {pin}, expected {'0' * 64}" in result.error
    assert (cache / "hg38/hg38.fa").read_bytes() == FASTA


@pytest.mark.parametrize(
    "text",
    [
        b"d41d8cd98f00b204e9800998ecf8427e  hg38.fa.gz.old\n",
        b"zz  hg38.fa.gz\n",
        b"<html>d41d8cd98f00b204e9800998ecf8427e hg38.fa.gz</html>",
        b"",
    ],
)
def test_a_list_without_the_file(server, genome, cache, text):
    server.pages["/md5sum.txt"].content = text
    (result,) = get("hg38", server.url)
    assert result.error
    assert "/hg38.fa.gz" not in [request.path for request in server.requests]
    assert files(cache) == {}


def test_wrong_hg38(server, genome, cache):
    server.pages["/hg38.fa.gz"].content = genome[:-1] + b"x"
    (result,) = get("hg38", server.url)
    assert "refused and removed" in result.error
    assert files(cache) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(FASTA)[:-10], "cannot be unpacked"),
        (b"not gzip at all", "cannot be unpacked"),
        (gzip.compress(b"chr1\nACGT\n"), "is no FASTA"),
        (gzip.compress(b""), "holds nothing"),
    ],
    # gzip writes the time, and all processes need the same names
    ids=["cut off", "no gzip", "no FASTA", "empty"],
)
def test_hg38_that_cannot_be_unpacked_leaves_no_genome(server, cache, content, message):
    server.add("/hg38.fa.gz", content)
    (result,) = get("hg38", server.url, sha256=hashlib.sha256(content).hexdigest())
    assert message in result.error
    assert "refused and removed" in result.error
    assert files(cache) == {}  # a second run starts from nothing


def test_unpacking_is_bounded(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b">c\n" + b"N" * 10_000_000))
    with pytest.raises(ChromTransferError, match="more than 1,000,000 bytes"):
        fetch_module.unpack_fasta(tmp_path / "a.gz", tmp_path / "a", 1_000_000)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.gz"]


def test_hg38_killed_while_unpacking_is_not_downloaded_again(server, genome, cache):
    (cache / "hg38").mkdir(parents=True)
    (cache / "hg38/.hg38.fa.gz").write_bytes(genome)
    (result,) = get("hg38", server.url)
    assert result.path.read_bytes() == FASTA
    assert [request.path for request in server.requests] == ["/md5sum.txt"]
    assert sorted(files(cache)) == ["hg38/hg38.fa", "hg38/hg38.fa.verified.json"]


def test_hg38_from_a_folder(tmp_path, genome, cache, server):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/hg38.fa.gz").write_bytes(genome)
    (tmp_path / "mirror/md5sum.txt").write_bytes(server.pages["/md5sum.txt"].content)
    (result,) = get("hg38", str(tmp_path / "mirror"))
    assert result.path.read_bytes() == FASTA
    assert (tmp_path / "mirror/hg38.fa.gz").exists()


@pytest.fixture(scope="module")
def motifs():
    return read_motifs("JASPAR2024")


def meme(motifs) -> bytes:
    lines = ["MEME version 4", "", "ALPHABET= ACGT", ""]
    for name, matrix in motifs.items():
        lines += [f"MOTIF {name}", f"letter-probability matrix: alength= 4 w= {len(matrix)} nsites= 20 E= 0"]
        lines += [" " + "  ".join(f"{p:.6f}" for p in row) for row in np.asarray(matrix)] + [""]
    return "\n".join(lines).encode()


def test_jaspar_is_compared_with_the_release_we_ship(server, motifs, cache):
    other_order = dict(reversed(motifs.items()))
    assert len(other_order) == 879
    path = "/JASPAR2024_CORE_vertebrates_non-redundant_pfms_meme.txt"
    server.add(path, meme(other_order))
    (result,) = get("jaspar", server.url)
    assert result.error == ""
    assert result.path.read_bytes() == meme(other_order)

    name = next(iter(motifs))
    changed = motifs[name].copy()
    changed[0] = changed[0][::-1]
    for wrong, message in (
        ({**motifs, name: changed}, f"matrix of {name.split()[0]} is not"),
        ({**motifs, name: motifs[name][1:]}, f"matrix of {name.split()[0]} is not"),
        ({**motifs, f"{name} again": motifs[name]}, "880 motifs, JASPAR2024 has 879; .* twice"),
        ({k: v for k, v in motifs.items() if k != name}, f"878 motifs, JASPAR2024 has 879; .* {name.split()[0]}"),
    ):  # fmt: skip
        server.pages[path].content = meme(wrong)
        result.path.unlink(missing_ok=True)
        (failed,) = get("jaspar", server.url)
        assert re.search(message, failed.error), failed.error
        assert files(cache) == {}


def test_jaspar_with_a_pin(server, motifs, cache):
    content = meme(motifs)
    server.add("/" + fetch_module.JASPAR_FILE, content)
    (failed,) = get("jaspar", server.url, sha256="0" * 64)
    assert f"expected {'0' * 64}" in failed.error
    (result,) = get("jaspar", server.url, sha256=hashlib.sha256(content).hexdigest())
    assert result.downloaded
