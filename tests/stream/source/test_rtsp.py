"""RTSP against a real server process: the very frames of the file, and what happens when the server dies, freezes or changes."""

import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from afterview.stream.errors import AuthenticationFailed, SourceError, SourceNotFound
from afterview.stream.media import VideoWriter
from afterview.stream.source.reader import Lost, Opened, Retry
from afterview.stream.testing.serve import main as serve
from tests.support.clips import make_clip, picture
from tests.support.servers import RtspServer, need_rtsp
from tests.support.transport_stream import join_transport_streams
from tests.support.watching import QUICK, Watcher, assert_same_frames, samples_of_file

pytestmark = pytest.mark.integration

PATIENT = QUICK.model_copy(update={"read_timeout_s": 4.0})
RATE = 20  # frames per second of the clips
FPS = 5.0  # sampled per second: many samples in few seconds of live stream


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("rtsp") / "clip.mp4", frames=40, rate=RATE)


def test_live_gives_the_very_frames_of_the_file_over_tcp_and_udp(clip: Path) -> None:
    udp = QUICK.model_copy(update={"rtsp_transport": "udp"})
    with (
        RtspServer(clip) as server,
        Watcher(server.url, fps=FPS) as first,
        Watcher(server.url, fps=FPS, config=udp) as second,
    ):
        for watch in (first, second):
            watch.until(lambda watch=watch: watch.of(Lost))  # type: ignore[misc]
    for watch in (first, second):
        assert_same_frames(watch.samples, samples_of_file(clip, FPS))
        assert watch.of(Opened)[0] == Opened("h264", 160, 120, RATE)
        took = watch.frames[-1][0] - watch.frames[20][0]
        assert took == pytest.approx((len(watch.frames) - 21) / RATE, abs=0.4)  # in real time
    assert len(first.frames) == 40
    assert len(second.frames) >= 38  # over UDP the server's goodbye may overtake the last frames


def test_pictures_that_nobody_needs_are_not_decoded(tmp_path: Path) -> None:
    """With and without B-frames. The frames and their times are the same, and they come no later than their group of pictures."""
    for frames_between in (0, 2):
        clip = tmp_path / f"{frames_between}.mp4"
        options = {"preset": "veryfast", "g": "10", "bf": str(frames_between)}
        with VideoWriter(clip, 160, 120, RATE, options=options) as video:
            for number in range(60):
                video.write(picture(number))
        with (
            RtspServer(clip) as server,
            Watcher(server.url, fps=2.0, config=PATIENT, lazy=True) as lazy,
            Watcher(server.url, fps=2.0, config=PATIENT) as full,
        ):
            for watch in (lazy, full):
                watch.until(lambda watch=watch: watch.of(Lost))  # type: ignore[misc]
        assert_same_frames(lazy.samples, samples_of_file(clip, 2.0))
        assert len(lazy.passed) > 30
        assert len(lazy.passed) + len(lazy.frames) == len(full.frames) == 60
        arrivals = {frame.pts_s: frame.arrival_time for _, frame in full.frames}
        for _, frame in lazy.frames[5:]:
            assert frame.arrival_time == pytest.approx(arrivals[frame.pts_s], abs=0.15)


def test_live_gives_the_very_frames_of_pictures_in_several_slices(tmp_path: Path) -> None:
    """Most cameras cut a picture into slices; each must come as one picture, the first of a connection and every key frame too."""
    clip = tmp_path / "clip.mp4"
    with VideoWriter(
        clip, 160, 120, RATE, options={"preset": "ultrafast", "x264-params": "slices=3", "g": "10"}
    ) as video:
        for number in range(30):
            video.write(picture(number))
    with RtspServer(clip) as server, Watcher(server.url, fps=RATE, config=PATIENT) as watch:
        watch.until(lambda: watch.of(Lost))
    assert_same_frames(watch.samples, samples_of_file(clip, RATE))


def test_live_gives_the_very_frames_of_b_frames_at_a_variable_rate(tmp_path: Path) -> None:
    """The first interval is long: the lost stamp of the first RTSP picture must not be guessed from the nominal rate."""
    clip, times = tmp_path / "clip.mp4", [0.0, 0.35, 0.41, 0.6, 0.62, 0.97, 1.3, 1.31, 1.8, 2.3, 2.4]
    with VideoWriter(clip, 160, 120, 10, options={"preset": "medium", "bf": "3"}) as video:
        for number, pts_s in enumerate(times):
            video.write(picture(number), pts_s=pts_s)
    with RtspServer(clip) as server, Watcher(server.url, fps=FPS, config=PATIENT) as watch:
        watch.until(lambda: watch.of(Lost))
    assert_same_frames(watch.samples, samples_of_file(clip, FPS))


def test_footage_live_gives_the_very_frames_of_the_file(footage: Path) -> None:
    with RtspServer(footage) as server, Watcher(server.url, fps=FPS, config=PATIENT) as watch:
        watch.until(lambda: len(watch.samples) >= 12)
        watch.stop()
    assert_same_frames(watch.samples, samples_of_file(footage, FPS)[: len(watch.samples)])


def test_every_client_starts_at_the_first_frame_and_a_loop_has_no_seam(clip: Path) -> None:
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as first:
        first.more_frames(15)
        with Watcher(server.url) as second:
            second.more_frames(5)
        first.until(lambda: len(first.frames) >= 48)
    assert np.array_equal(first.samples[0][1], second.samples[0][1])
    assert [frame.pts_s for _, frame in first.frames] == pytest.approx(
        [n / RATE for n in range(len(first.frames))], abs=0.001
    )
    assert np.array_equal(first.frames[42][1].picture.rgb(), first.frames[2][1].picture.rgb())


