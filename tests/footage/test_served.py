"""`afterview serve` records a live camera while its model server does everything wrong: each failure costs a line, and nothing else."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest
import yaml

from afterview.memory.directory import Memory
from tests.support.checking_model import CheckingModel
from tests.support.footage import PEDESTRIANS, decoded, footage_of, repeated, served_by_rtsp
from tests.support.model_failures import FAILURES, LIMITS
from tests.support.model_server import MODEL, Misdeeds, ModelServer, brightest, model_server
from tests.support.processes import environment
from tests.support.servers import RtspServer, need_rtsp, wait_until
from tests.support.service import API, sent_events

ZONE = ZoneInfo("Europe/Paris")
FRAMES, SIZE = 4, 200
QUESTION = {"question": "Is anybody there?", "cameras": ["yard"]}

pytestmark = [pytest.mark.thorough, pytest.mark.integration, pytest.mark.timeout(600)]


class Lateness:
    """How late a thread of this process wakes up, at worst: what the machine costs everybody now."""

    def __init__(self) -> None:
        self.worst, self._end = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.is_set():
            due = time.monotonic() + 0.1
            self._end.wait(0.1)
            self.worst = max(self.worst, time.monotonic() - due)

    def stop(self) -> float:
        self._end.set()
        self._thread.join(5)
        return self.worst


@contextmanager
def served(config: dict[str, Any], directory: Path) -> Iterator[tuple[str, Path]]:
    """A service in a process of its own: its address, and its log. It must end cleanly."""
    file, log = directory / "home.yaml", directory / "log"
    file.write_text(yaml.safe_dump({"memory": "memory", "zone": str(ZONE), "http": {"port": 0}, **config}))
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "afterview", "serve", "--json", str(file)],
            cwd=directory, text=True, env=environment(), stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], log
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.communicate()


def metric(client: httpx2.Client, name: str) -> float:
    return sum(
        float(line.rpartition(" ")[2])
        for line in client.get("/metrics").text.splitlines()
        if line.startswith(f"afterview_{name}")
    )


def test_whatever_a_model_server_does_the_recording_goes_on(tmp_path: Path) -> None:
    need_rtsp()
    clip = served_by_rtsp(footage_of(PEDESTRIANS), tmp_path)
    with RtspServer(clip, loop=True) as camera, model_server() as server:
        own = {"url": server.url, "model": MODEL, **LIMITS, "first_token_s": 1.0, "timeout_s": 4.0}
        config = {
            "cameras": {"yard": {"source": camera.url}},
            "answer_with": {**own, "frames": FRAMES, "image_size": SIZE, "longest_queue": 1},
        }
        with served(config, tmp_path) as (url, log), httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            assert wait_until(lambda: metric(client, "frames_recorded_total") >= 3, 90, every_s=0.3)
            machine = Lateness()
            for name in FAILURES:
                require_one_line(name, client, server)
            require_checked_answers(client, server, tmp_path, clip)
            late = machine.stop()
            assert metric(client, "frames_dropped_total") == 0
            assert metric(client, "loop_lag_seconds") <= 0.5 + 5 * late
            ended = time.time()
        assert "Traceback" not in log.read_text()
    snapshot = Memory(tmp_path / "memory").camera("yard").snapshot()
    steps = list(zip(snapshot.times[:-1], snapshot.times[1:], strict=True))
    assert all(end - start < 1.6 for start, end in steps), "nothing is missing between two frames"
    assert not snapshot.gaps
    assert ended - snapshot.times[-1] < 10 + 10 * late


def require_one_line(name: str, client: httpx2.Client, server: ModelServer) -> None:
    """One misdeed: a status that says whose fault it is, and one line that names the server and the remedy."""
    wrong, said = FAILURES[name]
    server.wrong = replace(wrong, busy=list(wrong.busy))
    began = time.monotonic()
    answer = client.post(f"{API}/ask", json=QUESTION)
    assert answer.status_code == (503 if wrong.busy else 502), (name, answer.text)
    message = answer.json()["error"]["message"]
    assert re.search(said, message), (name, message)
    assert message.startswith(f"the model server {server.host} "), name
    assert "; " in message, name
    assert message.isprintable(), name
    assert len(message) < 600, name
    assert time.monotonic() - began < 30, name


def require_checked_answers(client: httpx2.Client, server: ModelServer, place: Path, clip: Path) -> None:
    """The same server, which does right again: it gets the right frames, and its words come back whole and as events."""
    server.wrong = Misdeeds()
    before = len(server.chats)
    first = float(Memory(place / "memory").camera("yard").snapshot().times[0])
    shown = repeated(decoded(clip), 8)
    server.answers = model = CheckingModel(
        {"yard": shown}, {"yard": datetime.fromtimestamp(first, ZONE)}, ZONE, FRAMES, SIZE
    )
    whole = client.post(f"{API}/ask", json=QUESTION)
    assert whole.status_code == 200, whole.text
    with client.stream("POST", f"{API}/ask", json={**QUESTION, "stream": True}) as response:
        events = list(sent_events(response.iter_lines()))
    assert model.problems == []
    assert len(server.chats) == before + 2
    assert "".join(data["text"] for kind, data in events if kind == "text") == events[-1][1]["answer"]
    for document in (whole.json(), events[-1][1]):
        sent = document["provenance"]["sent"]
        best = int(document["answer"].rpartition("[")[2].rstrip("]"))
        assert document["answer"].startswith(f"CONFIRMED: {FRAMES} pictures of yard, ")
        assert best in document["provenance"]["cited"]
        assert sent["frame_ids"][best - 1] in [one["frame"] for one in document["evidence"]]
        assert document["evidence"][0]["weight"] > 0
        for one in document["evidence"]:
            picture = client.get(one["image"])
            assert picture.status_code == 200
            assert shown.difference(picture.content, one["time"] - first, 1.0) < 3.0
    server.answers = brightest
