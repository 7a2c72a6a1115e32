"""`afterview world make`: synthetic video with its truth, of one camera or of several that share a story."""

import argparse
from pathlib import Path

from afterview.cli.arguments import names_in, require_count, require_new, seed
from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.typed_times import parse_duration, spell_duration
from afterview.training.world import WorldConfig
from afterview.training.world.make import WorldFiles, WorldRequest, make_world
from afterview.training.world.questions import MOST_CHOICES
from afterview.training.world.truth import truth_path
from afterview.training.world.video import VideoFormat

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".ts")  # of files that hold H.264 and H.265
MOST_RATE = 240  # frames per second; the fastest that cameras record
LARGEST_SIDE = 8192  # pixels; libx264 and players take no more for certain


def run(arguments: argparse.Namespace) -> int:
    """Write the video, or one for each camera."""
    if not arguments.output.strip():
        raise UsageError("FILE is empty; give the name of the video, for example story.mp4")
    path = Path(arguments.output)
    annotations = Path(arguments.annotations) if arguments.annotations else None
    _check_paths(path, annotations)
    request = _request(arguments)
    with progress("video", "frames") as report:
        files = make_world(
            request, path, annotations_path=annotations, progress=report,
            before_writing=lambda paths: require_new(paths, force=arguments.force),
        )  # fmt: skip
    if arguments.json:
        dump(files.to_dict())
    else:
        _print(files)
    return ExitStatus.OK


def _check_paths(path: Path, annotations: Path | None) -> None:
    for written in (path, *([annotations] if annotations else [])):
        if not written.parent.is_dir():
            raise UsageError(f"{written.parent}: no such directory; make it first")
        if written.is_dir():
            raise UsageError(f"{written}: is a directory; give the name of a file")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: give a name that ends in {', '.join(SUFFIXES)}")
    if annotations and annotations.resolve() in (path.resolve(), truth_path(path).resolve()):
        raise UsageError(
            f"--annotations {annotations}: is the video's own file, or that of its truth; give another name"
        )


def _request(arguments: argparse.Namespace) -> WorldRequest:
    if not 1 <= arguments.rate <= MOST_RATE:
        raise UsageError(f"--rate {arguments.rate}: give frames per second, 1 to {MOST_RATE}")
    require_count("--questions", arguments.questions, 0)
    require_count("--cameras", arguments.cameras, 1)
    if arguments.choices and not 2 <= arguments.choices <= MOST_CHOICES:
        raise UsageError(f"--choices {arguments.choices}: 2 to {MOST_CHOICES} answers can be offered")
    for option, given in (("--kinds", arguments.kinds), ("--choices", arguments.choices)):
        if given and not arguments.questions:
            raise UsageError(f"{option}: needs --questions N, since it is about the questions")
    seconds, config = parse_duration(arguments.seconds), _config(arguments)
    width, height = _size(arguments.size)
    if arguments.annotations and (arguments.cameras > 1 or arguments.questions < 1):
        raise UsageError("--annotations: needs --questions, and one camera, because a sample is about one video")
    return WorldRequest(
        seed=seed(arguments.seed),
        seconds=seconds,
        config=config,
        video=VideoFormat(rate=arguments.rate, codec=arguments.codec),
        cameras=arguments.cameras,
        width=width,
        height=height,
        questions=arguments.questions,
        kinds=names_in("--kinds", arguments.kinds),
        choices=arguments.choices,
    )


def _print(files: WorldFiles) -> None:
    for path in files.videos:
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        print(f"{path}  {spell_duration(files.seconds)}, {size}, truth in {truth_path(path).name}")
    for question in files.questions:
        print(f"  {question.text}  ->  {question.answer}")


def _config(arguments: argparse.Namespace) -> WorldConfig:
    for option, share in (("--changing", arguments.changing), ("--hidden", arguments.hidden)):
        if not 0 <= share <= 1:
            raise UsageError(f"{option} {share:g}: must be a share from 0 to 1, such as 0.5")
    return WorldConfig(changing=arguments.changing, hidden=arguments.hidden)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    digits = text.isascii() and width.isdecimal() and height.isdecimal() and len(text) < 12
    size = (int(width), int(height)) if digits else (0, 0)
    if not digits or not all(0 < side <= LARGEST_SIDE and side % 2 == 0 for side in size):
        raise UsageError(
            f"--size {text}: give width and height in pixels, even numbers up to {LARGEST_SIDE}, for example 640x360"
        )
    return size
