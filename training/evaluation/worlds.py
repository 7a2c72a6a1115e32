"""Evaluates on worlds that were never trained on: as H.264 files, ingested like any video, and asked about.

An existing memory is reused. Another model with the same encoders, or more questions, then needs no second ingest.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from afterview.configs import ConfigError
from afterview.memory.base.durable import remove_tree
from afterview.memory.base.errors import MemoryNotFound, RepositoryError
from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory
from afterview.memory.plans.published_sampling import video_frames
from afterview.memory.plans.recall import RecallConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel, Encoders
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.training.base.errors import WorldError
from afterview.training.base.progress import Report, ShowProgress, unseen
from afterview.training.evaluation.judge import OneAnswer, read_cameras
from afterview.training.evaluation.plan import Footage, WorldTest, questions_for
from afterview.training.evaluation.recall_modes import NAMED, RecallMode
from afterview.training.evaluation.tables import Evaluation, Outcome
from afterview.training.world import World, WorldQuestion
from afterview.training.world.video import VideoFormat, write_video

START: Final = 1_767_225_600.0  # Unix time at which every story begins: 2026-01-01, midnight UTC
# Frames per second of the files: twice what is sampled, so that choosing frames is part of the test.
VIDEO_RATE: Final = 2

_LOGGER = logging.getLogger(__name__)


def evaluate(test: WorldTest, model: str, directory: Path, *, progress: ShowProgress = unseen) -> Evaluation:
    """Ingest the worlds into `directory` and ask every question. progress: how long work is shown."""
    began = time.monotonic()
    with progress(f"loading model {model}"):
        loaded = load_pretrained(model)
    if loaded.preset.new_parts:
        _LOGGER.warning("note: %s", loaded.notice)
    ingest_worlds(test, loaded.encoders, directory, progress=progress)
    with progress("ask", "questions") as report:
        outcomes = list(ask_all(test, loaded, directory, report=report))
    untrained = tuple(loaded.preset.new_parts)
    return Evaluation(test, model, loaded.weights_hash, outcomes, time.monotonic() - began, untrained)


def ingest_worlds(test: WorldTest, encoders: Encoders, directory: Path, *, progress: ShowProgress = unseen) -> None:
    """Render, encode and ingest every world that is not in a memory in `directory` yet. The cameras of a story are ingested in parallel.

    Raises WorldError for a memory with another number of frames, SpecMismatch for one that other encoders made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(test.seeds, 1):
        footage = test.footage(seed)
        memory, videos = directory / footage.memory, {}
        for camera, script in footage.scripts.items():
            if _holds(memory, camera, _sampled(test.frames, encoders)):
                require_same(Memory(memory).camera(camera).snapshot().spec, encoders.feature_spec, where=str(memory))
            else:
                videos[camera] = directory / f"{footage.video(camera)}.mp4"
                with progress(f"drawing {camera}", "frames") as report:
                    write_video(World.of(script), videos[camera], video=VideoFormat(rate=VIDEO_RATE), progress=report)
        if not videos:
            continue
        with progress(f"recording {', '.join(videos)}"):
            run_loop(_replay(videos, memory, encoders))
        for path in videos.values():
            path.unlink()  # the truth beside it is kept
        frames = len(videos) * test.frames
        _LOGGER.info("world %d of %d: seed %d, %d frames ingested", number, len(test.seeds), seed, frames)


def remove_unfinished(test: WorldTest, encoders: Encoders, directory: Path) -> list[str]:
    """Remove the cameras of worlds whose recording was cut off, from a directory that holds nothing else. Returns their names."""
    removed = []
    for seed in test.seeds:
        footage = test.footage(seed)
        for camera in footage.scripts:
            place = directory / footage.memory / camera
            try:
                whole = not place.exists() or _holds(
                    directory / footage.memory, camera, _sampled(test.frames, encoders)
                )
            except (WorldError, RepositoryError):
                whole = False
            if not whole:
                remove_tree(place)
                removed.append(camera)
    return removed


