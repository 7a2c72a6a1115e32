"""Files of any container, read for real to their last frame, and closed whoever stops."""

import threading
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from afterview.stream.ingest.sampler import Sampler
from afterview.stream.media import VideoWriter
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.reader import Ended, Event, Opened, read_events
from tests.support.clips import make_clip, picture, write_elementary
from tests.support.reading import FAST, frames_of, nearest, open_files, read
from tests.support.transport_stream import join_transport_streams


@pytest.mark.parametrize(
    ("name", "codec", "decoder"),
    [
        ("clip.mp4", "libx264", "h264"),
        ("clip.mp4", "libx265", "hevc"),
        ("clip.mov", "mjpeg", "mjpeg"),
        ("clip.mkv", "libx264", "h264"),
        ("clip.ts", "libx264", "h264"),
        ("clip.avi", "mpeg4", "mpeg4"),
        ("clip.flv", "libx264", "h264"),
        ("clip.mpg", "mpeg2video", "mpeg2video"),
        ("clip.webm", "libvpx-vp9", "vp9"),
        ("clip.gif", "gif", "gif"),
    ],
)
def test_any_container_gives_every_frame_at_its_time(tmp_path: Path, name: str, codec: str, decoder: str) -> None:
    clip = make_clip(tmp_path / name, frames=25, codec=codec)
    events = read(clip)
    assert events[0] == Opened(decoder, 160, 120, 10.0)
    assert events[-1] == Ended("end of file", frames=25)
    frames = frames_of(events)
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 10 for number in range(25)], abs=0.002)
    assert [nearest(frame, 25) for frame in frames[::8]] == [0, 8, 16, 24]


