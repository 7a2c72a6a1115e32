"""Live fragmented MP4 over HTTP that says by prft boxes when it was taken, from real servers to the memory."""

import asyncio
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.errors import AuthenticationFailed, NotAVideo, SourceError, SourceTimeout
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.supervisor import Session
from afterview.stream.ingest.supervisor import run as run_loop
from afterview.stream.media import encode_jpeg
from afterview.stream.source.address import parse_source
from afterview.stream.source.events import Event, Frame, Lost, Opened
from afterview.stream.source.reader import SourceConfig, read_events
from tests.support.clips import picture
from tests.support.fragmented import box
from tests.support.live_fragments import ENDLESS, Broadcast, Client, LiveServer, encode_live, live_server
from tests.support.presets import write_preset
from tests.support.reading import FAST, open_files
from tests.support.watching import Watcher

PATIENT = SourceConfig(open_timeout_s=5, read_timeout_s=5)
EVERY_FRAME = "frag_every_frame+empty_moov+default_base_moof"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


def read_live(url: str, *, until: Callable[[list[Frame]], bool], config: SourceConfig = PATIENT) -> list[Frame]:
    """Frames of the first connection, until there are enough."""
    stop, frames = threading.Event(), list[Frame]()
    for event in read_events(parse_source(url), config, stop=stop):
        if isinstance(event, Frame):
            frames.append(event)
        assert not isinstance(event, Lost), event.reason
        if until(frames):
            stop.set()
    return frames


def dated(count: int) -> Callable[[list[Frame]], bool]:
    """Whether the source's clock is known of so many frames."""
    return lambda frames: sum(frame.source_time is not None for frame in frames) >= count


def errors(frames: list[Frame], server: LiveServer) -> list[float]:
    """Seconds by which the source says that its frames were taken after they were."""
    return [
        frame.source_time - server.began[-1] - frame.pts_s
        for frame in frames
        if frame.source_time is not None and frame.pts_s is not None
    ]


def test_frames_have_the_times_of_the_sources_clock(tmp_path: Path) -> None:
    """By arrival they could not be three seconds back. The first two fragments, a second each, are needed to believe it."""
    broadcast = Broadcast(tmp_path)
    broadcast.ahead_s = -3.0
    with live_server(broadcast) as server:
        frames = read_live(server.url, until=dated(12))
    assert errors(frames, server) == pytest.approx([-3.0] * 12, abs=1e-3)
    assert 10 <= len(frames) - 12 <= 20
    assert len(server.requests) == 1


def test_a_clock_that_is_set_is_followed(tmp_path: Path) -> None:
    broadcast = Broadcast(tmp_path, movflags=EVERY_FRAME)
    broadcast.ahead_s = -3.0

    def until(frames: list[Frame]) -> bool:
        if dated(5)(frames):
            broadcast.ahead_s = -40.0
        return dated(30)(frames)

    with live_server(broadcast) as server:  # for longer than the open timeout, which must not end it
        late = errors(
            read_live(server.url, until=until, config=SourceConfig(open_timeout_s=2, read_timeout_s=5)), server
        )
    assert late[:5] == pytest.approx([-3.0] * 5, abs=1e-3)
    assert late[-5:] == pytest.approx([-40.0] * 5, abs=1e-3)


def test_stamps_of_finished_fragments_are_put_where_they_end_and_a_server_of_one_client_is_asked_once() -> None:
    """As `ffmpeg -write_prft wallclock -listen 1` does, which ends with its first client. By their beginnings frames were a second late."""
    with live_server(encode_live, clients=1) as server:
        frames = read_live(server.url, until=dated(12))
    late = errors(frames, server)
    assert np.median(late) == pytest.approx(0.0, abs=0.15)
    assert len(server.requests) == 1


def test_without_boxes_frames_go_by_arrival(tmp_path: Path) -> None:
    broadcast = Broadcast(tmp_path, movflags=EVERY_FRAME)
    broadcast.ahead_s = None
    with live_server(broadcast) as server:
        frames = read_live(server.url, until=lambda frames: len(frames) == 20)
    assert {frame.source_time for frame in frames} == {None}


