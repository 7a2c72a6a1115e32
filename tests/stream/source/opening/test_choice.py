"""The choice of the video stream: never a still picture, the default, else the largest; the others are neither demuxed nor fetched."""

import io
import threading
from collections import Counter
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from afterview.stream.errors import NotAVideo
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.connection import Connection
from afterview.stream.source.offered import OfferedStream, describe_streams
from afterview.stream.source.opening.choice import discard_others
from afterview.stream.source.opening.first_picture import remember_far
from afterview.stream.source.opening.stated_size import stated_size
from afterview.stream.source.probe import probe
from afterview.stream.source.reader import Opened, SourceConfig, read_events
from tests.support.clips import make_clip, picture
from tests.support.hls_variants import VariantsServer
from tests.support.reading import FAST, frames_of, nearest, read
from tests.support.rtsp_tracks import TracksCamera
from tests.support.several_streams import Track, join_programs, write_tracks
from tests.support.watching import QUICK, Watcher

SMALL, LARGE = Track(64, 48), Track(160, 120)
DEFAULT, NONE = Disposition.default, Disposition(0)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def opened(path: Path) -> Opened:
    """A file that is read to its end, with all pictures of the stream that was used."""
    events = read(path)
    frames = frames_of(events)
    assert len(frames) == 40
    assert [nearest(frame, 40) for frame in frames[::9]] == [0, 9, 18, 27, 36]
    assert isinstance(events[0], Opened)
    return events[0]


def size(path: Path) -> tuple[int, int]:
    event = opened(path)
    return event.width, event.height


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts"])
@pytest.mark.parametrize("first", [True, False])
def test_a_thumbnail_larger_than_the_video_is_not_recorded(tmp_path: Path, suffix: str, first: bool) -> None:
    thumbnail = Track(320, 240, "libx264" if suffix == "ts" else "mjpeg", count=1, disposition=DEFAULT)
    tracks = [thumbnail, LARGE] if first else [LARGE, thumbnail]
    event = opened(write_tracks(tmp_path / f"clip.{suffix}", tracks))
    assert (event.width, event.height) == (160, 120)
    assert [stream.still for stream in event.offered] == (["still picture", ""] if first else ["", "still picture"])
    assert describe_streams(event.offered) == ""


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_over_http_the_container_says_what_does_not_move(tmp_path: Path, suffix: str) -> None:
    tracks = [Track(320, 240, "mjpeg", count=1, disposition=DEFAULT), LARGE]
    write_tracks(tmp_path / f"clip.{suffix}", tracks, options={"movflags": "faststart"} if suffix == "mp4" else {})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Watcher(f"http://127.0.0.1:{server.server_address[1]}/clip.{suffix}") as watch:
            watch.more_frames(3)
        server.shutdown()
    assert watch.of(Opened) == [Opened("h264", 160, 120, 10.0)]


def test_thumbnails_every_few_seconds_are_not_recorded(tmp_path: Path) -> None:
    thumbnails = Track(320, 240, "mjpeg", every=20)
    assert size(write_tracks(tmp_path / "clip.mkv", [thumbnails, LARGE], seconds=4)) == (160, 120)


def test_the_largest_of_several_versions_is_recorded_and_the_others_are_named(tmp_path: Path) -> None:
    for suffix in ("mp4", "mkv", "ts", "avi"):
        event = opened(write_tracks(tmp_path / f"clip.{suffix}", [SMALL, LARGE, SMALL]))
        assert event.offered == (
            OfferedStream(0, "h264", 64, 48, used=False),
            OfferedStream(1, "h264", 160, 120, used=True),
            OfferedStream(2, "h264", 64, 48, used=False),
        )
        named = "3 video streams: 0: h264 64x48, 1: h264 160x120 (used), 2: h264 64x48"
        assert describe_streams(event.offered) == named


