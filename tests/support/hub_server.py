"""A server that speaks the hub's protocol on 127.0.0.1, and lies, stalls and breaks off when it is told to.

As the public hub: the interface lists files with sizes and checksums; small files are answered, large ones redirect to another host (here
`localhost`), which must not see the token; ranges are answered with 206.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE_BYTES = 1000  # from here on a file is stored apart (LFS)
PIECE = 8192


@dataclass
class Faults:
    """What the server does wrong. By name of a file, where it says so."""

    stall_after: dict[str, int] = field(default_factory=dict)  # bytes; then nothing for stall_s
    stall_s: float = 30.0
    break_after: dict[str, int] = field(default_factory=dict)  # bytes of each answer; then the connection ends
    wrong_bytes: set[str] = field(default_factory=set)
    wrong_size_listed: dict[str, int] = field(default_factory=dict)
    sends_more: set[str] = field(default_factory=set)  # than it says, in chunks
    web_page: set[str] = field(default_factory=set)  # files, or "api"
    status: dict[str, int] = field(default_factory=dict)  # of files, or "api"
    redirect_loop: bool = False
    endless_redirects: bool = False  # their bodies have no end
    no_ranges: bool = False
    token: str | None = None  # that is wanted
    gated: bool = False  # even with a token
    junk: bytes | None = None  # the interface's answer
    pause_s: float = 0.0  # between two pieces


class HubServer:
    """models: files by owner/name. sent: bytes of each file that left the server. asked: paths. told: tokens seen by the other host."""

    def __init__(self, models: Mapping[str, Mapping[str, bytes]]) -> None:
        self.models = {repo: dict(files) for repo, files in models.items()}
        self.faults = Faults()
        self.sent: Counter[str] = Counter()
        self.asked: list[str] = []
        self.told: list[str] = []
        self.commits = dict.fromkeys(self.models, COMMIT)
        owner = self

        class Handler(_Handler):
            hub = owner

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator["HubServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def checksum(self, repo: str, file: str) -> str:
        data = self.models[repo][file]
        if len(data) >= LARGE_BYTES:
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def listing(self, repo: str) -> dict[str, object]:
        siblings = []
        for name, data in self.models[repo].items():
            size = self.faults.wrong_size_listed.get(name, len(data))
            entry: dict[str, object] = {"rfilename": name, "size": size, "blobId": "1" * 40}
            if len(data) >= LARGE_BYTES:
                entry["lfs"] = {"sha256": self.checksum(repo, name), "size": size, "pointerSize": 134}
            else:
                entry["blobId"] = self.checksum(repo, name)
            siblings.append(entry)
        return {"id": repo, "sha": self.commits[repo], "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, faults = unquote(urlsplit(self.path).path), self.hub.faults
        self.hub.asked.append(path)
        if path.startswith("/lfs/"):
            self.hub.told.append(self.headers.get("Authorization", ""))
            _, _, owner, name, file = path.split("/", 4)
            return self._send_file(f"{owner}/{name}", file)
        if faults.redirect_loop:
            return self._send(302, b"", Location=self.path)
        api = path.startswith("/api/models/")
        repo = "/".join(path.removeprefix("/api/models/").strip("/").split("/")[:2])
        if repo not in self.hub.models:
            return self._send(404, b'{"error": "Repository not found"}', **{"X-Error-Code": "RepoNotFound"})
        if faults.token is not None and self.headers.get("Authorization") != f"Bearer {faults.token}":
            return self._send(401, b"{}", **{"X-Error-Code": "GatedRepo" if faults.gated else "RepoNotFound"})
        if faults.gated:
            return self._send(403, b"{}", **{"X-Error-Code": "GatedRepo"})
        return self._api(repo, path) if api else self._resolve(repo, path.split("/", 5)[5])

    def _api(self, repo: str, path: str) -> None:
        faults = self.hub.faults
        if "api" in faults.status:
            return self._send(faults.status["api"], b"")
        if "api" in faults.web_page:
            return self._send(200, b"<!doctype html><html>sign in</html>", **{"Content-Type": "text/html"})
        if faults.junk is not None:
            return self._send(200, faults.junk, **{"Content-Type": "application/json"})
        if "api" in faults.stall_after:
            time.sleep(faults.stall_s)
        if path.rsplit("/", 1)[-1] not in ("main", "v2", self.hub.commits[repo]):
            return self._send(404, b"{}", **{"X-Error-Code": "RevisionNotFound"})
        return self._send(200, json.dumps(self.hub.listing(repo)).encode(), **{"Content-Type": "application/json"})

    def _resolve(self, repo: str, file: str) -> None:
        commit = {"X-Repo-Commit": self.hub.commits[repo]}
        if file not in self.hub.models[repo]:
            return self._send(404, b"", **commit, **{"X-Error-Code": "EntryNotFound"})
        data = self.hub.models[repo][file]
        etag = f'"{self.hub.checksum(repo, file)}"'
        if len(data) >= LARGE_BYTES and not self.hub.faults.web_page & {file}:
            linked = {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data)), **commit}
            if self.hub.faults.endless_redirects:
                return self._redirect_without_end(f"http://localhost:{self.hub.port}/lfs/{repo}/{file}")
            return self._send(302, b"", Location=f"http://localhost:{self.hub.port}/lfs/{repo}/{file}", **linked)
        return self._send_file(repo, file, ETag=etag, **commit)

    def _redirect_without_end(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while True:  # until the client has gone
            self.wfile.write(b"x" * 65536)

    def _send_file(self, repo: str, file: str, **headers: str) -> None:
        faults, data = self.hub.faults, self.hub.models[repo][file]
        if file in faults.status:
            return self._send(faults.status[file], b"")
        if file in faults.web_page:
            return self._send(200, b"<html>please sign in</html>", **{"Content-Type": "text/html"})
        if file in faults.wrong_bytes:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = 0
        if (span := self.headers.get("Range")) and not faults.no_ranges:
            start = int(span.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(206 if "Content-Range" in headers else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        body = data[start:] + (b"more" * 5000 if file in faults.sends_more else b"")
        if file in faults.sends_more:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self._write_slowly(file, body)
        self.close_connection = file in faults.sends_more
        return None

    def _write_slowly(self, file: str, body: bytes) -> None:
        faults, most = self.hub.faults, len(body)
        limit = min(faults.stall_after.get(file, most), faults.break_after.get(file, most))
        for at in range(0, len(body), PIECE):
            if faults.pause_s:
                time.sleep(faults.pause_s)
            piece = body[at : min(at + PIECE, limit)]
            self.wfile.write(piece)
            self.hub.sent[file] += len(piece)
            if at + len(piece) >= limit < most:
                if file in faults.stall_after:
                    time.sleep(faults.stall_s)
                self.close_connection = True
                self.connection.close()
                return

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
