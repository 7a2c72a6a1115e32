"""The memory and its disk, the hub and the weights, the port, and a service that runs there."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from afterview.configs.system_errors import reason
from afterview.memory.base.counts import counted
from afterview.memory.base.durable import PARTIAL
from afterview.memory.base.errors import MemoryNotFound, RepositoryError
from afterview.memory.directory import Memory
from afterview.memory.fsck.fsck import camera_directories, fsck
from afterview.model.base.errors import ModelError, NotPulled
from afterview.model.download.needed import require_pulled
from afterview.stream.doctor.findings import Finding, State, from_error
from afterview.stream.service.config import HttpConfig

_WRITE_BYTES, _PIECE = 32 << 20, 1 << 20
_LITTLE_ROOM, _NO_ROOM = 10e9, 1e9  # bytes
_SLOW_SYNC_S = 0.25  # of one fsync: a memory makes one every few seconds
_SLOW_BYTES = 10e6  # per second
_HTTP_S = 3.0


def newest_frame(memory: Path) -> float | None:
    """Unix seconds of the newest frame of a memory, or None."""
    try:
        readers = Memory(memory).cameras()
        times = [float(found[-1]) for reader in readers if len(found := reader.snapshot().times)]
    except (RepositoryError, OSError):
        return None
    return max(times, default=None)


def recorded_model(memory: Path) -> tuple[str | None, str | None]:
    """The model and the index encoder that a memory was recorded with."""
    try:
        spec = next((reader.spec for reader in Memory(memory).cameras()), None)
    except (RepositoryError, OSError):
        spec = None
    return (None, None) if spec is None else (spec.model, spec.index.encoder)


def check_disk(memory: Path) -> Iterator[Finding]:
    """Room and speed where the memory lies, or will lie."""
    place = next(path for path in (memory, *memory.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    state: State = "problem" if free < _NO_ROOM else "warning" if free < _LITTLE_ROOM else "ok"
    remedy = "" if state == "ok" else "make room, or limit the memory: afterview retain --gb N"
    yield Finding("disk room", state, f"{place}: {free / 1e9:.1f} GB free", remedy, {"free_bytes": free})
    try:
        speed, sync_s = _write(place)
    except OSError as error:
        yield from_error("disk speed", f"{place}: cannot be written: {reason(error, place, action='written')}")
        return
    slow = speed < _SLOW_BYTES or sync_s > _SLOW_SYNC_S
    yield Finding(
        "disk speed", "warning" if slow else "ok", f"{speed / 1e6:,.0f} MB a second, {sync_s * 1e3:.0f} ms for a small durable write",
        "several cameras may be too much for it: take a faster disk, or --sync-every 5" if slow else "",
        {"bytes_per_s": round(speed), "sync_s": round(sync_s, 4)},
    )  # fmt: skip


def _write(place: Path) -> tuple[float, float]:
    """Bytes per second of a large durable write, and seconds of a small one. Leaves nothing behind. Raises OSError."""
    room = shutil.disk_usage(place).free
    size = min(_WRITE_BYTES, max(_PIECE, room // 10))
    with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-", suffix=PARTIAL) as file:
        piece, began = os.urandom(_PIECE), time.perf_counter()
        for _ in range(size // _PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        large_s = time.perf_counter() - began
        waits = []
        for _ in range(3):
            began = time.perf_counter()
            file.write(piece[:4096])
            file.flush()
            os.fsync(file.fileno())
            waits.append(time.perf_counter() - began)
    return size / max(large_s, 1e-9), sorted(waits)[1]


def check_memory(memory: Path) -> Iterator[Finding]:
    """A quick fsck."""
    try:
        cameras = camera_directories(memory)
    except MemoryNotFound:
        yield Finding("memory", "ok", f"{memory}: none yet; recording makes it")
        return
    if not cameras:
        yield Finding("memory", "ok", f"{memory}: holds no camera yet")
    for camera in cameras:
        report, check = fsck(camera), f"memory, camera {camera.name}"
        values = {"camera": camera.name, "frames": report.frames, "damaged": len(report.damage)}
        if report.damage:
            first = report.damage[0]
            yield Finding(
                check, "problem", f"{len(report.damage)} damaged, the first: {first.where.name} {first.what}",
                f"afterview fsck {memory} shows all, --repair repairs what can be repaired", values,
            )  # fmt: skip
        elif report.unchecked:
            yield Finding(
                check,
                "warning",
                f"{len(report.unchecked)} places could not be read",
                "check permissions",
                values,
            )
        else:
            yield Finding(
                check,
                "ok",
                f"{counted(report.frames, 'frame')}, no damage found",
                values=values,
            )


def check_weights(name: str, recorded_index: str | None) -> Iterator[Finding]:
    """Whether the model's weights are here."""
    try:
        require_pulled(name, recorded=recorded_index)
    except NotPulled as error:
        yield from_error("weights", str(error), {"model": name})
    except (ModelError, ValueError) as error:
        yield Finding("weights", "problem", str(error), "afterview models lists the presets", {"model": name})
    else:
        yield Finding("weights", "ok", f"{name}: here", values={"model": name})


