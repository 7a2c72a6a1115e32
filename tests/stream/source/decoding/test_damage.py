"""Pictures that are not whole are found, and whole ones are not taken for damaged: by comparison with the stream before it was damaged."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from afterview.stream.media import encode_jpeg
from afterview.stream.source.decoding.damage import Damage, whole_jpeg
from afterview.stream.source.decoding.held import number_of
from afterview.stream.source.decoding.lazy_decoder import LazyDecoder
from afterview.stream.source.decoding.slice_heads import Sequence, read_sequence, read_slice, recovery_frames
from tests.stream.source.decoding.test_lazy_decoder import ENCODERS, Coded, codec_of, coded, packet_of, seconds
from tests.support.clips import picture
from tests.support.lossy_rtsp import LossyCamera
from tests.support.reading import frames_of, read
from tests.support.watching import QUICK, Watcher

MTU = 300  # bytes of an RTP packet here: the pictures are small
SMEARED = 1.0  # mean difference from the undamaged picture, of 255
SIZE = {"size": (160, 120)}


def judged(name: str, packets: list[Coded], *, lazy: bool) -> dict[float, tuple[NDArray[Any], bool]]:
    """Pixels of every decoded picture, and whether it is said to be damaged, by time."""
    context: Any = av.CodecContext.create(codec_of(name), "r")
    context.thread_count = 1
    due = (lambda pts: round(pts / 0.04) % 5 == 0) if lazy else None
    decoder: LazyDecoder[float | None] = LazyDecoder(context, lambda times: seconds(times), due)
    found = {}
    for packet in [*map(packet_of, packets), None]:
        for pts_s, frame in decoder.take(packet):
            if frame is not None:
                assert pts_s is not None
                found[pts_s] = frame.to_ndarray(format="gray").astype(int), decoder.damage.suspects(number_of(frame))
    return found


def counts(name: str, damaged: list[Coded], whole: list[Coded], *, lazy: bool) -> tuple[int, int, int]:
    """How many pictures are smeared, how many of these are not said to be, and how many are said to be but are not."""
    right = judged(name, whole, lazy=False)
    smeared = unmarked = wrongly = 0
    for pts_s, (pixels, marked) in judged(name, damaged, lazy=lazy).items():
        bad = np.abs(pixels - right[pts_s][0]).mean() > SMEARED if pts_s in right else True
        smeared, unmarked, wrongly = smeared + bad, unmarked + (bad and not marked), wrongly + (marked and not bad)
    return smeared, unmarked, wrongly


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("lazy", [True, False])
def test_whole_pictures_are_not_said_to_be_damaged(name: str, lazy: bool) -> None:
    for group in (1, 7, 25):
        assert not any(marked for _, marked in judged(name, coded(name, group), lazy=lazy).values())


def without_units(packets: list[Coded], share: float, seed: int) -> list[Coded]:
    """As they come over RTP when packets get lost: FFmpeg joins the fragments that came."""
    dice, left = random.Random(seed), []
    for one in packets:
        data = b""
        for unit in re.split(b"\0\0\0?\1", one.data)[1:]:
            for at in range(0, len(unit), MTU):
                if dice.random() >= share:
                    data += (b"\0\0\0\1" if at == 0 else b"") + unit[at : at + MTU]
        if data:
            left.append(replace(one, data=data))
    return left


def without_pictures(packets: list[Coded], share: float, seed: int) -> list[Coded]:
    dice = random.Random(seed)
    return [one for one in packets if dice.random() >= share]


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize(
    ("name", "lose"),
    [
        ("h264", without_units),
        ("h264", without_pictures),
        ("h264 refresh", without_pictures),
        ("hevc", without_pictures),
    ],
)
def test_smeared_pictures_are_found(
    name: str, lose: Callable[[list[Coded], float, int], list[Coded]], lazy: bool
) -> None:
    packets = coded(name, 25, 150, **SIZE)
    total = [
        sum(row)
        for row in zip(*(counts(name, lose(packets, 0.02, seed), packets, lazy=lazy) for seed in range(4)), strict=True)
    ]
    smeared, unmarked, wrongly = total
    assert smeared > 5
    assert (unmarked, wrongly <= smeared // 10) == (0, True)


@pytest.mark.parametrize("name", ["h264 pyramid", "hevc pyramid", "h264 open", "hevc open"])
def test_of_streams_with_b_frames_no_lost_picture_is_passed_over(name: str) -> None:
    """What is shown before the next start may be said to be damaged though it did not need the lost picture."""
    packets = coded(name, 25, 150, **SIZE)
    for seed in range(4):
        assert counts(name, without_pictures(packets, 0.02, seed), packets, lazy=True)[1] == 0


def test_decoding_that_begins_between_two_starts() -> None:
    packets = coded("h264", 50, 100)
    sets = packets[0].data[
        : packets[0].data.index(b"\0\0\1\x65")
    ]  # the parameter sets, as RTSP gives them before the video
    late = [replace(packets[20], data=sets + packets[20].data), *packets[21:]]
    found = judged("h264", late, lazy=False)
    assert {marked for pts_s, (_, marked) in found.items() if pts_s < 2.0} <= {True}
    assert {marked for pts_s, (_, marked) in found.items() if pts_s >= 2.0} == {False}


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_transport_stream_with_missing_packets(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25, options={"g": "25", "bf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 160, 120, "yuv420p", 1_000_000
        for number in range(100):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        output.mux(stream.encode(None))
    right = {frame.pts_s: frame.picture.rgb().astype(int) for frame in frames_of(read(path))}
    data, dice = path.read_bytes(), random.Random(1)
    parts = [data[at : at + 188] for at in range(0, len(data), 188)]
    first = len(parts) // 4
    path.write_bytes(b"".join(part for place, part in enumerate(parts) if place < first or dice.random() > 0.01))
    smeared = [
        (frame, frame.pts_s not in right or np.abs(frame.picture.rgb() - right[frame.pts_s]).mean() > 2 * SMEARED)
        for frame in frames_of(read(path))
    ]
    assert sum(bad for _, bad in smeared) > 5
    assert [frame.pts_s for frame, bad in smeared if bad and not frame.picture_damaged] == []
    assert sum(not frame.picture_damaged for frame, _ in smeared) > 20


def test_jpegs() -> None:
    data = encode_jpeg(picture(3, width=640, height=480), 480)
    assert whole_jpeg(data)
    for cut in (0, 1, 300, len(data) // 2, len(data) * 9 // 10):
        assert not whole_jpeg(data[:cut])
        assert not whole_jpeg(data[:cut] + b"\xff\xd9")
    assert not whole_jpeg(b"GIF89a")


def test_motion_jpeg_with_truncated_pictures() -> None:
    packets = coded("mjpeg", 1, 30)
    cut = {7, 8, 20}
    sent = [
        replace(one, data=one.data[: len(one.data) // 2]) if place in cut else one for place, one in enumerate(packets)
    ]
    found = judged("mjpeg", sent, lazy=False)
    assert len(found) == 30
    assert {round(pts_s / 0.04) for pts_s, (_, marked) in found.items() if marked} == cut


@given(st.binary(max_size=80), st.integers(4, 16), st.booleans())
def test_damaged_headers_are_read_without_an_error(data: bytes, bits: int, planes: bool) -> None:
    assert read_slice(b"\x41" + data, Sequence(bits, planes, gaps=False)).number < 1 << bits
    assert 4 <= read_sequence(b"\x67" + data).number_bits <= 16
    assert (recovery_frames(b"\x06" + data) or 0) >= 0


@pytest.mark.integration
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_camera_whose_packets_get_lost(transport: Literal["tcp", "udp"], tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as output:
        stream: Any = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0", "g": "25"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 2_000_000
        for number in range(50):
            pixels = picture(number, width=320, height=240)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    right = [frame.picture.rgb().astype(int) for frame in frames_of(read(clip))]
    config = QUICK.model_copy(update={"rtsp_transport": transport})
    with LossyCamera(clip, 25, 0.02, udp=transport == "udp") as camera, Watcher(camera.url, config=config) as watcher:
        watcher.more_frames(100)
    frames = [frame for _, frame in watcher.frames]
    bad = [
        np.abs(frame.picture.rgb() - right[round((frame.pts_s or 0) * 25) % 50]).mean() > 2 * SMEARED
        for frame in frames
    ]
    assert camera.lost > 0
    assert sum(bad) > 5
    assert [
        frame.pts_s for frame, smeared in zip(frames, bad, strict=True) if smeared and not frame.picture_damaged
    ] == []
    assert [frame.pts_s for frame in frames if frame.picture_damaged and (frame.pts_s or 0) < 0.9] == []


def test_frame_numbers_that_never_follow_mean_nothing() -> None:
    """Some cameras count otherwise. The decoder is not asked here: it would conceal what it takes for missing."""
    packets = [one for place, one in enumerate(coded("h264", 50, 250)) if place % 50 == 0 or place % 2]
    damage, marked = Damage(av.CodecContext.create("h264", "r")), []
    for number, one in enumerate(packets, 1):
        damage.packet(number, packet_of(one))
        marked.append(damage.suspects(number))
    assert any(marked[:60])
    assert not any(marked[-30:])


@pytest.mark.parametrize("believes", [True, False])
def test_marks_of_the_demuxer(believes: bool) -> None:
    packets = coded("h264", 25, 75)
    damage = Damage(av.CodecContext.create("h264", "r"))
    damage.believes_marks = believes
    marked = []
    for number, one in enumerate(packets):
        damage.packet(number + 1, packet_of(replace(one, corrupt=number == 23)))
        marked.append(damage.suspects(number + 1))
    assert [number for number, is_marked in enumerate(marked) if is_marked] == ([23, 24] if believes else [])
