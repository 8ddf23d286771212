"""A local server that serves bytes from memory and misbehaves on request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chromtransfer_plugin.web import Patience

QUICK = Patience(connect=2.0, read=0.4, tries=3, wait=0.01)


@dataclass
class Page:
    """What the server answers under one path.

    The lists are used up, one item for each request; ``None`` or an empty list is good behaviour.
    """

    content: bytes = b""
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    statuses: list[int | None] = field(default_factory=list)
    cut_after: list[int | None] = field(default_factory=list)  # bytes of the body, then the connection ends
    stall: list[float | None] = field(default_factory=list)  # seconds of silence in the middle of the body
    claimed_length: int | None = None
    range_starts: int | None = None  # where a range begins, whatever was asked for
    endless: bool = False  # the content again and again, 100 MB of it, with or without a claimed length
    redirect: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[Page, int], None] | None = None  # gets the page and the number of the request


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


def _next(items: list[Any]) -> Any:
    return items.pop(0) if items else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.seen(Request("GET", self.path, dict(self.headers)))
        page = server.pages.get(self.path)
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            self._answer(401, b"")
            return
        if page is None:
            self._answer(404, b"nothing here")
            return
        if page.before:
            page.before(page, len(server.asked(self.path)))
        if page.redirect:
            self._answer(302, b"", {"Location": page.redirect})
        elif status := _next(page.statuses):
            self._answer(status, b"an error page", page.headers)
        else:
            self._serve(page)

    def _serve(self, page: Page) -> None:
        content, status, start = page.content, 200, 0
        headers = dict(page.headers)
        if page.etag:
            headers["ETag"] = page.etag
        if page.modified:
            headers["Last-Modified"] = page.modified
        asked = self.headers.get("Range")
        unchanged = self.headers.get("If-Range", page.etag) in (page.etag, page.modified)
        if page.ranges and asked and unchanged:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if page.range_starts is not None:
                start = page.range_starts
            if start >= len(content):
                self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        cut, stall = _next(page.cut_after), _next(page.stall)
        if page.endless:
            self._pour(page, headers)
            return
        self._head(status, page.claimed_length if page.claimed_length is not None else len(body), headers)
        half = len(body) // 2 if stall else 0
        self.wfile.write(body[:half])
        if stall:
            self.wfile.flush()
            time.sleep(stall)
        self.wfile.write(body[half : cut if cut is not None else len(body)])
        if cut is not None or page.claimed_length is not None:
            self.close_connection = True

    def _pour(self, page: Page, headers: dict[str, str]) -> None:
        self.send_response(200)
        if page.claimed_length is not None:
            headers["Content-Length"] = str(page.claimed_length)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while self.server.poured < 100_000_000:
            self.wfile.write(page.content)
            self.server.poured += len(page.content)

    def do_PUT(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.seen(Request("PUT", self.path, dict(self.headers), body))
        if server.before_put:
            server.before_put(self.path)
        page = server.pages.get(self.path)
        wanted = self.headers.get("If-Match")
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            self._answer(401, b"")
        elif status := _next(server.put_statuses.get(self.path, [])):
            self._answer(status, b"")
        elif server.folders is not None and self.path.rpartition("/")[0] not in server.folders:
            self._answer(409, b"")
        elif (wanted and (page is None or page.etag != wanted)) or ("If-None-Match" in self.headers and page):
            self._answer(412, b"")
        else:
            server.pages[self.path] = Page(body, etag=f'"{len(server.requests)}"')
            self._answer(201, b"")

    def do_MKCOL(self) -> None:
        self.server.seen(Request("MKCOL", self.path, dict(self.headers)))
        assert self.server.folders is not None
        above = self.path.rstrip("/").rpartition("/")[0]
        if above in self.server.folders:
            self.server.folders.add(self.path.rstrip("/"))
        self._answer(201 if above in self.server.folders else 409, b"")

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, len(body), headers or {})
        self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.poured = 0
        self.put_statuses: dict[str, list[int | None]] = {}
        self.before_put: Callable[[str], None] | None = None
        self.folders: set[str] | None = None  # that PUT may write to; None: any
        self.token: str | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, path: str, content: bytes = b"", **behaviour: Any) -> str:
        self.pages[path] = Page(content, **behaviour)
        return self.url + path

    def seen(self, request: Request) -> None:
        with self._one_at_a_time:
            self.requests.append(request)

    def asked(self, path: str | None = None) -> list[Request]:
        return [request for request in self.requests if path in (None, request.path)]

    def ranges(self) -> list[str | None]:
        return [request.headers.get("Range") for request in self.requests]

    def handle_error(self, *arguments: Any) -> None:
        """Clients of these tests hang up; that is no news."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
