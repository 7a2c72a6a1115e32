"""Files of any container, test pictures and HTTP, read for real; what is no video, or only part of one, is said in one line."""

import os
import socket
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest

from stream.address import SourceAddress, parse_source
from stream.backoff import BackoffConfig
from stream.errors import (
    AuthenticationFailed,
    BadUrl,
    NotAVideo,
    SourceError,
    SourceNotFound,
    SourceTimeout,
    SourceUnreachable,
)
from stream.media import VideoWriter, encode_jpeg
from stream.reader import Ended, Event, Frame, Lost, Opened, Retry, SourceConfig, read_events
from stream.sampler import Sampler
from tests.clips import make_clip, picture
from tests.conftest import shared_videos
from tests.transport_stream import join_transport_streams

ROOT = Path(__file__).parent.parent
FAST = SourceConfig(open_timeout_s=3, read_timeout_s=1, backoff=BackoffConfig(first_s=0.01, max_s=0.02))


def read(source: str | Path, **options: Any) -> list[Event]:
    """All events of a source that ends."""
    return list(read_events(parse_source(str(source)), FAST, stop=threading.Event(), **options))


def frames_of(events: list[Event]) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def nearest(frame: Frame, count: int) -> int:
    """Which picture of the test clip a decoded frame shows."""
    rgb = frame.picture.rgb().astype(int)
    size = {"width": rgb.shape[1], "height": rgb.shape[0]}
    return int(np.argmin([np.abs(rgb - picture(number, **size)).mean() for number in range(count)]))


# --- addresses ---


@pytest.mark.parametrize(
    ("text", "kind", "live", "name"),
    [
        ("rtsp://10.0.0.7:554/front/live.sdp", "rtsp", True, "live 10.0.0.7"),
        ("RTSPS://cam/door", "rtsp", True, "door cam"),
        ("https://host/a/index.m3u8?x=1", "hls", True, "index host"),
        ("http://admin:secret@cam/video.mjpg", "http", True, "video cam"),
        ("srt://:9000?mode=listener", "network", True, "srt"),
        ("lavfi:testsrc2=size=64x48:rate=5", "pattern", True, "testsrc2"),
    ],
)
def test_addresses_are_recognised(text: str, kind: str, live: bool, name: str) -> None:
    address = parse_source(text)
    assert (address.kind, address.live, address.suggested_name) == (kind, live, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("rtsp:/10.0.0.7/live", "write rtsp://host/path"),
        ("rtsp://", "no host"),
        ("rtsp:///live", "no host"),
        ("http://host:99999/", "port is not valid"),
        ("http://host:0/", "port 0"),
        ("rtsp://host/a b", "white space"),
        ("rtps://host/live", "cannot read 'rtps' addresses"),
        ("http://[::1/x", "not valid"),
        ("lavfi:", "names no picture"),
    ],
)
def test_malformed_addresses_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadUrl, match=said) as raised:
        parse_source(text)
    assert raised.value.exit_status == 2


def test_files_and_what_is_none(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "front door: 7.mp4", frames=2)
    for text in (str(clip), clip.as_uri()):
        assert parse_source(text) == SourceAddress("file", str(clip), str(clip), False, clip.stem)
    (tmp_path / "empty.mp4").touch()
    for text, kind, said in [
        (str(tmp_path / "missing.mp4"), SourceNotFound, "no such file"),
        (str(tmp_path), NotAVideo, "folder"),
        (str(tmp_path / "empty.mp4"), NotAVideo, "empty"),
        ("/dev/video99", SourceNotFound, "no such device"),
        ("a\0b", SourceNotFound, "no such file"),
        ("~nobody-of-that-name/x.mp4", SourceNotFound, "no such file"),
    ]:
        with pytest.raises(kind, match=said) as raised:
            parse_source(text)
        assert raised.value.exit_status == 2


