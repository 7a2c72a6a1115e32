"""The lazy decoder against decoding everything: the same slots, times and pixels, whatever comes."""

import hashlib
import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterview.stream.ingest.sampler import Sampler
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.decoding import lazy_decoder
from afterview.stream.source.decoding.held import Times
from afterview.stream.source.decoding.lazy_decoder import LazyDecoder
from afterview.stream.source.decoding.packet_kind import PacketKinds
from afterview.stream.source.reader import Frame, Passed, SourceConfig, read_events

TICKS = 1000  # per second, of all streams here
FRAMES = 150
WARM_UP = 20  # pictures that are decoded before the first start was shown, or for a wrong guess
EXAMPLES = int(os.environ.get("LAZY_EXAMPLES", "60"))  # of every property


@dataclass(frozen=True)
class Coded:
    """One packet as it was sent."""

    data: bytes
    pts: int | None
    dts: int | None
    corrupt: bool = False


# Options of the encoders. Each is a way in which a camera or a broadcaster may order its pictures.
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"bf": "0", "preset": "ultrafast"}),
    "h264 unreferenced": ("libx264", {"bf": "2", "preset": "ultrafast", "x264-params": "b-pyramid=none"}),
    "h264 pyramid": ("libx264", {"preset": "veryfast", "x264-params": "bframes=4:b-pyramid=normal:b-adapt=0"}),
    "h264 open": ("libx264", {"preset": "veryfast", "x264-params": "bframes=3:open-gop=1:b-adapt=0"}),
    "h264 refresh": ("libx264", {"preset": "veryfast", "x264-params": "intra-refresh=1:bframes=0"}),
    "h264 fields": ("libx264", {"preset": "veryfast", "x264-params": "interlaced=1:bframes=1"}),
    "hevc": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:open-gop=0"}),
    "hevc pyramid": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:bframes=4:b-adapt=0:open-gop=0"}),
    "hevc open": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:bframes=4:b-adapt=0:open-gop=1"}),
    "hevc layers": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3:temporal-layers=1"}),
    "mjpeg": ("mjpeg", {"strict": "-1"}),
    "mpeg2video": ("mpeg2video", {"bf": "2"}),
}  # fmt: skip


def encode(
    name: str, group: int, count: int = FRAMES, *, size: tuple[int, int] = (64, 48), seed: int = 0
) -> list[Coded]:
    """`count` pictures, 40 ticks apart, with a start every `group` pictures; parameter sets are repeated at every start."""
    encoder, options = ENCODERS[name]
    codec: Any = av.CodecContext.create(encoder, "w")
    codec.width, codec.height = size
    codec.pix_fmt = "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 25), Fraction(25)
    codec.gop_size, codec.options = group, options
    draw = np.random.default_rng(seed)
    noise = draw.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    pictures: list[av.VideoFrame | None] = []
    for number in range(count):
        pixels = np.roll(noise, number * 2, axis=1) // 2
        pixels[:, number % size[0]] = (255, number, 0)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        pictures.append(frame)
    packets = [packet for frame in [*pictures, None] for packet in codec.encode(frame)]
    return [Coded(bytes(packet), packet.pts * 40, packet.dts * 40) for packet in packets]


coded = lru_cache(maxsize=None)(encode)


class Choosing:
    """Takes packets, and keeps slot, time and pixels of every frame that is remembered in `result`."""

    def __init__(self, name: str, fps: float, *, lazy: bool, extradata: bytes | None = None) -> None:
        context: Any = av.CodecContext.create(codec_of(name), "r")
        if extradata is not None:
            context.extradata = extradata
        context.thread_count = 1
        self.result: list[tuple[int, float, str]] = []
        self.sampler = Sampler(fps)
        self.decoder: LazyDecoder[float | None] = LazyDecoder(
            context, lambda times: seconds(times), self.sampler.due if lazy else None
        )

    def take(self, packet: Any) -> None:
        for pts_s, frame in self.decoder.take(packet):
            choice = self.sampler.admit(pts_s)
            if choice is not None:
                assert frame is not None, "a picture that is due must be decoded"
                digest = hashlib.md5(frame.to_ndarray().tobytes()).hexdigest()
                self.result.append((choice.slot, round(choice.pts_s, 6), digest))


