"""Files with several video streams, and a multiplex of several programs."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.stream import Disposition

from tests.support.clips import picture

RATE = 10  # frames per second
_PAT_PID, _PACKET = 0, 188


class Track(NamedTuple):
    """A video stream to write. every: writes one picture in so many. count: pictures at most."""

    width: int
    height: int
    codec: str = "libx264"
    every: int = 1
    count: int | None = None
    disposition: Disposition | None = None


def write_tracks(
    path: Path, tracks: Sequence[Track], *, seconds: int = 4, options: dict[str, str] | None = None
) -> Path:
    """Write all tracks, interleaved by time. options: of the muxer."""
    with av.open(str(path), "w", options=options or {}) as output:
        streams = [_add(output, track) for track in tracks]
        for number in range(RATE * seconds):
            for track, stream in zip(tracks, streams, strict=True):
                if number % track.every or (track.count is not None and number // track.every >= track.count):
                    continue
                rgb = picture(number, width=track.width, height=track.height)
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    return path


def _add(output: av.container.OutputContainer, track: Track) -> av.VideoStream:
    stream = output.add_stream(track.codec, rate=RATE)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.gop_size = track.width, track.height, RATE
    stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(track.codec, "yuv420p")
    if track.codec == "libx264":
        stream.options = {"preset": "ultrafast", "bf": "0"}
    if track.disposition is not None:
        stream.disposition = track.disposition
    return stream


def join_programs(path: Path, files: Sequence[Path]) -> Path:
    """One transport stream in which each file is a program of its own."""
    parts = []
    for number, file in enumerate(files, 1):
        own = path.with_name(f"program{number}.ts")
        pids = {"mpegts_start_pid": str(0x100 * number), "mpegts_pmt_start_pid": str(0x1000 + number)}
        with av.open(str(file)) as source, av.open(str(own), "w", format="mpegts", options=pids) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        data = own.read_bytes()
        packets = [data[at : at + _PACKET] for at in range(0, len(data), _PACKET)]
        parts.append([packet for packet in packets if _pid(packet) not in (_PAT_PID, 0x11)])
    steps = max(map(len, parts))
    joined = [
        packets[step * len(packets) // steps]
        for step in range(steps)
        for packets in parts
        if _is_due(step, packets, steps)
    ]
    path.write_bytes(_program_table(len(files)) + b"".join(joined))
    return path


def _is_due(step: int, packets: list[bytes], steps: int) -> bool:
    return step == 0 or step * len(packets) // steps != (step - 1) * len(packets) // steps


def _pid(packet: bytes) -> int:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


def _program_table(programs: int) -> bytes:
    """The packet that names all programs (ISO/IEC 13818-1, 2.4.4.3)."""
    entries = b"".join(bytes([0, number, 0xE0 | 0x10, number]) for number in range(1, programs + 1))
    section = bytes([0x00, 0xB0, 9 + len(entries), 0, 1, 0xC1, 0, 0]) + entries
    section += _crc(section).to_bytes(4, "big")
    return (b"\x47\x40\x00\x10\x00" + section).ljust(_PACKET, b"\xff")


def _crc(data: bytes) -> int:
    """CRC-32/MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc
