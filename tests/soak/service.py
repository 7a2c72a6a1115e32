"""Soak test in real time: `afterview serve` records eight RTSP cameras with outages and answers twenty clients, and is killed again and
again: `python -m tests.soak service --hours 1`.

Processes: the cameras (GStreamer's RTSP server, one process each), the service, its clients (tests.soak.service_clients), and this one,
which switches the faults, kills and restarts the service, and looks at it. Everything that happens is appended to one file of events;
`tests.soak.service_report.report_of(FILE)` judges it, also of a run that was cut off. Do not change the files of the checkout meanwhile.

Threads: those of FaultPlan; all else belongs to the main thread.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil

from afterview.memory.reading.reader import CameraReader
from tests.soak.cameras import commit, described
from tests.soak.events import append
from tests.soak.service_lives import ROOT, Lives
from tests.soak.service_promises import Promises, Shown
from tests.soak.service_report import Report, report_of
from tests.soak.watched import level
from tests.support.gstreamer_cameras import RATE, SIZES, USER, FaultPlan, GstreamerCamera, write_recordings
from tests.support.processes import as_urgent_as_this
from tests.support.service import API
from tests.support.service_schedule import CAMERAS, kills, outages
from tests.support.soak_servers import free_port

SEED, CLIENTS, LONGEST_QUEUE = 25, 20, 8
_LOOK_S, _SAMPLE_S = 1.0, 5.0
_START_WITHIN_S, _STOP_WITHIN_S, _CLIENTS_WITHIN_S = 120.0, 60.0, 150.0
_CHANGING = re.compile(r"; next try in [0-9.]+ s|\d\d:\d\d:\d\d[.0-9]*")
_METRIC = re.compile(r"^afterview_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def run(hours: float) -> Report:
    """Record and ask for so many hours; the report."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    events = Path(tempfile.gettempdir()) / f"soak-service-{stamp}.jsonl"
    print(f"events: {events}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="soak-service-"))
    _Soak(events, directory, hours * 3600).run()
    report = report_of(events)
    if report.clean:
        shutil.rmtree(directory)
    else:
        print(f"its memory is kept for a look: {directory}", flush=True)
    return report


class _Soak:
    """One run."""

    def __init__(self, events: Path, directory: Path, run_s: float) -> None:
        self._events, self._memory, self._run_s = events, directory / "memory", run_s
        self._shown_path = events.with_suffix(".shown.jsonl")
        self._shown = Shown(self._shown_path)
        self._log_path = events.with_suffix(".log")
        recordings = write_recordings(directory)
        self._passwords = {name: secrets.token_hex(8) for name in CAMERAS}
        self._cameras = {name: GstreamerCamera(name, recordings, self._passwords[name]) for name in CAMERAS}
        self._config, self._url = self._write_config(directory / "service.yaml")
        self._clients: subprocess.Popen[bytes] | None = None
        self._states: dict[str, tuple[str, ...]] = {}
        self._looked: dict[str, dict[str, Any]] = {}
        self._sampled = 0.0

    def _write_config(self, path: Path) -> tuple[Path, str]:
        with free_port() as listener:
            port = listener.getsockname()[1]
        cameras = {
            name: {"source": f"rtsp://{USER}:{{{_variable(name)}}}@127.0.0.1:{camera.port}/live"}
            for name, camera in self._cameras.items()
        }
        path.write_text(
            json.dumps(
                {
                    "memory": str(self._memory),
                    "model": "tiny",
                    "http": {"port": port, "longest_queue": LONGEST_QUEUE},
                    "cameras": cameras,
                }
            )
        )
        return path, f"http://127.0.0.1:{port}"

    def run(self) -> None:
        """Everything."""
        append(
            self._events, "begin", hours=self._run_s / 3600, seed=SEED, commit=commit(), cores=os.cpu_count(), cameras=list(CAMERAS),
            clients=CLIENTS, queue=LONGEST_QUEUE, nice=os.nice(0), kills=len(kills(self._run_s, SEED)),
            rate=RATE, sizes=list(SIZES.values()),
        )  # fmt: skip
        with ExitStack() as running:
            log = running.enter_context(self._log_path.open("wb"))
            for camera in self._cameras.values():
                running.callback(camera.kill)
                camera.start()
            environment = {_variable(name): password for name, password in self._passwords.items()}
            lives = Lives(
                self._config, self._memory, self._url, environment, CAMERAS, self._events, self._shown_path, log
            )
            running.callback(lives.close)
            self._begin(running, lives)
            plan = FaultPlan(self._cameras, outages(self._run_s, SEED), self._events)
            running.callback(plan.stop)
            plan.start()
            self._go(lives)
            plan.stop()
            self._end(lives)
        for name in CAMERAS:
            try:
                self._examine(name)
            except Exception as error:
                append(self._events, "harness", what=f"{name}: {type(error).__name__}: {error}"[:300])
        self._read_log()

    def _begin(self, running: ExitStack, lives: Lives) -> None:
        """Until the service answers, each camera has a frame, and the clients ask."""
        began = time.monotonic()
        lives.start()
        while not (
            lives.ready and len(self._looked) == len(CAMERAS) and all(one["recorded"] for one in self._looked.values())
        ):
            if time.monotonic() - began > _START_WITHIN_S or lives.life > 1:
                raise RuntimeError(f"the service did not record all cameras: {self._looked}; see {self._log_path}")
            time.sleep(0.5)
            lives.look()
            if lives.ready:
                self._look(lives)
        arguments = [self._url, str(self._events), str(self._shown_path), str(CLIENTS), str(SEED), *CAMERAS]
        self._clients = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.service_clients", *arguments],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        running.callback(_end, self._clients)
        as_urgent_as_this(self._clients.pid)
        append(self._events, "start", took_s=round(time.monotonic() - began, 1))

    def _go(self, lives: Lives) -> None:
        """Until the run is over: kill when it is time, and look."""
        began = time.monotonic()
        due = kills(self._run_s, SEED)
        while (now := time.monotonic() - began) < self._run_s:
            try:
                if due and now >= due[0]:
                    due.pop(0)
                    lives.kill()
                lives.look()
                if lives.ready:
                    self._look(lives)
                    if time.monotonic() - self._sampled >= _SAMPLE_S:
                        self._sample(lives)
            except Exception as error:  # of the test: the run goes on, the report shows it
                append(self._events, "harness", what=f"{type(error).__name__}: {error}"[:300])
            time.sleep(max(0.0, _LOOK_S - (time.monotonic() - began - now)))

    def _look(self, lives: Lives) -> None:
        """At the states of all cameras."""
        try:
            documents = lives.http.get(f"{API}/cameras").json()["cameras"]
        except (httpx2.TransportError, ValueError, KeyError) as error:
            append(self._events, "harness", what=f"the cameras' states cannot be had: {type(error).__name__}: {error}")
            return
        self._looked = {one["camera"]: one for one in documents}
        self._shown.note(
            "recorded", life=lives.life, recorded={name: one["recorded"] for name, one in self._looked.items()}
        )
        times = {name: [one["last_time"]] for name, one in self._looked.items() if one["last_time"] is not None}
        self._shown.note("times", times=times)
        for name, one in self._looked.items():
            said = one["state"], one["detail"], one.get("clock") or "", one.get("cause") or ""
            known = tuple(_CHANGING.sub("", text) for text in said)
            if known != self._states.get(name):
                self._states[name] = known
                append(self._events, "state", camera=name, state=said[0], detail=said[1], clock=said[2], cause=said[3])

    def _sample(self, lives: Lives) -> None:
        self._sampled = time.monotonic()
        process = lives.process
        try:
            metrics = lives.http.get("/metrics").text
            values = level(process) if process else None
        except (httpx2.TransportError, psutil.NoSuchProcess):
            values = None
        if values is None:
            return
        found: dict[str, float] = {}
        for name, _, value in _METRIC.findall(metrics):
            found[name] = found.get(name, 0.0) + float(value)
        now = time.time()
        cameras = {
            name: {key: one[key] for key in ("recorded", "frames", "dropped", "reconnects", "last_time")}
            for name, one in self._looked.items()
        }
        append(
            self._events, "sample", life=lives.life, **values, load=round(os.getloadavg()[0], 2), tasks=int(found["tasks"]),
            waiting=int(found["questions_waiting"]), refused=int(found["questions_refused_total"]),
            answering_s=round(found["answer_duration_seconds_sum"], 2), loop_lag_s=round(found["loop_lag_seconds"], 4),
            cameras=cameras, used=self._used(lives),
            lags={name: [one["lag_s"]] for name, one in self._looked.items() if one["lag_s"] is not None},
            ahead={name: round(one["last_time"] - now, 3) for name, one in self._looked.items() if one["last_time"] is not None},
        )  # fmt: skip

    def _used(self, lives: Lives) -> dict[str, float]:
        """Seconds of CPU time that each part used so far."""
        clients = (
            psutil.Process(self._clients.pid).cpu_times() if self._clients and self._clients.poll() is None else None
        )
        own = psutil.Process().cpu_times()
        return {
            "service": round(lives.cpu_s, 2), "cameras": round(sum(one.cpu_s for one in self._cameras.values()), 2),
            "clients": round(clients.user + clients.system, 2) if clients else 0.0, "harness": round(own.user + own.system, 2),
        }  # fmt: skip

    def _end(self, lives: Lives) -> None:
        """The last looks, and a clean stop."""
        assert self._clients is not None
        assert self._clients.stdin is not None
        if self._clients.poll() is not None:
            append(self._events, "harness", what=f"the clients ended early, with status {self._clients.returncode}")
        self._clients.stdin.close()
        try:
            self._clients.wait(_CLIENTS_WITHIN_S)
        except subprocess.TimeoutExpired:
            append(self._events, "harness", what="the clients did not end")
        self._look(lives)
        self._sample(lives)
        lives.check("before the stop", lives.life)
        append(self._events, "stop", states={name: [one["state"], one["detail"]] for name, one in self._looked.items()})
        append(self._events, "end", **lives.stop(_STOP_WITHIN_S))
        lives.check("after the stop", lives.life)

    def _examine(self, name: str) -> None:
        """Compare a camera's memory with what was shown of it; its frames' times and gaps become an event."""
        directory, promises = self._memory / name, Promises(self._shown_path)
        snapshot = CameraReader(directory).snapshot()
        held = dict(zip(snapshot.ids.tolist(), snapshot.times.tolist(), strict=True))
        shown = promises.frames[name]
        missing = sum(number not in held for number in shown)
        altered = sum(number in held and abs(held[number] - time) > 1e-5 for number, time in shown.items())
        altered += len(promises.altered_pictures(name, snapshot))
        append(
            self._events, "camera", camera=name, acked=len(shown), missing=missing, altered=altered, **described(directory, snapshot)
        )  # fmt: skip

    def _read_log(self) -> None:
        """What the service wrote must hold no traceback and no password."""
        text = self._log_path.read_text(errors="replace")
        passwords = [word for own in self._passwords.values() for word in (own, own[::-1])]
        append(
            self._events, "log", bytes=len(text), tracebacks=text.count("Traceback (most recent call last)"),
            passwords=sum(text.count(word) for word in passwords), lines=text.count("\n"),
        )  # fmt: skip


def _variable(camera: str) -> str:
    return "AFTERVIEW_SOAK_" + camera.replace("-", "_").upper()


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.kill()
    process.wait()
