"""A server that speaks OpenAI's chat protocol on 127.0.0.1, looks at the pictures that it is sent, and misbehaves when it is told to."""

import base64
import io
import itertools
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "looker-7b"
CHAT, MODELS = "/v1/chat/completions", "/v1/models"


@dataclass(frozen=True)
class SeenFrame:
    """A frame as it arrived. label: the text before its picture. gray: mean brightness. size: width, height. jpeg: the picture."""

    label: str
    gray: float
    size: tuple[int, int]
    bytes: int
    jpeg: bytes = field(repr=False)

    @property
    def number(self) -> int:
        found = re.match(r"Frame (\d+), ", self.label)
        assert found is not None, self.label
        return int(found[1])


@dataclass(frozen=True)
class Chat:
    """One request. question: the last text. body: the document. size: bytes of the body."""

    frames: tuple[SeenFrame, ...]
    question: str
    body: dict[str, Any]
    headers: dict[str, str]
    size: int


@dataclass
class Misdeeds:
    """What the server does wrong; what is not set, it does right."""

    status: int = 200
    body: bytes | None = None  # instead of an answer
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    busy: list[tuple[int, str | None]] = field(default_factory=list)  # status and Retry-After of the first requests
    pieces: list[str] | None = None  # words, one event each
    raw: list[bytes] | None = None  # of a stream, instead of events
    stall_s: float = 0.0  # before the head
    stall_after: int | None = None  # events; then nothing for stall_stream_s
    stall_stream_s: float = 30.0
    comments_only: bool = False  # keeps the connection open, and says nothing
    die_after: int | None = None  # events; then the connection ends
    finish: str | None = "stop"
    done: bool = True
    whole: bool = False  # answers JSON where a stream was asked for
    no_stream: bool = False  # refuses streams
    lie_about_length: int = 0  # bytes more than there are
    endless: str | None = None  # one event for ever
    key: str | None = None  # that is wanted
    verbatim: bytes | None = None  # instead of a response, head and all; then the connection ends
    flood: bytes | None = None  # the body, again and again without an end
    trickle_s: float = 0.0  # after every byte of the body


