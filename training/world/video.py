"""A world as a video file, with its truth beside it. Frames are drawn, encoded and dropped one by one, at any length."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stream.media import VideoWriter
from training.errors import WorldError
from training.world.truth import VideoFacts, truth_of, truth_path
from training.world.world import World


@dataclass(frozen=True)
class VideoFormat:
    """How the file is encoded. The default is as fast as x264 goes, with a key frame every second for live viewers."""

    rate: int = 10  # frames per second
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "23", "g": "10"})


def write_video(
    world: World,
    path: Path,
    *,
    video: VideoFormat | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the story from `start_s` to `end_s` (default: all) to `path`; returns the path of the truth beside it.

    The picture is the world's. `progress` is called with frames done and frames in all, once per second of video. The file appears
    under its name only when it is whole, after its truth. Raises WorldError for an empty part; OSError and stream errors pass through.
    """
    video = video or VideoFormat()
    end_s = world.script.duration_s if end_s is None else end_s
    frames = round((end_s - start_s) * video.rate)
    if not 0 <= start_s < end_s <= world.script.duration_s or frames < 1:
        raise WorldError(f"no video from {start_s:g} to {end_s:g} s of a story of {world.script.duration_s:g} s")
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")  # the container is told by the suffix
    try:
        with VideoWriter(
            partial, world.width, world.height, video.rate, codec=video.codec, options=dict(video.options)
        ) as writer:
            for number in range(frames):
                writer.write(world.frame(start_s + number / video.rate), pts_s=number / video.rate)
                if progress and ((number + 1) % video.rate == 0 or number + 1 == frames):
                    progress(number + 1, frames)
        facts = VideoFacts(
            start_s=start_s, end_s=end_s, rate=video.rate, width=world.width, height=world.height, codec=video.codec
        )
        truth = _write_truth(world, facts, truth_path(path))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return truth


def _write_truth(world: World, facts: VideoFacts, path: Path) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(truth_of(world.script, facts), indent=1), encoding="utf-8")
    os.replace(partial, path)
    return path
