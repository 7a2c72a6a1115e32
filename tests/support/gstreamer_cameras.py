"""Cameras of a soak run: GStreamer's RTSP server with a digest login, one process per camera, whose faults come and go by a plan.

Threads: one per camera switches its faults. Counters of CPU time may be read by others.
"""

import json
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from afterview.stream.media import VideoWriter
from afterview.stream.testing.serve import RTSP_SCRIPT, write_recording
from tests.soak.events import append
from tests.support.clips import picture
from tests.support.processes import as_urgent_as_this
from tests.support.servers import START_WITHIN_S
from tests.support.soak_schedule import Window
from tests.support.soak_servers import free_port

USER = "viewer"
SIZES = {"main": (160, 120), "other": (192, 108)}
RATE, _GOP, _FRAMES = 5, 10, 100
_FAULTS = {"killed", "frozen", "other size", "wrong password"}


def write_recordings(directory: Path) -> dict[str, Path]:
    """What the server plays, by size, as rtsp_server.py reads it."""
    found = {}
    options = {"g": str(_GOP), "keyint_min": str(_GOP), "sc_threshold": "0", "bf": "0"}
    for name, (width, height) in SIZES.items():
        clip = directory / f"{name}.mp4"
        with VideoWriter(clip, width, height, RATE, options=options) as writer:
            for number in range(_FRAMES):
                writer.write(picture(number, width=width, height=height))
        found[name] = directory / f"{name}.recording"
        with found[name].open("wb") as out:
            write_recording(clip, out)
    return found


class GstreamerCamera:
    """One camera. Started, killed, frozen, and started again on the same port."""

    def __init__(self, name: str, recordings: Mapping[str, Path], password: str) -> None:
        self.name, self.password = name, password
        self._recordings, self._size = recordings, "main"
        listener = (
            free_port()
        )  # below those that the system gives to clients, so that nobody takes it while it is closed
        self.port: int = listener.getsockname()[1]
        listener.close()
        self._process: subprocess.Popen[bytes] | None = None
        self._used_s = 0.0  # by processes that ended

    def start(self, password: str | None = None) -> None:
        """Returns when clients may come. password: that it asks for instead of its own."""
        python = shutil.which("python3", path="/usr/bin:/bin") or "python3"
        login = [f"--user={USER}", f"--password={self.password if password is None else password}"]
        with self._recordings[self._size].open("rb") as recording:
            self._process = process = subprocess.Popen(
                [python, "-I", str(RTSP_SCRIPT), f"--port={self.port}", "--loop", *login],
                stdin=recording, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        as_urgent_as_this(process.pid)
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(START_WITHIN_S) else b""
        if not line or json.loads(line)["url"].split("/")[2].split(":")[1] != str(self.port):
            self.kill()
            raise RuntimeError(f"{self.name}: GStreamer's server did not start on port {self.port}")

    def kill(self) -> None:
        """SIGKILL, also of a frozen one."""
        process, self._process = self._process, None
        if process is None:
            return
        self._used_s += _cpu_s(process.pid)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def fault(self, name: str, on: bool) -> None:
        """A fault of tests.support.service_schedule begins or ends; returns when it has."""
        if name not in _FAULTS:
            raise ValueError(f"no fault '{name}'")
        if name == "frozen":
            assert self._process is not None
            psutil.Process(self._process.pid).suspend() if on else psutil.Process(self._process.pid).resume()
            return
        if name == "other size" and not on:
            return
        self.kill()
        if name == "other size":
            self._size = next(size for size in SIZES if size != self._size)
        if name == "wrong password" and on:
            self.start(self.password[::-1])
        elif name == "other size" or not on:
            self.start()

    @property
    def cpu_s(self) -> float:
        """Seconds that its processes used."""
        process = self._process
        return self._used_s + (_cpu_s(process.pid) if process is not None else 0.0)


def _cpu_s(pid: int) -> float:
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system)


class FaultPlan:
    """Switches the faults of all cameras from `start` to `stop`, and appends each to a file of events: its beginning before it begins,
    its end when the camera can be reached again."""

    def __init__(self, cameras: Mapping[str, GstreamerCamera], windows: Sequence[Window], events: Path) -> None:
        self._cameras, self._events, self._stop = cameras, events, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(camera, [one for one in windows if one.camera == name]), daemon=True)
            for name, camera in cameras.items()
        ]  # fmt: skip
        self._began = 0.0

    def start(self) -> None:
        """From now on."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more faults."""
        self._stop.set()
        for thread in self._threads:
            thread.join(START_WITHIN_S)

    def _run(self, camera: GstreamerCamera, windows: Sequence[Window]) -> None:
        for window in windows:
            for at, on in ((window.start, True), (window.end, False)):
                if self._stop.wait(max(0.0, self._began + at - time.monotonic())):
                    return
                try:
                    if on:
                        append(self._events, "fault", camera=camera.name, fault=window.fault, on=True)
                    camera.fault(window.fault, on)
                    if not on:
                        append(self._events, "fault", camera=camera.name, fault=window.fault, on=False)
                except Exception as error:  # of the test, not of the product; the report shows it
                    what = f"{camera.name}: {window.fault}: {type(error).__name__}: {error}"
                    append(self._events, "harness", what=what)
