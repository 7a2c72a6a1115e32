"""All odd cameras of the soak test in one process: `python -m tests.soak.odd_cameras EVENTS RUN_S SEED`.

Prints one JSON line {camera: url} when all can be reached. A line on standard input starts the plan of faults; each change is appended to
EVENTS as a JSON line. So is each time for which this process stood still, because then the cameras did, too. The process ends when
standard input does.

Threads: the main thread reads standard input, `plan` switches the faults, `stalls` watches the clock; the servers have their own.
"""

import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from afterview.stream.media import VideoWriter, encode_jpeg
from tests.soak.events import append
from tests.support.clips import picture
from tests.support.odd_rtsp import access_units
from tests.support.soak_hls import HlsCamera
from tests.support.soak_rtsp import RtspCamera
from tests.support.soak_schedule import schedule
from tests.support.soak_servers import RATE, MjpegCamera, OddServer, RawCamera

_FRAMES = 300  # of each clip
_GOP, _FAR_GOP = 20, 300
_TICK_S, _STALL_S = 0.2, 1.0  # a tick that is so late is a stall
_SIZES = {"main": (320, 180), "big": (480, 270), "small": (160, 90)}


def make_cameras(directory: Path) -> dict[str, OddServer]:
    """Cameras by name, not started. directory: for their clips."""
    files = {name: _clip(directory / f"{name}.mp4", *size, _GOP) for name, size in _SIZES.items()}
    clips = {name: access_units(path) for name, path in files.items()}
    far = access_units(_clip(directory / "far.mp4", *_SIZES["main"], _FAR_GOP))
    jpegs = [encode_jpeg(picture(number, width=320, height=180), 180) for number in range(60)]
    return {
        "rtp-clock": RtspCamera(clips, gop=_GOP),
        "outliers": RtspCamera(clips, gop=_GOP),
        "clock-jumps": RtspCamera(clips, gop=_GOP),
        "raw-tcp": RawCamera(clips["main"]),
        "loss": RtspCamera(clips, gop=_GOP, reports=True),
        "mjpeg": MjpegCamera(jpegs),
        "far-key": RtspCamera({"main": far}, gop=_FAR_GOP),
        "refusals": RtspCamera(clips, gop=_GOP, reports=True),
        "hls": HlsCamera(files["main"]),
        "time-lapse": RtspCamera(clips, gop=_GOP),
        "changing": RtspCamera(clips, gop=_GOP, reports=True),
    }


def _clip(path: Path, width: int, height: int, gop: int) -> Path:
    options = {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "bf": "0"}
    with VideoWriter(path, width, height, RATE, options=options) as writer:
        for number in range(_FRAMES):
            writer.write(picture(number, width=width, height=height))
    return path


def _switch(cameras: dict[str, OddServer], events: Path, run_s: float, seed: int, stop: threading.Event) -> None:
    began = time.time()
    windows = schedule(run_s, seed)
    changes = sorted(
        [(window.start, window, True) for window in windows] + [(window.end, window, False) for window in windows],
        key=lambda change: change[0],
    )
    for at, window, on in changes:
        if stop.wait(max(0.0, began + at - time.time())):
            return
        append(events, "fault", camera=window.camera, fault=window.fault, on=on)
        try:
            cameras[window.camera].fault(window.fault, on)
        except Exception as error:  # of the test, not of the product; the report shows it
            append(events, "harness", what=f"{window.camera}: {window.fault}: {type(error).__name__}: {error}")


def _watch_for_stalls(events: Path, stop: threading.Event) -> None:
    """A machine that swaps or is overloaded stops the cameras: gaps of that time are true ones."""
    before = time.time()
    while not stop.wait(_TICK_S):
        now = time.time()
        if now - before > _TICK_S + _STALL_S:
            append(events, "stall", start=round(before, 2), seconds=round(now - before, 2))
        before = now


def main() -> int:
    events, run_s, seed = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        cameras = make_cameras(Path(directory))
        for camera in cameras.values():
            running.enter_context(camera)
        print(json.dumps({name: camera.url for name, camera in cameras.items()}), flush=True)
        plan = threading.Thread(target=_switch, args=(cameras, events, run_s, seed, stop), name="plan", daemon=True)
        if sys.stdin.readline():
            plan.start()
            threading.Thread(target=_watch_for_stalls, args=(events, stop), name="stalls", daemon=True).start()
        while sys.stdin.readline():
            pass
        stop.set()
    return 0


if __name__ == "__main__":
    sys.exit(main())