def watch(model: AfterviewModel, memory: Path, url: str, *, frames: int) -> tuple[MemorySnapshot, list[str]]:
    """What is remembered of a live camera, and what was said of it meanwhile."""
    said: list[str] = []

    async def main() -> None:
        async with Session(
            memory, model.encoders, timezone="UTC", on_state=lambda camera: said.append(camera.stats.detail)
        ) as session:
            ingest = session.add("gate", IngestConfig(parse_source(url), fps=5.0))
            task = asyncio.create_task(session.run())
            while ingest.stats.recorded < frames and not task.done():
                await asyncio.sleep(0.02)
            session.stop()
            await task

    run_loop(main())
    return Memory(memory).camera("gate").snapshot(), said


def test_a_memory_has_the_times_of_the_sources_clock(model: AfterviewModel, tmp_path: Path) -> None:
    broadcast = Broadcast(tmp_path, movflags=EVERY_FRAME)
    broadcast.ahead_s = -1.5
    with live_server(broadcast) as server:
        snapshot, _ = watch(model, tmp_path / "m", server.url, frames=32)
        (began,) = server.began
    slots = (snapshot.times[-10:] - began + 1.5) * 5.0
    np.testing.assert_allclose(slots, np.round(slots), atol=5e-3)
    assert set(snapshot.scalars("time_basis", snapshot.ids[-10:])) == {1}
    assert snapshot.time_bases(snapshot.ids)["source"] >= 25
    np.testing.assert_allclose(np.diff(snapshot.times[-10:]), 0.2, atol=1e-3)
    late = snapshot.scalars("arrival_times", snapshot.ids[-10:]) - snapshot.times[-10:]
    assert (late > 1.5).all()


@pytest.mark.parametrize("ahead_s", [-3600.0, 400 * 86_400.0])
def test_a_clock_that_cannot_be_right_is_named_once_and_not_believed(
    ahead_s: float, model: AfterviewModel, tmp_path: Path
) -> None:
    broadcast = Broadcast(tmp_path, movflags=EVERY_FRAME)
    broadcast.ahead_s = ahead_s
    with live_server(broadcast) as server:
        snapshot, details = watch(model, tmp_path / "m", server.url, frames=15)
        (began,) = server.began
    assert snapshot.time_bases(snapshot.ids) == {"arrival": len(snapshot.ids)}
    assert sum("its clock says" in detail and "not believed" in detail for detail in details) == 1
    assert abs(snapshot.times[0] - began) < 1.0


def test_a_server_that_dies_and_comes_back_is_connected_to_anew_and_dated_anew(tmp_path: Path) -> None:
    broadcast = Broadcast(tmp_path, movflags=EVERY_FRAME)
    broadcast.ahead_s, broadcast.first_gets = -3.0, 8

    def serve(client: Client) -> None:
        broadcast(client)
        client.reset()

    with live_server(serve) as server, Watcher(server.url, config=PATIENT) as watcher:
        watcher.until(lambda: len(watcher.of(Opened)) == 2)
        before = len(watcher.frames)
        watcher.more_frames(12)
    assert watcher.kinds() == ["Opened", "Lost", "Retry", "Opened"]
    (lost,) = watcher.of(Lost)
    assert isinstance(lost, Lost)
    assert lost.reason == f"{server.url}: reading failed: Connection reset by peer"
    second = [frame for _, frame in watcher.frames[before + 1 :]]
    assert errors(second[-5:], server) == pytest.approx([-3.0] * 5, abs=1e-3)


def silent_after(fragments: int, broadcast: Broadcast, until: threading.Event) -> Callable[[Client], None]:
    """A server that freezes with its connection open."""
    broadcast.first_gets = fragments

    def serve(client: Client) -> None:
        broadcast(client)
        until.wait(10)

    return serve


def test_a_server_that_falls_silent_is_noticed_in_time_and_its_password_is_never_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    serve = silent_after(12, Broadcast(tmp_path, movflags=EVERY_FRAME), over)
    with live_server(serve) as server:
        url = server.url.replace("://", "://guard:hunter2@")
        with Watcher(url, config=FAST) as watcher:
            watcher.until(lambda: watcher.of(Lost))
            lost_at, lost = next(pair for pair in watcher.events if isinstance(pair[1], Lost))
            over.set()
    assert isinstance(lost, Lost)
    assert "nothing came for 1 s" in lost.reason
    assert 0.9 < lost_at - watcher.frames[-4][0] < 2.0
    assert "***@" in lost.reason
    assert "hunter2" not in f"{watcher.events}{capfd.readouterr()}"