def test_the_default_is_recorded_though_another_is_larger(tmp_path: Path) -> None:
    mine, other = SMALL._replace(disposition=DEFAULT), LARGE._replace(disposition=NONE)
    assert size(write_tracks(tmp_path / "second.mkv", [other, mine])) == (64, 48)
    assert size(write_tracks(tmp_path / "second.mp4", [other, mine])) == (64, 48)
    assert size(write_tracks(tmp_path / "first.mkv", [mine, other])) == (64, 48)
    assert size(write_tracks(tmp_path / "all.mp4", [mine, other._replace(disposition=DEFAULT)])) == (160, 120)
    # FFmpeg's muxer enables the first video of an MP4 by itself; another program's file means it.
    assert size(write_tracks(tmp_path / "muxer.mp4", [SMALL, LARGE])) == (160, 120)
    assert size(write_tracks(tmp_path / "first.mp4", [mine, other], options={"fflags": "+bitexact"})) == (64, 48)


def test_a_stream_is_taken_by_its_number(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "clip.mp4", [LARGE, SMALL, Track(96, 64, "mjpeg", count=1)])
    address = parse_source(str(path))
    for number, width in ((0, 160), (1, 64)):
        config = FAST.model_copy(update={"stream": number})
        with Connection(address, config, wait=lambda _: None) as connection:
            assert [stream.used for stream in connection.offered] == [number == 0, number == 1, False]
            assert connection.offered[number].width == width
    with pytest.raises(NotAVideo) as raised:
        Connection(address, SourceConfig(stream=3), wait=lambda _: None)
    assert str(raised.value) == (
        f"{path}: video stream 3 cannot be recorded; it has 3 video streams: "
        "0: h264 160x120, 1: h264 64x48, 2: mjpeg 96x64 (still picture)"
    )


def test_a_cover_picture_is_refused_and_the_only_still_is_recorded(tmp_path: Path) -> None:
    only = write_tracks(tmp_path / "only.mkv", [Track(96, 64, "mjpeg", count=1)])
    assert len(frames_of(read(only))) == 1
    cover = Track(96, 64, "mjpeg", count=1, disposition=Disposition.attached_pic)
    path = write_tracks(tmp_path / "cover.mp4", [LARGE, cover])
    assert size(path) == (160, 120)
    with pytest.raises(NotAVideo, match=r"1 cannot be recorded; .* 1: mjpeg 96x64 \(cover picture\)"):
        Connection(parse_source(str(path)), SourceConfig(stream=1), wait=lambda _: None)


@pytest.mark.parametrize("chosen", [None, 0, 1])
def test_a_program_of_a_multiplex(tmp_path: Path, chosen: int | None) -> None:
    clips = [make_clip(tmp_path / f"{width}.mp4", frames=40, width=width, height=96) for width in (96, 128)]
    path = join_programs(tmp_path / "multiplex.ts", clips)
    config = FAST.model_copy(update={"stream": chosen})
    with Connection(parse_source(str(path)), config, wait=lambda _: None) as connection:
        assert [stream.width for stream in connection.offered] == [96, 128]
        assert [stream.used for stream in connection.offered] == [chosen == 0, chosen != 0]
        packets = Counter(packet.stream_index for packet in connection._container.demux() if packet.size)
    assert packets[0 if chosen == 0 else 1] == 40
    assert packets[1 if chosen == 0 else 0] == 0


@pytest.mark.parametrize("number", [None, 0])
def test_one_variant_of_hls_is_fetched_and_no_sound_of_its_own(number: int | None) -> None:
    config = QUICK.model_copy(update={"read_timeout_s": 3.0, "stream": number})
    used = "low" if number == 0 else "high"
    sizes = {"low": (64, 48), "high": (160, 120), "middle": (96, 72)}
    with VariantsServer(sizes, 12, sound=True) as server, Watcher(server.url, config=config) as watch:
        watch.more_frames(5)
        first = server.fetched.copy()
        watch.more_frames(30)
        later = server.fetched - first
    assert watch.of(Opened) == [Opened("h264", *sizes[used], 10.0)]
    assert set(later) == {used}
    assert later[used] >= 2


