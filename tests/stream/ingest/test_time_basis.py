"""Whose clock a live camera's times are of, end to end: a real server, a slow network between, and a watch that stores what comes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from afterview.memory.base.records import TimeBasis
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.clocks.program_date import read_program_date
from afterview.stream.source.events import Event, Frame, Lost, Opened, Picture, Retry
from tests.stream.source.test_hls import broadcast
from tests.support.clips import make_clip, picture
from tests.support.presets import write_preset
from tests.support.servers import HlsServer, RtspServer, need_rtsp
from tests.support.slow_network import SlowNetwork

RATE, FPS = 20, 5.0
DELAY_S = 1.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=40, rate=RATE)


def watch(
    model: AfterviewModel, memory: Path, url: str, *, frames: int, recorded: Callable[[int], None] = lambda count: None
) -> tuple[CameraIngest, MemorySnapshot]:
    async def main() -> CameraIngest:
        async with Session(memory, model.encoders) as session:
            ingest = session.add("gate", IngestConfig(parse_source(url), fps=FPS))
            task = asyncio.create_task(session.run())
            while ingest.stats.recorded < frames and not task.done():
                recorded(ingest.stats.recorded)
                await asyncio.sleep(0.05)
            session.stop()
            await task
        return ingest

    ingest = run_loop(main())
    return ingest, Memory(memory).camera("gate").snapshot()


@pytest.mark.slow  # the first report of the server comes after some five seconds
@pytest.mark.integration
def test_a_watch_over_rtsp_goes_by_the_servers_clock_however_late_frames_arrive(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    need_rtsp()
    with RtspServer(clip, loop=True) as server, SlowNetwork(server.url, DELAY_S) as network:

        def recorded(count: int) -> None:
            if count >= 15:
                network.pass_reports.set()

        ingest, snapshot = watch(model, tmp_path, network.url, frames=70, recorded=recorded)
    assert ingest.inbox.dropped == 0
    ids = snapshot.ids
    taken = np.array(network.sent)[:: round(RATE / FPS)][: len(ids)]  # the server sends each frame when it is due
    basis = snapshot.scalars("time_basis", ids)
    changed = int(np.argmax(basis == TimeBasis.SOURCE))
    assert 15 <= changed <= len(ids) - 25  # the time line lay DELAY_S ahead of the server: it agrees after ten frames
    assert (basis[:changed] == TimeBasis.ARRIVAL).all()
    assert (basis[changed:] == TimeBasis.SOURCE).all()
    assert np.isnan(snapshot.scalars("source_times", ids)[:changed]).all()
    late = snapshot.scalars("arrival_times", ids) - taken
    assert (late > DELAY_S).all()
    error = snapshot.times - taken
    # Medians: on a busy machine it is the network between that notes a frame late.
    assert np.median(np.abs(error[:changed] - DELAY_S)) < 0.1  # by arrival, until the first report
    assert 0 < np.median(np.abs(error[-15:])) < 0.05  # by the server's own clock
    steps = np.diff(snapshot.times)
    assert steps.min() >= 0.5 / FPS - 1e-3
    np.testing.assert_allclose(steps[-14:], 1 / FPS, atol=1e-3)
    assert snapshot.gaps == ()


def test_a_camera_that_believes_it_is_1970_is_named_once_and_dated_by_arrival(
    model: AfterviewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()

    def events(*unused: object, **options: object) -> Iterator[Event]:
        for connection in range(2):
            yield Opened("h264", 160, 120, FPS)
            for number in range(10):
                second = 10 * connection + number / FPS
                rgb = Picture(av.VideoFrame.from_ndarray(picture(number), format="rgb24"))
                yield Frame(number / FPS, now + second, 1000.0 + second, rgb)
            yield Lost("the stream ended", now + second)
            yield Retry(1, 0.1, "the stream ended")

    monkeypatch.setattr("afterview.stream.ingest.decode.read_events", events)
    said: list[str] = []

    async def main() -> None:
        async with Session(
            tmp_path, model.encoders, timezone="UTC", on_state=lambda camera: said.append(camera.stats.detail)
        ) as session:
            session.add("gate", IngestConfig(parse_source("rtsp://camera/stream"), fps=FPS))
            await session.run()

    run_loop(main())
    (notice,) = [line for line in said if "rejected" in line]
    assert "it shows 1970-01-01 00:16:40 UTC" in notice
    snapshot = Memory(tmp_path).camera("gate").snapshot()
    assert snapshot.time_bases(snapshot.ids) == {"arrival": 20}
    np.testing.assert_allclose(snapshot.times[:10] - now, np.arange(10) / FPS, atol=0.3)
    assert snapshot.scalars("source_times", snapshot.ids)[0] == 1000.0  # what the camera claimed is kept beside


@pytest.mark.integration
def test_a_watch_over_hls_goes_by_the_program_date_of_the_broadcast(model: AfterviewModel, tmp_path: Path) -> None:
    video = broadcast(tmp_path / "clip.mp4")
    with HlsServer(video, loop=True, user="guard", password="secret") as server:
        ready = time.time()
        url = server.url_with("guard", "secret")
        date = read_program_date(url)
        ingest, snapshot = watch(model, tmp_path / "m", url, frames=13)
    assert date is not None
    began = date.unix_s - date.pts_s
    assert ready - 2.5 < began < ready - 0.9  # it says so once its first segment, a second long, is out
    assert ingest.inbox.dropped == 0
    assert snapshot.time_bases(snapshot.ids) == {"source": len(snapshot.ids)}
    slots = (snapshot.times - began) * FPS
    np.testing.assert_allclose(slots, np.round(slots), atol=0.05 * FPS)  # it joined at a second of the video
    np.testing.assert_allclose(np.diff(snapshot.times), 1 / FPS, atol=2e-3)
    late = snapshot.scalars("arrival_times", snapshot.ids) - snapshot.times
    assert late.min() > 0  # segments come when they are complete
    assert np.median(late) > 0.5
