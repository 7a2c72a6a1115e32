"""A server that speaks OpenAI's protocol and answers the requests of `afterview marathon` from the truth of synthetic video.

Some answers come only after something went wrong, as `mischief` says by the request. Which requests were answered is recorded.
"""

import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zlib import crc32

from afterview.training.marathon.config import WorldModelConfig
from afterview.training.marathon.models.prompts import data_in
from afterview.training.marathon.worlds.exact import WorldModel

MISCHIEF = ("", "", "", "busy", "error", "cut", "malformed", "fenced", "break", "wrong shape")
STALLS = "global_caption a.mp4"
Mischief = Callable[[str], str]


def by_label(label: str) -> str:
    """A different mischief for each request, the same each time."""
    return "stall" if label == STALLS else MISCHIEF[crc32(label.encode()) % len(MISCHIEF)]


def none(label: str) -> str:
    """Always answers."""
    return ""


class MarathonServer:
    """answered: whole answers that went out, by request. pictures: how many each caption request had. happened: mischief."""

    def __init__(self, videos: Path, *, mischief: Mischief = none, mistakes: dict[str, float] | None = None) -> None:
        self.model = WorldModel(videos, WorldModelConfig(kind="world", **(mistakes or {})))
        self.mischief, self.lock, self.end = mischief, threading.Lock(), threading.Event()
        self.answered, self.happened, self.asked = Counter[str](), Counter[str](), Counter[str]()
        self.pictures: list[int] = []
        self.formats: set[str] = set()
        self.penalties: set[float | None] = set()
        owner = self

        class Handler(_Handler):
            server_of = owner

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.end.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def marathon_server(videos: Path, **options: Any) -> Iterator[MarathonServer]:
    server = MarathonServer(videos, **options)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    server_of: MarathonServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "truth"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]):  # the client was killed
            self.close_connection = True
            return
        try:
            self._answer(body)
        except OSError:
            self.close_connection = True

    def _answer(self, body: bytes) -> None:
        own, document = self.server_of, json.loads(body)
        label, request = document.get("user", ""), hashlib.sha256(body).hexdigest()
        with own.lock:
            first = not own.asked[label]
            own.asked[label] += 1
            what = own.mischief(label)
            what = what if first or what == "refuse" else ""
            own.happened[what] += 1
            own.penalties.add(document.get("frequency_penalty"))
            own.formats.add(document.get("response_format", {}).get("type", ""))
        if what == "busy":
            return self._send(429, {"error": {"message": "too many requests"}}, {"Retry-After": "0.1"})
        if what == "error":
            return self._send(500, {"error": {"message": "out of memory"}})
        if what == "refuse":
            return self._send(422, {"error": {"message": "the prompt is longer than the context"}})
        if what == "stall":
            own.end.wait(8.0)  # longer than the client waits
            self.close_connection = True
            return None
        if what == "break":
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            return None
        words, end = self._words(document, what), "length" if what == "cut" else "stop"
        message = {"role": "assistant", "content": words}
        with own.lock:
            own.answered[request] += 1
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return self._send(
            200, {"model": "truth", "choices": [{"message": message, "finish_reason": end}], "usage": usage}
        )

    def _words(self, document: dict[str, Any], what: str) -> str:
        own = self.server_of
        if "user" not in document:  # whether requests of this form are taken at all
            return '{"caption": "ready"}'
        if what == "silent":
            return ""
        purpose, _, item = document["user"].partition(" ")
        content = next(text for text in map(_text, reversed(document["messages"])) if "```json" in text)
        if purpose == "clip_caption":
            own.pictures.append(_pictures(document))
        answer = own.model.answer(purpose, item, data_in(content), document["seed"])  # type: ignore[arg-type]
        words = json.dumps(answer)
        if what == "cut":
            return words[: len(words) // 2]
        if what == "malformed":
            return "Sure! Here is " + words[1:-2]
        if what == "wrong shape":
            return json.dumps({"result": answer})
        if what == "fenced":
            return f"<think>hm</think>Here it is:\n```json\n{words[:-1]},}}\n```\nI hope this helps."
        return words

    def _send(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _pictures(document: dict[str, Any]) -> int:
    """How many pictures the messages have; each must be a JPEG."""
    parts = [
        part for message in document["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    for url in urls:
        assert base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))[:2] == b"\xff\xd8"
    return len(urls)