# --- files ---


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
    sampler = Sampler(1)
    assert [n for n, frame in enumerate(frames_of(read(clip))) if sampler.admit(frame.pts_s)] == [0, 25]


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


@pytest.mark.parametrize("video", shared_videos(), ids=lambda path: path.stem)
def test_real_footage_is_read_to_its_last_frame(video: Path) -> None:
    events = read(video)
    with av.open(str(video)) as container:
        stated = container.streams.video[0].frames
    assert events[-1] == Ended("end of file", frames=stated)
    times = [frame.pts_s for frame in frames_of(events)]
    assert times == sorted(times)


# --- damage ---


def test_a_file_cut_off_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=100)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    events = read(cut)
    frames = frames_of(events)
    assert 30 < len(frames) < 70
    assert nearest(frames[20], 100) == 20
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert "before its stated length" in ended.reason
    assert float(ended.reason.split("stops ")[1].split(" s")[0]) == pytest.approx(10 - len(frames) / 10, abs=0.2)


def test_an_mp4_without_its_index_is_no_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=50)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(NotAVideo, match=r"cut\.mp4: not a video, or damaged") as raised:
        read(cut)
    assert raised.value.exit_status == 2


def spoil(clip: Path, spoilt: Path, packets: set[int]) -> None:
    """Copy a clip with the payload of some packets overwritten by noise."""
    data, noise = bytearray(clip.read_bytes()), np.random.default_rng(0)
    with av.open(str(clip)) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in packets and packet.pos is not None:
                start = data.index(bytes(packet))
                data[start : start + packet.size] = noise.integers(0, 256, packet.size, dtype=np.uint8).tobytes()
    spoilt.write_bytes(data)


@pytest.mark.parametrize(("suffix", "codec"), [("webm", "libvpx-vp9"), ("avi", "mpeg4"), ("mp4", "libx265")])
def test_damaged_packets_are_skipped_and_counted(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = make_clip(tmp_path / f"clip.{suffix}", frames=60, codec=codec)
    spoilt = tmp_path / f"spoilt.{suffix}"
    spoil(clip, spoilt, {23, 24, 25, 26, 27})
    events = read(spoilt)
    ended, frames = events[-1], frames_of(events)
    assert isinstance(ended, Ended)
    assert 1 <= ended.damaged <= 10
    assert f"{ended.damaged} damaged packet" in ended.reason
    assert frames[-1].damaged == ended.damaged
    assert frames[0].damaged == 0
    assert nearest(frames[-1], 60) == 59  # good again after the next key frame


def test_a_file_of_which_nothing_can_be_decoded_is_no_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.webm", frames=30, codec="libvpx-vp9")
    spoil(clip, tmp_path / "spoilt.webm", set(range(30)))
    with pytest.raises(NotAVideo, match=r"not one picture .*30 damaged packets"):
        read(tmp_path / "spoilt.webm")


def test_sound_text_and_cover_pictures_are_no_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    (tmp_path / "notes.txt").write_text("line one\nline two\n" * 50)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes())
    write_song_with_cover(tmp_path / "song.mp4")
    for name, said in [
        ("sound.wav", "only sound or text"),
        ("notes.txt", "only sound or text"),
        ("noise.mp4", "not a video"),
        ("song.mp4", "only a cover picture"),
    ]:
        with pytest.raises(NotAVideo, match=said) as raised:
            read(tmp_path / name)
        assert str(raised.value).startswith(str(tmp_path / name))


def write_song_with_cover(path: Path) -> None:
    cover = av.Packet(encode_jpeg(picture(1), 120))
    with av.open(str(path), "w") as target:
        sound = target.add_stream("aac", rate=8000)
        image = target.add_stream("mjpeg", rate=1)
        image.width, image.height, image.pix_fmt = 160, 120, "yuvj420p"
        image.disposition = av.stream.Disposition.attached_pic
        for number in range(8):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 8000, 1024 * number
            target.mux(sound.encode(samples))
        target.mux(sound.encode(None))
        cover.stream, cover.pts, cover.dts, cover.time_base = image, 0, 0, image.time_base
        target.mux(cover)