def check_hub(name: str) -> Iterator[Finding]:
    """Whether the hub answers; without it what is here still works."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    if offline.upper() in ("1", "ON", "YES", "TRUE"):
        yield Finding("hub", "ok", "not asked: HF_HUB_OFFLINE is set", values={"reachable": None})
        return
    try:
        with httpx2.Client(timeout=_HTTP_S, follow_redirects=True) as client:
            status = client.head(address).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        needs = _needs_hub(name)
        yield Finding(
            "hub", "problem" if needs else "warning", f"{address} does not answer ({type(error).__name__})",
            "weights that are not here cannot be fetched: connect to the network, or set HF_ENDPOINT or HTTPS_PROXY" if needs
            else "needed only for `models pull`", {"reachable": False},
        )  # fmt: skip
        return
    bad = status >= 500
    text, remedy = f"{address} answered {status}", "try again later" if bad else ""
    yield Finding("hub", "warning" if bad else "ok", text, remedy, {"reachable": not bad})


def _needs_hub(name: str) -> bool:
    try:
        require_pulled(name)
    except NotPulled:
        return True
    except (ModelError, ValueError):
        pass
    return False


def check_port(http: HttpConfig) -> Iterator[Finding]:
    """Whether the port is free, or our service listens there."""
    where = f"{http.bind}:{http.port}"
    if not http.port:
        yield Finding("port", "ok", "any free one")
        return
    found = running_service(http)
    if found is not None:
        state = found.get("status", "unknown")
        notes = "; ".join(str(note) for note in found.get("notes", ())[:3])
        bad = state != "ready"
        yield Finding(
            "service", "warning" if bad else "ok", f"runs at {where}: {state}{f' ({notes})' if notes else ''}",
            "its log says why; /api/v1 and `afterview info` name cameras" if bad else "", {"status": state},
        )  # fmt: skip
        return
    family = socket.AF_INET6 if ":" in http.bind else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((http.bind, http.port))
            trial.listen(1)
        except OSError as error:
            yield Finding(
                "port",
                "problem",
                f"{where}: {error.strerror}",
                "end the program that has it, or set http.port (--port)",
            )
            return
    yield Finding("port", "ok", f"{where} is free; no service runs there")


def running_service(http: HttpConfig) -> dict[str, Any] | None:
    """What our service at this address says of itself, or None."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(http.bind, f"[{http.bind}]" if ":" in http.bind else http.bind)
    scheme = "https" if http.tls.certificate else "http"
    try:
        with httpx2.Client(timeout=_HTTP_S, verify=False, trust_env=False) as client:
            found = client.get(f"{scheme}://{host}:{http.port}/health/ready").json()
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "status" in found and "model" in found else None