def ask_all(
    test: WorldTest, model: AfterviewModel, directory: Path, *, report: Report | None = None, skip: int = 0
) -> Iterator[Outcome]:
    """Ask every question under every recall mode. report: questions asked, and in all. skip: so many first questions are not asked."""
    models = {mode: with_recall(model, mode) for mode in test.recall}
    footage = {seed: test.footage(seed) for seed in test.seeds}
    questions = [(seed, question) for seed, shown in footage.items() for question in questions_for(shown, test)]
    answerers: dict[RecallMode, Answerer] = {}
    for done, (seed, question) in enumerate(questions[skip:], skip + 1):
        if done == skip + 1 or seed != questions[done - 2][0]:
            memory = Memory(directory / footage[seed].memory)
            answerers = {mode: Answerer(memory, limited, times_since_start=True) for mode, limited in models.items()}
        for mode, answerer in answerers.items():
            text, when, seconds = _ask(answerer, footage[seed], question)
            yield Outcome(seed, test.frames, mode, question, text, when, seconds)
        if report:
            report(done, len(questions))


def with_recall(model: AfterviewModel, mode: RecallMode) -> AfterviewModel:
    """The model under a recall mode: its own budget, everything, only the decayed frames, or another budget.

    With another budget the index brings the same share of it, and the newest window stays as it is. A model that sees clips has no recall
    beyond them: it sees so many frames. Raises ConfigError for a budget that cannot hold the visible frames.
    """
    if mode == "bounded":
        return model
    preset = model.preset
    if mode not in NAMED and preset.sees_clips:
        least = min(preset.clip_sampling.min_frames, int(mode))
        clips = preset.clip_sampling.model_copy(update={"min_frames": least, "max_frames": int(mode)})
        return replace(model, preset=preset.model_copy(update={"clip_sampling": clips}))
    own, visible = preset.recall, preset.forgetting.max_frames
    if mode == "full":
        recall = RecallConfig.model_validate("full")
    elif mode == "decayed":
        recall = RecallConfig(budget=visible, window=0, nearest=0)
    elif int(mode) < visible:
        raise ConfigError(f"--recall {mode}: the model keeps {visible} frames visible; give at least as many")
    else:
        nearest = round(own.nearest * int(mode) / own.budget)
        recall = own.model_copy(update={"budget": int(mode), "nearest": nearest})
    return replace(model, preset=preset.model_copy(update={"recall": recall}))


def _ask(answerer: Answerer, footage: Footage, question: WorldQuestion) -> tuple[str, float | None, float]:
    """Answer, story time of the first evidence frame (None without evidence or for several cameras), and seconds."""
    answer = answerer.ask(Question(question.text, footage.named, at=START + question.at_s, evidence=1))
    if footage.story is not None and not answer.declined:
        said = {
            part.coverage.camera: OneAnswer(part.text, *(item.time for item in part.evidence)) for part in answer.parts
        }
        return read_cameras(question, {name: said[name] for name in footage.scripts}), None, answer.total_s
    return answer.text, answer.evidence[0].time - START if answer.evidence else None, answer.total_s


def _sampled(seconds: int, encoders: Encoders) -> int:
    """How many frames of a video of so many seconds a memory holds."""
    if encoders.preset.short_videos == "per-second":
        return seconds
    return len(video_frames(seconds * VIDEO_RATE, VIDEO_RATE))


def _holds(memory: Path, camera: str, frames: int) -> bool:
    try:
        if not memory.exists() or camera not in Memory(memory).camera_ids():
            return False
    except MemoryNotFound:  # a directory without any camera, as one that was killed at once leaves it
        return False
    found = len(Memory(memory).camera(camera).snapshot().times)
    if found != frames:
        raise WorldError(f"{memory}: camera '{camera}' holds {found} frames, not {frames}; delete it to start again")
    return True


async def _replay(videos: Mapping[str, Path], memory: Path, encoders: Encoders) -> None:
    async with Session(memory, encoders) as session:
        for camera, path in videos.items():
            session.add(camera, IngestConfig(parse_source(str(path)), live=False, start=START))
        await session.run()