@pytest.mark.parametrize("name", ["clip.mjpeg", "clip.h264"])
def test_a_stream_without_a_container_has_its_nominal_rate(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / name, frames=50, codec="mjpeg" if name == "clip.mjpeg" else "libx264")
    sampler, events = Sampler(1), read(clip)
    assert [n for n, frame in enumerate(frames_of(events)) if sampler.admit(frame.pts_s)] == [0, 25]
    assert events[-1] == Ended("end of file; it states no frame rate: 25 per second assumed", frames=50)


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.h264", "libx264"), ("clip.hevc", "libx265"), ("clip.m2v", "mpeg2video")]
)
def test_a_stream_without_a_container_has_the_rate_that_its_video_states(tmp_path: Path, name: str, codec: str) -> None:
    rate = 24 if codec == "mpeg2video" else 10
    write_elementary(tmp_path / name, codec, rate=rate, frames=5 * rate)
    events = read(tmp_path / name)
    assert isinstance(events[0], Opened)
    assert events[0].rate == rate
    sampler = Sampler(1, nominal_rate=events[0].rate)
    chosen = [number for number, frame in enumerate(frames_of(events)) if sampler.admit(frame.pts_s)]
    assert chosen == [rate * second for second in range(5)]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_video_that_begins_after_the_sound_is_dated_from_the_start_of_the_recording(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"meeting{suffix}"
    with av.open(str(path), "w") as output:
        output.metadata["creation_time"] = "2023-11-14T22:13:20Z"  # 1_700_000_000
        video, sound = output.add_stream("libx264", rate=10), output.add_stream("aac", rate=16_000)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        sound.layout = "mono"
        for second in range(10):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 16_000, 16_000 * second
            output.mux(sound.encode(samples))
            for number in range(10 * (second >= 7)):
                frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
                frame.pts, frame.time_base = 10 * second + number, Fraction(1, 10)
                output.mux(video.encode(frame))
        output.mux([*video.encode(None), *sound.encode(None)])
    events = read(path)
    assert isinstance(events[0], Opened)
    assert events[0].delay_s == pytest.approx(7.0, abs=0.1)
    assert events[0].start_time == pytest.approx(1_700_000_007, abs=0.1)
    assert [frame.pts_s for frame in frames_of(events)][:2] == pytest.approx([0.0, 0.1])
    assert frames_of(events)[0].source_time == pytest.approx(1_700_000_007, abs=0.1)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.mp4"])
def test_two_packets_with_a_time_hours_off_change_nothing_else(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / f"right{Path(name).suffix}", frames=200)
    with av.open(str(clip)) as source, av.open(str(tmp_path / name), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if number in (70, 140):
                packet.pts += round(9800 / packet.time_base)
            packet.stream = stream
            target.mux(packet)
    events = read(tmp_path / name)
    times = [frame.pts_s for frame in frames_of(events)]
    assert times == pytest.approx([number / 10 for number in range(200)], abs=0.11)
    assert events[-1] == Ended("end of file; 2 wrong times replaced", frames=200)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.mp4"])
@pytest.mark.parametrize(("step", "pause"), [(0.1, 600.0), (20.0, 0.0)], ids=["a pause", "a time-lapse"])
def test_pauses_and_time_lapses_with_b_frames_keep_their_times(
    tmp_path: Path, name: str, step: float, pause: float
) -> None:
    times = [step * number + pause * (number >= 25) for number in range(50)]
    with VideoWriter(tmp_path / name, 160, 120, 10, options={"preset": "medium", "bf": "3"}) as video:
        for number, time in enumerate(times):
            video.write(picture(number), pts_s=time)
    events = read(tmp_path / name)
    assert [frame.pts_s for frame in frames_of(events)] == pytest.approx(times, abs=0.002)
    end = events[-1]
    assert isinstance(end, Ended)
    assert (end.reason, end.frames) == ("end of file", 50)
    if pause and not name.endswith("mp4"):  # an MP4 lists all its pictures: none is missing there
        ((begin, until),) = end.lacking.holes
        assert (begin, until) == (pytest.approx(times[24] + step, abs=0.11), pytest.approx(times[25]))
    else:
        assert end.lacking.holes == ()


def test_variable_rate_b_frames_and_a_late_start(tmp_path: Path) -> None:
    times = [5.0, 5.1, 5.15, 5.9, 6.02, 6.03, 9.5]
    with VideoWriter(tmp_path / "clip.mkv", 160, 120, 10, options={"preset": "medium", "bf": "3"}) as video:
        for number, time in enumerate(times):
            video.write(picture(number), pts_s=time)
    frames = frames_of(read(tmp_path / "clip.mkv"))
    assert [frame.pts_s for frame in frames] == pytest.approx([time - 5.0 for time in times], abs=0.002)
    assert [nearest(frame, len(times)) for frame in frames] == list(range(len(times)))


def test_the_recording_says_when_it_began(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", 160, 120, 10, start_time=1_700_000_000.25) as video:
        for number in range(3):
            video.write(picture(number))
    events = read(tmp_path / "clip.mp4")
    assert events[0] == Opened("h264", 160, 120, 10.0, start_time=pytest.approx(1_700_000_000, abs=1))
    assert [frame.source_time for frame in frames_of(events)][2] == pytest.approx(1_700_000_000.2, abs=1)
    assert frames_of(read(make_clip(tmp_path / "plain.mp4", frames=1)))[0].source_time is None


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00", "1969-12-31T23:00:00Z", "9999-12-31T23:59:59Z", "soon"])
def test_a_date_on_which_nothing_can_have_been_recorded_is_none(date: str, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as output:
        output.metadata["DATE_UTC"] = date
        stream = output.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        output.mux(stream.encode(None))
    assert read(tmp_path / "clip.mkv")[0] == Opened("mjpeg", 160, 120, 10.0, start_time=None)


def test_a_telephones_rotation_is_undone(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "upright.mp4", frames=3)
    with av.open(str(clip)) as source, av.open(str(tmp_path / "turned.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    plain, turned = (frames_of(read(path))[1].picture for path in (clip, tmp_path / "turned.mp4"))
    assert plain.rgb().shape == (120, 160, 3)
    assert turned.rgb().shape == (160, 120, 3)
    quarter = {k: np.array_equal(np.rot90(plain.rgb(), k), turned.rgb()) for k in range(4)}
    with av.open(str(tmp_path / "turned.mp4")) as container:
        degrees = next(container.decode(video=0)).rotation
    assert quarter == {k: k == degrees // 90 % 4 for k in range(4)}


def test_a_resolution_that_changes_in_mid_stream(tmp_path: Path) -> None:
    large = make_clip(tmp_path / "large.mp4", frames=20)
    small = make_clip(tmp_path / "small.mp4", frames=20, width=96, height=64)
    frames = frames_of(read(join_transport_streams(tmp_path, large, small, large)))
    assert [(frame.picture.width, frame.picture.height) for frame in frames] == [(160, 120)] * 20 + [(96, 64)] * 20 + [
        (160, 120)
    ] * 20
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 10 for number in range(60)], abs=0.002)
    assert frames[25].picture.rgb().shape == (64, 96, 3)
    assert nearest(frames[25], 20) == 5


def test_footage_is_read_to_its_last_frame(footage: Path) -> None:
    events = read(footage)
    with av.open(str(footage)) as container:
        stated = container.streams.video[0].frames
    assert events[-1] == Ended("end of file", frames=stated)
    times = [frame.pts_s for frame in frames_of(events)]
    assert times == sorted(times)


# --- stopping and closing ---


def test_stop_ends_without_a_word_and_closes_the_file(tmp_path: Path) -> None:
    clip, stop = make_clip(tmp_path / "clip.mkv", frames=100), threading.Event()
    events: list[Event] = []
    for event in read_events(parse_source(str(clip)), FAST, stop=stop):
        events.append(event)
        if len(events) == 10:
            assert str(clip) in open_files()
            stop.set()
    assert len(events) == 10
    assert str(clip) not in open_files()


def test_dropping_the_generator_closes_the_file(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=100)
    with closing(read_events(parse_source(str(clip)), FAST, stop=threading.Event())) as events:  # type: ignore[type-var]
        next(events)
        assert str(clip) in open_files()
    assert str(clip) not in open_files()
