"""Clients of a service in one process: `python -m tests.soak.service_clients URL EVENTS SHOWN COUNT SEED CAMERA...`.

Each asks, searches and looks in turn, with pauses, from an address of its own (127.0.0.2 and on), so that each is a client of its own to
the service. Every request becomes an event "asked"; what was shown goes to SHOWN. They end when standard input does.

Threads: one per client.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tests.soak.events import append
from tests.soak.service_promises import Shown, content_of
from tests.support.service import API, sent_events

PAUSE_S = (2.5, 9.0)
DOWN_PAUSE_S = 1.0
TIMEOUT_S = 120.0
_LEAVES_AFTER_S = (0.02, 1.5)
_QUESTIONS = (
    "Which scene do you see now?",
    "Did you see a red ring?",
    "What thing was there?",
    "How many things were there?",
)
_TEXTS = ("a red ring", "a blue block", "a forest")
# What is done next, and how often.
_KINDS = {"all cameras": 4, "one camera": 6, "follow-up": 3, "streamed": 4, "leave": 4, "search": 4,
          "frames": 2, "timeline": 2, "picture": 2, "states": 1, "answers": 1, "events": 1}  # fmt: skip


class Refused(Exception):
    """The service answered with an error. retry_s: after which it may be asked again."""

    def __init__(self, status: int, kind: str, message: str, retry_s: float | None) -> None:
        super().__init__(f"{status} {kind}: {message}")
        self.status, self.kind, self.retry_s = status, kind, retry_s


class Client:
    """One client, which does one thing after the other until it is stopped."""

    def __init__(self, number: int, url: str, events: Path, shown: Shown, cameras: list[str], seed: int) -> None:
        self._number, self._events, self._shown, self._cameras = number, events, shown, cameras
        self._dice = random.Random(f"{seed} client {number}")
        transport = httpx2.HTTPTransport(local_address=f"127.0.0.{number + 2}")
        self._http = httpx2.Client(base_url=url + API, timeout=TIMEOUT_S, transport=transport, trust_env=False)
        self._last, self._content = "", []  # id of its last answer, and what it said
        self._etags: dict[str, str] = {}
        self._first_s: float | None = None
        self._doing: dict[str, Callable[[], str]] = {
            "all cameras": lambda: self._ask({}),
            "one camera": lambda: self._ask({"cameras": [self._camera()], "last": self._dice.choice(["30s", "60s", "5m"])}),
            "follow-up": self._follow_up,
            "streamed": lambda: self._stream({"cameras": self._dice.sample(self._cameras, 2)}),
            "leave": self._leave,
            "search": self._search,
            "frames": self._frames,
            "timeline": self._timeline,
            "picture": self._picture,
            "states": self._states,
            "answers": self._answers,
            "events": self._listen,
        }  # fmt: skip

    def run(self, stop: threading.Event) -> None:
        """Until `stop`."""
        pause = self._dice.uniform(0, PAUSE_S[1])
        while not stop.wait(pause):
            what = self._dice.choices(list(_KINDS), list(_KINDS.values()))[0]
            pause = self._dice.uniform(*PAUSE_S)
            began, outcome, more = time.time(), "", {}
            self._first_s = None
            try:
                outcome = self._doing[what]()
            except Refused as error:
                outcome, more = error.kind, {"status": error.status, "said": str(error)[:200]}
                pause = error.retry_s if error.retry_s is not None else pause
            except httpx2.ConnectError:
                outcome, pause = "down", DOWN_PAUSE_S
            except httpx2.TimeoutException as error:
                outcome, more = "timeout", {"said": type(error).__name__}
            except httpx2.TransportError as error:
                outcome, more, pause = "cut", {"said": f"{type(error).__name__}: {error}"[:200]}, DOWN_PAUSE_S
            except Exception as error:  # a document that is not as it should be
                outcome, more = "wrong", {"said": f"{type(error).__name__}: {error}"[:300]}
            append(
                self._events, "asked", client=self._number, what=what, outcome=outcome, began=round(began, 3),
                s=round(time.time() - began, 3), first_s=self._first_s, **more,
            )  # fmt: skip
        self._http.close()

    def _camera(self) -> str:
        return self._dice.choice(self._cameras)

    def _json(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return _checked(self._http.request(method, path, json=body, params=query)).json()

    # --- questions ---

    def _ask(self, more: dict[str, Any]) -> str:
        return self._took(self._json("POST", "/ask", {"question": self._dice.choice(_QUESTIONS), **more}))

    def _follow_up(self) -> str:
        return self._ask({"follows": self._last}) if self._last else self._ask({})

    def _stream(self, more: dict[str, Any]) -> str:
        body = {"question": self._dice.choice(_QUESTIONS), "stream": True, **more}
        began, text, document = time.monotonic(), "", None
        with self._http.stream("POST", "/ask", json=body) as response:
            if response.status_code != 200:
                response.read()
            _checked(response)
            for kind, data in sent_events(response.iter_lines()):
                if kind == "text":
                    text += data["text"]
                    self._first_s = self._first_s or round(time.monotonic() - began, 3)
                elif kind == "answer":
                    document = data
                elif kind == "error":
                    raise Refused(200, data["error"]["kind"], data["error"]["message"], None)
        if document is None:
            raise ValueError("the stream ended without an answer")
        if text != document["answer"]:
            raise ValueError(f"the stream said {text!r}, the answer is {document['answer']!r}")
        return self._took(document)

    def _leave(self) -> str:
        """Ask, and go away before the answer: while it waits for its turn, or in the middle of the text."""
        body = {"question": self._dice.choice(_QUESTIONS), "stream": self._dice.random() < 0.6}
        patience = self._dice.uniform(*_LEAVES_AFTER_S)
        timeout = httpx2.Timeout(patience, connect=TIMEOUT_S)
        try:
            with self._http.stream("POST", "/ask", json=body, timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                _checked(response)
                for line in response.iter_lines():
                    if line == "event: text":
                        return "left"
        except httpx2.ReadTimeout:
            return "left"
        return "left"

    def _took(self, document: Any) -> str:
        """Keep what an answer has shown."""
        frames = [(one["camera"], one["frame"], one["time"]) for one in document["evidence"]]
        self._saw(frames)
        self._shown.note("answer", id=document["id"], content=content_of(document))
        self._last, self._content = document["id"], content_of(document)
        return "declined" if document["declined"] else "answered"

    def _search(self) -> str:
        cameras = [] if self._dice.random() < 0.5 else [self._camera()]
        document = self._json("POST", "/search", {"text": self._dice.choice(_TEXTS), "cameras": cameras})
        self._saw((hit["camera"], hit["frame"], hit["time"]) for hit in document["hits"])
        self._shown.note("answer", id=document["id"], content=content_of(document))
        return "found"

    # --- looking ---

    def _frames(self) -> str:
        camera = self._camera()
        count = self._dice.choice([10, 200, 1000])
        listed = self._json("GET", f"/cameras/{camera}/frames", count=count)["frames"]
        self._saw((camera, one["frame"], one["time"]) for one in listed)
        chosen = self._dice.choice(listed)
        one = self._json("GET", f"/cameras/{camera}/frames/{chosen['frame']}")
        self._saw([(camera, one["frame"], one["time"])])
        return "shown"

    def _timeline(self) -> str:
        camera = self._camera()
        document = self._json("GET", f"/cameras/{camera}/timeline")
        spans = document["coverage"]
        times = sorted({time for span in spans for time in (span["start"], span["end"])})
        if sum(span["frames"] for span in spans) != document["frames"] and not document["left_out"]["coverage"]:
            raise ValueError(f"{camera}: the timeline has {document['frames']} frames, its spans others")
        gaps = [[gap["start"], gap["end"], gap["reason"]] for gap in document["gaps"] if gap["end"] is not None]
        self._shown.note("times", times={camera: times})
        self._shown.note("gaps", gaps={camera: gaps})
        self._saw((one["camera"], one["frame"], one["time"]) for one in document["evidence"])
        return "shown"

    def _picture(self) -> str:
        camera = self._camera()
        headers = {"If-None-Match": self._etags[camera]} if camera in self._etags else {}
        response = self._http.get(f"/cameras/{camera}/image", headers=headers)
        if response.status_code == 304:
            return "not modified"
        tag = _checked(response).headers["ETag"]
        if not response.content.startswith(b"\xff\xd8"):
            raise ValueError(f"{camera}: its picture is no JPEG")
        self._etags[camera] = tag
        self._shown.note("picture", camera=camera, frame=int(response.headers["X-Frame"]), etag=tag)
        return "shown"

    def _states(self) -> str:
        cameras = self._json("GET", "/cameras")["cameras"]
        times = {one["camera"]: [one["last_time"]] for one in cameras if one["last_time"] is not None}
        self._shown.note("times", times=times)
        return "shown"

    def _answers(self) -> str:
        if not self._last:
            return self._ask({})
        known = self._json("GET", f"/answers/{self._last}")
        if content_of(known) != self._content:
            raise ValueError(f"answer {self._last} is another one now: {content_of(known)}, not {self._content}")
        return "shown"

    def _listen(self) -> str:
        """To events, for a while."""
        until = time.monotonic() + self._dice.uniform(1, 20)
        try:
            with self._http.stream("GET", "/events", timeout=httpx2.Timeout(5.0)) as response:
                for _ in _checked(response).iter_lines():
                    if time.monotonic() > until:
                        break
        except httpx2.ReadTimeout:
            pass
        return "left"

    def _saw(self, frames: Any) -> None:
        if wrong := self._shown.frames(frames):
            raise ValueError("; ".join(wrong[:3]))


def _checked(response: httpx2.Response) -> httpx2.Response:
    """Raises Refused for an error of the service, and ValueError for one that has not its shape."""
    if response.status_code == 200:
        return response
    try:
        error = response.json()["error"]
        kind, message = error["kind"], error["message"]
    except (ValueError, KeyError, TypeError):
        kind, message = "no error document", response.text[:100]
    retry = response.headers.get("Retry-After")
    raise Refused(response.status_code, kind, message, None if retry is None else float(retry))


def main() -> int:
    url, events, shown, count, seed = sys.argv[1], Path(sys.argv[2]), Shown(Path(sys.argv[3])), *map(int, sys.argv[4:6])
    clients = [Client(number, url, events, shown, sys.argv[6:], seed) for number in range(count)]
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    print(json.dumps({"clients": count}), flush=True)
    while sys.stdin.readline():
        pass
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
