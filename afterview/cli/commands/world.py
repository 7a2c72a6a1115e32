"""`afterview world make`: synthetic video with its truth, of one camera or of several that share a story."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, spell_duration
from afterview.training.world import QuestionPlan, World, WorldConfig, WorldQuestion, multiple_choice, settled_time
from afterview.training.world.annotations import annotations
from afterview.training.world.camera_questions import CAMERA_KINDS, shared_questions_at, shared_settled_time
from afterview.training.world.cameras import SharedStory, make_shared_story
from afterview.training.world.truth import truth_path
from afterview.training.world.twist_facts import kinds_of
from afterview.training.world.video import VideoFormat, write_shared_videos, write_video


def run(arguments: argparse.Namespace) -> int:
    """Write the video, or one for each camera."""
    path = Path(arguments.output)
    for written in (path, *([Path(arguments.annotations)] if arguments.annotations else [])):
        if not written.parent.is_dir():
            raise UsageError(f"{written.parent}: no such directory; make it first")
        if written.is_dir():
            raise UsageError(f"{written}: is a directory; give the name of a file")
    if arguments.annotations and Path(arguments.annotations).resolve() in (path.resolve(), truth_path(path).resolve()):
        raise UsageError(
            f"--annotations {arguments.annotations}: is the video's own file, or that of its truth; give another name"
        )
    if arguments.rate < 1:
        raise UsageError(f"--rate {arguments.rate}: give frames per second, 1 or more")
    seconds, config = parse_duration(arguments.seconds), _config(arguments)
    width, height = _size(arguments.size)
    if arguments.annotations and (arguments.cameras > 1 or arguments.questions < 1):
        raise UsageError("--annotations: needs --questions, and one camera, because a sample is about one video")
    video = VideoFormat(rate=arguments.rate, codec=arguments.codec)
    if arguments.cameras == 1:
        world = World(arguments.seed, seconds, config=config, width=width, height=height)
        questions = [_with_choices(question, arguments.choices) for question in _questions(arguments, world)]
        write_video(world, path, video=video, progress=_show_progress)
        if arguments.annotations:
            samples = json.dumps(annotations(path.name, questions), indent=1)
            Path(arguments.annotations).write_text(samples, encoding="utf-8")
        _tell(arguments, [path], world.script.duration_s, questions)
        return 0
    story = make_shared_story(arguments.seed, seconds, arguments.cameras, config)
    shared = [_with_choices(question, arguments.choices) for question in _shared_questions(arguments, story)]
    paths = write_shared_videos(story, path, width=width, height=height, video=video, progress=_show_progress)
    _tell(arguments, list(paths.values()), story.duration_s, shared)
    return 0


def _tell(
    arguments: argparse.Namespace, videos: Sequence[Path], seconds: float, questions: list[WorldQuestion]
) -> None:
    if arguments.json:
        document: dict[str, Any] = {"video": str(videos[0]), "truth": str(truth_path(videos[0]))}
        if len(videos) > 1:
            document = {"videos": [{"video": str(path), "truth": str(truth_path(path))} for path in videos]}
        dump({**document, "seconds": seconds, "questions": [one.model_dump(mode="json") for one in questions]})
        return
    for path in videos:
        print(
            f"{path}  {spell_duration(seconds)}, {path.stat().st_size / 1e6:.1f} MB, truth in {truth_path(path).name}"
        )
    for question in questions:
        print(f"  {question.text}  ->  {question.answer}")


def _config(arguments: argparse.Namespace) -> WorldConfig:
    try:
        return WorldConfig(changing=arguments.changing, hidden=arguments.hidden)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]} {first['input']:g}: {first['msg']}") from None


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UsageError(f"--size {text}: give width and height in pixels, for example 640x360")
    return int(width), int(height)


def _questions(arguments: argparse.Namespace, world: World) -> list[WorldQuestion]:
    if arguments.questions < 1:
        return []
    kinds = tuple(arguments.kinds.split(",")) if arguments.kinds else kinds_of(world.script.config)
    at = settled_time(world.script, world.script.duration_s)
    return world.questions(at, QuestionPlan(count=arguments.questions, kinds=kinds))


def _shared_questions(arguments: argparse.Namespace, story: SharedStory) -> list[WorldQuestion]:
    kinds = tuple(arguments.kinds.split(",")) if arguments.kinds else CAMERA_KINDS
    at = shared_settled_time(story, story.duration_s)
    return shared_questions_at(story, at, count=arguments.questions, kinds=kinds)


def _with_choices(question: WorldQuestion, options: int) -> WorldQuestion:
    return multiple_choice(question, options=options) if options and question.wrong else question


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} frames", end="\n" if done == total else "", file=sys.stderr, flush=True)
