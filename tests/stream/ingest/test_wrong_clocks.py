"""Streams whose clock cannot be trusted, from their packets to the times of what is remembered, without video; and a few with it."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterview import api
from afterview.cli.main import main
from afterview.memory.base.records import TimeBasis
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.clock_change import dated_by_arrival
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.sampler import Chosen, Sampler
from afterview.stream.ingest.timeline import LiveClock
from afterview.stream.media import VideoWriter
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.clocks.outliers import Outliers, Timed
from afterview.stream.source.clocks.packet_times import LiveLine
from afterview.stream.source.events import Event, Frame, Lost, Opened, Picture, Retry
from tests.support.clips import make_clip, picture, write_elementary
from tests.support.odd_rtsp import OddCamera
from tests.support.presets import write_preset
from tests.support.servers import wait_until
from tests.support.watching import QUICK, Recording

START = 1_700_000_000.0
BEHIND_S = 10.5  # the ten seconds that arrivals may fall behind, and half a second of slack
AHEAD_S = 3.0  # docs/clocks.md: 1.5 times the two seconds that a source clock may lie ahead


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


# --- whatever happens, without video ---

STRETCHES = st.lists(
    st.tuples(
        st.floats(1, 20),  # seconds that it lasts
        st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.0, 1.0, 1.3, 2.0, 3.0, 10.0]),  # rate of the clock
        st.sampled_from([0.0, 0.0, 0.0, 30.0, -30.0, 1e4, -1e4]),  # jump at its beginning
        st.sampled_from(["on time", "on time", "jam", "lumps"]),  # how frames come
        st.sets(st.integers(0, 199), max_size=3),  # frames whose time is wrong
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(STRETCHES, st.sampled_from([5, 25]), st.booleans())
def test_whatever_a_live_streams_clock_does_times_ascend_never_lie_ahead_and_are_right_once_settled(
    stretches: list[tuple[float, float, float, str, set[int]]], rate: int, resumed: bool
) -> None:
    line, outliers, sampler = LiveLine(without_times=False), Outliers[int](), Sampler(1)
    clock, last = LiveClock(after=START if resumed else None), -np.inf
    errors: list[float] = []
    for stamp, arrived in frames_of([*stretches, (60.0, 1.0, 0.0, "on time", set())], rate):
        for item in outliers.add(Timed(0, None, stamp, arrived)):
            _, pts = line.place(item)
            assert item.arrived is not None
            arrival = START + item.arrived
            chosen = sampler.admit(pts)
            if chosen is not None and chosen.discontinuity:
                clock.connected()
            clock.observe(pts, arrival)
            if chosen is None:
                continue
            when = clock.time_of(chosen.pts_s, arrival, restarted=chosen.discontinuity)
            assert when > last
            assert when - arrival <= AHEAD_S
            last = when
            errors.append(when - arrival)
    assert max(errors[-20:]) <= 0.6
    assert min(errors[-20:]) >= -BEHIND_S  # a clock that stood still for less cannot be told from a network that delays


def frames_of(stretches: list[tuple[float, float, float, str, set[int]]], rate: int) -> Iterator[tuple[float, float]]:
    """Time on the stream's clock and arrival of every frame."""
    began = stamp = newest = 0.0
    for seconds, speed, jump, coming, wrong in stretches:
        stamp += jump
        for number in range(round(seconds * rate)):
            second = number / rate
            delay = {"on time": 0.0, "jam": max(0.0, seconds / 2 - second), "lumps": 1 - second % 1}[coming]
            newest = max(newest, began + second + delay)
            yield stamp + speed * second + 9800.0 * (number in wrong), newest
        began, stamp = began + seconds, stamp + speed * seconds


def test_what_waits_when_a_clock_is_found_to_run_fast_is_thinned_and_dated_by_arrival() -> None:
    def frame(pts_s: float, arrival: float) -> Frame:
        return Frame(pts_s, START + arrival, None, Picture(av.VideoFrame(16, 16, "rgb24")))

    held = [(Chosen(slot, float(slot)), frame(float(slot), slot / 10)) for slot in range(16)]
    kept = dated_by_arrival(held, frame(17.0, 1.7), 1.0)
    assert [(chosen.slot, chosen.pts_s) for chosen, _ in kept] == [(0, pytest.approx(15.3)), (10, pytest.approx(16.3))]