@pytest.mark.parametrize("number", [None, 0])
def test_the_larger_of_two_rtsp_tracks(tmp_path: Path, number: int | None) -> None:
    clips = [make_clip(tmp_path / f"{width}.mp4", frames=60, width=width, height=96) for width in (96, 160)]
    config = QUICK.model_copy(update={"stream": number})
    with TracksCamera(clips, 10) as camera, Watcher(camera.url, config=config) as watch:
        watch.more_frames(15)
    assert watch.of(Opened) == [Opened("h264", 96 if number == 0 else 160, 96, 10.0)]
    assert [nearest(frame, 60) for _, frame in watch.frames[:15:7]] == [0, 7, 14]
    times = [frame.pts_s for _, frame in watch.frames[:15]]
    assert times == pytest.approx([step / 10 for step in range(15)])


def test_rtsp_tracks_whose_pictures_nobody_has_seen_yet(tmp_path: Path) -> None:
    """An address whose key frames are far apart is opened without a look at them; the description states the sizes."""
    clips = [make_clip(tmp_path / f"{width}.mp4", frames=60, width=width, height=90) for width in (96, 160)]
    with TracksCamera(clips, 10, joined_at=15) as camera:
        remember_far(camera.url)
        with Watcher(camera.url) as watch:
            watch.more_frames(3)
    (event,) = watch.of(Opened)
    assert isinstance(event, Opened)
    assert (event.width, event.height) == (160, 90)
    assert [(stream.width, stream.height) for stream in event.offered] == [(96, 90), (160, 90)]


@pytest.mark.parametrize(
    ("codec", "pixels", "options"),
    [
        ("libx264", "yuv420p", {}),
        ("libx264", "yuv420p", {"x264-params": "interlaced=1"}),
        ("libx264", "yuv422p", {}),
        ("libx264", "yuv444p", {}),
        ("libx265", "yuv420p", {"x265-params": "log-level=-1"}),
    ],
)
def test_parameter_sets_state_the_size(codec: str, pixels: str, options: dict[str, str]) -> None:
    data = io.BytesIO()
    with av.open(data, "w", format="hevc" if codec == "libx265" else "h264") as output:
        encoder = output.add_stream(codec, rate=10, options=options)
        assert isinstance(encoder, av.VideoStream)
        encoder.width, encoder.height, encoder.pix_fmt = 178, 148, pixels
        frame = av.VideoFrame.from_ndarray(picture(0, width=178, height=148), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        output.mux([*encoder.encode(frame), *encoder.encode(None)])
    stream: Any = SimpleNamespace(codec_context=SimpleNamespace(
        name="hevc" if codec == "libx265" else "h264", width=0, height=0, extradata=data.getvalue()
    ))  # fmt: skip
    assert stated_size(stream) == (178, 148)
    stream.codec_context.extradata = None
    assert stated_size(stream) == (0, 0)


def test_a_source_of_single_pictures_has_one_stream(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "now.jpg")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = parse_source(f"http://127.0.0.1:{server.server_address[1]}/now.jpg")
        config = FAST.model_copy(update={"stream": 1})
        for attempt in (
            lambda: probe(address, config),
            lambda: list(read_events(address, config, stop=threading.Event())),
        ):
            with pytest.raises(
                NotAVideo, match="video stream 1 cannot be recorded; it sends single pictures, which are stream 0"
            ):
                attempt()
        server.shutdown()


def test_sound_is_demuxed_of_live_sources_only(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w") as output:
        video, sound = output.add_stream("libx264", rate=10), output.add_stream("mp2", rate=16_000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound.layout = "mono"
        for second in range(2):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 16_000, 16_000 * second
            output.mux(sound.encode(samples))
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(picture(number, width=64, height=48), format="rgb24")
                frame.pts, frame.time_base = 10 * second + number, Fraction(1, 10)
                output.mux(video.encode(frame))
        output.mux([*video.encode(None), *sound.encode(None)])
    with Connection(parse_source(str(path)), FAST, wait=lambda _: None) as connection:
        kinds = Counter(packet.stream.type for packet in connection._container.demux() if packet.size)
    assert kinds == {"video": 20}
    with av.open(str(path)) as live:
        discard_others(live, live.streams.video[0], hear=True)
        kinds = Counter(packet.stream.type for packet in live.demux() if packet.size)
    assert kinds["audio"] > 20
