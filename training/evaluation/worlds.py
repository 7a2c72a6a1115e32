"""Worlds that were never trained on, as H.264 files, taken in by the session that takes in everything, and asked about.

A memory that is there already is asked again and not made anew, so that another model with the same encoders, or more questions, cost no
second ingest.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from afterview.memory.directory import Memory
from afterview.memory.plans.recall import RecallConfig
from afterview.model.checkpoint.loaded import AfterviewModel, Encoders
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question as Asked
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address import parse_source
from afterview.training.base.errors import WorldError
from afterview.training.evaluation.judge import Said, read_cameras
from afterview.training.evaluation.plan import Footage, RecallMode, WorldTest, questions_for
from afterview.training.evaluation.tables import Outcome
from afterview.training.world import Question, World
from afterview.training.world.video import VideoFormat, write_video

START: Final = 1_767_225_600.0  # Unix time at which every story begins: 2026-01-01, midnight UTC
VIDEO_RATE: Final = (
    2  # frames per second of the files: twice what is sampled, so that choosing frames is part of the test
)
Report = Callable[[str], None]


def take_in(test: WorldTest, encoders: Encoders, directory: Path, *, report: Report) -> None:
    """Render, encode and ingest every world that no memory in `directory` holds yet; the cameras of a story side by side."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(test.seeds, 1):
        footage = test.footage(seed)
        memory, videos = directory / footage.memory, {}
        for camera, script in footage.scripts.items():
            if not _holds(memory, camera, test.frames):
                videos[camera] = directory / f"{footage.video(camera)}.mp4"
                write_video(World.of(script), videos[camera], video=VideoFormat(rate=VIDEO_RATE))
        if not videos:
            continue
        run_loop(_replay(videos, memory, encoders))
        for path in videos.values():
            path.unlink()  # the truth beside it stays
        report(f"world {number} of {len(test.seeds)}: seed {seed}, {len(videos) * test.frames} frames taken in")


def ask_all(test: WorldTest, model: AfterviewModel, directory: Path, *, report: Report) -> Iterator[Outcome]:
    """Put every question under every recall mode."""
    models = {mode: with_recall(model, mode) for mode in test.recall}
    for number, seed in enumerate(test.seeds, 1):
        footage = test.footage(seed)
        memory = Memory(directory / footage.memory)
        answerers = {mode: Answerer(memory, limited) for mode, limited in models.items()}
        for question in questions_for(footage, test):
            for mode, answerer in answerers.items():
                text, when, seconds = _ask(answerer, footage, question)
                yield Outcome(seed, test.frames, mode, question, text, when, seconds)
        report(f"world {number} of {len(test.seeds)}: asked")


def with_recall(model: AfterviewModel, mode: RecallMode) -> AfterviewModel:
    """The model under a recall mode: its own budget, everything, or nothing but the decayed frames."""
    if mode == "bounded":
        return model
    visible = model.preset.forgetting.max_frames
    recall = (
        RecallConfig(budget=10**9, window=0, nearest=1)
        if mode == "full"
        else RecallConfig(budget=visible, window=0, nearest=0)
    )
    return replace(model, preset=model.preset.model_copy(update={"recall": recall}))


def _ask(answerer: Answerer, footage: Footage, question: Question) -> tuple[str, float | None, float]:
    """What was answered, the story time of the first evidence frame (None: there is none, or one of every camera), and seconds."""
    answer = answerer.ask(Asked(question.text, footage.named, at=START + question.at_s, evidence=1))
    if footage.story is not None:
        said = {part.coverage.camera: Said(part.text, *(item.time for item in part.evidence)) for part in answer.parts}
        return read_cameras(question, {name: said[name] for name in footage.scripts}), None, answer.total_s
    return answer.text, answer.evidence[0].time - START if answer.evidence else None, answer.total_s


def _holds(memory: Path, camera: str, frames: int) -> bool:
    if not memory.exists() or camera not in Memory(memory).camera_ids():
        return False
    found = len(Memory(memory).camera(camera).snapshot().times)
    if found != frames:
        raise WorldError(f"{memory}: camera '{camera}' holds {found} frames, not {frames}; delete it to begin anew")
    return True


async def _replay(videos: Mapping[str, Path], memory: Path, encoders: Encoders) -> None:
    async with Session(memory, encoders) as session:
        for camera, path in videos.items():
            session.add(camera, IngestConfig(parse_source(str(path)), live=False, start=START))
        await session.run()
