"""A local stand-in for the Hugging Face Hub: the few addresses that publishing and reading use."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_test"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: Any) -> None:
        pass

    def _answer(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_GET(self) -> None:
        hub = self.server
        hub.seen.append(("GET", self.path, self.headers.get("Authorization")))
        if self.path.startswith("/objects/"):
            self._answer(200, hub.objects[self.path.removeprefix("/objects/")])
        elif match := re.fullmatch(r"/api/models/(\w+/\w+)/revision/main", self.path):
            commits = hub.repositories.get(match[1])
            if commits is None:
                self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            else:
                self._answer(
                    200, {"id": match[1], "modelId": match[1], "sha": list(commits)[-1], "siblings": []}
                )
        elif match := re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", self.path):
            self._resolve(*match.groups())
        else:
            self._answer(404)

    def _resolve(self, repository: str, revision: str, path: str) -> None:
        commits = self.server.repositories.get(repository, {})
        files = list(commits.values())[-1] if revision == "main" and commits else commits.get(revision, {})
        if path not in files:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif files[path][0] == "lfs":  # on another host, as the Hub keeps them
            self._answer(
                302, b"", {"Location": f"http://localhost:{self.server.port}/objects/{files[path][1]}"}
            )
        else:
            self._answer(200, self.server.objects[files[path][1]], {"ETag": f'"{files[path][1]}"'})

    def do_PUT(self) -> None:
        self.server.seen.append(("PUT", self.path, self.headers.get("Authorization")))
        content = self._body()
        assert hashlib.sha256(content).hexdigest() == self.path.removeprefix("/objects/")
        self.server.objects[self.path.removeprefix("/objects/")] = content
        self._answer(200)

    def do_POST(self) -> None:
        hub = self.server
        body = self._body()
        hub.seen.append(("POST", self.path, self.headers.get("Authorization")))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            hub.create(f"{asked['organization']}/{asked['name']}")
            self._answer(200, {"url": f"{hub.url}/{asked['organization']}/{asked['name']}"})
        elif self.path.endswith("/preupload/main"):
            self._answer(200, {"files": [self._mode(file["path"]) for file in json.loads(body)["files"]]})
        elif self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [self._upload(one) for one in json.loads(body)["objects"]]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif match := re.fullmatch(r"/api/models/(\w+/\w+)/commit/main", self.path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404)

    @staticmethod
    def _mode(path: str) -> dict[str, Any]:
        large = path.endswith((".safetensors", ".h5"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def _upload(self, one: dict[str, Any]) -> dict[str, Any]:
        if one["oid"] in self.server.objects:
            return one
        return {**one, "actions": {"upload": {"href": f"{self.server.url}/objects/{one['oid']}"}}}

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        hub = self.server
        if hub.before_commit:
            hub.before_commit()
        commits = hub.repositories[repository]
        parent = lines[0]["value"].get("parentCommit")
        if parent is not None and parent != list(commits)[-1]:
            self._answer(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        files: dict[str, tuple[str, str]] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile":
                files[value["path"]] = "lfs", value["oid"]
            else:
                files[value["path"]] = "regular", hub.keep(base64.b64decode(value["content"]))
        oid = hub.commit(repository, files)
        self._answer(200, {"commitUrl": f"{hub.url}/{repository}/commit/{oid}", "commitOid": oid})


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # Repository -> commit -> path -> how it is kept and the SHA-256 of its content.
        self.repositories: dict[str, dict[str, dict[str, tuple[str, str]]]] = {}
        self.objects: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, str | None]] = []
        self.before_commit: Callable[[], None] | None = None

    def keep(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        self.objects[name] = content
        return name

    def create(self, repository: str) -> None:
        self.repositories[repository] = {}
        self.commit(repository, {".gitattributes": ("regular", self.keep(b""))})

    def commit(self, repository: str, files: dict[str, tuple[str, str]]) -> str:
        commits = self.repositories[repository]
        before = list(commits.values())[-1] if commits else {}
        oid = hashlib.sha1(f"{repository} {len(commits)}".encode()).hexdigest()
        commits[oid] = {**before, **files}
        return oid

    def files(self, repository: str) -> dict[str, tuple[str, bytes]]:
        last = list(self.repositories[repository].values())[-1]
        return {path: (kind, self.objects[name]) for path, (kind, name) in sorted(last.items())}


@contextlib.contextmanager
def hub_serving() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
