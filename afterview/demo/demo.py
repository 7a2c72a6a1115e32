"""The demo: ten minutes of a synthetic world; nine as history, one live, and a quiz of ten questions in mid-stream.

It works as a user would: it replays the file, watches the live minute from a server in another process, and asks its questions while the
session records. A question is asked when its moment has come; its answer comes when the model has finished.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview import __version__
from afterview.configs import AfterviewError
from afterview.demo.report import Asked, Show, document, tell, tell_score, write_sheet
from afterview.memory.base.iso_times import with_iso
from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.moments import length
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.question import Question
from afterview.stream.ask.saved_answers import save
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.testing.serve import rtsp_missing
from afterview.training.base.progress import Report
from afterview.training.evaluation.quiz import Put
from afterview.training.world.video import write_video

STORY_S, LIVE_S = 600.0, 60.0
CAMERA = "synthetic world"
EVIDENCE = 6  # frames of an answer
LAST_FRAME_S = 1.0  # before the end of a story, its last frame begins
MOST_MISSING_S = 3.0  # frames that may be missing at the end of the live stream
REPORT_EVERY_S = 0.2
LIVE_PATIENCE_S = 40.0  # that the live part may take beyond its length


def play(show: Show) -> list[Asked]:
    """Show a world: first its history, then live with the quiz. Returns the questions in the order in which they were asked."""
    began = time.monotonic()
    show.directory.mkdir(parents=True, exist_ok=True)
    script = show.world.script
    show.say(
        f"1. {length(script.duration_s)} of a synthetic world (seed {script.seed}), as H.264 with its truth beside it"
    )
    history, live = _make_videos(show)
    with show.progress("loading model tiny"):
        model = load_pretrained("tiny")
    asked, ingest = run_loop(_watch(show, model, history, live))
    seconds = time.monotonic() - began
    if show.quiet:
        shown = with_iso(document(show, asked, ingest, seconds), {}, ingest.repository.info)
        print(json.dumps(shown, ensure_ascii=False))
    tell_score(show, asked, ingest, seconds)
    return asked


def _make_videos(show: Show) -> tuple[Path, Path]:
    began, end_s = time.monotonic(), show.world.script.duration_s
    parts = (show.directory / "history.mp4", 0.0, show.live_s), (show.directory / "live.mp4", show.live_s, end_s)
    for path, start, end in parts:
        with show.progress(path.name, "frames") as report:
            write_video(show.world, path, start_s=start, end_s=end, progress=report)
        show.say(f"   {path}  {path.stat().st_size / 1e6:.1f} MB, {length(end - start)}")
    show.say(f"   drawn and encoded in {time.monotonic() - began:.1f} s\n")
    return parts[0][0], parts[1][0]


@contextmanager
def _server(video: Path) -> Iterator[dict[str, Any]]:
    """A live server in another process, RTSP if installed, else HLS; yields its description."""
    kind = "--hls" if rtsp_missing() else "--rtsp"
    command = [sys.executable, "-m", "afterview.stream.testing.serve", kind, str(video)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise AfterviewError(
                "the demo's live server did not start; `python -m afterview.stream.testing.serve --hls FILE` shows why"
            )
        yield json.loads(line)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


async def _watch(show: Show, model: AfterviewModel, history: Path, video: Path) -> tuple[list[Asked], CameraIngest]:
    began = await _replay(show, model, history)
    with _server(video) as server:  # only now: an HLS server broadcasts from its start on, without clients, too
        url, rest = str(server["url"]), length(show.world.script.duration_s - show.live_s)
        scheme = "HLS" if url.startswith("http") else "RTSP"
        show.say(
            f"3. The last {rest}, live, by {scheme} from another process; {len(show.quiz)} questions in mid-stream"
        )
        async with Session(show.memory, model.encoders) as session:
            ingest = session.add(CAMERA, IngestConfig(parse_source(url), live=True))
            with show.progress("live", "frames", bar=False) as report:  # answers are printed meanwhile
                async with _reporting(report, ingest, round(show.world.script.duration_s - show.live_s)):
                    asked = await _watch_live(_Live(show, model, session, ingest, began), session, server.get("began"))
    return asked, ingest


async def _watch_live(live: "_Live", session: Session, broadcast_began: float | None) -> list[Asked]:
    task = asyncio.create_task(session.run())
    try:
        await live.first_frame(task, broadcast_began)
        asked = await live.quiz(task)
        await live.until(live.end_s - LAST_FRAME_S, task)
    finally:
        session.stop()
    await task
    return asked


@asynccontextmanager
async def _reporting(report: Report, ingest: CameraIngest, frames: int) -> AsyncIterator[None]:
    """Report the frames recorded so far, several times a second."""

    async def run() -> None:
        while True:
            report(ingest.stats.recorded, frames)
            await asyncio.sleep(REPORT_EVERY_S)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()


async def _replay(show: Show, model: AfterviewModel, history: Path) -> float:
    """Record the history; returns the Unix time at which it begins."""
    began, start = time.monotonic(), time.time() - show.live_s
    show.say(f"2. The first {length(show.live_s)} replayed as history, at full speed, into {show.memory}")
    with show.progress("replay", "frames") as report:
        async with Session(show.memory, model.encoders) as session:
            ingest = session.add(CAMERA, IngestConfig(parse_source(str(history)), live=False, start=start))
            async with _reporting(report, ingest, round(show.live_s)):
                await session.run()
    seconds = time.monotonic() - began
    show.say(f"   {ingest.stats.recorded} frames in {seconds:.1f} s ({show.live_s / seconds:.0f} times real time)\n")
    return start


class _Live:
    """The live part, and the story's time in it."""

    def __init__(self, show: Show, model: AfterviewModel, session: Session, ingest: CameraIngest, began: float) -> None:
        """began: Unix time at which the story began; the live part has a clock of its own."""
        self._show, self._model, self._session, self._ingest = show, model, session, ingest
        self._began, self._first_s = began, show.live_s  # story time of the first live frame
        self.end_s = show.world.script.duration_s  # story time
        self._deadline = time.monotonic() + self.end_s - show.live_s + LIVE_PATIENCE_S

    async def first_frame(self, ingesting: "asyncio.Task[None]", broadcast_began: float | None) -> None:
        """Wait until the live part has begun. broadcast_began: Unix time of its first picture, if the server did not wait for a client."""
        while not self._ingest.stats.recorded:
            await self._wait(ingesting)
        if broadcast_began is not None:
            self._first_s += max(0, round(float(self._times()[0]) - broadcast_began))

    async def quiz(self, ingesting: "asyncio.Task[None]") -> list[Asked]:
        """Ask every question when its moment has come, even if earlier ones are not answered yet."""
        answering: list[asyncio.Task[Asked]] = []
        try:
            for number, put in enumerate(self._show.quiz, 1):
                await self.until(put.put_s, ingesting)
                answering.append(asyncio.create_task(self._ask(number, put)))
            return await asyncio.gather(*answering)
        finally:
            for task in answering:
                task.cancel()

    async def until(self, story_s: float, ingesting: "asyncio.Task[None]") -> None:
        """Wait until story time `story_s` is in memory, or the server has sent everything."""
        while self._now() < story_s and self._ingest.stats.state != "offline":
            await self._wait(ingesting)
        if self._now() < story_s - MOST_MISSING_S:
            raise AfterviewError(f"the live stream broke off after {self._ingest.stats.recorded} frames; try again")

    async def _wait(self, ingesting: "asyncio.Task[None]") -> None:
        if ingesting.done():
            await ingesting
            raise AfterviewError("the live stream ended before its questions were asked")
        if time.monotonic() > self._deadline:
            recorded = self._ingest.stats.recorded
            raise AfterviewError(f"the live stream gave only {recorded} frames; its server is too slow or gone")
        await asyncio.sleep(0.05)

    def _now(self) -> float:
        """Story time of the newest frame in memory: one frame is one second."""
        return self._first_s + self._ingest.stats.recorded + self._ingest.inbox.dropped - 1

    def _times(self) -> NDArray[np.float64]:
        """Unix times of the live frames in memory."""
        times = Memory(self._show.memory).camera(self._ingest.repository.info.id).snapshot().times
        return times[times >= self._began + self._show.live_s]

    def _unix(self, story_s: float) -> float:
        """Unix time of that moment of the story, by the times of its frames."""
        if story_s < self._show.live_s:
            return self._began + story_s
        live, after_s = self._times(), max(0.0, story_s - self._first_s)
        if self._ingest.inbox.dropped:  # then places no longer count seconds
            return float(live[0]) + after_s
        second, rest = divmod(after_s, 1)
        return float(live[min(int(second), len(live) - 1)]) + rest

    async def _ask(self, number: int, put: Put) -> Asked:
        show, put_at, at = self._show, self._ingest.stats.last_time, self._unix(put.question.at_s)
        assert put_at is not None, "frames have been recorded"
        question = Question(put.question.text, (CAMERA,), at=at, evidence=EVIDENCE)
        began = time.time()
        answer = await self._session.ask(self._model, question)
        info, sheet = self._ingest.repository.info, show.directory / f"evidence-{number}.png"
        record = AnswerRecord.of(
            answer, question, asked=began, memory=show.memory, cameras={info.id: info}, version=__version__
        )
        images = dict((await asyncio.to_thread(save, record, show.memory)).images)
        note = await asyncio.to_thread(write_sheet, put, answer, info, at, sheet)
        asked = Asked(number, put, answer, put_at, images, sheet)
        tell(show, asked, info)
        if note:
            show.say(f"   {sheet.name}: {note}")
        return asked