def trickle(client: Client) -> None:
    """Sends a box that never ends, and no picture."""
    client.write(struct.pack(">I4s", 1 << 30, b"free"))
    while True:
        time.sleep(0.1)
        client.write(bytes(10))


def test_bytes_that_bring_no_picture_are_given_up_in_time(tmp_path: Path) -> None:
    broadcast, config = Broadcast(tmp_path, movflags=EVERY_FRAME), SourceConfig(open_timeout_s=1.5, read_timeout_s=1)
    broadcast.first_gets = 12

    def serve(client: Client) -> None:
        if client.number == 0:
            broadcast(client)
        else:
            client.raw(ENDLESS)
            client.write(box(b"ftyp", b"iso5", bytes(4)))
        trickle(client)

    with live_server(serve) as server:
        began, events = time.monotonic(), list[Event]()
        for event in read_events(parse_source(server.url), config, stop=threading.Event()):
            events.append(event)
            if isinstance(event, Lost):
                break
        assert isinstance(events[-1], Lost)
        assert "nothing came for 1 s" in events[-1].reason
        assert time.monotonic() - began < 5.0
        began = time.monotonic()
        with pytest.raises(SourceTimeout, match=r"no answer within 1\.5 s"):
            list(read_events(parse_source(server.url), config, stop=threading.Event()))
        assert 1.4 < time.monotonic() - began < 3.0


def with_password(broadcast: Callable[[Client], None], requests: Callable[[], list[str]]) -> Callable[[Client], None]:
    def serve(client: Client) -> None:
        if "Authorization: Basic Z3VhcmQ6aHVudGVyMg==" in requests()[-1]:
            broadcast(client)
        else:
            client.raw(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")

    return serve


def test_logins_go_with_the_request_and_are_never_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broadcast = Broadcast(tmp_path, movflags=EVERY_FRAME)
    broadcast.ahead_s = -3.0
    servers: list[LiveServer] = []
    with live_server(with_password(broadcast, lambda: servers[0].requests)) as server:
        servers.append(server)
        frames = read_live(server.url.replace("://", "://guard:hunter2@"), until=dated(3))
        assert errors(frames, server) == pytest.approx([-3.0] * 3, abs=1e-3)
        with pytest.raises(AuthenticationFailed) as refused:
            read_live(server.url.replace("://", "://guard:wrong7@"), until=dated(1))
    assert "wrong7" not in f"{refused.value}{refused.value.__context__}{refused.value.__cause__}"
    assert not any(password in str(capfd.readouterr()) for password in ("hunter2", "wrong7"))


def test_what_is_no_mp4_in_spite_of_its_name_is_opened_the_plain_way() -> None:
    def motion_jpeg(client: Client) -> None:
        client.raw(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
        for number in range(100):
            image = encode_jpeg(picture(number), 120)
            client.raw(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(image), image))
            time.sleep(0.05)

    with live_server(motion_jpeg) as server:
        frames = read_live(server.url, until=lambda frames: len(frames) == 5)
    assert len(frames) == 5
    assert len(server.requests) == 2


def test_what_only_begins_as_mp4_is_refused_as_ever() -> None:
    def garbage(client: Client) -> None:
        client.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + box(b"ftyp", b"iso5", bytes(4)) + b"\xff" * 4000)

    with live_server(garbage) as server:
        refusals = []
        for path in (".mp4", ""):
            with pytest.raises(SourceError) as refused:
                read_live(server.url.replace(".mp4", path), until=dated(1))
            refusals.append((type(refused.value), str(refused.value).replace(".mp4", "")))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] is NotAVideo


def test_its_connection_is_closed_when_its_reader_is(tmp_path: Path) -> None:
    before = {path for path in open_files() if path.startswith("socket:")}
    with live_server(Broadcast(tmp_path, movflags=EVERY_FRAME)) as server:
        read_live(server.url, until=lambda frames: len(frames) == 3)
    assert {path for path in open_files() if path.startswith("socket:")} <= before