def test_nothing_is_written_on_standard_error_by_the_libraries(tmp_path: Path) -> None:
    spoil(make_clip(tmp_path / "clip.mp4", frames=30), tmp_path / "spoilt.mp4", set(range(3, 12)))
    script = (
        "import sys, threading, numpy as np\n"
        "from stream.address import parse_source; from stream.media import VideoWriter; from stream.reader import *\n"
        "with VideoWriter(sys.argv[2], 64, 48, 10, 'libx265') as video: video.write(np.zeros((48, 64, 3), np.uint8))\n"
        "print(sum(1 for _ in read_events(parse_source(sys.argv[1]), SourceConfig(), stop=threading.Event())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "spoilt.mp4", tmp_path / "new.mp4"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 2


# --- stopping and closing ---


def open_files() -> set[str]:
    return {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    }


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


# --- test pictures, a live source without hardware; time is injected ---


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def test_test_pictures_come_in_real_time_and_their_end_is_a_failure_to_recover_from() -> None:
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    source = parse_source("lavfi:testsrc2=size=64x48:rate=10:duration=1")
    config = SourceConfig(backoff=BackoffConfig(first_s=3, max_s=60, jitter=0, healthy_s=0.5))
    for event in read_events(source, config, stop=stop, clock=lambda: fake.now + 1e9, monotonic=fake, sleep=fake.sleep):
        events.append(event)
        if len(frames_of(events)) == 21:
            stop.set()
    kinds = [type(event) for event in events]
    assert kinds == [Opened, *[Frame] * 10, Lost, Retry, Opened, *[Frame] * 10, Lost, Retry, Opened, Frame]
    first = frames_of(events)[:10]
    assert [frame.arrival_time - 1e9 - 1000 for frame in first] == pytest.approx([number / 10 for number in range(10)])
    assert [frame.pts_s for frame in first] == pytest.approx([number / 10 for number in range(10)])
    assert {frame.source_time for frame in first} == {None}
    assert fake.slept[9] == 3  # after nine waits between ten frames
    assert [event.attempt for event in events if isinstance(event, Retry)] == [
        1,
        1,
    ]  # a second of pictures is healthy here


def test_a_picture_graph_that_is_none_is_refused() -> None:
    with pytest.raises(BadUrl, match="does not accept this picture graph"):
        read("lavfi:nonesuch=1")


def test_a_device_that_is_no_camera_is_unreachable() -> None:
    with pytest.raises(SourceUnreachable, match="/dev/null: the device cannot be opened"):
        read("/dev/null")


# --- HTTP ---


class Server(BaseHTTPRequestHandler):
    """Files, MJPEG in the way of cheap cameras, and refusals."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        status = {"/secret": 401, "/forbidden": 403, "/broken": 500}.get(self.path, 200)
        if self.path == "/mjpeg":
            self._motion_jpeg()
            return
        if self.path == "/endless.ts":
            self._endless()
            return
        body = self.files.get(self.path, b"")
        self.send_response(404 if status == 200 and not body else status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        """States no length, and ends all the same."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.files[self.path])

    def _motion_jpeg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in range(12):
                image = encode_jpeg(picture(number), 120)
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(image), image)
                )
                self.wfile.flush()
                threading.Event().wait(0.1)
        except OSError:
            pass  # the reader has seen enough

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def http_server(files: dict[str, bytes] | None = None) -> Iterator[str]:
    handler = type("Handler", (Server,), {"files": files or {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_motion_jpeg_over_http_is_stamped_as_it_arrives() -> None:
    with http_server() as url:
        stop, frames = threading.Event(), list[Frame]()
        for event in read_events(parse_source(f"{url}/mjpeg"), FAST, stop=stop):
            if isinstance(event, Frame):
                frames.append(event)
            if len(frames) == 9:
                stop.set()
    assert frames[0].pts_s == 0.0
    spacing = (frames[8].pts_s or 0) / 8
    assert 0.05 < spacing < 0.2  # made-up times would say 0.04
    assert nearest(frames[4], 12) == nearest(frames[0], 12) + 4


def test_a_recording_over_http_comes_at_its_own_pace_and_ends(tmp_path: Path) -> None:
    clip, fake = make_clip(tmp_path / "clip.mp4", frames=30), FakeTime()
    with http_server({"/clip.mp4": clip.read_bytes()}) as url:
        events = read(f"{url}/clip.mp4", monotonic=fake, sleep=fake.sleep, clock=fake)
    assert events[-1] == Ended("end of file", frames=30)
    assert sum(fake.slept) == pytest.approx(2.9, abs=0.01)


def test_a_live_stream_whose_codec_changes_is_connected_to_anew(tmp_path: Path) -> None:
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    before = make_clip(tmp_path / "before.mp4", frames=20)
    after = make_clip(tmp_path / "after.mp4", frames=80, codec="libx265")
    files = {"/endless.ts": join_transport_streams(tmp_path, before, after).read_bytes()}
    with http_server(files) as url:
        for event in read_events(parse_source(f"{url}/endless.ts"), FAST, stop=stop, sleep=fake.sleep):
            events.append(event)
            if isinstance(event, Retry):  # by now the camera sends the new codec only
                files["/endless.ts"] = join_transport_streams(tmp_path, after).read_bytes()
            if isinstance(event, Opened) and event.codec == "hevc":
                stop.set()
    lost = next(event for event in events if isinstance(event, Lost))
    assert "perhaps its codec changed" in lost.reason
    assert lost.damaged > 50
    assert [event.codec for event in events if isinstance(event, Opened)] == ["h264", "hevc"]


@pytest.mark.parametrize(
    ("path", "kind", "said", "status"),
    [
        ("/none.mp4", SourceNotFound, "404", 2),
        ("/none.m3u8", SourceNotFound, "404", 2),
        ("/secret", AuthenticationFailed, "asks for a password", 2),
        ("/forbidden", AuthenticationFailed, "asks for a password", 2),
        ("/page.html", NotAVideo, "not a video", 2),
        ("/broken", SourceUnreachable, "cannot be reached", 1),
    ],
)
def test_refusals_over_http(path: str, kind: type[SourceError], said: str, status: int) -> None:
    with http_server({"/page.html": b"<html>no video</html>" * 100}) as url, pytest.raises(kind, match=said) as raised:
        read(url + path)
    assert raised.value.exit_status == status


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers_is_given_up_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = SourceConfig(open_timeout_s=0.5, read_timeout_s=0.5)
        address = parse_source(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(SourceTimeout, match=r"no answer within 0\.5 s") as raised:
            list(read_events(address, config, stop=threading.Event()))
    assert raised.value.exit_status == 1


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/x.m3u8", "rtmp://127.0.0.1:1/x"])
def test_an_unreachable_host_is_a_failure_not_a_mistake(url: str) -> None:
    with pytest.raises(SourceUnreachable, match="Connection refused") as raised:
        read(url)
    assert raised.value.exit_status == 1


def test_with_patience_an_unreachable_host_is_tried_for_ever() -> None:
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    config = SourceConfig(backoff=BackoffConfig(first_s=1, max_s=8, jitter=0))
    for event in read_events(
        parse_source("rtsp://127.0.0.1:1/x"),
        config,
        stop=stop,
        keep_trying=True,
        monotonic=fake,
        sleep=fake.sleep,
        clock=lambda: 5.0,
    ):
        events.append(event)
        if len(events) == 8:
            stop.set()
    assert isinstance(events[0], Lost)
    assert events[0].at == 5.0
    assert [(event.attempt, event.delay_s) for event in events[1:] if isinstance(event, Retry)] == [
        (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (6, 8), (7, 8)
    ]  # fmt: skip
