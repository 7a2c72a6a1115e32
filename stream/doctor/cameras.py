"""One configured camera: is it there, what does it send, what does it cost, is its clock sane. Two connections, one after the other."""

import threading
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise

import av

from afterview.memory.base.typed_times import spell_duration
from afterview.stream.doctor.findings import Finding, State, from_error
from afterview.stream.errors import SourceError
from afterview.stream.service.config import CameraConfig
from afterview.stream.source.address.address import SourceAddress, parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.events import Frame, Opened, Passed
from afterview.stream.source.open_source import sends_pictures
from afterview.stream.source.opening.choice import choose_stream
from afterview.stream.source.opening.opening import open_container
from afterview.stream.source.reader import read_events

_FAR_KEY_FRAMES_S = 10.0  # between two of them: each connection waits so long for its first picture
_CLOCK_OFF_S = 5.0
_DEAR_CPU = 0.5  # of a core, for decoding alone


def check_camera(name: str, camera: CameraConfig, seconds: float, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Watch a camera for some seconds, twice. A failure is a finding."""
    check = f"camera {name}"
    if camera.paused:
        yield Finding(check, "ok", "is paused; not connected to", values={"camera": name})
        return
    address = parse_source(camera.source, environment)
    if not address.live:
        remedy = "`afterview replay` records files"
        yield Finding(check, "problem", f"{address.redacted} is a file, and the service records live sources", remedy)
        return
    config = SourceConfig(
        rtsp_transport=camera.transport if address.kind == "rtsp" else "tcp", decode=camera.decode, stream=camera.stream
    )
    try:
        pictures = address.kind == "http" and sends_pictures(address, config)
        apart_s = None if pictures else key_frames_apart(address, config, seconds)
        yield from _watch(check, name, address, config, seconds, fps=camera.fps or 1.0, apart_s=apart_s)
    except SourceError as error:
        yield from_error(check, str(error), {"camera": name})


def key_frames_apart(address: SourceAddress, config: SourceConfig, seconds: float) -> float | None:
    """Longest distance of two key frames that came in this time, seconds; None if fewer than two came. Raises SourceError."""
    times: list[float] = []
    with open_container(address, config, time.monotonic) as container:
        stream, _ = choose_stream(
            container, address, config.stream, lambda: open_container(address, config, time.monotonic)
        )
        end = time.monotonic() + seconds
        try:
            for packet in container.demux(stream):
                if packet.is_keyframe and packet.pts is not None and stream.time_base is not None:
                    times.append(float(packet.pts * stream.time_base))
                if time.monotonic() > end:
                    break
        except (av.FFmpegError, OSError):
            pass  # the second connection says what is wrong
    return max((later - earlier for earlier, later in pairwise(times)), default=None)


def _watch(
    check: str, name: str, address: SourceAddress, config: SourceConfig, seconds: float, *, fps: float, apart_s: float | None
) -> Iterator[Finding]:  # fmt: skip
    stop, next_s = threading.Event(), 0.0

    def due(pts_s: float | None) -> bool:
        nonlocal next_s
        if pts_s is None or pts_s >= next_s:
            next_s = (pts_s or 0.0) + 1 / fps
            return True
        return False

    opened: Opened | None = None
    frames, offset_s, problem = 0, None, ""
    began = cpu_began = cpu_s = 0.0
    for event in read_events(address, config, stop=stop, due=due):
        if isinstance(event, Opened):
            opened, began, cpu_began = event, time.monotonic(), time.thread_time()
        if isinstance(event, Frame | Passed):
            frames += 1
            problem = event.clock_problem or problem
            if event.source_time is not None:
                offset_s = event.source_time - event.arrival_time
            cpu_s = time.thread_time() - cpu_began
        if opened is not None and time.monotonic() - began > seconds:
            stop.set()
    if opened is None:
        yield Finding(check, "problem", "not one picture came", "look at the camera with a player", {"camera": name})
        return
    passed = max(time.monotonic() - began, 1e-6)
    yield _describe(check, name, opened, frames / passed, cpu_s / passed, apart_s, fps)
    yield _describe_clock(check, name, offset_s, problem)


def _describe(
    check: str, name: str, opened: Opened, rate: float, cpu: float, apart_s: float | None, fps: float
) -> Finding:
    state: State = "ok"
    remedies = []
    if apart_s is not None and apart_s > _FAR_KEY_FRAMES_S:
        state = "warning"
        remedies.append("set a shorter key frame interval in the camera: each reconnection waits for a key frame")
    if cpu > _DEAR_CPU:
        state = "warning"
        remedies.append("take the camera's smaller stream, or decode: keyframes")
    key = "" if apart_s is None else f", key frames {apart_s:.1f} s apart"
    values = {
        "camera": name, "codec": opened.codec, "width": opened.width, "height": opened.height, "frames_per_s": round(rate, 2),
        "key_frames_s": None if apart_s is None else round(apart_s, 3), "decode_cpu_s_per_s": round(cpu, 4),
    }  # fmt: skip
    text = f"{opened.codec}, {opened.width}x{opened.height}, {rate:.1f} frames a second{key}; reading it at {fps:g} a second takes"
    return Finding(check, state, f"{text} {cpu * 100:.1f} % of a core", "; ".join(remedies), values)


def _describe_clock(check: str, name: str, offset_s: float | None, problem: str) -> Finding:
    values = {"camera": name, "clock_offset_s": None if offset_s is None else round(offset_s, 3)}
    check = f"{check}, clock"
    if problem:
        return Finding(
            check, "warning", f"{problem}; frames are dated by arrival", "set the camera's time server (NTP)", values
        )
    if offset_s is None:
        return Finding(check, "ok", "sends no time of its own; frames are dated by arrival", values=values)
    where = "behind" if offset_s < 0 else "ahead of"
    off = abs(offset_s) > _CLOCK_OFF_S
    return Finding(
        check, "warning" if off else "ok", f"{spell_duration(abs(offset_s))} {where} this machine's at arrival",
        "give camera and machine the same time server (NTP)" if off else "", values,
    )  # fmt: skip
