"""CPU time of recording one 1080p camera at one frame a second, without a model: demux, decode, sampling and JPEG, on one thread."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from afterview.stream.ingest.preprocess import DEFAULT_IMAGE_SIZE
from afterview.stream.ingest.sampler import Sampler
from afterview.stream.media import encode_jpeg
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.connection import Connection
from afterview.stream.source.decoding.packet_kind import PacketKinds
from afterview.stream.source.events import Frame, Picture
from tests.bench.table import Table

WIDTH, HEIGHT = 1920, 1080
SECONDS = float(os.environ.get("DECODE_SECONDS", "20"))  # of every clip
TRIES = 3  # repetitions; the fastest counts, because other work on the machine only adds time
CODECS = {
    "H.264": ("libx264", {"preset": "veryfast", "bf": "0", "threads": "2"}),
    "H.264, B-frames": ("libx264", {"preset": "veryfast", "threads": "2"}),
    "H.265": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=0"}),
}


@dataclass(frozen=True)
class Stream:
    """rate: frames per second. group: frames from key frame to key frame."""

    rate: Fraction
    group: int

    def __str__(self) -> str:
        return f"{float(self.rate):.5g} fps, {float(self.group / self.rate):.2f} s"


NTSC = Fraction(30_000, 1001)
STREAMS = [
    *(Stream(Fraction(25), 25 * seconds) for seconds in (1, 2, 4, 10)),
    *(Stream(NTSC, 30 * seconds) for seconds in (1, 2, 4, 10)),
    Stream(Fraction(2497, 100), 50),
]


def run() -> list[Table]:
    """Takes a quarter of an hour, most of it for encoding the clips."""
    player = shutil.which("ffmpeg")
    table = Table(
        "CPU time of one 1080p camera at one frame a second, without a model",
        [
            "codec", "stream, time between key frames", "frames", "needed", "decoded", "full, ms/s", "as needed, ms/s", "of full",
            "allowed", "key frames, ms/s", "ffmpeg, ms/s", "cameras per core",
        ],
        f"Demux, decode, sampling and a JPEG of {DEFAULT_IMAGE_SIZE} lines, on one thread; milliseconds per second of video, fastest "
        f"of {TRIES}; {SECONDS:g} s of moving noise on a gradient. needed: packets to the last due picture between key frames. allowed: "
        "1.15 times that share of full decoding, and the JPEGs; it counts all pictures alike, but the ones that must be decoded "
        "(key frames, references) cost more than the ones that need not, so streams of key frames or with B-frames are above it. "
        "key frames: the floor. "
        f"ffmpeg: `{'; '.join(_PLAYER)}`"
        + ("." if player else ", which is not on this machine."),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        for name in CODECS:
            for stream in STREAMS:
                path = Path(directory) / "clip.mp4"
                _encode(path, name, stream)
                _measure(table, name, stream, path, player)
    return [table]


_PLAYER = ("ffmpeg -threads 1 -i CLIP -vf fps=1 -c:v mjpeg -f image2pipe",)


def _measure(table: Table, name: str, stream: Stream, path: Path, player: str | None) -> None:
    full = _fastest(lambda: _record(path, lazy=False))
    needed = _fastest(lambda: _record(path, lazy=True))
    keys = _fastest(lambda: _key_frames(path))
    jpeg_s = full.jpeg_s
    forced = _forced(path)
    allowed = 1.15 * (full.cpu_s - jpeg_s) * forced / full.decoded + jpeg_s
    table.add(
        name, stream, full.decoded, forced, needed.decoded, _ms(full.cpu_s), _ms(needed.cpu_s), needed.cpu_s / full.cpu_s,
        allowed / full.cpu_s, _ms(keys.cpu_s), _ms(_play(player, path)) if player else "-", f"{SECONDS / needed.cpu_s:.0f}",
    )  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """cpu_s: all of it. jpeg_s: of it, for the JPEGs."""

    cpu_s: float
    jpeg_s: float
    decoded: int


def _fastest(work: Callable[[], Cost]) -> Cost:
    return min((work() for _ in range(TRIES)), key=lambda cost: cost.cpu_s)


def _record(path: Path, *, lazy: bool) -> Cost:
    began, jpeg_s, sampler = time.process_time(), 0.0, Sampler(1.0)
    with Connection(parse_source(str(path)), SourceConfig(), wait=time.sleep) as connection:
        for frame in connection.frames(threading.Event(), sampler.due if lazy else None):
            if sampler.admit(frame.pts_s) is not None and isinstance(frame, Frame):
                at = time.process_time()
                encode_jpeg(frame.picture.rgb(), DEFAULT_IMAGE_SIZE)
                jpeg_s += time.process_time() - at
        return Cost(time.process_time() - began, jpeg_s, connection.decoded)


def _key_frames(path: Path) -> Cost:
    """Key frames alone: what a recorder that only follows them would do."""
    began, jpeg_s, count = time.process_time(), 0.0, 0
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        video.codec_context.thread_count = 1
        video.codec_context.skip_frame = "NONKEY"
        for frame in container.decode(video):
            count += 1
            at = time.process_time()
            encode_jpeg(Picture(frame).rgb(), DEFAULT_IMAGE_SIZE)
            jpeg_s += time.process_time() - at
    return Cost(time.process_time() - began, jpeg_s, count)


def _forced(path: Path) -> int:
    """Packets up to the last due picture between two key frames, without those that nothing needs. The clips have closed groups."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        kinds = PacketKinds.for_codec(video.codec_context.name, video.codec_context.extradata)
        assert kinds is not None
        assert video.time_base is not None
        unit = float(video.time_base)
        packets = [
            (packet.pts, packet.is_keyframe, kinds.of(bytes(packet)).disposable)
            for packet in container.demux(video)
            if packet.pts is not None
        ]
    sampler, times = Sampler(1.0), sorted(pts for pts, _, _ in packets)
    due = {pts for pts in times if sampler.admit((pts - times[0]) * unit)}
    starts = [place for place, (_, start, _) in enumerate(packets) if start]
    forced = 0
    for begin, end in zip(starts, [*starts[1:], len(packets)], strict=True):
        group = packets[begin:end]
        last = max((place + 1 for place, (pts, _, _) in enumerate(group) if pts in due), default=0)
        forced += sum(pts in due or not disposable for pts, _, disposable in group[:last])
    return forced


def _play(player: str, path: Path) -> float:
    """CPU seconds of ffmpeg."""
    before = os.times()
    subprocess.run(
        [player, "-v", "error", "-threads", "1", "-i", str(path), "-vf", "fps=1", "-c:v", "mjpeg", "-f", "image2pipe", "-"],
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _ms(cpu_s: float) -> str:
    return f"{1000 * cpu_s / SECONDS:.0f}"


def _encode(path: Path, name: str, stream: Stream) -> None:
    """Key frames come at fixed distances, as from cameras."""
    encoder, options = CODECS[name]
    fixed = {"sc_threshold": "0"} if encoder == "libx264" else {}
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 40, (HEIGHT, WIDTH), dtype=np.uint8)
    ramp = np.linspace(40, 200, WIDTH, dtype=np.uint8)[None, :] + np.zeros((HEIGHT, 1), np.uint8)
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream(encoder, rate=stream.rate, options={**options, **fixed})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = stream.group
        for number in range(round(SECONDS * stream.rate)):
            luma = ramp + np.roll(noise, 2 * number, axis=1) // 4
            x = 8 * number % (WIDTH - 200)
            luma[300:700, x : x + 200] = noise[300:700, :200] + 100
            chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
