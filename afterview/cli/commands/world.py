"""`afterview world make`: synthetic video with its truth, of one camera or of several that share a story."""

import argparse
from pathlib import Path

from pydantic import ValidationError

from afterview.cli.arguments import require_new
from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, spell_duration
from afterview.training.world import WorldConfig
from afterview.training.world.make import WorldFiles, WorldRequest, make_world
from afterview.training.world.truth import truth_path
from afterview.training.world.video import VideoFormat


def run(arguments: argparse.Namespace) -> int:
    """Write the video, or one for each camera."""
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
    return 0


def _check_paths(path: Path, annotations: Path | None) -> None:
    for written in (path, *([annotations] if annotations else [])):
        if not written.parent.is_dir():
            raise UsageError(f"{written.parent}: no such directory; make it first")
        if written.is_dir():
            raise UsageError(f"{written}: is a directory; give the name of a file")
    if annotations and annotations.resolve() in (path.resolve(), truth_path(path).resolve()):
        raise UsageError(
            f"--annotations {annotations}: is the video's own file, or that of its truth; give another name"
        )


def _request(arguments: argparse.Namespace) -> WorldRequest:
    if arguments.rate < 1:
        raise UsageError(f"--rate {arguments.rate}: give frames per second, 1 or more")
    seconds, config = parse_duration(arguments.seconds), _config(arguments)
    width, height = _size(arguments.size)
    if arguments.annotations and (arguments.cameras > 1 or arguments.questions < 1):
        raise UsageError("--annotations: needs --questions, and one camera, because a sample is about one video")
    return WorldRequest(
        seed=arguments.seed,
        seconds=seconds,
        config=config,
        video=VideoFormat(rate=arguments.rate, codec=arguments.codec),
        cameras=arguments.cameras,
        width=width,
        height=height,
        questions=arguments.questions,
        kinds=tuple(arguments.kinds.split(",")) if arguments.kinds else (),
        choices=arguments.choices,
    )


def _print(files: WorldFiles) -> None:
    for path in files.videos:
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        print(f"{path}  {spell_duration(files.seconds)}, {size}, truth in {truth_path(path).name}")
    for question in files.questions:
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