def test_the_cameras_clock_is_known_from_its_reports(clip: Path) -> None:
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as watch:
        watch.until(lambda: watch.frames and watch.frames[-1][1].source_time)
    last = watch.frames[-1][1]
    assert last.source_time == pytest.approx(time.time(), abs=2)
    assert watch.frames[0][1].source_time is None  # reports come after the first seconds


def test_a_killed_server_is_noticed_at_once_and_reconnected_to(clip: Path) -> None:
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as watch:
        watch.more_frames(8)
        server.kill()
        killed = time.monotonic()
        watch.until(lambda: len(watch.of(Retry)) >= 2)
        assert watch.events[1][0] - killed < 0.5
        server.restart()
        watch.until(lambda: len(watch.of(Opened)) == 2)
        watch.more_frames(5)
    assert watch.kinds() == ["Opened", "Lost", "Retry", "Opened"]
    assert len(watch.of(Lost)) == 1
    attempts = [event.attempt for event in watch.of(Retry) if isinstance(event, Retry)]
    assert attempts == list(range(1, len(attempts) + 1))


def test_a_frozen_server_is_noticed_within_the_read_timeout(clip: Path) -> None:
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as watch:
        watch.more_frames(15)
        server.freeze()
        frozen = time.monotonic()
        watch.until(lambda: watch.of(Lost))
        assert watch.events[1][0] - frozen < QUICK.read_timeout_s + 0.4
        assert "no data for 1 s" in str(watch.of(Lost)[0])
        server.thaw()
        watch.until(lambda: len(watch.of(Opened)) == 2)


def test_stop_is_honoured_within_the_read_timeout_by_a_frozen_server(clip: Path) -> None:
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as watch:
        watch.more_frames(5)
        assert watch.stop() < 0.4  # frames come twenty times a second
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as watch:
        watch.more_frames(5)
        server.freeze()
        assert watch.stop() < QUICK.read_timeout_s + 0.4
    assert watch.kinds() == ["Opened"]


def test_another_codec_and_size_after_a_restart_go_on(clip: Path, tmp_path: Path) -> None:
    other = make_clip(tmp_path / "other.mp4", frames=40, width=96, height=64, codec="libx265", rate=RATE)
    with RtspServer(clip, loop=True) as server, Watcher(server.url) as watch:
        watch.more_frames(8)
        server.restart(other)
        watch.until(lambda: len(watch.of(Opened)) == 2)
        watch.more_frames(3)
    assert watch.of(Opened) == [Opened("h264", 160, 120, RATE), Opened("hevc", 96, 64, RATE)]
    assert watch.frames[-1][1].picture.rgb().shape == (64, 96, 3)
    assert [slot for slot, _ in watch.samples] == sorted({slot for slot, _ in watch.samples})


def test_another_resolution_in_mid_stream_goes_on_in_the_same_connection(clip: Path, tmp_path: Path) -> None:
    parts = [make_clip(tmp_path / f"{width}.mp4", frames=20, width=width, height=64, rate=RATE) for width in (160, 96)]
    with RtspServer(join_transport_streams(tmp_path, *parts)) as server, Watcher(server.url) as watch:
        watch.until(lambda: watch.of(Lost))
    assert watch.kinds()[:2] == ["Opened", "Lost"]
    widths = [frame.picture.width for _, frame in watch.frames]
    assert widths == [160] * 20 + [96] * 20
    assert [frame.pts_s for _, frame in watch.frames] == pytest.approx([n / RATE for n in range(40)], abs=0.002)


def test_passwords(clip: Path) -> None:
    word = "s@cret/:?#"
    with RtspServer(clip, user="guard", password=word) as server:
        for url in (server.url, server.url_with("guard", "wrong"), server.url_with("other", quote(word, safe=""))):
            refused = first_failure(url)
            assert isinstance(refused, AuthenticationFailed)
            assert refused.exit_status == 2
            assert "wrong" not in str(refused)
        with Watcher(server.url_with("guard", quote(word, safe=""))) as watch:
            watch.more_frames(2)


def test_a_path_that_the_server_does_not_have(clip: Path) -> None:
    with RtspServer(clip) as server:
        failure = first_failure(server.url.replace("/live", "/other"))
    assert isinstance(failure, SourceNotFound)
    assert "no such stream (404)" in str(failure)


def first_failure(url: str) -> SourceError | None:
    with Watcher(url) as watch:
        assert watch.until_error(5), f"no failure; events: {watch.events}"
    return watch.error if isinstance(watch.error, SourceError) else None


def test_with_patience_a_camera_that_comes_up_later_is_found(clip: Path) -> None:
    with RtspServer(clip, loop=True) as server:
        server.kill()
        with Watcher(server.url, keep_trying=True) as watch:
            watch.until(lambda: len(watch.of(Retry)) >= 2)
            server.restart()
            watch.more_frames(3)
    assert watch.kinds() == ["Lost", "Retry", "Opened"]


def test_the_server_refuses_what_it_cannot_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_rtsp()
    clip = make_clip(tmp_path / "clip.webm", frames=3, codec="libvpx-vp9")
    assert serve(["--rtsp", str(clip)]) == 1
    assert "RTSP serves H.264 and H.265, not vp9" in capsys.readouterr().err
    (tmp_path / "notes.txt.mp4").write_text("no video")
    assert serve(["--rtsp", str(tmp_path / "notes.txt.mp4")]) == 2
    assert "holds no video" in capsys.readouterr().err
    assert serve(["--rtsp", str(tmp_path / "missing.mp4")]) == 2
    assert "no such file" in capsys.readouterr().err
