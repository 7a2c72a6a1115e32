"""`afterimage demo`: ten minutes of a synthetic world; nine as history, one live, three questions in mid-stream.

It uses what a user would use: the file is replayed, the live minute comes from a server in another process, and the questions are
put to the session while it ingests.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterimage.answers import answer_document, print_answer, save_evidence
from afterimage.contact_sheet import SheetItem, contact_sheet
from afterimage.documents import dump
from afterimage.times import spell_duration
from configs import AfterimageError
from memory.camera import CameraInfo
from model.checkpoint import load_pretrained
from model.loaded import AfterimageModel
from stream.address import parse_source
from stream.answer import Answer, Question
from stream.ingest import CameraIngest, IngestConfig
from stream.serve import rtsp_missing
from stream.session import Session
from stream.session import run as run_loop
from training.world import Question as WorldQuestion
from training.world import QuestionPlan, World, settled_time
from training.world.video import write_video

STORY_S, HISTORY_S = 600.0, 540.0
CAMERA = "synthetic world"
# When a question is put (seconds of live video seen), as of when (None: as late as its truth is settled), and of what kind.
SCHEDULE: tuple[tuple[float, float | None, tuple[str, ...]], ...] = (
    (12.0, None, ("colour", "shape")),
    (28.0, 300.0, ("where", "scene")),
    (46.0, None, ("scene now", "exists")),
)
LIVE_PATIENCE_S = 100.0  # the live minute must be over by then


@dataclass(frozen=True)
class Asked:
    """One question of the demo: what the world says, and what the model said."""

    truth: WorldQuestion
    answer: Answer
    sheet: Path
    lag_s: float


@dataclass
class Show:
    """What the steps of the demo share. `quiet`: progress to standard error only, because standard output is for JSON."""

    directory: Path
    world: World
    model: AfterimageModel
    quiet: bool

    @property
    def memory(self) -> Path:
        """Where the demo remembers."""
        return self.directory / "memory"

    def say(self, text: str = "") -> None:
        """A line for the person who watches."""
        print(text, file=sys.stderr if self.quiet else sys.stdout, flush=True)


def run(arguments: argparse.Namespace) -> int:
    """The whole demo."""
    began = time.monotonic()
    directory = Path(arguments.output) / time.strftime("%Y%m%d-%H%M%S")
    directory.mkdir(parents=True, exist_ok=True)
    show = Show(directory, World(arguments.seed, STORY_S), load_pretrained("tiny"), arguments.json)
    show.say(f"1. Ten minutes of a synthetic world (seed {arguments.seed}), as H.264 with its truth beside it")
    history, live = _make_videos(show)
    with _server(show, live) as url:
        asked, ingest = run_loop(_watch(show, history, url))
    if arguments.json:
        dump(_document(show, asked, ingest, time.monotonic() - began))
    _close(show, ingest, time.monotonic() - began)
    return 0


def _make_videos(show: Show) -> tuple[Path, Path]:
    began = time.monotonic()
    parts = (show.directory / "history.mp4", 0.0, HISTORY_S), (show.directory / "live.mp4", HISTORY_S, STORY_S)
    for path, start, end in parts:
        write_video(show.world, path, start_s=start, end_s=end)
        show.say(f"   {path}  {path.stat().st_size / 1e6:.1f} MB, {spell_duration(end - start)}")
    show.say(f"   drawn and encoded in {time.monotonic() - began:.1f} s\n")
    return parts[0][0], parts[1][0]


@contextmanager
def _server(show: Show, video: Path) -> Iterator[str]:
    """A live server in another process: RTSP where it is installed, else HLS."""
    kind = "--hls" if rtsp_missing() else "--rtsp"
    command = [sys.executable, "-m", "stream.serve", kind, str(video)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise AfterimageError("the demo's live server did not start; `python -m stream.serve --hls FILE` shows why")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


async def _watch(show: Show, history: Path, url: str) -> tuple[list[Asked], CameraIngest]:
    history_began = await _replay(show, history)
    show.say(
        f"3. The last minute, live, from {url.split(':')[0].upper()} in another process; three questions in mid-stream"
    )
    session = Session(show.memory, show.model.encoders)
    async with session:
        ingest = session.add(CAMERA, IngestConfig(parse_source(url), live=True))
        task = asyncio.create_task(session.run())
        asked = []
        try:
            for number, (moment, as_of, kinds) in enumerate(SCHEDULE, 1):
                await _until(task, ingest, moment)
                asked.append(await _ask(show, session, ingest, number, as_of, kinds, history_began))
            await _until(task, ingest, STORY_S - HISTORY_S - 1)
        finally:
            session.stop()
        await task
    return asked, ingest


async def _replay(show: Show, history: Path) -> float:
    """Take the history in; returns the Unix time at which it begins."""
    began, start = time.monotonic(), time.time() - HISTORY_S
    show.say(f"2. Nine minutes of it replayed as history, at full speed, into {show.memory}")
    async with Session(show.memory, show.model.encoders) as session:
        config = IngestConfig(parse_source(str(history)), live=False, start=start)
        ingest = session.add(CAMERA, config)
        await session.run()
    seconds = time.monotonic() - began
    show.say(f"   {ingest.stats.recorded} frames in {seconds:.1f} s ({HISTORY_S / seconds:.0f} times real time)\n")
    return start


async def _until(task: "asyncio.Task[None]", ingest: CameraIngest, live_s: float) -> None:
    """Wait until so many seconds of live video are in memory."""
    deadline = time.monotonic() + LIVE_PATIENCE_S
    while ingest.stats.recorded <= live_s:
        if task.done():
            await task
            raise AfterimageError("the live stream ended before its questions were asked")
        if time.monotonic() > deadline:
            raise AfterimageError(
                f"the live stream gave only {ingest.stats.recorded} frames; its server is too slow or gone"
            )
        await asyncio.sleep(0.05)


async def _ask(
    show: Show,
    session: Session,
    ingest: CameraIngest,
    number: int,
    as_of: float | None,
    kinds: tuple[str, ...],
    history_began: float,
) -> Asked:
    newest = ingest.stats.last_time
    assert newest is not None, "frames have been recorded"
    live_began = newest - (ingest.stats.recorded - 1)  # one frame a second since
    story_now = HISTORY_S + ingest.stats.recorded - 1
    moment = settled_time(show.world.script, story_now if as_of is None else as_of)
    truth = show.world.questions(moment, QuestionPlan(count=1, kinds=kinds, seed=number))[0]
    at = history_began + moment if moment < HISTORY_S else live_began + moment - HISTORY_S
    info = ingest.repository.info
    before = "" if as_of is None else f", as of {spell_duration(story_now - moment)} earlier"
    show.say(f"\n   {info.local(newest):%H:%M:%S}  question {number}{before}: {truth.text}")
    answer = await session.ask(show.model, Question(truth.text, (CAMERA,), at=at))
    sheet = _draw_sheet(show, number, answer, truth, info)
    if not show.quiet:
        print(f"   answer: {printable(answer.text)}\n   truth:  {truth.answer}")
        _indent(answer, save_evidence(answer, show.memory), info)
    show.say(f"   contact sheet: {sheet}")
    return Asked(truth, answer, sheet, answer.parts[0].coverage.lag_s)


def _indent(answer: Answer, images: dict[tuple[str, int], str], info: CameraInfo) -> None:
    print_answer(answer, images, {info.id: info}, text=False)


def _draw_sheet(show: Show, number: int, answer: Answer, truth: WorldQuestion, info: CameraInfo) -> Path:
    items = [
        SheetItem(item.image, item.camera, f"{info.local(item.time):%Y-%m-%d %H:%M:%S}", item.weight)
        for item in answer.evidence
    ]
    path = show.directory / f"evidence-{number}.png"
    subtitle = f"answer: {printable(answer.text)}    truth: {truth.answer}"
    path.write_bytes(contact_sheet(items, truth.text, subtitle=subtitle, footer=answer.notice or ""))
    return path


def printable(text: str) -> str:
    """Text that fits a picture: an untrained model says anything, or nothing."""
    shown = "".join(sign if sign.isprintable() else "." for sign in text)
    return (shown if len(shown) <= 60 else shown[:57] + "...") or "(no words)"


def _document(show: Show, asked: list[Asked], ingest: CameraIngest, seconds: float) -> dict[str, Any]:
    return {
        "memory": str(show.memory),
        "questions": [
            {
                "truth": item.truth.answer,
                "kind": item.truth.kind,
                "contact_sheet": str(item.sheet),
                **answer_document(item.answer, save_evidence(item.answer, show.memory)),
            }
            for item in asked
        ],
        "live": {
            "recorded": ingest.stats.recorded,
            "dropped": ingest.inbox.dropped,
            "median_latency_s": round(ingest.stats.median_latency(), 3),
        },
        "seconds": round(seconds, 1),
    }


def _close(show: Show, ingest: CameraIngest, seconds: float) -> None:
    stats = ingest.stats
    show.say(
        f"\n   {stats.recorded} live frames, {ingest.inbox.dropped} dropped, "
        f"each durable {stats.median_latency():.2f} s after it arrived (median)"
    )
    show.say(f"\nDone in {seconds:.0f} s. The memory stays; ask it more:")
    show.say(f'   .venv/bin/afterimage ask "What was seen?" --memory {show.memory}')
    show.say(f"   .venv/bin/afterimage info {show.memory}")
