"""Makes a world's files: the video, or one video per camera, its truth, questions about it and annotations to train on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterview.memory.base.durable import write_file
from afterview.training.world.annotations import annotations
from afterview.training.world.camera_questions import CAMERA_KINDS, shared_questions_at, shared_settled_time
from afterview.training.world.cameras import make_shared_story
from afterview.training.world.config import WorldConfig
from afterview.training.world.history import settled_time
from afterview.training.world.questions import QuestionPlan, WorldQuestion, multiple_choice
from afterview.training.world.truth import truth_path
from afterview.training.world.twist_facts import kinds_of
from afterview.training.world.video import VideoFormat, shared_paths, story_path, write_shared_videos, write_video
from afterview.training.world.world import World


@dataclass(frozen=True)
class WorldRequest:
    """Which world to make, and which questions to ask about it."""

    seed: int
    seconds: float
    config: WorldConfig
    video: VideoFormat
    cameras: int = 1
    width: int = 640  # pixels
    height: int = 360
    questions: int = 0
    kinds: tuple[str, ...] = ()  # empty: every kind that fits the world
    choices: int = 0  # lettered answers that each question offers; 0: none


@dataclass(frozen=True)
class WorldFiles:
    """The files that were made."""

    videos: tuple[Path, ...]
    seconds: float
    questions: tuple[WorldQuestion, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able. One camera: "video" and "truth"; several: a list of both under "videos"."""
        files = [{"video": str(path), "truth": str(truth_path(path))} for path in self.videos]
        return {
            **(files[0] if len(files) == 1 else {"videos": files}),
            "seconds": self.seconds,
            "questions": [question.model_dump(mode="json") for question in self.questions],
        }


def make_world(
    request: WorldRequest,
    path: Path,
    *,
    annotations_path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    before_writing: Callable[[Sequence[Path]], None] = lambda paths: None,
) -> WorldFiles:
    """Write the video to `path`, or one video per camera beside it. The questions are about the end of the story.

    annotations_path: file for the questions as training annotations; one camera only. progress: frames done, frames in all, of each video.
    before_writing: called with every file that will be written; it may raise. Existing files are replaced. Raises WorldError before
    anything is written, WriterError where a video cannot be written.
    """
    if request.cameras > 1:
        return _make_shared(request, path, progress, before_writing)
    world = World(request.seed, request.seconds, config=request.config, width=request.width, height=request.height)
    questions = tuple(_with_choices(question, request.choices) for question in _questions(request, world))
    before_writing([path, truth_path(path), *([annotations_path] if annotations_path else [])])
    write_video(world, path, video=request.video, progress=progress)
    if annotations_path is not None:
        write_file(annotations_path, json.dumps(annotations(path.name, questions), indent=1).encode())
    return WorldFiles((path,), world.script.duration_s, questions)


def _make_shared(
    request: WorldRequest,
    path: Path,
    progress: Callable[[int, int], None] | None,
    before_writing: Callable[[Sequence[Path]], None],
) -> WorldFiles:
    story = make_shared_story(request.seed, request.seconds, request.cameras, request.config)
    asked = shared_questions_at(
        story,
        shared_settled_time(story, story.duration_s),
        count=request.questions,
        kinds=request.kinds or CAMERA_KINDS,
    )
    questions = tuple(_with_choices(question, request.choices) for question in asked)
    planned = shared_paths(story, path).values()
    before_writing([*planned, *map(truth_path, planned), story_path(path)])
    videos = write_shared_videos(
        story, path, width=request.width, height=request.height, video=request.video, progress=progress
    )
    return WorldFiles(tuple(videos.values()), story.duration_s, questions)


def _questions(request: WorldRequest, world: World) -> list[WorldQuestion]:
    if request.questions < 1:
        return []
    plan = QuestionPlan(count=request.questions, kinds=request.kinds or kinds_of(world.script.config))
    return world.questions(settled_time(world.script, world.script.duration_s), plan)


def _with_choices(question: WorldQuestion, options: int) -> WorldQuestion:
    return multiple_choice(question, options=options) if options and question.wrong else question
