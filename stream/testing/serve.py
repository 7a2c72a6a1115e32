"""A real server of live video in a process of its own, from a recording: for demonstrations and tests.

    python -m afterview.stream.testing.serve --hls FILE [--port 0] [--loop] [--user U --password P]
    python -m afterview.stream.testing.serve --rtsp FILE ...          needs GStreamer's RTSP server (see `rtsp_missing`)

Binds 127.0.0.1 and prints one JSON line, {"url": ...}, when the first client may come; with "began", the Unix time of the first
picture, where it does not wait for clients. Without --loop the video ends with the
file: RTSP closes its sessions, HLS marks its playlist as ended. Over RTSP every client starts at the first frame; over
HLS, as on any live broadcast, at the newest segment. Ends on SIGTERM or SIGINT.
"""

import argparse
import functools
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import av

from afterview.configs import AfterviewError
from afterview.stream.errors import ServerError
from afterview.stream.source.address.address import parse_source
from afterview.stream.testing.hls_server import codec_of, serve_hls

RTSP_SCRIPT = Path(__file__).with_name("rtsp_server.py")
RTSP_PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)

_ANNEX_B = {
    "h264": "h264_mp4toannexb",
    "hevc": "hevc_mp4toannexb",
}  # codec -> the filter that makes its packets self-contained
_PACKET = struct.Struct("<QQI")  # presentation time and duration in nanoseconds, size in bytes
_NS = 1_000_000_000


@functools.cache
def rtsp_missing() -> str | None:
    """Why no RTSP server can run on this machine, in one line; None when one can. Asks the system's python3 once."""
    python = _system_python()
    if python is None:
        return "the system has no python3 of its own, which GStreamer's bindings belong to"
    try:
        check = subprocess.run([python, "-I", str(RTSP_SCRIPT), "--check"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{python} cannot run the RTSP server: {error}"
    if check.returncode == 0:
        return None
    last = (check.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"GStreamer's RTSP server is not installed ({last}); on Debian: apt-get install {RTSP_PACKAGES}"


def _system_python() -> str | None:
    """The operating system's python3: the one that its packages of Python bindings install into."""
    return shutil.which("python3", path="/usr/bin:/bin")


def write_recording(path: Path, out: BinaryIO) -> None:
    """The video of `path` in the form that `rtsp_server.py` reads: see there. Raises NotAVideo, or ServerError for other codecs."""
    codec = codec_of(path)
    if codec not in _ANNEX_B:
        raise ServerError(f"{path}: RTSP serves H.264 and H.265, not {codec}; convert it first")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        self_contained = av.BitStreamFilterContext(_ANNEX_B[codec], stream)
        packets = [
            ready for packet in container.demux(stream) if packet.size for ready in self_contained.filter(packet)
        ]
        unit = (stream.time_base or 0) * _NS
    times = [packet.pts for packet in packets if packet.pts is not None]
    if len(times) < len(packets) or not packets:
        raise ServerError(f"{path}: cannot be served: some of its packets have no presentation time")
    first = min(times)
    end = max(time + (packet.duration or 0) for time, packet in zip(times, packets, strict=True))
    out.write(json.dumps({"codec": codec, "round_ns": int((end - first) * unit)}).encode() + b"\n")
    for time, packet in zip(times, packets, strict=True):
        out.write(
            _PACKET.pack(int((time - first) * unit), int((packet.duration or 0) * unit), packet.size) + bytes(packet)
        )


def serve_rtsp(path: Path, options: Sequence[str]) -> None:
    """Become the RTSP server: this process is replaced, so that a signal to it reaches the server itself. Raises ServerError."""
    missing = rtsp_missing()
    python = _system_python()
    if missing or python is None:
        raise ServerError(missing or "the system has no python3")
    with tempfile.TemporaryFile() as recording:
        write_recording(path, recording)
        recording.seek(0)
        os.dup2(recording.fileno(), sys.stdin.fileno())
    os.execv(python, [python, "-I", str(RTSP_SCRIPT), *options])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m afterview.stream.testing.serve", description="Serves a recording as live video on 127.0.0.1."
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--rtsp", metavar="FILE", help="over RTSP; every client starts at the first frame")
    kind.add_argument("--hls", metavar="FILE", help="over HLS; clients join the broadcast where it is")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--loop", action="store_true", help="begin again at the end, with time going on")
    parser.add_argument("--user", help="ask clients for this user name and --password")
    parser.add_argument("--password", default="")
    chosen = parser.parse_args(arguments)
    try:
        path = Path(parse_source(chosen.rtsp or chosen.hls).url)
        if chosen.hls:
            login = None if chosen.user is None else (chosen.user, chosen.password)
            serve_hls(path, port=chosen.port, loop=chosen.loop, login=login)
        else:
            serve_rtsp(path, list(_rtsp_options(chosen)))
    except AfterviewError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        pass
    return 0


def _rtsp_options(chosen: argparse.Namespace) -> Iterator[str]:
    yield f"--port={chosen.port}"
    if chosen.loop:
        yield "--loop"
    if chosen.user is not None:
        yield f"--user={chosen.user}"
        yield f"--password={chosen.password}"


if __name__ == "__main__":
    sys.exit(main())