def chosen(
    name: str, packets: list[Coded], fps: float, *, lazy: bool, extradata: bytes | None = None
) -> tuple[list[tuple[int, float, str]], LazyDecoder[float | None]]:
    """Slot, time and pixels of every frame that is remembered, and the decoder."""
    choosing = Choosing(name, fps, lazy=lazy, extradata=extradata)
    for packet in [*map(packet_of, packets), None]:
        choosing.take(packet)
    return choosing.result, choosing.decoder


def codec_of(name: str) -> str:
    return name.split()[0]


def seconds(times: Times) -> float | None:
    return None if times.pts is None else times.pts / TICKS


def packet_of(one: Coded) -> Any:
    packet = av.Packet(one.data)
    packet.pts, packet.dts, packet.time_base = one.pts, one.dts, Fraction(1, TICKS)
    packet.is_corrupt = one.corrupt
    return packet


# --- undamaged streams: times and pixels ---


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("group", [1, 2, 7, 25, 100])
def test_times_and_pixels_are_those_of_decoding_everything(name: str, group: int) -> None:
    packets = coded(name, group)
    for fps in (0.2, 0.7, 1.0, 3.0, 5.0):
        full, everything = chosen(name, packets, fps, lazy=False)
        lazy, _ = chosen(name, packets, fps, lazy=True)
        assert lazy == full
        assert everything.decoded == len(packets)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name not in ("mjpeg", "mpeg2video")])
def test_cameras_do_not_disturb_each_other(name: str) -> None:
    """Their packets have the same numbers, and one decodes packets that another has dropped."""
    packets = coded(name, 40)
    cameras = [Choosing(name, fps, lazy=True) for fps in (5.0, 1.0, 0.3)]
    for place in range(len(packets) + 30 * len(cameras)):
        for behind, camera in enumerate(cameras):
            if 0 <= place - 30 * behind <= len(packets):
                camera.take(packet_of(packets[place - 30 * behind]) if place - 30 * behind < len(packets) else None)
    for camera in cameras:
        assert camera.result == chosen(name, packets, camera.sampler.fps, lazy=False)[0]


NEEDED = {  # of 250 pictures, one a second: what an exact decoder cannot do without
    ("h264", 25): 10,  # the slots lie on the starts
    ("h264", 50): 5 * 26,
    ("h264 unreferenced", 50): 5 * (1 + 8 + 1),  # of 25 after the start, 16 are needed by nobody
    ("hevc open", 25): 10,
    ("hevc", 100): 76 + 76 + 26,
}


@pytest.mark.parametrize(("name", "group"), NEEDED)
def test_no_packet_is_decoded_in_vain(name: str, group: int) -> None:
    packets = coded(name, group, 250)
    _, decoder = chosen(name, packets, 1.0, lazy=True)
    assert NEEDED[name, group] <= decoder.decoded <= NEEDED[name, group] + WARM_UP


def test_parameter_sets_that_come_once_are_kept() -> None:
    """They come with pictures that are not due, and change there."""
    for name in ("h264", "hevc"):
        kinds = PacketKinds(name == "hevc", 0)
        first, second = coded(name, 10, 60), coded(name, 10, 60, size=(96, 64), seed=1)
        packets = [*first, *(shifted(one, 61 * 40) for one in second)]
        switch = len(first)
        once = [
            one if place in (0, switch) else replace(one, data=stripped(kinds, one.data))
            for place, one in enumerate(packets)
        ]
        assert len(once[10].data) < len(packets[10].data)
        assert chosen(name, once, 0.3, lazy=True)[0] == chosen(name, once, 0.3, lazy=False)[0]
        assert chosen(name, packets, 0.3, lazy=True)[0] == chosen(name, packets, 0.3, lazy=False)[0]