# --- from the source to the memory ---


@contextmanager
def raw_sender(path: Path, codec: str, *, rate: int) -> Iterator[str]:
    """An elementary stream over TCP, at `rate` frames per second, as `rpicam-vid --listen` sends it."""
    packets = write_elementary(path, codec, rate=rate, frames=100)
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
            began = time.monotonic()
            for number in itertools.count():
                client.sendall(packets[number % len(packets)])
                if stop.wait(max(0.0, began + (number + 1) / rate - time.monotonic())):
                    client.close()
                    return
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()


def watch(model: AfterviewModel, memory: Path, url: str, *, seconds: float) -> tuple[MemorySnapshot, list[str], float]:
    """Watch a source for so long; the memory, what was said, and how far the newest frame lay ahead of now at most."""
    ahead = -np.inf
    config = IngestConfig(parse_source(url), fps=1.0, source=QUICK)
    with Recording(memory, model.encoders, "gate", config) as recording:
        recording.wait_for(1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            last = recording.ingest.stats.last_time
            ahead = max(ahead, -np.inf if last is None else last - time.time())
            time.sleep(0.05)
        recording.stop()
    return recording.snapshot(), [detail for _, detail in recording.states], ahead


@pytest.mark.integration
@pytest.mark.parametrize(
    ("rate", "said"), [(10.0, "runs too fast"), pytest.param(0.0, "stands still", marks=pytest.mark.slow)]
)
def test_a_watch_of_a_camera_with_a_wrong_rtp_clock(
    rate: float, said: str, model: AfterviewModel, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=100, rate=20)
    with OddCamera(clip, 20, lambda second: rate * second) as camera:
        snapshot, states, ahead = watch(model, tmp_path / "m", camera.url, seconds=5)
        again, _, _ = watch(model, tmp_path / "m", camera.url, seconds=0.1)  # at once
    assert ahead < 0.1
    assert 5 <= len(snapshot.ids) <= 9
    assert len([line for line in states if "stream clock wrong" in line]) == 1
    assert any(said in line for line in states)
    assert {gap.reason for gap in again.gaps} <= {"not recording"}
    assert len(again.ids) > len(snapshot.ids)
    assert again.time_bases(again.ids) == {"arrival": len(again.ids)}


@pytest.mark.integration
def test_info_shows_the_state_of_a_camera_that_is_being_recorded(
    model: AfterviewModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, memory = make_clip(tmp_path / "clip.mp4", frames=100, rate=20), tmp_path / "m"
    with OddCamera(clip, 20, lambda second: 10 * second) as camera:
        config = IngestConfig(parse_source(camera.url))
        with Recording(memory, model.encoders, "door", config) as recording:
            recording.wait_for(4)
            assert wait_until(lambda: recording.ingest.status().clock, 20)
            assert main(["info", str(memory)]) == 0
            assert main(["info", str(memory), "--json"]) == 0
            (described,) = api.info(memory)
    text, _, document = capsys.readouterr().out.rstrip().rpartition("\n")
    assert "  online (stream clock wrong: it runs too fast" in text
    (shown,) = json.loads(document)["cameras"]
    assert shown["state"]["state"] == "online"
    assert "stream clock wrong" in shown["state"]["clock"]
    assert described.state is not None
    (ended,) = api.info(memory)
    assert ended.state is None


@pytest.mark.slow
@pytest.mark.integration
def test_a_watch_of_a_camera_whose_rtp_clock_is_wrong_for_a_while_only(model: AfterviewModel, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=100, rate=20)
    with OddCamera(clip, 20, lambda second: min(second, 4.0) if second < 8 else second - 4) as camera:
        snapshot, states, ahead = watch(model, tmp_path / "m", camera.url, seconds=22)
    assert ahead < 0.1
    assert 20 <= len(snapshot.ids) <= 25
    assert [gap for gap in snapshot.gaps if not gap.lasts] == []
    assert any("right again" in line for line in states)


@pytest.mark.integration
@pytest.mark.parametrize("codec", ["libx264", pytest.param("libx265", marks=pytest.mark.slow)])
def test_a_watch_of_a_raw_stream_over_tcp_goes_by_arrivals(codec: str, model: AfterviewModel, tmp_path: Path) -> None:
    with raw_sender(tmp_path / f"clip.{'h264' if codec == 'libx264' else 'hevc'}", codec, rate=12) as url:
        snapshot, states, ahead = watch(model, tmp_path / "m", url, seconds=4)
    assert ahead < 0.1
    np.testing.assert_allclose(np.diff(snapshot.times)[1:], 1.0, atol=0.15)
    assert len(snapshot.ids) >= 4
    assert [gap for gap in snapshot.gaps if not gap.lasts] == []
    assert snapshot.time_bases(snapshot.ids) == {"arrival": len(snapshot.ids)}
    assert not any("clock" in line for line in states)  # that is how such streams are


def test_frames_that_waited_when_the_clock_began_anew_get_the_clock_that_they_came_under(
    model: AfterviewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HLS: a segment comes at once, and so does the first one after a restart of the packager."""
    now = time.time()

    def events(*unused: object, **options: object) -> Iterator[Event]:
        yield Opened("h264", 160, 120, 1.0)
        for began, arrival in ((100.0, 0.0), (0.0, 4.0), (4.0, 8.0)):
            for number in range(4):
                rgb = Picture(av.VideoFrame.from_ndarray(picture(number), format="rgb24"))
                yield Frame(began + number, now + arrival + number / 1000, None, rgb)
        yield Lost("the stream ended", now + 9)
        yield Retry(1, 0.1, "the stream ended")

    monkeypatch.setattr("afterview.stream.ingest.decode.read_events", events)

    async def main() -> None:
        async with Session(tmp_path, model.encoders) as session:
            session.add("gate", IngestConfig(parse_source("http://camera/live.m3u8")))
            await session.run()

    run_loop(main())
    snapshot = Memory(tmp_path).camera("gate").snapshot()
    np.testing.assert_allclose(snapshot.times - now, np.arange(-3.0, 9.0), atol=0.1)
    assert [gap for gap in snapshot.gaps if not gap.lasts] == []
    assert set(snapshot.scalars("time_basis", snapshot.ids)) == {TimeBasis.ARRIVAL}


def replay(model: AfterviewModel, memory: Path, path: Path, start: float | None = None) -> MemorySnapshot:
    async def main() -> None:
        async with Session(memory, model.encoders) as session:
            session.add("gate", IngestConfig(parse_source(str(path)), fps=1.0, live=False, start=start))
            await session.run()

    run_loop(main())
    return Memory(memory).camera("gate").snapshot()


@pytest.mark.parametrize(("suffix", "step_s"), [(".mp4", 20.0), (".ts", 20.0), (".mkv", 7.0)])
def test_a_time_lapse_has_no_gaps(suffix: str, step_s: float, model: AfterviewModel, tmp_path: Path) -> None:
    path = tmp_path / f"lapse{suffix}"
    with VideoWriter(path, 160, 120, 25 if suffix == ".ts" else 1 / step_s) as video:
        for number in range(10):
            video.write(picture(number), pts_s=step_s * number)
    snapshot = replay(model, tmp_path / "m", path, start=START)
    np.testing.assert_allclose(snapshot.times - START, step_s * np.arange(10), atol=0.01)
    assert [gap for gap in snapshot.gaps if not gap.lasts] == []


def test_a_recording_that_leaves_time_out_still_has_a_gap(model: AfterviewModel, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mkv", 160, 120, 10) as video:
        for number in range(60):
            video.write(picture(number), pts_s=number / 10 + 20 * (number >= 5) + 30 * (number >= 40))
    snapshot = replay(model, tmp_path / "m", tmp_path / "clip.mkv", start=START)
    assert [(gap.start - START, gap.end - START) for gap in snapshot.gaps if not gap.lasts] == [
        (pytest.approx(0.0, abs=0.01), pytest.approx(20.5, abs=0.01)),
        (pytest.approx(23.0, abs=0.01), pytest.approx(54.0, abs=0.01)),
    ]
