"""A real S3 server process (moto) for tests, and a gate before it that can be shut: connections are then refused, or cut in mid-transfer.

The server keeps its objects in memory: killed and started again it is empty, so an outage that loses nothing is made with the gate.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Self

import pytest

from tests.support.processes import free_port

START_WITHIN_S = 30.0
BUCKET = "memories"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTONLY", "AWS_SECRET_ACCESS_KEY": "never-printed", "AWS_REGION": "us-east-1"}


def need_object_store() -> None:
    """Skip the calling test where the client or the server is not installed."""
    for name in ("obstore", "moto", "flask", "boto3"):
        pytest.importorskip(name, reason=f"{name} is not installed; it is part of the dev install")


class ObjectServer:
    """`moto_server` on a free port of 127.0.0.1, with one bucket. Starts on entering; killed on leaving, whatever happened."""

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, bucket: bool = True) -> None:
        """Start it, or start it again: empty, on the same port."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(
            command, env={**os.environ, **self._environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
                break
            assert self._process.poll() is None, "the server ended before it listened"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)
        if bucket:
            self.client().create_bucket(Bucket=BUCKET)

    def kill(self) -> None:
        """SIGKILL: its objects are gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It takes connections, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @cache  # noqa: B019 - one server per test module
    def client(self) -> Any:
        """A client of another make (boto3), to look at what is there."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Size of every object by key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        """The content of one object."""
        return self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        """Put an object there."""
        self.client().put_object(Bucket=BUCKET, Key=key, Body=data)

    def remove(self, *keys: str) -> None:
        """Delete objects behind everybody's back."""
        for start in range(0, len(keys), 1000):
            listed = [{"Key": key} for key in keys[start : start + 1000]]
            self.client().delete_objects(Bucket=BUCKET, Delete={"Objects": listed})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.kill()


class Gate:
    """A TCP relay to a server. Shut, it refuses connections and has cut those there were; `bytes_left` shuts it in mid-transfer.

    Threads: one accepts, two per connection copy; all end when the gate is closed.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.bytes_left: float = float("inf")
        self.delay_s = 0.0  # before each answer begins: the round trip to a store that is far away
        self.open()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def open(self, *, bytes_left: float = float("inf")) -> None:
        """Let connections through, until so many bytes were sent."""
        self.bytes_left = bytes_left
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections; cut those that are open."""
        with self._lock:
            listener, self._listener = self._listener, None
            cut, self._open = self._open, set()
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for connection in cut:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                if listener.fileno() < 0 or self._listener is not listener:
                    return
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            asked = threading.Event()
            for one, other, sent in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._copy, args=(one, other, sent, asked), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, sent: bool, asked: threading.Event) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(1 << 20):
                if sent:
                    asked.set()
                    self.bytes_left -= len(data)
                    if self.bytes_left <= 0:
                        self.shut()
                        return
                elif self.delay_s and asked.is_set():
                    asked.clear()
                    time.sleep(self.delay_s)
                target.sendall(data)
        for connection in (source, target):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """For good."""
        self.shut()


@contextmanager
def gate_to(server: ObjectServer) -> Iterator[Gate]:
    """A gate before a server."""
    gate = Gate(server.port)
    try:
        yield gate
    finally:
        gate.close()
