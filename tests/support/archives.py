"""Archives of recordings as NVRs leave them: short clips with the names and times that a test wants."""

from pathlib import Path

from afterview.stream.media import VideoWriter
from tests.support.clips import picture


def write_recording(
    path: Path, *, seconds: float, first: int = 0, rate: int = 5, start_time: float | None = None
) -> Path:
    """A clip whose picture at second s is `picture(first + s)`, so that a frame tells its place in the whole archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 160, 120, rate, start_time=start_time) as writer:
        for number in range(round(seconds * rate)):
            writer.write(picture(first + number // rate))
    return path
