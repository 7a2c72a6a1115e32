"""Real servers of live video for tests, each in a process group of its own, so that a test can kill, freeze and restart them.

Threads: none; a server is waited for by polling its first line of output, within a bound.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

import pytest

from afterview.stream.testing.serve import rtsp_missing

START_WITHIN_S = 15.0
REQUIRED = os.environ.get("AFTERVIEW_REQUIRE_INTEGRATION") == "1"


def rtsp_available() -> tuple[bool, str]:
    """Whether an RTSP server can run here, and the reason when not."""
    missing = rtsp_missing()
    return missing is None, missing or ""


def need_rtsp() -> None:
    """Skip the calling test where there is no RTSP server; fail it where AFTERVIEW_REQUIRE_INTEGRATION=1 says there must be one."""
    available, reason = rtsp_available()
    if not available:
        (pytest.fail if REQUIRED else pytest.skip)(reason)


class LiveServer:
    """`python -m afterview.stream.testing.serve` on one recording. Starts on entering, ends on leaving whatever happened.

    url: without credentials; url_with(user, password) has them.
    """

    option = ""

    def __init__(self, file: Path, *, loop: bool = False, user: str | None = None, password: str = "") -> None:
        self.file, self.url = file, ""
        self._arguments = ["--loop"] * loop + ([f"--user={user}", f"--password={password}"] if user is not None else [])
        self._process: subprocess.Popen[str] | None = None

    @property
    def port(self) -> int:
        """The TCP port, the same after a restart."""
        return urlsplit(self.url).port or 0

    def url_with(self, user: str, password: str) -> str:
        """The address with credentials in it."""
        return self.url.replace("://", f"://{user}:{password}@")

    def start(self, file: Path | None = None) -> None:
        """Start (again), on the same port if there was one; with another file if one is given. Returns when clients may come."""
        self.file = file or self.file
        command = [
            sys.executable,
            "-m",
            "afterview.stream.testing.serve",
            f"{self.option}={self.file}",
            f"--port={self.port}",
            *self._arguments,
        ]
        self._process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.url = json.loads(self._first_line())["url"]

    def _first_line(self) -> str:
        output, errors = self._pipes()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            line = output.readline() if selector.select(START_WITHIN_S) else ""
        if not line:
            self.kill()
            raise RuntimeError(f"the server did not start: {errors.read() or 'it said nothing'}")
        return line

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process is not None, "start it first"
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout, self._process.stderr

    def kill(self) -> None:
        """SIGKILL, as when the power goes. Connections are cut by the kernel."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def restart(self, file: Path | None = None) -> None:
        """Kill and start on the same port."""
        self.kill()
        self._close_pipes()
        self.start(file)

    def freeze(self) -> None:
        """SIGSTOP: the connection stays open and nothing comes."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def _close_pipes(self) -> None:
        for pipe in self._pipes() if self._process else ():
            pipe.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._close_pipes()


class RtspServer(LiveServer):
    """RTSP: every client starts at the first frame of the file. Skips (or fails) the test where GStreamer is missing."""

    option = "--rtsp"

    def __enter__(self) -> Self:
        need_rtsp()
        return super().__enter__()


class HlsServer(LiveServer):
    """HLS over HTTP: clients join at the newest segment."""

    option = "--hls"


def wait_until(condition: Callable[[], object], within_s: float, every_s: float = 0.02) -> bool:
    """Poll `condition` until it is true; False when `within_s` seconds have passed."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(every_s)
    return False
