"""A world as a video file with its truth. Frames are drawn and encoded one by one, so the length does not matter."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afterview.memory.base.durable import replacing, write_file
from afterview.stream.errors import WriterError
from afterview.stream.media import VideoWriter
from afterview.training.base.errors import WorldError
from afterview.training.world.cameras import SharedStory
from afterview.training.world.truth import FORMAT, VideoFacts, truth_of, truth_path
from afterview.training.world.world import World


@dataclass(frozen=True)
class VideoFormat:
    """The format of the file. Everything else is the writer's default: as fast as the encoder allows."""

    rate: int = 10  # frames per second
    codec: str = "libx264"
    options: Mapping[str, str] = field(default_factory=dict)  # options of the encoder
    start_time: float | None = None  # Unix seconds of the first frame, stored as the file's creation time


def write_video(
    world: World,
    path: Path,
    *,
    video: VideoFormat | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the story from `start_s` to `end_s` (default: all of it) to `path`. Returns the path of the truth beside it.

    progress: called with frames done and frames in all, once per second of video. The file appears under its name only
    when it is complete, after its truth. Raises WorldError for an empty range and WriterError if the file cannot be
    written.
    """
    video = video or VideoFormat()
    end_s = world.script.duration_s if end_s is None else end_s
    frames = round((end_s - start_s) * video.rate)
    if not 0 <= start_s < end_s <= world.script.duration_s or frames < 1:
        raise WorldError(f"no video from {start_s:g} to {end_s:g} s of a story of {world.script.duration_s:g} s")
    size = world.width, world.height
    shows = VideoFacts(start_s=start_s, end_s=end_s, rate=video.rate, width=size[0], height=size[1], codec=video.codec)
    with replacing(path, suffix=path.suffix) as partial:  # the writer chooses the container by the suffix
        try:
            with VideoWriter(
                partial, *size, video.rate, codec=video.codec, options=video.options, start_time=video.start_time
            ) as writer:
                for done in range(1, frames + 1):
                    writer.write(world.frame(start_s + (done - 1) / video.rate))
                    if progress and (done % video.rate == 0 or done == frames):
                        progress(done, frames)
        except WriterError as error:
            raise WriterError(str(error).replace(str(partial), str(path))) from None
        return _write_json(truth_of(world.script, shows), truth_path(path))


def shared_paths(story: SharedStory, path: Path) -> dict[str, Path]:
    """The video of every camera: `story.mp4` -> `story-gate.mp4`, ..."""
    return {camera: path.with_name(f"{path.stem}-{camera}{path.suffix}") for camera in story.cameras}


def story_path(path: Path) -> Path:
    """The file about all cameras: `story.mp4` -> `story.story.json`."""
    return path.with_name(f"{path.stem}.story.json")


def write_shared_videos(
    story: SharedStory,
    path: Path,
    *,
    width: int = 640,
    height: int = 360,
    video: VideoFormat | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """One file per camera (shared_paths), each with its truth, and one about all of them (story_path).

    Returns the video of every camera. Raises as write_video does.
    """
    paths = shared_paths(story, path)
    for script in story.scripts:
        world = World.of(script, width=width, height=height)
        write_video(world, paths[script.camera or ""], video=video, progress=progress)
    document = {
        "format": FORMAT,
        "seed": story.seed,
        "duration_s": story.duration_s,
        "cameras": {camera: video.name for camera, video in paths.items()},
        "journeys": [journey.model_dump(mode="json") for journey in story.journeys],
    }
    _write_json(document, story_path(path))
    return paths


def _write_json(document: dict[str, Any], path: Path) -> Path:
    write_file(path, json.dumps(document, indent=1).encode())
    return path
