"""Live HLS against a real server process over HTTP: the file's frames, a dying and a freezing server, another codec, the end."""

import time
from pathlib import Path

import numpy as np
import pytest

from afterview.stream.errors import AuthenticationFailed
from afterview.stream.media import VideoWriter
from afterview.stream.source.reader import Lost, Opened, Retry
from afterview.stream.testing.serve import main as serve
from tests.support.clips import make_clip, picture
from tests.support.servers import HlsServer
from tests.support.watching import QUICK, Watcher, assert_same_frames, samples_of_file

pytestmark = pytest.mark.integration

# Segments last a second and are looked for every half: silence is normal for up to 1.5 s.
PATIENT = QUICK.model_copy(update={"read_timeout_s": 2.0})


def broadcast(path: Path, *, codec: str = "libx264", width: int = 160, height: int = 120) -> Path:
    """Four seconds with a key frame every second, where HLS begins its segments."""
    with VideoWriter(path, width, height, 10, codec, {"g": "10"}) as video:
        for number in range(40):
            video.write(picture(number, width=width, height=height))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return broadcast(tmp_path_factory.mktemp("hls") / "clip.mp4")


def test_live_gives_the_very_frames_of_the_file_until_its_end(clip: Path) -> None:
    with HlsServer(clip) as server, Watcher(server.url, config=PATIENT, fps=5) as watch:
        watch.until(lambda: len(watch.of(Retry)) >= 2)
    assert_same_frames(watch.samples, samples_of_file(clip, fps=5))  # it joined at the first segment
    assert watch.of(Opened) == [Opened("h264", 160, 120, 10.0)]
    assert "the stream ended" in str(watch.of(Lost)[0])
    assert "became a finished recording" in str(watch.of(Retry)[1])  # a live source is never done: it may come back


def test_a_late_client_joins_at_the_newest_segment(clip: Path) -> None:
    with HlsServer(clip, loop=True) as server:
        with Watcher(server.url, config=PATIENT) as first:
            first.more_frames(15)
        with Watcher(server.url, config=PATIENT) as late:
            late.more_frames(1)
    stored = [pixels for _, pixels in samples_of_file(clip, fps=10)]
    joined = [number for number, pixels in enumerate(stored) if np.array_equal(pixels, late.samples[0][1])]
    assert joined[0] >= 10
    assert joined[0] % 10 == 0  # a key frame


def test_a_killed_server_is_reconnected_to_even_with_another_codec(clip: Path, tmp_path: Path) -> None:
    other = broadcast(tmp_path / "other.mp4", codec="libx265", width=96, height=64)
    with HlsServer(clip, loop=True) as server, Watcher(server.url, config=PATIENT) as watch:
        watch.more_frames(2)
        server.kill()
        killed = time.monotonic()
        watch.until(lambda: len(watch.of(Retry)) >= 2)
        assert watch.events[1][0] - killed < PATIENT.read_timeout_s + 0.5
        server.restart(other)
        watch.more_frames(5)
    assert watch.kinds() == ["Opened", "Lost", "Retry", "Opened"]
    assert watch.of(Opened)[1] == Opened("hevc", 96, 64, 10.0)
    assert watch.frames[-1][1].picture.rgb().shape == (64, 96, 3)


def test_a_frozen_server_is_noticed_within_the_read_timeout_and_stop_is_honoured(clip: Path) -> None:
    with HlsServer(clip, loop=True) as server, Watcher(server.url, config=PATIENT) as watch:
        watch.more_frames(2)
        server.freeze()
        frozen = time.monotonic()
        watch.until(lambda: watch.of(Lost))
        assert watch.events[1][0] - frozen < PATIENT.read_timeout_s + 0.5
        server.thaw()
        watch.until(lambda: len(watch.of(Opened)) == 2)
        server.freeze()
        assert watch.stop() < PATIENT.read_timeout_s + 0.5


def test_passwords(clip: Path) -> None:
    with HlsServer(clip, user="guard", password="right") as server:
        for url in (server.url, server.url_with("guard", "wrong")):
            with Watcher(url) as watch:
                assert watch.until_error(5)
            assert isinstance(watch.error, AuthenticationFailed)
        with Watcher(server.url_with("guard", "right"), config=PATIENT) as watch:
            watch.more_frames(3)


def test_the_server_refuses_what_it_cannot_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "clip.webm", frames=3, codec="libvpx-vp9")
    assert serve(["--hls", str(clip)]) == 1
    assert "not vp9" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("no video")
    assert serve(["--hls", str(tmp_path / "notes.txt")]) == 2
    assert "holds no video" in capsys.readouterr().err
