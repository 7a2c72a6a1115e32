"""The stored images of some frames, and why others have none. Reads nothing else of a frame."""

from collections.abc import Sequence

import numpy as np

from afterview.memory.base.errors import DamagedFrames, RepositoryError, UnreachableFrames
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot


def frame_images(memory: Memory, frames: Sequence[tuple[str, int]]) -> tuple[dict[tuple[str, int], bytes], list[str]]:
    """The images of frames (camera, frame), and a sentence for each camera of which some cannot be read."""
    found: dict[tuple[str, int], bytes] = {}
    problems: list[str] = []
    for camera in dict.fromkeys(camera for camera, _ in frames):
        snapshot = memory.camera(camera).snapshot()
        missing: dict[str, int] = {}
        for frame in sorted(frame for own, frame in frames if own == camera):
            image, why = image_of(snapshot, frame)
            if image:
                found[camera, frame] = image
            else:
                missing[why] = missing.get(why, 0) + 1
        problems += [
            f"{camera}: {why}" + (f" (and {count - 1} more)" if count > 1 else "") for why, count in missing.items()
        ]
    return found, problems


def image_of(snapshot: MemorySnapshot, frame: int) -> tuple[bytes, str]:
    """The stored image of a frame, or nothing and why."""
    where = int(np.searchsorted(snapshot.ids, frame))
    if where >= snapshot.frames or snapshot.ids[where] != frame:
        return b"", f"frame {frame} is no longer remembered"
    try:
        return snapshot.image(frame), f"the image of frame {frame} is empty"
    except UnreachableFrames as error:
        return b"", f"frame {frame} lies on the memory's store, which does not answer: {error}"
    except (DamagedFrames, RepositoryError) as error:
        return b"", str(error)
