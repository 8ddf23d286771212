"""One download against a server that misbehaves."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import time

import pytest
from http_cases import QUICK, serving

from chromtransfer_plugin.download import copy_verified, download
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.verify import Expected, digests
from chromtransfer_plugin.web import NotThereError, open_session, read_text, shown

CONTENT = bytes(range(256)) * 4_000  # 1,024,000 bytes: several pieces
SHA = hashlib.sha256(CONTENT).hexdigest()
RIGHT = Expected(sha256=SHA)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def get(server, tmp_path):
    def get(url, expected=RIGHT, **settings):
        settings = {"max_bytes": 10_000_000, "patience": QUICK, **settings}
        return download(url, tmp_path / "out" / "file.bin", expected, **settings)

    get.target = tmp_path / "out" / "file.bin"
    get.part = tmp_path / "out" / ".file.bin.part"
    get.left = lambda: sorted(path.name for path in (tmp_path / "out").iterdir())
    return get


def refused(match, call, *arguments, **settings):
    with pytest.raises(ChromTransferError, match=match) as caught:
        call(*arguments, **settings)
    return str(caught.value)


def test_digests_of_a_known_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert digests(tmp_path / "abc") == {
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "git_blob": "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f",  # git hash-object
    }


def test_a_file_arrives_and_is_not_downloaded_again(server, get):
    url = server.add("/file.bin", CONTENT)
    assert get(url) is True
    assert get.target.read_bytes() == CONTENT
    assert get.left() == ["file.bin"]
    assert get(url) is False
    assert len(server.requests) == 1
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "expected",
    [
        Expected(size=len(CONTENT)),
        Expected(md5=hashlib.md5(CONTENT).hexdigest().upper()),
        Expected(git_blob=hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()),
        Expected(sha256=SHA, size=len(CONTENT)),
    ],
)
def test_every_kind_of_check_accepts_the_right_file_and_refuses_another(server, get, expected):
    assert get(server.add("/right", CONTENT), expected) is True
    get.target.unlink()
    refused("expected", get, server.add("/wrong", CONTENT[:-1]), expected)
    assert get.left() == []


def test_a_cut_connection_is_continued(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[600_000])
    assert get(url) is True
    assert get.target.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=600000-"]
    assert server.requests[1].headers["If-Range"] == '"one"'


def test_a_server_that_always_cuts_but_sends_something_is_followed_to_the_end(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[100_000] * 8)
    get(url)
    assert server.ranges() == [None, *(f"bytes={n}00000-" for n in range(1, 9))]
    assert get.target.read_bytes() == CONTENT


def test_always_cut_without_range_support_is_given_up_and_kept(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[400_000] * 99, ranges=False)
    text = refused("given up after 3 attempts without progress", get, url)
    assert "cut at 400,000 of 1,024,000 bytes" in text
    # The first attempt was progress and counts as one of three.
    assert server.ranges() == [None, "bytes=400000-", "bytes=400000-"]
    assert get.left() == [".file.bin.part", ".file.bin.part.json"]
    server.pages["/file.bin"].cut_after = []
    assert get(url) is True
    assert get.left() == ["file.bin"]


def test_no_range_support_starts_again(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[400_000], ranges=False)
    get(url)
    assert get.target.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=400000-"]


def test_a_later_call_continues_what_an_earlier_one_left(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[500_000, 0, 0])
    refused("given up", get, url)
    assert get.part.read_bytes() == CONTENT[:500_000]
    server.requests.clear()
    get(url)
    assert server.ranges() == ["bytes=500000-"]
    assert get.target.read_bytes() == CONTENT


def test_bytes_of_unknown_origin_are_not_continued(server, get):
    get.part.parent.mkdir()
    get.part.write_bytes(b"x" * 1000)
    get(server.add("/file.bin", CONTENT))
    assert server.ranges() == [None]
    assert get.target.read_bytes() == CONTENT


def test_bytes_of_another_url_are_not_continued(server, get):
    refused("given up", get, server.add("/first", CONTENT, cut_after=[1000, 0, 0]))
    server.requests.clear()
    get(server.add("/second", CONTENT))
    assert server.ranges() == [None]


def test_without_any_validator_nothing_is_continued(server, get):
    get(server.add("/file.bin", CONTENT, etag=None, cut_after=[1000]))
    assert server.ranges() == [None, None]
    assert get.target.read_bytes() == CONTENT


def test_last_modified_serves_where_the_etag_is_weak(server, get):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    get(server.add("/file.bin", CONTENT, etag='W/"one"', modified=date, cut_after=[1000]))
    assert server.ranges() == [None, "bytes=1000-"]
    assert server.requests[1].headers["If-Range"] == date


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'])
def test_a_file_that_changed_in_between_is_taken_from_the_start(server, get, etag):
    old = b"an older version " * 50_000

    def change(page, number):
        if number == 2:
            page.content, page.etag = CONTENT, etag.replace("one", "two")

    get(server.add("/file.bin", old, etag=etag, cut_after=[3_000], before=change))
    assert get.target.read_bytes() == CONTENT
    assert server.ranges()[:2] == [None, "bytes=3000-"]


def test_a_weak_etag_is_compared_where_no_digest_is_known(server, get):
    """Without If-Range the server answers with the rest of another file: only its ETag tells."""

    def change(page, number):
        if number == 2:
            page.content, page.etag = CONTENT[::-1], 'W/"two"'

    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    url = server.add("/file.bin", CONTENT, etag='W/"one"', modified=date, cut_after=[3_000], before=change)
    get(url, Expected(size=len(CONTENT)))
    assert get.target.read_bytes() == CONTENT[::-1]
    assert server.ranges() == [None, "bytes=3000-", None]


@pytest.mark.parametrize("start", [0, 2_000, 4_000])
def test_another_range_than_asked_for_is_not_appended(server, get, start):
    url = server.add("/file.bin", CONTENT, cut_after=[3_000], range_starts=start)
    get(url, Expected())
    assert get.target.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=3000-", None]


def test_a_file_that_became_shorter_is_taken_from_the_start(server, get):
    def change(page, number):
        if number == 2:
            page.content = CONTENT

    url = server.add("/file.bin", CONTENT + b"x" * 100, cut_after=[len(CONTENT) + 50], before=change)
    get(url)
    assert get.target.read_bytes() == CONTENT
    assert server.ranges() == [None, f"bytes={len(CONTENT) + 50}-", None]


def test_a_process_that_died_before_the_new_name_needs_no_more_bytes(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[500_000, 0, 0])
    refused("given up", get, url)
    get.part.write_bytes(CONTENT)
    server.requests.clear()
    assert get(url) is True
    assert server.requests == []


def test_spoilt_older_bytes_are_taken_again(server, get):
    url = server.add("/file.bin", CONTENT, cut_after=[500_000, 0, 0])
    refused("given up", get, url)
    get.part.write_bytes(b"?" * 500_000)
    server.requests.clear()
    get(url)
    assert server.ranges() == ["bytes=500000-", None]
    assert get.target.read_bytes() == CONTENT


def test_wrong_bytes_are_removed_and_both_digests_named(server, get):
    wrong = b"w" * len(CONTENT)
    text = refused("refused and removed", get, server.add("/file.bin", wrong))
    assert SHA in text
    assert hashlib.sha256(wrong).hexdigest() in text
    assert len(server.requests) == 1
    assert get.left() == []


def test_wrong_bytes_of_a_server_that_also_cuts_end(server, get):
    refused("refused and removed", get, server.add("/f", b"w" * 9_000, cut_after=[4_000, None, 4_000]))
    assert get.left() == []
    assert server.ranges() == [None, "bytes=4000-", None, "bytes=4000-"]


def test_wrong_bytes_do_not_touch_an_existing_file(server, get):
    get.target.parent.mkdir()
    get.target.write_bytes(b"older")
    refused("refused", get, server.add("/file.bin", b"wrong"))
    assert get.target.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"\n<!DOCTYPE html><html>Please log in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git-LFS pointer"),
        (b"", "is empty"),
    ],
)
def test_typical_wrong_content_is_named(server, get, content, hint):
    refused(hint, get, server.add("/file.bin", content))
    assert get.left() == []


def test_missing_file(server, get):
    with pytest.raises(NotThereError, match="no such file"):
        get(server.url + "/nothing")
    assert len(server.requests) == 1
    assert get.left() == []


@pytest.mark.parametrize("status", [400, 401, 403, 418])
def test_refusals_are_not_repeated(server, get, status):
    refused(f"HTTP {status}", get, server.add("/file.bin", CONTENT, statuses=[status] * 5))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(server, get, status, capsys):
    get(server.add("/file.bin", CONTENT, statuses=[status, status]))
    assert len(server.requests) == 3
    assert get.target.read_bytes() == CONTENT
    assert capsys.readouterr().err.count(f"HTTP {status}") == 2


def test_a_server_in_lasting_trouble_is_given_up(server, get):
    refused("HTTP 502", get, server.add("/file.bin", CONTENT, statuses=[502] * 9))
    assert len(server.requests) == 3
    assert get.left() == []


def test_retry_after_is_honoured(server, get):
    url = server.add("/file.bin", CONTENT, statuses=[503], headers={"Retry-After": "1"})
    start = time.monotonic()
    get(url)
    assert time.monotonic() - start >= 1


def test_a_stalled_server_is_left_and_continued(server, get):
    url = server.add("/file.bin", CONTENT, stall=[5.0])
    start = time.monotonic()
    get(url)
    assert time.monotonic() - start < 3
    assert get.target.read_bytes() == CONTENT
    first, second = server.ranges()
    assert first is None
    assert 0 < int(re.fullmatch(r"bytes=(\d+)-", second)[1]) <= len(CONTENT) // 2


def test_no_server(get, server):
    server.server_close()
    refused("connection failed .*refused", get, server.url + "/file.bin")


def test_redirect(server, get):
    server.add("/file.bin", CONTENT)
    get(server.add("/old", redirect="/file.bin"))
    assert get.target.read_bytes() == CONTENT


@pytest.mark.parametrize("elsewhere", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://x/"])
def test_redirect_to_another_protocol(server, get, elsewhere):
    text = refused("only http and https", get, server.add("/old", redirect=elsewhere), Expected(size=1))
    assert elsewhere in text
    assert get.left() == []
    assert len(server.requests) == 1


def test_redirect_from_https_to_http_is_refused():
    import requests

    response = requests.Response()
    response.status_code, response.url = 302, "https://a.example/x"
    response.headers["Location"] = "http://b.example/x"
    refused("from https to http", open_session().get_redirect_target, response)
    response.headers["Location"] = "https://b.example/x"
    assert open_session().get_redirect_target(response) == "https://b.example/x"


def test_redirect_loop(server, get):
    refused("redirects more than 5 times", get, server.add("/a", redirect="/a"))
    assert len(server.requests) == 6


def test_a_token_stays_with_its_server(server, get, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving() as other:
        # Another host name of this machine: another port alone is the same host, but requests drops it for that too.
        target = other.add("/file.bin", CONTENT).replace("127.0.0.1", "localhost")
        get(server.add("/file.bin", redirect=target), token="secret")
        assert server.requests[0].headers["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.requests[0].headers


def test_a_length_that_is_too_long_is_a_cut(server, get):
    text = refused("given up", get, server.add("/file.bin", CONTENT, claimed_length=len(CONTENT) + 10))
    assert "1,024,010" in text
    assert not get.target.exists()


def test_a_length_that_is_too_short_is_the_wrong_file(server, get):
    refused("900,000 bytes with SHA-256", get, server.add("/file.bin", CONTENT, claimed_length=900_000))
    assert get.left() == []


def test_too_large_by_its_own_account_is_not_read(server, get):
    url = server.add("/file.bin", CONTENT[:1000], claimed_length=2_000_000)
    refused("more than 1,000,000 bytes", get, url, max_bytes=1_000_000)
    assert len(server.requests) == 1
    assert get.left() == []


@pytest.mark.parametrize("claimed", [None, 10**9])
def test_an_endless_answer_is_left(server, get, claimed):
    url = server.add("/file.bin", CONTENT, endless=True, claimed_length=claimed)
    refused("more than 1,500,000 bytes", get, url, max_bytes=1_500_000)
    assert get.left() == []
    # What is under way in buffers, but not the 1.5 MB that could have been written.
    assert server.poured < (60_000_000 if claimed is None else 10_000_000)


def test_too_large_after_unpacking_is_stopped(server, get):
    packed = gzip.compress(CONTENT)
    assert len(packed) < 100_000
    url = server.add("/file.bin", packed, headers={"Content-Encoding": "gzip"})
    refused("more than 900,000 bytes", get, url, max_bytes=900_000)
    assert get.left() == []


def test_compression_on_the_way_is_undone(server, get):
    url = server.add("/file.bin", gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"})
    get(url)
    assert get.target.read_bytes() == CONTENT


def test_compression_on_the_way_is_never_continued(server, get):
    packed = gzip.compress(CONTENT)
    page = {"headers": {"Content-Encoding": "gzip"}, "cut_after": [len(packed) // 2]}
    get(server.add("/file.bin", packed, **page))
    assert server.ranges() == [None, None]
    assert get.target.read_bytes() == CONTENT


def test_a_gzip_file_that_the_server_calls_an_encoding_stays_as_it_is(server, get):
    packed = gzip.compress(CONTENT)
    url = server.add("/f.gz", packed, headers={"Content-Encoding": "x-gzip"}, cut_after=[1_000])
    get(url, Expected(sha256=hashlib.sha256(packed).hexdigest()))
    assert get.target.read_bytes() == packed
    assert server.ranges() == [None, "bytes=1000-"]


def test_broken_compression(server, get):
    refused("compression is broken", get, server.add("/f", b"no gzip", headers={"Content-Encoding": "gzip"}))


def test_inspection_comes_before_the_name(server, get):
    def inspect(path):
        assert path == get.part
        raise ChromTransferError("not a genome.")

    refused("not a genome", get, server.add("/file.bin", CONTENT), inspect=inspect)
    assert get.left() == []


def test_two_at_once(server, get):
    url = server.add("/file.bin", CONTENT)
    answers = []

    def second(page, number):
        if number == 1:
            with pytest.raises(ChromTransferError) as caught:
                get(url)
            answers.append(str(caught.value))

    server.pages["/file.bin"].before = second
    assert get(url) is True
    assert "another process is downloading this file" in answers[0]
    assert get.target.read_bytes() == CONTENT
    assert get.left() == ["file.bin"]


def test_ctrl_c_keeps_the_partial_file(server, tmp_path):
    url = server.add("/file.bin", CONTENT, stall=[20.0])
    code = (
        "import signal\nfrom chromtransfer_plugin.download import download\n"
        # A shell that runs the tests in the background ignores Ctrl-C, and so would this process.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from chromtransfer_plugin.verify import Expected\n"
        f"download({url!r}, {str(tmp_path / 'file.bin')!r}, Expected(sha256={SHA!r}), max_bytes=10**7)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    part = tmp_path / ".file.bin.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    kept = part.read_bytes()
    assert kept == CONTENT[: len(kept)]
    assert len(kept) > 0
    assert json.loads((tmp_path / ".file.bin.part.json").read_text())["total"] == len(CONTENT)
    assert not (tmp_path / "file.bin").exists()
    assert download(url, tmp_path / "file.bin", RIGHT, max_bytes=10**7, patience=QUICK) is True
    assert server.ranges() == [None, f"bytes={len(kept)}-"]


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x/y", "https:///nobody", "/a/path"])
def test_other_addresses(get, url):
    refused("expected a URL like", get, url)


def test_passwords_are_not_shown():
    assert shown("https://me:secret@host/a@b?c=d@e") == "https://host/a@b?c=d@e"


def test_a_folder_that_cannot_be_written_to(server, tmp_path):
    (tmp_path / "file").write_text("")
    url = server.add("/file.bin", CONTENT)
    refused("cannot create", download, url, tmp_path / "file" / "x", RIGHT, max_bytes=10**7)
    assert server.requests == []


def test_a_target_that_is_a_folder(server, get):
    get.target.mkdir(parents=True)
    refused("cannot be written", get, server.add("/file.bin", CONTENT))
    assert get.target.is_dir()


def test_a_full_disk_keeps_what_is_there(server, get, monkeypatch):
    import errno
    import io

    from chromtransfer_plugin import download as module

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() > 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    url = server.add("/file.bin", CONTENT)
    usual = module.Path.open
    with monkeypatch.context() as patch:
        patch.setattr(
            module.Path,
            "open",
            lambda path, mode="r", *a, **k: (
                Full(path, "a") if mode == "ab" and server.requests else usual(path, mode, *a, **k)
            ),
        )
        refused("No space left .* Free some space", get, url)
    kept = get.part.stat().st_size
    assert 0 < kept < len(CONTENT)
    get(url)
    assert server.ranges() == [None, f"bytes={kept}-"]
    assert get.target.read_bytes() == CONTENT


def test_read_text(server):
    url = server.add("/text", "größer\n".encode())
    assert read_text(url, 100, QUICK) == ("größer\n", '"one"')
    refused("more than 5 bytes", read_text, url, 5, QUICK)
    refused("expected a text file", read_text, server.add("/binary", b"\xff\xfe\xfd"), 100, QUICK)
    with pytest.raises(NotThereError):
        read_text(server.url + "/nothing", 100, QUICK)


def test_copy(tmp_path):
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(CONTENT)
    assert copy_verified(source, target, RIGHT, max_bytes=10**7) is True
    assert target.read_bytes() == CONTENT
    assert copy_verified(source, target, RIGHT, max_bytes=10**7) is False
    target.unlink()
    source.write_bytes(CONTENT[1:])
    refused("refused", copy_verified, source, target, RIGHT, max_bytes=10**7)
    refused("at most 10 are taken", copy_verified, source, target, RIGHT, max_bytes=10)
    refused("no such file", copy_verified, tmp_path / "none", target, RIGHT, max_bytes=10)
    assert list(target.parent.iterdir()) == []