class ModelServer:
    """chats: what it was asked. answers: from a chat to words. gone: set once a client left in the middle of a stream."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.chats: list[Chat] = []
        self.paths: list[str] = []
        self.wrong = Misdeeds()
        self.models = [MODEL]
        self.answers: Callable[[Chat], str] = brightest
        self.gone, self.end = threading.Event(), threading.Event()
        owner = self

        class Handler(_Handler):
            server_of = owner

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 32

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that went away, or that does not trust the certificate

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.host = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.end.set()
        self._server.shutdown()
        self._server.server_close()


def brightest(chat: Chat) -> str:
    """The answer of an honest model: which picture is the brightest, and where it stands."""
    best = max(chat.frames, key=lambda one: one.gray)
    return f"CONFIRMED: the picture is brightest in [{best.number}], {best.label}"


@contextmanager
def model_server(tls: ssl.SSLContext | None = None) -> Iterator[ModelServer]:
    server = ModelServer(tls)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    server_of: ModelServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        own = self.server_of
        own.paths.append(self.path)
        document = {"object": "list", "data": [{"id": name} for name in own.models]}
        self._send(200, json.dumps(document).encode(), "application/json")

    def do_POST(self) -> None:
        own, wrong = self.server_of, self.server_of.wrong
        own.paths.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        own.chats.append(_chat(body, dict(self.headers)))
        try:
            self._answer(own, wrong)
        except OSError:
            own.gone.set()
            self.close_connection = True

    def _answer(self, own: ModelServer, wrong: Misdeeds) -> None:
        own.end.wait(wrong.stall_s)
        if wrong.verbatim is not None or wrong.flood is not None:
            return self._answer_without_end(own, wrong)
        chat = own.chats[-1]
        if wrong.busy:
            status, after = wrong.busy.pop(0)
            extra = {} if after is None else {"Retry-After": after}
            return self._send(status, b'{"error": {"message": "too many requests"}}', "application/json", extra)
        if wrong.key is not None and self.headers.get("Authorization") != f"Bearer {wrong.key}":
            given = self.headers.get("Authorization", "")
            said = json.dumps({"error": {"message": f"Incorrect API key provided: {given}"}})
            return self._send(401, said.encode(), "application/json")
        if wrong.no_stream and chat.body["stream"]:
            said = '{"error": {"message": "stream is not supported"}}'
            return self._send(400, said.encode(), "application/json")
        if wrong.status != 200 or wrong.body is not None:
            return self._send(wrong.status, wrong.body or b"", wrong.content_type or "application/json", wrong.headers)
        words = own.answers(chat) if wrong.pieces is None else "".join(wrong.pieces)
        if not chat.body["stream"] or wrong.whole:
            message = {"role": "assistant", "content": words}
            document = {"model": MODEL, "choices": [{"index": 0, "message": message, "finish_reason": wrong.finish}],
                        "usage": {"prompt_tokens": 100, "completion_tokens": 7}}  # fmt: skip
            return self._send(200, json.dumps(document).encode(), wrong.content_type or "application/json")
        self._stream(own, wrong, re.findall(r"\S+\s*", words) if wrong.pieces is None else wrong.pieces)
        return None

    def _answer_without_end(self, own: ModelServer, wrong: Misdeeds) -> None:
        self.close_connection = True
        if wrong.verbatim is not None:
            self._write(wrong.verbatim)
            return
        self.send_response(wrong.status)
        self.send_header("Content-Type", wrong.content_type or "text/event-stream")
        for name, value in wrong.headers.items():
            self.send_header(name, value)
        self.end_headers()
        while not own.end.is_set():
            self._write(wrong.flood or b"")

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) + self.server_of.wrong.lie_about_length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if self.server_of.wrong.lie_about_length:
            self.close_connection = True

    def _stream(self, own: ModelServer, wrong: Misdeeds, pieces: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", wrong.content_type or "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if wrong.raw is not None:
            for raw in wrong.raw:
                self._write(raw)
            return
        while wrong.comments_only and not own.end.wait(0.05):
            self._write(b": ping\n\n")
        while wrong.endless is not None and not own.end.is_set():
            self._write(_event({"content": wrong.endless}))
            time.sleep(0.002)
        for place, piece in enumerate(pieces):
            if place == wrong.die_after:
                return
            if place == wrong.stall_after:
                own.end.wait(wrong.stall_stream_s)
                self._write(b": still here\n\n")  # learns whether the client has left
                self._write(b": still here\n\n")
            self._write(_event({"content": piece}))
        if wrong.finish is not None:
            self._write(_event({}, wrong.finish))
        if wrong.done:
            self._write(b"data: [DONE]\n\n")

    def _write(self, data: bytes) -> None:
        slow, own = self.server_of.wrong.trickle_s, self.server_of
        for piece in [data] if not slow else [bytes([byte]) for byte in data]:
            self.wfile.write(piece)
            self.wfile.flush()
            if slow and own.end.wait(slow):
                return


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"model": MODEL, "choices": [choice]}).encode() + b"\n\n"


def _chat(body: bytes, headers: dict[str, str]) -> Chat:
    document = json.loads(body)
    content = document["messages"][-1]["content"]
    frames = []
    for before, part in itertools.pairwise(content):
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/jpeg;base64"
            jpeg = base64.b64decode(data, validate=True)
            with Image.open(io.BytesIO(jpeg)) as picture:
                assert picture.format == "JPEG"
                small = picture.convert("L").resize((1, 1), Image.Resampling.BOX)
                frames.append(SeenFrame(before["text"], float(small.getpixel((0, 0))), picture.size, len(jpeg), jpeg))  # type: ignore[arg-type]
    return Chat(tuple(frames), content[-1]["text"], document, headers, len(body))