def stripped(kinds: PacketKinds, data: bytes) -> bytes:
    """The packet without its parameter sets."""
    sets = kinds.of(data).parameters
    units = [data[begin:end].rstrip(b"\0") for begin, end in kinds._units(data)]
    return b"".join(b"\0\0\1" + unit for unit in units if unit not in sets)


@pytest.mark.parametrize("most", [0, 20_000])
def test_long_groups_are_decoded_when_too_much_is_held(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_decoder, "MOST_HELD_BYTES", most)
    for name in ("h264", "h264 pyramid", "hevc open"):
        packets = coded(name, 100)
        for fps in (0.2, 1.0):
            lazy, decoder = chosen(name, packets, fps, lazy=True)
            assert lazy == chosen(name, packets, fps, lazy=False)[0]
            assert sum(held.packet.size for held in decoder._held) <= most + max(len(one.data) for one in packets)


@pytest.mark.parametrize(
    ("name", "container"),
    [
        *((name, "avi") for name in ("h264", "h264 pyramid")),  # AVI does not hold H.265
        *((name, kind) for name in ("h264", "h264 pyramid", "hevc open") for kind in ("mp4", "mkv", "ts")),
    ],
)
def test_files(name: str, container: str, tmp_path: Path) -> None:
    """With lengths before the NAL units, or start codes; with the times of the file, or those that FFmpeg guesses."""
    path = tmp_path / f"clip.{container}"
    encoder, options = ENCODERS[name]
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(encoder, rate=25, options=options)
        stream.width, stream.height, stream.codec_context.gop_size = 64, 48, 25
        for number in range(FRAMES):
            pixels = np.full((48, 64, 3), number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    full, lazy = remembered(path, lazy=False), remembered(path, lazy=True)
    assert lazy[0] == full[0]
    assert len(full[0]) == 6
    assert full[1] == 0
    assert lazy[1] > FRAMES / 2


def remembered(path: Path, *, lazy: bool) -> tuple[list[tuple[float, str]], int]:
    """Times and pixels of one frame a second, and how many pictures were not decoded."""
    sampler = Sampler(1.0)
    result, passed = [], 0
    events = read_events(
        parse_source(str(path)), SourceConfig(), stop=threading.Event(), due=sampler.due if lazy else None
    )
    for event in events:
        if isinstance(event, Frame | Passed):
            passed += isinstance(event, Passed)
            if sampler.admit(event.pts_s) is not None:
                assert isinstance(event, Frame)
                assert event.pts_s is not None
                result.append((event.pts_s, hashlib.md5(event.picture.rgb().tobytes()).hexdigest()))
    return result, passed


# --- whatever else comes ---

Change = Callable[[list[Coded]], list[Coded]]
PLACES = st.integers(0, FRAMES - 1)


def later_by(ticks: int, first: int) -> Change:
    """The clock jumps."""

    def change(packets: list[Coded]) -> list[Coded]:
        return [shifted(one, ticks) if place >= first else one for place, one in enumerate(packets)]

    return change


def shifted(one: Coded, ticks: int) -> Coded:
    return replace(
        one,
        pts=None if one.pts is None else one.pts + ticks,
        dts=None if one.dts is None else one.dts + ticks,
    )


def lone_outlier(ticks: int, at: int) -> Change:
    return lambda packets: [shifted(one, ticks) if place == at else one for place, one in enumerate(packets)]


def without(first: int, count: int) -> Change:
    return lambda packets: packets[:first] + packets[first + count :]


def swapped(first: int, by: int) -> Change:
    def change(packets: list[Coded]) -> list[Coded]:
        rest = packets[:first] + packets[first + 1 :]
        return [*rest[: first + by], *packets[first : first + 1], *rest[first + by :]]

    return change


def cut(at: int, share: float, corrupt: bool) -> Change:
    """A packet is cut short, and marked so by the demuxer or not."""

    def change(packets: list[Coded]) -> list[Coded]:
        return [
            replace(one, data=one.data[: max(5, int(len(one.data) * share))], corrupt=corrupt) if place == at else one
            for place, one in enumerate(packets)
        ]

    return change


def untimed(at: int, count: int, *, dts_too: bool) -> Change:
    """Packets without a presentation time, or without any time."""

    def change(packets: list[Coded]) -> list[Coded]:
        return [
            replace(one, pts=None, dts=None if dts_too else one.dts) if at <= place < at + count else one
            for place, one in enumerate(packets)
        ]

    return change


def without_dts(packets: list[Coded]) -> list[Coded]:
    return [replace(one, dts=None) for one in packets]


def repeated(at: int) -> Change:
    return lambda packets: packets[: at + 1] + packets[at:]


def stuck(at: int) -> Change:
    """The clock stands still."""

    def change(packets: list[Coded]) -> list[Coded]:
        kept = packets[:at]
        return (
            kept + [replace(one, pts=packets[at].pts, dts=packets[at].dts) for one in packets[at:]]
            if at < len(packets)
            else kept
        )

    return change


def uneven(seed: int) -> Change:
    """A variable rate, with pictures in the same order."""

    def change(packets: list[Coded]) -> list[Coded]:
        draw = np.random.default_rng(seed)
        known = sorted({time for one in packets for time in (one.pts, one.dts) if time is not None})
        times = dict(zip(known, itertools.accumulate(draw.integers(1, 120, len(known)).tolist()), strict=True))
        return [replace(one, pts=times[one.pts or 0], dts=times[one.dts or 0]) for one in packets]

    return change


HARMLESS = st.one_of(
    st.just(without_dts),
    st.builds(later_by, st.sampled_from([-5_000, -600, 3_000, 9_800_000, 10**12]), PLACES),
    st.builds(lone_outlier, st.sampled_from([-5_000, 9_800_000]), PLACES),
    st.builds(untimed, PLACES, st.integers(1, 40), dts_too=st.booleans()),
    st.builds(stuck, PLACES),
)
HARMFUL = st.one_of(
    st.builds(without, PLACES, st.integers(1, 30)),
    st.builds(without, st.just(0), st.integers(1, 60)),
    st.builds(swapped, PLACES, st.integers(1, 6)),
    st.builds(cut, PLACES, st.floats(0, 1), st.booleans()),
    st.builds(repeated, PLACES),
)
ANY = st.one_of(HARMFUL, HARMLESS)
STREAMS = {
    "names": st.sampled_from([*ENCODERS]),
    "groups": st.sampled_from([1, 2, 7, 25, 100]),
    "variable": st.one_of(st.none(), st.integers(0, 99)),  # the seed of a variable rate
    "rates": st.sampled_from([0.2, 0.7, 1.0, 3.0, 5.0]),
}
SEARCH = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SEARCH
@given(STREAMS["names"], STREAMS["groups"], STREAMS["rates"], STREAMS["variable"], st.lists(HARMLESS, max_size=3))
def test_times_that_jump_stand_still_or_are_missing(
    name: str, group: int, fps: float, seed: int | None, changes: list[Change]
) -> None:
    packets = changed(coded(name, group), changes if seed is None else [uneven(seed), *changes])
    assert chosen(name, packets, fps, lazy=True)[0] == chosen(name, packets, fps, lazy=False)[0]


@SEARCH
@given(
    STREAMS["names"], STREAMS["groups"], STREAMS["rates"], STREAMS["variable"], st.lists(ANY, min_size=1, max_size=4)
)
def test_lost_cut_and_misplaced_packets(
    name: str, group: int, fps: float, seed: int | None, changes: list[Change]
) -> None:
    packets = changed(coded(name, group), changes if seed is None else [uneven(seed), *changes])
    assert times_of(chosen(name, packets, fps, lazy=True)) == times_of(chosen(name, packets, fps, lazy=False))


def changed(packets: list[Coded], changes: list[Change]) -> list[Coded]:
    for change in changes:
        packets = change(packets)
    return packets


def times_of(result: tuple[list[tuple[int, float, str]], Any]) -> list[tuple[int, float]]:
    return [(slot, pts_s) for slot, pts_s, _ in result[0]]
