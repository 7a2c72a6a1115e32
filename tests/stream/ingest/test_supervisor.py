"""Whole sessions against real server processes: outages, frozen servers, changed cameras, questions in mid-stream."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.base.errors import NotWritable
from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import MemorySnapshot
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Answer, Question
from afterview.stream.errors import Cancelled, NotAVideo
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.status import CameraStatus
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame
from tests.support.servers import HlsServer, LiveServer, RtspServer, need_rtsp, wait_until
from tests.support.watching import Recording


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=120, rate=10)


class Watch:
    """`afterview watch` in a process of its own."""

    def __init__(self, url: str, directory: Path, *options: str) -> None:
        self.memory, self.acks = directory / "memory", directory / "acks"
        command = [sys.executable, "-m", "afterview", "watch", url, "--memory", str(self.memory), "--camera", "door",
                   "--ack-file", str(self.acks), "--json", *options]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def frames(self) -> int:
        return len(self.acks.read_text().splitlines()) if self.acks.exists() else 0

    def wait_for(self, frames: int, *, within: float = 40) -> None:
        deadline = time.monotonic() + within
        while self.frames() < frames:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, f"{self.frames()} of {frames} frames after {within} s"
            time.sleep(0.05)

    def stop(self) -> dict[str, object]:
        self.process.send_signal(signal.SIGINT)
        out, error = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, error
        document: dict[str, object] = json.loads(out)
        return document

    def snapshot(self) -> MemorySnapshot:
        return Memory(self.memory).camera("door").snapshot()


@contextmanager
def watching(url: str, directory: Path, *options: str) -> Iterator[Watch]:
    watch = Watch(url, directory, *options)
    try:
        yield watch
    finally:
        watch.process.kill()
        watch.process.wait()


@pytest.mark.slow  # a process of its own, an outage, and the wait before the next try
@pytest.mark.integration
def test_a_killed_server_that_comes_back_costs_one_gap_and_no_frame(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    need_rtsp()
    with RtspServer(clip, loop=True) as server, watching(server.url, tmp_path, "--fps", "2") as watch:
        watch.wait_for(8)
        server.kill()
        killed = time.time()
        time.sleep(2)
        before = watch.snapshot()
        held = watch.frames()
        question = Question("What thing was there?", max_new_tokens=2)
        during = Answerer(Memory(watch.memory), model).ask(question)  # while the camera is away
        server.restart()
        away = time.time() - killed
        watch.wait_for(held + 6)
        resumed = float(watch.snapshot().times[held])
        document = watch.stop()
        assert before.open_gap is not None
        assert before.open_gap.reason == "lost"
        assert during.to_dict()["coverage"]["gaps"][-1]["end"] is None  # it lasts
        snapshot = watch.snapshot()
        (gap,) = snapshot.gaps
        assert (gap.reason, gap.before_frame) == ("lost", held)
        assert gap.start == pytest.approx(killed, abs=1.5)
        assert gap.end == resumed
        assert (
            away - 1.5 <= gap.seconds <= 3 * away + 5
        )  # waits double, so the last is at most as long as the outage before it
        assert document["reconnects"] == 1
        lines = [line.split() for line in watch.acks.read_text().splitlines()]
        assert [int(frame) for frame, _, _ in lines] == list(range(snapshot.frames))
        assert [float(when) for _, when, _ in lines] == snapshot.times.tolist()
        assert (np.diff(snapshot.times) > 0).all()
    answerer = Answerer(Memory(watch.memory), model)
    touching, earlier = (
        answerer.ask(Question("What thing was there?", max_new_tokens=2, **span)).parts[0].coverage
        for span in ({"start": gap.start - 1}, {"at": gap.start - 0.5})
    )
    assert touching.gaps[0].reason == "lost"
    assert not earlier.gaps


@pytest.mark.integration
def test_a_frozen_server_is_noticed_within_the_read_timeout(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    need_rtsp()
    impatient = SourceConfig(open_timeout_s=2, read_timeout_s=1)
    with RtspServer(clip, loop=True) as server:
        config = IngestConfig(parse_source(server.url), fps=5.0, source=impatient)
        with Recording(tmp_path, model.encoders, "door", config) as recording:
            recording.wait_for(10)
            server.freeze()
            assert wait_until(lambda: recording.snapshot().open_gap is not None, 5, every_s=0.1)
            held = len(recording.acks)
            server.thaw()
            recording.wait_for(held + 4)
    assert [gap.reason for gap in recording.snapshot().gaps] == ["lost"]


@pytest.mark.integration
def test_wrong_password_is_one_line_and_never_shown(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_rtsp()
    with RtspServer(clip, user="guard", password="right") as server:
        url = server.url_with("guard", "wr0ng-secret")
        assert main(["watch", url, "--memory", str(tmp_path / "m"), "--json"]) == 2
    out, error = capsys.readouterr()
    assert "wr0ng-secret" not in out + error
    assert "password" in error.splitlines()[-1]
    assert not (tmp_path / "m").exists() or not list((tmp_path / "m").iterdir())


@pytest.mark.integration
def test_a_camera_that_changes_resolution_and_codec_goes_on(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    need_rtsp()
    other = make_clip(tmp_path / "other.mp4", frames=120, rate=10, width=320, height=240, codec="libx265")
    with RtspServer(clip, loop=True) as server:
        config = IngestConfig(parse_source(server.url), fps=5.0)
        with Recording(tmp_path / "m", model.encoders, "door", config) as recording:
            recording.wait_for(6)
            server.kill()
            server.restart(other)
            held = len(recording.acks)
            recording.wait_for(held + 6)
    sizes = {len(recording.snapshot().image(frame)) for frame in (0, held + 4)}
    assert len(sizes) == 2


def take(
    model: AfterviewModel,
    memory: Path,
    config: IngestConfig,
    *,
    until: Callable[[CameraIngest], bool],
    questions: int = 0,
) -> tuple[CameraIngest, list[Answer]]:
    """Watch in this process until a condition holds and every question is answered, two minutes at most."""
    bound = time.monotonic() + 120

    async def main() -> tuple[CameraIngest, list[Answer]]:
        answers: list[Answer] = []
        async with Session(memory, model.encoders) as session:
            ingest = session.add("door", config)
            task = asyncio.create_task(session.run())
            while not (until(ingest) and len(answers) == questions) and not task.done() and time.monotonic() < bound:
                if ingest.stats.recorded > 1 and len(answers) < questions:
                    answers.append(await session.ask(model, Question("What thing was there?")))
                await asyncio.sleep(0.02)
            session.stop()
            await task
        return ingest, answers

    result: tuple[CameraIngest, list[Answer]] = run_loop(main())
    return result


def test_questions_in_mid_stream_drop_no_frame(model: AfterviewModel, tmp_path: Path) -> None:
    config = IngestConfig(parse_source("lavfi:testsrc2=size=160x120:rate=20"), fps=10.0)
    ingest, answers = take(model, tmp_path, config, until=lambda camera: camera.stats.recorded >= 40, questions=10)
    assert len(answers) == 10
    assert ingest.inbox.dropped == 0
    seen = [answer.parts[0].coverage.frames for answer in answers]
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]  # ingest went on between the questions
    assert max(answer.parts[0].coverage.lag_s for answer in answers) < 2.0
    snapshot = Memory(tmp_path).camera("door").snapshot()
    assert snapshot.gaps == ()
    np.testing.assert_allclose(np.diff(snapshot.times), 0.1, atol=0.011)


@pytest.mark.integration
def test_hls_from_a_real_server(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    with HlsServer(clip, loop=True) as server:
        config = IngestConfig(parse_source(server.url), fps=5.0)
        ingest, _ = take(model, tmp_path, config, until=lambda camera: camera.stats.recorded >= 10)
    assert ingest.inbox.dropped == 0
    snapshot = Memory(tmp_path).camera("door").snapshot()
    np.testing.assert_allclose(np.diff(snapshot.times[:10]), 0.2, atol=0.05)
    assert abs(float(snapshot.times[-1]) - time.time()) < 10


def test_one_camera_that_fails_ends_with_its_cause_and_no_other(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(5000))
    states: list[str] = []

    async def main() -> list[CameraStatus]:
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_state(camera: CameraIngest) -> None:
            states.append(f"{camera.id} {camera.status().state}")
            loop.call_soon_threadsafe(changed.set)

        async with Session(tmp_path / "m", model.encoders, on_state=on_state) as session:
            live = session.add("live", IngestConfig(parse_source("lavfi:testsrc2=size=96x64:rate=10"), fps=5.0))
            failing = session.add("broken", IngestConfig(parse_source(str(broken)), live=False))
            running = asyncio.create_task(session.run())
            while failing.status().state != "failed":
                await changed.wait()
                changed.clear()
            late = session.add("late", IngestConfig(parse_source(str(clip)), live=False))  # while the others run
            before = live.status().recorded
            while not (live.status().recorded > before + 3 and late.status().state == "ended"):
                await asyncio.sleep(0.02)
            assert not running.done()
            await session.remove(live)
            assert session.cameras == [failing, late]
            with pytest.raises(NotAVideo):
                await running  # only at the end
            return [camera.status() for camera in (failing, live, late)]

    failing, live, late = run_loop(main())
    assert (failing.state, failing.recorded) == ("failed", 0)
    assert failing.cause is not None
    assert "never finished" in failing.cause
    assert (live.state, live.cause) == ("ended", None)
    assert (late.state, late.cause, late.recorded) == ("ended", None, 12)
    assert late.to_dict()["detail"] == "end of file"
    assert states[-1] == "live ended"
    assert Memory(tmp_path / "m").camera_ids() == ["late", "live"]


def test_frames_that_cannot_be_encoded_fail_their_camera_alone(
    model: AfterviewModel, clip: Path, tmp_path: Path
) -> None:
    encode = model.encoders.index.encode_images
    wide = make_clip(tmp_path / "wide.mp4", frames=60, width=320, height=80)

    def refuse_black(pixels: np.ndarray) -> np.ndarray:
        if (pixels.reshape(len(pixels), -1).max(axis=1) == 0).any():
            raise RuntimeError("the encoder broke")
        return encode(pixels)

    async def main() -> tuple[CameraStatus, CameraStatus]:
        index = SimpleNamespace(encode_images=refuse_black)
        encoders = SimpleNamespace(
            feature_spec=model.encoders.feature_spec, vision=model.encoders.vision, index=index, name="tiny",
            preset=model.preset,
        )  # fmt: skip
        async with Session(tmp_path / "m", encoders) as session:
            dark = open_camera(tmp_path / "m", "dark", model.encoders.feature_spec)
            write_settings(dark.directory, CameraSettings(masks=(((0, 0), (1, 0), (1, 1), (0, 1)),)))
            dark.append(make_frame(0, model.encoders.feature_spec, time=1.0))
            dark.close()
            cameras = [
                session.add(name, IngestConfig(parse_source(str(video)), live=False, start=10.0))
                for name, video in (("dark", wide), ("light", clip))
            ]
            with pytest.raises(RuntimeError, match="the encoder broke"):
                await session.run()
            return cameras[0].status(), cameras[1].status()

    dark, light = run_loop(main())
    assert (dark.state, dark.cause, dark.recorded) == ("failed", "the encoder broke", 0)
    assert (light.state, light.recorded) == ("ended", 12)


def test_a_question_that_nobody_waits_for_is_cancelled(
    model: AfterviewModel, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(model, tmp_path, IngestConfig(parse_source(str(clip)), live=False), until=lambda camera: False)
    drawn, ended = [], threading.Event()

    def endless(*unused: object, **options: object) -> Iterator[tuple[int, str | None]]:
        try:
            while True:
                drawn.append(1)
                time.sleep(0.001)
                yield 0, "and "
        finally:
            ended.set()

    async def main() -> Answer:
        async with Session(tmp_path, model.encoders) as session:
            with monkeypatch.context() as patch:
                patch.setattr(type(model), "answer_several", endless)
                first = asyncio.create_task(session.ask(model, Question("What thing was there?")))
                while len(drawn) < 5:
                    await asyncio.sleep(0.01)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                assert await asyncio.to_thread(ended.wait, 10)
            return await session.ask(
                model, Question("What thing was there?", max_new_tokens=2)
            )  # the thread is free again

    assert run_loop(main()).parts


@pytest.mark.parametrize("places", [0, 2])
def test_a_question_is_cancelled_while_it_reads_the_memory(
    places: int, model: AfterviewModel, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(model, tmp_path, IngestConfig(parse_source(str(clip)), live=False), until=lambda camera: False)
    monkeypatch.setattr("afterview.stream.ask.context._READ_AT_ONCE", 3)
    cancel, reads, tokens = threading.Event(), [], MemorySnapshot.tokens

    def read(snapshot: MemorySnapshot, ids: np.ndarray) -> np.ndarray:
        reads.append(len(ids))
        if len(reads) == places:
            cancel.set()
        return tokens(snapshot, ids)

    monkeypatch.setattr(MemorySnapshot, "tokens", read)
    if not places:
        cancel.set()
    with pytest.raises(Cancelled):
        Answerer(Memory(tmp_path), model).ask(Question("What thing was there?"), cancel=cancel)
    assert len(reads) == places


def test_a_failing_source_ends_the_session_with_its_cause(model: AfterviewModel, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(5000))
    with pytest.raises(NotAVideo):
        take(model, tmp_path / "m", IngestConfig(parse_source(str(broken)), live=False), until=lambda camera: False)
    assert not list((tmp_path / "m").iterdir())


def test_a_writer_that_fails_ends_the_session_with_its_cause(
    model: AfterviewModel, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*unused: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("afterview.memory.format.journal.Journal.append", full)
    with pytest.raises(NotWritable, match="12 frames that were never acknowledged"):
        take(model, tmp_path, IngestConfig(parse_source(str(clip)), live=False), until=lambda camera: False)


def test_watching_into_the_future_is_refused(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    """A recording without a time of its own begins now, so its end lies ahead; live frames behind it would all get wrong times."""
    ahead = IngestConfig(parse_source(str(clip)), live=False, start=time.time() + 600)
    take(model, tmp_path, ahead, until=lambda camera: False)
    live = IngestConfig(parse_source("lavfi:testsrc2=size=160x120:rate=10"))
    for _ in range(2):  # the refusal leaves the camera free
        with pytest.raises(UsageError, match="newest frame lies in the future"):
            take(model, tmp_path, live, until=lambda camera: False)


def test_a_camera_named_twice_is_asked_once(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    take(model, tmp_path, IngestConfig(parse_source(str(clip)), live=False), until=lambda camera: False)
    name = Memory(tmp_path).camera_ids()[0]
    answer = Answerer(Memory(tmp_path), model).ask(
        Question("What is there now?", cameras=(name, name.upper()), evidence=3)
    )
    assert len(answer.parts) == 1
    assert len(answer.evidence) == 3


def test_a_question_of_broken_bytes_is_refused(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    take(model, tmp_path, IngestConfig(parse_source(str(clip)), live=False), until=lambda camera: False)
    with pytest.raises(UsageError, match="not UTF-8"):
        Answerer(Memory(tmp_path), model).ask(Question("caf\udce9?"))


def test_two_cameras_share_the_encoder(model: AfterviewModel, clip: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with Session(tmp_path, model.encoders) as session:
            for name in ("one", "two"):
                session.add(name, IngestConfig(parse_source(str(clip)), live=False))
            await session.run()

    run_loop(main())
    one, two = (Memory(tmp_path).camera(name).snapshot() for name in ("one", "two"))
    assert one.frames == two.frames == 12
    np.testing.assert_allclose(one.tokens(np.arange(12)), two.tokens(np.arange(12)), atol=2e-3, rtol=2e-3)


def test_footage_by_replay(model: AfterviewModel, footage: Path, tmp_path: Path) -> None:
    config = IngestConfig(parse_source(str(footage)), live=False)
    ingest, _ = take(model, tmp_path / "m", config, until=lambda camera: False)
    seconds = {"bottle-detection": 40, "car-detection": 30, "one-by-one-person-detection": 139, "made": 15}[
        footage.stem
    ]
    assert abs(ingest.stats.recorded - seconds) <= 1
    snapshot = Memory(tmp_path / "m").camera("door").snapshot()
    np.testing.assert_allclose(np.diff(snapshot.times), 1.0, atol=0.1)


def test_footage_by_rtsp(model: AfterviewModel, footage: Path, tmp_path: Path) -> None:
    need_rtsp()
    server: LiveServer
    with RtspServer(footage) as server:
        config = IngestConfig(parse_source(server.url), fps=3.0, source=SourceConfig(read_timeout_s=5))
        ingest, answers = take(
            model, tmp_path / "live", config, until=lambda camera: camera.stats.recorded >= 9, questions=1
        )
    assert ingest.inbox.dropped == 0
    assert answers[0].evidence
    live = Memory(tmp_path / "live").camera("door").snapshot()
    recorded = IngestConfig(parse_source(str(footage)), live=False, fps=3.0)
    take(model, tmp_path / "replay", recorded, until=lambda camera: camera.stats.recorded >= 9)
    replayed = Memory(tmp_path / "replay").camera("door").snapshot()
    ids = np.arange(9)  # the very same frames
    np.testing.assert_allclose(live.tokens(ids), replayed.tokens(ids), atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(np.diff(live.times[:9]), np.diff(replayed.times[:9]), atol=1e-3)
