"""Lives of the service process of a soak run: started, killed, started again, and what each has kept of what the one before had shown.

Threads: none; the one that owns a Lives calls `look` again and again.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import httpx2
import psutil

from afterview.configs import AfterviewError
from afterview.memory.reading.reader import CameraReader
from tests.soak.events import append
from tests.soak.service_promises import Promises, content_of
from tests.support.processes import as_urgent_as_this
from tests.support.service import API

ROOT = Path(__file__).parents[2]
KILLED = "service killed"  # the fault of all cameras from a kill until the next life is ready
_READY_WITHIN_S = 180.0
_OPENED_AGAIN = 20  # answers that are asked for by id after each kill


class Lives:
    """Starts `afterview serve` again whenever it ends. life: number of the present one, from 1. ready: whether it answers questions."""

    def __init__(
        self, config: Path, memory: Path, url: str, environment: Mapping[str, str], cameras: Sequence[str],
        events: Path, shown: Path, log: IO[bytes],
    ) -> None:  # fmt: skip
        self._config, self._memory, self._environment = config, memory, environment
        self._cameras, self._events, self._shown, self._log = cameras, events, shown, log
        self._process: subprocess.Popen[bytes] | None = None
        self._listening = self._down = False
        self._began = 0.0
        self._frames_before: dict[int, dict[str, int]] = {}  # on disk when each life began
        self._used_s = 0.0
        self.http = httpx2.Client(base_url=url, timeout=30.0, trust_env=False)
        self.life, self.ready = 0, False

    def start(self) -> None:
        """The next life."""
        self.life += 1
        self._frames_before[self.life] = {camera: self._frames_of(camera) for camera in self._cameras}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "afterview", "serve", "--json", str(self._config)],
            cwd=ROOT, env={**os.environ, **self._environment, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        as_urgent_as_this(self._process.pid)
        self._began, self._listening, self.ready = time.monotonic(), False, False
        append(self._events, "life", life=self.life, pid=self._process.pid)

    def _frames_of(self, camera: str) -> int:
        try:
            return CameraReader(self._memory / camera).snapshot().frames
        except (AfterviewError, OSError):
            return 0

    @property
    def process(self) -> psutil.Process | None:
        """The present one, if it runs."""
        try:
            return psutil.Process(self._process.pid) if self._process else None
        except psutil.NoSuchProcess:
            return None

    @property
    def cpu_s(self) -> float:
        """Seconds that all lives used so far."""
        process = self.process
        try:
            used = process.cpu_times() if process else None
        except psutil.NoSuchProcess:
            used = None
        return self._used_s + (used.user + used.system if used else 0.0)

    def look(self) -> None:
        """See how far the present life is; start the next one if it ended by itself."""
        assert self._process is not None
        if (status := self._process.poll()) is not None:
            append(self._events, "died", life=self.life, status=status)
            self._set_down()
            self._close()
            self.start()
        elif not self._listening:
            self._await_line()
        elif not self.ready:
            self._await_model()
        if not self.ready and time.monotonic() - self._began > _READY_WITHIN_S:
            append(self._events, "harness", what=f"life {self.life} was not ready within {_READY_WITHIN_S:g} s")
            self.kill()

    def _await_line(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if selector.select(0) and (line := self._process.stdout.readline()):
                self._listening = True
                took_s = round(time.monotonic() - self._began, 2)
                append(self._events, "listening", life=self.life, url=json.loads(line)["url"], took_s=took_s)

    def _await_model(self) -> None:
        try:
            state = self.http.get("/health/ready").json()["model"]["state"]
        except httpx2.TransportError:
            return
        if state != "ready":
            return
        self.ready = True
        append(self._events, "ready", life=self.life, took_s=round(time.monotonic() - self._began, 2))
        if self._down:
            self._down = False
            for camera in self._cameras:
                append(self._events, "fault", camera=camera, fault=KILLED, on=False)
            self.check("after the restart", self.life - 1)

    def kill(self) -> None:
        """kill -9, a look at what it left, and the next life."""
        assert self._process is not None
        state = "ready" if self.ready else "loading" if self._listening else "starting"
        self._set_down()
        self._used_s = self.cpu_s
        self._process.send_signal(signal.SIGKILL)
        append(self._events, "killed", life=self.life, state=state, lived_s=round(time.monotonic() - self._began, 1))
        self._process.wait()
        self._close()
        self.check("after the kill", self.life)
        self.start()

    def _set_down(self) -> None:
        if not self._down:
            self._down = True
            for camera in self._cameras:
                append(self._events, "fault", camera=camera, fault=KILLED, on=True)
        self.ready = False

    def check(self, when: str, life: int) -> None:
        """Compare the memory with all that was shown; `life`: whose counted frames must be there. Answers are asked for if it is ready."""
        began = time.monotonic()
        promises = Promises(self._shown)
        broken = promises.broken(self._memory, self._frames_before[life], life)
        if self.ready:
            broken += self._answers(promises)
        took_s = round(time.monotonic() - began, 2)
        append(self._events, "promises", life=life, when=when, broken=broken, counts=promises.counts(), took_s=took_s)

    def _answers(self, promises: Promises) -> list[str]:
        broken = []
        for answer in promises.newest_answers(_OPENED_AGAIN):
            try:
                response = self.http.get(f"{API}/answers/{answer}")
            except httpx2.TransportError as error:
                return [*broken, f"answer {answer} could not be asked for: {type(error).__name__}: {error}"]
            if response.status_code != 200:
                broken.append(f"answer {answer}: status {response.status_code}")
            elif content_of(response.json()) != promises.answers[answer]:
                broken.append(f"answer {answer} is another one now")
        return broken

    def stop(self, within_s: float) -> dict[str, Any]:
        """End it cleanly: its exit status, None if it had to be killed, and how long that took."""
        assert self._process is not None
        began = time.monotonic()
        self._used_s, process, self.ready = self.cpu_s, self._process, False
        process.send_signal(signal.SIGTERM)
        try:
            status: int | None = process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        self._close()
        return {"status": status, "took_s": round(time.monotonic() - began, 2)}

    def close(self) -> None:
        """Whatever happened before."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()
        self.http.close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None if self._process is None or self._process.poll() is not None else self._process
