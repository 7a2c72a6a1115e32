"""Fragmented MP4 with prft boxes: written by FFmpeg, and boxes made by hand."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import av

from afterview.stream.media import VideoWriter
from afterview.stream.source.clocks.fragments import FragmentReader
from afterview.stream.source.clocks.reference_clock import ReferenceClock
from tests.support.clips import picture

START = 1_700_000_000.25  # Unix seconds
TIMESCALE = 90_000  # of the clips
NTP_1970 = 2_208_988_800  # seconds


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def prft(
    unix_s: float, media_time: int, *, version: int = 1, flags: int = 24, track: int = 1, ntp: int | None = None
) -> bytes:
    stamp = round((unix_s + NTP_1970) * 2**32) % 2**64 if ntp is None else ntp
    layout = ">B3sIQq" if version else ">B3sIQI"
    return box(b"prft", struct.pack(layout, version, flags.to_bytes(3), track, stamp, media_time))


def moof(first: int, *, track: int = 1, offset: int = 0, fields: int = 0x001) -> bytes:
    """A fragment of one sample: decoded at `first`, shown `offset` later; `fields` of trun's flags come before the offset."""
    before = 4 * (fields & 0xF05).bit_count()
    run = struct.pack(">III", 0x01_000000 | fields | 0x800, 1, 0)[: 8 + before] + bytes(max(0, before - 4))
    return box(
        b"moof",
        box(b"mfhd", bytes(8)),
        box(
            b"traf",
            box(b"tfhd", struct.pack(">II", 0, track)),
            box(b"tfdt", struct.pack(">IQ", 0x01_000000, first)),
            box(b"trun", run, struct.pack(">i", offset)),
        ),
    )


def fragments(references: Sequence[tuple[float, int, int]]) -> bytes:
    """A file whose fragments begin at `first` and say `unix_s` of `media_time`: (unix_s, media_time, first) each."""
    parts = [prft(unix_s, media_time) + moof(first) + box(b"mdat", b"x") for unix_s, media_time, first in references]
    return box(b"ftyp", bytes(8)) + b"".join(parts)


def clock_of(data: bytes, *, now: float = START + 86_400) -> ReferenceClock:
    """The clock of such a file, in units of a thousandth of a second."""
    return ReferenceClock(FragmentReader(io.BytesIO(data), 1), 0.001, now=now)


def write_clip(path: Path, *, frames: int = 40, b_frames: int = 3) -> Path:
    """H.264 at 10 frames per second, with a key frame (and so a fragment) every second."""
    options = {"preset": "medium", "bf": str(b_frames), "g": "10"}
    with VideoWriter(path, 160, 120, 10, options=options) as video:
        for number in range(frames):
            video.write(picture(number))
    return path


def fragment(clip: Path, path: Path, movflags: str, *, write_prft: str = "pts", start: float = START) -> Path:
    """`clip` as FFmpeg fragments it. With `write_prft` of pts its boxes say that it began at `start`."""
    options = {"movflags": movflags, "write_prft": write_prft, "avoid_negative_ts": "disabled"}
    shift = round(start * TIMESCALE) if write_prft == "pts" else 0
    with av.open(str(clip)) as source, av.open(str(path), "w", format="mp4", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                target.mux(packet)
    return path


def change_stamps(path: Path, seconds: Sequence[float]) -> None:
    """Add so many seconds to what the prft boxes of a file say, one after the other."""
    data, at = bytearray(path.read_bytes()), 0
    for shift in seconds:
        at = data.index(b"prft", at) + 12
        (stamp,) = struct.unpack_from(">Q", data, at)
        struct.pack_into(">Q", data, at, stamp + round(shift * 2**32))
    path.write_bytes(data)
