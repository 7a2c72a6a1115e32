"""`afterimage world make`: synthetic video with its truth."""

import argparse
import sys
from pathlib import Path
from typing import Any

from afterimage.documents import dump
from afterimage.times import parse_duration, spell_duration
from configs import UsageError
from training.world import QuestionPlan, World, settled_time
from training.world.video import VideoFormat, write_video


def run(arguments: argparse.Namespace) -> int:
    """Write the video."""
    path = Path(arguments.output)
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such directory; make it first")
    width, height = _size(arguments.size)
    world = World(arguments.seed, parse_duration(arguments.seconds), width=width, height=height)
    video = VideoFormat(rate=arguments.rate, codec=arguments.codec)
    truth = write_video(world, path, video=video, progress=_show_progress)
    questions = _questions(world, arguments.questions)
    if arguments.json:
        dump({"video": str(path), "truth": str(truth), "seconds": world.script.duration_s, "questions": questions})
        return 0
    print(f"{path}  {spell_duration(world.script.duration_s)}, {path.stat().st_size / 1e6:.1f} MB")
    print(f"{truth}  {len(world.script.segments)} scenes, {len(world.script.events)} events")
    for question in questions:
        print(f"  {question['text']}  ->  {question['answer']}")
    return 0


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UsageError(f"--size {text}: give width and height in pixels, for example 640x360")
    return int(width), int(height)


def _questions(world: World, count: int) -> list[dict[str, Any]]:
    if count < 1:
        return []
    at = settled_time(world.script, world.script.duration_s)
    return [question.model_dump(mode="json") for question in world.questions(at, QuestionPlan(count=count))]


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} frames", end="\n" if done == total else "", file=sys.stderr, flush=True)
