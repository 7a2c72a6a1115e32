"""A real Mosquitto on a free port of this machine, and a client that remembers what it hears."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.processes import free_port
from tests.support.servers import REQUIRED, wait_until

START_WITHIN_S = 10.0


def mosquitto_path() -> str | None:
    """The program, which Debian puts where a user's PATH does not lead."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def need_mosquitto() -> None:
    """Skip the calling test where there is no Mosquitto; fail it where AFTERVIEW_REQUIRE_INTEGRATION=1 says there must be one."""
    if mosquitto_path() is None:
        (pytest.fail if REQUIRED else pytest.skip)("no Mosquitto (apt-get install mosquitto)")


class Mosquitto:
    """Starts on entering, ends on leaving. lines: of its configuration; without `allow_anonymous` everybody may do everything."""

    def __init__(self, directory: Path, *lines: str, memory: bool = False) -> None:
        """memory: whether it keeps retained messages over a restart."""
        self.directory, self._lines, self._memory = directory, lines, memory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start (again) on the same port. Returns when clients may come."""
        given = "\n".join(self._lines)
        keep = (
            f"persistence true\npersistence_location {self.directory}/\nautosave_interval 1\nautosave_on_changes true\n"
        )
        config = self.directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n" + ("" if "allow_anonymous" in given else "allow_anonymous true\n")
            + (keep if self._memory else "") + ("user root\n" if os.getuid() == 0 else "") + given + "\n"
        )  # fmt: skip
        program = mosquitto_path()
        assert program is not None
        with (self.directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-v", "-c", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        assert wait_until(self._listens, START_WITHIN_S), self.log()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """What it has said."""
        return (self.directory / "mosquitto.log").read_text(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing is read."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        need_mosquitto()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Client:
    """Hears everything, and remembers it. retained: the newest payload by topic. heard: all messages in order."""

    def __init__(self, port: int, *, modern: bool = True, topic: str = "#", tls: Any = None, **login: str) -> None:
        protocol = paho.MQTTv5 if modern else paho.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        if login:
            self._client.username_pw_set(login["username"], login.get("password"))
        if tls is not None:
            self._client.tls_set_context(tls)
        self.modern, self._topic, self._port = modern, topic, port
        self.heard: list[paho.MQTTMessage] = []
        self.now: dict[str, bytes] = {}
        self._subscribed = threading.Event()
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        self.heard.append(message)
        self.now[message.topic] = message.payload

    def send(
        self, topic: str, payload: bytes | str | dict[str, Any], *, retain: bool = False, response: str | None = None,
        correlation: bytes | None = None, qos: int = 1,
    ) -> None:  # fmt: skip
        """Publish, and wait until the broker has it."""
        properties = None
        if response is not None or correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)
            if response is not None:
                properties.ResponseTopic = response
            if correlation is not None:
                properties.CorrelationData = correlation
        data = json.dumps(payload) if isinstance(payload, dict) else payload
        self._client.publish(topic, data, qos=qos, retain=retain, properties=properties).wait_for_publish(10)

    def wait(self, topic: str, payload: bytes | None = None, within_s: float = 15.0) -> bytes:
        """The newest payload of a topic, once there is one (this one). Fails after so many seconds."""
        good = wait_until(lambda: topic in self.now and payload in (None, self.now[topic]), within_s)
        assert good, f"{topic}: {self.now.get(topic)!r}; there are: {sorted(self.now)}"
        return self.now[topic]

    def settle(self) -> None:
        """Wait until everything has come that the broker had before: kept messages come one after the other, and this one after them."""
        self.send("tests/settled", str(time.monotonic_ns()).encode())
        self.wait("tests/settled")
        del self.now["tests/settled"]

    def json(self, topic: str, within_s: float = 15.0) -> Any:
        """The newest document of a topic."""
        return json.loads(self.wait(topic, within_s=within_s))

    def all(self, topic: str) -> list[Any]:
        """All documents of a topic."""
        return [
            json.loads(message.payload) for message in list(self.heard) if message.topic == topic and message.payload
        ]

    def forget(self) -> None:
        """Forget what was heard."""
        self.heard.clear()
        self.now.clear()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 10
        while True:
            try:
                self._client.connect("127.0.0.1" if self._client._ssl_context is None else "localhost", self._port)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
        self._client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
