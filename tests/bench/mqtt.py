"""A flood of MQTT messages: how late the service's event loop is, whether frames are lost, and whether questions are still answered.

A real Mosquitto and a service process with four cameras of test pictures; the messages come from this process, paced, for MQTT_SECONDS
(60) a row. MQTT_RATE (1000) is messages a second.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from afterview.model.checkpoint.loading import load_pretrained
from tests.bench.service import SOURCE
from tests.bench.table import Table
from tests.support.mosquitto import Client, Mosquitto
from tests.support.servers import wait_until
from tests.support.service import API, record_camera

SECONDS, RATE, CAMERAS = float(os.environ.get("MQTT_SECONDS", "60")), int(os.environ.get("MQTT_RATE", "1000")), 4
SETTLE_S = 10.0
Payload = Callable[[int], tuple[str, bytes]]

_KINDS: dict[str, Payload | None] = {
    "none": None,
    "questions": lambda number: ("afterview/ask", b'{"question": "Did you see a red ring?", "cameras": ["hall"], "id": "%d"}' % number),
    "damaged questions": lambda number: ("afterview/ask", b'{"question": [[[[[%d' % number),
    "commands to pause and go on": lambda number: (f"afterview/live-{number % CAMERAS}/paused/set", b"OFF"),
    "unknown cameras, 4 KiB each": lambda number: (f"afterview/x{number % 97}/paused/set", b"\xff" * 4096),
    "all of these": lambda number: list(_KINDS.values())[1 + number % 4](number),  # type: ignore[misc]
}  # fmt: skip


def run() -> list[Table]:
    """Takes eight minutes."""
    table = Table(
        f"A flood of MQTT: {RATE} messages a second for {SECONDS:g} s",
        ["messages", "sent a second", "received a second", "loop lag p99, s", "frames recorded a second", "frames dropped",
         "questions refused", "messages dropped", "answer over HTTP, s (median of 5)", "resident, MB"],
        f"{CAMERAS} cameras of test pictures at 1 frame a second, made in the service's process; the broker and the sender run on the same "
        "cores. Questions beyond four at once are answered with an error.",
    )  # fmt: skip
    away = Table(
        f"A broker that is away for {SECONDS:g} s",
        ["state", "loop lag p99, s", "frames dropped", "connected again after, s"],
        "The same service; then the broker stands still for as long (SIGSTOP), its connection open.",
    )
    model = load_pretrained("tiny")
    with tempfile.TemporaryDirectory() as directory, Mosquitto(Path(directory)) as broker:
        memory = Path(directory) / "memory"
        record_camera(memory, "hall", model, 60)
        config = Path(directory) / "home.yaml"
        live = "\n".join(f"  live {number}: {{source: '{SOURCE}'}}" for number in range(CAMERAS))
        config.write_text(
            f"memory: {memory}\nhttp: {{port: 0}}\nmqtt: {{host: 127.0.0.1, port: {broker.port}}}\ncameras:\n{live}\n"
        )
        command = [sys.executable, "-m", "afterview", "serve", "--json", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert process.stdout is not None
            with httpx2.Client(
                base_url=json.loads(process.stdout.readline())["url"], timeout=60, trust_env=False
            ) as http:
                assert wait_until(lambda: http.get("/health/ready").json()["status"] == "ready", 120, 0.2)
                time.sleep(SETTLE_S)
                for name, payload in _KINDS.items():
                    _row(table, name, payload, broker, http, process)
                _away(away, broker, http)
        finally:
            process.terminate()
            process.wait(30)
    return [table, away]


def _row(table: Table, name: str, payload: Payload | None, broker: Mosquitto, http: Any, process: Any) -> None:
    import psutil

    time.sleep(SETTLE_S)
    before = http.get("/metrics").text
    began = time.monotonic()
    sent = _flood(broker.port, payload)
    lasted = time.monotonic() - began
    after = http.get("/metrics").text  # the lag is that of the last minute
    asked = []
    for _ in range(5):
        start = time.monotonic()
        assert (
            http.post(f"{API}/ask", json={"question": "Did you see a red ring?", "cameras": ["hall"]}).status_code
            == 200
        )
        asked.append(time.monotonic() - start)

    def grown(metric: str, label: str = "") -> float:
        return _labelled(after, metric, label) - _labelled(before, metric, label)

    table.add(
        name, f"{sent / lasted:.0f}", f"{grown('mqtt_messages_total', 'received') / lasted:.0f}", _labelled(after, "loop_lag_seconds"),
        f"{grown('frames_recorded_total') / lasted:.2f}", f"{grown('frames_dropped_total'):.0f}",
        f"{grown('mqtt_questions_refused_total'):.0f}", f"{grown('mqtt_dropped_total'):.0f}", sorted(asked)[2],
        f"{psutil.Process(process.pid).memory_info().rss / 1e6:.0f}",
    )  # fmt: skip


def _flood(port: int, payload: Payload | None) -> int:
    """Send so many a second; how many there were."""
    if payload is None:
        time.sleep(SECONDS)
        return 0
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < SECONDS:
        for number in range(sent, int(passed * RATE)):
            client.publish(*payload(number), qos=0)
            sent = number + 1
        time.sleep(0.005)
    client.disconnect()
    client.loop_stop()
    return sent


def _away(table: Table, broker: Mosquitto, http: Any) -> None:
    for state, leave, come in (
        ("killed", lambda: broker.stop(signal.SIGKILL), broker.start),
        ("stands still", broker.freeze, broker.thaw),
    ):
        time.sleep(SETTLE_S)
        dropped = _labelled(http.get("/metrics").text, "frames_dropped_total")
        leave()
        time.sleep(SECONDS)
        text = http.get("/metrics").text
        come()
        began = time.monotonic()
        with Client(broker.port, topic="afterview/#") as client:
            client.wait("afterview/available", b"online", 120)
            client.wait("afterview/live-0/state", b"online", 120)
        lost = _labelled(text, "frames_dropped_total") - dropped
        table.add(state, _labelled(text, "loop_lag_seconds"), f"{lost:.0f}", f"{time.monotonic() - began:.1f}")


def _labelled(metrics: str, name: str, label: str = "") -> float:
    lines = [line for line in metrics.splitlines() if line.startswith(f"afterview_{name}") and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
